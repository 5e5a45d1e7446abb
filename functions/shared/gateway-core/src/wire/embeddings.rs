//! `POST /v1/embeddings`: the request.

use serde_json::value::RawValue;

use super::object::{RawObject, wrong};
use crate::{catalogue::Endpoint, error::ApiError};

/// An embeddings request: what the gateway needs to know of it, and the rest as it came.
#[derive(Debug, Clone)]
pub struct EmbeddingsRequest {
    /// The model asked for.
    pub model: String,
    fields: RawObject,
    input: Input,
}

impl EmbeddingsRequest {
    /// The request that `body` is.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields = RawObject::of_body(body)?;
        let model = fields.model()?;
        let input = fields.present("input").ok_or_else(|| ApiError::missing("input"))?;
        let input = Input::of(input).ok_or_else(|| {
            wrong("input", "a string, or an array (not empty) of strings, of tokens or of arrays of tokens")
        })?;
        if !matches!(fields.present("encoding_format"), None | Some("\"float\"" | "\"base64\"")) {
            return Err(wrong("encoding_format", "float or base64"));
        }
        fields.integer("dimensions", 1..=u64::MAX)?;
        Ok(Self { model, fields, input })
    }

    /// The most tokens that the input can be: the bytes of text, the number of tokens.
    pub fn input_bound(&self) -> u64 {
        self.input.bound
    }

    /// Bytes of text in the input; a token counts as the four bytes that it stands for.
    pub fn text_bytes(&self) -> u64 {
        self.input.text_bytes
    }

    /// The body for `endpoint`: its own name for the model.
    pub fn for_endpoint(&self, endpoint: &Endpoint) -> Vec<u8> {
        let mut fields = self.fields.clone();
        fields.set_to("model", &endpoint.model.upstream_id);
        fields.to_bytes()
    }
}

/// How much an input is, in any of its four forms.
#[derive(Debug, Clone, Copy)]
struct Input {
    bound: u64,
    text_bytes: u64,
}

impl Input {
    /// Text counts with its quotes: they pay for the two tokens with which BERT and its kin frame each string.
    fn of(input: &str) -> Option<Self> {
        let text = |bytes| Self { bound: bytes, text_bytes: bytes };
        let tokens = |count| Self { bound: count, text_bytes: count * 4 };
        if is_string(input) {
            return Some(text(input.len() as u64));
        }
        let items: Vec<&RawValue> = serde_json::from_str(input).ok().filter(|items: &Vec<_>| !items.is_empty())?;
        let mut texts = items.iter().map(|item| item.get());
        if texts.clone().all(is_string) {
            return Some(text(texts.map(|text| text.len() as u64).sum()));
        }
        let count = tokens_of(input).or_else(|| texts.try_fold(0, |sum: u64, list| Some(sum + tokens_of(list)?)));
        count.map(tokens)
    }
}

fn is_string(json: &str) -> bool {
    json.starts_with('"')
}

/// How many tokens an array of them holds, at least one.
fn tokens_of(list: &str) -> Option<u64> {
    let tokens: Vec<u32> = serde_json::from_str(list).ok()?;
    (!tokens.is_empty()).then_some(tokens.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::ErrorCode, wire::chat::tests::endpoint};

    fn parse(input: &str, more: &str) -> Result<EmbeddingsRequest, ApiError> {
        EmbeddingsRequest::parse(format!(r#"{{"model":"m","input":{input}{more}}}"#).as_bytes())
    }

    #[test]
    fn all_four_forms_of_input_are_bounded() {
        for (input, bound, text_bytes) in [
            (r#""""#, 2, 2),
            (r#""hi""#, 4, 4),
            (r#"["hi", "you"]"#, 9, 9),
            ("[1, 2,3]", 3, 12),
            ("[[1,2],[3]]", 3, 12),
        ] {
            let request = parse(input, "").unwrap();
            assert_eq!((request.input_bound(), request.text_bytes()), (bound, text_bytes), "{input}");
        }
    }

    #[test]
    fn an_input_of_another_form_is_refused() {
        for input in ["1", "true", "{}", "[]", "[[]]", "[1,[2]]", r#"["a",1]"#, "[-1]", "[1.5]", "[null]", "[[1],[]]"] {
            let error = parse(input, "").unwrap_err();
            assert_eq!((error.code, error.param.as_deref()), (ErrorCode::InvalidParameter, Some("input")), "{input}");
        }
        assert_eq!(parse("null", "").unwrap_err().code, ErrorCode::MissingParameter);
    }

    #[test]
    fn encoding_format_and_dimensions_are_checked() {
        assert!(parse("[1]", r#","encoding_format":"base64","dimensions":8"#).is_ok());
        assert!(parse("[1]", r#","encoding_format":null,"dimensions":null"#).is_ok());
        for (more, param) in [
            (r#","encoding_format":"hex""#, "encoding_format"),
            (r#","encoding_format":1"#, "encoding_format"),
            (r#","dimensions":0"#, "dimensions"),
            (r#","dimensions":"8""#, "dimensions"),
        ] {
            assert_eq!(parse("[1]", more).unwrap_err().param.as_deref(), Some(param), "{more}");
        }
    }

    #[test]
    fn only_the_model_changes_for_an_endpoint() {
        let request = parse(r#"[ "a" ]"#, r#","user":"u","x":{ }"#).unwrap();
        let body = String::from_utf8(request.for_endpoint(&endpoint("up"))).unwrap();
        assert_eq!(body, r#"{"model":"up","input":[ "a" ],"user":"u","x":{ }}"#);
    }
}
