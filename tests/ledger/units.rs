//! What a chat request costs in calls and capacity units, counted on the wire, from the authorizer to the settlement.

use std::collections::VecDeque;

use gateway_core::money::Nanos;
use serde_json::{Value, json};
use support::{
    ChatFunction,
    faults::{Count, Counts, Retries},
    on_database,
};

const REQUESTS: usize = 40;

/// USD per million tokens: so little that one refill lasts for all requests of a test.
fn cheap() -> Value {
    json!({"input": "0.01", "output": "0.04"})
}

/// These calls, with their units, for each of `requests`.
fn of_each(requests: usize, calls: &[(&str, &str, f64)]) -> Counts {
    let counts = calls.iter().map(|&(operation, table, units)| {
        ((operation.to_owned(), table.to_owned()), Count { calls: requests, units: units * requests as f64 })
    });
    counts.collect()
}

/// Adds what was counted.
fn add(sum: &mut Counts, more: Counts) {
    for (name, count) in more {
        let sum = sum.entry(name).or_default();
        sum.calls += count.calls;
        sum.units += count.units;
    }
}

#[test]
fn a_request_is_one_write_before_the_provider_and_two_after_at_three_units_with_15_in_flight() {
    on_database(async |database| {
        for in_flight in [1, 15] {
            let environment = database.environment(Retries::Standard);
            let mut chat = ChatFunction::open(environment, &database.reader(), Nanos::usd(5), cheap()).await;
            let mut running = VecDeque::new();
            for _ in 0..in_flight {
                running.push_back(chat.begin(true).await);
            }
            chat.take_counts();
            let (mut before, mut after) = (Counts::new(), Counts::new());
            for _ in 0..REQUESTS {
                let answer = chat.end(running.pop_front().unwrap()).await;
                assert!(answer.ends_with("data: [DONE]\n\n"), "{answer}");
                add(&mut after, chat.take_counts());
                running.push_back(chat.begin(true).await);
                add(&mut before, chat.take_counts());
            }
            let held = database.reader().account_standing(&chat.account).await.unwrap().unwrap();
            assert_eq!(held.lanes[0].allowance.holds.len(), in_flight, "in flight");
            let tables = &database.tables;
            let lookup_and_reserve = [("GetItem", &*tables.tokens, 0.5), ("UpdateItem", &*tables.accounts, 1.0)];
            let entry_and_end = [("PutItem", &*tables.ledger, 1.0), ("UpdateItem", &*tables.accounts, 1.0)];
            assert_eq!(before, of_each(REQUESTS, &lookup_and_reserve), "before the provider, {in_flight} in flight");
            assert_eq!(after, of_each(REQUESTS, &entry_and_end), "after the provider, {in_flight} in flight");
        }
    });
}

#[test]
fn a_whole_answer_costs_what_a_stream_does() {
    on_database(async |database| {
        let environment = database.environment(Retries::Standard);
        let mut chat = ChatFunction::open(environment, &database.reader(), Nanos::usd(5), cheap()).await;
        chat.begin(false).await;
        chat.take_counts();
        for _ in 0..REQUESTS {
            assert_eq!(chat.begin(false).await.status(), 200);
        }
        let tables = &database.tables;
        let mut each = of_each(REQUESTS, &[("GetItem", &*tables.tokens, 0.5), ("PutItem", &*tables.ledger, 1.0)]);
        add(&mut each, of_each(2 * REQUESTS, &[("UpdateItem", &*tables.accounts, 1.0)]));
        assert_eq!(chat.take_counts(), each);
    });
}

#[test]
fn a_refill_is_one_refused_write_one_read_and_one_transaction() {
    on_database(async |database| {
        let environment = database.environment(Retries::Standard);
        let price = json!({"input": "2.50", "output": "10.00"});
        let mut chat = ChatFunction::open(environment, &database.reader(), Nanos::usd(5), price).await;
        chat.begin(false).await;
        chat.take_counts();
        let requests = 600;
        for _ in 0..requests {
            assert_eq!(chat.begin(false).await.status(), 200);
        }
        let counts = chat.take_counts();
        let tables = &database.tables;
        let of = |operation: &str| counts[&(operation.to_owned(), tables.accounts.clone())];
        let refills = of("TransactWriteItems").calls;
        assert!((1..=requests / 100).contains(&refills), "{refills} refills");
        // Two items at double price, which Amazon's DynamoDB Local forgets.
        let price = if database.is_embedded() { 4.0 } else { 2.0 };
        assert_eq!(of("TransactWriteItems").units, price * refills as f64);
        assert_eq!(of("GetItem"), Count { calls: refills, units: refills as f64 });
        assert_eq!(of("UpdateItem").calls, 2 * requests + refills);
    });
}
