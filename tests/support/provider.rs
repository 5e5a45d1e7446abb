//! A provider that answers as a test tells it to, byte for byte, and remembers what it was asked.
//!
//! It speaks HTTP/1.1 by hand: no server library would hang, cut or garble on request.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// What the provider does with one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A whole answer.
    Json(u16, String),
    /// A whole answer with one more header.
    JsonWith(u16, &'static str, String, String),
    /// A page for a browser.
    Html(String),
    /// A stream of these pieces, then its proper end.
    Stream(Vec<String>),
    /// A stream of these pieces that waits before each but the first until the test lets it go on.
    Stepwise(Vec<String>),
    /// A stream of these pieces that stops before the one of this number until the test lets this one go on.
    Paused(Vec<String>, usize, Arc<Semaphore>),
    /// Another reply, once the test lets this one go.
    Once(Arc<Semaphore>, Box<Reply>),
    /// A stream of these pieces, then the connection is cut.
    CutStream(Vec<String>),
    /// A stream of these pieces, then nothing for ever.
    HungStream(Vec<String>),
    /// Nothing for ever.
    Hang,
    /// The connection is closed without an answer.
    Close,
    /// These bytes and no HTTP.
    Garbage(&'static str),
}

/// A request as the provider saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its path.
    pub path: String,
    /// Its head, headers included.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Seen {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let find =
            |line: &'_ str| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)).is_some();
        self.head.lines().find(|line| find(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

/// What a provider answers to a request by itself.
type Answers = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

struct State {
    replies: Mutex<VecDeque<Reply>>,
    answers: Mutex<Answers>,
    seen: Mutex<Vec<Seen>>,
    steps: Semaphore,
}

/// The provider. It answers with the replies it was given, in order, and with [`chat_answer`] when there are none left.
#[derive(Clone)]
pub struct Provider {
    /// Where it listens, up to and with `/v1`.
    pub base_url: String,
    state: Arc<State>,
}

impl Provider {
    /// A provider on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(State {
            replies: Mutex::default(),
            answers: Mutex::new(Arc::new(default_reply)),
            seen: Mutex::default(),
            steps: Semaphore::new(0),
        });
        let shared = state.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(serve(stream, shared.clone()));
            }
        });
        Self { base_url, state }
    }

    /// Adds a reply to those that it will give.
    pub fn will(&self, reply: Reply) -> &Self {
        self.state.replies.lock().unwrap_or_else(PoisonError::into_inner).push_back(reply);
        self
    }

    /// From now on it answers by this rule where it was given no reply.
    pub fn answers_by(&self, rule: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> &Self {
        *self.state.answers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(rule);
        self
    }

    /// Lets stepwise streams send so many pieces more.
    pub fn steps(&self, count: usize) {
        self.state.steps.add_permits(count);
    }

    /// What it was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last request.
    pub fn last(&self) -> Seen {
        self.seen().pop().unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's server runs until its runtime ends")]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    while let Some(seen) = read_request(&mut stream).await {
        state.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
        let told = state.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let rule = state.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reply = told.unwrap_or_else(|| rule(&seen));
        if act(&mut stream, reply, &state).await.is_err() {
            break;
        }
    }
}

fn default_reply(seen: &Seen) -> Reply {
    let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
    if seen.path.ends_with("/models") {
        Reply::Json(200, r#"{"object":"list","data":[{"id":"chat","object":"model"}]}"#.to_owned())
    } else if seen.path.ends_with("/embeddings") {
        Reply::Json(200, embeddings_answer(7))
    } else if body["stream"] == true {
        Reply::Stream(chat_stream(&["Hello", " there"], 11, 2))
    } else {
        Reply::Json(200, chat_answer("Hello there", 11, 2))
    }
}

pub(crate) async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let path = head.split(' ').nth(1)?.to_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok()).flatten()
    });
    let mut body = bytes.split_off(head_end);
    while body.len() < length.unwrap_or(0) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => body.extend_from_slice(&buffer[..read]),
        }
    }
    Some(Seen { path, head, body: String::from_utf8_lossy(&body).into_owned() })
}

async fn act(stream: &mut TcpStream, reply: Reply, state: &State) -> std::io::Result<()> {
    let closed = || std::io::Error::other("the provider closed the connection");
    match reply {
        Reply::Json(status, body) => stream.write_all(whole(status, "", &body).as_bytes()).await,
        Reply::JsonWith(status, name, value, body) => {
            stream.write_all(whole(status, &format!("{name}: {value}\r\n"), &body).as_bytes()).await
        }
        Reply::Html(page) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length:";
            stream.write_all(format!("{head} {}\r\n\r\n{page}", page.len()).as_bytes()).await
        }
        Reply::Stream(pieces) => {
            pieces_sent(stream, &pieces, |_| None).await?;
            stream.write_all(b"0\r\n\r\n").await
        }
        Reply::Stepwise(pieces) => {
            pieces_sent(stream, &pieces, |n| (n > 0).then_some(&state.steps)).await?;
            stream.write_all(b"0\r\n\r\n").await
        }
        Reply::Paused(pieces, before, go) => {
            pieces_sent(stream, &pieces, |n| (n == before).then_some(&*go)).await?;
            stream.write_all(b"0\r\n\r\n").await
        }
        Reply::CutStream(pieces) => {
            pieces_sent(stream, &pieces, |_| None).await?;
            Err(closed())
        }
        Reply::HungStream(pieces) => {
            pieces_sent(stream, &pieces, |_| None).await?;
            std::future::pending().await
        }
        Reply::Once(go, then) => {
            go.acquire().await.unwrap().forget();
            Box::pin(act(stream, *then, state)).await
        }
        Reply::Hang => std::future::pending().await,
        Reply::Close => Err(closed()),
        Reply::Garbage(bytes) => {
            stream.write_all(bytes.as_bytes()).await?;
            Err(closed())
        }
    }
}

fn whole(status: u16, header: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\n{header}content-length: {length}\r\n\r\n{body}"
    )
}

/// Sends a stream's head and pieces; `before` says what to wait for before the piece of a number.
async fn pieces_sent<'a>(
    stream: &mut TcpStream,
    pieces: &[String],
    before: impl Fn(usize) -> Option<&'a Semaphore>,
) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for (n, piece) in pieces.iter().enumerate() {
        if let Some(go) = before(n) {
            go.acquire().await.unwrap().forget();
        }
        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await?;
        stream.flush().await?;
    }
    Ok(())
}

/// A whole chat answer of this text and usage.
pub fn chat_answer(text: &str, input: u64, output: u64) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": "provider-model-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
    })
    .to_string()
}

/// The pieces of a chat stream of these words and usage.
pub fn chat_stream(words: &[&str], input: u64, output: u64) -> Vec<String> {
    let frame = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": "provider-model-2026", "choices": choices, "usage": usage,
        });
        format!("data: {chunk}\n\n")
    };
    let delta = |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
    let mut pieces: Vec<_> =
        words.iter().map(|word| frame(delta(json!({"content": word}), Value::Null), Value::Null)).collect();
    pieces.push(frame(delta(json!({}), json!("stop")), Value::Null));
    let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    pieces.push(frame(json!([]), usage));
    pieces.push("data: [DONE]\n\n".to_owned());
    pieces
}

/// An embeddings answer of one vector and this usage.
pub fn embeddings_answer(input: u64) -> String {
    json!({
        "object": "list", "model": "provider-embedder-2026",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
        "usage": {"prompt_tokens": input, "total_tokens": input},
    })
    .to_string()
}
