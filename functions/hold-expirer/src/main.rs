//! The `hold-expirer` function's process.

use gateway_core::ids::AccountId;
use gateway_lambda::{Clock, StartError, WarmUp};
use gateway_store::{Store, Tables};
use hold_expirer::App;
use serde::de::IgnoredAny;

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
    let warm_up = WarmUp::of(async move { warm.account_standing(&AccountId::from_random([0; 10])).await });
    let (app, clock) = (App { store }, Clock::system());
    gateway_lambda::run_events("hold-expirer", warm_up, move |_scheduled: IgnoredAny| {
        let (app, at) = (app.clone(), clock.now());
        async move { hold_expirer::handle(&app, at).await }
    })
    .await
}
