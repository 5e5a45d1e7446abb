//! DynamoDB and Secrets Manager behind TLS, in this process: the embedded engine with an account, and one secret.

use std::{
    convert::Infallible,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Instant,
};

use aws_smithy_runtime_api::client::{
    http::{HttpConnector, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use modelswitch::{Data, Engine, Gateway, Options, STACK_NAME, echo};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::{
    now,
    process::{folder, fresh_file},
};

/// AWS, as far as the functions reach it.
pub(super) struct Aws {
    /// An account with funds.
    pub(super) account: String,
    /// Its key for the models.
    pub(super) proxy_key: String,
    port: u16,
    /// This server's root, which is read beside those that a function brings along.
    root: PathBuf,
    first_connection: Arc<Mutex<Option<Instant>>>,
    _gateway: Gateway,
    /// Ends with it.
    _server: JoinSet<()>,
}

impl Aws {
    /// Makes tables, an account and settings that serve the built-in echo.
    pub(super) async fn start() -> Self {
        let file = fresh_file("cold.db");
        let gateway = Gateway::start(Options { data: Data::File(file.clone()), ..Options::default() }).await.unwrap();
        gateway.store.settings_put(&echo()).await.unwrap();
        let first = gateway.first_account.as_ref().unwrap();
        let (account, proxy_key) = (first.id.as_str().to_owned(), first.proxy_key.reveal().to_owned());

        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tls, certificate) = tls();
        let root = folder().join("root.pem");
        fs::write(&root, certificate).unwrap();

        let first_connection = Arc::<Mutex<Option<Instant>>>::default();
        let mut server = JoinSet::new();
        let engine = SharedHttpConnector::new(Engine::beside(&file).unwrap());
        server.spawn(serve(listener, tls, engine, first_connection.clone()));
        Self { account, proxy_key, port, root, first_connection, _gateway: gateway, _server: server }
    }

    /// Forgets the connections that were made so far.
    pub(super) fn forget_connections(&self) {
        *self.first_connection.lock().unwrap() = None;
    }

    /// When the first connection was made since they were forgotten.
    pub(super) fn first_connection(&self) -> Option<Instant> {
        *self.first_connection.lock().unwrap()
    }

    /// What Lambda and the template put into a function's environment.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let table = |name: &str| format!("{STACK_NAME}-{name}");
        vec![
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
            ("AWS_SESSION_TOKEN", "bench".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_ENDPOINT_URL", format!("https://localhost:{}", self.port)),
            ("SSL_CERT_FILE", self.root.display().to_string()),
            ("STACK_NAME", STACK_NAME.to_owned()),
            ("ACCOUNTS_TABLE", table("accounts")),
            ("TOKENS_TABLE", table("tokens")),
            ("LEDGER_TABLE", table("ledger")),
            ("USAGE_TABLE", table("usage")),
            ("PEOPLE_TABLE", table("people")),
            ("BILLING_PAGE", "https://gateway.example/dashboard/billing".to_owned()),
            ("PROVIDER_SECRET", "providers".to_owned()),
            ("PAYMENTS_SECRET", "payments".to_owned()),
            ("OPENID_SECRET", "openid".to_owned()),
            ("SIGN_UP", "false".to_owned()),
        ]
    }
}

/// A chain like those of AWS: RSA of 2048 bits, an authority between the root and the server, `localhost`; and its root.
fn tls() -> (TlsAcceptor, String) {
    let key = || rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let authority = || {
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority
    };
    let (mut root, root_key) = (authority(), key());
    root.distinguished_name.push(rcgen::DnType::CommonName, "root");
    let root_certificate = root.self_signed(&root_key).unwrap();
    let (mut between, between_key) = (authority(), key());
    between.distinguished_name.push(rcgen::DnType::CommonName, "between");
    let between_certificate = between.signed_by(&between_key, &rcgen::Issuer::new(root, root_key)).unwrap();
    let (server, server_key) = (rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap(), key());
    let certificate = server.signed_by(&server_key, &rcgen::Issuer::new(between, between_key)).unwrap();
    let chain = vec![certificate.der().clone(), between_certificate.der().clone()];
    let server_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, server_key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), root_certificate.pem())
}

async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    engine: SharedHttpConnector,
    first_connection: Arc<Mutex<Option<Instant>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        first_connection.lock().unwrap().get_or_insert_with(now);
        stream.set_nodelay(true).unwrap();
        let (tls, engine) = (tls.clone(), engine.clone());
        connections.spawn(async move {
            // A function that is killed breaks off wherever it is.
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, engine.clone()));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, engine: SharedHttpConnector) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let target = head.headers.get("x-amz-target").map(|target| target.to_str().unwrap()).unwrap_or_default();
    if target == "secretsmanager.GetSecretValue" {
        return Ok(json(200, Bytes::from_static(br#"{"Name":"providers","SecretString":"{\"lab\":\"bench\"}"}"#)));
    }
    let asked = HttpRequest::try_from(Request::from_parts(head, SdkBody::from(body))).unwrap();
    let answered = engine.call(asked).await.unwrap();
    let body = Bytes::copy_from_slice(answered.body().bytes().unwrap());
    Ok(json(answered.status().as_u16(), body))
}

fn json(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let sum = crc32fast::hash(&body).to_string();
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.0");
    response.header("x-amz-crc32", sum).body(Full::new(body)).unwrap()
}
