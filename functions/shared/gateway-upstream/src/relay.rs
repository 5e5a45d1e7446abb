//! Forwards a provider's stream to the client, and settles before it ends.
//!
//! A task of its own reads the provider to the end whether the client stays or not: what the provider bills is then
//! known and paid. The client's stream ends only after that.

use bytes::Bytes;
use gateway_core::{
    error::ErrorCode,
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

/// A stream on its way to the client.
#[derive(Debug)]
pub struct Relay {
    /// What the client gets; it ends after everything is settled.
    pub frames: Receiver<Bytes>,
    /// The task, for whoever has no other way to know that the stream is settled: it goes on when the client is gone.
    pub task: JoinHandle<()>,
}

/// Forwards `stream` through `meter`. When it is over, for good or bad, `finish` settles or releases; only then does the
/// client's stream end.
pub fn relay<F, Settled>(stream: ProviderStream, meter: StreamMeter, finish: F) -> Relay
where
    F: FnOnce(StreamEnd) -> Settled + Send + 'static,
    Settled: Future<Output = ()> + Send,
{
    let (sender, frames) = mpsc::channel(CHANNEL_CAPACITY);
    let client = Client { sender: Some(sender), quiet_until: Instant::now() + KEEP_ALIVE };
    let work = async move {
        let mut client = client;
        let end = forward(stream, meter, &mut client).await;
        finish(end).await;
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

/// Reads the provider's stream to its end.
async fn forward(mut stream: ProviderStream, mut meter: StreamMeter, client: &mut Client) -> StreamEnd {
    let mut frames = Vec::new();
    let failure = loop {
        if meter.failed() {
            break None;
        }
        match timeout_at(client.quiet_until, stream.next()).await {
            Err(_) => client.send(Bytes::from_static(b": keep-alive\n\n")).await,
            Ok(None) => break None,
            Ok(Some(Err(error))) => break Some(error),
            Ok(Some(Ok(bytes))) => {
                meter.push(bytes, &mut frames);
                for frame in frames.drain(..) {
                    client.send(frame).await;
                }
            }
        }
    };
    let (last, mut end) = meter.finish();
    if let Some(frame) = last {
        client.send(frame).await;
    }
    if !end.finished {
        let cut =
            || UpstreamError::Failed { provider: stream.provider().to_owned(), what: "its stream was cut".to_owned() };
        let failure = failure.unwrap_or_else(cut);
        client.send(error_frame(&failure)).await;
        end.error.get_or_insert_with(|| failure.to_string());
    }
    end
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
        | UpstreamError::Overloaded { provider, .. }
        | UpstreamError::Failed { provider, .. } => {
            (ErrorCode::UpstreamError, format!("The provider {provider} failed in the middle of its answer."))
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
    async fn send(&mut self, bytes: Bytes) {
        self.quiet_until = Instant::now() + KEEP_ALIVE;
        if let Some(sender) = &self.sender
            && !matches!(timeout(CLIENT_STALL, sender.send(bytes)).await, Ok(Ok(())))
        {
            self.sender = None;
        }
    }
}

#[cfg(test)]
mod tests;
