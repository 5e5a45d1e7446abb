//! The `keys` function's process.

use gateway_core::ids::AccountId;
use gateway_lambda::{StartError, WarmUp};
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
    let store = Store::connect(tables).await;
    // Nobody's: what is wanted is the connection.
    let warm = store.clone();
    let warm_up = WarmUp::of(async move { warm.account_standing(&AccountId::from_random([0; 10])).await });
    let app = App { store };
    gateway_lambda::run_buffered("keys", warm_up, move |request| {
        let app = app.clone();
        async move { keys::handle(&app, request).await }
    })
    .await
}
