//! A client of one blocking socket: it adds as little as possible to what it measures.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use memchr::memmem;
use serde_json::{Value, json};

use crate::{now, provider::Pace, sample::Sample};

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// `127.0.0.1:8787`.
    pub(crate) address: String,
    /// The name of the provider's model here.
    pub(crate) model: String,
    /// The connections take turns at them.
    pub(crate) tokens: Vec<String>,
}

/// What is asked for, and what of it is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// An answer that comes whole, to its last byte.
    Whole,
    /// A stream, to the first byte of its content. It is read to its end.
    Stream,
}

/// What is sent in a round: by so many connections at the same time, each so many requests, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) ask: Ask,
    pub(crate) pace: Pace,
    pub(crate) connections: u32,
    pub(crate) requests: u32,
}

/// Between the first requests of two connections, where the provider takes its time: else all would come at once, again
/// and again.
const STAGGER: Duration = Duration::from_millis(5);

/// One round.
pub(crate) fn round(target: &Target, load: Load) -> Sample {
    let Load { ask, pace, connections, requests } = load;
    let ready = Barrier::new(connections as usize);
    let connection = |n: u32| {
        let request = chat(target, load, n as usize);
        let mut client = Client::connect(&target.address);
        // Opens what is opened once: this connection, the gateway's to the provider, the key's policy.
        client.ask(&request, ask);
        ready.wait();
        if pace == Pace::Model {
            thread::sleep(STAGGER * n);
        }
        let began = now();
        let times: Vec<Duration> = (0..requests).map(|_| client.ask(&request, ask)).collect();
        (began, now(), times)
    };
    let all: Vec<(Instant, Instant, Vec<Duration>)> = thread::scope(|scope| {
        let connection = &connection;
        let threads: Vec<_> = (0..connections).map(|n| scope.spawn(move || connection(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let began = all.iter().map(|(began, ..)| *began).min().unwrap();
    let ended = all.iter().map(|(_, ended, _)| *ended).max().unwrap();
    Sample::of(all.into_iter().flat_map(|(.., times)| times).collect(), ended - began)
}

fn chat(target: &Target, load: Load, n: usize) -> Vec<u8> {
    let body = json!({
        "model": target.model, "stream": load.ask == Ask::Stream, "max_tokens": 1024,
        "metadata": {"pace": load.pace.name()},
        "messages": [
            {"role": "system", "content": "You are a helpful assistant. Answer in one short paragraph."},
            {"role": "user", "content": "How are you today, and what can you do for me?"},
        ],
    });
    request("POST", "/v1/chat/completions", &target.tokens[n % target.tokens.len()], &body.to_string())
}

fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// One request on a connection of its own; its answer as JSON.
pub(crate) fn call(address: &str, method: &str, path: &str, token: &str, body: &str) -> Value {
    let mut client = Client::connect(address);
    client.ask(&request(method, path, token, body), Ask::Whole);
    let at = memmem::find(&client.answer, b"\r\n\r\n").unwrap() + 4;
    serde_json::from_slice(&client.answer[at..]).unwrap()
}

/// The length of a message, head and body, if its head is all in `bytes` and says so.
pub(crate) fn whole_length(bytes: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(&bytes[..memmem::find(bytes, b"\r\n\r\n")?]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    Some(head.len() + 4 + length.unwrap_or(0))
}

struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream, answer: Vec::new() }
    }

    /// Sends the request and reads all of its answer; how long what `ask` asks for took.
    fn ask(&mut self, request: &[u8], ask: Ask) -> Duration {
        self.answer.clear();
        let began = now();
        self.stream.write_all(request).unwrap();
        match ask {
            Ask::Whole => {
                while whole_length(&self.answer).is_none_or(|length| self.answer.len() < length) {
                    self.read();
                }
                began.elapsed()
            }
            Ask::Stream => {
                while !self.has_content() {
                    self.read();
                }
                let time = began.elapsed();
                // Neither a frame nor a chunk's length can end so.
                while !self.answer.ends_with(b"\r\n0\r\n\r\n") {
                    self.read();
                }
                let whole = memmem::find(&self.answer, b"data: [DONE]").is_some();
                assert!(whole, "the stream was cut: {}", String::from_utf8_lossy(&self.answer));
                time
            }
        }
    }

    /// Whether a stream's first content is there: the role's frame has an empty one.
    fn has_content(&self) -> bool {
        const KEY: &[u8] = br#""content":""#;
        let after = |at: usize| self.answer.get(at + KEY.len());
        memmem::find_iter(&self.answer, KEY).any(|at| after(at).is_some_and(|&byte| byte != b'"'))
    }

    fn read(&mut self) {
        let mut buffer = [0; 64 * 1024];
        let read = self.stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the connection was closed after {}", String::from_utf8_lossy(&self.answer));
        self.answer.extend_from_slice(&buffer[..read]);
        let refused = self.answer.len() > 12 && !self.answer.starts_with(b"HTTP/1.1 20");
        assert!(!refused, "it was refused: {}", String::from_utf8_lossy(&self.answer));
    }
}
