//! What no route serves: 404 for an unknown path, 405 for a known path with a method that it does not have.
//!
//! Needs no key and reads nothing, so it tells a stranger only what the documentation does.

use gateway_core::error::{ApiError, ErrorCode};
use gateway_lambda::{Request, Response};
use http::{HeaderValue, header};

/// Needs nothing.
#[derive(Clone)]
pub struct App;

/// The paths of template.yaml and their methods, as the `Allow` header has them.
pub const ROUTES: [(&str, &str); 18] = [
    ("/v1/chat/completions", "POST"),
    ("/v1/embeddings", "POST"),
    ("/v1/models", "GET"),
    ("/v1/models/{id+}", "GET"),
    ("/v1/auth/key", "GET"),
    ("/v1/key", "GET"),
    ("/api/balance", "GET"),
    ("/api/usage", "GET"),
    ("/api/usage/stats", "GET"),
    ("/api/usage/export", "GET"),
    ("/api/transactions", "GET"),
    ("/api/keys", "GET, POST"),
    ("/api/keys/{id}", "DELETE, GET, PATCH, PUT"),
    ("/api/keys/{id}/rotate", "POST"),
    ("/api/payments", "POST"),
    ("/webhooks/stripe", "POST"),
    ("/dashboard", "GET"),
    ("/dashboard/{proxy+}", "GET, POST"),
];

/// ANY on `/`, `/{proxy+}` and, beside their own methods, on all known paths.
///
/// # Errors
/// 404 `unknown_url`. A 405 `method_not_allowed` is an answer like any other, for it names the methods there are.
pub async fn handle(_: &App, request: Request) -> Result<Response, ApiError> {
    let Request { method, path, resource, record, .. } = request;
    let Some((_, methods)) = ROUTES.iter().find(|(known, _)| *known == resource) else {
        return Err(ApiError::new(ErrorCode::UnknownUrl, format!("Unknown request URL: {method} {path}")));
    };
    let message = format!("Method {method} is not allowed on {path}: use {methods}");
    let error = ApiError::new(ErrorCode::MethodNotAllowed, message);
    record.failed(&error);
    Ok(Response::error(&error).header(header::ALLOW, HeaderValue::from_static(methods)))
}
