//! The operator's configuration: which providers serve, at which markup, and what differs from the catalogue.
//!
//! It is read from JSON and stored as JSON. It holds no secret: a credential is a name, under which the secret is kept
//! elsewhere. Whether it makes sense as a whole (an alias of nothing, a price that is missing) is for
//! [`crate::catalogue::Catalogue::new`] to say.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

use crate::{catalogue::ModelKind, money::Picos, pricing::Markup};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is added to every price, in percent, where a model has no markup of its own.
    pub markup_percent: Markup,
    /// Who serves: only the providers named here. `{}` suffices for a built-in one.
    pub providers: BTreeMap<String, ProviderSettings>,
    /// The operator's own models and aliases, and changes to the catalogue's.
    pub models: BTreeMap<String, ModelSettings>,
}

/// A provider that serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderSettings {
    /// Where its API is, up to and with the version: `http://127.0.0.1:8000/v1`. Built-in providers know theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The name of its key among the credentials; `null` for none. Absent: the provider's own name if it is a built-in
    /// one, none otherwise.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub credential: Option<Option<String>>,
    /// Headers sent with every request to it. Never a secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// If given, only these of its models are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
}

/// A model of the operator's own, an alias, or what differs from the catalogue's model of this id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// `false`: known, but not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Another id for this model, which must not be an alias itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_of: Option<String>,
    /// Who serves it. A model that the catalogue does not have needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// What the provider calls it. Absent: its id, without the provider's name in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_id: Option<String>,
    /// Its name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it does. Absent: `chat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ModelKind>,
    /// How many tokens it reads and writes at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// How many tokens it writes at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// What is added to its price, in percent, instead of the overall markup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub markup_percent: Option<Markup>,
    /// What it costs, instead of the catalogue's price as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceSettings>,
}

/// What a model costs in USD per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    /// Fresh input.
    pub input: UsdPerMillion,
    /// Output. An embedding model needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<UsdPerMillion>,
    /// Input read from the provider's cache. Absent: as fresh input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<UsdPerMillion>,
    /// Input written to the provider's cache for five minutes. Absent: as fresh input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_5m: Option<UsdPerMillion>,
    /// Input written to the provider's cache for an hour. Absent: as for five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<UsdPerMillion>,
    /// Audio input. Absent: as fresh input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_audio: Option<UsdPerMillion>,
    /// Audio output. Absent: as output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_audio: Option<UsdPerMillion>,
}

/// A price as people write it, USD per million tokens: a JSON number with up to 6 decimals, read digit by digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsdPerMillion(pub Picos);

impl UsdPerMillion {
    /// The price written so, `0.15`.
    pub fn parse(text: &str) -> Result<Self, crate::money::NotAnAmount> {
        Picos::parse_usd_per_million(text).map(Self)
    }
}

impl Serialize for UsdPerMillion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let picos = self.0.0;
        let text = format!("{}.{:06}", picos / 1_000_000, picos % 1_000_000);
        RawValue::from_string(text).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UsdPerMillion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get().trim_matches('"')).map_err(de::Error::custom)
    }
}

/// A field that is there, be it `null`: tells it from one that is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What is wrong with the settings, where, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("settings: {path}: {problem}")]
pub struct SettingsError {
    /// Where: `providers.lab.base_url`.
    pub path: String,
    /// What is wrong and what to change.
    pub problem: String,
}

impl SettingsError {
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl Settings {
    /// The settings that `json` holds.
    pub fn parse(json: &[u8]) -> Result<Self, SettingsError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let settings = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| SettingsError::new(error.path().to_string(), error.inner().to_string()))?;
        deserializer.end().map_err(|error| SettingsError::new(".", error.to_string()))?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"{"markup_percent": 10, "providers": {"openai": {},
        "lab": {"base_url": "http://127.0.0.1:8000/v1", "credential": null, "headers": {"x-a": "b"}, "models": ["my-model"]}},
      "models": {"my-model": {"provider": "lab", "upstream_id": "qwen", "kind": "chat", "context_length": 32768,
          "max_output_tokens": 4096, "price": {"input": 0.10, "output": 0.20, "cache_read": 0.000001}},
        "gpt-4o": {"enabled": false}, "fast": {"alias_of": "gpt-4o-mini"}, "gpt-4.1": {"markup_percent": 0.5}}}"#;

    #[test]
    fn settings_survive_being_stored() {
        let settings = Settings::parse(ALL.as_bytes()).unwrap();
        let stored = serde_json::to_vec(&settings).unwrap();
        assert_eq!(Settings::parse(&stored).unwrap(), settings);
        assert_eq!(settings.providers["lab"].credential, Some(None), "null is not absent");
        assert_eq!(settings.providers["openai"].credential, None);
        let price = settings.models["my-model"].price.unwrap();
        assert_eq!((price.input.0, price.cache_read.unwrap().0), (Picos(100_000), Picos(1)));
        assert_eq!(Settings::parse(b"{}").unwrap(), Settings::default());
    }

    #[test]
    fn every_error_says_where() {
        for (json, place, problem) in [
            (r#"{"provider":{}}"#, "provider", "unknown field `provider`"),
            (r#"{"providers":{"a":{"baseurl":"x"}}}"#, "providers.a.baseurl", "unknown field `baseurl`"),
            (r#"{"providers":{"a":{"headers":{"x":1}}}}"#, "providers.a.headers.x", "expected a string"),
            (r#"{"models":{"m":{"kind":"image"}}}"#, "models.m.kind", "unknown variant `image`"),
            (r#"{"models":{"m":{"price":{"input":0.0000001}}}}"#, "models.m.price.input", "at most 6 decimals"),
            (r#"{"models":{"m":{"price":{"input":-1}}}}"#, "models.m.price.input", "not an amount"),
            (r#"{"models":{"m":{"price":{}}}}"#, "models.m.price", "missing field `input`"),
            (r#"{"markup_percent":"ten"}"#, "markup_percent", "not an amount"),
            (r#"{"markup_percent":1} {}"#, ".", "trailing characters"),
            ("5", ".", "expected struct Settings"),
        ] {
            let error = Settings::parse(json.as_bytes()).unwrap_err();
            assert!(error.path == place && error.problem.contains(problem), "{json}: {error:?}");
        }
    }
}
