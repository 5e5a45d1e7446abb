//! The `stripe-webhook` function's process.

use gateway_lambda::{Clock, StartError, WarmUp};
use gateway_store::{PaymentSecrets, Store, Tables};
use stripe_webhook::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        ledger: gateway_lambda::required("LEDGER_TABLE")?,
        ..Tables::default()
    };
    let secret = gateway_lambda::required("PAYMENTS_SECRET")?;
    let now = Clock::system().now();
    let (store, secrets) = (Store::connect(tables).await, PaymentSecrets::new(secret));
    // Of no payment: what is wanted is the connection.
    let (warm, warm_secrets) = (store.clone(), secrets.clone());
    let warm_up = WarmUp::of(async move { warm.payment("none").await });
    let warm_up = warm_up.and(async move { warm_secrets.current(now).await });
    let app = App { store, secrets };
    gateway_lambda::run_buffered("stripe-webhook", warm_up, move |request| {
        let app = app.clone();
        async move { stripe_webhook::handle(&app, request).await }
    })
    .await
}
