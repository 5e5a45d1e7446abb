//! `POST /v1/chat/completions`: the request.

use super::{
    input::Input,
    object::{RawObject, wrong},
};
use crate::{catalogue::Endpoint, error::ApiError};

/// Tokens that a model's own template can add to the messages. Documented: 346 for Claude's tools, about 70 for
/// gpt-oss; every other one is shorter.
const TEMPLATE_TOKENS: u64 = 512;

/// Tokens of one image at the most. The dearest documented: gpt-4o-mini, 2833 + 5667 for each of at most 8 tiles.
const IMAGE_TOKENS: u64 = 48_169;

/// Tokens of one file or video at the most: no provider documents a limit but what the model reads, and no model in
/// the catalogue reads more than this. So the caller's cap, the model's own context length, is what counts.
const FILE_TOKENS: u64 = 2_000_000;

/// The service tiers at the catalogue's prices or below. Others, such as OpenAI's `priority`, cost more than we would
/// charge for them.
const SERVICE_TIERS: [&str; 5] = ["\"auto\"", "\"default\"", "\"standard\"", "\"flex\"", "\"on_demand\""];

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
        if fields.present("service_tier").is_some_and(|tier| !SERVICE_TIERS.contains(&tier)) {
            return Err(wrong("service_tier", "auto, default, standard, flex or on_demand: others have no price here"));
        }
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

    /// The most tokens that the input can be. For text, the body's bytes: a byte-level tokenizer makes no more tokens
    /// than there are bytes. Sound has fewer tokens than bytes too. An image counts as the largest documented one, a
    /// file as the longest context, so a caller that knows the model's context length takes the smaller of the two.
    pub fn input_bound(&self) -> u64 {
        let media = self.input.images.saturating_mul(IMAGE_TOKENS) + self.input.files.saturating_mul(FILE_TOKENS);
        self.body_bytes - self.input.media_bytes + TEMPLATE_TOKENS + media
    }

    /// Bytes of the messages' text, for an estimate where a provider does not count.
    pub fn text_bytes(&self) -> u64 {
        self.input.text_bytes
    }

    /// The body for `endpoint`: its own name for the model, no fallbacks, and usage always asked of a stream.
    pub fn for_endpoint(&self, endpoint: &Endpoint) -> Vec<u8> {
        let mut fields = self.fields.clone();
        fields.set_to("model", &endpoint.model.upstream_id);
        fields.remove("models");
        if self.stream {
            // It was read once already, when the request was parsed.
            let mut options = stream_options(&fields).unwrap_or_default();
            options.set_to("include_usage", &true);
            fields.set_to("stream_options", &options);
        }
        fields.to_bytes()
    }
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
    Input::of(text).ok_or_else(|| wrong("messages", "nested less deeply"))
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
pub(crate) mod tests {
    use super::*;
    use crate::{
        catalogue::{Dialect, Model, ModelKind, Provider},
        error::ErrorCode,
        pricing::{Markup, Prices},
    };

    pub(crate) fn endpoint(upstream_id: &str) -> Endpoint {
        let model = Model {
            id: "lab/m".to_owned(),
            name: "M".to_owned(),
            provider: "lab".to_owned(),
            upstream_id: upstream_id.to_owned(),
            kind: ModelKind::Chat,
            context_length: None,
            max_output_tokens: None,
            input_modalities: vec![],
            output_modalities: vec![],
            supported_parameters: vec![],
            prices: Some(Prices::default()),
            markup: Markup::default(),
        };
        let provider = Provider {
            name: "lab".to_owned(),
            dialect: Dialect::OpenAi,
            base_url: "http://127.0.0.1:1/v1".to_owned(),
            credential: None,
            headers: vec![],
        };
        Endpoint { model, prices: Prices::default(), provider }
    }

    fn parse(more: &str) -> Result<ChatRequest, ApiError> {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
        ChatRequest::parse(body.as_bytes())
    }

    fn forwarded(request: &ChatRequest) -> String {
        String::from_utf8(request.for_endpoint(&endpoint("up"))).unwrap()
    }

    #[test]
    fn null_is_as_good_as_no_field() {
        let fields = ["models", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n"];
        let nulls: String = fields.iter().map(|name| format!(r#","{name}":null"#)).collect();
        let request = parse(&nulls).unwrap();
        assert_eq!((request.stream, request.include_usage, request.choices), (false, false, 1));
        assert_eq!((request.max_output_tokens, request.fallbacks), (None, vec![]));
    }

    #[test]
    fn what_the_gateway_reads_is_read() {
        let more = r#","models":["a","b"],"stream":true,"stream_options":{"include_usage":true},"n":2,"max_tokens":9,"max_completion_tokens":7"#;
        let request = parse(more).unwrap();
        assert_eq!(request.models(), ["m", "a", "b"]);
        assert_eq!((request.stream, request.include_usage, request.choices), (true, true, 2));
        assert_eq!(request.max_output_tokens, Some(7));
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        for (more, param) in [
            (r#","model":1"#, "model"),
            (r#","model":"""#, "model"),
            (r#","messages":{}"#, "messages"),
            (r#","messages":[ ]"#, "messages"),
            (r#","models":"a""#, "models"),
            (r#","models":[1]"#, "models"),
            (r#","stream":"true""#, "stream"),
            (r#","stream_options":[]"#, "stream_options"),
            (r#","stream_options":{"include_usage":1}"#, "stream_options.include_usage"),
            (r#","max_tokens":0"#, "max_tokens"),
            (r#","max_tokens":1.5"#, "max_tokens"),
            (r#","max_tokens":"9""#, "max_tokens"),
            (r#","max_completion_tokens":-1"#, "max_completion_tokens"),
            (r#","n":0"#, "n"),
            (r#","n":129"#, "n"),
            (r#","service_tier":"priority""#, "service_tier"),
        ] {
            let error = parse(more).unwrap_err();
            assert_eq!((error.code, error.param.as_deref()), (ErrorCode::InvalidParameter, Some(param)), "{more}");
        }
        for (body, param) in [(r#"{"messages":[1]}"#, "model"), (r#"{"model":"m"}"#, "messages")] {
            let error = ChatRequest::parse(body.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.param.as_deref()), (ErrorCode::MissingParameter, Some(param)), "{body}");
        }
        let many = format!(r#","models":{}"#, serde_json::to_string(&vec!["a"; 17]).unwrap());
        assert_eq!(parse(&many).unwrap_err().param.as_deref(), Some("models"));
    }

    #[test]
    fn unknown_fields_and_odd_values_pass_byte_for_byte() {
        let more = r#","tools":[ {"x":1.0} ],"temperature":0.70,"x_new":{"a":[null]},"models":["a"]"#;
        let request = parse(more).unwrap();
        assert_eq!(
            forwarded(&request),
            r#"{"model":"up","messages":[{"role":"user","content":"hi"}],"tools":[ {"x":1.0} ],"temperature":0.70,"x_new":{"a":[null]}}"#
        );
    }

    #[test]
    fn usage_is_asked_of_every_stream_and_other_stream_options_stay() {
        let asked = |more: &str| forwarded(&parse(more).unwrap());
        assert!(asked(r#","stream":true"#).ends_with(r#","stream":true,"stream_options":{"include_usage":true}}"#));
        let options = r#","stream_options":{"include_usage":false,"x": 1 },"stream":true"#;
        assert!(asked(options).contains(r#""stream_options":{"include_usage":true,"x":1},"#));
        assert!(!asked(r#","stream":false"#).contains("stream_options"));
    }

    #[test]
    fn the_input_bound_covers_text_by_its_bytes_and_images_by_the_largest() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        let text = ChatRequest::parse(body.as_bytes()).unwrap();
        assert_eq!(text.input_bound(), body.len() as u64 + TEMPLATE_TOKENS);
        assert_eq!(text.text_bytes(), 6);
        let image = format!(r#"[{{"type":"image_url","image_url":{{"url":"data:{}"}}}}]"#, "A".repeat(100_000));
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{image}}}]}}"#);
        let bound = ChatRequest::parse(body.as_bytes()).unwrap().input_bound();
        assert!((IMAGE_TOKENS..IMAGE_TOKENS + 1_000).contains(&bound), "{bound}");
    }

    #[test]
    fn debug_shows_no_prompt() {
        let request = ChatRequest::parse(br#"{"model":"m","messages":["marked secret"],"user":"marked secret"}"#);
        assert!(!format!("{request:?}").contains("marked secret"));
    }
}
