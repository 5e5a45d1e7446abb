//! The `transactions` function's process.

use gateway_core::ids::AccountId;
use gateway_lambda::{StartError, WarmUp};
use gateway_store::{Filter, Store, Tables};
use transactions::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        ledger: gateway_lambda::required("LEDGER_TABLE")?,
        ..Tables::default()
    };
    let store = Store::connect(tables).await;
    // Nobody's: what is wanted is the connection.
    let warm = store.clone();
    let warm_up =
        WarmUp::of(
            async move { warm.ledger_page(&AccountId::from_random([0; 10]), &Filter::default(), None, 0, 1).await },
        );
    let app = App { store };
    gateway_lambda::run_buffered("transactions", warm_up, move |request| {
        let app = app.clone();
        async move { transactions::handle(&app, request).await }
    })
    .await
}
