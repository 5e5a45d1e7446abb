//! API Gateway, as far as this product uses it: route, authorizer, event, function, gateway responses.
//!
//! All it knows of routes, keys' form, times and refusals comes from the template. It decides nothing about accounts or
//! models, and keeps no token.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_lambda_events::event::apigw::ApiGatewayProxyRequest;
use bytes::Bytes;
use gateway_lambda::Host;
use http::request::Parts;
use http_body_util::{Either, Full};
use lambda_http::{RequestExt, request::LambdaRequest};

use crate::{
    compression,
    event::{self, Platform},
    functions::{self, Function, Functions},
    policy::{Policy, PolicyCache},
    responses::{Context, Kind, Responses},
    router::Router,
    template::{Authorizer, Template},
};

/// What a client gets: a function's answer, or one of API Gateway's own.
pub type Answer = http::Response<Either<gateway_lambda::Body, Full<Bytes>>>;

/// The API.
pub struct Api {
    router: Router<Target>,
    authorizer: Authorizer,
    policies: PolicyCache,
    responses: Responses,
    functions: Functions,
    least_compressed: Option<u64>,
    host: Host,
    address: String,
}

/// Where a route leads.
struct Target {
    function: Function,
    authorized: bool,
    streamed: bool,
    /// How long the function may run.
    timeout: Duration,
}

/// Why no function answers, and what the authorizer said of the caller if it spoke.
struct Refusal {
    kind: Kind,
    policy: Option<Arc<Policy>>,
}

impl From<Kind> for Refusal {
    fn from(kind: Kind) -> Self {
        Self { kind, policy: None }
    }
}

impl Api {
    /// The API that the template describes, served at this address by these functions.
    ///
    /// # Errors
    /// A route that API Gateway would refuse, or one to a function that this binary does not have.
    pub fn new(template: Template, functions: Functions, host: Host, address: String) -> Result<Self, String> {
        if template.authorizer.function != functions::AUTHORIZER {
            return Err(format!("this version of modelswitch has no authorizer `{}`", template.authorizer.function));
        }
        let mut router = Router::default();
        for route in template.routes {
            let function = Function::named(&route.function).ok_or_else(|| {
                format!("{}: this version of modelswitch has no function `{}`", route.path, route.function)
            })?;
            let timeout = template.timeouts.get(&route.function).copied().unwrap_or_default();
            let (authorized, streamed) = (route.authorized, route.streamed);
            let target = Target { function, authorized, streamed, timeout };
            router.add(route.method, &route.path, target)?;
        }
        Ok(Self {
            router,
            policies: PolicyCache::new(template.authorizer.ttl_ms),
            authorizer: template.authorizer,
            responses: Responses::new(template.gateway_responses),
            functions,
            least_compressed: template.least_compressed,
            host,
            address,
        })
    }

    /// The host of the functions: its clock, and the requests that are not finished.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The answer to a request; no body is one that was larger than API Gateway takes.
    pub async fn answer(&self, parts: Parts, body: Option<Vec<u8>>) -> Answer {
        let Ok(request_id) = request_id() else {
            return self.refuse(Kind::IntegrationFailure.into(), "");
        };
        match self.pass(&parts, body, &request_id).await {
            Ok(answer) => answer,
            Err(refusal) => self.refuse(refusal, &request_id),
        }
    }

    /// The answer to a request whose handling panicked.
    pub fn failure(&self) -> Answer {
        self.refuse(Kind::IntegrationFailure.into(), "")
    }

    async fn pass(&self, parts: &Parts, body: Option<Vec<u8>>, request_id: &str) -> Result<Answer, Refusal> {
        if header_bytes(parts) > MOST_HEADER_BYTES {
            return Err(Kind::RequestTooLarge.into());
        }
        let path = event::path_of(parts);
        let found = self.router.find(&parts.method, path).ok_or(Kind::MissingAuthenticationToken)?;
        let body = body.ok_or(Kind::RequestTooLarge)?;
        let policy = if found.target.authorized { Some(self.authorized(parts, path).await?) } else { None };
        if event::is_too_large(&body) {
            return Err(Kind::RequestTooLarge.into());
        }
        let at = self.host.clock.now();
        let platform = Platform { request_id, at, address: &self.address, resource: found.resource };
        let caller = policy.as_ref().map(|policy| (policy.principal.as_str(), &policy.context));
        let event: ApiGatewayProxyRequest = event::proxy_event(parts, body, found.parameters, caller, platform);
        let request: lambda_http::Request = LambdaRequest::ApiGatewayV1(event).into();
        let mut context = lambda_http::Context::default();
        context.deadline = at.plus_ms(u64::try_from(found.target.timeout.as_millis()).unwrap_or(u64::MAX)).0;
        let request = request.with_lambda_context(context);
        let answer = self.functions.invoke(&self.host, found.target.function, request).await;
        let least = self.least_compressed.filter(|_| !found.target.streamed);
        Ok(compression::compressed(answer, &parts.headers, least).await)
    }

    /// The policy that lets the request through.
    async fn authorized(&self, parts: &Parts, path: &str) -> Result<Arc<Policy>, Refusal> {
        let header = parts.headers.get(&self.authorizer.header).ok_or(Kind::Unauthorized)?;
        let token = header.to_str().map_err(|_| Kind::Unauthorized)?;
        let now = self.host.clock.now();
        let method_arn = event::method_arn(&parts.method, path);
        let policy = match self.policies.find(token.as_bytes(), now) {
            // What is remembered matched when it was asked about.
            Some(policy) => policy,
            None if self.authorizer.validation.as_ref().is_some_and(|validation| !validation.is_match(token)) => {
                return Err(Kind::Unauthorized.into());
            }
            None => {
                let asked = self.functions.authorize(&self.host, event::token_event(token, &method_arn)).await;
                let policy = Arc::new(Policy::of(asked.map_err(|message| authorizer_error(&message))?));
                self.policies.keep(token.as_bytes(), policy.clone(), now);
                policy
            }
        };
        if policy.allows(&method_arn) {
            Ok(policy)
        } else {
            Err(Refusal { kind: Kind::AccessDenied, policy: Some(policy) })
        }
    }

    fn refuse(&self, refusal: Refusal, request_id: &str) -> Answer {
        let empty = BTreeMap::new();
        let authorizer = refusal.policy.as_ref().map_or(&empty, |policy| &policy.context);
        let context = Context { request_id, authorizer: Some(authorizer) };
        let response = self.responses.render(refusal.kind, &context);
        tracing::info!(
            platform_request_id = request_id,
            refusal = ?refusal.kind,
            account = authorizer.get("account"),
            key_id = authorizer.get("key").and_then(|key| key.parse::<u32>().ok()),
            status = response.status().as_u16(),
            "refused"
        );
        response.map(|body| Either::Right(Full::new(body)))
    }
}

/// API Gateway's limit for the request line and the headers together.
const MOST_HEADER_BYTES: usize = 10_240;

fn header_bytes(parts: &Parts) -> usize {
    let line = parts.method.as_str().len() + parts.uri.path_and_query().map_or(1, |path| path.as_str().len());
    line + parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}

/// What API Gateway makes of an authorizer's error: this one word is the client's fault, all else is ours.
fn authorizer_error(message: &str) -> Refusal {
    if message == "Unauthorized" {
        return Kind::Unauthorized.into();
    }
    tracing::error!(cause = message, "the authorizer failed");
    Kind::AuthorizerFailure.into()
}

/// A random UUID, which is what API Gateway calls its requests.
fn request_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
