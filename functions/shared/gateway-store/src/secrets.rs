//! Providers' credentials: one secret, a JSON object of name to credential.

use std::collections::HashMap;

use aws_sdk_secretsmanager::Client;

use crate::{StoreError, aws};

/// The secret that holds the providers' credentials.
#[derive(Clone)]
pub struct Secrets {
    client: Client,
    id: String,
}

impl Secrets {
    /// The secret with this name or ARN.
    pub async fn connect(id: String) -> Self {
        Self { client: Client::new(&aws::of_function().await), id }
    }

    /// Every credential by its name.
    ///
    /// # Errors
    /// Secrets Manager did not answer, or the secret is not a JSON object of strings.
    pub async fn credentials(&self) -> Result<HashMap<String, String>, StoreError> {
        let secret = self.client.get_secret_value().secret_id(&self.id).send().await;
        let secret = secret.map_err(|error| StoreError::of("credentials", error))?;
        // The parser's own message could quote the secret.
        serde_json::from_str(secret.secret_string().unwrap_or("{}"))
            .map_err(|_| StoreError::new("credentials", "the secret is not a JSON object of strings"))
    }
}
