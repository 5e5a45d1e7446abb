//! The HTTP server in front of the API, on this machine's own address alone.
//!
//! A request runs on when its client leaves, as on Lambda. It ends with its answer, or with the process after the grace
//! that running requests are given.

use std::{convert::Infallible, io, net::Ipv4Addr, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::timeout,
};

use crate::api::{Answer, Api};

/// API Gateway's limit for a body.
const MOST_BODY_BYTES: usize = 10 * 1024 * 1024;
/// How much of a body over the limit is read and dropped, so that its sender gets to read the refusal.
const MOST_DROPPED_BYTES: usize = 64 * 1024 * 1024;
/// How long a client may take to send its headers, and a connection may idle.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait when the system has no connection to give, such as when it is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the port, or any free one if it is 0.
///
/// # Errors
/// Says which port is taken and what to do.
pub async fn bind(port: u16) -> Result<TcpListener, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} of 127.0.0.1 is taken. Stop what listens there, or choose another with --port")
        }
        _ => format!("can't listen on port {port} of 127.0.0.1: {error}"),
    })
}

/// Serves until `stop` says so, or its sender is gone; then takes no more connections and gives what runs the grace that
/// was sent to finish. Answers whether all finished.
pub async fn serve(listener: TcpListener, api: Arc<Api>, mut stop: oneshot::Receiver<Duration>) -> bool {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let grace = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => accept(&mut connections, &graceful, stream, &api),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            grace = &mut stop => break grace.unwrap_or_default(),
        }
    };
    drop(listener);
    let running = &api.host().running;
    running.close();
    timeout(grace, async {
        graceful.shutdown().await;
        running.wait().await;
    })
    .await
    .is_ok()
}

fn accept(connections: &mut JoinSet<()>, graceful: &GracefulShutdown, stream: TcpStream, api: &Arc<Api>) {
    // Stream chunks are small, and each should leave at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let api = api.clone();
    let service = service_fn(move |request| handle(api.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    connections.spawn(async move {
        // A client that breaks off is its own business.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
}

/// Answers in a task of its own: hyper drops this future when the client leaves, and the request must run on.
async fn handle(api: Arc<Api>, request: http::Request<Incoming>) -> io::Result<Answer> {
    let task = {
        let api = api.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = timeout(BODY_TIMEOUT, read(body)).await.map_err(|_| io::ErrorKind::TimedOut)?;
            Ok(api.answer(parts, body.map_err(io::Error::other)?).await)
        }
    };
    match api.host().running.spawn(task).await {
        Ok(answer) => answer,
        Err(_panicked) => Ok(api.failure()),
    }
}

/// The body, or nothing if it is too large.
async fn read(mut body: Incoming) -> Result<Option<Vec<u8>>, hyper::Error> {
    let (mut bytes, mut seen) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        seen += data.len();
        if seen <= MOST_BODY_BYTES {
            bytes.extend_from_slice(&data);
        } else if seen > MOST_DROPPED_BYTES {
            break;
        }
    }
    Ok((seen <= MOST_BODY_BYTES).then_some(bytes))
}

/// Ends when the user presses Ctrl-C or the system asks the process to stop.
pub async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                Ok(()) = tokio::signal::ctrl_c() => return,
            }
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without signals only the system's hard way is left.
        std::future::pending::<Infallible>().await;
    }
}
