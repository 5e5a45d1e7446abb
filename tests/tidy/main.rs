//! The house keeps itself in order: what is said twice is held together here, both ways.
//!
//! - `names`: template.yaml, functions/, the workspace's members and events/ name the same functions.
//! - `arrows`: who may depend on whom.
//! - `routes`: the template's routes make sense together, and every one has its tests (the rule is told there).
//! - `policies`: a function's role allows exactly what its code does, on exactly the tables that it does it to.
//! - `readme`: what the README has to say of the template.
//! - `environment`: a function gets exactly the variables that it reads.
//! - `tables`: the template's tables are those that the store and the operator's command line know.
//! - `parameters`: what can be set of a stack, and what holds whatever is set.
//! - `alarms`: the metrics that the functions write and the alarms that watch them.
//! - `gateway_responses`: what API Gateway answers by itself is a row of the error table.
//! - `event_files`: every event is as the local gateway would make it; they are written here.
//! - `events`: every event is one that API Gateway could have sent to its function.
//! - `shared_state`: what outlives a request can't be spoiled by one.
//! - `sources`: sizes, openings, words that must not be there, and no token anywhere.
//! - `error_table`: the table itself, whole.
//!
//! These tests read files and run `cargo metadata`; they start no server, and write nothing but events/, when asked to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test tells what is wrong by panicking")]

mod alarms;
mod arrows;
mod environment;
mod error_table;
mod event_files;
mod events;
mod gateway_responses;
mod names;
mod parameters;
mod policies;
mod readme;
mod routes;
mod shared_state;
mod sources;
mod tables;
mod template;
mod tree;
