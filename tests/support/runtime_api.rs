//! Lambda's Runtime API as a test scripts it: what a function's process asks for events and posts its answers to.
//!
//! It speaks HTTP/1.1 by hand, as a connection must break, or be answered too early, at the very moment that a test says.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{journal::Journal, provider::spawn};

/// What is waited for comes long before this, or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// The word in the journal for a process that asks for its next event.
pub const NEXT: &str = "next";

/// Between the prelude of a streamed answer and its body.
const DELIMITER: &str = "\0\0\0\0\0\0\0\0";

/// The Runtime API of one process.
pub struct RuntimeApi {
    /// Where it listens, for `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    events: mpsc::UnboundedSender<Event>,
    asked: tokio::sync::watch::Receiver<usize>,
    begun: Mutex<usize>,
}

/// An event on its way to a process.
struct Event {
    id: String,
    deadline_ms: u64,
    body: String,
    posted: mpsc::UnboundedSender<Posted>,
    told: oneshot::Receiver<Break>,
}

/// What a process posts.
#[derive(Debug)]
enum Posted {
    To(Target),
    Piece(Vec<u8>),
    End,
}

/// Where a process posts, and how.
#[derive(Debug, Default)]
struct Target {
    to: String,
    head: String,
    asks_for_events: bool,
}

/// How the platform breaks an answer off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The connection is closed.
    Close,
    /// The answer is accepted in its midst, and then the connection is closed.
    AcceptAndClose,
}

struct Shared {
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    running: Mutex<std::collections::HashMap<String, Event>>,
    asked: tokio::sync::watch::Sender<usize>,
    journal: Journal,
}

impl RuntimeApi {
    /// Listens on a free port, and writes into `journal` when it is asked for an event.
    pub async fn start(journal: Journal) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, queue) = mpsc::unbounded_channel();
        let (asked, asked_so_far) = tokio::sync::watch::channel(0);
        let shared =
            Arc::new(Shared { queue: tokio::sync::Mutex::new(queue), running: Mutex::default(), asked, journal });
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                spawn(async move {
                    // A process that breaks off is its own business.
                    let _ = serve(stream, &shared).await;
                });
            }
        });
        Self { address, events, asked: asked_so_far, begun: Mutex::new(0) }
    }

    /// Gives `event` to the next that asks; it may run for so long.
    pub fn invoke(&self, event: &Value, runs: Duration) -> Invocation {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        *begun += 1;
        let (posted, answer) = mpsc::unbounded_channel();
        let (tell, told) = oneshot::channel();
        let id = format!("invocation-{begun}");
        let event = Event { id, deadline_ms: now_ms() + millis(runs), body: event.to_string(), posted, told };
        self.events.send(event).unwrap_or_else(|_| panic!("the Runtime API is gone"));
        Invocation { answer, tell: Some(tell), target: Target::default(), text: String::new(), ended: false }
    }

    /// Waits until it was asked for an event for the `count`th time.
    pub async fn asked(&self, count: usize) {
        let mut asked = self.asked.clone();
        within(asked.wait_for(|asked| *asked >= count)).await.unwrap();
    }

    /// How often it was asked for an event.
    pub fn asked_so_far(&self) -> usize {
        *self.asked.borrow()
    }
}

/// An event that a process was given, and its answer as it comes.
pub struct Invocation {
    answer: mpsc::UnboundedReceiver<Posted>,
    tell: Option<oneshot::Sender<Break>>,
    target: Target,
    text: String,
    ended: bool,
}

/// An answer, whole.
#[derive(Debug)]
pub struct PostedAnswer {
    /// `response` or `error`.
    pub to: String,
    /// The request's head, as it came.
    pub head: String,
    /// Whether its connection was asked for an event before.
    pub asks_for_events: bool,
    /// A streamed answer's status and headers; null of any other.
    pub prelude: Value,
    /// The body.
    pub text: String,
}

impl PostedAnswer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The HTTP status of a route's answer, streamed or whole.
    pub fn status(&self) -> u64 {
        let status =
            if self.prelude.is_null() { self.json()["statusCode"].clone() } else { self.prelude["statusCode"].clone() };
        status.as_u64().unwrap_or_else(|| panic!("no status in {self:?}"))
    }

    /// The JSON of a route's answer, streamed or whole.
    pub fn envelope(&self) -> Value {
        let body = if self.prelude.is_null() { self.json()["body"].clone() } else { Value::from(self.text.as_str()) };
        serde_json::from_str(body.as_str().unwrap()).unwrap()
    }

    /// The last event of a stream.
    pub fn last_event(&self) -> Value {
        let last = self.text.trim_end().rsplit("data: ").next().unwrap();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Invocation {
    /// Waits until the answer holds `text`.
    pub async fn holds(&mut self, text: &str) {
        while !self.text.contains(text) {
            assert!(!self.ended, "no {text:?} in {:?}", self.text);
            self.receive().await;
        }
    }

    /// Breaks the answer off where it stands.
    pub fn break_off(mut self, how: Break) {
        self.tell.take().unwrap().send(how).unwrap();
    }

    /// The answer when it has ended.
    pub async fn ended(mut self) -> PostedAnswer {
        while !self.ended {
            self.receive().await;
        }
        let (prelude, text) = match self.text.split_once(DELIMITER) {
            Some((prelude, text)) => (serde_json::from_str(prelude).unwrap(), text.to_owned()),
            None => (Value::Null, self.text),
        };
        let Target { to, head, asks_for_events } = self.target;
        PostedAnswer { to, head, asks_for_events, prelude, text }
    }

    async fn receive(&mut self) {
        match within(self.answer.recv()).await {
            Some(Posted::To(target)) => self.target = target,
            Some(Posted::Piece(bytes)) => self.text.push_str(&String::from_utf8(bytes).unwrap()),
            Some(Posted::End) => self.ended = true,
            None => panic!("the answer broke off after {:?}", self.text),
        }
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.unwrap_or_else(|_| panic!("what is waited for does not come"))
}

#[expect(clippy::disallowed_methods, reason = "a deadline is a time of the clock that the process reads")]
fn now_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

async fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut asks_for_events = false;
    loop {
        let head = read_head(&mut stream).await?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let path = path.strip_prefix("/2018-06-01/runtime/invocation/").unwrap_or_else(|| panic!("{path}"));
        match path.split_once('/') {
            None => {
                asks_for_events = true;
                give_next(&mut stream, shared).await?;
            }
            Some((id, to)) => {
                let event = shared.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id).unwrap();
                let target = Target { to: to.to_owned(), head, asks_for_events };
                take_answer(&mut stream, target, event).await?;
            }
        }
    }
}

async fn give_next(stream: &mut BufReader<TcpStream>, shared: &Shared) -> std::io::Result<()> {
    shared.journal.write(NEXT);
    shared.asked.send_modify(|asked| *asked += 1);
    let Some(event) = shared.queue.lock().await.recv().await else {
        return Err(std::io::ErrorKind::NotConnected.into());
    };
    let Event { id, deadline_ms, body, .. } = &event;
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: {id}\r\n\
         lambda-runtime-invocation-id: attempt-at-{id}\r\n\
         lambda-runtime-deadline-ms: {deadline_ms}\r\nlambda-runtime-invoked-function-arn: arn\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let id = id.clone();
    shared.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, event);
    stream.write_all(answer.as_bytes()).await
}

/// Takes an answer until it ends or is to be broken off.
async fn take_answer(stream: &mut BufReader<TcpStream>, target: Target, event: Event) -> std::io::Result<()> {
    let Event { posted, told, .. } = event;
    let chunked = target.head.to_lowercase().contains("transfer-encoding: chunked");
    let length = length_of(&target.head);
    // A test that has seen enough reads no more.
    let post = |what| drop(posted.send(what));
    post(Posted::To(target));
    let body = async {
        if chunked {
            while let Some(piece) = read_chunk(stream).await? {
                post(Posted::Piece(piece));
            }
        } else {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            post(Posted::Piece(body));
        }
        std::io::Result::Ok(())
    };
    let broken = async {
        match told.await {
            Ok(how) => how,
            Err(_) => std::future::pending().await,
        }
    };
    const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
    tokio::select! {
        whole = body => whole?,
        how = broken => {
            if how == Break::AcceptAndClose {
                stream.write_all(ACCEPTED).await?;
            }
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
    }
    post(Posted::End);
    stream.write_all(ACCEPTED).await
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn length_of(head: &str) -> usize {
    let head = head.to_lowercase();
    head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap())
}

/// A chunk, or nothing at the end of a body; the trailers after it are none of ours.
async fn read_chunk(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await?);
    }
    let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
    let mut piece = vec![0; size + 2];
    stream.read_exact(&mut piece).await?;
    piece.truncate(size);
    Ok(Some(piece).filter(|_| size > 0))
}
