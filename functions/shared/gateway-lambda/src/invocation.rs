//! An invocation ends when all of its work has: the runtime asks for the next one when the answer is out, or could not be
//! sent, and from then on the platform may freeze the process at any instruction.
//!
//! That matters when the runtime's connection breaks in the midst of a stream: it drops the answer's body and goes on,
//! while a task of ours still reads the provider to its end and charges it. Without this the task would go on at the next
//! thaw, or never.

use std::{
    future::{self, Future},
    pin::Pin,
    task::{Context, Poll},
};

use lambda_runtime::{
    LambdaInvocation,
    tower::{Layer, Service},
};
use tokio_util::task::TaskTracker;

use crate::{Host, StartError, warm_up::EVENT_WAITS};

tokio::task_local! {
    /// What the invocation that this task belongs to has running.
    static RUNNING: TaskTracker;
}

/// What the current invocation has running, if it is one of a runtime that waits for it.
pub(crate) fn running() -> Option<TaskTracker> {
    RUNNING.try_with(Clone::clone).ok()
}

/// Lets no invocation begin before what start-up has begun is done, nor end before its own work is.
#[derive(Clone)]
pub(crate) struct WholeInvocations {
    pub(crate) host: Host,
    /// What start-up has begun.
    pub(crate) warm_up: TaskTracker,
}

impl<S> Layer<S> for WholeInvocations {
    type Service = Whole<S>;

    fn layer(&self, inner: S) -> Whole<S> {
        Whole { whole: self.clone(), inner }
    }
}

/// A runtime's service whose invocations end when their work has.
#[derive(Clone)]
pub(crate) struct Whole<S> {
    whole: WholeInvocations,
    inner: S,
}

impl<S> Service<LambdaInvocation> for Whole<S>
where
    S: Service<LambdaInvocation, Response = (), Error = StartError> + 'static,
    S::Future: Send,
{
    type Response = ();
    type Error = StartError;
    type Future = Pin<Box<dyn Future<Output = Result<(), StartError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StartError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let WholeInvocations { host, warm_up } = self.whole.clone();
        let running = TaskTracker::new();
        let counted = host.running.token();
        let answered = RUNNING.sync_scope(running.clone(), || self.inner.call(invocation));
        Box::pin(async move {
            let _ = tokio::time::timeout(EVENT_WAITS, warm_up.wait()).await;
            // An answer that could not be sent is in the runtime's own log line. It is no reason to end the process: if the
            // platform is gone, asking it for the next invocation says so.
            let _ = RUNNING.scope(running.clone(), answered).await;
            running.close();
            running.wait().await;
            drop(counted);
            if host.stopping.is_cancelled() {
                // Nothing more is asked for.
                future::pending::<()>().await;
            }
            Ok(())
        })
    }
}
