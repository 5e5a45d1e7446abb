//! What the suites share: a gateway in this process on a free port, a provider that does as it is told, a client, and the
//! refusals that every route has in common.

mod client;
mod gateway;
mod provider;
pub mod refusals;

pub use client::{Answer, Client};
pub use gateway::{MODEL, START, TestGateway};
pub use provider::{Provider, Reply, Seen, chat_answer, chat_stream, embeddings_answer};
