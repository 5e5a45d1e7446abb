//! The one place that reads the time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use gateway_core::moment::UnixMs;
use tokio::sync::watch;

/// The system's clock, or one that a test moves.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Manual(Arc<watch::Sender<u64>>),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `at` until it is moved.
    pub fn manual(at: UnixMs) -> Self {
        Self(Source::Manual(Arc::new(watch::Sender::new(at.0))))
    }

    /// Moves a manual clock, and all its clones, ahead. The system's clock stays as it is.
    pub fn advance_ms(&self, ms: u64) {
        if let Source::Manual(at) = &self.0 {
            at.send_modify(|at| *at += ms);
        }
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the clock is where time is read")]
    pub fn now(&self) -> UnixMs {
        match &self.0 {
            Source::Manual(at) => UnixMs(*at.borrow()),
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }

    /// Waits until it is `at`.
    pub async fn reached(&self, at: UnixMs) {
        match &self.0 {
            Source::System => {
                tokio::time::sleep(Duration::from_millis(at.0.saturating_sub(self.now().0))).await;
            }
            Source::Manual(now) => {
                // Its sender is this clock's own, so it can't be gone.
                let _ = now.subscribe().wait_for(|now| *now >= at.0).await;
            }
        }
    }
}

/// Time that has passed since it was made, by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Elapsed(Instant);

impl Elapsed {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "the clock is where time is read")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
