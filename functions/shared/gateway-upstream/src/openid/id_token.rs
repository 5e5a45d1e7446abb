//! The ID token: whose it is, if it is signed by the provider, for us, for this flow, and now.

use gateway_core::{moment::UnixMs, people::Email};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::Jwk};
use serde::Deserialize;

use super::{OpenIdError, OpenIdSettings};

/// Signatures that take a provider's private key. None with a shared secret, and never "none".
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// How far the provider's clock may be from ours.
const SKEW_S: u64 = 60;
/// A token is used within seconds of its making, so an old one is somebody's find.
const MOST_AGE_S: u64 = 600;

/// What the provider says of somebody.
#[derive(Deserialize)]
pub(super) struct About {
    pub(super) sub: String,
    pub(super) email: Option<String>,
    #[serde(default)]
    email_verified: Verified,
}

impl About {
    /// The address, if the provider has verified it.
    pub(super) fn verified_email(&self) -> Option<Email> {
        self.email.as_deref().and_then(Email::parse).filter(|_| self.email_verified.is_true())
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(flatten)]
    about: About,
    exp: u64,
    iat: u64,
    nonce: Option<String>,
    /// For whom the token was made, where it is good for several.
    azp: Option<String>,
}

/// Some providers write a text.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Verified {
    #[default]
    Unsaid,
    Flag(bool),
    Text(String),
}

impl Verified {
    fn is_true(&self) -> bool {
        match self {
            Self::Unsaid => false,
            Self::Flag(flag) => *flag,
            Self::Text(text) => text == "true",
        }
    }
}

/// The id of the key that the token says it is signed with.
pub(super) fn key_id(token: &str) -> Result<Option<String>, OpenIdError> {
    decode_header(token).map(|header| header.kid).map_err(|error| OpenIdError::Token(error.to_string()))
}

/// Whose token it is, as the issuer and the subject, and what it says of them: OpenID Connect Core 1.0, 3.1.3.7.
pub(super) fn subject(
    token: &str,
    keys: &[Jwk],
    settings: &OpenIdSettings,
    nonce: &str,
    at: UnixMs,
) -> Result<(String, About), OpenIdError> {
    let claims = signed(token, keys, settings)?;
    let now = at.seconds();
    let refused = |why: &str| Err(OpenIdError::Token(why.to_owned()));
    if claims.exp.saturating_add(SKEW_S) <= now {
        return refused("it has expired");
    }
    if claims.iat > now + SKEW_S || claims.iat.saturating_add(MOST_AGE_S) <= now {
        return refused("it was not made just now");
    }
    if claims.nonce.as_deref() != Some(nonce) {
        return refused("it is another flow's");
    }
    if claims.azp.is_some_and(|party| party != settings.client_id) {
        return refused("it was made for another client");
    }
    let Claims { iss, about, .. } = claims;
    if about.sub.is_empty() {
        return refused("it names nobody");
    }
    Ok((format!("{iss} {}", about.sub), about))
}

/// The claims, if the provider signed them for us.
fn signed(token: &str, keys: &[Jwk], settings: &OpenIdSettings) -> Result<Claims, OpenIdError> {
    let refused = |error: jsonwebtoken::errors::Error| OpenIdError::Token(error.to_string());
    let header = decode_header(token).map_err(refused)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(OpenIdError::Token(format!("it is signed by {:?}", header.alg)));
    }
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&[&settings.client_id]);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // It would read the system's clock; what it says of time is checked above.
    validation.validate_exp = false;
    // A token that names no key may be signed with any of the provider's.
    let named = |key: &&Jwk| header.kid.is_none() || key.common.key_id == header.kid;
    let mut outcome = Err(OpenIdError::Token("no key of the provider's has its id".to_owned()));
    for key in keys.iter().filter(named) {
        // The key's own kind decides what it can check, so a public key is never taken for a shared secret.
        let checked = DecodingKey::from_jwk(key).and_then(|key| decode::<Claims>(token, &key, &validation));
        outcome = checked.map(|data| data.claims).map_err(refused);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
