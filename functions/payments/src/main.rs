//! The `payments` function's process.

use gateway_lambda::{Clock, StartError, warm_up};
use gateway_store::{PaymentSecrets, Store, Tables};
use gateway_upstream::stripe::{API, ATTEMPT_MS, Stripe};
use payments::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables { accounts: gateway_lambda::required("ACCOUNTS_TABLE")?, ..Tables::default() };
    let secret = gateway_lambda::required("PAYMENTS_SECRET")?;
    let now = Clock::system().now();
    let (store, secrets) = tokio::join!(Store::connect(tables), PaymentSecrets::connect(secret));
    // Of no payment: what is wanted is the connection.
    tokio::join!(warm_up(store.payment("none")), warm_up(secrets.current(now)));
    let app = App { store, stripe: Stripe::new(API, ATTEMPT_MS)?, secrets };
    gateway_lambda::run_buffered("payments", move |request| {
        let app = app.clone();
        async move { payments::handle(&app, request).await }
    })
    .await
}
