//! The API's authorizer: a bearer token becomes an account and a key, or a refusal.
//!
//! One read at the most, and none for a token whose form or checksum is wrong. It says who calls and which half of the API
//! the key opens, and nothing that could go stale harmfully: funds, limits and models are checked where they change.

use std::fmt;

use aws_lambda_events::{
    apigw::{ApiGatewayCustomAuthorizerPolicy, ApiGatewayCustomAuthorizerRequest, ApiGatewayCustomAuthorizerResponse},
    iam::{IamPolicyEffect, IamPolicyStatement},
};
use gateway_core::{
    error::ErrorCode,
    token::{KeyType, Token},
};
use gateway_lambda::{Clock, METRICS};
use gateway_store::{DEACTIVATED, KeyLookup, Store, StoreError};
use serde_json::{Value, json};

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The tokens.
    pub store: Store,
    /// Tells whether a key has expired.
    pub clock: Clock,
}

/// No policy.
#[derive(Debug)]
pub enum Refusal {
    /// No such key: unknown, deleted or expired. API Gateway answers 401 when the error reads exactly so.
    Unauthorized,
    /// We could not find out. API Gateway answers 500, never 401.
    Failed(StoreError),
    /// The event names no API. API Gateway answers 500.
    NotAnApi,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized => f.write_str("Unauthorized"),
            Self::Failed(_) => f.write_str("the key could not be looked up"),
            Self::NotAnApi => f.write_str("the event's method ARN is not one of a REST API"),
        }
    }
}

impl std::error::Error for Refusal {}

/// What a key of the wrong type is told: API Gateway shows the context of the policy that does not cover the route.
const WRONG_TYPE: &str = "This API key is of the wrong type for this route: /v1 takes proxy keys (ms-), /api takes \
    billing keys (mk-).";

/// The policy of the key that the event's token stands for.
///
/// # Errors
/// [`Refusal`]: API Gateway turns each into its answer.
pub async fn authorize(
    app: &App,
    event: ApiGatewayCustomAuthorizerRequest,
) -> Result<ApiGatewayCustomAuthorizerResponse, Refusal> {
    let header = event.authorization_token.as_deref().unwrap_or_default();
    let token = Token::from_authorization(header).ok_or_else(unauthorized)?;
    let found = app.store.key_lookup(&token.hash()).await.map_err(|error| {
        tracing::error!(%error, "the key could not be looked up");
        Refusal::Failed(error)
    })?;
    let now = app.clock.now();
    let key = found.filter(|key| key.expires_at.is_none_or(|expires| now < expires)).ok_or_else(unauthorized)?;
    let stage = event.method_arn.as_deref().and_then(stage_arn).ok_or(Refusal::NotAnApi)?;
    Ok(policy(&key, stage))
}

/// A refusal, counted. API Gateway answers for us, so no other line tells of it.
fn unauthorized() -> Refusal {
    counted(ErrorCode::InvalidApiKey);
    Refusal::Unauthorized
}

fn counted(code: ErrorCode) {
    tracing::info!(target: METRICS, errors = 1, error = code.row().2, "refused");
}

/// The part of `arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH` that names the stage.
fn stage_arn(method_arn: &str) -> Option<&str> {
    let (slash, _) = method_arn.match_indices('/').nth(1)?;
    Some(&method_arn[..slash])
}

/// A policy that is safe to cache: it covers every route of the key's type and no other. Its methods are named because `*`
/// takes slashes as well: `/*/v1/*` would cover `POST /api/keys/v1/rotate`.
fn policy(key: &KeyLookup, stage: &str) -> ApiGatewayCustomAuthorizerResponse {
    let (methods, routes): (&[&str], _) = match key.key_type {
        KeyType::Proxy => (&["GET", "POST"], "v1"),
        KeyType::Billing => (&["DELETE", "GET", "PATCH", "POST", "PUT"], "api"),
    };
    let (effect, code, message) = if key.active {
        (IamPolicyEffect::Allow, "wrong_key_type", WRONG_TYPE)
    } else {
        counted(ErrorCode::KeyDeactivated);
        (IamPolicyEffect::Deny, "key_deactivated", DEACTIVATED)
    };
    let mut statement = IamPolicyStatement::default();
    statement.effect = effect;
    statement.action = vec!["execute-api:Invoke".to_owned()];
    statement.resource = methods.iter().map(|method| format!("{stage}/{method}/{routes}/*")).collect();
    let mut document = ApiGatewayCustomAuthorizerPolicy::default();
    document.version = Some("2012-10-17".to_owned());
    document.statement = vec![statement];
    let mut response = ApiGatewayCustomAuthorizerResponse::<Value>::default();
    response.principal_id = Some(format!("{}/{}", key.account, key.key));
    response.policy_document = document;
    response.context = json!({
        "account": key.account, "key": key.key.to_string(), "code": code, "message": message,
    });
    response
}
