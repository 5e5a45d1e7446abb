//! Prices as the models' list shows them.

use serde::Serialize;

use super::Model;
use crate::money::Picos;

/// USD per single token as decimal strings, markup included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownPricing {
    /// Fresh input.
    pub prompt: String,
    /// Output.
    pub completion: String,
    /// Input read from the cache, where that differs from fresh input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cache_read: Option<String>,
    /// Input written to the cache for five minutes, where that differs from fresh input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cache_write: Option<String>,
    /// Audio input, where that differs from text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
}

impl Model {
    /// Its prices for the models' list; none if it has no price.
    pub fn shown_pricing(&self) -> Option<ShownPricing> {
        let rates = self.prices.as_ref()?.base;
        let text = |price: Picos| self.markup.shown(price).to_string();
        let other = |price: Picos| (price != rates.input).then(|| text(price));
        Some(ShownPricing {
            prompt: text(rates.input),
            completion: text(rates.output),
            input_cache_read: other(rates.cache_read),
            input_cache_write: other(rates.cache_write_5m),
            audio: other(rates.input_audio),
        })
    }
}
