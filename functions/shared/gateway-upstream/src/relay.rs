//! Forwards a provider's stream to the client, and settles before it ends.
//!
//! A task of its own reads the provider to the end whether the client stays or not: what the provider bills is then
//! known and paid. The client's stream ends only after that. It ends the provider's stream itself when the request runs out
//! of time: what came until then is sold.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt;
use gateway_core::{
    error::{ApiError, ErrorCode},
    meter::{StreamEnd, StreamMeter},
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
    time::{Duration, Instant, timeout, timeout_at},
};
use tracing::Instrument;

use crate::{answer::ProviderStream, error::UpstreamError};

/// How many pieces of a stream wait for the client before the provider has to.
const CHANNEL_CAPACITY: usize = 16;

/// After how long without anything to forward a comment is sent: proxies and API Gateway end silent connections.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A client that takes nothing for so long has left without saying so.
const CLIENT_STALL: Duration = Duration::from_secs(300);

/// So long a client that lags behind is given to take the last word of a stream that ran out of time.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A stream on its way to the client.
#[derive(Debug)]
pub struct Relay {
    /// What the client gets; it ends after everything is settled.
    pub frames: Receiver<Bytes>,
    /// The task, for whoever has no other way to know that the stream is settled: it goes on when the client is gone.
    pub task: JoinHandle<()>,
}

/// Forwards `stream` through `meter`, until `cut` at the latest. When it is over, for good or bad, `finish` settles or
/// releases, and is told the failure if it is one; only then does the client's stream end.
pub fn relay<F, Settled>(
    stream: ProviderStream,
    meter: StreamMeter,
    cut: impl Future<Output = ()> + Send + 'static,
    finish: F,
) -> Relay
where
    F: FnOnce(StreamEnd, Option<UpstreamError>) -> Settled + Send + 'static,
    Settled: Future<Output = ()> + Send,
{
    let (sender, frames) = mpsc::channel(CHANNEL_CAPACITY);
    let client = Client { sender: Some(sender), quiet_until: Instant::now() + KEEP_ALIVE };
    let work = async move {
        let mut client = client;
        let Ended { end, failure, last } = forward(stream, meter, &mut client, cut).await;
        let patience = if end.cut { LAST_WORD } else { CLIENT_STALL };
        let last = last.into_iter().chain(failure.as_ref().map(error_frame));
        // A client that does not read must not keep the books waiting.
        tokio::join!(finish(end, failure), async {
            for frame in last {
                client.send(frame, patience).await;
            }
        });
        // The client's stream ends here, and not before.
        drop(client);
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the handle goes to the caller, who waits for it before the response ends"
    )]
    let task = tokio::spawn(work.in_current_span());
    Relay { frames, task }
}

/// How a provider's stream ended.
struct Ended {
    end: StreamEnd,
    /// Why, if it is not finished.
    failure: Option<UpstreamError>,
    /// What is left to forward.
    last: Option<Bytes>,
}

/// Reads the provider's stream to its end.
async fn forward(
    mut stream: ProviderStream,
    mut meter: StreamMeter,
    client: &mut Client,
    cut: impl Future<Output = ()>,
) -> Ended {
    let reading = AssertUnwindSafe(read(&mut stream, &mut meter, client)).catch_unwind();
    let failure = tokio::select! {
        biased;
        outcome = reading => outcome.unwrap_or(Err(UpstreamError::Panicked)).err(),
        () = cut => Some(UpstreamError::OutOfTime),
    };
    let (last, mut end) = match failure {
        // What was counted may be half a change: it is not used.
        Some(UpstreamError::Panicked) => (None, StreamEnd::default()),
        _ => meter.finish(),
    };
    if end.finished {
        return Ended { end, failure: None, last };
    }
    let failure = failure.unwrap_or_else(|| {
        let what = end.error.clone().unwrap_or_else(|| "its stream was cut".to_owned());
        UpstreamError::Failed { provider: stream.provider().to_owned(), what }
    });
    end.cut = failure == UpstreamError::OutOfTime;
    end.error.get_or_insert_with(|| failure.to_string());
    Ended { end, failure: Some(failure), last }
}

/// Forwards until the provider's stream ends, or has failed by what it says itself.
async fn read(stream: &mut ProviderStream, meter: &mut StreamMeter, client: &mut Client) -> Result<(), UpstreamError> {
    let mut frames = Vec::new();
    while !meter.failed() {
        match timeout_at(client.quiet_until, stream.next()).await {
            Err(_) => client.send(Bytes::from_static(b": keep-alive\n\n"), CLIENT_STALL).await,
            Ok(None) => break,
            Ok(Some(bytes)) => {
                meter.push(bytes?, &mut frames);
                for frame in frames.drain(..) {
                    client.send(frame, CLIENT_STALL).await;
                }
            }
        }
    }
    Ok(())
}

/// The last frame of a stream that failed: OpenAI's SDKs raise on its `error`.
fn error_frame(failure: &UpstreamError) -> Bytes {
    let (code, message) = match failure {
        UpstreamError::TimedOut { provider, .. } => {
            (ErrorCode::UpstreamTimeout, format!("The provider {provider} took too long in the middle of its answer."))
        }
        UpstreamError::Rejected { provider, .. }
        | UpstreamError::CredentialRefused { provider, .. }
        | UpstreamError::NoCredential { provider, .. }
        | UpstreamError::OrderRefused { provider, .. }
        | UpstreamError::Overloaded { provider, .. }
        | UpstreamError::Failed { provider, .. } => {
            (ErrorCode::UpstreamError, format!("The provider {provider} failed in the middle of its answer."))
        }
        UpstreamError::OutOfTime | UpstreamError::Panicked => {
            let ApiError { code, message, .. } = failure.clone().into();
            (code, message)
        }
    };
    let (_, kind, code) = code.row();
    let frame = serde_json::json!({
        "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
        "error": {"message": message, "type": kind, "code": code},
    });
    Bytes::from(format!("data: {frame}\n\n"))
}

/// The client's end of the relay.
struct Client {
    /// None: the client is gone. The provider is read on.
    sender: Option<Sender<Bytes>>,
    /// When a comment is due.
    quiet_until: Instant,
}

impl Client {
    /// Waits at most for so long until the client takes something.
    async fn send(&mut self, bytes: Bytes, patience: Duration) {
        self.quiet_until = Instant::now() + KEEP_ALIVE;
        if let Some(sender) = &self.sender
            && !matches!(timeout(patience, sender.send(bytes)).await, Ok(Ok(())))
        {
            self.sender = None;
        }
    }
}

#[cfg(test)]
mod tests;
