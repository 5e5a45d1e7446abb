//! What a provider says of itself: its endpoints and its keys.

use gateway_core::moment::UnixMs;
use jsonwebtoken::jwk::Jwk;
use reqwest::Client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{OpenIdError, TIMEOUT, secure};

/// Fetched again when it is older.
const MAX_AGE_MS: u64 = 60 * 60 * 1000;
/// And for the sake of an unknown key not before it is as old.
const NEW_MS: u64 = 60 * 1000;

/// What is known of the provider.
pub(super) struct Provider {
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    /// Where it tells what the ID token leaves out.
    pub(super) userinfo_endpoint: Option<String>,
    /// The keys that it signs with.
    pub(super) keys: Vec<Jwk>,
    basic: bool,
    at: UnixMs,
}

/// OpenID Connect Discovery 1.0, section 3, as far as it is used.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Value>,
}

impl Provider {
    /// Asks the provider.
    pub(super) async fn fetch(http: &Client, issuer: &str, at: UnixMs) -> Result<Self, OpenIdError> {
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let found: Discovery = document(http, &address).await?;
        if found.issuer != issuer {
            return Err(OpenIdError::Provider("its discovery document is another issuer's".to_owned()));
        }
        let Keys { keys } = document(http, &found.jwks_uri).await?;
        // A key of a kind that is not known here signs nothing for us.
        let keys = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        let methods = found.token_endpoint_auth_methods_supported;
        // What is not said is `client_secret_basic`.
        let basic = methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let Discovery { authorization_endpoint, token_endpoint, userinfo_endpoint, .. } = found;
        Ok(Self { authorization_endpoint, token_endpoint, userinfo_endpoint, keys, basic, at })
    }

    /// Whether it takes the client's secret in a header.
    pub(super) fn takes_basic(&self) -> bool {
        self.basic
    }

    pub(super) fn is_fresh(&self, at: UnixMs) -> bool {
        at < self.at.plus_ms(MAX_AGE_MS)
    }

    pub(super) fn is_new(&self, at: UnixMs) -> bool {
        at < self.at.plus_ms(NEW_MS)
    }

    /// Whether it has the key of this id; a token may name none.
    pub(super) fn has_key(&self, kid: Option<&str>) -> bool {
        kid.is_none() || self.keys.iter().any(|key| key.common.key_id.as_deref() == kid)
    }
}

async fn document<T: DeserializeOwned>(http: &Client, address: &str) -> Result<T, OpenIdError> {
    let url = secure(address).map_err(OpenIdError::Provider)?;
    let failed = |error: reqwest::Error| OpenIdError::Provider(error.to_string());
    let answer = http.get(url).timeout(TIMEOUT).send().await.map_err(failed)?.error_for_status().map_err(failed)?;
    answer.json().await.map_err(failed)
}
