//! The `dashboard` function's process.

use std::sync::Arc;

use dashboard::{App, Passwords};
use gateway_core::people::Secret;
use gateway_lambda::{Clock, StartError, warm_up};
use gateway_store::{Secrets, Store, Tables};
use gateway_upstream::{Credentials, OpenId, OpenIdSettings};

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
    let (store, credentials) = (Store::connect(tables).await, credentials(secret).await);
    let openid = gateway_lambda::environment("OPENID_ISSUER");
    let with_openid = openid.is_some();
    // No session's: what is wanted is the connection.
    tokio::join!(warm_up(store.session(&Secret::from_random([0; 32]), Clock::system().now())), async {
        if with_openid {
            warm_up(credentials.load()).await;
        }
    });
    let openid = match openid {
        Some(issuer) => {
            let client_id = gateway_lambda::required("OPENID_CLIENT_ID")?;
            Some(OpenId::new(OpenIdSettings { issuer, client_id }, credentials)?)
        }
        None => None,
    };
    let app = App { store, passwords: Passwords::default(), sign_up, openid };
    gateway_lambda::run_buffered("dashboard", move |request| {
        let app = app.clone();
        async move { dashboard::handle(&app, request).await }
    })
    .await
}

/// Our secret at the OpenID provider, read when it is needed and again when it is old.
async fn credentials(secret: String) -> Credentials {
    let secrets = Secrets::connect(secret).await;
    Credentials::from_source(Arc::new(move || {
        let secrets = secrets.clone();
        Box::pin(async move { secrets.credentials().await.map_err(|error| error.to_string()) })
    }))
}
