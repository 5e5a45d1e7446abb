//! `POST /api/keys/{id}/rotate`: a new token for the same key, and what becomes of the old one.

use gateway_core::{moment::UnixMs, money::Nanos, token::Token};
use gateway_lambda::Clock;
use http::Method;
use modelswitch::{Data, Engine};
use serde_json::{Value, json};
use support::{Client, Folder, MODEL, TestGateway, refusals};

use super::{DAY_MS, changed, chat, made, path, refusal, served};

/// The answer of a rotation, which must be accepted, and a client that has the new token.
async fn rotated(gateway: &TestGateway, key: &Value, body: Value) -> (Value, Client) {
    let answer = gateway.billing.post(&format!("{}/rotate", path(key)), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let client = gateway.anonymous.with_token(answer["key"].as_str());
    (answer, client)
}

async fn status(client: &Client) -> u16 {
    client.get("/v1/auth/key").await.status
}

#[tokio::test]
async fn the_new_token_is_of_the_same_key_and_shown_once() {
    let gateway = TestGateway::start().await;
    let (key, old) = made(&gateway, json!({"name": "a", "spend_limit": 1, "models": [MODEL]})).await;
    assert_eq!(chat(&old, MODEL).await, served());
    let (answer, new) = rotated(&gateway, &key, json!({})).await;
    let token = answer["key"].as_str().unwrap();
    assert!(Token::parse(token).is_some() && answer["key"] != key["key"]);
    let shown = gateway.billing.get(&path(&key)).await.json();
    assert_eq!(shown["prefix"], token[..8]);
    let mut expected = shown.clone();
    expected["key"] = json!(token);
    expected["oldKeyExpiresAt"] = json!("2026-11-24T09:30:00.000Z");
    assert_eq!(answer, expected);
    assert_eq!((&shown["id"], &shown["name"], &shown["createdAt"]), (&key["id"], &key["name"], &key["createdAt"]));
    assert_eq!(shown["spent"].to_string(), "1.9e-6");
    assert_eq!(shown["models"], json!([MODEL]));
    assert_eq!(chat(&new, MODEL).await, served());
    assert_eq!(chat(&new, "lab/small").await, refusal(403, "model_not_allowed"));
    assert_eq!(chat(&old, MODEL).await, served());
    let data = new.get("/v1/auth/key").await.text;
    assert!(data.contains(r#""usage":0.0000057"#), "one history for both tokens: {data}");
    gateway.books_balance(Nanos(3 * 1900)).await;
}

#[tokio::test]
async fn the_old_token_works_for_a_day_and_the_new_one_on() {
    let gateway = TestGateway::start().await;
    let (key, old) = made(&gateway, json!({"name": "a"})).await;
    let (_, new) = rotated(&gateway, &key, json!({"grace_seconds": null})).await;
    gateway.clock().advance_ms(DAY_MS - 1);
    assert_eq!((status(&old).await, status(&new).await), (200, 200));
    // The authorizer's answer of a millisecond ago may stand for ten seconds.
    gateway.clock().advance_ms(10_000);
    let answer = old.get("/v1/auth/key").await;
    assert_eq!((answer.status, answer.text.as_str()), (401, refusals::UNAUTHORIZED));
    assert_eq!(status(&new).await, 200);
}

#[tokio::test]
async fn the_old_token_s_grace_is_as_long_as_asked_for() {
    let gateway = TestGateway::start().await;
    for field in ["grace_seconds", "graceSeconds"] {
        let (key, old) = made(&gateway, json!({"name": "a"})).await;
        let end = gateway.clock().now().plus_ms(90_000);
        let (answer, new) = rotated(&gateway, &key, json!({field: 90})).await;
        assert_eq!(answer["oldKeyExpiresAt"], end.to_string());
        gateway.clock().advance_ms(90_000);
        assert_eq!((status(&old).await, status(&new).await), (401, 200));
    }
}

#[tokio::test]
async fn without_grace_the_old_token_is_gone_when_the_authorizer_asks_again() {
    let gateway = TestGateway::start().await;
    let (key, old) = made(&gateway, json!({"name": "a"})).await;
    let (_, new) = rotated(&gateway, &key, json!({"grace_seconds": 0})).await;
    assert_eq!((status(&old).await, status(&new).await), (401, 200), "nothing was cached");
    let (answer, newer) = rotated(&gateway, &key, json!({"grace_seconds": 0})).await;
    assert_eq!(answer["oldKeyExpiresAt"], gateway.clock().now().to_string());
    gateway.clock().advance_ms(10_000);
    assert_eq!((status(&new).await, status(&newer).await), (401, 200));
    gateway.clock().advance_ms(DAY_MS);
    assert_eq!((status(&new).await, status(&newer).await), (401, 200));
}

#[tokio::test]
async fn no_earlier_token_works_longer_than_the_last_grace() {
    let gateway = TestGateway::start().await;
    let (key, first) = made(&gateway, json!({"name": "a"})).await;
    let (_, second) = rotated(&gateway, &key, json!({})).await;
    let (_, third) = rotated(&gateway, &key, json!({"grace_seconds": 60})).await;
    gateway.clock().advance_ms(59_999);
    assert_eq!((status(&first).await, status(&second).await, status(&third).await), (200, 200, 200));
    gateway.clock().advance_ms(10_001);
    assert_eq!((status(&first).await, status(&second).await, status(&third).await), (401, 401, 200));
    let (_, fourth) = rotated(&gateway, &key, json!({"grace_seconds": 3600})).await;
    let (_, fifth) = rotated(&gateway, &key, json!({"grace_seconds": 86_400})).await;
    gateway.clock().advance_ms(3_600_000 + 10_000);
    assert_eq!((status(&third).await, status(&fourth).await), (401, 200), "a longer grace gives none back");
    let (_, sixth) = rotated(&gateway, &key, json!({"grace_seconds": 0})).await;
    gateway.clock().advance_ms(10_000);
    assert_eq!(
        (status(&fourth).await, status(&fifth).await, status(&sixth).await),
        (401, 401, 200),
        "whoever has a token that leaked is out, also where the key was rotated since"
    );
}

#[tokio::test]
async fn a_grace_never_passes_the_key_s_own_expiry() {
    let gateway = TestGateway::start().await;
    let (key, old) = made(&gateway, json!({"name": "a", "expires_at": "2026-11-23T10:30:00Z"})).await;
    let (answer, new) = rotated(&gateway, &key, json!({})).await;
    assert_eq!(answer["oldKeyExpiresAt"], "2026-11-23T10:30:00.000Z");
    assert_eq!(answer["expiresAt"], "2026-11-23T10:30:00.000Z");
    gateway.clock().advance_ms(3_600_000);
    assert_eq!((status(&old).await, status(&new).await), (401, 401));
    changed(&gateway, &key, json!({"expires_at": null})).await;
    assert_eq!((status(&old).await, status(&new).await), (401, 200), "the grace is over for good");
}

#[tokio::test]
async fn a_change_and_a_deletion_reach_the_old_token_too() {
    let gateway = TestGateway::start().await;
    let (key, old) = made(&gateway, json!({"name": "a"})).await;
    let (_, new) = rotated(&gateway, &key, json!({})).await;
    changed(&gateway, &key, json!({"active": false})).await;
    assert_eq!(
        (chat(&old, MODEL).await, chat(&new, MODEL).await),
        (refusal(403, "key_deactivated"), refusal(403, "key_deactivated"))
    );
    changed(&gateway, &key, json!({"active": true, "expires_at": "2026-11-23T09:31:00Z"})).await;
    gateway.clock().advance_ms(10_000);
    assert_eq!((status(&old).await, status(&new).await), (200, 200));
    gateway.clock().advance_ms(50_000);
    assert_eq!((status(&old).await, status(&new).await), (401, 401));
    changed(&gateway, &key, json!({"expires_at": null})).await;
    assert_eq!((status(&old).await, status(&new).await), (200, 200));
    assert_eq!(gateway.billing.send(Method::DELETE, &path(&key), "").await.status, 204);
    for wait_ms in [0, 10_000] {
        gateway.clock().advance_ms(wait_ms);
        assert_eq!((status(&old).await, status(&new).await), (401, 401));
    }
}

#[tokio::test]
async fn a_key_can_be_rotated_for_ever_once_graces_are_over() {
    let gateway = TestGateway::start().await;
    let (key, mut last) = made(&gateway, json!({"name": "a"})).await;
    for _ in 0..25 {
        let (_, new) = rotated(&gateway, &key, json!({"grace_seconds": 1})).await;
        gateway.clock().advance_ms(11_000);
        assert_eq!((status(&last).await, status(&new).await), (401, 200));
        last = new;
    }
}

#[tokio::test]
async fn bad_request_for_more_tokens_in_their_grace_than_a_key_may_have() {
    let gateway = TestGateway::start().await;
    let (key, first) = made(&gateway, json!({"name": "a"})).await;
    let mut refused = None;
    for _ in 0..25 {
        let answer = gateway.billing.post(&format!("{}/rotate", path(&key)), &json!({})).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a bound");
    assert_eq!(refused.error(), refusal(400, "invalid_parameter"));
    assert_eq!(refused.json()["error"]["param"], "grace_seconds");
    assert_eq!(status(&first).await, 200, "no grace ended early");
    changed(&gateway, &key, json!({"active": false})).await;
    assert_eq!(status(&first).await, 403, "and all of them can still be switched off");
    let (_, last) = rotated(&gateway, &key, json!({"grace_seconds": 0})).await;
    gateway.clock().advance_ms(10_000);
    assert_eq!((status(&first).await, status(&last).await), (401, 403), "and ended by one rotation without a grace");
    changed(&gateway, &key, json!({"active": true})).await;
    rotated(&gateway, &key, json!({})).await;
}

#[tokio::test]
async fn a_key_can_be_changed_and_deleted_after_the_database_dropped_its_old_token() {
    let folder = Folder::new();
    let file = folder.path("data.db");
    // So long ago that for the database, which has a clock of its own, every grace is over.
    let gateway = TestGateway::start_with(|options| {
        options.data = Data::File(file.clone());
        options.clock = Clock::manual(UnixMs(1_700_000_000_000));
    })
    .await;
    let (key, old) = made(&gateway, json!({"name": "a"})).await;
    let (_, new) = rotated(&gateway, &key, json!({"grace_seconds": 60})).await;
    gateway.clock().advance_ms(60_000);
    Engine::beside(&file).unwrap().sweep();
    assert_eq!((status(&old).await, status(&new).await), (401, 200));
    assert_eq!(changed(&gateway, &key, json!({"active": false})).await["active"], false);
    assert_eq!(status(&new).await, 403);
    assert_eq!(gateway.billing.send(Method::DELETE, &path(&key), "").await.status, 204);
    gateway.clock().advance_ms(10_000);
    assert_eq!(status(&new).await, 401);
}

#[tokio::test]
async fn bad_request_for_a_grace_that_cannot_be() {
    let gateway = TestGateway::start().await;
    let (key, old) = made(&gateway, json!({"name": "a"})).await;
    for (field, value) in [
        ("grace_seconds", json!(-1)),
        ("grace_seconds", json!(1.5)),
        ("grace_seconds", json!("60")),
        ("grace_seconds", json!(30 * 86_400 + 1)),
        ("grace_seconds", json!(u64::MAX)),
        ("grace", json!(1)),
        ("name", json!("b")),
    ] {
        let answer = gateway.billing.post(&format!("{}/rotate", path(&key)), &json!({field: value})).await;
        assert_eq!(answer.error(), refusal(400, "invalid_parameter"), "{field}: {value}");
        assert_eq!(answer.json()["error"]["param"], field);
    }
    assert_eq!(gateway.billing.get(&path(&key)).await.json()["prefix"], key["prefix"], "nothing was rotated");
    assert_eq!(status(&old).await, 200);
}
