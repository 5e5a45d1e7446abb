//! `Idempotency-Key`: a `POST` sent again, because its answer was lost, makes nothing more and has the same answer.

use gateway_core::token::KeyType;
use http::Method;
use serde_json::json;
use support::{Answer, Client, TestGateway};

use super::{DAY_MS, KEYS, changed, made, path, refusal};

async fn post(client: &Client, path: &str, key: &str, body: &str) -> Answer {
    Answer::of(client.request(Method::POST, path).header("Idempotency-Key", key).body(body.to_owned())).await
}

async fn count(gateway: &TestGateway) -> usize {
    gateway.billing.get(KEYS).await.json()["keys"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_same_post_again_has_the_same_answer_and_makes_no_second_key() {
    let gateway = TestGateway::start().await;
    let body = r#"{"name":"ci","spend_limit":5}"#;
    let first = post(&gateway.billing, KEYS, "order 1", body).await;
    assert_eq!(first.status, 201);
    for wait_ms in [0, 5_000, DAY_MS - 5_001] {
        gateway.clock().advance_ms(wait_ms);
        let again = post(&gateway.billing, KEYS, "order 1", body).await;
        assert_eq!((again.status, again.text.as_str()), (201, first.text.as_str()), "{wait_ms}");
    }
    assert_eq!(count(&gateway).await, 2);
    let client = gateway.anonymous.with_token(first.json()["key"].as_str());
    assert_eq!(client.get("/v1/auth/key").await.json()["data"]["label"], "ci");
}

#[tokio::test]
async fn without_the_header_or_with_another_each_post_makes_a_key() {
    let gateway = TestGateway::start().await;
    let body = r#"{"name":"ci"}"#;
    let mut tokens = Vec::new();
    for key in ["a", "b", "A"] {
        tokens.push(post(&gateway.billing, KEYS, key, body).await.json()["key"].to_string());
    }
    for _ in 0..2 {
        tokens.push(gateway.billing.send(Method::POST, KEYS, body).await.json()["key"].to_string());
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!((tokens.len(), count(&gateway).await), (5, 6));
}

#[tokio::test]
async fn conflict_when_the_key_is_used_again_for_another_post() {
    let gateway = TestGateway::start().await;
    let (key, _) = made(&gateway, json!({"name": "a"})).await;
    let rotate = format!("{}/rotate", path(&key));
    assert_eq!(post(&gateway.billing, KEYS, "x", r#"{"name":"ci"}"#).await.status, 201);
    for (route, body) in [(KEYS, r#"{"name":"other"}"#), (KEYS, r#"{"name":"ci","spend_limit":1}"#), (&rotate, "{}")] {
        let answer = post(&gateway.billing, route, "x", body).await;
        assert_eq!(answer.error(), refusal(409, "idempotency_conflict"), "{route} {body}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    assert_eq!(count(&gateway).await, 3);
    assert_eq!(gateway.billing.get(&path(&key)).await.json()["prefix"], key["prefix"], "nothing was rotated");
}

#[tokio::test]
async fn conflict_for_a_caller_with_another_token_who_must_not_have_the_answer() {
    let gateway = TestGateway::start().await;
    let (_, other) = gateway.key(KeyType::Billing, |_| ()).await;
    let body = r#"{"name":"ci"}"#;
    let first = post(&gateway.billing, KEYS, "x", body).await;
    let theirs = post(&other, KEYS, "x", body).await;
    assert_eq!(theirs.error(), refusal(409, "idempotency_conflict"), "{}", theirs.text);
    assert_eq!(post(&gateway.billing, KEYS, "x", body).await.text, first.text);
    assert_eq!(count(&gateway).await, 2);
}

#[tokio::test]
async fn after_a_day_the_key_is_forgotten() {
    let gateway = TestGateway::start().await;
    let first = post(&gateway.billing, KEYS, "x", r#"{"name":"ci"}"#).await.json();
    gateway.clock().advance_ms(DAY_MS);
    let second = post(&gateway.billing, KEYS, "x", r#"{"name":"other"}"#).await;
    assert_eq!((second.status, second.json()["id"].as_u64()), (201, Some(4)));
    assert_ne!(first["key"], second.json()["key"]);
    assert_eq!(post(&gateway.billing, KEYS, "x", r#"{"name":"other"}"#).await.text, second.text);
    assert_eq!(count(&gateway).await, 3);
}

#[tokio::test]
async fn a_rotation_sent_again_rotates_once() {
    let gateway = TestGateway::start().await;
    let (key, old) = made(&gateway, json!({"name": "a"})).await;
    let rotate = format!("{}/rotate", path(&key));
    gateway.clock().advance_ms(999);
    let first = post(&gateway.billing, &rotate, "x", r#"{"grace_seconds":3600}"#).await;
    assert_eq!(first.status, 200);
    for wait_ms in [0, 60_000] {
        gateway.clock().advance_ms(wait_ms);
        let again = post(&gateway.billing, &rotate, "x", r#"{"grace_seconds":3600}"#).await;
        assert_eq!((again.status, again.text.as_str()), (200, first.text.as_str()), "{wait_ms}");
    }
    let new = gateway.anonymous.with_token(first.json()["key"].as_str());
    assert_eq!((old.get("/v1/models").await.status, new.get("/v1/models").await.status), (200, 200));
    gateway.clock().advance_ms(3_600_000 - 60_000);
    assert_eq!((old.get("/v1/models").await.status, new.get("/v1/models").await.status), (401, 200));
    gateway.clock().advance_ms(DAY_MS);
    let afresh = post(&gateway.billing, &rotate, "x", r#"{"grace_seconds":3600}"#).await.json();
    assert_ne!(afresh["key"], first.json()["key"]);
}

#[tokio::test]
async fn a_key_made_before_and_deleted_since_is_not_made_again() {
    let gateway = TestGateway::start().await;
    let first = post(&gateway.billing, KEYS, "x", r#"{"name":"ci"}"#).await.json();
    assert_eq!(gateway.billing.send(Method::DELETE, &path(&first), "").await.status, 204);
    let again = post(&gateway.billing, KEYS, "x", r#"{"name":"ci"}"#).await;
    assert_eq!(again.error(), refusal(404, "not_found"));
    let message = again.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`3`"), "{message}");
    assert_eq!(count(&gateway).await, 1);
}

#[tokio::test]
async fn a_key_changed_since_is_shown_as_it_is_now() {
    let gateway = TestGateway::start().await;
    let first = post(&gateway.billing, KEYS, "x", r#"{"name":"ci"}"#).await.json();
    changed(&gateway, &first, json!({"name": "renamed"})).await;
    let again = post(&gateway.billing, KEYS, "x", r#"{"name":"ci"}"#).await.json();
    assert_eq!((&again["name"], &again["key"]), (&json!("renamed"), &first["key"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_post_many_times_at_once_makes_one_key() {
    let gateway = TestGateway::start().await;
    for round in 0..10 {
        let name = format!("race {round}");
        let body = json!({"name": name}).to_string();
        let mut posts = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (client, name, body) = (gateway.billing.clone(), name.clone(), body.clone());
            posts.spawn(async move { post(&client, KEYS, &name, &body).await });
        }
        let answers = posts.join_all().await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.text), (201, &answers[0].text));
        }
        assert_eq!(count(&gateway).await, 2 + round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rotation_many_times_at_once_rotates_once() {
    let gateway = TestGateway::start().await;
    let (key, old) = made(&gateway, json!({"name": "a"})).await;
    let rotate = format!("{}/rotate", path(&key));
    for round in 0..10 {
        let mut posts = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (client, rotate) = (gateway.billing.clone(), rotate.clone());
            posts.spawn(async move { post(&client, &rotate, &format!("race {round}"), "{}").await });
        }
        let answers = posts.join_all().await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.text), (200, &answers[0].text));
        }
        let new = gateway.anonymous.with_token(answers[0].json()["key"].as_str());
        assert_eq!((old.get("/v1/models").await.status, new.get("/v1/models").await.status), (200, 200));
    }
    // Ten old tokens, of the 19 that a key may have: it was rotated ten times.
    for _ in 0..9 {
        assert_eq!(gateway.billing.post(&rotate, &json!({})).await.status, 200);
    }
    assert_eq!(gateway.billing.post(&rotate, &json!({})).await.status, 400);
}

#[tokio::test]
async fn bad_request_for_an_idempotency_key_that_is_empty_or_too_long() {
    let gateway = TestGateway::start().await;
    for key in ["", &"x".repeat(256)] {
        let answer = post(&gateway.billing, KEYS, key, r#"{"name":"ci"}"#).await;
        assert_eq!(answer.error(), refusal(400, "invalid_parameter"));
        assert_eq!(answer.json()["error"]["param"], "Idempotency-Key");
    }
    assert_eq!(post(&gateway.billing, KEYS, &"x".repeat(255), r#"{"name":"ci"}"#).await.status, 201);
    assert_eq!(count(&gateway).await, 2);
}

#[tokio::test]
async fn a_bad_request_is_not_remembered() {
    let gateway = TestGateway::start().await;
    assert_eq!(post(&gateway.billing, KEYS, "x", "{}").await.status, 400);
    assert_eq!(post(&gateway.billing, KEYS, "x", r#"{"name":"ci"}"#).await.status, 201);
}
