//! The `low-balance` function's process.

use std::convert::Infallible;

use gateway_core::ids::AccountId;
use gateway_lambda::{Clock, StartError, StreamEvent, WarmUp};
use gateway_store::{Mailer, Store, Tables};
use low_balance::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables { accounts: gateway_lambda::required("ACCOUNTS_TABLE")?, ..Tables::default() };
    let billing_page = gateway_lambda::required("BILLING_PAGE")?;
    let store = Store::connect(tables).await;
    let mailer = match gateway_lambda::environment("EMAIL_SENDER") {
        Some(sender) => Mailer::connect(sender).await,
        None => Mailer::nobody(),
    };
    // Nobody's: what is wanted is the connection.
    let warm = store.clone();
    let warm_up = WarmUp::of(async move { warm.account_standing(&AccountId::from_random([0; 10])).await });
    let app = App { store, mailer, billing_page, clock: Clock::system() };
    gateway_lambda::run_events("low-balance", warm_up, move |event: StreamEvent| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(low_balance::handle(&app, event).await) }
    })
    .await
}
