//! What a request used, in buckets that do not overlap.

use serde::{Deserialize, Serialize};

/// Tokens by the rate they are charged at. No token is in two buckets, whatever the provider's own counts overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Text (and image) input read afresh.
    pub input: u64,
    /// Input read from the provider's cache.
    pub cache_read: u64,
    /// Input written to the provider's cache for five minutes.
    pub cache_write_5m: u64,
    /// Input written to the provider's cache for an hour.
    pub cache_write_1h: u64,
    /// Output; reasoning is part of it.
    pub output: u64,
    /// Audio input.
    pub input_audio: u64,
    /// Audio output.
    pub output_audio: u64,
}

impl Usage {
    /// All input, fresh, cached and audio: OpenAI's `prompt_tokens`.
    pub fn all_input(&self) -> u64 {
        [self.cache_read, self.cache_write_5m, self.cache_write_1h, self.input_audio]
            .into_iter()
            .fold(self.input, u64::saturating_add)
    }

    /// All output, text and audio: OpenAI's `completion_tokens`.
    pub fn all_output(&self) -> u64 {
        self.output.saturating_add(self.output_audio)
    }
}

/// Usage and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metered {
    /// The tokens.
    pub usage: Usage,
    /// The provider sent no count: this is ours, made from what was sent and received.
    pub estimated: bool,
}
