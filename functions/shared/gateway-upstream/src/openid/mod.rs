//! OpenID Connect: the authorization code flow with PKCE, at one provider that is found by discovery.
//!
//! What a flow has to remember is one secret in the browser that began it. State, nonce and verifier are derived from it,
//! so an answer to a flow of another browser is none to this one's, and nothing has to be stored. The ID token's signature
//! is checked by `jsonwebtoken`, its claims here, where the time comes in as an argument.

mod id_token;
mod provider;

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use form_urlencoded::{Serializer, byte_serialize};
use gateway_core::{
    moment::UnixMs,
    people::{Email, Secret},
};
use reqwest::{Client, RequestBuilder, Url, header};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use self::{id_token::About, provider::Provider};
use crate::{Credentials, client::LazyClient};

/// The name of the client's secret among its credentials.
const SECRET: &str = "client_secret";
const CONNECT_MS: u64 = 5_000;
/// People wait for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which provider, and what we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIdSettings {
    /// The provider's own name of itself, `https://accounts.example`. `http` is for this machine alone.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
}

/// The secrets of one flow, all derived from the one that its browser keeps.
#[derive(Debug, Clone)]
pub struct Flow {
    /// What comes back with the code.
    pub state: Secret,
    nonce: String,
    verifier: String,
}

impl Flow {
    /// The flow of the browser with this secret.
    pub fn of(browser: &Secret) -> Self {
        Self {
            state: browser.derive("openid state"),
            nonce: browser.derive("openid nonce").reveal(),
            verifier: browser.derive("openid verifier").reveal(),
        }
    }
}

/// Who somebody is, by the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Issuer, a space, subject: what never changes, and nobody else gets.
    pub subject: String,
    /// The address, which the provider has verified.
    pub email: Email,
}

/// Why somebody could not be identified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenIdError {
    /// The provider does not answer, or not as one does. The text is for the log.
    #[error("the OpenID provider fails: {0}")]
    Provider(String),
    /// The provider does not take our code or our credentials.
    #[error("the OpenID provider refuses the code: {0}")]
    Refused(String),
    /// The ID token is not one for us and this flow.
    #[error("the ID token is refused: {0}")]
    Token(String),
    /// The provider knows no address of this person, or has not verified it.
    #[error("the OpenID provider has verified no email address")]
    Unverified,
}

/// The provider. Clones share what is known of it.
#[derive(Clone)]
pub struct OpenId {
    settings: Arc<OpenIdSettings>,
    credentials: Credentials,
    http: Arc<LazyClient>,
    /// Held while it is fetched: once at a time.
    known: Arc<Mutex<Option<Arc<Provider>>>>,
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenId").field(&self.settings).finish()
    }
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl OpenId {
    /// The provider with these settings; the credentials have the client's secret as `client_secret`, or nothing for a
    /// client that has none. Nobody is asked yet.
    ///
    /// # Errors
    /// An issuer that is no `https` address, or no client id.
    pub fn new(settings: OpenIdSettings, credentials: Credentials) -> Result<Self, String> {
        secure(&settings.issuer).map_err(|problem| format!("the OpenID issuer {problem}"))?;
        if settings.client_id.is_empty() {
            return Err("the OpenID issuer wants a client id".to_owned());
        }
        let http = Arc::new(LazyClient::new(CONNECT_MS, true));
        Ok(Self { settings: Arc::new(settings), credentials, http, known: Arc::default() })
    }

    /// Where to send the browser, to come back to `return_to` with a code.
    ///
    /// # Errors
    /// The provider does not answer.
    pub async fn authorization_url(&self, flow: &Flow, return_to: &str, at: UnixMs) -> Result<String, OpenIdError> {
        let provider = self.provider(at).await?;
        let mut url = secure(&provider.authorization_endpoint).map_err(OpenIdError::Provider)?;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&flow.verifier));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", return_to)
            .append_pair("scope", "openid email")
            .append_pair("state", &flow.state.reveal())
            .append_pair("nonce", &flow.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Who came back with this code to `return_to`.
    ///
    /// # Errors
    /// The provider does not answer, does not take the code, or says nothing that can be relied on.
    pub async fn identity(
        &self,
        flow: &Flow,
        code: &str,
        return_to: &str,
        at: UnixMs,
    ) -> Result<Identity, OpenIdError> {
        let provider = self.provider(at).await?;
        let Tokens { id_token: token, access_token } = self.tokens(&provider, flow, code, return_to).await?;
        let kid = id_token::key_id(&token)?;
        let provider = match provider.has_key(kid.as_deref()) {
            true => provider,
            // The provider has changed its keys.
            false => self.refreshed(&provider, at).await?,
        };
        let (subject, mut about) = id_token::subject(&token, &provider.keys, &self.settings, &flow.nonce, at)?;
        if let (None, Some(endpoint)) = (&about.email, &provider.userinfo_endpoint) {
            about = self.userinfo(endpoint, &access_token, &about).await?;
        }
        let email = about.verified_email().ok_or(OpenIdError::Unverified)?;
        Ok(Identity { subject, email })
    }

    /// What the provider tells beside the ID token, of the same person: strict ones leave the address out of the token.
    async fn userinfo(&self, endpoint: &str, access_token: &str, known: &About) -> Result<About, OpenIdError> {
        let url = secure(endpoint).map_err(OpenIdError::Provider)?;
        let failed = |error: reqwest::Error| OpenIdError::Provider(error.to_string());
        let answer = self.http()?.get(url).timeout(TIMEOUT).bearer_auth(access_token).send().await.map_err(failed)?;
        let about: About = answer.error_for_status().map_err(failed)?.json().await.map_err(failed)?;
        if about.sub == known.sub {
            Ok(about)
        } else {
            Err(OpenIdError::Token("userinfo is somebody else's".to_owned()))
        }
    }

    /// The tokens for the code.
    async fn tokens(
        &self,
        provider: &Provider,
        flow: &Flow,
        code: &str,
        return_to: &str,
    ) -> Result<Tokens, OpenIdError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", return_to),
            ("code_verifier", &flow.verifier),
        ];
        let secret = self.credentials.secret(SECRET).await;
        let request = self.token_request(provider, &fields, secret.as_deref())?;
        // The error would name the URL, which holds nothing secret, and never the body.
        let answer = request.send().await.map_err(|error| OpenIdError::Provider(error.to_string()))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| OpenIdError::Provider(error.to_string()))?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|_| OpenIdError::Provider("the token endpoint answered without an ID token".to_owned()));
        }
        let refusal = serde_json::from_slice::<Refusal>(&body).ok().filter(|_| status.is_client_error());
        Err(match refusal {
            Some(Refusal { error }) => OpenIdError::Refused(error.chars().take(100).collect()),
            None => OpenIdError::Provider(format!("the token endpoint answered {status}")),
        })
    }

    /// The request with these fields, and with who we are: by our secret, in the way that the provider takes it.
    fn token_request(
        &self,
        provider: &Provider,
        fields: &[(&str, &str)],
        secret: Option<&str>,
    ) -> Result<RequestBuilder, OpenIdError> {
        let url = secure(&provider.token_endpoint).map_err(OpenIdError::Provider)?;
        let client_id = &self.settings.client_id;
        let mut request = self.http()?.post(url).timeout(TIMEOUT).header(header::ACCEPT, "application/json");
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields);
        match secret {
            Some(secret) if provider.takes_basic() => {
                // Both are written as a form writes them, before they are joined: RFC 6749, 2.3.1.
                let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                request = request.basic_auth(escaped(client_id), Some(escaped(secret)));
            }
            _ => {
                form.append_pair("client_id", client_id);
                form.extend_pairs(secret.map(|secret| ("client_secret", secret)));
            }
        }
        Ok(request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish()))
    }

    fn http(&self) -> Result<&Client, OpenIdError> {
        self.http.client().map_err(|error| OpenIdError::Provider(error.to_string()))
    }

    /// What is known of the provider, fetched if it is old.
    async fn provider(&self, at: UnixMs) -> Result<Arc<Provider>, OpenIdError> {
        let mut known = self.known.lock().await;
        match known.as_ref().filter(|provider| provider.is_fresh(at)) {
            Some(provider) => Ok(provider.clone()),
            None => Ok(known.insert(Arc::new(self.fetch(at).await?)).clone()),
        }
    }

    /// The same fetched anew, unless it was a moment ago: a stranger's key ids must not make us ask all the time.
    async fn refreshed(&self, before: &Arc<Provider>, at: UnixMs) -> Result<Arc<Provider>, OpenIdError> {
        let mut known = self.known.lock().await;
        match known.as_ref() {
            Some(now) if !Arc::ptr_eq(now, before) || now.is_new(at) => Ok(now.clone()),
            _ => Ok(known.insert(Arc::new(self.fetch(at).await?)).clone()),
        }
    }

    async fn fetch(&self, at: UnixMs) -> Result<Provider, OpenIdError> {
        Provider::fetch(self.http()?, &self.settings.issuer, at).await
    }
}

/// The address, if it is safe to send codes and secrets there: `https`, or this machine.
fn secure(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is no address: {error}"))?;
    let here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err(format!("`{text}` must be an https address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_https_or_stay_on_this_machine() {
        for good in ["https://accounts.example", "http://127.0.0.1:9/x", "http://localhost:9"] {
            assert!(secure(good).is_ok(), "{good}");
        }
        for bad in ["http://accounts.example", "ftp://127.0.0.1", "accounts.example", "http://127.0.0.1.example"] {
            assert!(secure(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flow_s_secrets_differ_and_follow_from_the_browser_s_alone() {
        let flow = |byte| Flow::of(&Secret::from_random([byte; 32]));
        let one = flow(1);
        assert_eq!((&one.nonce, &one.verifier), (&flow(1).nonce, &flow(1).verifier));
        assert_ne!(one.nonce, flow(2).nonce);
        assert!(one.nonce != one.verifier && one.state.reveal() != one.nonce && one.state.reveal() != one.verifier);
        assert!((43..=128).contains(&one.verifier.len()), "RFC 7636, 4.1");
    }
}
