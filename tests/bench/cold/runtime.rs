//! Lambda's runtime API for one start of one function: one event, and the time of what the function does with it.

use std::{convert::Infallible, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{Duration, timeout},
};

use crate::now;

/// A function that is not heard of for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the function did.
pub(super) enum Seen {
    /// It asked for an event.
    Next(Instant),
    /// It sent an answer, or an error, which the path tells.
    Answer {
        /// When the last byte of it was there.
        at: Instant,
        path: String,
        body: Bytes,
    },
}

/// The API.
pub(super) struct RuntimeApi {
    /// Where it is, as `AWS_LAMBDA_RUNTIME_API` has it.
    pub(super) address: String,
    seen: UnboundedReceiver<Seen>,
    /// Ends with it.
    _server: JoinSet<()>,
}

impl RuntimeApi {
    /// An API that has one event to give.
    pub(super) async fn start(event: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, seen) = unbounded_channel();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::new(event), sender));
        Self { address, seen, _server: server }
    }

    /// What the function does next; none if that takes too long.
    pub(super) async fn seen(&mut self) -> Option<Seen> {
        timeout(PATIENCE, self.seen.recv()).await.ok().flatten()
    }
}

async fn serve(listener: TcpListener, event: Arc<String>, seen: UnboundedSender<Seen>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (event, seen) = (event.clone(), seen.clone());
        let service = service_fn(move |request| answer(request, event.clone(), seen.clone()));
        connections.spawn(async move {
            // It ends in an error when the function is killed.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    event: Arc<String>,
    seen: UnboundedSender<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let asked_at = now();
    if request.method() == Method::GET {
        // Nobody listens any more when the measurement is over.
        let _ = seen.send(Seen::Next(asked_at));
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", "00000000-0000-4000-8000-000000000001")
            // Far away: no start is about the function's own deadline.
            .header("lambda-runtime-deadline-ms", "9999999999999")
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:bench")
            .body(Full::new(Bytes::from(event.as_bytes().to_vec())));
        return Ok(response.unwrap());
    }
    let path = request.uri().path().to_owned();
    // What broke off is no answer, which whoever reads it will find.
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let _ = seen.send(Seen::Answer { at: now(), path, body });
    Ok(Response::builder().status(202).body(Full::default()).unwrap())
}
