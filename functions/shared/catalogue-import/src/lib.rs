//! Makes the catalogue's file from the data of the pinned `genai-prices` crate and a hand-kept table.
//!
//! The same pin, date and table always give the same bytes. It reads files of this checkout and of cargo's own
//! package store, calls `cargo metadata`, and never the network by itself. A price that the gateway cannot hold
//! exactly is left out and reported, never rounded.

pub mod data;
pub mod known;
pub mod price;
pub mod source;
mod write;

use data::{Model, Provider};
use known::Known;

/// The day whose prices are taken. Raise it with the pin.
pub const DATE: &str = "2026-11-23";

/// Our providers that the price data knows, by its name for them.
const PROVIDERS: [(&str, &str); 8] = [
    ("openai", "openai"),
    ("groq", "groq"),
    ("mistral", "mistral"),
    ("deepseek", "deepseek"),
    ("xai", "x-ai"),
    ("together", "together"),
    ("fireworks", "fireworks"),
    ("cerebras", "cerebras"),
];

/// Why nothing could be made.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The data file was not found.
    #[error("cannot find the data of genai-prices: {0}")]
    Source(String),
    /// The data file could not be read.
    #[error("cannot read the data of genai-prices: {0}")]
    Data(#[from] serde_json::Error),
    /// The table is at fault.
    #[error("{0}")]
    Table(String),
}

/// The catalogue's file, and what was left out.
pub struct Import {
    /// The file.
    pub file: String,
    /// A line for each model that was left out, and why.
    pub report: Vec<String>,
}

/// A model to import: its line of the table and its entry in the data.
pub struct Found<'a> {
    /// The line.
    pub known: Known,
    /// The entry.
    pub model: &'a Model,
}

/// Each line of the table with its entry in the data; and what to report.
pub fn pair(providers: &[Provider]) -> Result<(Vec<Found<'_>>, Vec<String>), ImportError> {
    let (mut found, mut report) = (Vec::new(), Vec::new());
    for known in known::all().map_err(ImportError::Table)? {
        let models = models_of(providers, known.provider)?;
        let named = models.iter().find(|model| model.rule.names(known.upstream_id));
        match named.or_else(|| models.iter().find(|model| model.rule.covers(known.upstream_id))) {
            Some(model) if model.deprecated => report.push(left_out(&known, "is deprecated")),
            Some(model) => found.push(Found { known, model }),
            None => report.push(left_out(&known, "is not in the price data")),
        }
    }
    for (ours, _) in PROVIDERS {
        for model in models_of(providers, ours)? {
            if !found.iter().any(|found| std::ptr::eq(found.model, model)) {
                report.push(format!("left out: {ours}: {} has no line in known.tsv", model.id));
            }
        }
    }
    Ok((found, report))
}

fn models_of<'a>(providers: &'a [Provider], ours: &str) -> Result<&'a [Model], ImportError> {
    let theirs = data_name(ours).ok_or_else(|| ImportError::Table(format!("known.tsv: unknown provider `{ours}`")))?;
    let provider = providers.iter().find(|provider| provider.id == theirs);
    provider.map(|provider| &provider.models[..]).ok_or_else(|| ImportError::Source(format!("no provider `{theirs}`")))
}

/// The price data's name for one of our providers.
pub fn data_name(ours: &str) -> Option<&'static str> {
    PROVIDERS.iter().find(|(name, _)| *name == ours).map(|(_, theirs)| *theirs)
}

fn left_out(known: &Known, why: &str) -> String {
    format!("left out: {}: {} {why}", known.provider, known.upstream_id)
}

/// The catalogue's file from the data file of this version of `genai-prices`.
pub fn import(data: &str, version: &str) -> Result<Import, ImportError> {
    let providers: Vec<Provider> = serde_json::from_str(data)?;
    let (found, mut report) = pair(&providers)?;
    let mut lines = vec![write::echo_line()];
    for Found { known, model } in found {
        let lists = model.price_lists(DATE)?;
        match price::prices(&lists, known.has("embedding")) {
            Ok(prices) => {
                if lists.len() > 1 {
                    report.push(format!("dearest hour's price: {}: {}", known.provider, known.upstream_id));
                }
                lines.push(write::line(&known, model, &prices));
            }
            Err(why) => report.push(left_out(&known, &why)),
        }
    }
    lines.sort_unstable();
    Ok(Import { file: format!("{}{}", write::header(version), lines.concat()), report })
}

#[cfg(test)]
mod tests;
