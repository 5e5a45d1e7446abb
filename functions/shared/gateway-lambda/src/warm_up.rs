//! Connections that are open before the first request comes.

use std::{fmt::Display, future::Future, time::Duration};

/// Lambda ends an initialisation after 10 s and begins it anew, on the first request's time.
const AT_MOST: Duration = Duration::from_secs(3);

/// Asks a service at start-up what a request would ask it first, so that the connection is there for it: at start-up a
/// function has more processor than most of its memory sizes get later. The answer does not matter, and a failure is only
/// logged: the first request then opens the connection, and says what is wrong if something still is.
pub async fn warm_up<T, E: Display>(first: impl Future<Output = Result<T, E>>) {
    match tokio::time::timeout(AT_MOST, first).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "nothing was warmed up"),
        Err(_) => tracing::warn!("nothing was warmed up: no answer in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_warm_up_that_fails_or_hangs_fails_no_start() {
        warm_up(std::future::ready(Err::<(), _>("no route to host"))).await;
        warm_up(std::future::pending::<Result<(), String>>()).await;
    }
}
