//! What the random commands and those who read the code have found once: each as the shortest story that showed it.

use gateway_core::{
    ids::KeyId,
    ledger::EntryKind,
    limits::{Interval, RateLimit},
    moment::Reset,
    money::Nanos,
};
use gateway_store::{Credit, HoldOutcome, HoldRequest, KeyChange};
use support::{
    faults::{Fate, Lost, Refused, Retries},
    on_database,
};

use crate::{
    command::{Act, Command, Fault, Wait},
    crash::{credit, place, wait_s, well},
    random::live,
    world::{START, World, served},
};

fn holds(story: &[Command]) {
    on_database(async |database| {
        if let Err(wrong) = live(database, story).await {
            panic!("after command {}: {}", wrong.after, wrong.said);
        }
    });
}

/// The same by another environment, which has seen nothing yet.
fn elsewhere(act: Act) -> Command {
    Command { environment: 1, ..well(act) }
}

fn behind(behind_ms: u64, act: Act) -> Command {
    Command { behind_ms, ..well(act) }
}

#[test]
fn a_request_delivered_again_after_its_charge_is_charged_once() {
    let finish = || well(Act::Finish { hold: 0, percent: 60 });
    let again = || elsewhere(Act::PlaceAgain { request: 0, amount: 100 });
    holds(&[credit(1_000), place(0, 100, 90), again(), finish(), again(), finish(), again(), wait_s(200)]);
}

#[test]
fn a_credit_whose_reply_was_lost_and_whose_next_try_met_another_is_told_as_done() {
    let lost = Fault { from: 0, calls: 1, fate: Fate::ReplyLost(Lost::TimedOut) };
    let met = Fault { from: 1, calls: 1, fate: Fate::Refused(Refused::Conflict) };
    holds(&[Command { faults: vec![lost, met], ..credit(1_000) }]);
}

#[test]
fn a_release_that_comes_again_leaves_a_later_delivery_s_hold_alone() {
    let story = [
        credit(1_000),
        place(0, 100, 90),
        well(Act::Release { hold: 0 }),
        elsewhere(Act::PlaceAgain { request: 0, amount: 100 }),
        well(Act::Release { hold: 1 }),
        elsewhere(Act::Finish { hold: 0, percent: 50 }),
    ];
    holds(&story);
}

#[test]
fn a_clock_behind_at_midnight_brings_no_old_period_back() {
    let place = |behind_ms| behind(behind_ms, Act::Place { key: 0, amount: 90, lasts_s: 30 });
    let story = [
        credit(1_000),
        well(Act::Limit { key: 0, limit: Some(100) }),
        well(Act::Reset { key: 0, reset: Some(Reset::Daily) }),
        well(Act::Wait(Wait::Midnights(1))),
        place(0),
        well(Act::Finish { hold: 0, percent: 100 }),
        place(3_000),
        place(0),
    ];
    holds(&story);
}

#[test]
fn whoever_knows_a_longer_reset_than_there_is_begins_the_period_all_the_same() {
    let story = [
        credit(1_000),
        well(Act::Limit { key: 0, limit: Some(100) }),
        well(Act::Reset { key: 0, reset: Some(Reset::Monthly) }),
        place(0, 50, 30),
        well(Act::Finish { hold: 0, percent: 100 }),
        well(Act::Wait(Wait::Midnights(2))),
        place(0, 10, 30),
        elsewhere(Act::Reset { key: 0, reset: Some(Reset::Daily) }),
        well(Act::Wait(Wait::Midnights(1))),
        place(0, 20, 30),
        elsewhere(Act::Place { key: 0, amount: 90, lasts_s: 30 }),
    ];
    holds(&story);
}

#[test]
fn a_cost_over_the_hold_of_a_key_over_its_limit_is_charged_as_far_as_it_is_held() {
    let story = [
        credit(1_000),
        place(0, 500, 90),
        well(Act::Limit { key: 0, limit: Some(300) }),
        well(Act::Finish { hold: 0, percent: 200 }),
    ];
    holds(&story);
}

#[test]
fn a_dead_request_s_hold_does_not_count_against_the_limit() {
    holds(&[
        credit(1_000),
        well(Act::Limit { key: 0, limit: Some(100) }),
        place(0, 90, 30),
        wait_s(60),
        place(0, 90, 30),
    ]);
}

#[test]
fn a_request_held_in_two_lanes_loses_nothing_when_they_are_folded() {
    on_database(async |database| {
        let mut world = World::open(database).await;
        let store = &database.environment(Retries::Standard).store;
        let key = KeyId(1);
        let (account, credited) = (world.account.clone(), world.fresh_id());
        let credit =
            Credit { id: credited, kind: EntryKind::Payment, amount: Nanos(1_000), description: String::new() };
        store.account_credit(&account, &credit).await.unwrap();
        let ids: Vec<_> = (0..8).map(|_| world.fresh_id()).collect();
        let mut held = Vec::new();
        let fast = RateLimit { requests: 900, interval: Interval { seconds: 1 } };
        for rate_limit in [RateLimit::default(), fast] {
            let change = KeyChange { rate_limit: Some(rate_limit), ..KeyChange::default() };
            store.key_update(&account, key, &change, START).await.unwrap();
            for id in &ids {
                let models = [vec!["books/chat".to_owned()]];
                let (amount, expires) = (Nanos(10), START.plus_ms(90_000));
                let wanted = HoldRequest { account: &account, key, id, models: &models, amount, at: START, expires };
                match store.hold_place(&wanted).await.unwrap() {
                    HoldOutcome::Held(hold) => held.push((hold, id)),
                    outcome => assert!(matches!(outcome, HoldOutcome::AlreadyHeld), "{outcome:?}"),
                }
            }
        }
        assert!(held.len() > ids.len(), "no request came to a lane that did not hold it");
        // An item holds a request once: the lanes are not folded before one of the two holds has ended.
        let limited = KeyChange { spend_limit: Some(Some(Nanos(500))), ..KeyChange::default() };
        let refused = store.key_update(&account, key, &limited, START).await.unwrap_err();
        assert!(refused.detail.contains("held in two lanes"), "{refused}");
        world.read().await.check().unwrap();
        for (hold, _) in &held {
            store.hold_settle(hold, Nanos(7), served(key, Nanos(7), Nanos::ZERO)).await.unwrap();
        }
        let books = world.read().await;
        books.check().unwrap();
        assert_eq!((books.sold(key), books.standing.held()), (Nanos(56), Nanos::ZERO));
        store.key_update(&account, key, &limited, START).await.unwrap();
        world.read().await.check().unwrap();
    });
}
