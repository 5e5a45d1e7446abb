//! The `auth-key` function's process.

use auth_key::App;
use gateway_lambda::StartError;
use gateway_store::{Store, Tables};

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables { accounts: gateway_lambda::required("ACCOUNTS_TABLE")?, ..Tables::default() };
    let app = App { store: Store::connect(tables).await };
    gateway_lambda::run_buffered("auth-key", move |request| {
        let app = app.clone();
        async move { auth_key::handle(&app, request).await }
    })
    .await
}
