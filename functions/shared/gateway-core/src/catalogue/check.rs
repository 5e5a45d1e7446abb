//! Settings held against what is known: what does not make sense is refused with its place and what to change.

use std::collections::BTreeMap;

use super::{BuiltInProvider, Dialect, ModelKind, OUTPUT_LIMITS, Provider, table};
use crate::{
    money::Picos,
    pricing::{Prices, Rates},
    settings::{ModelSettings, PriceSettings, ProviderSettings, SettingsError},
};

const LONGEST_ID: usize = 256;

/// The provider of this name as it is configured.
pub(super) fn provider(name: &str, settings: &ProviderSettings) -> Result<Provider, SettingsError> {
    let wrong = |field: &str, problem: &str| SettingsError::new(format!("providers.{name}{field}"), problem);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(wrong("", "a provider's name is made of a to z, 0 to 9, `-`, `_` and `.`"));
    }
    let built_in = BuiltInProvider::named(name);
    if built_in.is_some_and(|built_in| built_in.dialect == Dialect::Echo)
        && (settings.base_url.is_some() || settings.credential.is_some() || !settings.headers.is_empty())
    {
        return Err(wrong("", "this provider is inside the gateway: give it no base_url, credential or headers"));
    }
    let base_url = match (&settings.base_url, built_in) {
        (Some(url), _) => base_url(url).map_err(|problem| wrong(".base_url", problem))?,
        (None, Some(built_in)) => built_in.base_url.to_owned(),
        (None, None) => return Err(wrong(".base_url", "not a built-in provider: say where its API is, up to /v1")),
    };
    for (header, value) in &settings.headers {
        check_header(header, value).map_err(|problem| wrong(&format!(".headers.{header}"), problem))?;
    }
    let own_key = || built_in.filter(|built_in| built_in.env_var.is_some()).map(|_| name.to_owned());
    Ok(Provider {
        name: name.to_owned(),
        dialect: built_in.map_or(Dialect::OpenAi, |built_in| built_in.dialect),
        base_url,
        credential: settings.credential.clone().unwrap_or_else(own_key),
        headers: settings.headers.clone().into_iter().collect(),
        output_limits: built_in.map_or(OUTPUT_LIMITS, |built_in| built_in.output_limits),
    })
}

fn base_url(url: &str) -> Result<String, &'static str> {
    let host_and_path = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host_and_path = host_and_path.ok_or("write a URL that begins with https:// or http://")?;
    if host_and_path.is_empty() || host_and_path.starts_with('/') {
        return Err("the URL has no host");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains(['?', '#', '@']) {
        return Err("write a plain URL: no spaces, `?` or `#`, and no password (that is what `credential` is for)");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn check_header(name: &str, value: &str) -> Result<(), &'static str> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err("this is not a header name");
    }
    if ["authorization", "host", "content-length", "content-type", "connection", "transfer-encoding"]
        .contains(&name.to_ascii_lowercase().as_str())
    {
        return Err("the gateway sets this header itself; a provider's key goes into the credentials");
    }
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    if value.bytes().all(printable) { Ok(()) } else { Err("a header's value is made of printable ASCII characters") }
}

/// The id under which the catalogue knows what the operator calls `id`: `openai/gpt-4o` is `gpt-4o`.
pub(super) fn canonical(id: &str) -> &str {
    if table::find(id).is_some() {
        return id;
    }
    let bare = id
        .split_once('/')
        .filter(|(provider, bare)| table::find(bare).is_some_and(|model| model.provider == *provider));
    bare.map_or(id, |(_, bare)| bare)
}

/// The models' settings by the ids that the catalogue knows them under.
pub(super) fn by_canonical_id(
    settings: BTreeMap<String, ModelSettings>,
) -> Result<BTreeMap<String, ModelSettings>, SettingsError> {
    let mut models = BTreeMap::new();
    for (id, mut model) in settings {
        if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = format!("a model's id is made of 1 to {LONGEST_ID} printable ASCII characters");
            return Err(SettingsError::new(format!("models.{id}"), problem));
        }
        model.alias_of = model.alias_of.map(|target| canonical(&target).to_owned());
        if models.insert(canonical(&id).to_owned(), model).is_some() {
            return Err(SettingsError::new(format!("models.{id}"), "this model is set twice: keep one entry"));
        }
    }
    Ok(models)
}

/// Whether the settings of one model make sense beside all the others.
pub(super) fn model(
    id: &str,
    models: &BTreeMap<String, ModelSettings>,
    providers: &BTreeMap<String, Provider>,
) -> Result<(), SettingsError> {
    let Some(settings) = models.get(id) else { return Ok(()) };
    let wrong = |field: &str, problem: String| Err(SettingsError::new(format!("models.{id}{field}"), problem));
    if let Some(target) = &settings.alias_of {
        let allowed = ModelSettings {
            alias_of: settings.alias_of.clone(),
            enabled: settings.enabled,
            markup_percent: settings.markup_percent,
            ..ModelSettings::default()
        };
        let aliased = models.get(target).is_some_and(|target| target.alias_of.is_some());
        return match () {
            () if *settings != allowed => {
                wrong("", "an alias has `enabled` and `markup_percent` of its own, nothing else".to_owned())
            }
            () if aliased || target == id => {
                wrong(".alias_of", format!("`{target}` is an alias itself: name the model that it stands for"))
            }
            () if !models.contains_key(target) && table::find(target).is_none() => {
                wrong(".alias_of", format!("there is no model `{target}` to be an alias of"))
            }
            () => Ok(()),
        };
    }
    let base = table::find(id);
    match (&settings.provider, &base) {
        (None, None) => return wrong(".provider", "the catalogue has no such model: say who serves it".to_owned()),
        (Some(name), _) if !providers.contains_key(name) => {
            return wrong(".provider", format!("`providers` has no `{name}`: add it there"));
        }
        _ => {}
    }
    if settings.context_length == Some(0) || settings.max_output_tokens == Some(0) {
        return wrong("", "a length is at least 1; leave it out if it is unknown".to_owned());
    }
    let kind = settings.kind.or(base.map(|base| base.kind)).unwrap_or(ModelKind::Chat);
    if kind != ModelKind::Embedding && settings.price.is_some_and(|price| price.output.is_none()) {
        return wrong(".price.output", "a chat model needs the price of its output (0 if it is free)".to_owned());
    }
    Ok(())
}

/// An operator's price as prices. What is not said is charged as what contains it.
pub(super) fn prices(price: &PriceSettings) -> Prices {
    let output = price.output.unwrap_or_default().0;
    let or = |price: Option<crate::settings::UsdPerMillion>, other: Picos| price.map_or(other, |price| price.0);
    let cache_write_5m = or(price.cache_write_5m, price.input.0);
    let base = Rates {
        input: price.input.0,
        cache_read: or(price.cache_read, price.input.0),
        cache_write_5m,
        cache_write_1h: or(price.cache_write_1h, cache_write_5m),
        output,
        input_audio: or(price.input_audio, price.input.0),
        output_audio: or(price.output_audio, output),
    };
    Prices { base, tiers: Vec::new() }
}
