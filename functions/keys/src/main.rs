//! The `keys` function's process.

use gateway_lambda::StartError;
use gateway_store::{Store, Tables};
use keys::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        tokens: gateway_lambda::required("TOKENS_TABLE")?,
        ..Tables::default()
    };
    let app = App { store: Store::connect(tables).await };
    gateway_lambda::run_buffered("keys", move |request| {
        let app = app.clone();
        async move { keys::handle(&app, request).await }
    })
    .await
}
