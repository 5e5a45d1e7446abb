//! The `usage` function's process.

use gateway_lambda::StartError;
use gateway_store::{Store, Tables};
use usage::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        ledger: gateway_lambda::required("LEDGER_TABLE")?,
        usage: gateway_lambda::required("USAGE_TABLE")?,
        ..Tables::default()
    };
    let app = App { store: Store::connect(tables).await };
    gateway_lambda::run_streaming("usage", move |request| {
        let app = app.clone();
        async move { usage::handle(&app, request).await }
    })
    .await
}
