//! Connections that are begun before the first request comes.

use std::{
    fmt::{self, Display},
    future::Future,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use crate::start::environment;

/// Lambda ends an initialisation after 10 s and begins it anew, on the first request's time.
const AT_MOST: Duration = Duration::from_secs(3);

/// The first event waits no longer for what was begun: an environment that Lambda made ahead after all, and froze amid its
/// start, waits for connections that are dead.
pub(crate) const EVENT_WAITS: Duration = Duration::from_secs(1);

/// What Lambda calls it when an environment is made because an event is there, and not ahead of events
/// (`provisioned-concurrency`, `snap-start`, `lambda-managed-instances`).
const ON_DEMAND: &str = "on-demand";

/// So long the question for the event that waits goes before: less than the platform takes to answer it.
const HEAD_START: Duration = Duration::from_millis(1);

/// What a function asks of other services at start-up, so that the connections are there for its first request: what that
/// would ask them first. The answers do not matter, and a failure is only logged: the first request then opens the
/// connection, and says what is wrong if something still is.
#[derive(Default)]
pub struct WarmUp(Vec<BoxFuture<'static, ()>>);

impl WarmUp {
    /// One thing to ask for.
    pub fn of<T, E: Display>(first: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        Self::default().and(first)
    }

    /// The same, and another one at the same time.
    #[must_use]
    pub fn and<T, E: Display>(mut self, other: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        self.0.push(Box::pin(async {
            match tokio::time::timeout(AT_MOST, other).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "nothing was warmed up"),
                Err(_) => tracing::warn!("nothing was warmed up: no answer in time"),
            }
        }));
        self
    }

    /// Begins it all. On demand an event waits already: it is asked for meanwhile, and waits for what is returned here. An
    /// environment that is made ahead of its events may be frozen once it has asked for one, so there this waits.
    pub(crate) async fn begin(self) -> TaskTracker {
        self.begin_in(environment("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() == Some(ON_DEMAND)).await
    }

    async fn begin_in(self, on_demand: bool) -> TaskTracker {
        let begun = TaskTracker::new();
        for first in self.0 {
            begun.spawn(async move {
                if on_demand {
                    tokio::time::sleep(HEAD_START).await;
                }
                first.await;
            });
        }
        begun.close();
        if !on_demand {
            begun.wait().await;
        }
        begun
    }
}

impl fmt::Debug for WarmUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WarmUp").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn failing_and_hanging() -> WarmUp {
        WarmUp::of(ready(Err::<(), _>("no route to host"))).and(pending::<Result<(), String>>())
    }

    #[tokio::test(start_paused = true)]
    async fn a_warm_up_that_fails_or_hangs_fails_no_start() {
        assert!(failing_and_hanging().begin_in(false).await.is_empty());
        failing_and_hanging().begin_in(true).await.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_environment_made_ahead_is_warm_before_it_asks_for_an_event_and_one_on_demand_asks_at_once() {
        let slow = || {
            WarmUp::of(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, String>(())
            })
        };
        assert!(slow().begin_in(false).await.is_empty());
        assert_eq!(slow().begin_in(true).await.len(), 1);
        assert!(WarmUp::default().begin_in(true).await.is_empty());
    }
}
