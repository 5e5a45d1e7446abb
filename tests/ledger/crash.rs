//! A crash between any two writes: each command that makes several calls, in a state in which it makes the most of them,
//! dies at its first call, at its second, and so on; or every reply from there on is lost. Then another environment does
//! the same again, time passes, and the scheduled function sweeps. After each step the model and all invariants.

use gateway_core::{
    limits::{Interval, RateLimit},
    moment::Reset,
};
use support::{
    faults::{Fate, Lost},
    on_database,
};

use crate::{
    command::{Act, Command, Fault, Wait},
    random::live,
};

/// No command makes more calls.
const MOST_CALLS: usize = 40;
/// An environment whose SDK does not try again.
const IMPATIENT: usize = 1;

/// A command that nothing happens to.
pub(crate) fn well(act: Act) -> Command {
    Command { act, environment: 0, behind_ms: 0, faults: Vec::new() }
}

pub(crate) fn credit(amount: i64) -> Command {
    well(Act::Credit { amount, payment: true })
}

pub(crate) fn place(key: usize, amount: i64, lasts_s: u64) -> Command {
    well(Act::Place { key, amount, lasts_s })
}

pub(crate) fn wait_s(seconds: u64) -> Command {
    well(Act::Wait(Wait::Ms(seconds * 1000)))
}

pub(crate) fn rate(key: usize, requests: u32) -> Act {
    Act::Rate { key, rate: RateLimit { requests, interval: Interval { seconds: 1 } } }
}

/// Runs `act` after `before`, disturbed at each of its calls.
fn disturbed(before: &[Command], act: &Act) {
    on_database(async |database| {
        let ways = [
            (0, 1, Fate::Crash),
            (IMPATIENT, 1, Fate::ReplyLost(Lost::TimedOut)),
            (0, 60, Fate::ReplyLost(Lost::Internal)),
        ];
        // Where each call crosses a network, the most telling alone.
        let ways = if database.is_embedded() { &ways[..] } else { &ways[..1] };
        for &(environment, calls, fate) in ways {
            for from in 0..MOST_CALLS {
                let faults = vec![Fault { from, calls, fate }];
                let dies = Command { environment, faults, ..well(act.clone()) };
                let again = Command { environment: 2, ..well(act.clone()) };
                let after = [dies, again.clone(), wait_s(120), again, well(Act::Sweep)];
                match live(database, &[before, &after].concat()).await {
                    Ok(called) if called[before.len()] <= from => break,
                    Ok(_) => {}
                    Err(wrong) => panic!("{fate:?} at call {from}, after command {}: {}", wrong.after, wrong.said),
                }
                assert!(from + 1 < MOST_CALLS, "{act:?} makes more calls");
            }
        }
    });
}

#[test]
fn a_hold_that_needs_a_refill_survives_a_crash_anywhere() {
    disturbed(&[credit(1_000)], &Act::Place { key: 0, amount: 300, lasts_s: 90 });
}

#[test]
fn a_hold_that_calls_idle_funds_back_survives_a_crash_anywhere() {
    let idle = [credit(1_000), place(0, 800, 90), well(Act::Release { hold: 0 })];
    disturbed(&idle, &Act::Place { key: 1, amount: 900, lasts_s: 90 });
}

#[test]
fn a_hold_that_begins_a_period_survives_a_crash_anywhere() {
    let spent = [
        credit(1_000),
        well(Act::Limit { key: 0, limit: Some(500) }),
        well(Act::Reset { key: 0, reset: Some(Reset::Daily) }),
        place(0, 400, 90),
        well(Act::Finish { hold: 0, percent: 100 }),
        well(Act::Wait(Wait::Midnights(1))),
    ];
    disturbed(&spent, &Act::Place { key: 0, amount: 400, lasts_s: 90 });
}

#[test]
fn a_hold_that_ends_dead_requests_holds_survives_a_crash_anywhere() {
    let dead = [credit(1_000), place(0, 300, 30), place(0, 200, 30), place(1, 400, 30), wait_s(60)];
    disturbed(&dead, &Act::Place { key: 0, amount: 1_000, lasts_s: 90 });
}

#[test]
fn a_charge_survives_a_crash_anywhere() {
    disturbed(&[credit(1_000), place(0, 300, 90)], &Act::Settle { hold: 0, percent: 40 });
}

#[test]
fn a_charge_over_its_hold_survives_a_crash_anywhere() {
    let idle = [credit(1_000), place(1, 600, 90), well(Act::Release { hold: 0 }), place(0, 100, 90)];
    disturbed(&idle, &Act::Finish { hold: 0, percent: 700 });
}

#[test]
fn giving_a_hold_back_survives_a_crash_anywhere() {
    disturbed(&[credit(1_000), place(0, 300, 90)], &Act::Release { hold: 0 });
}

#[test]
fn a_credit_survives_a_crash_anywhere() {
    disturbed(&[credit(1_000)], &Act::CreditAgain { credit: 0 });
    disturbed(&[], &Act::Credit { amount: 70, payment: true });
}

#[test]
fn what_is_booked_of_a_payment_survives_a_crash_anywhere() {
    disturbed(&[], &Act::Pay { amount: 70 });
    let paid = || well(Act::Pay { amount: 1_000 });
    disturbed(&[paid()], &Act::Refund { payment: 0, percent: 40 });
    disturbed(&[paid()], &Act::Dispute { payment: 0, percent: 100, won: false });
    disturbed(&[paid()], &Act::Dispute { payment: 0, percent: 100, won: true });
    disturbed(&[paid(), well(Act::Refund { payment: 0, percent: 40 })], &Act::BookAgain { booking: 0 });
}

#[test]
fn a_refund_of_what_is_spent_held_and_idle_survives_a_crash_anywhere() {
    let lanes = (0..4).map(|n| place(1, 10 + n, 90));
    let spread: Vec<_> = [
        well(Act::Pay { amount: 2_000 }),
        place(0, 300, 90),
        well(Act::Finish { hold: 0, percent: 100 }),
        place(0, 700, 90),
        place(0, 100, 90),
        well(Act::Release { hold: 1 }),
        well(rate(1, 900)),
    ]
    .into_iter()
    .chain(lanes)
    .collect();
    disturbed(&spread, &Act::Refund { payment: 0, percent: 100 });
    disturbed(&spread, &Act::Dispute { payment: 0, percent: 100, won: false });
    let owing = [&spread[..], &[well(Act::Refund { payment: 0, percent: 100 })]].concat();
    for act in [
        Act::Place { key: 0, amount: 1, lasts_s: 90 },
        Act::Pay { amount: 500 },
        Act::Finish { hold: 0, percent: 400 },
        Act::Limit { key: 1, limit: Some(500) },
    ] {
        disturbed(&owing, &act);
    }
    let paid = [&owing[..], &[well(Act::Pay { amount: 500 })]].concat();
    disturbed(&paid, &Act::Place { key: 0, amount: 1, lasts_s: 90 });
}

#[test]
fn changes_of_a_key_survive_a_crash_anywhere() {
    let busy = [credit(1_000), place(0, 300, 90), place(0, 100, 90), well(Act::Finish { hold: 0, percent: 50 })];
    for act in [
        Act::Limit { key: 0, limit: Some(320) },
        Act::Reset { key: 0, reset: Some(Reset::Weekly) },
        Act::Switch { key: 0, active: false },
        Act::Delete { key: 0 },
        Act::Create { limit: Some(5), reset: None, rate: RateLimit::default() },
    ] {
        disturbed(&busy, &act);
    }
}

#[test]
fn opening_and_folding_lanes_survives_a_crash_anywhere() {
    let one_lane = [credit(1_000), place(0, 100, 90)];
    disturbed(&one_lane, &rate(0, 900));
    let lanes = (0..8).map(|n| place(0, 10 + n, 90));
    let four_lanes: Vec<_> = [credit(1_000), well(rate(0, 900))].into_iter().chain(lanes).collect();
    disturbed(&four_lanes, &Act::Limit { key: 0, limit: Some(500) });
}

#[test]
fn a_sweep_survives_a_crash_anywhere() {
    let dead =
        [credit(1_000), place(0, 300, 30), place(1, 200, 30), well(Act::Switch { key: 1, active: false }), wait_s(60)];
    disturbed(&dead, &Act::Sweep);
}
