//! How an answer that streams reaches Lambda's runtime API: by a connection of ours, on which no piece waits.
//!
//! On the runtime's own, which has no TCP_NODELAY and can't be told to, a small piece waits until the one before is
//! acknowledged, and the other side takes about 40 ms for that. So the answer is taken from the runtime before it would
//! send it, and goes out as it would have gone. What is no answer (an event that can't be read) it still sends itself.

use std::{
    convert::Infallible,
    future::{self, Future},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue,
    header::{CONTENT_TYPE, TRAILER, TRANSFER_ENCODING},
};
use http_body::Frame;
use hyper_util::client::legacy::connect::HttpConnector;
use lambda_runtime::{
    LambdaInvocation, MetadataPrelude,
    tower::{Layer, Service},
};
use lambda_runtime_api_client::{PooledClient, body::Body as Sent, build_request};
use tokio::sync::mpsc;

use crate::{Body, StartError};

/// Names the attempt at an invocation; an answer repeats it, so that a late one is told from the one that is awaited.
const INVOCATION_ID: HeaderName = HeaderName::from_static("lambda-runtime-invocation-id");

/// Ends the prelude of a streamed answer.
const DELIMITER: [u8; 8] = [0; 8];

tokio::task_local! {
    /// Takes the answer to the invocation that this task belongs to.
    static ANSWER: mpsc::Sender<http::Response<Body>>;
}

/// Has [`AtOnce`] send the answer to the current invocation, and does not end then: with what it ended with, the runtime
/// would answer.
pub(crate) async fn hand_over(response: http::Response<Body>) -> Result<http::Response<Body>, Infallible> {
    let Ok(answer) = ANSWER.try_with(Clone::clone) else { return Ok(response) };
    match answer.try_send(response) {
        Ok(()) => future::pending().await,
        Err(back) => Ok(back.into_inner()),
    }
}

/// Sends the answers that a runtime's handler hands over.
#[derive(Clone)]
pub(crate) struct AtOnce(Arc<PooledClient>);

impl AtOnce {
    /// To the runtime API that the environment names.
    ///
    /// # Panics
    /// It names none, as [`lambda_runtime::Runtime::new`] does.
    pub(crate) fn new() -> Self {
        Self(Arc::new(PooledClient::builder().with_connector(connector()).build()))
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

impl<S> Layer<S> for AtOnce {
    type Service = SentAtOnce<S>;

    fn layer(&self, inner: S) -> SentAtOnce<S> {
        SentAtOnce { client: self.0.clone(), inner }
    }
}

/// A runtime's service, whose answers go out by a client of ours.
#[derive(Clone)]
pub(crate) struct SentAtOnce<S> {
    client: Arc<PooledClient>,
    inner: S,
}

impl<S> Service<LambdaInvocation> for SentAtOnce<S>
where
    S: Service<LambdaInvocation, Response = (), Error = StartError> + 'static,
    S::Future: Send,
{
    type Response = ();
    type Error = StartError;
    type Future = Pin<Box<dyn Future<Output = Result<(), StartError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StartError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let client = self.client.clone();
        let id = invocation.context.request_id.clone();
        let invocation_id = invocation.parts.headers.get(INVOCATION_ID).cloned();
        let (answer, mut answers) = mpsc::channel(1);
        let handled = ANSWER.scope(answer, self.inner.call(invocation));
        Box::pin(async move {
            let response = tokio::select! {
                biased;
                Some(response) = answers.recv() => response,
                // The runtime has sent what there was to send.
                ended = handled => return ended,
            };
            send(&client, &id, invocation_id, response).await
        })
    }
}

/// Sends the answer, until it has ended and the platform has said what it thinks of it.
async fn send(
    client: &PooledClient,
    id: &str,
    invocation_id: Option<HeaderValue>,
    response: http::Response<Body>,
) -> Result<(), StartError> {
    // The log's lines are the runtime's.
    let taken = async { client.call(request(id, invocation_id, response)?).await };
    let taken =
        taken.await.inspect_err(|error| tracing::error!(?error, "failed to send request to Lambda Runtime API"))?;
    let status = taken.status();
    if !status.is_success() {
        tracing::error!(%status, "Lambda Runtime API returned non-200 response");
    }
    Ok(())
}

/// What the runtime would have sent.
fn request(
    id: &str,
    invocation_id: Option<HeaderValue>,
    response: http::Response<Body>,
) -> Result<http::Request<Sent>, StartError> {
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    // No answer of ours sets a cookie.
    let prelude = MetadataPrelude { status_code: parts.status, headers, cookies: Vec::new() };
    let mut prelude = serde_json::to_vec(&prelude)?;
    prelude.extend(DELIMITER);
    let mut request = build_request()
        .method(http::Method::POST)
        .uri(format!("/2018-06-01/runtime/invocation/{id}/response"))
        .header(TRANSFER_ENCODING, "chunked")
        .header("lambda-runtime-function-response-mode", "streaming")
        .header(TRAILER, "Lambda-Runtime-Function-Error-Type")
        .header(TRAILER, "Lambda-Runtime-Function-Error-Body")
        .header(CONTENT_TYPE, "application/vnd.awslambda.http-integration-response")
        .body(Sent::new(WithPrelude { prelude: Some(prelude.into()), body }))?;
    if let Some(invocation_id) = invocation_id {
        request.headers_mut().insert(INVOCATION_ID, invocation_id);
    }
    Ok(request)
}

/// An answer's body after its prelude: what of it is there goes out in the same write.
struct WithPrelude {
    prelude: Option<Bytes>,
    body: Body,
}

impl http_body::Body for WithPrelude {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.prelude.take() {
            Some(prelude) => Poll::Ready(Some(Ok(Frame::data(prelude)))),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn no_piece_waits_for_the_acknowledgement_of_the_one_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let connection = connector().call(uri).await.unwrap();
        assert!(connection.inner().nodelay().unwrap());
    }
}
