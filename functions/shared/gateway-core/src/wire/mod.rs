//! OpenAI's requests and answers: what the gateway reads of them, and the few fields that it changes.
//!
//! Fields that are not read here pass as they came, known or not: no value is parsed and written again. Nothing in
//! this module may print a value: they are prompts and answers.

mod chat;
mod embeddings;
mod input;
mod object;
mod usage;

pub(crate) use self::usage::{splice, usage_with_cost};
pub use self::{
    chat::ChatRequest,
    embeddings::EmbeddingsRequest,
    object::RawObject,
    usage::{answer_with_cost, usage_of_openai},
};

#[cfg(test)]
pub(crate) use self::chat::tests;
