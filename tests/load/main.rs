//! Many clients at once, over HTTP: what was charged is what the providers served, to the nano-dollar, whatever fails, leaves
//! or dies meanwhile.
//!
//! A run prints its seed. `LOAD_SEED` takes one again, `LOAD_REQUESTS` and `LOAD_KILLS` make a longer run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on fails")]
#![expect(clippy::print_stdout, reason = "a test that fails shows its seed and what it saw")]

mod billed_over;
mod books;
mod http_concurrency;
mod plan;
mod provider;
mod sigkill;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is behind a lock, also after a test has failed.
fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A whole number from the environment, or `default`.
fn setting(name: &str, default: u64) -> u64 {
    gateway_lambda::environment(name).map_or(default, |text| text.parse().unwrap())
}

/// The seed of this run: the environment's, or a new one. It is printed, to be taken again.
fn seed(test: &str) -> u64 {
    let seed = setting("LOAD_SEED", u64::from_be_bytes(gateway_store::random().unwrap()));
    println!("{test}: LOAD_SEED={seed}");
    seed
}
