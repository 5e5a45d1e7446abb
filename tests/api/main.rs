//! Over HTTP, through the authorizer, against a scripted provider: one file a function, and what concerns them all.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]

mod audit;
mod auth_key;
mod authorizer;
mod bad_input;
mod balance;
mod chat_completions;
mod configuration;
mod dashboard;
mod deadlines;
mod embeddings;
mod hold_expirer;
mod keys;
mod known_bugs;
mod low_balance;
mod models;
mod operator;
mod page;
mod payments;
mod poor_accounts;
mod restart;
mod secrets;
mod stripe_webhook;
mod transactions;
mod unknown_route;
mod usage;
mod usage_rollup;
