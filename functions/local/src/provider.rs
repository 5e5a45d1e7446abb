//! Servers of the operator's own: what `--provider NAME=URL` adds, found out by asking the server for its models.

use std::{str::FromStr, time::Duration};

use gateway_core::{
    catalogue::ModelKind,
    settings::{ModelSettings, PriceSettings, ProviderSettings, Settings, UsdPerMillion},
};
use serde::Deserialize;

/// A server that does not list its models in this time is not running, or is no such server.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// `NAME=URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderArg {
    /// What its models' ids begin with.
    pub name: String,
    /// Where it answers.
    pub url: String,
}

/// `NAME=IN,OUT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderPrice {
    /// Whose models.
    pub name: String,
    /// What they cost.
    pub price: PriceSettings,
}

impl FromStr for ProviderArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("write NAME=URL, such as ollama=http://localhost:11434")?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("`{url}` must begin with http:// or https://"));
        }
        Ok(Self { name: checked_name(name)?, url: url.trim_end_matches('/').to_owned() })
    }
}

impl FromStr for ProviderPrice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write NAME=IN,OUT in USD per million tokens, such as ollama=0.10,0.40".to_owned();
        let (name, prices) = text.split_once('=').ok_or_else(wrong)?;
        let (input, output) = prices.split_once(',').ok_or_else(wrong)?;
        let read = |text| UsdPerMillion::parse(text).map_err(|error| error.to_string());
        Ok(Self { name: checked_name(name)?, price: price(read(input)?, read(output)?) })
    }
}

fn price(input: UsdPerMillion, output: UsdPerMillion) -> PriceSettings {
    PriceSettings { input, output: Some(output), ..PriceSettings::default() }
}

/// The name stands in models' ids and in the name of an environment variable.
fn checked_name(name: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(format!("`{name}` is no name for a provider: use a-z, 0-9, - and _"));
    }
    Ok(name.to_owned())
}

impl ProviderArg {
    /// The environment variable that holds its key, if it wants one.
    pub fn env_var(&self) -> String {
        format!("{}_API_KEY", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// Adds the provider and every model that it lists. Without a price its models are served for an explicit zero.
    ///
    /// # Errors
    /// The server can't be asked, or lists no models.
    pub async fn add_to(
        &self,
        settings: &mut Settings,
        prices: &[ProviderPrice],
        credential: Option<&str>,
    ) -> Result<(), String> {
        let (base_url, ids) = self.models(credential).await?;
        let price = prices.iter().find(|price| price.name == self.name).map(|price| price.price);
        let price = price.unwrap_or_else(price_of_nothing);
        let provider = ProviderSettings {
            base_url: Some(base_url),
            credential: Some(credential.map(|_| self.name.clone())),
            ..ProviderSettings::default()
        };
        settings.providers.insert(self.name.clone(), provider);
        for id in ids {
            let model = ModelSettings {
                provider: Some(self.name.clone()),
                upstream_id: Some(id.clone()),
                // A list does not say what its models do, and some servers do both with each.
                kind: Some(ModelKind::Any),
                price: Some(price),
                ..ModelSettings::default()
            };
            settings.models.insert(format!("{}/{id}", self.name), model);
        }
        Ok(())
    }

    /// The base of its API, and its models' ids. People give the URL with the version or without.
    async fn models(&self, credential: Option<&str>) -> Result<(String, Vec<String>), String> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(LIST_TIMEOUT)
            .build()
            .map_err(|error| error.to_string())?;
        let mut reasons = Vec::new();
        // With the version first: some servers answer without one too, but not in OpenAI's dialect.
        let last = self.url.rsplit('/').next().unwrap_or_default();
        let versioned = last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let (bare, with_version) = (self.url.clone(), format!("{}/v1", self.url));
        for base_url in if versioned { [bare, with_version] } else { [with_version, bare] } {
            match list(&client, &base_url, credential).await {
                Ok(ids) => return Ok((base_url, ids)),
                Err(reason) => reasons.push(format!("GET {base_url}/models: {reason}")),
            }
        }
        Err(format!("provider {}: {}", self.name, reasons.join("; ")))
    }
}

fn price_of_nothing() -> PriceSettings {
    price(UsdPerMillion::default(), UsdPerMillion::default())
}

async fn list(client: &reqwest::Client, base_url: &str, credential: Option<&str>) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        id: String,
    }
    let request = client.get(format!("{base_url}/models"));
    let request = credential.into_iter().fold(request, |request, secret| request.bearer_auth(secret));
    // The error's own text repeats the URL; what is behind it says what happened.
    let answer = request.send().await.map_err(|error| reason_of(&error))?;
    if !answer.status().is_success() {
        return Err(format!("it answered {}", answer.status()));
    }
    let list: List = answer.json().await.map_err(|_| "it did not answer with a list of models".to_owned())?;
    let ids: Vec<String> = list.data.into_iter().map(|model| model.id).filter(|id| !id.is_empty()).collect();
    if ids.is_empty() { Err("it lists no models".to_owned()) } else { Ok(ids) }
}

fn reason_of(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_and_prices_are_read() {
        let provider: ProviderArg = "my-lab=http://127.0.0.1:8000/v1/".parse().unwrap();
        assert_eq!((provider.name.as_str(), provider.url.as_str()), ("my-lab", "http://127.0.0.1:8000/v1"));
        assert_eq!(provider.env_var(), "MY_LAB_API_KEY");
        let price: ProviderPrice = "lab=0.10,0.40".parse().unwrap();
        assert_eq!(price.price.input, UsdPerMillion::parse("0.1").unwrap());
        for wrong in ["lab", "lab=ftp://x", "=http://x", "La b=http://x", "a/b=http://x"] {
            assert!(wrong.parse::<ProviderArg>().is_err(), "{wrong}");
        }
        for wrong in ["lab", "lab=1", "lab=1,x", "lab=-1,2", "lab=1,2,3"] {
            assert!(wrong.parse::<ProviderPrice>().is_err(), "{wrong}");
        }
    }
}
