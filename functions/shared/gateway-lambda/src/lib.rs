//! How we are called: a REST proxy event becomes a [`Request`], the handler's [`Response`] or [`ApiError`] becomes the
//! answer.
//!
//! [`answer`] never fails and never panics: whatever happens in a handler, the client gets an envelope and the log gets a
//! line. This crate knows no table, no provider and no rule of money.

mod at_once;
mod clock;
mod deadline;
mod fields;
mod invocation;
mod metrics;
mod paging;
mod panics;
mod record;
mod request;
mod response;
mod start;
mod stream;
mod table_stream;
mod warm_up;

use std::future::Future;

use gateway_core::error::ApiError;
use tokio_util::sync::CancellationToken;

pub use clock::{Clock, Elapsed};
pub use deadline::Deadline;
pub use fields::Fields;
pub use metrics::{METRICS, NAMESPACE, SETS, STACK};
pub use paging::Paging;
pub use panics::{Panicked, caught, panics_to_log};
pub use record::Record;
pub use request::{Caller, Request};
pub use response::{Body, Response};
pub use start::{
    StartError, environment, logs_to_stdout, required, run_authorizer, run_buffered, run_events, run_streaming,
};
pub use table_stream::{BatchItemFailure, BatchResponse, Change, StreamEvent, StreamRecord};
pub use tokio_util::task::TaskTracker;
pub use warm_up::WarmUp;

/// What a process that hosts functions lends to each request.
#[derive(Clone)]
pub struct Host {
    /// The time.
    pub clock: Clock,
    /// Every request that is not finished, its settlement included: wait for it before the process ends.
    pub running: TaskTracker,
    /// Cancelled when the process is to end: what takes long is cut off and settled.
    pub stopping: CancellationToken,
}

impl Host {
    /// A host with this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, running: TaskTracker::new(), stopping: CancellationToken::new() }
    }
}

/// The answer of `handler` to one event, whatever happens.
pub async fn answer<F>(
    host: &Host,
    function: &'static str,
    event: lambda_http::Request,
    handler: impl FnOnce(Request) -> F,
) -> http::Response<Body>
where
    F: Future<Output = Result<Response, ApiError>>,
{
    let request = Request::of_event(host, function, event);
    let (record, deadline) = (request.record.clone(), request.deadline.clone());
    let outcome = tokio::select! {
        biased;
        outcome = caught(async { handler(request).await }) => {
            outcome.unwrap_or_else(|panic| Err(ApiError::internal(panic.to_string())))
        }
        // What it holds expires.
        () = deadline.passed() => {
            record.late();
            Err(Deadline::error())
        }
    };
    let response = outcome.unwrap_or_else(|error| {
        record.failed(&error);
        Response::error(&error)
    });
    response.finish(record)
}

#[cfg(test)]
mod tests;
