//! What an answer used, read beside it while it passes.
//!
//! Frames go on as they came: a slice of what the network gave. One pass over each looks at the keys only; what it
//! finds is confirmed by a real parse. An escaped quote in a text reads `usage\"`, so no text can look like a key.
//! Nothing here is ever charged; that is for the caller, who gets a [`StreamEnd`].

mod generated;

use std::{borrow::Cow, sync::LazyLock};

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem::Finder};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    money::Nanos,
    pricing::{self, Markup, Prices},
    sse,
    usage::Usage,
    wire::{splice, usage_of_openai, usage_with_cost},
};

pub use self::generated::Generated;

/// How a stream or an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamEnd {
    /// What the provider counted; its last word.
    pub usage: Option<Usage>,
    /// Every choice came to its end, or the provider said `[DONE]`.
    pub finished: bool,
    /// It is a chat's answer that says nothing, not even why it ended.
    pub blank: bool,
    /// The text that was generated.
    pub generated: Generated,
    /// Why it failed, fit for a log: no provider's text is in it.
    pub error: Option<String>,
    /// It is we who ended it before it was finished: what was generated until then is sold.
    pub cut: bool,
}

/// What is to be paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing: the answer failed, was cut or says nothing.
    Nothing,
    /// What the provider counted.
    Counted(Usage),
    /// What the provider counted before it was cut off, and whatever more was generated.
    Partly(Usage),
    /// What was sent and generated; the provider did not count.
    Uncounted,
}

impl StreamEnd {
    /// What is to be paid for.
    pub fn due(&self) -> Due {
        let failed = !self.finished || self.error.is_some();
        match self.usage {
            _ if failed && !self.cut => Due::Nothing,
            None if self.blank => Due::Nothing,
            Some(usage) if self.blank && usage.all_output() == 0 => Due::Nothing,
            None => Due::Uncounted,
            Some(usage) if failed => Due::Partly(usage),
            Some(usage) => Due::Counted(usage),
        }
    }
}

/// Reads a chat stream while it is forwarded. Bytes in, bytes out, no waiting.
#[derive(Debug)]
pub struct StreamMeter {
    include_usage: bool,
    choices: u64,
    prices: Prices,
    markup: Markup,
    tail: BytesMut,
    seen: Seen,
}

impl StreamMeter {
    /// For a stream of `choices` answers whose client wants the usage chunk or does not.
    pub fn new(include_usage: bool, choices: u64, prices: Prices, markup: Markup) -> Self {
        Self { include_usage, choices, prices, markup, tail: BytesMut::new(), seen: Seen::default() }
    }

    /// Takes what came and adds to `forwarded` what goes on: only whole frames. After an error nothing goes on.
    pub fn push(&mut self, mut chunk: Bytes, forwarded: &mut Vec<Bytes>) {
        if self.failed() {
            return;
        }
        if !self.tail.is_empty() {
            let Some(length) = sse::frame_end(&chunk, self.tail.last().copied()) else { return self.keep(&chunk) };
            self.keep(&chunk.split_to(length));
            let frame = self.tail.split().freeze();
            forwarded.extend(match self.read(&frame) {
                Verdict::Forward => Some(frame),
                Verdict::Replace(frame) => Some(frame),
                Verdict::Drop => None,
            });
        }
        let (mut untouched, mut at) = (0, 0);
        while let Some(length) = sse::frame_end(&chunk[at..], None).filter(|_| !self.failed()) {
            let start = at;
            at += length;
            let verdict = self.read(&chunk[start..at]);
            if !matches!(verdict, Verdict::Forward) {
                forwarded.extend((start > untouched).then(|| chunk.slice(untouched..start)));
                untouched = at;
            }
            if let Verdict::Replace(frame) = verdict {
                forwarded.push(frame);
            }
        }
        if !self.failed() {
            self.keep(&chunk[at..]);
        }
        if at > untouched {
            chunk.truncate(at);
            forwarded.push(chunk.split_off(untouched));
        }
    }

    /// Whether the stream failed; its rest is worth nothing.
    pub fn failed(&self) -> bool {
        self.seen.error.is_some()
    }

    /// The stream is over. A last frame that nothing followed is completed with its blank line if it is whole; half a
    /// frame is not forwarded.
    pub fn finish(mut self) -> (Option<Bytes>, StreamEnd) {
        let tail = self.tail.split();
        let whole = sse::data(&tail)
            .is_some_and(|data| &data[..] == DONE || serde_json::from_slice::<IgnoredAny>(&data).is_ok());
        let mut last = None;
        if whole && !self.failed() {
            let frame = Bytes::from([&tail[..], b"\n\n"].concat());
            last = match self.read(&frame) {
                Verdict::Forward => Some(frame),
                Verdict::Replace(frame) => Some(frame),
                Verdict::Drop => None,
            };
        }
        (last, self.seen.end(self.choices, true))
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.tail.len() + bytes.len() > sse::MAX_FRAME_BYTES {
            self.tail.clear();
            self.seen.error = Some(sse::FrameTooLong.to_string());
        } else {
            self.tail.extend_from_slice(bytes);
        }
    }

    /// Reads one whole frame.
    fn read(&mut self, frame: &[u8]) -> Verdict {
        if self.seen.scan(frame) {
            return self.confirm(frame);
        }
        // Rare and short, or named: frames that the keys say nothing of.
        if frame.len() < 32 && sse::data(frame).is_some_and(|data| &data[..] == DONE) {
            self.seen.done = true;
        }
        if frame.starts_with(b"event") && sse::name(frame) == b"error" {
            return self.fail("an error event in its stream".to_owned());
        }
        Verdict::Forward
    }

    /// Parses a frame that seems to hold usage or an error.
    fn confirm(&mut self, frame: &[u8]) -> Verdict {
        let Some(data) = sse::data(frame) else { return Verdict::Forward };
        let Some(top) = Top::of(&data) else { return Verdict::Forward };
        if let Some(error) = top.error {
            return self.fail(provider_error(error.get()));
        }
        let groq = top.x_groq.and_then(|x_groq| Top::of(x_groq.get().as_bytes())?.usage);
        if let Some(usage) = top.usage.or(groq).and_then(|usage| usage_of_openai(usage.get())) {
            self.seen.usage = Some(usage);
        }
        let (Some(raw), Some(usage)) = (top.usage, self.seen.usage) else { return Verdict::Forward };
        let usage_alone = top.choices.is_none_or(|choices| choices.get()[1..].trim_start().starts_with(']'));
        if usage_alone && !self.include_usage {
            return Verdict::Drop;
        }
        let cost: Nanos = pricing::cost(&self.prices, self.markup, &usage);
        let costed = usage_with_cost(raw.get(), cost);
        let costed = match &data {
            // One line of data is a slice of the frame itself.
            Cow::Borrowed(_) => splice(frame, raw.get(), &costed),
            Cow::Owned(joined) => {
                // Within JSON a line feed is a space: one line says the same.
                let mut line = splice(joined, raw.get(), &costed);
                line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
                [b"data: ", &line[..], b"\n\n"].concat()
            }
        };
        Verdict::Replace(costed.into())
    }

    fn fail(&mut self, error: String) -> Verdict {
        self.seen.error = Some(error);
        Verdict::Drop
    }
}

/// How an answer that came whole ended. It is finished: that it is one JSON object says so.
pub fn answer_end(body: &[u8]) -> StreamEnd {
    let mut seen = Seen { done: true, ..Seen::default() };
    seen.scan(body);
    let top = Top::of(body);
    let chat = top.as_ref().is_some_and(|top| top.choices.is_some());
    match top {
        Some(Top { error: Some(error), .. }) => seen.error = Some(provider_error(error.get())),
        Some(top) => seen.usage = top.usage.and_then(|usage| usage_of_openai(usage.get())),
        None => seen.error = Some("its answer is no JSON object".to_owned()),
    }
    seen.end(1, chat)
}

/// What the first events of a stream say, before anything was sent to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// The role, or nothing yet.
    Silent,
    /// Content, an end or usage: the answer has begun.
    Content,
    /// The provider's error, as JSON.
    Error,
    /// Not an event of a chat stream.
    Garbage,
}

/// Reads an event from the beginning of a stream.
pub fn opening(event: &sse::Event) -> Opening {
    let Some(top) = Top::of(&event.data) else { return Opening::Garbage };
    if top.error.is_some() || event.name == "error" {
        return Opening::Error;
    }
    let mut seen = Seen::default();
    seen.scan(&event.data);
    let silent = seen.generated.bytes() == 0 && seen.finish_reasons == 0 && seen.error.is_none() && top.usage.is_none();
    if silent { Opening::Silent } else { Opening::Content }
}

const DONE: &[u8] = b"[DONE]";

enum Verdict {
    Forward,
    Replace(Bytes),
    Drop,
}

/// The top level of a chunk or an answer, as far as it matters here.
#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Groq's own place for the usage of a stream.
    #[serde(borrow)]
    x_groq: Option<&'a RawValue>,
}

impl<'a> Top<'a> {
    /// The top level of `json`, if that is an object.
    fn of(json: &'a [u8]) -> Option<Self> {
        json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok())?
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    usage: Option<Usage>,
    done: bool,
    finish_reasons: u64,
    generated: Generated,
    error: Option<String>,
}

impl Seen {
    /// Looks at the keys of a frame that matter, and tells whether it may hold usage or an error.
    fn scan(&mut self, frame: &[u8]) -> bool {
        let keys = &*KEYS;
        values(frame, &keys.finish_reason).for_each(|reason| self.finish(reason));
        let before = self.generated.bytes();
        values(frame, &keys.content).for_each(|text| self.content(text));
        if self.generated.bytes() == before {
            for key in [&keys.reasoning, &keys.arguments] {
                values(frame, key).for_each(|text| self.content(text));
            }
        }
        let said = |key| values(frame, key).any(|value| !value.starts_with(b"null"));
        // An error stands alone, or beside choices that end with one. Almost every frame has choices, near its beginning:
        // finding them is cheaper than not finding an error.
        let may_fail = self.error.is_some() || keys.choices.find(frame).is_none();
        said(&keys.usage) || (may_fail && said(&keys.error))
    }

    fn finish(&mut self, reason: &[u8]) {
        match reason {
            // Some write an empty reason into every chunk.
            [b'"', b'"', ..] => {}
            [b'"', b'e', b'r', b'r', b'o', b'r', b'"', ..] => {
                self.error = Some("its answer ended with an error".to_owned());
            }
            [b'"', ..] => self.finish_reasons += 1,
            _ => {}
        }
    }

    /// Takes a text up to the quote that ends it; of anything else, nothing.
    fn content(&mut self, text: &[u8]) {
        let [b'"', text @ ..] = text else { return };
        let mut end = 0;
        while let Some(quote) = memchr(b'"', &text[end..]) {
            end += quote;
            let backslashes = text[..end].iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes % 2 == 0 {
                break;
            }
            end += 1;
        }
        self.generated.add(text.get(..end).unwrap_or(text));
    }

    fn end(self, choices: u64, chat: bool) -> StreamEnd {
        let finished = self.error.is_none() && (self.done || self.finish_reasons >= choices);
        let blank = chat && self.finish_reasons == 0 && self.generated.bytes() == 0;
        StreamEnd { usage: self.usage, finished, blank, generated: self.generated, error: self.error, cut: false }
    }
}

/// The keys that are looked for, each with its colon. Built once: a search is then a few nanoseconds.
struct Keys {
    usage: Finder<'static>,
    error: Finder<'static>,
    /// A choice; what is written with more space is searched in full.
    choices: Finder<'static>,
    finish_reason: Finder<'static>,
    /// `content` and `reasoning_content`.
    content: Finder<'static>,
    reasoning: Finder<'static>,
    arguments: Finder<'static>,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    usage: Finder::new(b"\"usage\":"),
    error: Finder::new(b"\"error\":"),
    choices: Finder::new(b"\"choices\":[{"),
    finish_reason: Finder::new(b"\"finish_reason\":"),
    content: Finder::new(b"content\":"),
    reasoning: Finder::new(b"\"reasoning\":"),
    arguments: Finder::new(b"\"arguments\":"),
});

/// What follows each occurrence of a key, without the spaces before it.
fn values<'a>(frame: &'a [u8], key: &Finder<'static>) -> impl Iterator<Item = &'a [u8]> {
    key.find_iter(frame).map(|at| frame[at + key.needle().len()..].trim_ascii_start())
}

/// A log's word for the provider's error: its type or code if that is a plain name, never its message.
fn provider_error(error: &str) -> String {
    #[derive(Deserialize)]
    struct Fields {
        #[serde(rename = "type")]
        kind: Option<serde_json::Value>,
        code: Option<serde_json::Value>,
    }
    let fields: Option<Fields> = serde_json::from_str(error).ok();
    let name =
        fields.and_then(|fields| fields.code.filter(|code| !code.is_null()).or(fields.kind)).map(|name| match name {
            serde_json::Value::String(name) => name,
            other => other.to_string(),
        });
    let plain =
        |name: &String| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match name.filter(plain) {
        Some(name) => format!("an error in its answer ({name})"),
        None => "an error in its answer".to_owned(),
    }
}

#[cfg(test)]
mod tests;
