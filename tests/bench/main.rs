//! `cargo bench -p tests`: what the gateway costs, measured beside what it is measured against, in one run. Parts of it are
//! chosen by their names: `cargo bench -p tests -- units contention`.
//!
//! Nothing here passes or fails by time, for machines differ. What it does check: that every request was answered, and
//! that each is in the books. The provider and the gateways are processes of their own, so none shares a runtime with
//! another or with the clients; this binary starts itself again in their place.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench has no caller to tell: it prints, and stops where it can't go on"
)]

mod baseline;
mod chunk;
mod client;
mod cold;
mod contention;
mod emulation;
mod http_cost;
mod pages;
mod process;
mod provider;
mod refusals;
mod sample;
mod store_cost;
mod units;

use std::{process::ExitCode, thread, time::Instant};

/// As the `modelswitch` binary has it, whose part this one takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTS: [(&str, fn()); 7] = [
    ("http", http_cost::run),
    ("chunk", chunk::run),
    ("store", store_cost::run),
    ("units", units::run),
    ("contention", contention::run),
    ("pages", pages::run),
    // Last: it moves this process to other processors than those that it measures on.
    ("cold", cold::run),
];

fn main() -> ExitCode {
    let role = std::env::args().nth(1).unwrap_or_default();
    match role.as_str() {
        process::PROVIDER => provider::run(),
        process::GATEWAY => return process::run_gateway(),
        _ => {}
    }
    let began = now();
    println!("{}\n", machine());
    // Cargo itself adds `--bench`.
    let chosen: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, run) in PARTS {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            run();
        }
    }
    eprintln!("\n{} s", began.elapsed().as_secs());
    ExitCode::SUCCESS
}

/// The one place that reads the time.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Where the figures come from.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, name)| name);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!(
        "`cargo bench -p tests`, release build, {cores} cores of {model}; clients, gateway and provider share them."
    )
}
