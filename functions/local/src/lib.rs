//! ModelSwitch on one machine: the gateway with every function in one process, and the operator's command line.
//!
//! template.yaml is the one source of routing: what API Gateway would do is read from it and done here, so that the
//! functions can't tell the difference. No rule about accounts, keys, models or money is here; those are the functions'.

mod api;
pub mod cli;
mod compression;
mod engine;
pub mod event;
mod feed;
mod functions;
mod ledger_stream;
mod mail;
pub mod operator;
mod policy;
mod provider;
mod responses;
mod router;
pub mod run;
mod schedule;
mod server;
mod start;
mod template;

pub use engine::{Data, Engine, OpenError};
pub use start::{FirstAccount, Gateway, Options, StartError, echo};
pub use template::{STACK_NAME, Table, Template, TemplateError};
