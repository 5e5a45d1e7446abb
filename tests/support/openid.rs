//! An OpenID provider that signs what a test tells it to, rightly or wrongly.
//!
//! Its ES256 keys are made anew for each: nothing here is worth stealing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature,
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use gateway_core::moment::UnixMs;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};

use crate::{Provider, Reply, Seen, gateway::made_up};

/// What we are called there.
pub const CLIENT_ID: &str = "dashboard";

/// What the next ID token is like, and how it is signed.
type Change = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// How a token is signed.
#[derive(Clone)]
pub enum Signature {
    /// By the provider.
    Right,
    /// By a key of somebody else's, under the provider's key's name.
    Foreign,
    /// By the provider's public key, taken for a shared secret.
    Shared,
    /// Not at all: `"alg":"none"`.
    None,
}

struct State {
    at: UnixMs,
    /// What was asked for at the authorization endpoint, by code.
    flows: HashMap<String, HashMap<String, String>>,
    change: Change,
    signature: Signature,
    keys: Vec<(String, Vec<u8>)>,
    /// What it tells beside the ID token, if it does.
    userinfo: Option<Value>,
}

/// The provider.
pub struct OpenIdProvider {
    /// Its issuer.
    pub issuer: String,
    /// The secret that it gave us.
    pub secret: String,
    server: Provider,
    state: Arc<Mutex<State>>,
}

impl OpenIdProvider {
    /// A provider on a free port, at whose clock it is `at`.
    pub async fn start(at: UnixMs) -> Self {
        let server = Provider::start().await;
        let (issuer, secret) = (server.base_url.clone(), made_up("secret "));
        let state = State {
            at,
            flows: HashMap::new(),
            change: Arc::new(|_| ()),
            signature: Signature::Right,
            keys: vec![("first".to_owned(), new_key())],
            userinfo: None,
        };
        let state = Arc::new(Mutex::new(state));
        let (shared, own, expected) = (state.clone(), issuer.clone(), secret.clone());
        server.answers_by(move |seen| answer(seen, &own, &expected, &mut lock(&shared)));
        Self { issuer, secret, server, state }
    }

    /// From now on ID tokens are changed so before they are signed.
    pub fn claims(&self, change: impl Fn(&mut Value) + Send + Sync + 'static) {
        lock(&self.state).change = Arc::new(change);
    }

    /// From now on it tells this beside the ID token.
    pub fn tells(&self, userinfo: Value) {
        lock(&self.state).userinfo = Some(userinfo);
    }

    /// From now on ID tokens are signed so.
    pub fn signs(&self, signature: Signature) {
        lock(&self.state).signature = signature;
    }

    /// Takes another key, under another name.
    pub fn rotate(&self) {
        lock(&self.state).keys = vec![("second".to_owned(), new_key())];
    }

    /// Moves its clock ahead.
    pub fn advance_ms(&self, ms: u64) {
        let mut state = lock(&self.state);
        state.at = state.at.plus_ms(ms);
    }

    /// What it was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }

    /// Somebody signs in there: the address that the browser is sent back to.
    pub fn sign_in(&self, authorization_url: &str) -> String {
        let (_, query) = authorization_url.split_once('?').unwrap();
        let asked: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(
            ["response_type", "client_id", "scope", "code_challenge_method"].map(|name| asked[name].as_str()),
            ["code", CLIENT_ID, "openid email", "S256"]
        );
        let code = made_up("code-");
        let back = format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"]);
        lock(&self.state).flows.insert(code, asked);
        back
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn new_key() -> Vec<u8> {
    let signing = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    signature::EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap().as_ref().to_vec()
}

fn jwk(id: &str, key: &[u8]) -> Jwk {
    let mut jwk = Jwk::from_encoding_key(&EncodingKey::from_ec_der(key), Algorithm::ES256).unwrap();
    jwk.common.key_id = Some(id.to_owned());
    jwk
}

fn answer(seen: &Seen, issuer: &str, secret: &str, state: &mut State) -> Reply {
    let path = seen.path.strip_prefix("/v1").unwrap_or(&seen.path);
    match path {
        "/.well-known/openid-configuration" => {
            let userinfo = state.userinfo.as_ref().map(|_| format!("{issuer}/userinfo"));
            let document = json!({
                "userinfo_endpoint": userinfo,
                "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
            });
            Reply::Json(200, document.to_string())
        }
        "/keys" => {
            // A kind of key that nobody knows is no reason to know none.
            let mut keys = vec![json!({"kty": "future"})];
            keys.extend(state.keys.iter().map(|(id, key)| json!(jwk(id, key))));
            Reply::Json(200, json!({"keys": keys}).to_string())
        }
        "/userinfo" if seen.header("authorization") == Some("Bearer for userinfo") => {
            Reply::Json(200, state.userinfo.as_ref().unwrap().to_string())
        }
        "/token" => token(seen, issuer, secret, state),
        _ => Reply::Json(404, "{}".to_owned()),
    }
}

/// RFC 6749, 4.1.3 and RFC 7636, 4.6: everything that a strict provider checks.
fn token(seen: &Seen, issuer: &str, secret: &str, state: &mut State) -> Reply {
    let refuse = |error: &str| Reply::Json(400, json!({"error": error}).to_string());
    let sent: HashMap<String, String> = form_urlencoded::parse(seen.body.as_bytes()).into_owned().collect();
    let escaped: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let credentials = format!("Basic {}", BASE64_STANDARD.encode(format!("{CLIENT_ID}:{escaped}")));
    if seen.header("authorization") != Some(&credentials) {
        return refuse("invalid_client");
    }
    // A code is good once.
    let Some(asked) = state.flows.remove(&sent["code"]) else { return refuse("invalid_grant") };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, sent["code_verifier"].as_bytes()));
    let same = sent["grant_type"] == "authorization_code"
        && sent["redirect_uri"] == asked["redirect_uri"]
        && challenge == asked["code_challenge"];
    if !same {
        return refuse("invalid_grant");
    }
    let now = state.at.seconds();
    let mut claims = json!({
        "iss": issuer, "sub": "subject 1", "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"],
        "email": "ada@example.com", "email_verified": true,
    });
    (state.change)(&mut claims);
    let id_token = signed(&claims, &state.keys[0], &state.signature);
    Reply::Json(200, json!({"access_token": "for userinfo", "token_type": "Bearer", "id_token": id_token}).to_string())
}

fn signed(claims: &Value, (id, key): &(String, Vec<u8>), signature: &Signature) -> String {
    let header = |algorithm| Header { kid: Some(id.clone()), ..Header::new(algorithm) };
    match signature {
        Signature::Right => encode(&header(Algorithm::ES256), claims, &EncodingKey::from_ec_der(key)).unwrap(),
        Signature::Foreign => encode(&header(Algorithm::ES256), claims, &EncodingKey::from_ec_der(&new_key())).unwrap(),
        Signature::Shared => {
            let public = serde_json::to_vec(&jwk(id, key)).unwrap();
            encode(&header(Algorithm::HS256), claims, &EncodingKey::from_secret(&public)).unwrap()
        }
        Signature::None => {
            let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.", part(&json!({"alg": "none", "kid": id})), part(claims))
        }
    }
}
