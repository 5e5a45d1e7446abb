//! What is true: the gateway's rules.
//!
//! Nothing in this crate does I/O: no network, database, clock, randomness or environment. Time and random bytes come in
//! as arguments, so every function here gives the same answer for the same input and cannot fail for want of a service.
//! Float arithmetic is denied: money is integers from the first digit to the last.
#![deny(clippy::float_arithmetic)]

pub mod audit;
pub mod catalogue;
pub mod csv;
pub mod error;
pub mod ids;
pub mod key_rules;
pub mod ledger;
pub mod limits;
pub mod low_balance;
pub mod meter;
pub mod moment;
pub mod money;
pub mod offer;
pub mod payment;
pub mod people;
pub mod pricing;
pub mod routing;
pub mod settings;
pub mod sse;
pub mod token;
pub mod transaction;
pub mod usage;
pub mod wire;
