//! The `dashboard` function's process.

use std::sync::Arc;

use dashboard::{App, Passwords};
use gateway_lambda::StartError;
use gateway_store::{Secrets, Store, Tables};
use gateway_upstream::{Credentials, OpenId, OpenIdSettings, Source};

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        people: gateway_lambda::required("PEOPLE_TABLE")?,
        ..Tables::default()
    };
    let sign_up = gateway_lambda::required("SIGN_UP")? == "true";
    let secret = gateway_lambda::required("OPENID_SECRET")?;
    let openid = match gateway_lambda::environment("OPENID_ISSUER") {
        Some(issuer) => Some(openid(issuer, gateway_lambda::required("OPENID_CLIENT_ID")?, secret).await?),
        None => None,
    };
    let app = App { store: Store::connect(tables).await, passwords: Passwords::default(), sign_up, openid };
    gateway_lambda::run_buffered("dashboard", move |request| {
        let app = app.clone();
        async move { dashboard::handle(&app, request).await }
    })
    .await
}

/// The OpenID provider; the client's secret is read now, and again when it is old.
async fn openid(issuer: String, client_id: String, secret: String) -> Result<OpenId, StartError> {
    let secrets = Secrets::connect(secret).await;
    let source: Source = Arc::new(move || {
        let secrets = secrets.clone();
        Box::pin(async move { secrets.credentials().await.map_err(|error| error.to_string()) })
    });
    let credentials = Credentials::load(source).await?;
    Ok(OpenId::new(OpenIdSettings { issuer, client_id }, credentials)?)
}
