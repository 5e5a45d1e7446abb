//! What becomes of a panic: it is caught where it would end more than its request, and told by its place alone.
//!
//! A panic's message can hold what was being handled: a slice at a wrong place quotes the text, an `unwrap` its error. So
//! neither the log nor a client ever gets it.

use std::{future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use lambda_http::tracing;

/// A panic that was caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handler panicked")]
pub struct Panicked;

/// What `work` comes to.
///
/// It may be gone on after a panic, for what outlives a request is whole at any moment: no lock is held where code of ours
/// could panic with a half of a change done. `tests/tidy/shared_state.rs` lists all of it.
///
/// # Errors
/// It panicked.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    // Boxed: a handler's future is kilobytes that would be moved, and a type too deep for the compiler's layout queries.
    AssertUnwindSafe(Box::pin(work)).catch_unwind().await.map_err(|_| Panicked)
}

/// From now on a panic writes a log line that says where it was, and no word of its message.
pub fn panics_to_log() {
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(at, "panicked");
    }));
}
