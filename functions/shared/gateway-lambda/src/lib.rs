//! How we are called: a REST proxy event becomes a [`Request`], the handler's [`Response`] or [`ApiError`] becomes the
//! answer.
//!
//! [`answer`] never fails and never panics: whatever happens in a handler, the client gets an envelope and the log gets a
//! line. This crate knows no table, no provider and no rule of money.

mod clock;
mod metrics;
mod paging;
mod record;
mod request;
mod response;
mod start;

use std::{future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use gateway_core::error::ApiError;

pub use clock::{Clock, Elapsed};
pub use metrics::{METRICS, NAMESPACE, SETS, STACK};
pub use paging::Paging;
pub use record::Record;
pub use request::{Caller, Request};
pub use response::{Body, Response};
pub use start::{StartError, environment, logs_to_stdout, required, run_buffered, run_events, run_streaming};
pub use tokio_util::task::TaskTracker;

/// What a process that hosts functions lends to each request.
#[derive(Clone)]
pub struct Host {
    /// The time.
    pub clock: Clock,
    /// Every request that is not finished, its settlement included: wait for it before the process ends.
    pub running: TaskTracker,
}

impl Host {
    /// A host with this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, running: TaskTracker::new() }
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
    let record = request.record.clone();
    // Boxed: a handler's future is kilobytes that would be moved, and a type too deep for the compiler's layout queries.
    let outcome = AssertUnwindSafe(Box::pin(async { handler(request).await })).catch_unwind().await;
    let response = match outcome {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            record.failed(&error);
            Response::error(&error)
        }
        Err(_) => {
            let error = ApiError::internal("the handler panicked");
            record.failed(&error);
            Response::error(&error)
        }
    };
    response.finish(record)
}
