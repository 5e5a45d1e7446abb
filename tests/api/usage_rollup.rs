//! `usage-rollup`: whatever it does and however often it is told, `/api/usage/stats` is the sum over the ledger.

mod between;
mod scene;
mod wire;

use std::time::Duration;

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    moment::UnixMs,
    money::Nanos,
    token::{KeyType, Token},
};
use gateway_store::{HoldOutcome, Store, Tables};
use modelswitch::{Data, Engine, Gateway, Options};
use support::{START, TestGateway};
use usage_rollup::{App, BatchResponse, StreamEvent, handle};

use self::{
    scene::{DAY_MS, MINUTE_MS, Scene, batch},
    wire::{Dies, Wire},
};

const ONE: KeyId = KeyId(1);
const CHAT: &str = "lab/chat";
const SMALL: &str = "lab/small";

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Requests of two keys and two models, on two days; then two minutes.
async fn two_days(scene: &Scene) -> KeyId {
    let other = scene.proxy_key().await;
    for (key, model, input) in [(ONE, CHAT, 10), (other, CHAT, 20), (ONE, SMALL, 30)] {
        scene.serve(key, model, input).await;
        scene.gateway.clock().advance_ms(1000);
    }
    scene.gateway.clock().advance_ms(DAY_MS);
    scene.serve(other, SMALL, 40).await;
    scene.serve(ONE, CHAT, 50).await;
    scene.gateway.clock().advance_ms(2 * MINUTE_MS);
    other
}

#[tokio::test]
async fn stats_equal_the_sum_over_the_pages_before_between_and_after_rollups() {
    let scene = Scene::new().await;
    scene.check_all().await;
    let other = two_days(&scene).await;
    scene.check_all().await;
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 5);
    scene.check_all().await;
    // On top of what is summed up, on the same day and on another; some of it too new to be summed up.
    scene.serve(ONE, CHAT, 60).await;
    scene.gateway.clock().advance_ms(DAY_MS);
    scene.serve(other, CHAT, 70).await;
    scene.check_all().await;
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 6);
    scene.check_all().await;
    scene.gateway.clock().advance_ms(2 * MINUTE_MS);
    scene.serve(ONE, SMALL, 80).await;
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 7);
    scene.check_all().await;
}

#[tokio::test]
async fn a_total_is_its_group_s_sums_and_says_how_far_it_counts() {
    let scene = Scene::new().await;
    let other = two_days(&scene).await;
    scene.rollup().await;
    let rolled = scene.rolled().await;
    let groups: Vec<_> = rolled
        .totals
        .iter()
        .map(|(group, total)| (group.day.as_str(), group.key, group.model.as_str(), total))
        .collect();
    let names: Vec<_> = groups.iter().map(|(day, key, model, _)| (*day, *key, *model)).collect();
    let (first, second) = ("2026-11-23", "2026-11-24");
    let expected =
        [(first, ONE, CHAT), (first, ONE, SMALL), (first, other, CHAT), (second, ONE, CHAT), (second, other, SMALL)];
    assert_eq!(names, expected);
    let sums = groups[1].3.sums;
    assert_eq!((sums.requests, sums.input_tokens, sums.cached_tokens, sums.output_tokens), (1, 30, 10, 15));
    assert_eq!(sums.spent, Nanos(100_030));
    assert!(rolled.totals.values().all(|total| total.through == rolled.watermark));
    let part = scene.gateway.store().rollup_totals(&scene.gateway.account, Some(second), Some(second)).await.unwrap();
    assert_eq!((part.totals.len(), &part.watermark), (2, &rolled.watermark));
}

#[tokio::test]
async fn a_request_that_runs_keeps_all_that_is_newer_out_of_the_totals_until_it_ends() {
    let scene = Scene::new().await;
    let other = scene.proxy_key().await;
    scene.serve(ONE, CHAT, 10).await;
    scene.gateway.clock().advance_ms(1);
    let running = scene.place(other, CHAT).await;
    scene.gateway.clock().advance_ms(1);
    scene.serve(ONE, CHAT, 20).await;
    scene.gateway.clock().advance_ms(10 * MINUTE_MS);
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 1);
    assert!(scene.rolled().await.watermark < running.id);
    scene.check_all().await;
    scene.settle(running, 30).await;
    scene.check_all().await;
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 3);
    scene.check_all().await;
}

#[tokio::test]
async fn a_deleted_key_s_running_request_counts_as_any_other() {
    let scene = Scene::new().await;
    let key = scene.proxy_key().await;
    let running = scene.place(key, CHAT).await;
    assert!(scene.gateway.store().key_delete(&scene.gateway.account, key).await.unwrap());
    scene.gateway.clock().advance_ms(1);
    scene.serve(ONE, CHAT, 10).await;
    scene.gateway.clock().advance_ms(2 * MINUTE_MS);
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 0);
    scene.settle(running, 20).await;
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 2);
    scene.check_all().await;
}

#[tokio::test]
async fn a_released_and_an_expired_request_stop_nothing_and_are_in_no_sum() {
    let scene = Scene::new().await;
    let (released, dead) = (scene.place(ONE, CHAT).await, scene.place(ONE, CHAT).await);
    scene.gateway.clock().advance_ms(1);
    scene.serve(ONE, CHAT, 10).await;
    scene.release(released).await;
    scene.gateway.clock().advance_ms(17 * MINUTE_MS);
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 0, "nobody has ended the dead one's hold yet");
    // Done in passing.
    scene.serve(ONE, CHAT, 20).await;
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 1);
    // Its process was only slow: too slow to be paid.
    scene.settle(dead, 1000).await;
    scene.gateway.clock().advance_ms(2 * MINUTE_MS);
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 1, "no usage, no record, no run");
    scene.serve(ONE, CHAT, 30).await;
    scene.rollup().await;
    assert_eq!(scene.summed_up().await, 2);
    scene.check_all().await;
}

#[tokio::test]
async fn a_request_from_before_the_fence_is_refused_and_nothing_is_held() {
    let scene = Scene::new().await;
    // Another key's usage: this one has none and is fenced all the same.
    let idle = scene.proxy_key().await;
    let slow = scene.place(idle, CHAT).await;
    scene.serve(ONE, CHAT, 10).await;
    scene.gateway.clock().advance_ms(10 * MINUTE_MS);
    scene.rollup().await;
    let fence = UnixMs(scene.now().0 - MINUTE_MS);
    let held = scene.gateway.standing().await.held();
    for key in [ONE, idle] {
        let late = UnixMs(fence.0 - 1);
        let (_, outcome) = scene.late(key, CHAT, late).await;
        assert!(matches!(outcome, HoldOutcome::TooLate), "{outcome:?}");
        let error = outcome.placed(Nanos(1)).unwrap_err();
        assert_eq!(error.code.status(), 500);
        assert!(error.message.contains("Nothing was charged"), "{}", error.message);
        assert_eq!(scene.gateway.standing().await.held(), held);
    }
    // What held before is not too late: its reply may have been lost.
    let again = scene.hold(idle, CHAT, &slow.id).await;
    assert!(matches!(again, HoldOutcome::AlreadyHeld), "{again:?}");
    let (_, outcome) = scene.late(idle, CHAT, fence).await;
    assert!(matches!(outcome, HoldOutcome::Held(_)), "the fence itself is open: {outcome:?}");
}

#[tokio::test]
async fn the_fence_moves_on_once_a_second_for_each_key_at_the_most() {
    let scene = Scene::new().await;
    for _ in 0..2 {
        scene.proxy_key().await;
    }
    let step = async |ms, summed_up| {
        scene.gateway.clock().advance_ms(ms);
        assert_eq!(handle(&scene.app(), batch(&[&scene.gateway.account])).await, BatchResponse::default());
        assert_eq!(scene.summed_up().await, summed_up, "after {ms} ms more");
        scene.check("").await;
    };
    scene.serve(ONE, CHAT, 10).await;
    scene.gateway.clock().advance_ms(1000);
    scene.serve(ONE, CHAT, 20).await;
    step(MINUTE_MS - 1000, 0).await;
    // Three keys, three seconds.
    step(2999, 0).await;
    step(1, 2).await;
}

#[tokio::test]
async fn events_delivered_twice_out_of_order_or_at_once_change_nothing() {
    let scene = Scene::new().await;
    two_days(&scene).await;
    let account = scene.gateway.account.clone();
    let mut dice = Dice(3);
    for round in 0..20_u64 {
        scene.gateway.clock().advance_ms(2 * MINUTE_MS);
        scene.serve(ONE, CHAT, round).await;
        scene.serve(ONE, SMALL, round).await;
        let delays = |dice: &mut Dice| (0..7).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect::<Vec<_>>();
        let apps: Vec<_> = (0..3)
            .map(|n| {
                // One of them reads the clock late.
                let clock = gateway_lambda::Clock::manual(scene.now().plus_ms(n * 1000));
                App { store: Wire::store(&scene.file(), Dies::Never, &delays(&mut dice)).0, clock }
            })
            .collect();
        let event = || batch(&[&account, &account]);
        let (a, b, c) = tokio::join!(handle(&apps[0], event()), handle(&apps[1], event()), handle(&apps[2], event()));
        assert_eq!([a, b, c], [(); 3].map(|()| BatchResponse::default()));
        scene.check("").await;
    }
    scene.gateway.clock().advance_ms(2 * MINUTE_MS);
    let before = (handle(&scene.app(), batch(&[&account])).await, scene.rolled().await);
    assert_eq!(scene.summed_up().await, 45);
    assert_eq!((handle(&scene.app(), batch(&[&account])).await, scene.rolled().await), before);
    scene.check_all().await;
}

#[tokio::test]
async fn more_groups_and_more_entries_than_a_step_takes_are_all_summed_up() {
    let scene = Scene::new().await;
    let key = scene.proxy_key().await;
    for n in 0..1100 {
        scene.serve(key, &format!("lab/{}", n % 120), n).await;
        scene.gateway.clock().advance_ms(1);
    }
    scene.gateway.clock().advance_ms(2 * MINUTE_MS);
    scene.rollup().await;
    assert_eq!((scene.summed_up().await, scene.rolled().await.totals.len()), (1100, 120));
    scene.check("").await;
    scene.check("model=lab/7").await;
}

#[tokio::test]
async fn stats_equal_the_sum_at_every_step_of_any_interleaving() {
    let seed = u64::from_be_bytes(gateway_store::random().unwrap());
    let scene = Scene::new().await;
    let keys = [ONE, scene.proxy_key().await, scene.proxy_key_with(1000).await];
    let (mut dice, mut running) = (Dice(seed), Vec::new());
    for step in 0..150 {
        let input = u64::try_from(dice.roll(1000)).unwrap();
        match dice.roll(10) {
            0..4 => {
                let (key, model) = (keys[dice.roll(3)], [CHAT, SMALL][dice.roll(2)]);
                running.push(scene.place(key, model).await);
            }
            4..7 if !running.is_empty() => {
                let ended = running.swap_remove(dice.roll(running.len()));
                if dice.roll(5) == 0 { scene.release(ended).await } else { scene.settle(ended, input).await }
            }
            7 => {
                let ms = [1, 1000, MINUTE_MS, 7 * MINUTE_MS, DAY_MS / 5][dice.roll(5)];
                scene.gateway.clock().advance_ms(ms);
            }
            _ if dice.roll(3) == 0 => {
                let calls = dice.roll(12) + 1;
                let dies = if dice.roll(2) == 0 { Dies::Before(calls) } else { Dies::After(calls) };
                let (store, _) = Wire::store(&scene.file(), dies, &[]);
                handle(&App { store, clock: scene.gateway.clock().clone() }, batch(&[&scene.gateway.account])).await;
            }
            _ => assert_eq!(handle(&scene.app(), batch(&[&scene.gateway.account])).await, BatchResponse::default()),
        }
        println!("seed {seed}, step {step}");
        scene
            .check(["", "from=2026-11-24", "to=2026-11-23T22:00:00Z", "keyId=1", "model=lab/chat"][dice.roll(5)])
            .await;
    }
    scene.check_all().await;
}

#[tokio::test]
async fn the_events_are_answered_with_the_records_that_are_to_come_again() {
    let scene = Scene::new().await;
    let event = |file: &str| -> StreamEvent { serde_json::from_str(file).unwrap() };
    let served = handle(&scene.app(), event(include_str!("../../events/usage-rollup/served.json"))).await;
    assert_eq!(serde_json::to_string(&served).unwrap(), r#"{"batchItemFailures":[]}"#);
    let poison = handle(&scene.app(), event(include_str!("../../events/usage-rollup/no-account.json"))).await;
    assert_eq!(
        serde_json::to_string(&poison).unwrap(),
        r#"{"batchItemFailures":[{"itemIdentifier":"111100000000000000000001"}]}"#
    );
}

#[tokio::test]
async fn an_account_that_fails_keeps_no_other_from_its_sums_and_comes_again_from_its_first_record() {
    let scene = Scene::new().await;
    two_days(&scene).await;
    let now = scene.now();
    let broken = scene.gateway.store().account_create("Broken", now).await.unwrap().id;
    let mut other = support::new_key(KeyType::Proxy);
    other.name = "broken".to_owned();
    let token = Token::from_random(KeyType::Proxy, gateway_store::random().unwrap());
    scene.gateway.store().key_create(&broken, &other, &token, now, None).await.unwrap().unwrap();
    damage(&scene, broken.as_str()).await;
    let account = &scene.gateway.account;
    let response = handle(&scene.app(), batch(&[account, &broken, &broken, account])).await;
    let failed: Vec<_> = response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    assert_eq!(failed, ["1"]);
    assert_eq!(scene.summed_up().await, 5);
}

/// Takes away what the account's first key can't be read without.
async fn damage(scene: &Scene, account: &str) {
    let client = Engine::beside(&scene.file()).unwrap().client();
    let text = |value: &str| aws_sdk_dynamodb::types::AttributeValue::S(value.to_owned());
    let update = client.update_item().table_name(Tables::of_stack("modelswitch").accounts);
    let update = update.key("account", text(account)).key("item", text("key#0000000001"));
    update.update_expression("REMOVE prefix").send().await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_starts_sums_up_what_an_earlier_one_left() {
    let scene = Scene::new().await;
    two_days(&scene).await;
    let (file, clock) = (scene.file(), scene.gateway.clock().clone());
    // The folder stays until the test ends.
    let Scene { gateway: TestGateway { gateway, account, .. }, folder: _folder, .. } = scene;
    assert!(gateway.stop(Duration::from_secs(5)).await);
    let options = Options { data: Data::File(file), clock, rollup_pause: Some(PAUSE), ..Options::default() };
    let gateway = Gateway::start(options).await.unwrap();
    summed_up_beyond(&gateway.store, &account, &RequestId::first_at(START)).await;
    assert!(gateway.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_gateway_that_runs_sums_up_by_itself() {
    let scene = Scene::with(|options| options.rollup_pause = Some(PAUSE)).await;
    let first = scene.place(ONE, CHAT).await;
    let id = first.id.clone();
    scene.settle(first, 10).await;
    scene.gateway.clock().advance_ms(2 * MINUTE_MS);
    // Too new to be summed up, but it tells of the account.
    scene.serve(ONE, CHAT, 20).await;
    summed_up_beyond(scene.gateway.store(), &scene.gateway.account, &id).await;
    assert_eq!(scene.summed_up().await, 1);
}

const PAUSE: Duration = Duration::from_millis(1);

/// Returns when the watermark has come to `id`.
async fn summed_up_beyond(store: &Store, account: &AccountId, id: &RequestId) {
    while store.rollup_totals(account, None, None).await.unwrap().watermark < *id {
        tokio::task::yield_now().await;
    }
}
