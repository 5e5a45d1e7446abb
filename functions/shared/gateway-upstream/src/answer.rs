//! What a provider answers: a whole body, or a stream whose beginning was looked at before anybody was told of it.

use std::collections::VecDeque;

use bytes::Bytes;
use gateway_core::{
    meter::{self, Opening},
    sse,
};
use tokio::time::{Duration, Instant, timeout_at};

use crate::error::UpstreamError;

/// The most bytes that an answer which comes whole may have.
pub(crate) const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The most bytes that are read of an answer which is an error.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// How long a stream may stay silent before its client is told that it has begun. Silent models think for minutes, and
/// the client's connection needs a sign of life (the relay's comments) after this long.
const PEEK: Duration = Duration::from_secs(15);

/// How many events without content are looked at before a stream counts as begun: one with the role is usual.
const PEEK_EVENTS: usize = 4;

/// A provider's stream of bytes. Its timeouts are in it: it ends, fails or goes on, but never hangs.
pub struct ProviderStream {
    provider: String,
    source: Source,
    /// What was looked at already.
    peeked: VecDeque<Bytes>,
    /// How long to wait for the next bytes.
    patience: Duration,
    /// How long for those after the first.
    idle: Duration,
    /// Since when the next bytes are waited for.
    waiting: Option<Instant>,
}

/// The pieces of an echo.
pub(crate) type Pieces = Box<dyn Iterator<Item = Bytes> + Send + Sync>;

enum Source {
    Http(Box<reqwest::Response>),
    Echo(Pieces),
}

impl ProviderStream {
    pub(crate) fn of_response(provider: &str, response: reqwest::Response, first: Duration, idle: Duration) -> Self {
        Self::new(provider, Source::Http(Box::new(response)), first, idle)
    }

    pub(crate) fn of_echo(provider: &str, pieces: Pieces) -> Self {
        Self::new(provider, Source::Echo(pieces), Duration::ZERO, Duration::ZERO)
    }

    fn new(provider: &str, source: Source, patience: Duration, idle: Duration) -> Self {
        Self { provider: provider.to_owned(), source, peeked: VecDeque::new(), patience, idle, waiting: None }
    }

    /// The provider's name.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The next bytes, or nothing at the end. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Bytes, UpstreamError>> {
        match self.peeked.pop_front() {
            Some(bytes) => Some(Ok(bytes)),
            None => self.read().await.transpose(),
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let response = match &mut self.source {
            Source::Echo(pieces) => return Ok(pieces.next()),
            Source::Http(response) => response,
        };
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let read = timeout_at(since + self.patience, response.chunk()).await;
        self.waiting = None;
        self.patience = self.idle;
        match read {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.is_timeout() => Err(self.timed_out()),
            Ok(Err(_)) => Err(self.failed("its answer was cut")),
            Err(_) => Err(self.timed_out()),
        }
    }

    fn timed_out(&self) -> UpstreamError {
        UpstreamError::TimedOut { provider: self.provider.clone(), what: "no byte came for too long" }
    }

    fn failed(&self, what: &str) -> UpstreamError {
        UpstreamError::Failed { provider: self.provider.clone(), what: what.to_owned() }
    }

    /// Reads on until the answer has begun. An error, an end or garbage before that is a failure, and another provider
    /// may still be asked.
    pub(crate) async fn peek(&mut self) -> Result<(), UpstreamError> {
        let until = Instant::now() + PEEK;
        let mut decoder = sse::Decoder::default();
        let (mut seen, mut bytes_seen) = (0, 0);
        let mut kept = VecDeque::new();
        while seen < PEEK_EVENTS {
            let Ok(chunk) = timeout_at(until, self.read()).await else { break };
            let chunk = chunk?;
            let events = match &chunk {
                Some(bytes) => decoder.push(bytes).map_err(|error| self.failed(&error.to_string()))?,
                None => std::mem::take(&mut decoder).finish().into_iter().collect(),
            };
            let mut begun = false;
            for event in &events {
                seen += 1;
                begun = self.begins(event)?;
                if begun {
                    break;
                }
            }
            let Some(bytes) = chunk else {
                if begun {
                    break;
                }
                return Err(self.failed("its stream ended before it began"));
            };
            bytes_seen += bytes.len();
            kept.push_back(bytes);
            if begun || bytes_seen > sse::MAX_FRAME_BYTES {
                break;
            }
        }
        self.peeked = kept;
        Ok(())
    }

    fn begins(&self, event: &sse::Event) -> Result<bool, UpstreamError> {
        match meter::opening(event) {
            Opening::Silent => Ok(false),
            Opening::Content => Ok(true),
            Opening::Error => Err(UpstreamError::of_error_body(&self.provider, &event.data)),
            Opening::Garbage => Err(self.failed("its stream is no stream of a chat")),
        }
    }

    /// The whole body of an answer: one JSON object, and no error in it.
    pub(crate) async fn into_answer(mut self) -> Result<Bytes, UpstreamError> {
        let body = self.body(MAX_ANSWER_BYTES).await?.ok_or_else(|| self.failed("its answer is too long"))?;
        match meter::answer_end(&body).error {
            None => Ok(body),
            Some(_) if has_error(&body) => Err(UpstreamError::of_error_body(&self.provider, &body)),
            Some(what) => Err(self.failed(&what)),
        }
    }

    /// As much as there is of an error's body, up to a bound.
    pub(crate) async fn into_error_body(mut self) -> Bytes {
        self.body(MAX_ERROR_BYTES).await.ok().flatten().unwrap_or_default()
    }

    /// The whole body, or nothing if it has more than `most` bytes.
    async fn body(&mut self, most: usize) -> Result<Option<Bytes>, UpstreamError> {
        let mut body = Vec::new();
        while let Some(bytes) = self.next().await {
            let bytes = bytes?;
            if body.len() + bytes.len() > most {
                return Ok(None);
            }
            body.extend_from_slice(&bytes);
        }
        Ok(Some(body.into()))
    }
}

impl std::fmt::Debug for ProviderStream {
    /// The provider alone: what was peeked is the model's words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProviderStream({})", self.provider)
    }
}

fn has_error(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|answer| !answer["error"].is_null())
}
