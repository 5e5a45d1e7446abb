//! An answer that a task of its own writes, piece by piece, while the client reads.

use std::future::Future;

use bytes::Bytes;
use gateway_core::error::ApiError;
use tokio::sync::mpsc;

use crate::{Request, Response, deadline::Deadline, panics::caught};

/// Pieces written ahead of the client.
const PIECES_AHEAD: usize = 2;

impl Response {
    /// Bytes of this content type as `write` sends them. Should it fail, panic or run out of time, `cut` is the last piece,
    /// so that nobody takes the part for the whole.
    pub fn streamed<F>(
        content_type: &'static str,
        request: &Request,
        cut: &'static str,
        write: impl FnOnce(mpsc::Sender<Bytes>) -> F,
    ) -> Self
    where
        F: Future<Output = Result<(), ApiError>> + Send + 'static,
    {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let (written, record, deadline) = (write(sender.clone()), request.record.clone(), request.deadline.clone());
        #[expect(clippy::disallowed_methods, reason = "the body ends when this task drops the sender, its last act")]
        tokio::spawn(async move {
            let outcome = tokio::select! {
                biased;
                outcome = caught(written) => outcome.unwrap_or_else(|panic| Err(ApiError::internal(panic.to_string()))),
                () = deadline.near() => Err(Deadline::error()),
            };
            if let Err(error) = outcome {
                record.failed(&error);
                // A client that is gone needs no last word; one that does not read, no word for ever.
                let send = sender.send(Bytes::from_static(cut.as_bytes()));
                tokio::select! {
                    biased;
                    _ = send => {}
                    () = deadline.passed() => {}
                }
            }
        });
        Self::pieces(content_type, pieces)
    }
}
