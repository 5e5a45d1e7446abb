//! `POST /v1/chat/completions`: the request.

use serde_json::value::RawValue;

use super::{
    input::Input,
    object::{RawObject, every, wrong},
};
use crate::{
    catalogue::{Endpoint, OUTPUT_LIMITS, Vocabulary},
    error::ApiError,
    offer::{Order, Output},
};

/// Tokens that a model's own template can add to the messages. Documented: 346 for Claude's tools, about 70 for
/// gpt-oss; every other one is shorter.
const TEMPLATE_TOKENS: u64 = 512;

/// Tokens that a template can add to one text: what a message is framed with, or what stands between its parts. The
/// longest known frame is that of a tool's answer to gpt-oss, about 12.
const FRAME_TOKENS: u64 = 16;

/// Tokens of one image at the most. The dearest documented: gpt-4o-mini, 2833 + 5667 for each of at most 8 tiles.
const IMAGE_TOKENS: u64 = 48_169;

/// Tokens of one file or video at the most: no provider documents a limit but what the model reads, and no model in
/// the catalogue reads more than this. So the model's own context length, to which an offer cuts it, is what counts.
const FILE_TOKENS: u64 = 2_000_000;

/// The service tiers at the catalogue's prices or below. Others, such as OpenAI's `priority`, cost more than we would
/// charge for them.
const SERVICE_TIERS: [&str; 5] = ["\"auto\"", "\"default\"", "\"standard\"", "\"flex\"", "\"on_demand\""];

/// The kinds of output that have a price here.
const MODALITIES: [&str; 2] = ["text", "audio"];

/// The kinds of tools that run at the client. Others run at the provider, which bills each call.
const TOOL_TYPES: [&str; 2] = ["\"function\"", "\"custom\""];

/// Fields that make a provider do what has no price here.
const UNPRICED: [(&str, &str); 6] = [
    ("web_search_options", "absent: searching the web has no price here"),
    ("search_parameters", "absent: searching the web has no price here"),
    ("enable_search", "absent: searching the web has no price here"),
    ("plugins", "absent: plugins have no price here"),
    ("preset", "absent: name the model that is wanted, for each has its own price"),
    ("n_predict", "absent: say max_tokens or max_completion_tokens"),
];

/// What a server may put into the prompt in words of its own.
const REWRITTEN: [&str; 3] = ["tools", "functions", "response_format"];

/// Every other field that is read here.
const READ: [&str; 11] = [
    "model",
    "models",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "service_tier",
    "modalities",
    "prediction",
];

/// How many fallbacks a request may name: each is looked up, and tried in turn.
const MAX_FALLBACKS: usize = 16;

/// A chat completions request: what the gateway needs to know of it, and the rest as it came.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The model asked for.
    pub model: String,
    /// The models to try after it, in order.
    pub fallbacks: Vec<String>,
    /// Whether the answer comes as a stream.
    pub stream: bool,
    /// Whether the client wants the chunk that tells the usage.
    pub include_usage: bool,
    /// The most tokens that each choice may have, if the client says so.
    pub max_output_tokens: Option<u64>,
    /// How many answers to make.
    pub choices: u64,
    fields: RawObject,
    input: Input,
    body_bytes: u64,
}

impl ChatRequest {
    /// The request that `body` is.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields = RawObject::of_body(body)?;
        let model = fields.model()?;
        let options = stream_options(&fields)?;
        priced(&fields)?;
        let max_tokens = fields.integer("max_tokens", 1..=u64::MAX)?;
        let max_completion_tokens = fields.integer("max_completion_tokens", 1..=u64::MAX)?;
        let include_usage = options
            .boolean("include_usage")
            .map_err(|error| ApiError { param: Some("stream_options.include_usage".to_owned()), ..error })?;
        Ok(Self {
            model,
            input: messages(&fields)?,
            fallbacks: fallbacks(&fields)?,
            stream: fields.boolean("stream")?.unwrap_or(false),
            include_usage: include_usage.unwrap_or(false),
            max_output_tokens: max_tokens.into_iter().chain(max_completion_tokens).min(),
            choices: fields.integer("n", 1..=128)?.unwrap_or(1),
            body_bytes: body.len() as u64,
            fields,
        })
    }

    /// The model asked for and its fallbacks, in the order in which to try them.
    pub fn models(&self) -> Vec<String> {
        std::iter::once(&self.model).chain(&self.fallbacks).cloned().collect()
    }

    /// The body for `endpoint`: its own name for the model, no fallbacks, usage always asked of a stream, and the limit
    /// of the output, which is `told` or else the client's, in the one field that the provider reads.
    pub fn for_endpoint(&self, endpoint: &Endpoint, told: Option<u64>) -> Vec<u8> {
        let mut fields = self.fields.clone();
        fields.set_to("model", &endpoint.model.upstream_id);
        fields.remove("models");
        if let Some(limit) = told.or(self.max_output_tokens) {
            set_output_limit(&mut fields, limit, endpoint);
        }
        if self.stream {
            // It was read once already, when the request was parsed.
            let mut options = stream_options(&fields).unwrap_or_default();
            options.set_to("include_usage", &true);
            fields.set_to("stream_options", &options);
        }
        fields.to_bytes()
    }

    fn bytes_of(&self, field: &str) -> u64 {
        self.fields.present(field).map_or(0, |text| text.len() as u64)
    }

    /// Tokens of what is no text and of what stands around texts.
    fn media_and_frame(&self) -> u64 {
        let images = self.input.images.saturating_mul(IMAGE_TOKENS);
        images.saturating_add(self.input.files.saturating_mul(FILE_TOKENS)).saturating_add(TEMPLATE_TOKENS)
    }

    /// Tokens that tools, schemas and tool calls can be beyond the bytes they came in. OpenAI's own models read them in
    /// a shorter notation; templates of others write the JSON anew with spaces and line breaks, at most doubling it.
    fn rewriting(&self, vocabulary: Option<Vocabulary>) -> u64 {
        let bytes = || REWRITTEN.iter().map(|field| self.bytes_of(field)).sum::<u64>() + self.input.json_bytes;
        vocabulary.map_or_else(bytes, |_| 0)
    }

    fn read_texts(&self, count: &mut dyn FnMut(&str) -> u64) -> u64 {
        let mut tokens = 0;
        // They were walked through once already, when the request was parsed.
        let messages = self.fields.present("messages").unwrap_or_default();
        Input::of(messages, &mut |text| tokens += count(text));
        tokens
    }
}

impl Order for ChatRequest {
    /// For text and for sound in it, the body's bytes: a byte-level tokenizer makes no more tokens than there are bytes,
    /// and one of characters falls back to bytes. An image counts as the largest documented one, a file as the longest
    /// context.
    fn input_bound(&self, vocabulary: Option<Vocabulary>) -> u64 {
        let bytes = self.body_bytes - self.input.media_bytes;
        bytes.saturating_add(self.media_and_frame()).saturating_add(self.rewriting(vocabulary))
    }

    /// Only what is surely text is counted. Everything else, known or not, is as many tokens as it has bytes.
    fn input_counted(&self, vocabulary: Option<Vocabulary>, count: &mut dyn FnMut(&str) -> u64) -> u64 {
        let bound = self.input_bound(vocabulary);
        if !self.input.countable {
            return bound;
        }
        let Input { texts, json_bytes, sound_bytes, .. } = self.input;
        let bytes = self.body_bytes - self.bytes_of("messages") + json_bytes + sound_bytes;
        let around = self.media_and_frame().saturating_add(self.rewriting(vocabulary)) + texts * FRAME_TOKENS;
        bound.min(around.saturating_add(bytes).saturating_add(self.read_texts(count)))
    }

    fn input_estimated(&self, count: &mut dyn FnMut(&str) -> u64) -> u64 {
        let rewritten: u64 = REWRITTEN.iter().filter_map(|field| self.fields.present(field)).map(&mut *count).sum();
        self.read_texts(count) + rewritten + self.input.json_bytes.div_ceil(4)
    }

    fn output(&self) -> Option<Output> {
        let predicted = self.bytes_of("prediction");
        Some(Output { asked: self.max_output_tokens, choices: self.choices, predicted })
    }
}

/// Refuses what would be served at a price that is not known here, or for more than is held.
fn priced(fields: &RawObject) -> Result<(), ApiError> {
    let unpriced = UNPRICED.map(|(name, _)| name);
    fields.no_lookalike_of(&[&READ[..], &REWRITTEN, &unpriced].concat())?;
    if let Some((name, expected)) = UNPRICED.iter().find(|(name, _)| fields.present(name).is_some()) {
        return Err(wrong(name, expected));
    }
    if fields.present("service_tier").is_some_and(|tier| !SERVICE_TIERS.contains(&tier)) {
        return Err(wrong("service_tier", "auto, default, standard, flex or on_demand: others have no price here"));
    }
    if let Some(text) = fields.present("modalities") {
        let known = |names: Vec<String>| names.iter().all(|name| MODALITIES.contains(&name.as_str()));
        if !serde_json::from_str(text).is_ok_and(known) {
            return Err(wrong("modalities", "an array of text and audio: other kinds of output have no price here"));
        }
    }
    if let Some(text) = fields.present("tools") {
        let known = |types: Vec<&RawValue>| types.iter().all(|kind| TOOL_TYPES.contains(&kind.get()));
        let run_at_client =
            |tools: Vec<&RawValue>| tools.iter().all(|tool| every(tool.get(), "type").is_some_and(known));
        if !serde_json::from_str(text).is_ok_and(run_at_client) {
            return Err(wrong("tools", "an array of function and custom tools: the provider's own have no price here"));
        }
    }
    Ok(())
}

/// Says `limit` in one field: the client's if the provider reads that, else the first that it reads. A provider that
/// ignored the limit would write more than was held, and of two limits each provider reads another.
fn set_output_limit(fields: &mut RawObject, limit: u64, endpoint: &Endpoint) {
    let limits = endpoint.provider.output_limits;
    let used: Vec<_> = OUTPUT_LIMITS.iter().copied().filter(|field| fields.present(field).is_some()).collect();
    let field = match used[..] {
        [only] if limits.contains(&only) => only,
        _ => limits.first().or(OUTPUT_LIMITS.first()).copied().unwrap_or_default(),
    };
    used.iter().filter(|other| **other != field).for_each(|other| fields.remove(other));
    fields.set_to(field, &limit);
}

fn stream_options(fields: &RawObject) -> Result<RawObject, ApiError> {
    match fields.present("stream_options") {
        None => Ok(RawObject::default()),
        Some(text) => serde_json::from_str(text).map_err(|_| wrong("stream_options", "an object")),
    }
}

/// What the messages hold: a non-empty array of anything, the provider knows the rest.
fn messages(fields: &RawObject) -> Result<Input, ApiError> {
    let text = fields.present("messages").ok_or_else(|| ApiError::missing("messages"))?;
    let items = text.strip_prefix('[').ok_or_else(|| wrong("messages", "an array"))?;
    if items.trim_start().starts_with(']') {
        return Err(wrong("messages", "an array of at least one message"));
    }
    Input::of(text, &mut |_| ()).ok_or_else(|| wrong("messages", "nested less deeply"))
}

fn fallbacks(fields: &RawObject) -> Result<Vec<String>, ApiError> {
    let Some(text) = fields.present("models") else { return Ok(Vec::new()) };
    let names: Vec<String> = serde_json::from_str(text).map_err(|_| wrong("models", "an array of strings"))?;
    if names.len() > MAX_FALLBACKS {
        return Err(wrong("models", &format!("an array of at most {MAX_FALLBACKS} models")));
    }
    Ok(names)
}

#[cfg(test)]
pub(crate) mod tests;
