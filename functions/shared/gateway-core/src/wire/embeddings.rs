//! `POST /v1/embeddings`: the request.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object::{RawObject, wrong};
use crate::{
    catalogue::{Endpoint, Vocabulary},
    error::ApiError,
    offer::{Order, Output},
};

/// Tokens with which BERT and its kin frame each text.
const FRAME_TOKENS: u64 = 2;

/// An embeddings request: what the gateway needs to know of it, and the rest as it came.
#[derive(Debug, Clone)]
pub struct EmbeddingsRequest {
    /// The model asked for.
    pub model: String,
    fields: RawObject,
    input_bound: u64,
}

impl EmbeddingsRequest {
    /// The request that `body` is.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let fields = RawObject::of_body(body)?;
        let model = fields.model()?;
        let input = fields.present("input").ok_or_else(|| ApiError::missing("input"))?;
        let input_bound = bound(input).ok_or_else(|| {
            wrong("input", "a string, or an array (not empty) of strings, of tokens or of arrays of tokens")
        })?;
        fields.no_lookalike_of(&["model", "input"])?;
        if !matches!(fields.present("encoding_format"), None | Some("\"float\"" | "\"base64\"")) {
            return Err(wrong("encoding_format", "float or base64"));
        }
        fields.integer("dimensions", 1..=u64::MAX)?;
        Ok(Self { model, fields, input_bound })
    }

    /// The body for `endpoint`: its own name for the model.
    pub fn for_endpoint(&self, endpoint: &Endpoint) -> Vec<u8> {
        let mut fields = self.fields.clone();
        fields.set_to("model", &endpoint.model.upstream_id);
        fields.to_bytes()
    }
}

impl Order for EmbeddingsRequest {
    /// The bytes of text, the number of tokens.
    fn input_bound(&self, _: Option<Vocabulary>) -> u64 {
        self.input_bound
    }

    fn input_counted(&self, _: Option<Vocabulary>, count: &mut dyn FnMut(&str) -> u64) -> u64 {
        let texts = self.texts();
        let counted = |texts: Vec<_>| texts.iter().map(|Text(text)| count(text) + FRAME_TOKENS).sum();
        texts.map_or(self.input_bound, counted).min(self.input_bound)
    }

    fn input_estimated(&self, count: &mut dyn FnMut(&str) -> u64) -> u64 {
        self.texts().map_or(self.input_bound, |texts| texts.iter().map(|Text(text)| count(text)).sum())
    }

    fn output(&self) -> Option<Output> {
        None
    }
}

impl EmbeddingsRequest {
    /// The texts, if the input is texts and not tokens.
    fn texts(&self) -> Option<Vec<Text<'_>>> {
        let input = self.fields.present("input")?;
        serde_json::from_str(input).map(|text| vec![text]).or_else(|_| serde_json::from_str(input)).ok()
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The most tokens that an input can be, in any of its four forms. Text counts with its quotes, which pay for its frame.
fn bound(input: &str) -> Option<u64> {
    if is_string(input) {
        return Some(input.len() as u64);
    }
    let items: Vec<&RawValue> = serde_json::from_str(input).ok().filter(|items: &Vec<_>| !items.is_empty())?;
    let mut texts = items.iter().map(|item| item.get());
    if texts.clone().all(is_string) {
        return Some(texts.map(|text| text.len() as u64).sum());
    }
    tokens_of(input).or_else(|| texts.try_fold(0, |sum: u64, list| Some(sum + tokens_of(list)?)))
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
    fn all_four_forms_of_input_are_bounded_counted_and_estimated() {
        for (input, bound, counted, estimated) in [
            (r#""""#, 2, 2, 0),
            (r#""hi""#, 4, 3, 1),
            (r#"["hi", "you"]"#, 9, 6, 2),
            (r#""h\u00e9 there""#, 15, 3, 1),
            ("[1, 2,3]", 3, 3, 3),
            ("[[1,2],[3]]", 3, 3, 3),
        ] {
            let request = parse(input, "").unwrap();
            for vocabulary in [None, Some(Vocabulary::Cl100k)] {
                assert_eq!(request.input_bound(vocabulary), bound, "{input}");
                assert_eq!(request.input_counted(vocabulary, &mut |text| text.len().min(1) as u64), counted, "{input}");
                assert_eq!(request.input_counted(vocabulary, &mut |_| 1_000), bound, "{input}");
            }
            assert_eq!(request.input_estimated(&mut |text| text.len().min(1) as u64), estimated, "{input}");
            assert_eq!(request.output(), None);
        }
    }

    #[test]
    fn escaped_text_is_no_more_tokens_than_its_own_bytes() {
        let request = parse(r#""\u00e9\u00e9""#, "").unwrap();
        assert_eq!((request.input_bound(None), request.input_counted(None, &mut |text| text.len() as u64)), (14, 6));
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
            (r#","Input":"more""#, "Input"),
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
