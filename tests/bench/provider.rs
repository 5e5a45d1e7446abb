//! The provider of the bench: one fixed answer and one fixed stream, as fast as plain sockets and threads give them.
//!
//! It looks at nothing of a request but its length, whether it asks for a stream, and at what [`Pace`].

use std::{
    io::{Read, Write, stdout},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use memchr::memmem;
use serde_json::{Value, json};

use crate::process;

/// The model that it lists.
pub(crate) const MODEL: &str = "chat";
/// Frames of a stream, `[DONE]` not counted.
pub(crate) const FRAMES: usize = 200;
/// Bytes of each, its blank line included.
pub(crate) const FRAME_BYTES: usize = 355;

/// How long it takes; a request names it in its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It answers at once, and streams as fast as the client reads.
    AtOnce,
    /// A stream rests after its first content, so that what is timed is not disturbed by what follows.
    FirstAlone,
    /// As a model does: a while before an answer, a moment before each frame after the first content.
    Model,
}

impl Pace {
    /// Its name in a request.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::FirstAlone => "first alone",
            Self::Model => "model",
        }
    }

    /// The one that a request names.
    fn of(request: &[u8]) -> Self {
        let named = |pace: &Self| {
            let field = format!(r#""pace":"{}""#, pace.name());
            memmem::find(request, field.as_bytes()).is_some()
        };
        [Self::FirstAlone, Self::Model].into_iter().find(named).unwrap_or(Self::AtOnce)
    }
}

/// Before an answer that comes whole.
const THINKING: Duration = Duration::from_millis(50);
/// Between the frames of a stream.
const BETWEEN_FRAMES: Duration = Duration::from_millis(1);
/// After a stream's first content.
const REST: Duration = Duration::from_millis(2);

/// Everything that it ever says, as it goes over the wire.
struct Answers {
    models: Vec<u8>,
    answer: Vec<u8>,
    /// Each written by itself, as a model makes them.
    stream: Vec<Vec<u8>>,
}

/// Prints its URL and serves until the bench ends.
pub(crate) fn run() -> ! {
    process::end_with_the_bench();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", json!({"url": format!("http://{}/v1", listener.local_addr().unwrap())}));
    stdout().flush().unwrap();
    let answers = Arc::new(Answers::new());
    loop {
        let (stream, _) = listener.accept().unwrap();
        let answers = answers.clone();
        // A connection that breaks off has nobody left to tell.
        thread::spawn(move || serve(stream, &answers).ok());
    }
}

fn serve(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    while request(&mut stream, &mut bytes)? {
        let pace = Pace::of(&bytes);
        if bytes.starts_with(b"GET ") {
            stream.write_all(&answers.models)?;
        } else if memmem::find(&bytes, br#""stream":true"#).is_some() {
            for (n, piece) in answers.stream.iter().enumerate() {
                match pace {
                    // The role comes first, then content.
                    Pace::Model if n > 1 => thread::sleep(BETWEEN_FRAMES),
                    Pace::FirstAlone if n == 2 => thread::sleep(REST),
                    _ => {}
                }
                stream.write_all(piece)?;
            }
        } else {
            if pace == Pace::Model {
                thread::sleep(THINKING);
            }
            stream.write_all(&answers.answer)?;
        }
    }
    Ok(())
}

/// Reads one request into `bytes`; false at the connection's end.
fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    bytes.clear();
    let mut buffer = [0; 16 * 1024];
    let mut length = None;
    while length.is_none_or(|length| bytes.len() < length) {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(false);
        }
        bytes.extend_from_slice(&buffer[..read]);
        length = length.or_else(|| crate::client::whole_length(bytes));
    }
    Ok(true)
}

impl Answers {
    fn new() -> Self {
        let whole = |body: Value| {
            let body = body.to_string();
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
                .into_bytes()
        };
        let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        let mut stream: Vec<_> = frames().iter().map(|frame| chunk(frame)).collect();
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream[0].splice(0..0, *head);
        stream.push([&chunk(b"data: [DONE]\n\n")[..], b"0\r\n\r\n"].concat());
        let answer = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": MODEL,
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": "Hello there. ".repeat(16)},
                "finish_reason": "stop",
            }],
            "usage": usage(),
        });
        Self { models: whole(json!({"object": "list", "data": [{"id": MODEL}]})), answer: whole(answer), stream }
    }
}

fn usage() -> Value {
    json!({"prompt_tokens": 12, "completion_tokens": FRAMES, "total_tokens": 12 + FRAMES})
}

/// The stream: a role, content, the end, usage.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let choices =
        |delta: Value, end: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": end}]);
    let mut frames = vec![frame(&choices(json!({"role": "assistant", "content": ""}), Value::Null), &Value::Null)];
    frames.resize_with(FRAMES - 2, content_frame);
    frames.push(frame(&choices(json!({}), json!("stop")), &Value::Null));
    frames.push(frame(&json!([]), &usage()));
    frames
}

/// A frame of content: with `"usage":null`, as OpenAI writes into each when usage is asked for, which the gateway does.
pub(crate) fn content_frame() -> Vec<u8> {
    let choices = json!([{"index": 0, "delta": {"content": " there"}, "logprobs": null, "finish_reason": null}]);
    frame(&choices, &Value::Null)
}

/// A frame of exactly [`FRAME_BYTES`]: OpenAI too fills its frames up.
fn frame(choices: &Value, usage: &Value) -> Vec<u8> {
    let write = |filling: &str| {
        let chunk = json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": MODEL,
            "service_tier": "default", "system_fingerprint": "fp_1", "choices": choices, "usage": usage,
            "obfuscation": filling,
        });
        format!("data: {chunk}\n\n").into_bytes()
    };
    write(&"x".repeat(FRAME_BYTES - write("").len()))
}
