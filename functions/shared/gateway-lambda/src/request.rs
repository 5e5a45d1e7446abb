//! A REST proxy event as a handler sees it.

use std::{borrow::Cow, collections::HashMap};

use bytes::Bytes;
use gateway_core::{
    error::ApiError,
    ids::{AccountId, KeyId, RequestId},
    token::Token,
};
use http::{HeaderMap, Method};
use lambda_http::{RequestExt, aws_lambda_events::apigw::ApiGatewayProxyRequestContext, request::RequestContext};
use serde::de::DeserializeOwned;

use crate::{Deadline, Host, Record, invocation};
use gateway_core::moment::UnixMs;

/// Who calls: what the authorizer found behind the key. Ids alone, for they never go stale harmfully.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// Its key.
    pub key: KeyId,
}

/// One request.
pub struct Request {
    /// The request's id, and its ledger entry's.
    pub id: RequestId,
    /// When the platform received it.
    pub at: UnixMs,
    /// The HTTP method.
    pub method: Method,
    /// The path as the client wrote it, without the stage.
    pub path: String,
    /// The same as the client's browser sees it: with the stage, where that is a part of the address.
    pub full_path: String,
    /// The name under which API Gateway was reached, one of its own whatever the client wrote; with the port, where there
    /// is one.
    pub host: String,
    /// The client's address.
    pub client_address: String,
    /// The route's template, `/v1/models/{id+}`.
    pub resource: String,
    /// The route's parameters, decoded.
    pub path_parameters: HashMap<String, String>,
    /// The query's parameters in order, decoded.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as sent.
    pub body: Bytes,
    /// What is known of the request so far.
    pub record: Record,
    /// Until when it may run.
    pub deadline: Deadline,
    caller: Option<Caller>,
}

impl Request {
    pub(crate) fn of_event(host: &Host, function: &'static str, event: lambda_http::Request) -> Self {
        let context = match event.request_context_ref() {
            Some(RequestContext::ApiGatewayV1(context)) => Cow::Borrowed(context),
            _ => Cow::Owned(ApiGatewayProxyRequestContext::default()),
        };
        let at = match u64::try_from(context.request_time_epoch) {
            Ok(ms) if ms > 0 => UnixMs(ms),
            _ => host.clock.now(),
        };
        let platform_id = context.request_id.clone().unwrap_or_default();
        let id = RequestId::of_platform(at, &platform_id);
        let field = |name: &str| context.authorizer.fields.get(name).and_then(|value| value.as_str());
        let caller = field("account")
            .and_then(AccountId::parse)
            .zip(field("key").and_then(KeyId::parse))
            .map(|(account, key)| Caller { account, key });
        let resource = context.resource_path.clone().unwrap_or_default();
        let running = invocation::running().unwrap_or_else(|| host.running.clone());
        let record = Record::new(id.clone(), platform_id, function, caller.clone(), running.token());
        let deadline = event.lambda_context_ref().map_or(0, |context| context.deadline);
        let deadline = Deadline::new(host.clock.clone(), deadline, host.stopping.clone());
        let full_path = context.path.clone().unwrap_or_default();
        let host = context.domain_name.clone().unwrap_or_default();
        let client_address = context.identity.source_ip.clone().unwrap_or_default();
        let pairs = |map: &lambda_http::aws_lambda_events::query_map::QueryMap| {
            map.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        let path_parameters = event.path_parameters_ref().map(pairs).unwrap_or_default().into_iter().collect();
        let query = event.query_string_parameters_ref().map(pairs).unwrap_or_default();
        let path = event.raw_http_path().to_owned();
        let (parts, body) = event.into_parts();
        let body = match body {
            lambda_http::Body::Text(text) => Bytes::from(text),
            lambda_http::Body::Binary(bytes) => Bytes::from(bytes),
            _ => Bytes::new(),
        };
        let (method, headers) = (parts.method, parts.headers);
        Self {
            id,
            at,
            method,
            path,
            full_path,
            host,
            client_address,
            resource,
            path_parameters,
            query,
            headers,
            body,
            record,
            deadline,
            caller,
        }
    }

    /// Who calls.
    ///
    /// # Errors
    /// An event without an authorizer's context: the route is wired wrong, which is our fault.
    pub fn caller(&self) -> Result<Caller, ApiError> {
        self.caller.clone().ok_or_else(|| ApiError::internal("the event has no authorizer context"))
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The token that the caller sent. It is the authorizer that says whether it is good.
    ///
    /// # Errors
    /// 401 if there is none.
    pub fn token(&self) -> Result<Token, ApiError> {
        self.header("authorization").and_then(Token::from_authorization).ok_or_else(ApiError::unauthorized)
    }

    /// The `Idempotency-Key` that the client sent, if it did.
    ///
    /// # Errors
    /// 400 for one that is empty or too long.
    pub fn idempotency_key(&self) -> Result<Option<&str>, ApiError> {
        const MOST_BYTES: usize = 255;
        let given = self.header("idempotency-key");
        match given.map(str::len) {
            None | Some(1..=MOST_BYTES) => Ok(given),
            _ => Err(ApiError::invalid("Idempotency-Key", "The Idempotency-Key header takes 1 to 255 characters")),
        }
    }

    /// The last value of a parameter of the query; an empty one is as good as none.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// 400 `invalid_json` if it is not JSON, `invalid_parameter` if it is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        use gateway_core::error::ErrorCode;
        use serde_json::error::Category;
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => {
                ApiError::new(ErrorCode::InvalidParameter, format!("The body is not as expected: {error}"))
            }
            _ => ApiError::new(ErrorCode::InvalidJson, format!("The body is not valid JSON: {error}")),
        })
    }
}
