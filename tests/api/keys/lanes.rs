//! Very busy keys, whose allowance is spread over lanes.

use std::collections::BTreeSet;

use gateway_core::{
    ids::{KeyId, RequestId},
    ledger::Served,
    limits::{Interval, RateLimit},
    moment::Reset,
    money::Nanos,
    token::KeyType,
    usage::{Metered, Usage},
};
use gateway_store::{HoldOutcome, HoldRequest, KeyChange, KeyRecord, PlacedHold, UpdateOutcome, random};
use http::Method;
use serde_json::json;
use support::{Client, TestGateway};
use tokio::task::JoinSet;

const CENT: Nanos = Nanos(10_000_000);

fn per_second(requests: u32) -> RateLimit {
    RateLimit { requests, interval: Interval { seconds: 1 } }
}

async fn busy_key(gateway: &TestGateway, requests: u32) -> (KeyId, Client) {
    gateway.key(KeyType::Proxy, |new| new.rate_limit = per_second(requests)).await
}

async fn place(gateway: &TestGateway, key: KeyId, amount: Nanos) -> HoldOutcome {
    let at = gateway.clock().now();
    let id = RequestId::new(at, random().unwrap());
    let expires = at.plus_ms(960_000);
    let models = [vec!["m".to_owned()]];
    let wanted = HoldRequest { account: &gateway.account, key, id: &id, models: &models, amount, at, expires };
    gateway.store().hold_place(&wanted).await.unwrap()
}

async fn placed(gateway: &TestGateway, key: KeyId, amount: Nanos) -> PlacedHold {
    match place(gateway, key, amount).await {
        HoldOutcome::Held(hold) => hold,
        other => panic!("{other:?}"),
    }
}

async fn settle(gateway: &TestGateway, key: KeyId, hold: &PlacedHold, cost: Nanos) {
    let metered = Metered { usage: Usage::default(), estimated: false };
    let (model, provider) = ("m".to_owned(), "p".to_owned());
    let served = Served { key, model, provider, metered, unpaid: Nanos::ZERO, duration_ms: None };
    gateway.store().hold_settle(hold, cost, served).await.unwrap();
}

async fn change(gateway: &TestGateway, key: KeyId, change: KeyChange) -> KeyRecord {
    let now = gateway.clock().now();
    match gateway.store().key_update(&gateway.account, key, &change, now).await.unwrap() {
        UpdateOutcome::Updated(key) => *key,
        other => panic!("{other:?}"),
    }
}

async fn lanes(gateway: &TestGateway, key: KeyId) -> Vec<KeyRecord> {
    gateway.standing().await.lanes.into_iter().filter(|lane| lane.id == key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_together_take_the_rate_limit_and_not_one_more() {
    let gateway = TestGateway::start().await;
    let (key, _) = busy_key(&gateway, 601).await;
    assert_eq!(lanes(&gateway, key).await.len(), 3);
    let mut held = 0;
    for _ in 0..640 {
        match place(&gateway, key, Nanos(1)).await {
            HoldOutcome::Held(_) => held += 1,
            HoldOutcome::RateLimited(rate) => assert_eq!((rate.limit, rate.remaining, rate.reset_s), (601, 0, 1)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(held, 601);
    let used: Vec<_> = lanes(&gateway, key).await.iter().map(|lane| lane.allowance.holds.len()).collect();
    assert_eq!(used, [201, 200, 200]);
    gateway.clock().advance_ms(1000);
    assert!(matches!(place(&gateway, key, Nanos(1)).await, HoldOutcome::Held(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laned_key_is_one_key_to_its_users() {
    let gateway = TestGateway::start().await;
    let (key, client) = busy_key(&gateway, 4000).await;
    let mut charged = Nanos::ZERO;
    for n in 1..=40 {
        let hold = placed(&gateway, key, CENT).await;
        settle(&gateway, key, &hold, Nanos(n)).await;
        charged += Nanos(n);
    }
    let busy = lanes(&gateway, key).await.iter().filter(|lane| lane.allowance.spent > Nanos::ZERO).count();
    assert!(busy > 8, "{busy} of 16 lanes were used");
    let info = client.get("/v1/auth/key").await.json()["data"].clone();
    assert_eq!(info["usage"], json!(charged));
    assert_eq!(info["rate_limit"], json!({"requests": 4000, "interval": "1s"}));
    let shown = gateway.billing.get(&format!("/api/keys/{key}")).await.json();
    assert_eq!(shown["spent"], json!(charged));
    let listed = gateway.billing.get("/api/keys").await.json();
    let ids: Vec<_> = listed["keys"].as_array().unwrap().iter().map(|key| key["id"].clone()).collect();
    assert_eq!(ids.len(), ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), "each key once");
    gateway.books_balance(charged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn funds_of_idle_lanes_pay_before_a_402() {
    let gateway = TestGateway::with_credit("1").await;
    let (key, _) = busy_key(&gateway, 1000).await;
    let mut holds = Vec::new();
    for _ in 0..100 {
        holds.push(placed(&gateway, key, CENT).await);
    }
    assert!(matches!(place(&gateway, key, Nanos(1)).await, HoldOutcome::InsufficientFunds { free: Nanos(0), .. }));
    for hold in &holds {
        gateway.store().hold_release(hold).await;
    }
    assert!(matches!(place(&gateway, key, Nanos::usd(1)).await, HoldOutcome::Held(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spend_limit_counts_what_every_lane_spent_and_holds() {
    let gateway = TestGateway::start().await;
    let (key, _) = busy_key(&gateway, 1000).await;
    change(&gateway, key, KeyChange { reset: Some(Some(Reset::Daily)), ..KeyChange::default() }).await;
    let mut holds = Vec::new();
    for _ in 0..150 {
        holds.push(placed(&gateway, key, CENT).await);
    }
    for hold in holds.drain(..50) {
        settle(&gateway, key, &hold, CENT).await;
    }
    // 0.50 USD are spent, 1 USD is held.
    let limit = Some(Some(Nanos::usd(2)));
    let limited = change(&gateway, key, KeyChange { spend_limit: limit, ..KeyChange::default() }).await;
    let now = gateway.clock().now();
    assert_eq!(limited.allowance.period_spent(now), Nanos(500_000_000));
    assert_eq!(limited.allowance.limit_remaining(now), Some(Nanos(500_000_000)));
    assert_eq!(lanes(&gateway, key).await.len(), 1, "a limit is one number");
    let over = place(&gateway, key, Nanos(500_000_001)).await;
    assert!(matches!(over, HoldOutcome::SpendLimitReached { left: Nanos(500_000_000) }), "{over:?}");
    // Holds that were placed in a lane that is gone are settled where they are now.
    for hold in holds {
        settle(&gateway, key, &hold, Nanos(4_000_000)).await;
    }
    let key_now = gateway.store().key(&gateway.account, key).await.unwrap().unwrap();
    assert_eq!(key_now.allowance.spent, Nanos(900_000_000));
    assert_eq!(key_now.allowance.limit_left, Nanos(1_100_000_000));
    gateway.books_balance(Nanos(900_000_000)).await;
    let unlimited = change(&gateway, key, KeyChange { spend_limit: Some(None), ..KeyChange::default() }).await;
    assert_eq!(unlimited.allowance.spent, Nanos(900_000_000));
    assert_eq!(lanes(&gateway, key).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_open_and_fold_under_traffic_and_the_books_balance() {
    let gateway = std::sync::Arc::new(TestGateway::start().await);
    let (key, _) = busy_key(&gateway, 4000).await;
    let mut traffic = JoinSet::new();
    for _ in 0..8 {
        let gateway = gateway.clone();
        traffic.spawn(async move {
            let mut charged = Nanos::ZERO;
            for n in 0..40 {
                let hold = placed(&gateway, key, Nanos(1000)).await;
                if n % 3 == 0 {
                    gateway.store().hold_release(&hold).await;
                } else {
                    settle(&gateway, key, &hold, Nanos(n)).await;
                    charged += Nanos(n);
                }
            }
            charged
        });
    }
    for round in 0..6 {
        let limit = (round % 2 == 0).then(|| Nanos::usd(3));
        change(&gateway, key, KeyChange { spend_limit: Some(limit), ..KeyChange::default() }).await;
    }
    let requests = KeyChange { rate_limit: Some(per_second(600)), ..KeyChange::default() };
    change(&gateway, key, requests).await;
    let charged: Nanos = traffic.join_all().await.into_iter().sum();
    assert_eq!(lanes(&gateway, key).await.len(), 3);
    assert_eq!(gateway.store().key(&gateway.account, key).await.unwrap().unwrap().allowance.spent, charged);
    let limited = KeyChange { spend_limit: Some(Some(Nanos::usd(1))), ..KeyChange::default() };
    let limited = change(&gateway, key, limited).await;
    assert_eq!(limited.allowance.limit_left, Nanos::usd(1) - charged, "a limit knows all that was ever spent");
    gateway.books_balance(charged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_lane_obeys_a_deactivation_and_a_deletion() {
    let gateway = TestGateway::start().await;
    let (key, client) = busy_key(&gateway, 1000).await;
    let hold = placed(&gateway, key, CENT).await;
    let off = KeyChange { active: Some(false), ..KeyChange::default() };
    change(&gateway, key, off).await;
    for _ in 0..20 {
        assert!(matches!(place(&gateway, key, CENT).await, HoldOutcome::KeyInactive));
    }
    settle(&gateway, key, &hold, Nanos(7)).await;
    let funds: Nanos = lanes(&gateway, key).await.iter().map(|lane| lane.allowance.available).sum();
    assert_eq!(funds, Nanos::ZERO, "what a deactivated key had is back in the balance");
    assert_eq!(gateway.billing.send(Method::DELETE, &format!("/api/keys/{key}"), "").await.status, 204);
    for _ in 0..20 {
        assert!(matches!(place(&gateway, key, CENT).await, HoldOutcome::KeyGone));
    }
    assert_eq!(client.get("/v1/auth/key").await.status, 401);
    gateway.books_balance(Nanos(7)).await;
}
