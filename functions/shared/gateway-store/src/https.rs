//! How the SDK speaks HTTP: over hyper, with the roots of trust that the binary brings along.
//!
//! The SDK's own client reads the machine's roots when it is made, one certificate after the other: see `gateway-tls`.

use std::{
    error::Error,
    io,
    sync::{Arc, LazyLock},
};

use aws_sdk_dynamodb::config::RuntimeComponents;
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    shared::IntoShared,
};
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector as Tcp},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::Duration;

/// To open a connection, TLS not included.
const CONNECT: Duration = Duration::from_secs(1);

/// The client of all of the SDK's calls of one configuration. It is made by the first call, so that no start waits for it.
pub(crate) fn client() -> SharedHttpClient {
    Https(Arc::new(LazyLock::new(pool))).into_shared()
}

type Pool = legacy::Client<HttpsConnector<Tcp>, SdkBody>;

fn pool() -> Pool {
    let mut tcp = Tcp::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(gateway_tls::client_config())
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
}

/// One pool of connections.
#[derive(Debug, Clone)]
struct Https(Arc<LazyLock<Pool>>);

impl HttpClient for Https {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Https {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(failure)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// What the SDK may try again is a failure of the network, and that is all there is here: it made the request itself.
fn failure(error: legacy::Error) -> ConnectorError {
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let timed_out = causes
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut));
    if timed_out { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::{Client, config::BehaviorVersion};
    use aws_smithy_types::error::display::DisplayErrorContext;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A request to `port` over the client, and what the SDK makes of it: it tries three times.
    async fn asked(port: u16) -> Result<(), String> {
        let config = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(client())
            .region(aws_config::Region::from_static("us-east-1"))
            .endpoint_url(format!("http://127.0.0.1:{port}"))
            .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(
                aws_sdk_dynamodb::config::Credentials::new("key", "secret", None, None, "test"),
            ))
            .build();
        let answer = Client::new(&config).list_tables().send().await;
        answer.map(drop).map_err(|error| DisplayErrorContext(error).to_string())
    }

    #[tokio::test]
    async fn what_the_network_breaks_is_tried_again_until_it_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            // Before a byte of the answer, amid its head, and at last an answer.
            for answer in ["", "HTTP/1.1 200 OK\r\nconte", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 8192];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let (asked, ()) = tokio::join!(asked(port), server);
        assert_eq!(asked, Ok(()));
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_a_failure_of_the_network() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = asked(port).await.unwrap_err();
        assert!(error.contains("Connection refused"), "{error}");
    }
}
