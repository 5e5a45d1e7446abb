//! The built-in provider that is no model: it answers a chat with the last user message, in OpenAI's exact shape.
//!
//! It calls nobody, so that the first request works offline and tests need no provider. A token is a word: what stands
//! between white space. That is never more than the bytes of the text, so holds cover it like any other provider's.

use bytes::Bytes;
use gateway_core::{catalogue::Model, ids::RequestId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    answer::{MAX_ANSWER_BYTES, Pieces},
    error::{self, UpstreamError},
};

#[derive(Deserialize)]
struct ChatRequest {
    messages: Vec<Turn>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Turn {
    role: Option<String>,
    content: Option<Value>,
}

impl Turn {
    /// The text of a message, which is a string or parts.
    fn text(&self) -> String {
        match &self.content {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => String::new(),
        }
    }
}

/// The answer to `body`: one piece, or one for each frame of a stream.
pub(crate) fn answer(request: &RequestId, path: &str, model: &Model, body: &[u8]) -> Result<Pieces, UpstreamError> {
    if path != "chat/completions" {
        return Err(rejected(model, "This provider only answers chats."));
    }
    let chat: ChatRequest =
        serde_json::from_slice(body).map_err(|_| rejected(model, "The messages could not be read."))?;
    let last = chat.messages.iter().rev().find(|turn| turn.role.as_deref() == Some("user"));
    let text = last.map(Turn::text).unwrap_or_default();
    let limits = [chat.max_tokens, chat.max_completion_tokens, model.max_output_tokens.map(u64::from)];
    let most = limits.into_iter().flatten().min().unwrap_or(u64::MAX);

    let all = words(&text);
    let said: Vec<String> =
        all.iter().copied().take(usize::try_from(most).unwrap_or(usize::MAX)).map(str::to_owned).collect();
    let reply = Reply {
        id: format!("chatcmpl-{}", request.as_str()),
        created: request.at().seconds(),
        model: model.upstream_id.clone(),
        finish_reason: if said.len() < all.len() { "length" } else { "stop" },
        choices: chat.n.unwrap_or(1).max(1),
        prompt_tokens: chat.messages.iter().map(|turn| words(&turn.text()).len() as u64).sum(),
        said,
    };
    if chat.stream.unwrap_or(false) {
        let include_usage = chat.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
        return Ok(Box::new((0..).map_while(move |number| reply.frame(number, include_usage))));
    }
    if (text.len() as u64).saturating_mul(reply.choices) > MAX_ANSWER_BYTES as u64 {
        return Err(rejected(model, "The answer would be too long: ask for fewer choices, or for a stream."));
    }
    Ok(Box::new(std::iter::once(reply.whole())))
}

fn rejected(model: &Model, message: &str) -> UpstreamError {
    let (provider, message) = (model.provider.clone(), error::Message(message.to_owned()));
    UpstreamError::Rejected { provider, status: 400, message, param: None, context_length: false }
}

/// The words of a text, each with the white space around it: together they are the text.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.trim_start().is_empty() {
        let start = rest.len() - rest.trim_start().len();
        let end = rest[start..].find(char::is_whitespace).map_or(rest.len(), |end| start + end);
        // White space goes with the word before it, at the beginning with the word behind.
        let space = rest[end..].len() - rest[end..].trim_start().len();
        let (word, after) = rest.split_at(end + space);
        words.push(word);
        rest = after;
    }
    words
}

struct Reply {
    id: String,
    created: u64,
    model: String,
    said: Vec<String>,
    finish_reason: &'static str,
    choices: u64,
    prompt_tokens: u64,
}

/// An answer or a chunk of one, fields in OpenAI's order.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    /// Null in the chunks of a stream that ends with usage, absent in those of one that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Message<'a>>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    /// Null beside the role, absent elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Option<()>>,
}

#[derive(Serialize, Clone, Copy)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize, Clone, Copy, Default)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize, Clone, Copy, Default)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
}

impl<'a> Message<'a> {
    /// What the assistant says, or the beginning of it.
    fn said(content: &'a str) -> Self {
        Self { role: Some("assistant"), content: Some(content), refusal: Some(None) }
    }
}

impl Reply {
    fn whole(&self) -> Bytes {
        let content = self.said.concat();
        let choice = |index| Choice {
            index,
            message: Some(Message::said(&content)),
            delta: None,
            logprobs: None,
            finish_reason: Some(self.finish_reason),
        };
        self.body("chat.completion", (0..self.choices).map(choice).collect(), Some(Some(self.usage()))).into()
    }

    /// A frame of the stream by its number: role, words and finish, each for every choice, then usage and the end.
    fn frame(&self, number: u64, include_usage: bool) -> Option<Bytes> {
        let steps = self.said.len() as u64 + 2;
        let (step, index) = (number / self.choices, number % self.choices);
        let (choices, usage) = if step < steps {
            let word = step.checked_sub(1).and_then(|word| self.said.get(usize::try_from(word).ok()?));
            let (delta, finish_reason) = match word {
                _ if step == 0 => (Message::said(""), None),
                Some(word) => (Message { content: Some(word), ..Message::default() }, None),
                None => (Message::default(), Some(self.finish_reason)),
            };
            (vec![Choice { index, message: None, delta: Some(delta), logprobs: None, finish_reason }], None)
        } else {
            match (number - steps * self.choices, include_usage) {
                (0, true) => (vec![], Some(self.usage())),
                (0, false) | (1, true) => return Some(Bytes::from_static(b"data: [DONE]\n\n")),
                _ => return None,
            }
        };
        let chunk = self.body("chat.completion.chunk", choices, include_usage.then_some(usage));
        Some(format!("data: {chunk}\n\n").into())
    }

    fn body(&self, object: &'static str, choices: Vec<Choice<'_>>, usage: Option<Option<Usage>>) -> String {
        let body = Body { id: &self.id, object, created: self.created, model: &self.model, choices, usage };
        // Strings and numbers always serialise.
        serde_json::to_string(&body).unwrap_or_default()
    }

    fn usage(&self) -> Usage {
        let completion_tokens = (self.said.len() as u64).saturating_mul(self.choices);
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens,
            total_tokens: self.prompt_tokens.saturating_add(completion_tokens),
            prompt_tokens_details: PromptDetails::default(),
            completion_tokens_details: CompletionDetails::default(),
        }
    }
}

#[cfg(test)]
mod tests;
