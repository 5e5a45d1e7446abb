//! Waiting before the same is tried again, while others write the same items or the database is short of breath.

use std::time::Duration;

use crate::{StoreError, random};

/// The first wait is at most this long; each further one may be twice as long as the one before.
const FIRST_MS: u64 = 10;
/// No wait is longer.
const LONGEST_MS: u64 = 1_000;
/// How often a write that must not be lost is tried: for some three seconds, each try's own time not counted.
const STEADFAST_TRIES: u32 = 10;

/// Waits before another try: a random time, so that those who met do not meet again.
pub(crate) async fn backoff(attempt: u32) {
    let most = FIRST_MS.saturating_mul(1 << attempt.min(16)).min(LONGEST_MS);
    // Without a random source the longest wait is as good.
    let part = random().map_or(u64::from(u32::MAX), |bytes| u64::from(u32::from_be_bytes(bytes)));
    tokio::time::sleep(Duration::from_millis(most * part / u64::from(u32::MAX))).await;
}

/// Does what may be repeated without harm until the database has answered, or for so long that it probably will not.
pub(crate) async fn steadfast<T, F>(act: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for attempt in 1..STEADFAST_TRIES {
        match act().await {
            Ok(done) => return Ok(done),
            Err(error) => tracing::warn!(%error, attempt, "tried again"),
        }
        backoff(attempt).await;
    }
    act().await
}
