//! What happens between any two calls of a rollup to the database, or of a request for statistics.

use gateway_core::limits::{Interval, RateLimit};
use gateway_lambda::Clock;
use gateway_store::{HoldOutcome, KeyChange};
use usage_rollup::{App, BatchResponse, handle};

use super::{
    CHAT, ONE, SMALL,
    scene::{MINUTE_MS, Scene, batch},
    two_days,
    wire::{Dies, Interlude, Wire},
};

#[tokio::test]
async fn a_death_before_or_after_any_call_leaves_the_stats_exact_and_is_made_up_for() {
    let scene = Scene::new().await;
    let other = two_days(&scene).await;
    let (mut served, mut longest) = (5, 0);
    for dies in (1..40).flat_map(|call| [Dies::Before(call), Dies::After(call)]) {
        for (key, model) in [(ONE, CHAT), (other, CHAT), (ONE, SMALL)] {
            scene.serve(key, model, 7).await;
            served += 1;
        }
        scene.gateway.clock().advance_ms(2 * MINUTE_MS);
        let (store, wire) = Wire::store(&scene.file(), dies, &[]);
        let app = App { store, clock: scene.gateway.clock().clone() };
        let response = handle(&app, batch(&[&scene.gateway.account])).await;
        let (Dies::Before(last) | Dies::After(last)) = dies else { unreachable!() };
        let failed = response != BatchResponse::default();
        assert_eq!(failed, wire.calls() >= last, "{dies:?}");
        scene.check("").await;
        longest = longest.max(wire.calls());
        if !failed {
            break;
        }
    }
    assert!(longest >= 10, "keys, seals, keys twice, watermark, ledger, totals, watermark: {longest} calls");
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, served);
    scene.check_all().await;
}

#[tokio::test]
async fn a_rollup_or_a_part_of_one_between_any_two_calls_of_a_request_for_stats_changes_nothing() {
    let scene = Scene::new().await;
    let other = two_days(&scene).await;
    let (clock, mut calls) = (scene.gateway.clock(), 0);
    for call in 1..=5 {
        // Keys, two seals, keys twice, the watermark, the ledger; then three totals, and the watermark.
        for dies in [Dies::Before(8), Dies::Before(9), Dies::Before(10), Dies::Before(11), Dies::Never] {
            for (key, model) in [(ONE, CHAT), (other, CHAT), (ONE, SMALL)] {
                scene.serve(key, model, 7).await;
            }
            clock.advance_ms(2 * MINUTE_MS);
            let rollup = App { store: Wire::store(&scene.file(), dies, &[]).0, clock: clock.clone() };
            let event = batch(&[&scene.gateway.account]);
            let before = scene.rolled().await;
            let rollup = async move {
                handle(&rollup, event).await;
            };
            let (store, wire) = Wire::store_with(&scene.file(), Interlude::new(call, rollup));
            scene.check_of(&store).await;
            let came_between = wire.calls() >= call && dies != Dies::Before(8);
            assert_eq!(scene.rolled().await != before, came_between, "{call} {dies:?}");
            calls = calls.max(wire.calls());
        }
    }
    // The count of the key, which may sweep its windows; the watermark, the totals, the ledger.
    assert_eq!(calls, 5);
}

#[tokio::test]
async fn a_hold_that_is_placed_before_any_call_of_a_rollup_is_waited_for_or_refused() {
    let mut placed = 0;
    for call in 1..=9 {
        let scene = Scene::new().await;
        let old = scene.now();
        scene.gateway.clock().advance_ms(1);
        scene.serve(ONE, CHAT, 10).await;
        scene.gateway.clock().advance_ms(2 * MINUTE_MS);
        let (outcome, told) = tokio::sync::oneshot::channel();
        let late = scene.late(ONE, CHAT, old);
        let late = async move { outcome.send(late.await).unwrap() };
        let (store, wire) = Wire::store_with(&scene.file(), Interlude::new(call, late));
        let app = App { store, clock: scene.gateway.clock().clone() };
        assert_eq!(handle(&app, batch(&[&scene.gateway.account])).await, BatchResponse::default());
        let calls = wire.calls();
        // With them goes what was never sent.
        drop((app, wire));
        let Ok(outcome) = told.await else {
            assert!(calls < call);
            break;
        };
        match outcome {
            (id, HoldOutcome::Held(hold)) => {
                assert!(scene.rolled().await.watermark < id, "before call {call}");
                scene.settle(scene.running(id, hold, ONE, CHAT), 20).await;
                placed += 1;
            }
            (_, HoldOutcome::TooLate) => assert_eq!(scene.summed_up().await, 1, "before call {call}"),
            (_, other) => unreachable!("{other:?}"),
        }
        scene.check("").await;
    }
    assert_eq!(placed, 2, "before the keys are read, and before the key is sealed");
}

#[tokio::test]
async fn lanes_that_open_and_fold_before_any_call_of_a_rollup_hide_no_request() {
    let rate = |requests: u32| KeyChange {
        rate_limit: Some(RateLimit { requests: requests * 10, interval: Interval { seconds: 10 } }),
        ..KeyChange::default()
    };
    let (mut placed, mut refused) = (0, 0);
    for call in 1..=12 {
        // Lanes that open, and lanes that fold.
        for (before, after) in [(250, 500), (500, 250)] {
            let scene = Scene::new().await;
            let key = scene.proxy_key_with(before).await;
            let old = scene.now();
            // What runs on lanes that fold has to be found wherever it moves; on others it would hide what comes late.
            let mut ran = Vec::new();
            for _ in 0..if before > after { 3 } else { 0 } {
                ran.push(scene.place(key, CHAT).await);
            }
            scene.gateway.clock().advance_ms(1);
            scene.serve(ONE, CHAT, 10).await;
            scene.gateway.clock().advance_ms(2 * MINUTE_MS);
            let (store, account, now) = (scene.app().store, scene.gateway.account.clone(), scene.now());
            let late: Vec<_> = (0..6).map(|_| scene.late(key, CHAT, old)).collect();
            let (send, told) = std::sync::mpsc::channel();
            let change = async move {
                store.key_update(&account, key, &rate(after), now).await.unwrap();
                let mut outcomes = Vec::new();
                for request in late {
                    outcomes.push(request.await);
                }
                // Those on the first lane would hide the others.
                let lanes = store.account_standing(&account).await.unwrap().unwrap().lanes;
                let first = lanes.into_iter().find(|lane| lane.id == key).unwrap().allowance.holds;
                for (id, outcome) in outcomes {
                    match outcome {
                        HoldOutcome::Held(hold) if first.contains_key(&id) => store.hold_release(&hold).await,
                        outcome => send.send((id, outcome)).unwrap(),
                    }
                }
            };
            let (store, _) = Wire::store_with(&scene.file(), Interlude::new(call, change));
            let app = App { store, clock: scene.gateway.clock().clone() };
            assert_eq!(handle(&app, batch(&[&scene.gateway.account])).await, BatchResponse::default());
            let watermark = scene.rolled().await.watermark;
            assert!(ran.iter().all(|ran| watermark < ran.id), "{after} before call {call}");
            for (id, outcome) in told.try_iter() {
                match outcome {
                    HoldOutcome::Held(hold) => {
                        assert!(watermark < id, "{after} before call {call}");
                        scene.settle(scene.running(id, hold, key, CHAT), 20).await;
                        placed += 1;
                    }
                    other => refused += u32::from(matches!(other, HoldOutcome::TooLate)),
                }
            }
            scene.check("").await;
        }
    }
    assert!(placed > 0 && refused > 0, "{placed} {refused}");
}

#[tokio::test]
async fn a_rollup_that_is_overtaken_takes_nothing_back() {
    let scene = Scene::new().await;
    two_days(&scene).await;
    let slow = Clock::manual(scene.now());
    scene.serve(ONE, CHAT, 60).await;
    scene.gateway.clock().advance_ms(2 * MINUTE_MS);
    let (fast, event) = (scene.app(), batch(&[&scene.gateway.account]));
    let fast = async move {
        handle(&fast, event).await;
    };
    // Keys, two seals, keys twice, the watermark, the ledger, five totals: then comes the watermark.
    let (store, wire) = Wire::store_with(&scene.file(), Interlude::new(13, fast));
    handle(&App { store, clock: slow }, batch(&[&scene.gateway.account])).await;
    assert_eq!(wire.calls(), 13);
    assert_eq!(scene.summed_up().await, 6);
    let rolled = scene.rolled().await;
    assert_eq!(rolled.totals.values().map(|total| &total.through).max(), Some(&rolled.watermark));
    scene.check("").await;
}
