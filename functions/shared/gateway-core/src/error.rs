//! Every way a request can be refused or fail, and the one table of what the client is told.

use serde::Serialize;

use crate::limits::RateStanding;

/// What went wrong, as the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The body is not JSON.
    InvalidJson,
    /// A field that must be there is not.
    MissingParameter,
    /// A field has a value that it can't have.
    InvalidParameter,
    /// The input is longer than the model reads.
    ContextLengthExceeded,
    /// No key, or one that is malformed, unknown, deleted or expired.
    InvalidApiKey,
    /// The account's free funds do not cover the request.
    InsufficientBalance,
    /// The key is switched off.
    KeyDeactivated,
    /// The key may spend no more.
    SpendLimitReached,
    /// A billing key on `/v1`, or a proxy key on `/api`.
    WrongKeyType,
    /// The key's allow list does not name the model.
    ModelNotAllowed,
    /// No such model.
    ModelNotFound,
    /// No such path.
    UnknownUrl,
    /// No such thing.
    NotFound,
    /// The path exists, this method on it does not.
    MethodNotAllowed,
    /// An idempotency key used again with another body.
    IdempotencyConflict,
    /// A body over what the platform carries.
    RequestTooLarge,
    /// The key's rate window is full.
    RateLimitExceeded,
    /// Our fault.
    InternalError,
    /// The provider failed and no fallback was left.
    UpstreamError,
    /// The provider has no room.
    UpstreamOverloaded,
    /// The model is known, but nobody serves it here: no provider, no credential or no price. Or nobody takes payments.
    NoProvider,
    /// The provider took too long.
    UpstreamTimeout,
}

impl ErrorCode {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 22] = [
        Self::InvalidJson,
        Self::MissingParameter,
        Self::InvalidParameter,
        Self::ContextLengthExceeded,
        Self::InvalidApiKey,
        Self::InsufficientBalance,
        Self::KeyDeactivated,
        Self::SpendLimitReached,
        Self::WrongKeyType,
        Self::ModelNotAllowed,
        Self::ModelNotFound,
        Self::UnknownUrl,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::IdempotencyConflict,
        Self::RequestTooLarge,
        Self::RateLimitExceeded,
        Self::InternalError,
        Self::UpstreamError,
        Self::UpstreamOverloaded,
        Self::NoProvider,
        Self::UpstreamTimeout,
    ];

    /// HTTP status, type and code. The whole error table.
    pub fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidJson => (400, "invalid_request_error", "invalid_json"),
            Self::MissingParameter => (400, "invalid_request_error", "missing_parameter"),
            Self::InvalidParameter => (400, "invalid_request_error", "invalid_parameter"),
            Self::ContextLengthExceeded => (400, "invalid_request_error", "context_length_exceeded"),
            Self::InvalidApiKey => (401, "authentication_error", "invalid_api_key"),
            Self::InsufficientBalance => (402, "billing_error", "insufficient_balance"),
            Self::KeyDeactivated => (403, "permission_error", "key_deactivated"),
            Self::SpendLimitReached => (403, "permission_error", "spend_limit_reached"),
            Self::WrongKeyType => (403, "permission_error", "wrong_key_type"),
            Self::ModelNotAllowed => (403, "permission_error", "model_not_allowed"),
            Self::ModelNotFound => (404, "invalid_request_error", "model_not_found"),
            Self::UnknownUrl => (404, "invalid_request_error", "unknown_url"),
            Self::NotFound => (404, "invalid_request_error", "not_found"),
            Self::MethodNotAllowed => (405, "invalid_request_error", "method_not_allowed"),
            Self::IdempotencyConflict => (409, "invalid_request_error", "idempotency_conflict"),
            Self::RequestTooLarge => (413, "invalid_request_error", "request_too_large"),
            Self::RateLimitExceeded => (429, "rate_limit_error", "rate_limit_exceeded"),
            Self::InternalError => (500, "api_error", "internal_error"),
            Self::UpstreamError => (502, "api_error", "upstream_error"),
            Self::UpstreamOverloaded => (503, "api_error", "upstream_overloaded"),
            Self::NoProvider => (503, "api_error", "no_provider"),
            Self::UpstreamTimeout => (504, "api_error", "upstream_timeout"),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().0
    }
}

/// A refusal or failure on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The row of the table.
    pub code: ErrorCode,
    /// What the client reads: what to change, never a detail of ours.
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
    /// Which of a code's cases it is (`balance` or `in_flight` with 402).
    pub reason: Option<&'static str>,
    /// In how many whole seconds (at least 1) to try again.
    pub retry_after_s: Option<u64>,
    /// Where the key stands in its rate window, where the window refused.
    pub rate: Option<RateStanding>,
    /// What the log says and the client never reads. Holds no token, prompt or credential.
    pub cause: Option<String>,
}

impl ApiError {
    /// An error of this code with this message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None, reason: None, retry_after_s: None, rate: None, cause: None }
    }

    /// The 401 of the product's page, always the same.
    pub fn unauthorized() -> Self {
        Self::new(ErrorCode::InvalidApiKey, "Missing or invalid Authorization header")
    }

    /// A field with a value that it can't have.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(ErrorCode::InvalidParameter, message) }
    }

    /// A field that must be there.
    pub fn missing(param: &str) -> Self {
        Self {
            param: Some(param.to_owned()),
            ..Self::new(ErrorCode::MissingParameter, format!("Missing required parameter: '{param}'"))
        }
    }

    /// Our fault; `cause` goes to the log alone.
    pub fn internal(cause: impl Into<String>) -> Self {
        let message = "Internal error. The x-request-id header names this request in the logs.";
        Self { cause: Some(cause.into()), ..Self::new(ErrorCode::InternalError, message) }
    }

    /// The same with the time after which to try again.
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds.max(1)), ..self }
    }

    /// The envelope: `{"error":{"message","type","code"}}`, and `param` and `reason` where there is one.
    pub fn body(&self) -> String {
        let (_, kind, code) = self.code.row();
        let error = Fields { message: &self.message, kind, code, param: self.param.as_deref(), reason: self.reason };
        // A struct of strings always serialises.
        serde_json::to_string(&Envelope { error }).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Fields<'a>,
}

/// The envelope's inside, in the page's order.
#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_401_is_the_page_s_own() {
        assert_eq!(
            ApiError::unauthorized().body(),
            r#"{"error":{"message":"Missing or invalid Authorization header","type":"authentication_error","code":"invalid_api_key"}}"#
        );
    }

    #[test]
    fn param_and_reason_follow_the_three_fields() {
        let error = ApiError { reason: Some("balance"), ..ApiError::invalid("n", "\"quoted\"") };
        assert_eq!(
            error.body(),
            r#"{"error":{"message":"\"quoted\"","type":"invalid_request_error","code":"invalid_parameter","param":"n","reason":"balance"}}"#
        );
    }

    #[test]
    fn every_code_has_a_row_of_its_own() {
        let mut codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.row().2).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
    }
}
