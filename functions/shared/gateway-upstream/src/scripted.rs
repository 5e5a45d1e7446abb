//! A provider for tests: a raw TCP server that reads each request whole and does exactly what its script says.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use gateway_core::{
    catalogue::{Dialect, Endpoint, Model, ModelKind, OUTPUT_LIMITS, Provider},
    ids::RequestId,
    moment::UnixMs,
    pricing::{Markup, Prices},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Then {
    /// The connection stays for the next request.
    Keep,
    /// The connection is closed.
    Close,
    /// The request's body is not read, so the kernel resets the connection.
    Reset,
    /// Nothing more comes, and the connection stays open.
    Hang,
}

/// What the provider does with one request.
#[derive(Debug, Clone)]
pub(crate) struct Turn(pub(crate) String, pub(crate) Then);

impl Turn {
    /// An answer of known length.
    pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self(format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}"), Then::Keep)
    }

    /// A stream that ends as `then` says: whole with Keep.
    pub(crate) fn stream(body: &str, then: Then) -> Self {
        let last = if then == Then::Keep { "0\r\n\r\n" } else { "" };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        Self(format!("{head}{:x}\r\n{body}\r\n{last}", body.len()), then)
    }
}

/// A provider at work; it ends when dropped.
pub(crate) struct Scripted {
    pub(crate) endpoint: Endpoint,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// Does these turns, one for each request whatever its connection.
    pub(crate) async fn turns(turns: impl IntoIterator<Item = Turn>) -> Self {
        let turns: Mutex<VecDeque<Turn>> = Mutex::new(turns.into_iter().collect());
        Self::script(move |_| turns.lock().unwrap().pop_front().unwrap_or(Turn(String::new(), Then::Close))).await
    }

    /// Does what `script` says for the nth request (from 0) of a connection.
    pub(crate) async fn script(script: impl Fn(usize) -> Turn + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counter, log, script) = (connections.clone(), requests.clone(), Arc::new(script));
        let accept = async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                open.spawn(serve(socket, script.clone(), log.clone()));
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a test's server, ended by its Drop")]
        let task = tokio::spawn(accept);
        Self { endpoint: endpoint(&base_url), connections, requests, task }
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Every request, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, script: Arc<impl Fn(usize) -> Turn>, log: Arc<Mutex<Vec<String>>>) {
    for number in 0.. {
        // Byte by byte, so that the body stays where it is until it is asked for.
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match socket.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8_lossy(&request).to_lowercase();
        let length =
            head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok()).unwrap_or(0);
        let Turn(says, then) = script(number);
        if then == Then::Reset {
            log.lock().unwrap().push(head);
            // The body stays in the kernel's buffer: closing now resets.
            let _ = socket.readable().await;
            return;
        }
        let mut body = vec![0; length];
        if socket.read_exact(&mut body).await.is_err() {
            return;
        }
        request.extend(body);
        log.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
        let _ = socket.write_all(says.as_bytes()).await;
        match then {
            Then::Keep => {}
            Then::Hang => std::future::pending().await,
            Then::Close | Then::Reset => return,
        }
    }
}

/// A model at a provider with this base URL.
pub(crate) fn endpoint(base_url: &str) -> Endpoint {
    let prices = Prices::default();
    let model = Model {
        id: "lab/m".to_owned(),
        name: "M".to_owned(),
        provider: "lab".to_owned(),
        upstream_id: "m".to_owned(),
        kind: ModelKind::Chat,
        context_length: None,
        max_output_tokens: Some(100),
        input_modalities: vec![],
        output_modalities: vec![],
        supported_parameters: vec![],
        prices: Some(prices.clone()),
        markup: Markup::default(),
    };
    let provider = Provider {
        name: "lab".to_owned(),
        dialect: Dialect::OpenAi,
        base_url: base_url.to_owned(),
        credential: None,
        headers: vec![("x-lab".to_owned(), "1".to_owned())],
        output_limits: OUTPUT_LIMITS,
    };
    Endpoint { model, prices, provider }
}

/// A request's id.
pub(crate) fn request_id() -> RequestId {
    RequestId::new(UnixMs(1_790_000_000_000), [7; 10])
}

/// Lets every other task do what it can without waiting.
pub(crate) async fn others_run() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
