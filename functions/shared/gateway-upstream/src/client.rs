//! One request to one provider after the other, until one answers.

use std::{
    collections::HashSet,
    error::Error as _,
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use gateway_core::{
    catalogue::{Dialect, Endpoint},
    ids::RequestId,
};
use http::{StatusCode, header};
use hyper_util::client::legacy::connect::HttpInfo;
use reqwest::{Client, Request, Response};
use tokio::time::{Duration, timeout};

use crate::{answer::ProviderStream, credentials::Credentials, echo, error::UpstreamError};

/// How many connections are remembered as good for more than one request. Forgetting one costs a safe retry at most.
const MAX_REMEMBERED: usize = 4_096;

/// How long a provider may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To open a connection, TLS included.
    pub connect_ms: u64,
    /// To the first byte of a stream.
    pub first_byte_ms: u64,
    /// To the first byte of an answer that comes whole: the provider sends it when all of it is there, and models that
    /// reason take minutes.
    pub answer_ms: u64,
    /// From bytes to the next bytes.
    pub idle_ms: u64,
}

impl Default for Timeouts {
    /// 5 s, 2 min, 10 min (what OpenAI's SDKs wait) and 1 min.
    fn default() -> Self {
        Self { connect_ms: 5_000, first_byte_ms: 120_000, answer_ms: 600_000, idle_ms: 60_000 }
    }
}

/// The providers' client. Clones share its connections and credentials.
#[derive(Debug, Clone)]
pub struct Upstream {
    timeouts: Timeouts,
    credentials: Credentials,
    clients: Arc<Clients>,
}

#[derive(Debug)]
struct Clients {
    /// Keeps connections for the next request.
    pooled: LazyClient,
    /// Opens a connection for each request.
    fresh: LazyClient,
    /// The connections, by their two ends, that have answered a request.
    answered: Mutex<HashSet<(std::net::SocketAddr, std::net::SocketAddr)>>,
}

impl Upstream {
    /// A client with these timeouts and credentials.
    pub fn new(timeouts: Timeouts, credentials: Credentials) -> Self {
        let client = |pool| LazyClient::new(timeouts.connect_ms, pool);
        let clients = Clients { pooled: client(true), fresh: client(false), answered: Mutex::default() };
        Self { timeouts, credentials, clients: Arc::new(clients) }
    }

    /// Asks one endpoint after the other for an answer that comes whole (a JSON object), until one gives it.
    ///
    /// `path` is behind the provider's base URL, `chat/completions`; `body` makes the request for an endpoint.
    pub async fn answer<'e, E: AsRef<Endpoint>>(
        &self,
        request: &RequestId,
        endpoints: &'e [E],
        path: &str,
        body: impl Fn(&E) -> Vec<u8>,
    ) -> Result<(&'e E, Bytes), UpstreamError> {
        let mut last = None;
        for endpoint in endpoints {
            let opened = self.open(request, endpoint.as_ref(), path, body(endpoint), self.timeouts.answer_ms).await;
            let answer = match opened {
                Ok((stream, secret)) => stream.into_answer().await.map_err(|error| error.without(secret.as_deref())),
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok((endpoint, answer)),
                Err(error) => last = Some(fall_back(error)?),
            }
        }
        Err(last.unwrap_or_else(nobody))
    }

    /// Asks one endpoint after the other for a stream, until one has begun: its first content, or several events or
    /// seconds without an error, are there.
    pub async fn stream<'e, E: AsRef<Endpoint>>(
        &self,
        request: &RequestId,
        endpoints: &'e [E],
        path: &str,
        body: impl Fn(&E) -> Vec<u8>,
    ) -> Result<(&'e E, ProviderStream), UpstreamError> {
        let mut last = None;
        for endpoint in endpoints {
            let opened = self.open(request, endpoint.as_ref(), path, body(endpoint), self.timeouts.first_byte_ms).await;
            let begun = match opened {
                Ok((mut stream, secret)) => match stream.peek().await {
                    Ok(()) => Ok(stream),
                    Err(error) => Err(error.without(secret.as_deref())),
                },
                Err(error) => Err(error),
            };
            match begun {
                Ok(stream) => return Ok((endpoint, stream)),
                Err(error) => last = Some(fall_back(error)?),
            }
        }
        Err(last.unwrap_or_else(nobody))
    }

    /// Sends one request to one endpoint and returns when its status is known to be 2xx, with the credential that it was
    /// sent: a provider may quote it later.
    async fn open(
        &self,
        request: &RequestId,
        endpoint: &Endpoint,
        path: &str,
        body: Vec<u8>,
        first_byte_ms: u64,
    ) -> Result<(ProviderStream, Option<String>), UpstreamError> {
        let provider = &endpoint.provider.name;
        if endpoint.provider.dialect == Dialect::Echo {
            let pieces = echo::answer(request, path, &endpoint.model, &body)?;
            return Ok((ProviderStream::of_echo(provider, pieces), None));
        }
        let body = Bytes::from(body);
        let first_byte = Duration::from_millis(first_byte_ms);
        let mut secret = self.secret(endpoint).await?;
        let mut response = self.send(endpoint, path, &body, secret.as_deref(), first_byte).await?;
        if is_refusal(response.status())
            && let (Some(name), Some(refused)) = (&endpoint.provider.credential, &secret)
            && let Some(replacement) = self.credentials.replacement(name, refused).await
        {
            response = self.send(endpoint, path, &body, Some(&replacement), first_byte).await?;
            secret = Some(replacement);
        }
        let (status, retry_after_s) = (response.status(), retry_after_s(&response));
        let idle = Duration::from_millis(self.timeouts.idle_ms);
        let stream = ProviderStream::of_response(provider, response, first_byte, idle);
        if status.is_success() {
            return Ok((stream, secret));
        }
        let body = stream.into_error_body().await;
        let error = UpstreamError::of_answer(provider, status.as_u16(), retry_after_s, &body);
        if is_refusal(status) {
            tracing::error!(provider, status = status.as_u16(), "the provider refuses our credential");
        }
        Err(error.without(secret.as_deref()))
    }

    async fn secret(&self, endpoint: &Endpoint) -> Result<Option<String>, UpstreamError> {
        let Some(name) = &endpoint.provider.credential else { return Ok(None) };
        match self.credentials.secret(name).await {
            Some(secret) => Ok(Some(secret)),
            None => {
                let (provider, credential) = (endpoint.provider.name.clone(), name.clone());
                Err(UpstreamError::NoCredential { provider, credential })
            }
        }
    }

    /// Sends the request; once more, on a connection of its own, if a kept one was closed before it answered a byte.
    async fn send(
        &self,
        endpoint: &Endpoint,
        path: &str,
        body: &Bytes,
        secret: Option<&str>,
        first_byte: Duration,
    ) -> Result<Response, UpstreamError> {
        let provider = &endpoint.provider.name;
        let failed = |what: String| UpstreamError::Failed { provider: provider.clone(), what };
        let make = |client: &Client| request(client, endpoint, path, body.clone(), secret);
        let sending = async {
            let pooled = self.clients.pooled.client()?;
            match pooled.execute(make(pooled)?).await {
                Err(error) if self.clients.closed_while_kept(&error) => {
                    let fresh = self.clients.fresh.client()?;
                    fresh.execute(make(fresh)?).await
                }
                sent => sent.inspect(|response| self.clients.remember(response)),
            }
        };
        match timeout(first_byte, sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_timeout() => {
                Err(UpstreamError::TimedOut { provider: provider.clone(), what: "it could not be connected to" })
            }
            Ok(Err(error)) if error.is_connect() => Err(failed(format!("no connection ({})", describe(&error)))),
            Ok(Err(error)) => Err(failed(describe(&error))),
            Err(_) => Err(UpstreamError::TimedOut { provider: provider.clone(), what: "no byte came for too long" }),
        }
    }
}

impl Clients {
    fn remember(&self, response: &Response) {
        if let Some(info) = response.extensions().get::<HttpInfo>() {
            let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            if answered.len() >= MAX_REMEMBERED {
                answered.clear();
            }
            answered.insert((info.local_addr(), info.remote_addr()));
        }
    }

    /// Whether the request was sent on a connection that had answered before and that closed without a byte for this
    /// one. The provider closed it while the request was on its way, so it read nothing of it. (hyper repeats by itself
    /// what it has not begun to send, and nothing else.)
    fn closed_while_kept(&self, error: &reqwest::Error) -> bool {
        if !error.is_request() || error.is_timeout() || !causes(error).any(is_close) {
            return false;
        }
        let mut extensions = http::Extensions::new();
        causes(error)
            .filter_map(|cause| cause.downcast_ref::<hyper_util::client::legacy::Error>()?.connect_info())
            .for_each(|connected| connected.get_extras(&mut extensions));
        extensions.get::<HttpInfo>().is_some_and(|info| {
            let ends = (info.local_addr(), info.remote_addr());
            self.answered.lock().unwrap_or_else(PoisonError::into_inner).remove(&ends)
        })
    }
}

/// A client that its first request makes, so that no start waits for it.
#[derive(Debug)]
pub(crate) struct LazyClient {
    connect_ms: u64,
    pool: bool,
    made: OnceLock<Client>,
}

impl LazyClient {
    /// One that may take so long to connect, and that keeps its connections or none.
    pub(crate) fn new(connect_ms: u64, pool: bool) -> Self {
        Self { connect_ms, pool, made: OnceLock::new() }
    }

    pub(crate) fn client(&self) -> reqwest::Result<&Client> {
        match self.made.get() {
            Some(client) => Ok(client),
            None => self.make().map(|client| self.made.get_or_init(|| client)),
        }
    }

    /// No redirects, as they could carry a credential elsewhere; no proxy from the environment; bodies as they are.
    fn make(&self) -> reqwest::Result<Client> {
        let mut tls = gateway_tls::client_config();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("modelswitch/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(self.connect_ms))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if self.pool { builder.build() } else { builder.pool_max_idle_per_host(0).build() }
    }
}

fn request(
    client: &Client,
    endpoint: &Endpoint,
    path: &str,
    body: Bytes,
    secret: Option<&str>,
) -> reqwest::Result<Request> {
    let url = format!("{}/{path}", endpoint.provider.base_url);
    let mut request = client.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
    if let Some(secret) = secret {
        request = request.bearer_auth(secret);
    }
    for (name, value) in &endpoint.provider.headers {
        request = request.header(name, value);
    }
    request.build()
}

fn is_refusal(status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN
}

fn retry_after_s(response: &Response) -> Option<u64> {
    response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Whether this is a connection that ended, cleanly or not, before the answer did.
fn is_close(cause: &(dyn std::error::Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let closed = [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof];
    cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
        || cause.downcast_ref::<io::Error>().is_some_and(|error| closed.contains(&error.kind()))
}

/// The innermost cause: it names neither URL nor header.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| "the request could not be made".to_owned(), ToString::to_string)
}

/// Logs a failure that another endpoint may make good, or gives it back.
fn fall_back(error: UpstreamError) -> Result<UpstreamError, UpstreamError> {
    if !error.is_retryable() {
        return Err(error);
    }
    tracing::warn!(%error, "a provider failed");
    Ok(error)
}

/// `routing::plan` never gives an empty list.
fn nobody() -> UpstreamError {
    UpstreamError::Failed { provider: "nobody".to_owned(), what: "there is no endpoint".to_owned() }
}

#[cfg(test)]
mod tests;
