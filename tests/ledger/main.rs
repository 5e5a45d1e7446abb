//! The books, proven: see the modules.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod audit;
mod faults;
mod units;
