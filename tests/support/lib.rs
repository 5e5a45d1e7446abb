//! What the suites share: a gateway in this process on a free port, or as a process of its own; a provider that does as it
//! is told; a stand-in for Stripe; a client; and the refusals that every route has in common.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the tools of tests: what they can't do fails the test")]

mod browser;
mod chat;
mod client;
mod database;
pub mod faults;
mod folder;
mod gateway;
mod journal;
pub mod lambda;
pub mod openid;
pub mod process;
mod provider;
pub mod refusals;
mod runtime_api;
mod served_database;
pub mod stripe;

pub use browser::Browser;
pub use chat::ChatFunction;
pub use client::{Answer, Client};
pub use database::{Database, Environment, Running, on_database};
pub use folder::Folder;
pub use gateway::{MODEL, START, TestGateway, new_key};
pub use journal::Journal;
pub use process::Process;
pub use provider::{Provider, Reply, Seen, chat_answer, chat_stream, embeddings_answer};
pub use runtime_api::{Break, Invocation, NEXT, PostedAnswer, RuntimeApi};
pub use served_database::ServedDatabase;
pub use stripe::Stripe;
