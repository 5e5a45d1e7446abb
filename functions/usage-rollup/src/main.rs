//! The `usage-rollup` function's process.

use std::convert::Infallible;

use gateway_core::ids::AccountId;
use gateway_lambda::{Clock, StartError, WarmUp};
use gateway_store::{Store, Tables};
use usage_rollup::{App, StreamEvent};

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        ledger: gateway_lambda::required("LEDGER_TABLE")?,
        usage: gateway_lambda::required("USAGE_TABLE")?,
        ..Tables::default()
    };
    let store = Store::connect(tables).await;
    // Nobody's: what is wanted is the connection.
    let warm = store.clone();
    let warm_up = WarmUp::of(async move { warm.account_standing(&AccountId::from_random([0; 10])).await });
    let app = App { store, clock: Clock::system() };
    gateway_lambda::run_events("usage-rollup", warm_up, move |event: StreamEvent| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(usage_rollup::handle(&app, event).await) }
    })
    .await
}
