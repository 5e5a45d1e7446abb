//! Start-up of a Lambda process: the environment, the logs, the runtime's loop.

use std::{convert::Infallible, fmt::Display, future::Future};

use gateway_core::error::{ApiError, ErrorCode};
use lambda_http::{
    Service, service_fn,
    tracing::{level_filters::LevelFilter, subscriber::util::SubscriberInitExt},
};
use lambda_runtime::{LambdaEvent, Runtime, layers::TracingLayer, tower::ServiceExt};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Body, Clock, Deadline, Elapsed, Host, METRICS, Request, Response, WarmUp, answer,
    at_once::{AtOnce, hand_over},
    invocation::WholeInvocations,
    metrics,
    panics::{caught, panics_to_log},
};

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
/// format that the platform asks for. A panic is a line too.
pub fn logs_to_stdout() {
    panics_to_log();
    let Some(stack) = environment("STACK_NAME") else { return lambda_http::tracing::init_default_subscriber() };
    let level = environment("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    metrics::subscriber(stack, level, Clock::system(), std::io::stdout).init();
}

/// Serves one route's events with whole answers, until the process is to end. The first waits for `warm_up`.
///
/// # Errors
/// The runtime's own, when its API can't be reached.
pub async fn run_buffered<H, F>(function: &'static str, warm_up: WarmUp, handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let host = Host::new(Clock::system());
    let service = route(&host, function, handler);
    let runtime = lambda_http::runtime_concurrent(service).layer(TracingLayer::new());
    let whole = WholeInvocations { host: host.clone(), warm_up: warm_up.begin().await };
    until_stopped(&host, runtime.layer(whole).run_concurrent()).await
}

/// Serves one route's events with answers that stream, until the process is to end. The first waits for `warm_up`.
///
/// # Errors
/// The runtime's own, when its API can't be reached.
pub async fn run_streaming<H, F>(function: &'static str, warm_up: WarmUp, handler: H) -> Result<(), StartError>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let host = Host::new(Clock::system());
    let service = route(&host, function, handler).and_then(hand_over);
    let runtime = lambda_http::streaming_runtime_concurrent(service).layer(AtOnce::new()).layer(TracingLayer::new());
    let whole = WholeInvocations { host: host.clone(), warm_up: warm_up.begin().await };
    until_stopped(&host, runtime.layer(whole).run_concurrent()).await
}

/// The service that answers one route's events.
fn route<H, F>(
    host: &Host,
    function: &'static str,
    handler: H,
) -> impl Service<lambda_http::Request, Response = http::Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let host = host.clone();
    service_fn(move |event| {
        let (host, handler) = (host.clone(), handler.clone());
        async move { Ok::<_, Infallible>(answer(&host, function, event, handler).await) }
    })
}

/// Serves a function's events that are no HTTP requests, until the process is to end. An error fails the invocation, which
/// is how the platform gets to know of it.
///
/// # Errors
/// The runtime's own, when its API can't be reached.
pub async fn run_events<E, A, X, H, F>(function: &'static str, warm_up: WarmUp, handler: H) -> Result<(), StartError>
where
    E: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    X: Display,
    H: Fn(E) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<A, X>> + Send + 'static,
{
    let log = move |id: &str, error: Option<&Failed>, duration_ms: u64| {
        let error = error.map(Failed::message);
        tracing::info!(platform_request_id = id, function, duration_ms, error, "event");
    };
    run_handler(log, warm_up, handler).await
}

/// Serves an authorizer's events, until the process is to end. API Gateway reads an error's text, and it is the handler's
/// own: a panic's is another, so that it is our failure and never the client's.
///
/// # Errors
/// The runtime's own, when its API can't be reached.
pub async fn run_authorizer<E, A, X, H, F>(
    function: &'static str,
    warm_up: WarmUp,
    handler: H,
) -> Result<(), StartError>
where
    E: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    X: Display,
    H: Fn(E) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<A, X>> + Send + 'static,
{
    // What the handler finds it counts itself.
    let log = move |id: &str, error: Option<&Failed>, duration_ms: u64| {
        if let Some(Failed::Ours(cause)) = error {
            let code = ErrorCode::InternalError.row().2;
            tracing::error!(
                target: METRICS, errors = 1, error = code, platform_request_id = id, function, duration_ms, cause, "event"
            );
        }
    };
    run_handler(log, warm_up, handler).await
}

/// Why an event was not handled.
enum Failed {
    /// What the handler says.
    Handler(String),
    /// It panicked, or ran out of time.
    Ours(String),
}

impl Failed {
    fn message(&self) -> &str {
        let (Self::Handler(message) | Self::Ours(message)) = self;
        message
    }
}

async fn run_handler<E, A, X, H, F>(
    log: impl Fn(&str, Option<&Failed>, u64) + Clone + Send + 'static,
    warm_up: WarmUp,
    handler: H,
) -> Result<(), StartError>
where
    E: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    X: Display,
    H: Fn(E) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<A, X>> + Send + 'static,
{
    let host = Host::new(Clock::system());
    let (clock, stopping) = (host.clock.clone(), host.stopping.clone());
    let service = service_fn(move |event: LambdaEvent<E>| {
        let (log, handler) = (log.clone(), handler.clone());
        let deadline = Deadline::new(clock.clone(), event.context.deadline, stopping.clone());
        async move {
            let elapsed = Elapsed::start();
            let outcome = tokio::select! {
                biased;
                outcome = caught(async { handler(event.payload).await }) => match outcome {
                    Ok(handled) => handled.map_err(|error| Failed::Handler(error.to_string())),
                    Err(panic) => Err(Failed::Ours(panic.to_string())),
                },
                () = deadline.passed() => Err(Failed::Ours("it took too long".to_owned())),
            };
            log(&event.context.request_id, outcome.as_ref().err(), elapsed.ms());
            outcome.map_err(|failed| failed.message().to_owned())
        }
    });
    let runtime = Runtime::new(service).layer(TracingLayer::new());
    let whole = WholeInvocations { host: host.clone(), warm_up: warm_up.begin().await };
    until_stopped(&host, runtime.layer(whole).run_concurrent()).await
}

/// Runs until the platform's SIGTERM. Then no more is asked for, and what runs is cut off and settled; what is not by the
/// time that the platform kills expires.
///
/// Lambda sends one only where an extension is registered, 500 ms before it kills (300 ms where an extension is a process
/// of its own), and only between invocations: then there is nothing to finish, as an invocation ends when its work has. So
/// we register none, which every start would wait for (`lambda_runtime::spawn_graceful_shutdown_handler` would). Where the
/// signal comes all the same, by an operator's extension, on Managed Instances or in a container, it is heeded.
async fn until_stopped(host: &Host, running: impl Future<Output = Result<(), StartError>>) -> Result<(), StartError> {
    let stopped = async {
        terminated().await;
        tracing::info!(running = host.running.len(), "the process is to end");
        host.stopping.cancel();
        host.running.close();
        host.running.wait().await;
        Ok(())
    };
    // What runs goes on beside the waiting for it.
    tokio::select! {
        ended = running => ended,
        ended = stopped => ended,
    }
}

/// Waits for SIGTERM.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            terminate.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM can't be heeded");
            std::future::pending().await
        }
    }
}
