//! The `dashboard` function's process.

use std::sync::Arc;

use dashboard::{App, Passwords};
use gateway_lambda::{Clock, StartError, WarmUp};
use gateway_store::{Configuration, PaymentSecrets, Secrets, Store, Tables};
use gateway_upstream::{
    Credentials, OpenId, OpenIdSettings,
    stripe::{API, ATTEMPT_MS, Stripe},
};

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        tokens: gateway_lambda::required("TOKENS_TABLE")?,
        ledger: gateway_lambda::required("LEDGER_TABLE")?,
        usage: gateway_lambda::required("USAGE_TABLE")?,
        people: gateway_lambda::required("PEOPLE_TABLE")?,
    };
    let sign_up = gateway_lambda::required("SIGN_UP")? == "true";
    let emails = gateway_lambda::environment("EMAIL_SENDER").is_some();
    let secret = gateway_lambda::required("OPENID_SECRET")?;
    let payment_secrets = gateway_lambda::required("PAYMENTS_SECRET")?;
    let (store, credentials) = (Store::connect(tables).await, credentials(secret));
    let payment_secrets = PaymentSecrets::new(payment_secrets);
    let configuration = Configuration::stored(store.clone());
    let openid = match gateway_lambda::environment("OPENID_ISSUER") {
        Some(issuer) => {
            let client_id = gateway_lambda::required("OPENID_CLIENT_ID")?;
            Some(OpenId::new(OpenIdSettings { issuer, client_id }, credentials)?)
        }
        None => None,
    };
    // What every page needs; whatever only some need is read when they do.
    let warm = configuration.clone();
    let warm_up = WarmUp::of(async move { warm.catalogue(Clock::system().now()).await });
    let stripe = Stripe::new(API, ATTEMPT_MS);
    let passwords = Passwords::default();
    let app = App { store, configuration, stripe, payment_secrets, passwords, emails, sign_up, openid };
    gateway_lambda::run_buffered("dashboard", warm_up, move |request| {
        let app = app.clone();
        async move { dashboard::handle(&app, request).await }
    })
    .await
}

/// Our secret at the OpenID provider, read when it is needed and again when it is old.
fn credentials(secret: String) -> Credentials {
    let secrets = Secrets::new(secret);
    Credentials::from_source(Arc::new(move || {
        let secrets = secrets.clone();
        Box::pin(async move { secrets.credentials().await.map_err(|error| error.to_string()) })
    }))
}
