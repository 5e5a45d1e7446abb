//! Until when a request may run: the platform ends the process at its own time, in the middle of whatever it does, so we
//! end the request before that.

use gateway_core::{
    error::{ApiError, ErrorCode},
    moment::UnixMs,
};
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// What is left for the books when a provider is cut off. At a function's smallest size that is a second to load a
/// vocabulary and estimate, and the two writes: one that gets no answer is tried again after three seconds.
const SETTLE_MS: u64 = 5_000;

/// What is left to send an answer when a handler is given up.
const ANSWER_MS: u64 = 1_000;

/// Until when a request may run.
#[derive(Debug, Clone)]
pub struct Deadline {
    clock: Clock,
    /// When the platform ends it. None: never.
    at: Option<UnixMs>,
    /// The process is to end.
    stopping: CancellationToken,
}

impl Deadline {
    /// `at` by the platform's own word. A moment that was over when the request came is none: local tools send one.
    pub(crate) fn new(clock: Clock, at: u64, stopping: CancellationToken) -> Self {
        let at = Some(UnixMs(at)).filter(|at| *at > clock.now());
        Self { clock, at, stopping }
    }

    /// Waits until what takes long must be cut off, so that it can be settled yet: shortly before the platform's end, or
    /// now if the process is to end.
    pub async fn near(&self) {
        tokio::select! {
            () = self.before(SETTLE_MS) => {}
            () = self.stopping.cancelled() => {}
        }
    }

    /// Waits until there is just the time to answer.
    pub(crate) async fn passed(&self) {
        self.before(ANSWER_MS).await;
    }

    /// What a request is told that ran out of time.
    pub(crate) fn error() -> ApiError {
        let cause = Some("the handler did not end in time".to_owned());
        ApiError { cause, ..ApiError::new(ErrorCode::UpstreamTimeout, "The request took too long.") }
    }

    async fn before(&self, ms: u64) {
        match self.at {
            Some(at) => self.clock.reached(UnixMs(at.0.saturating_sub(ms))).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const NOW: UnixMs = UnixMs(1_795_426_200_000);

    fn of(at: u64) -> (Clock, CancellationToken, Deadline) {
        let (clock, stopping) = (Clock::manual(NOW), CancellationToken::new());
        (clock.clone(), stopping.clone(), Deadline::new(clock, at, stopping))
    }

    fn is_near(deadline: &Deadline) -> bool {
        deadline.near().now_or_never().is_some()
    }

    fn is_passed(deadline: &Deadline) -> bool {
        deadline.passed().now_or_never().is_some()
    }

    #[test]
    fn a_request_is_cut_with_time_left_to_settle_and_given_up_with_time_left_to_answer() {
        let (clock, _, deadline) = of(NOW.0 + 29_000);
        clock.advance_ms(29_000 - SETTLE_MS - 1);
        assert!(!is_near(&deadline));
        clock.advance_ms(1);
        assert!(is_near(&deadline) && !is_passed(&deadline));
        clock.advance_ms(SETTLE_MS - ANSWER_MS);
        assert!(is_passed(&deadline));
    }

    #[test]
    fn a_process_that_is_to_end_cuts_its_requests_and_lets_them_settle() {
        let (_, stopping, deadline) = of(NOW.0 + 29_000);
        stopping.cancel();
        assert!(is_near(&deadline) && !is_passed(&deadline));
    }

    #[test]
    fn a_deadline_that_was_over_before_the_request_came_is_none() {
        for at in [0, 600_000, NOW.0] {
            let (clock, _, deadline) = of(at);
            clock.advance_ms(1_000_000);
            assert!(!is_near(&deadline) && !is_passed(&deadline), "{at}");
        }
    }
}
