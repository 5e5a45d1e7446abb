//! How a provider can fail, and the one place where that becomes an answer of ours.

use gateway_core::error::{ApiError, ErrorCode};
use serde_json::Value;

/// The longest message of a provider that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 2_000;

/// Why a provider gave no answer. What `Display` says is fit for a log: no provider's text, no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The provider found the request itself at fault: no other provider is asked.
    #[error("{provider} refused the request with status {status}")]
    Rejected {
        /// The provider.
        provider: String,
        /// Its status.
        status: u16,
        /// Its message, for the client alone.
        message: Message,
        /// The field that it names.
        param: Option<String>,
        /// The input is longer than the model reads.
        context_length: bool,
    },
    /// The provider refused our credential.
    #[error("{provider} refused our credential with status {status}")]
    CredentialRefused {
        /// The provider.
        provider: String,
        /// Its status.
        status: u16,
    },
    /// What we asked for was our own doing, and refused: our settings there are at fault.
    #[error("{provider} refused our order with status {status}")]
    OrderRefused {
        /// Who was asked.
        provider: String,
        /// Its status.
        status: u16,
    },
    /// There is no credential of the name that the provider needs.
    #[error("there is no credential `{credential}` for {provider}")]
    NoCredential {
        /// The provider.
        provider: String,
        /// The credential's name.
        credential: String,
    },
    /// The provider has no room, or our account there no funds.
    #[error("{provider} is overloaded (status {status})")]
    Overloaded {
        /// The provider.
        provider: String,
        /// Its status.
        status: u16,
        /// In how many seconds it wants to be asked again.
        retry_after_s: Option<u64>,
    },
    /// The provider failed in another way.
    #[error("{provider} failed: {what}")]
    Failed {
        /// The provider.
        provider: String,
        /// What happened.
        what: String,
    },
    /// The provider took too long.
    #[error("{provider} took too long: {what}")]
    TimedOut {
        /// The provider.
        provider: String,
        /// To do what.
        what: &'static str,
    },
    /// The request may not run longer here, whatever the provider does. No other is asked.
    #[error("the request ran out of time")]
    OutOfTime,
    /// Our own code panicked.
    #[error("the relay panicked")]
    Panicked,
}

/// A provider's message. It may quote the prompt, so Debug does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(pub String);

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} characters)", self.0.chars().count())
    }
}

impl UpstreamError {
    /// Whether another provider may do better: yes, unless the request itself, or we, are at fault.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Rejected { .. } | Self::OutOfTime | Self::Panicked)
    }

    /// Whether our own credential or settings are at fault, which no other try mends.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::CredentialRefused { .. } | Self::NoCredential { .. } | Self::OrderRefused { .. })
    }

    /// The same without `secret`, should the provider have quoted it.
    pub(crate) fn without(mut self, secret: Option<&str>) -> Self {
        let secret = secret.filter(|secret| !secret.is_empty());
        if let (Self::Rejected { message, param, .. }, Some(secret)) = (&mut self, secret) {
            message.0 = message.0.replace(secret, "[credential]");
            param.take_if(|param| param.contains(secret));
        }
        self
    }

    /// What an answer with a status other than 2xx, or with an `error` in its body, means.
    pub(crate) fn of_answer(provider: &str, status: u16, retry_after_s: Option<u64>, body: &[u8]) -> Self {
        let provider = provider.to_owned();
        match status {
            400 | 404 | 413 | 422 => match ProviderError::of(body) {
                Some(error) => error.rejected(provider, status),
                // No error of a model's: a wrong base URL, a proxy. Not the client's fault.
                None => Self::Failed { provider, what: format!("status {status} without a reason") },
            },
            401 | 403 => Self::CredentialRefused { provider, status },
            402 | 429 | 503 | 529 => Self::Overloaded { provider, status, retry_after_s },
            408 | 504 => Self::TimedOut { provider, what: "it says so itself" },
            _ => Self::Failed { provider, what: format!("status {status}") },
        }
    }

    /// What an `error` in an answer with status 200 means: providers put the true status inside, or only its name.
    pub(crate) fn of_error_body(provider: &str, body: &[u8]) -> Self {
        let status = ProviderError::of(body).map_or(500, |error| error.status());
        Self::of_answer(provider, status, None, body)
    }
}

impl From<UpstreamError> for ApiError {
    fn from(error: UpstreamError) -> Self {
        let cause = Some(error.to_string());
        let answer = match error {
            UpstreamError::Rejected { message, param, context_length, .. } => {
                let code = if context_length { ErrorCode::ContextLengthExceeded } else { ErrorCode::InvalidParameter };
                Self { param, ..Self::new(code, message.0) }
            }
            // That our key is at fault is the operator's business.
            UpstreamError::CredentialRefused { provider, .. } => {
                Self::new(ErrorCode::UpstreamError, format!("The provider {provider} could not be used."))
            }
            UpstreamError::OrderRefused { provider, status } => {
                Self::new(ErrorCode::UpstreamError, format!("The provider {provider} failed: status {status}."))
            }
            UpstreamError::NoCredential { provider, .. } => {
                Self::new(ErrorCode::NoProvider, format!("The provider {provider} is not set up here."))
            }
            UpstreamError::Overloaded { provider, status, retry_after_s } => {
                let message = format!("The provider {provider} is overloaded (status {status}). Try again later.");
                let answer = Self::new(ErrorCode::UpstreamOverloaded, message);
                match retry_after_s {
                    Some(seconds) => answer.retry_after(seconds),
                    None => answer,
                }
            }
            UpstreamError::Failed { provider, what } => {
                Self::new(ErrorCode::UpstreamError, format!("The provider {provider} failed: {what}."))
            }
            UpstreamError::TimedOut { provider, what } => {
                Self::new(ErrorCode::UpstreamTimeout, format!("The provider {provider} took too long: {what}."))
            }
            UpstreamError::OutOfTime => Self::new(ErrorCode::UpstreamTimeout, "The request took too long."),
            // The log's cause is set below.
            UpstreamError::Panicked => Self::internal(String::new()),
        };
        Self { cause, ..answer }
    }
}

/// An error as providers write it: OpenAI's envelope, a bare string in it (Ollama), Mistral's and FastAPI's own.
struct ProviderError {
    message: String,
    param: Option<String>,
    code: String,
    kind: String,
}

/// Whether a provider's `param` names a field, `messages[0].content`, and is no text of its own.
fn is_field_name(param: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.[]-".contains(&byte);
    param.len() <= 100 && param.bytes().all(known)
}

impl ProviderError {
    fn of(body: &[u8]) -> Option<Self> {
        let envelope: Value = serde_json::from_slice(body).ok()?;
        let error = Some(&envelope["error"]).filter(|error| !error.is_null()).unwrap_or(&envelope);
        let text = |field: &str| match &error[field] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let detail = || match &error["detail"] {
            Value::Array(details) => details.first().and_then(|first| first["msg"].as_str()),
            detail => detail.as_str(),
        };
        let message =
            error.as_str().map(str::to_owned).or_else(|| text("message")).or_else(|| detail().map(str::to_owned))?;
        Some(Self {
            message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
            param: text("param").filter(|param| is_field_name(param)),
            code: text("code").unwrap_or_default(),
            kind: text("type").unwrap_or_default(),
        })
    }

    fn rejected(self, provider: String, status: u16) -> UpstreamError {
        let names = [self.code.as_str(), self.kind.as_str()];
        let context_length = names.contains(&"context_length_exceeded") || names.contains(&"exceed_context_size_error");
        UpstreamError::Rejected { provider, status, message: Message(self.message), param: self.param, context_length }
    }

    /// The status that it would have had as an answer of its own.
    fn status(&self) -> u16 {
        if let Some(status) = self.code.parse().ok().filter(|status| (400..600).contains(status)) {
            return status;
        }
        match [self.code.as_str(), self.kind.as_str()] {
            ["context_length_exceeded", _] | [_, "invalid_request_error" | "exceed_context_size_error"] => 400,
            ["rate_limit_exceeded", _] | [_, "rate_limit_error" | "rate_limit_exceeded"] => 429,
            [_, "overloaded_error" | "overloaded"] => 503,
            _ => 500,
        }
    }
}
