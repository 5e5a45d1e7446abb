//! What a chat request costs in DynamoDB calls and capacity units: counted on the wire, through authorizer and function.
//!
//! The units are what the database says it used. The embedded engine works them out from the items' sizes by DynamoDB's
//! own rules. A refused write is the exception: it costs what it would have, and no answer says so; it is added here.

use std::collections::VecDeque;

use gateway_core::money::Nanos;
use serde_json::json;
use support::{
    ChatFunction,
    faults::{Counts, Retries},
    on_database,
};

const REQUESTS: usize = 200;
/// A long run ends after so many, or when the account is empty.
const LONG_RUN: usize = 5_000;

/// Measures and prints the tables.
pub(crate) fn run() {
    on_database(async |database| {
        println!("| DynamoDB, for each chat request | calls | write units | read units |");
        println!("|---|--:|--:|--:|");
        for in_flight in [1, 15] {
            let environment = database.environment(Retries::Standard);
            let mut chat = open(environment, &database.reader(), 500).await;
            let (before, after) = steady(&mut chat, in_flight).await;
            let mut sum = before.clone();
            add(&mut sum, &after);
            for (when, counts) in [("before the provider", &before), ("after its answer", &after), ("in all", &sum)] {
                print_row(&format!("{in_flight} in flight, {when}"), counts);
            }
        }
        println!("\n| a long run, refills included | requests | requests per refill | write units | read units |");
        println!("|---|--:|--:|--:|--:|");
        for usd in [5, 500] {
            let environment = database.environment(Retries::Standard);
            let mut chat = open(environment, &database.reader(), usd).await;
            long_run(&mut chat, usd).await;
        }
        println!();
    });
}

/// The function and an account with so many USD, at the prices of a large model: 2.50 and 10 USD per million tokens.
async fn open(environment: support::Environment, reader: &gateway_store::Store, usd: i64) -> ChatFunction {
    let price = json!({"input": "2.50", "output": "10.00"});
    ChatFunction::open(environment, reader, Nanos::usd(usd), price).await
}

/// What `REQUESTS` cost, each begun when so many are in flight with it: before their provider is asked, and after.
async fn steady(chat: &mut ChatFunction, in_flight: usize) -> (Counts, Counts) {
    let mut running = VecDeque::new();
    // The first refill lasts for more requests than are counted.
    for _ in 0..in_flight {
        running.push_back(chat.begin(true).await);
    }
    chat.take_counts();
    let (mut before, mut after) = (Counts::new(), Counts::new());
    for _ in 0..REQUESTS {
        if let Some(answer) = running.pop_front() {
            chat.end(answer).await;
        }
        add(&mut after, &chat.take_counts());
        running.push_back(chat.begin(true).await);
        add(&mut before, &chat.take_counts());
    }
    (before, after)
}

async fn long_run(chat: &mut ChatFunction, usd: i64) {
    let mut requests = 0;
    while requests < LONG_RUN && chat.begin(false).await.status() == 200 {
        requests += 1;
    }
    let counts = chat.take_counts();
    let calls = |operation: &str| counts_of(&counts, operation).0;
    let refills = calls("TransactWriteItems");
    // Of a request's updates two are done: what is more was refused, at a unit each.
    let refused = calls("UpdateItem") - 2 * requests;
    let (writes, reads) = units(&counts);
    let each = |units: f64| units / requests as f64;
    println!(
        "| {usd} USD | {requests} | {:.0} | {:.3} | {:.3} |",
        requests as f64 / refills as f64,
        each(writes + refused as f64),
        each(reads)
    );
}

fn print_row(name: &str, counts: &Counts) {
    let operations: Vec<_> = ["GetItem", "Query", "PutItem", "UpdateItem", "TransactWriteItems"]
        .into_iter()
        .filter_map(|operation| {
            let calls = counts_of(counts, operation).0;
            (calls > 0).then(|| format!("{} {operation}", calls as f64 / REQUESTS as f64))
        })
        .collect();
    let (writes, reads) = units(counts);
    let each = |units: f64| units / REQUESTS as f64;
    println!("| {name} | {} | {} | {} |", operations.join(", "), each(writes), each(reads));
}

/// The calls and the units of an operation on all tables.
fn counts_of(counts: &Counts, operation: &str) -> (usize, f64) {
    let of = counts.iter().filter(|((known, _), _)| known == operation);
    of.fold((0, 0.0), |(calls, units), (_, count)| (calls + count.calls, units + count.units))
}

/// Write units and read units.
fn units(counts: &Counts) -> (f64, f64) {
    let reads = ["GetItem", "Query"].map(|operation| counts_of(counts, operation).1).iter().sum();
    (counts.values().map(|count| count.units).sum::<f64>() - reads, reads)
}

fn add(sum: &mut Counts, more: &Counts) {
    for (name, count) in more {
        let sum = sum.entry(name.clone()).or_default();
        sum.calls += count.calls;
        sum.units += count.units;
    }
}
