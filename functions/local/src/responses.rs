//! What API Gateway answers by itself: the template's gateway responses, filled in.
//!
//! As there, only `$context.…` is put in, and nothing is escaped but where the placeholder is a JSON text itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use crate::template::GatewayResponse;

/// The cases in which no function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The authorizer's header is missing or malformed, or the authorizer said `Unauthorized`.
    Unauthorized,
    /// The policy does not allow the route.
    AccessDenied,
    /// No route, which AWS takes for a missing signature.
    MissingAuthenticationToken,
    /// More than the platform carries.
    RequestTooLarge,
    /// The authorizer failed.
    AuthorizerFailure,
    /// The function failed.
    IntegrationFailure,
}

impl Kind {
    /// Its name in templates, its status where the template sets none, and API Gateway's own words for it.
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Unauthorized => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::AccessDenied => ("ACCESS_DENIED", StatusCode::FORBIDDEN, "Forbidden"),
            Self::MissingAuthenticationToken => {
                ("MISSING_AUTHENTICATION_TOKEN", StatusCode::FORBIDDEN, "Missing Authentication Token")
            }
            Self::RequestTooLarge => ("REQUEST_TOO_LARGE", StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long"),
            Self::AuthorizerFailure => {
                ("AUTHORIZER_FAILURE", StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
            }
            Self::IntegrationFailure => ("INTEGRATION_FAILURE", StatusCode::GATEWAY_TIMEOUT, "Internal server error"),
        }
    }
}

/// What a placeholder can name.
#[derive(Debug, Default)]
pub struct Context<'a> {
    /// The platform's id of the request.
    pub request_id: &'a str,
    /// What the authorizer said of the caller.
    pub authorizer: Option<&'a BTreeMap<String, String>>,
}

/// The template's gateway responses.
#[derive(Debug)]
pub struct Responses(BTreeMap<String, GatewayResponse>);

impl Responses {
    /// These.
    pub fn new(responses: BTreeMap<String, GatewayResponse>) -> Self {
        Self(responses)
    }

    /// The answer in this case.
    pub fn render(&self, kind: Kind, context: &Context<'_>) -> http::Response<Bytes> {
        let (name, status, message) = kind.row();
        let default = if status.is_client_error() { "DEFAULT_4XX" } else { "DEFAULT_5XX" };
        let template = self.0.get(name).or_else(|| self.0.get(default));
        let body = match template {
            Some(template) => fill(&template.body, message, context),
            None => serde_json::json!({ "message": message }).to_string(),
        };
        let mut response = http::Response::new(Bytes::from(body));
        *response.status_mut() =
            template.and_then(|template| StatusCode::from_u16(template.status?).ok()).unwrap_or(status);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in template.map(|template| template.headers.as_slice()).unwrap_or_default() {
            let value = match value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')) {
                Some(text) => text.to_owned(),
                None => fill(&format!("${value}"), message, context),
            };
            if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// `template` with each `$context.…` replaced; what is not known becomes nothing.
fn fill(template: &str, message: &str, context: &Context<'_>) -> String {
    const MARK: &str = "$context.";
    let mut out = String::with_capacity(template.len() + 40);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once(MARK) {
        out.push_str(before);
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))).unwrap_or(after.len());
        // A full stop behind a placeholder ends a sentence.
        let name = after[..end].trim_end_matches('.');
        match name {
            "requestId" | "extendedRequestId" => out.push_str(context.request_id),
            "error.message" => out.push_str(message),
            "error.messageString" => out.push_str(&serde_json::Value::from(message).to_string()),
            _ => {
                let field = name.strip_prefix("authorizer.");
                out.push_str(field.and_then(|field| context.authorizer?.get(field)).map_or("", String::as_str));
            }
        }
        rest = &after[name.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses() -> Responses {
        let response = |status, body: &str| GatewayResponse {
            status,
            headers: vec![("x-request-id".into(), "context.requestId".into()), ("Retry-After".into(), "'1'".into())],
            body: body.into(),
        };
        Responses::new(BTreeMap::from([
            ("MISSING_AUTHENTICATION_TOKEN".into(), response(Some(404), "{}")),
            (
                "ACCESS_DENIED".into(),
                response(None, r#"{"m":"$context.authorizer.message","c":"$context.authorizer.none"}"#),
            ),
            ("DEFAULT_4XX".into(), response(None, r#"{"message":$context.error.messageString}"#)),
        ]))
    }

    #[test]
    fn placeholders_are_filled_and_unknown_ones_are_empty() {
        let authorizer = BTreeMap::from([("message".to_owned(), "Of the wrong type.".to_owned())]);
        let context = Context { request_id: "r-1", authorizer: Some(&authorizer) };
        let response = responses().render(Kind::AccessDenied, &context);
        assert_eq!(response.status(), 403);
        assert_eq!(response.body(), r#"{"m":"Of the wrong type.","c":""}"#);
        assert_eq!(response.headers()["x-request-id"], "r-1");
        assert_eq!(response.headers()["retry-after"], "1");
    }

    #[test]
    fn the_template_s_status_wins_and_the_default_type_stands_in() {
        let context = Context::default();
        assert_eq!(responses().render(Kind::MissingAuthenticationToken, &context).status(), 404);
        let too_large = responses().render(Kind::RequestTooLarge, &context);
        assert_eq!(too_large.status(), 413);
        assert_eq!(too_large.body(), r#"{"message":"Request Too Long"}"#);
        let failure = responses().render(Kind::AuthorizerFailure, &context);
        assert_eq!(
            (failure.status().as_u16(), failure.body().as_ref()),
            (500, br#"{"message":"Internal server error"}"#.as_ref())
        );
    }
}
