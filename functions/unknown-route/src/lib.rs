//! What no route serves: 404 for an unknown path, 405 for a known path with a method that it does not have.
//!
//! Needs no key and reads nothing, so it tells a stranger only what the documentation does.

use gateway_core::error::{ApiError, ErrorCode};
use gateway_lambda::{Request, Response};

/// Needs nothing.
#[derive(Clone)]
pub struct App;

/// The route of every path that no other route names.
const ANY_PATH: &str = "/{proxy+}";

/// ANY on `/`, `/{proxy+}` and, beside their own methods, on all known paths.
///
/// # Errors
/// Always: 404 `unknown_url` or 405 `method_not_allowed`.
pub async fn handle(_: &App, request: Request) -> Result<Response, ApiError> {
    let Request { method, path, resource, .. } = request;
    Err(if resource == ANY_PATH || resource == "/" {
        ApiError::new(ErrorCode::UnknownUrl, format!("Unknown request URL: {method} {path}"))
    } else {
        ApiError::new(ErrorCode::MethodNotAllowed, format!("Method {method} is not allowed on {path}"))
    })
}
