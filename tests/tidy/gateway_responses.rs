//! What API Gateway answers by itself, held against the error table and against what the functions would say.

use std::collections::BTreeMap;

use gateway_core::{
    error::{ApiError, ErrorCode},
    token,
};
use serde_json::Value;

use crate::template::Template;

/// Every response type that the template sets, and the row of the error table that it is.
const RESPONSES: [(&str, ErrorCode); 16] = [
    ("UNAUTHORIZED", ErrorCode::InvalidApiKey),
    ("MISSING_AUTHENTICATION_TOKEN", ErrorCode::UnknownUrl),
    ("INVALID_SIGNATURE", ErrorCode::UnknownUrl),
    ("RESOURCE_NOT_FOUND", ErrorCode::UnknownUrl),
    ("REQUEST_TOO_LARGE", ErrorCode::RequestTooLarge),
    ("THROTTLED", ErrorCode::RateLimitExceeded),
    ("QUOTA_EXCEEDED", ErrorCode::RateLimitExceeded),
    ("BAD_REQUEST_BODY", ErrorCode::InvalidJson),
    ("BAD_REQUEST_PARAMETERS", ErrorCode::InvalidParameter),
    ("DEFAULT_4XX", ErrorCode::InvalidParameter),
    ("AUTHORIZER_FAILURE", ErrorCode::InternalError),
    ("AUTHORIZER_CONFIGURATION_ERROR", ErrorCode::InternalError),
    ("API_CONFIGURATION_ERROR", ErrorCode::InternalError),
    ("INTEGRATION_FAILURE", ErrorCode::InternalError),
    ("INTEGRATION_TIMEOUT", ErrorCode::UpstreamTimeout),
    ("DEFAULT_5XX", ErrorCode::InternalError),
];

/// The one whose message and code the authorizer fills in.
const ACCESS_DENIED: &str = "ACCESS_DENIED";

/// What the authorizer can say there.
const DENIALS: [ErrorCode; 2] = [ErrorCode::KeyDeactivated, ErrorCode::WrongKeyType];

fn responses(template: &Template) -> BTreeMap<&str, &Value> {
    template.api()["GatewayResponses"].as_object().unwrap().iter().map(|(kind, value)| (kind.as_str(), value)).collect()
}

fn body(response: &Value) -> &str {
    response["ResponseTemplates"]["application/json"].as_str().unwrap()
}

#[test]
fn every_gateway_response_is_a_row_of_the_error_table() {
    let template = Template::load();
    let mut responses = responses(&template);
    responses.remove(ACCESS_DENIED).unwrap();
    let mut expected: BTreeMap<_, _> = RESPONSES.into_iter().collect();
    for (kind, response) in responses {
        let code = expected.remove(kind).unwrap_or_else(|| panic!("{kind} has no row"));
        assert_eq!(response["StatusCode"], code.status(), "{kind}");
        let message = serde_json::from_str::<Value>(body(response)).unwrap()["error"]["message"].clone();
        assert_eq!(body(response), ApiError::new(code, message.as_str().unwrap()).body(), "{kind}");
    }
    assert!(expected.is_empty(), "the template does not set {expected:?}");
}

#[test]
fn access_denied_says_what_the_authorizer_says() {
    let template = Template::load();
    let response = responses(&template)[ACCESS_DENIED];
    for code in DENIALS {
        let (status, kind, name) = code.row();
        assert_eq!(response["StatusCode"], status);
        let filled_in = body(response).replace("$context.authorizer.code", name);
        let filled_in = filled_in.replace("$context.authorizer.message", "What to do.");
        assert_eq!(filled_in, ApiError::new(code, "What to do.").body(), "{kind}");
    }
}

#[test]
fn a_refusal_reads_the_same_from_api_gateway_and_from_a_function() {
    let template = Template::load();
    let responses = responses(&template);
    assert_eq!(body(responses["UNAUTHORIZED"]), ApiError::unauthorized().body());
    let internal = ApiError::internal("").body();
    for (kind, _) in RESPONSES.into_iter().filter(|(_, code)| *code == ErrorCode::InternalError) {
        assert_eq!(body(responses[kind]), internal, "{kind}");
    }
}

#[test]
fn every_gateway_response_carries_the_request_id_and_a_429_when_to_come_back() {
    let template = Template::load();
    for (kind, response) in responses(&template) {
        let headers = &response["ResponseParameters"]["Headers"];
        assert_eq!(headers["x-request-id"], "context.requestId", "{kind}");
        let retry_after = (response["StatusCode"] == 429).then_some("'1'");
        assert_eq!(headers["Retry-After"].as_str(), retry_after, "{kind}");
    }
}

#[test]
fn the_validation_expression_lets_every_token_s_form_pass_and_no_other() {
    let template = Template::load();
    let authorizer = &template.api()["Auth"]["Authorizers"]["KeyAuthorizer"];
    assert_eq!(
        authorizer["Identity"]["ValidationExpression"],
        format!("^[Bb][Ee][Aa][Rr][Ee][Rr] +{}$", token::PATTERN)
    );
    assert_eq!(authorizer["Identity"]["Header"], "Authorization");
    assert_eq!(authorizer["Identity"]["ReauthorizeEvery"]["Ref"], "AuthorizerTtlSeconds");
    assert_eq!(template.api()["Auth"]["DefaultAuthorizer"], "KeyAuthorizer");
}
