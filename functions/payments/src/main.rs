//! The `payments` function's process.

use gateway_lambda::{Clock, StartError, WarmUp};
use gateway_store::{PaymentSecrets, Store, Tables};
use gateway_upstream::stripe::{API, ATTEMPT_MS, Stripe};
use payments::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables { accounts: gateway_lambda::required("ACCOUNTS_TABLE")?, ..Tables::default() };
    let secret = gateway_lambda::required("PAYMENTS_SECRET")?;
    let now = Clock::system().now();
    let (store, secrets) = (Store::connect(tables).await, PaymentSecrets::new(secret));
    // Of no payment: what is wanted is the connection.
    let (warm, warm_secrets) = (store.clone(), secrets.clone());
    let warm_up = WarmUp::of(async move { warm.payment("none").await });
    let warm_up = warm_up.and(async move { warm_secrets.current(now).await });
    let app = App { store, stripe: Stripe::new(API, ATTEMPT_MS), secrets };
    gateway_lambda::run_buffered("payments", warm_up, move |request| {
        let app = app.clone();
        async move { payments::handle(&app, request).await }
    })
    .await
}
