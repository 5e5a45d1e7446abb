//! What the gateway adds over HTTP: the same requests to the same provider, directly and through it, in turn.
//!
//! Two gateways: one with its data in memory, one with them in a file. All else is what `modelswitch serve` does:
//! authorizer, events, hold, provider, settlement, log.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use gateway_core::money::Nanos;
use serde_json::json;

use crate::{
    client::{Ask, Load, Target, call, round},
    now,
    process::{GATEWAY, PROVIDER, Process, fresh_file},
    provider::{FRAME_BYTES, FRAMES, MODEL, Pace},
    sample::{Sample, median},
};

/// Rounds, after one to warm up.
const ROUNDS: usize = 9;
/// No new round begins after so long. A few always run.
const MOST_TIME: Duration = Duration::from_secs(130);
const FEWEST_ROUNDS: usize = 3;
/// Connections of the busy rounds, and keys that share them.
const BUSY: u32 = 32;
const KEYS: usize = 8;

/// What a gateway's account begins with, and what each request costs: the provider always counts the same.
const CREDIT: Nanos = Nanos::usd(1000);
const COST_NANOS: i64 = 12 * 100 + FRAMES as i64 * 400;

/// Who answers: the provider itself, or a gateway in front of it.
struct Arm {
    target: Target,
    gateway: Option<Gateway>,
    samples: [Vec<Sample>; LOADS.len()],
}

struct Gateway {
    process: Process,
    billing_key: String,
    /// Requests so far, by load, and the processor time that went into them.
    asked: [u32; LOADS.len()],
    busy: [Duration; LOADS.len()],
    peaks_mib: Vec<f64>,
}

/// The loads, and what they are called in the table.
const LOADS: [(&str, Load); 6] = [
    ("whole answer, 1 connection", Load { ask: Ask::Whole, pace: Pace::AtOnce, connections: 1, requests: 400 }),
    (
        "first content of a stream, 1 connection",
        Load { ask: Ask::Stream, pace: Pace::FirstAlone, connections: 1, requests: 100 },
    ),
    (
        "whole answer after 50 ms, 32 connections",
        Load { ask: Ask::Whole, pace: Pace::Model, connections: BUSY, requests: 8 },
    ),
    (
        "first content of a stream with 1 ms between frames, 32 connections",
        Load { ask: Ask::Stream, pace: Pace::Model, connections: BUSY, requests: 3 },
    ),
    (
        "whole answer, 32 connections that never rest",
        Load { ask: Ask::Whole, pace: Pace::AtOnce, connections: BUSY, requests: 50 },
    ),
    (
        "stream, 32 connections that never rest",
        Load { ask: Ask::Stream, pace: Pace::AtOnce, connections: BUSY, requests: 10 },
    ),
];
/// The loads of one connection come first: the peaks of memory are then those of one, and of many.
const QUIET: Range<usize> = 0..2;
const ALL_BUSY: Range<usize> = 2..6;
/// The loads whose times are shown: of the last one the first content says nothing, for all wait for the processors.
const TIMED: Range<usize> = 0..5;
/// The loads that show how much goes through.
const FULL: Range<usize> = 4..6;

/// Measures and prints the table.
pub(crate) fn run() {
    let provider = Process::start(&[PROVIDER], "provider.log");
    let url = provider.ready["url"].as_str().unwrap();
    let file = fresh_file("gateway.db");
    let mut arms = [
        Arm::direct(url),
        Arm::gateway(url, "memory", &["--ephemeral"]),
        Arm::gateway(url, "file", &["--data", file.to_str().unwrap()]),
    ];
    let began = now();
    let quiet = rounds(&mut arms, QUIET, began, MOST_TIME / 3);
    let busy = rounds(&mut arms, ALL_BUSY, began, MOST_TIME);
    arms.iter().filter_map(|arm| arm.gateway.as_ref()).for_each(Gateway::check_books);
    print(&arms, quiet, busy);
    fresh_file("gateway.db");
}

/// Round after round of these loads, each load at every arm in turn. How many rounds there were.
fn rounds(arms: &mut [Arm], loads: Range<usize>, began: Instant, most_time: Duration) -> usize {
    let mut done = 0;
    // The first is not counted.
    for n in 0..=ROUNDS {
        if n > FEWEST_ROUNDS && began.elapsed() > most_time {
            break;
        }
        for load in loads.clone() {
            for arm in &mut *arms {
                let sample = arm.round(load);
                if n > 0 {
                    arm.samples[load].push(sample);
                }
            }
        }
        done = n;
    }
    for gateway in arms.iter_mut().filter_map(|arm| arm.gateway.as_mut()) {
        gateway.peaks_mib.push(gateway.process.peak_mib());
    }
    done
}

impl Arm {
    fn direct(url: &str) -> Self {
        let target = Target { address: address(url), model: MODEL.to_owned(), tokens: vec!["none".to_owned()] };
        Self { target, gateway: None, samples: Default::default() }
    }

    fn gateway(provider: &str, name: &str, data: &[&str]) -> Self {
        let provider = format!("bench={provider}");
        let serve = [GATEWAY, "serve", "--port", "0", "--json", "--provider", &provider, "--price", "bench=0.10,0.40"];
        let credit = ["--credit", "1000"];
        let process = Process::start(&[&serve[..], &credit, data].concat(), &format!("gateway-{name}.log"));
        let address = address(process.ready["url"].as_str().unwrap());
        let billing_key = process.ready["billing_key"].as_str().unwrap().to_owned();
        // The limit of a key is not what is measured here.
        let key = json!({"name": "bench", "rate_limit": {"requests": 4_000_000, "interval": "1d"}}).to_string();
        let key = || call(&address, "POST", "/api/keys", &billing_key, &key)["key"].as_str().unwrap().to_owned();
        let tokens = (0..KEYS).map(|_| key()).collect();
        let peaks_mib = vec![process.peak_mib()];
        Self {
            target: Target { address, model: format!("bench/{MODEL}"), tokens },
            gateway: Some(Gateway {
                process,
                billing_key,
                asked: [0; LOADS.len()],
                busy: [Duration::ZERO; LOADS.len()],
                peaks_mib,
            }),
            samples: Default::default(),
        }
    }

    fn round(&mut self, load: usize) -> Sample {
        let (_, load_of) = LOADS[load];
        let busy_before = self.gateway.as_ref().map(|gateway| gateway.process.busy());
        let sample = round(&self.target, load_of);
        if let (Some(gateway), Some(before)) = (&mut self.gateway, busy_before) {
            gateway.busy[load] += gateway.process.busy() - before;
            // One more for each connection to warm up.
            gateway.asked[load] += load_of.connections * (load_of.requests + 1);
        }
        sample
    }

    /// The middle of what the rounds of a load say.
    fn of(&self, load: usize, measure: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples[load].iter().map(measure))
    }
}

impl Gateway {
    /// Every request must have been held, settled and charged: whatever is faster without that is not the gateway.
    fn check_books(&self) {
        let address = address(self.process.ready["url"].as_str().unwrap());
        let balance = call(&address, "GET", "/api/balance", &self.billing_key, "");
        let usd = |field: &str| Nanos::parse_usd(&balance[field].to_string()).unwrap();
        let charged = i64::from(self.asked()) * COST_NANOS;
        assert_eq!((usd("balance"), usd("held")), (Nanos(CREDIT.0 - charged), Nanos::ZERO), "the books");
    }

    fn asked(&self) -> u32 {
        self.asked.iter().sum()
    }

    fn busy_ms(&self, load: usize) -> f64 {
        self.busy[load].as_secs_f64() * 1000.0 / f64::from(self.asked[load])
    }
}

fn address(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches("/v1").to_owned()
}

fn print(arms: &[Arm; 3], quiet: usize, busy: usize) {
    println!(
        "| {FRAMES} frames of {FRAME_BYTES} bytes a stream | direct | data in memory | added | data in a file | added |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    for load in TIMED {
        for percent in [50, 99] {
            let row = Row { name: format!("{}, p{percent}", LOADS[load].0), load };
            row.print(arms, |sample| sample.percentile_ms(percent), |ms| format!("{ms:.3} ms"), added);
        }
    }
    for load in FULL {
        let row = Row { name: format!("{}: per second", LOADS[load].0), load };
        row.print(arms, |sample| sample.per_second, |rate| format!("{rate:.0}"), ratio);
        let name = format!("{}: gateway's processor time for each", LOADS[load].0);
        print_gateways(arms, &name, |gateway| format!("{:.3} ms", gateway.busy_ms(load)));
    }
    for (n, when) in ["at start", "after 1 connection", "after 32 connections"].into_iter().enumerate() {
        let peak = |gateway: &Gateway| format!("{:.0} MiB", gateway.peaks_mib[n]);
        print_gateways(arms, &format!("gateway's peak memory {when}"), peak);
    }
    let asked = arms.iter().find_map(|arm| arm.gateway.as_ref()).map_or(0, Gateway::asked);
    println!(
        "\nMedians of {quiet} rounds with one connection and {busy} with {BUSY}; in each round the three take turns. \
         {asked} requests went through each gateway, each held, settled and in the ledger.\n"
    );
}

fn print_gateways(arms: &[Arm; 3], name: &str, show: impl Fn(&Gateway) -> String) {
    let [_, memory, file] = arms.each_ref().map(|arm| arm.gateway.as_ref().map(&show).unwrap_or_default());
    println!("| {name} | | {memory} | | {file} | |");
}

struct Row {
    name: String,
    load: usize,
}

impl Row {
    fn print(
        &self,
        arms: &[Arm; 3],
        measure: impl Fn(&Sample) -> f64 + Copy,
        show: impl Fn(f64) -> String,
        compare: impl Fn(f64, f64) -> String,
    ) {
        let [direct, memory, file] = arms.each_ref().map(|arm| arm.of(self.load, measure));
        let (by_memory, by_file) = (compare(direct, memory), compare(direct, file));
        println!("| {} | {} | {} | {by_memory} | {} | {by_file} |", self.name, show(direct), show(memory), show(file));
    }
}

fn added(direct: f64, through: f64) -> String {
    format!("{:+.3} ms", through - direct)
}

fn ratio(direct: f64, through: f64) -> String {
    format!("×{:.3}", through / direct)
}
