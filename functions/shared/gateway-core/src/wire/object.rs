//! A JSON object that is known by its top level alone.

use std::{collections::HashMap, fmt, ops::RangeInclusive};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::error::{ApiError, ErrorCode};

/// Bytes of the longest name that can be one of ours in another case.
const LONGEST_NAME: usize = 64;

/// An object's fields in their order, each value as the text it came in. Of a key given twice the last value stands.
#[derive(Clone, Default)]
pub struct RawObject {
    fields: Vec<(String, Box<RawValue>)>,
}

impl RawObject {
    /// The object that a client's request body is.
    pub fn of_body(body: &[u8]) -> Result<Self, ApiError> {
        let wrong = |what: &str| ApiError::new(ErrorCode::InvalidJson, format!("The request body {what}."));
        let text = std::str::from_utf8(body).map_err(|_| wrong("is not valid UTF-8"))?;
        serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => wrong("must be a JSON object"),
            // Line and column, never the text around them.
            _ => wrong(&format!("is not valid JSON (line {}, column {})", error.line(), error.column())),
        })
    }

    /// The text of a field's value, `null` too.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.get())
    }

    /// The text of a field's value; `null` is as good as no field.
    pub(super) fn present(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|text| *text != "null")
    }

    /// Gives a field a value, in its place or at the end.
    pub fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.fields.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// Gives a field what `value` is in JSON.
    pub(super) fn set_to(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        // Strings, numbers, booleans and objects of those always serialise.
        if let Ok(raw) = serde_json::value::to_raw_value(value) {
            self.set(name, raw);
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, name: &str) {
        self.fields.retain(|(field, _)| field != name);
    }

    /// The object as JSON: the fields in their order, the values byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and raw values always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The `model` that every request must name.
    pub(super) fn model(&self) -> Result<String, ApiError> {
        let text = self.present("model").ok_or_else(|| ApiError::missing("model"))?;
        let model: String = serde_json::from_str(text).map_err(|_| wrong("model", "a string"))?;
        if model.is_empty() { Err(wrong("model", "a string that is not empty")) } else { Ok(model) }
    }

    /// Refuses a field whose name is one of `names` but for its case. Some servers read it as that one, so that what was
    /// priced would not be what is served.
    pub(super) fn no_lookalike_of(&self, names: &[&str]) -> Result<(), ApiError> {
        let looks_alike = |field: &str| {
            // Up and down again: `ſ` and the Kelvin sign are letters of ours in another case too.
            let folded = || field.to_uppercase().to_lowercase();
            field.len() <= LONGEST_NAME && !names.contains(&field) && names.contains(&folded().as_str())
        };
        match self.fields.iter().find(|(field, _)| looks_alike(field)) {
            Some((field, _)) => Err(wrong(field, "written in lower case")),
            None => Ok(()),
        }
    }

    /// A boolean field.
    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.present(name).map(|text| text.parse().map_err(|_| wrong(name, "true or false"))).transpose()
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ApiError> {
        let expected = || match *range.end() {
            u64::MAX => format!("a whole number of at least {}", range.start()),
            end => format!("a whole number from {} to {end}", range.start()),
        };
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.present(name).map(|text| parse(text).ok_or_else(|| wrong(name, &expected()))).transpose()
    }
}

/// The refusal of a field that is not what it must be.
pub(super) fn wrong(name: &str, expected: &str) -> ApiError {
    ApiError::invalid(name, format!("Invalid value for '{name}': it must be {expected}."))
}

impl fmt::Debug for RawObject {
    /// The names alone: values are prompts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.iter().map(|(name, _)| name)).finish()
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = RawObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
        let mut object = RawObject::default();
        // Found by hash while reading: an object of a million keys must not take a million million steps.
        let mut places: HashMap<String, usize> = HashMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            match places.get(&name) {
                Some(&place) => object.fields[place].1 = value,
                None => {
                    places.insert(name.clone(), object.fields.len());
                    object.fields.push((name, value));
                }
            }
        }
        Ok(object)
    }
}

/// The values under `name`, in any case, of an object: each of them if it is given more than once.
pub(super) fn every<'a>(object: &'a str, name: &str) -> Option<Vec<&'a RawValue>> {
    struct Every<'n>(&'n str);
    impl<'de> Visitor<'de> for Every<'_> {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut values = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                if name.eq_ignore_ascii_case(self.0) {
                    values.push(value);
                }
            }
            Ok(values)
        }
    }
    serde_json::Deserializer::from_str(object).deserialize_map(Every(name)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(text: &str) -> RawObject {
        RawObject::of_body(text.as_bytes()).unwrap()
    }

    #[test]
    fn values_keep_every_byte_and_fields_their_order() {
        let text =
            r#"{"z":1.10e+02,"a":{ "b" : [ 1,2 ] , "é":"\u00e9\/" },"":null,"n":123456789012345678901234567890}"#;
        assert_eq!(object(text).to_bytes(), text.as_bytes());
        assert_eq!(object("{ }").to_bytes(), b"{}");
    }

    #[test]
    fn of_a_repeated_key_only_the_last_value_is_forwarded() {
        let text = r#"{"model":"cheap","n":1,"mod\u0065l":"dear"}"#;
        assert_eq!(object(text).get("model"), Some("\"dear\""));
        assert_eq!(object(text).to_bytes(), br#"{"model":"dear","n":1}"#);
    }

    #[test]
    fn a_field_is_set_in_its_place_and_removed_whole() {
        let mut changed = object(r#"{"a":1,"b":2}"#);
        changed.set_to("a", "x\"");
        changed.set_to("c", &true);
        changed.remove("b");
        assert_eq!(changed.to_bytes(), br#"{"a":"x\"","c":true}"#);
    }

    #[test]
    fn a_name_in_another_case_is_refused() {
        for name in ["Model", "MODEL", "max_to\u{212a}ens", "me\u{17f}\u{17f}ages"] {
            let error = object(&format!(r#"{{"{name}":1}}"#))
                .no_lookalike_of(&["model", "max_tokens", "messages"])
                .unwrap_err();
            assert_eq!(error.param.as_deref(), Some(name));
        }
        assert!(object(r#"{"model":1,"models":2,"Other":3}"#).no_lookalike_of(&["model", "models"]).is_ok());
    }

    #[test]
    fn every_value_of_a_repeated_key_is_seen() {
        let seen = |text| every(text, "type").map(|values| values.iter().map(|value| value.get()).collect::<Vec<_>>());
        assert_eq!(seen(r#"{"type":1,"x":{"type":0},"ty\u0070e":2,"Type":3}"#), Some(vec!["1", "2", "3"]));
        assert_eq!((seen("{}"), seen("[]"), seen("1")), (Some(vec![]), None, None));
    }

    #[test]
    fn a_body_that_is_no_json_object_is_refused_without_being_quoted() {
        for body in
            [&b"\xff{}"[..], b"{\"a\":\"\xc3\"}", b"", b"{", b"{\"secret\"", b"[]", b"null", b"\"secret\"", b"{} {}"]
        {
            let error = RawObject::of_body(body).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidJson);
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", object(r#"{"messages":"secret"}"#)), r#"{"messages"}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>) {
            let _ = RawObject::of_body(&body);
        }
    }
}
