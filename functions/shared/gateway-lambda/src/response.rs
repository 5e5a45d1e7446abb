//! What a handler answers: a status, headers and a body that is whole or comes in pieces.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway_core::error::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::Record;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// A handler's answer.
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

enum Content {
    Whole(Bytes),
    Pieces(mpsc::Receiver<Bytes>),
}

impl Response {
    /// Bytes of this content type.
    pub fn bytes(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::of(status, content_type, Content::Whole(body.into()))
    }

    /// `body` as JSON.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => Self::bytes(status, JSON, bytes),
            Err(error) => Self::error(&ApiError::internal(format!("the answer does not serialise: {error}"))),
        }
    }

    /// JSON that is already written.
    pub fn json_bytes(status: u16, body: impl Into<Bytes>) -> Self {
        Self::bytes(status, JSON, body)
    }

    /// Server-sent events as they come. The answer ends when the sender is dropped, so drop it last: after the books.
    pub fn events(pieces: mpsc::Receiver<Bytes>) -> Self {
        let mut response = Self::of(200, EVENT_STREAM, Content::Pieces(pieces));
        response.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    /// Bytes of this content type as they come.
    pub(crate) fn pieces(content_type: &'static str, pieces: mpsc::Receiver<Bytes>) -> Self {
        Self::of(200, content_type, Content::Pieces(pieces))
    }

    /// Nothing, as after a deletion.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), content: Content::Whole(Bytes::new()) }
    }

    /// Elsewhere, by GET: what a browser is told after a form. `location` is a path of our own.
    pub fn see_other(location: HeaderValue) -> Self {
        let response = Self { status: StatusCode::SEE_OTHER, ..Self::no_content() };
        response.header(header::LOCATION, location)
    }

    /// An error's envelope.
    pub fn error(error: &ApiError) -> Self {
        let mut response = Self::bytes(error.code.status(), JSON, error.body());
        if let Some(seconds) = error.retry_after_s {
            response.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// The same with one more header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same with one more header of a name that it may have already, such as `Set-Cookie`.
    pub fn header_more(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    fn of(status: u16, content_type: &'static str, content: Content) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), headers, content }
    }

    /// The HTTP response, with what the record adds to every answer.
    pub(crate) fn finish(self, record: Record) -> http::Response<Body> {
        record.answered(self.status.as_u16());
        let mut headers = self.headers;
        let mut set = |name: &'static str, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("x-request-id", record.id().as_str());
        if let Some(rate) = record.rate() {
            set("x-ratelimit-limit-requests", &rate.limit.to_string());
            set("x-ratelimit-remaining-requests", &rate.remaining.to_string());
            set("x-ratelimit-reset-requests", &format!("{}s", rate.reset_s));
        }
        let mut response = http::Response::new(Body { content: self.content, record: Some(record) });
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

/// An answer's body. It never fails: the runtime would write an error's text into the body.
pub struct Body {
    content: Content,
    record: Option<Record>,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.content {
            Content::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Content::Pieces(pieces) => match pieces.poll_recv(cx) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
        };
        match (&piece, &self.record) {
            (Some(_), Some(record)) => record.first_byte(),
            _ => self.record = None,
        }
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}
