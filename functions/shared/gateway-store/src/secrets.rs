//! Credentials, each kind in a secret of its own, so that a function reads only what it needs: the providers', one JSON object
//! of name to credential, and the payments'. Nothing here may print one.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_sdk_secretsmanager::Client;
use gateway_core::{
    error::{ApiError, ErrorCode},
    moment::UnixMs,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

use crate::{StoreError, aws, kept::Kept};

/// A secret that was changed is in use after this long at the latest.
const REFRESH_MS: u64 = 300_000;

/// One secret, and the client that its first read makes, so that no start waits for it.
struct Secret {
    id: String,
    client: OnceCell<Client>,
}

impl Secret {
    fn new(id: String) -> Self {
        Self { id, client: OnceCell::new() }
    }

    /// What it holds, as JSON of this kind, which is said in words where it is another.
    async fn secret_value<T: DeserializeOwned>(&self, operation: &'static str, what: &str) -> Result<T, StoreError> {
        let client = self.client.get_or_init(async || Client::new(&aws::of_function().await)).await;
        let secret = client.get_secret_value().secret_id(&self.id).send().await;
        let secret = secret.map_err(|error| StoreError::of(operation, error))?;
        // The parser's own message could quote the secret.
        serde_json::from_str(secret.secret_string().unwrap_or("{}"))
            .map_err(|_| StoreError::new(operation, format!("the secret is not {what}")))
    }
}

/// The secret that holds the providers' credentials.
#[derive(Clone)]
pub struct Secrets(Arc<Secret>);

impl Secrets {
    /// The secret with this name or ARN.
    pub fn new(id: String) -> Self {
        Self(Arc::new(Secret::new(id)))
    }

    /// Every credential by its name.
    ///
    /// # Errors
    /// Secrets Manager did not answer, or the secret is not a JSON object of strings.
    pub async fn credentials(&self) -> Result<HashMap<String, String>, StoreError> {
        let Self(secret) = self;
        secret.secret_value("credentials", "a JSON object of strings").await
    }
}

/// What Stripe knows us by, and what we know its webhooks by. Empty where payments are not set up.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PaymentsSecret {
    secret_key: String,
    /// Several while one is rotated.
    webhook_secrets: Vec<String>,
}

impl PaymentsSecret {
    /// These; empty ones are none.
    pub fn new(secret_key: String, webhook_secrets: Vec<String>) -> Self {
        Self { secret_key, webhook_secrets }
    }

    /// The key that opens Stripe's API.
    ///
    /// # Errors
    /// 503 if there is none.
    pub fn secret_key(&self) -> Result<&str, ApiError> {
        Some(self.secret_key.as_str()).filter(|key| !key.is_empty()).ok_or_else(not_set_up)
    }

    /// What webhooks are signed with.
    ///
    /// # Errors
    /// 503 if there is none.
    pub fn webhook_secrets(&self) -> Result<&[String], ApiError> {
        let some = self.webhook_secrets.iter().any(|secret| !secret.is_empty());
        if some { Ok(&self.webhook_secrets) } else { Err(not_set_up()) }
    }
}

/// Like a model whose provider has no credential here: the request is right, and would be served once the operator is done.
fn not_set_up() -> ApiError {
    ApiError::new(ErrorCode::NoProvider, "Payments are not set up here.")
}

impl fmt::Debug for PaymentsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentsSecret")
    }
}

/// The payments' secret, kept fresh.
#[derive(Clone)]
pub struct PaymentSecrets(Source);

#[derive(Clone)]
enum Source {
    Fixed(Arc<PaymentsSecret>),
    Stored(Arc<Stored>),
}

struct Stored {
    secret: Secret,
    kept: Kept<PaymentsSecret>,
}

impl PaymentSecrets {
    /// A secret that stays as it is.
    pub fn fixed(secret: PaymentsSecret) -> Self {
        Self(Source::Fixed(Arc::new(secret)))
    }

    /// The secret with this name or ARN, which is read when it is first asked for.
    pub fn new(id: String) -> Self {
        Self(Source::Stored(Arc::new(Stored { secret: Secret::new(id), kept: Kept::default() })))
    }

    /// The secret now.
    ///
    /// # Errors
    /// It was never read yet, and now Secrets Manager did not answer or it is not of its form.
    pub async fn current(&self, at: UnixMs) -> Result<Arc<PaymentsSecret>, StoreError> {
        match &self.0 {
            Source::Fixed(secret) => Ok(secret.clone()),
            Source::Stored(secrets) => secrets.kept.fresh(at, REFRESH_MS, async || secrets.read_again().await).await,
        }
    }
}

impl Stored {
    async fn read_again(&self) -> Result<PaymentsSecret, StoreError> {
        self.secret.secret_value("payments_secret", "a JSON object of secret_key and webhook_secrets").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_empty_is_not_set_up() {
        let read = |json: &str| serde_json::from_str::<PaymentsSecret>(json).unwrap();
        for empty in ["{}", r#"{"secret_key":"","webhook_secrets":[]}"#, r#"{"webhook_secrets":[""]}"#] {
            let secret = read(empty);
            assert_eq!(secret.secret_key().unwrap_err().code, ErrorCode::NoProvider, "{empty}");
            assert_eq!(secret.webhook_secrets().unwrap_err().code, ErrorCode::NoProvider, "{empty}");
        }
        let both = read(r#"{"secret_key":"sk_1","webhook_secrets":["whsec_1","whsec_2"]}"#);
        assert_eq!((both.secret_key().unwrap(), both.webhook_secrets().unwrap().len()), ("sk_1", 2));
        assert_eq!(format!("{both:?}"), "PaymentsSecret");
    }
}
