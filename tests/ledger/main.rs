//! The books, proven (design/money.md): a model of them, and the real store driven by the same commands, on a database on
//! which calls fail, get lost and come twice, and in environments that die.
//!
//! `LEDGER_DATABASE` chooses the database; see `support::Database`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod audit;
mod books;
mod command;
mod conformance;
mod crash;
mod faults;
mod known;
mod model;
mod payments;
mod people;
mod possible;
mod random;
mod together;
mod units;
mod world;
