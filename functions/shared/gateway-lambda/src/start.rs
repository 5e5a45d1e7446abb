//! Start-up of a Lambda process: the environment, the logs, the runtime's loop.

use std::{convert::Infallible, fmt::Display, future::Future};

use gateway_core::error::ApiError;
use lambda_http::{
    service_fn,
    tracing::{level_filters::LevelFilter, subscriber::util::SubscriberInitExt},
};
use lambda_runtime::LambdaEvent;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Clock, Elapsed, Host, Request, Response, answer, metrics};

/// The process can't serve.
pub type StartError = lambda_http::Error;

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment, at start-up")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable of the environment that must be there.
///
/// # Errors
/// Names the variable that is not set.
pub fn required(name: &str) -> Result<String, StartError> {
    environment(name).ok_or_else(|| format!("the environment variable {name} is not set").into())
}

/// Sends log lines to standard output: with metrics where the template names the stack that they are of, else in the
/// format that the platform asks for.
pub fn logs_to_stdout() {
    let Some(stack) = environment("STACK_NAME") else { return lambda_http::tracing::init_default_subscriber() };
    let level = environment("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    metrics::subscriber(stack, level, Clock::system(), std::io::stdout).init();
}

/// Serves one route's events with whole answers, for ever.
///
/// # Errors
/// The runtime's own, when its API can't be reached.
pub async fn run_buffered<H, F>(function: &'static str, handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let host = Host::new(Clock::system());
    lambda_http::run_concurrent(service_fn(move |event| {
        let (host, handler) = (host.clone(), handler.clone());
        async move { Ok::<_, Infallible>(answer(&host, function, event, handler).await) }
    }))
    .await
}

/// Serves one route's events with answers that stream, for ever.
///
/// # Errors
/// The runtime's own, when its API can't be reached.
pub async fn run_streaming<H, F>(function: &'static str, handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let host = Host::new(Clock::system());
    lambda_http::run_with_streaming_response_concurrent(service_fn(move |event| {
        let (host, handler) = (host.clone(), handler.clone());
        async move { Ok::<_, Infallible>(answer(&host, function, event, handler).await) }
    }))
    .await
}

/// Serves a function's events that are no HTTP requests, for ever. An error fails the invocation, which is how the
/// platform gets to know of it.
///
/// # Errors
/// The runtime's own, when its API can't be reached.
pub async fn run_events<E, A, X, H, F>(function: &'static str, handler: H) -> Result<(), StartError>
where
    E: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    X: Display,
    H: Fn(E) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<A, X>> + Send + 'static,
{
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<E>| {
        let handler = handler.clone();
        async move {
            let elapsed = Elapsed::start();
            // Boxed: a handler's future is too deep a type for the compiler's layout queries.
            let outcome = Box::pin(handler(event.payload)).await.map_err(|error| error.to_string());
            let (error, duration_ms) = (outcome.as_ref().err(), elapsed.ms());
            tracing::info!(platform_request_id = event.context.request_id, function, duration_ms, error, "event");
            outcome
        }
    }))
    .await
}
