//! `/api/keys`: list, show, create, change, delete.

mod idempotency;
mod lanes;
mod rotation;
mod together;

use gateway_core::{
    ids::{AccountId, KeyId},
    money::Nanos,
    token::{KeyType, Token},
};
use gateway_store::KeyRecord;
use http::Method;
use serde_json::{Value, json};
use support::{Client, MODEL, Reply, TestGateway, chat_answer, chat_stream, refusals};

const ROUTES: [&str; 7] = [
    "GET /api/keys",
    "POST /api/keys",
    "GET /api/keys/{id}",
    "PUT /api/keys/{id}",
    "PATCH /api/keys/{id}",
    "POST /api/keys/{id}/rotate",
    "DELETE /api/keys/{id}",
];
const KEYS: &str = "/api/keys";
const CHAT: &str = "/v1/chat/completions";
const DAY_MS: u64 = 86_400_000;

/// A key made over HTTP: its attributes, and a client that has it.
async fn made(gateway: &TestGateway, body: Value) -> (Value, Client) {
    let answer = gateway.billing.post(KEYS, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let key = answer.json();
    let client = gateway.anonymous.with_token(key["key"].as_str());
    (key, client)
}

fn path(key: &Value) -> String {
    format!("{KEYS}/{}", key["id"])
}

/// The key after a change, which must be accepted.
async fn changed(gateway: &TestGateway, key: &Value, change: Value) -> Value {
    let answer = gateway.billing.send(Method::PATCH, &path(key), &change.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// The status and code of a chat request; no code for one that is served.
async fn chat(client: &Client, model: &str) -> (u16, String) {
    client.post(CHAT, &TestGateway::chat(model)).await.error()
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn served() -> (u16, String) {
    refusal(200, "")
}

/// Another account with one billing key and two proxy keys, of which the last has an id that the test's account has not.
async fn stranger(gateway: &TestGateway) -> (AccountId, Client, KeyRecord) {
    let (store, now) = (gateway.store(), gateway.clock().now());
    let account = store.account_create("Stranger", now).await.unwrap().id;
    let mut last = None;
    for key_type in [KeyType::Billing, KeyType::Proxy, KeyType::Proxy] {
        let token = Token::from_random(key_type, gateway_store::random().unwrap());
        let key = store.key_create(&account, &support::new_key(key_type), &token, now, None).await.unwrap().unwrap();
        last = Some((gateway.anonymous.with_token(Some(token.reveal())), key));
    }
    let (client, key) = last.unwrap();
    (account, client, key)
}

#[tokio::test]
async fn unauthorized_without_a_key_that_counts() {
    refusals::unauthorized(&ROUTES).await;
}

#[tokio::test]
async fn forbidden_with_a_key_that_is_off_or_of_the_wrong_type() {
    refusals::forbidden(&ROUTES).await;
}

#[tokio::test]
async fn rate_limited_after_the_last_request_of_a_window() {
    refusals::rate_limited("GET /api/keys", "").await;
    refusals::rate_limited("POST /api/keys", r#"{"name":"x"}"#).await;
}

#[tokio::test]
async fn not_found_for_what_is_no_proxy_key_of_the_account_and_nothing_happens_to_it() {
    let gateway = TestGateway::start().await;
    let (theirs, their_client, their_key) = stranger(&gateway).await;
    let own_billing = gateway.store().key(&gateway.account, KeyId(2)).await.unwrap().unwrap();
    assert_eq!(own_billing.key_type, KeyType::Billing);
    assert_eq!(their_key.id, KeyId(3), "an id that only the other account has");
    for route in &ROUTES[2..] {
        let (method, path) = route.split_once(' ').unwrap();
        for id in ["3", "2", "999", "0", "-1", "x", "1.0", "4294967297", "%20", "1%2F2"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let body = if method == Method::GET || path.ends_with("rotate") { "{}" } else { r#"{"name":"taken"}"# };
            let answer = gateway.billing.send(method, &path.replace("{id}", id), body).await;
            assert_eq!(answer.error(), refusal(404, "not_found"), "{route}: {id}: {}", answer.text);
            assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        }
    }
    assert_eq!(gateway.store().key(&theirs, their_key.id).await.unwrap().unwrap(), their_key);
    assert_eq!(their_client.get("/v1/models").await.status, 200);
    let after = gateway.store().key(&gateway.account, KeyId(2)).await.unwrap().unwrap();
    assert_eq!((after.name, after.prefix), (own_billing.name, own_billing.prefix));
    assert_eq!(gateway.billing.get("/api/balance").await.status, 200);
}

#[tokio::test]
async fn bad_request_names_the_field_of_a_new_key_or_a_change() {
    let gateway = TestGateway::start().await;
    let long = "x".repeat(101);
    let many: Vec<_> = (0..51).map(|n| format!("m{n}")).collect();
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("  ")),
        ("name", json!(long)),
        ("name", json!("a\nb")),
        ("name", json!(7)),
        ("active", json!("yes")),
        ("expires_at", json!("2026-11-23T09:30:00Z")),
        ("expires_at", json!("2026-11-22")),
        ("expires_at", json!("tomorrow")),
        ("expires_at", json!(1_795_426_200)),
        ("expiresAt", json!("never")),
        ("spend_limit", json!(-1)),
        ("spend_limit", json!("a lot")),
        ("spend_limit", json!(0.000_000_000_1)),
        ("spendLimit", json!([])),
        ("spend_limit_reset", json!("hourly")),
        ("spend_limit_reset", json!(1)),
        ("rate_limit", json!(1000)),
        ("rate_limit", json!({"requests": 0, "interval": "10s"})),
        ("rate_limit", json!({"requests": 1, "interval": "2d"})),
        ("rate_limit", json!({"requests": 1, "interval": "10"})),
        ("rate_limit", json!({"requests": 1})),
        ("rateLimit", json!({"requests": 1, "interval": "1s", "burst": 2})),
        ("models", json!("lab/chat")),
        ("models", json!([1])),
        ("models", json!([""])),
        ("models", json!(many)),
        ("spend", json!(5)),
        ("spendLimt", json!(5)),
        ("key", json!("mine")),
        ("id", json!(1)),
    ] {
        let mut body = json!({"name": "good"});
        body[field] = value;
        // A field is named as the documentation has it; one that it does not have, as the client wrote it.
        let snake = [("expiresAt", "expires_at"), ("spendLimit", "spend_limit"), ("rateLimit", "rate_limit")];
        let param = snake.iter().find(|(camel, _)| *camel == field).map_or(field, |(_, snake)| snake);
        for (method, path) in [(Method::POST, KEYS), (Method::PUT, "/api/keys/1"), (Method::PATCH, "/api/keys/1")] {
            let answer = gateway.billing.send(method.clone(), path, &body.to_string()).await;
            assert_eq!(answer.error(), refusal(400, "invalid_parameter"), "{method} {body}: {}", answer.text);
            assert_eq!(answer.json()["error"]["param"], param, "{method} {body}");
            assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
        }
    }
    let list = gateway.billing.get(KEYS).await.json();
    assert_eq!(list["keys"].as_array().unwrap().len(), 1, "nothing was made");
    assert_eq!(list["keys"][0]["name"], "First proxy key", "nothing was changed");
}

#[tokio::test]
async fn bad_request_for_a_new_key_without_a_name_or_switched_off_or_in_no_json() {
    let gateway = TestGateway::start().await;
    for (body, code, param) in [
        ("{}", "missing_parameter", json!("name")),
        ("", "missing_parameter", json!("name")),
        (r#"{"name":null}"#, "missing_parameter", json!("name")),
        (r#"{"name":"x","active":false}"#, "invalid_parameter", json!("active")),
        (r#"{"name":"#, "invalid_json", Value::Null),
        ("name=x", "invalid_json", Value::Null),
    ] {
        let answer = gateway.billing.send(Method::POST, KEYS, body).await;
        assert_eq!(answer.error(), refusal(400, code), "{body}");
        assert_eq!(answer.json()["error"]["param"], param, "{body}");
    }
    for body in ["[]", "7", "\"x\""] {
        assert_eq!(gateway.billing.send(Method::POST, KEYS, body).await.status, 400, "{body}");
    }
    assert_eq!(gateway.billing.get(KEYS).await.json()["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_new_key_has_the_documented_fields_in_order_and_its_token_once() {
    let gateway = TestGateway::start().await;
    gateway.clock().advance_ms(1);
    let answer = gateway.billing.send(Method::POST, KEYS, r#"{"name":" My Production Key "}"#).await;
    assert_eq!((answer.status, answer.header("content-type")), (201, "application/json"));
    let token = answer.json()["key"].as_str().unwrap().to_owned();
    let parsed = Token::parse(&token).expect("a token with a good checksum");
    assert_eq!(parsed.key_type(), KeyType::Proxy);
    let attributes = format!(
        r#"{{"id":3,"name":"My Production Key","prefix":"{}","active":true,"createdAt":"2026-11-23T09:30:00.001Z","expiresAt":null,"lastUsedAt":null,"spendLimit":null,"spendLimitReset":null,"spent":0.00,"rateLimit":{{"requests":1000,"interval":"10s"}},"models":null"#,
        &token[..8]
    );
    assert_eq!(answer.text, format!(r#"{attributes},"key":"{token}"}}"#));
    let shown = gateway.billing.get("/api/keys/3").await;
    assert_eq!((shown.status, shown.text), (200, format!("{attributes}}}")));
    let listed = gateway.billing.get(KEYS).await.text;
    assert!(listed.starts_with(r#"{"keys":[{"id":1,"#) && listed.ends_with(&format!(",{attributes}}}]}}")), "{listed}");
    let patched = gateway.billing.send(Method::PATCH, "/api/keys/3", "{}").await.text;
    assert_eq!(patched, format!("{attributes}}}"));
}

#[tokio::test]
async fn a_new_key_takes_every_field_in_snake_and_in_camel_case() {
    let gateway = TestGateway::start().await;
    let snake = json!({
        "name": "a", "active": true, "expires_at": "2026-12-01", "spend_limit": "12.000000001",
        "spend_limit_reset": "weekly", "rate_limit": {"requests": 7, "interval": "60s"}, "models": ["z/b", MODEL],
    });
    let camel = json!({
        "name": "b", "expiresAt": "2026-12-01T02:00:00+02:00", "spendLimit": 12.5, "spendLimitReset": "monthly",
        "rateLimit": {"requests": 7, "interval": "1h"}, "models": [],
    });
    let texts = [
        (
            snake,
            r#""expiresAt":"2026-12-01T00:00:00.000Z","lastUsedAt":null,"spendLimit":12.000000001,"spendLimitReset":"weekly","spent":0.00,"rateLimit":{"requests":7,"interval":"1m"},"models":["lab/chat","z/b"]"#,
        ),
        (
            camel,
            r#""expiresAt":"2026-12-01T00:00:00.000Z","lastUsedAt":null,"spendLimit":12.50,"spendLimitReset":"monthly","spent":0.00,"rateLimit":{"requests":7,"interval":"1h"},"models":[]"#,
        ),
    ];
    for (body, expected) in texts {
        let answer = gateway.billing.post(KEYS, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert!(answer.text.contains(expected), "{}", answer.text);
        let shown = gateway.billing.get(&path(&answer.json())).await.text;
        assert!(shown.contains(expected), "{shown}");
    }
}

#[tokio::test]
async fn a_new_key_works_at_once() {
    let gateway = TestGateway::start().await;
    let (_, client) = made(&gateway, json!({"name": "fresh"})).await;
    assert_eq!(client.get("/v1/auth/key").await.json()["data"]["label"], "fresh");
    assert_eq!(chat(&client, MODEL).await, served());
    assert_eq!(client.get(KEYS).await.error(), refusal(403, "wrong_key_type"));
}

#[tokio::test]
async fn the_list_has_the_account_s_proxy_keys_and_nothing_that_opens_anything() {
    let gateway = TestGateway::start().await;
    stranger(&gateway).await;
    let (billing_id, _) = gateway.key(KeyType::Billing, |new| new.name = "billing".to_owned()).await;
    let (first, first_client) = made(&gateway, json!({"name": "first"})).await;
    let (second, _) = made(&gateway, json!({"name": "second"})).await;
    let list = gateway.billing.get(KEYS).await;
    let names: Vec<_> =
        list.json()["keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["First proxy key", "first", "second"], "{billing_id} is no proxy key");
    for key in [&first, &second] {
        let token = key["key"].as_str().unwrap();
        let hash = Token::parse(token).unwrap().hash().0.map(|byte| format!("{byte:02x}")).concat();
        assert!(!list.text.contains(&token[8..20]) && !list.text.contains(&hash));
    }
    assert!(!list.text.contains(r#""key":"#) && !list.text.to_lowercase().contains("hash"), "{}", list.text);
    assert_eq!(gateway.billing.send(Method::DELETE, &path(&first), "").await.status, 204);
    let list = gateway.billing.get(KEYS).await.json();
    assert_eq!(list["keys"].as_array().unwrap().len(), 2, "a deleted key is gone");
    assert_eq!(first_client.get("/v1/models").await.status, 401);
}

#[tokio::test]
async fn put_and_patch_change_what_is_there_and_leave_the_rest() {
    let gateway = TestGateway::start().await;
    let body = json!({"name": "a", "spend_limit": 5, "models": [MODEL], "expires_at": "2026-12-01"});
    let (key, client) = made(&gateway, body).await;
    for (method, name) in [(Method::PUT, "by put"), (Method::PATCH, "by patch")] {
        let answer = gateway.billing.send(method, &path(&key), &json!({"name": name}).to_string()).await;
        assert_eq!(answer.status, 200);
        let mut expected = key.clone();
        expected["name"] = json!(name);
        expected.as_object_mut().unwrap().remove("key");
        assert_eq!(answer.json(), expected);
        assert_eq!(gateway.billing.get(&path(&key)).await.text, answer.text);
    }
    let camel = json!({"expiresAt": null, "spendLimit": 7.25, "spendLimitReset": "daily", "rateLimit": {"requests": 2, "interval": "1d"}});
    let after = changed(&gateway, &key, camel).await;
    assert_eq!(after["expiresAt"], Value::Null);
    assert_eq!((&after["spendLimit"], &after["spendLimitReset"]), (&json!(7.25), &json!("daily")));
    assert_eq!((&after["rateLimit"], &after["models"]), (&json!({"requests": 2, "interval": "1d"}), &json!([MODEL])));
    let nulls = json!({"name": null, "active": null, "spend_limit": null, "spend_limit_reset": null, "rate_limit": null, "models": null});
    let after = changed(&gateway, &key, nulls).await;
    assert_eq!((&after["name"], &after["active"]), (&json!("by patch"), &json!(true)), "these can't be taken away");
    assert_eq!(
        (&after["spendLimit"], &after["spendLimitReset"], &after["models"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(after["rateLimit"], json!({"requests": 1000, "interval": "10s"}), "the default");
    assert_eq!(chat(&client, MODEL).await, served());
}

#[tokio::test]
async fn a_deactivated_key_is_refused_at_once_and_works_again_within_ten_seconds_of_its_reactivation() {
    let gateway = TestGateway::start().await;
    let (key, client) = made(&gateway, json!({"name": "a"})).await;
    assert_eq!(client.get("/v1/models").await.status, 200, "its policy is in the authorizer's cache now");
    assert_eq!(changed(&gateway, &key, json!({"active": false})).await["active"], false);
    let by_function = client.post(CHAT, &TestGateway::chat(MODEL)).await;
    assert_eq!(by_function.error(), refusal(403, "key_deactivated"));
    assert_eq!(client.get("/v1/models").await.error(), refusal(403, "key_deactivated"));
    gateway.clock().advance_ms(10_000);
    let by_authorizer = client.post(CHAT, &TestGateway::chat(MODEL)).await;
    assert_eq!(by_authorizer.status, 403);
    assert_eq!(by_authorizer.text, by_function.text, "whoever refuses says the same");
    changed(&gateway, &key, json!({"active": true})).await;
    gateway.clock().advance_ms(10_000);
    assert_eq!(chat(&client, MODEL).await, served());
    assert_eq!(gateway.provider.seen().len(), 1);
    gateway.books_balance(Nanos(1900)).await;
}

#[tokio::test]
async fn an_expired_key_is_unauthorized_from_that_moment_until_its_expiry_is_taken_away() {
    let gateway = TestGateway::start().await;
    let (key, client) = made(&gateway, json!({"name": "a"})).await;
    assert_eq!(
        changed(&gateway, &key, json!({"expires_at": "2026-11-23T09:30:05Z"})).await["expiresAt"],
        "2026-11-23T09:30:05.000Z"
    );
    gateway.clock().advance_ms(4_999);
    assert_eq!(chat(&client, MODEL).await, served());
    gateway.clock().advance_ms(1);
    for answer in [client.post(CHAT, &TestGateway::chat(MODEL)).await, client.get("/v1/auth/key").await] {
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (401, refusals::UNAUTHORIZED),
            "although its policy is cached"
        );
    }
    gateway.clock().advance_ms(DAY_MS);
    assert_eq!(chat(&client, MODEL).await, refusal(401, "invalid_api_key"));
    assert_eq!(gateway.billing.get(&path(&key)).await.json()["active"], true, "expired is not deactivated");
    changed(&gateway, &key, json!({"expires_at": null})).await;
    assert_eq!(chat(&client, MODEL).await, served());
}

#[tokio::test]
async fn a_spend_limit_holds_from_the_moment_it_is_set_and_starts_afresh_with_its_period() {
    let gateway = TestGateway::start().await;
    let (key, client) = made(&gateway, json!({"name": "a"})).await;
    // All the output that it can have, 16384 × 0.40 $/M, and 10 × 0.10 $/M. What the limits leave of it is then less than
    // the shortest answer costs.
    let spend = async || {
        gateway.provider.will(Reply::Json(200, chat_answer("x", 10, 16_384)));
        chat(&client, MODEL).await
    };
    assert_eq!(spend().await, served());
    let spent = gateway.billing.get(&path(&key)).await.text;
    assert!(spent.contains(r#""spent":0.0065546,"#), "{spent}");
    changed(&gateway, &key, json!({"spend_limit": 0.0066})).await;
    assert_eq!(chat(&client, MODEL).await, refusal(403, "spend_limit_reached"), "what was spent before counts");
    changed(&gateway, &key, json!({"spend_limit": 0.0132})).await;
    assert_eq!(spend().await, served());
    assert_eq!(chat(&client, MODEL).await, refusal(403, "spend_limit_reached"));
    gateway.clock().advance_ms(DAY_MS);
    assert_eq!(chat(&client, MODEL).await, refusal(403, "spend_limit_reached"), "without a reset it stays");
    let after = changed(&gateway, &key, json!({"spend_limit_reset": "daily"})).await;
    assert_eq!((&after["spendLimitReset"], after["spent"].to_string()), (&json!("daily"), "0.0".to_owned()));
    assert_eq!(spend().await, served());
    assert_eq!(gateway.billing.get(&path(&key)).await.json()["spent"].to_string(), "0.0065546");
    assert_eq!(spend().await, served());
    assert_eq!(chat(&client, MODEL).await, refusal(403, "spend_limit_reached"));
    gateway.clock().advance_ms(DAY_MS);
    assert_eq!(gateway.billing.get(&path(&key)).await.json()["spent"].to_string(), "0.0", "a new day");
    assert_eq!(spend().await, served());
    changed(&gateway, &key, json!({"spend_limit": 0})).await;
    assert_eq!(chat(&client, MODEL).await, refusal(403, "spend_limit_reached"));
    changed(&gateway, &key, json!({"spend_limit": null})).await;
    assert_eq!(spend().await, served());
    gateway.books_balance(Nanos(6 * 6_554_600)).await;
}

#[tokio::test]
async fn a_rate_limit_holds_from_the_moment_it_is_set() {
    let gateway = TestGateway::start().await;
    let (key, client) = made(&gateway, json!({"name": "a"})).await;
    assert_eq!(client.get("/v1/models").await.header("x-ratelimit-limit-requests"), "1000");
    changed(&gateway, &key, json!({"rate_limit": {"requests": 2, "interval": "1h"}})).await;
    let limits = async || client.get("/v1/models").await.header("x-ratelimit-remaining-requests").to_owned();
    assert_eq!([limits().await, limits().await], ["1", "0"]);
    assert_eq!(chat(&client, MODEL).await, refusal(429, "rate_limit_exceeded"), "one window for all routes");
    changed(&gateway, &key, json!({"rate_limit": null})).await;
    assert_eq!(chat(&client, MODEL).await, served());
}

#[tokio::test]
async fn a_key_with_a_list_of_models_calls_no_other() {
    let gateway = TestGateway::start().await;
    let (key, client) = made(&gateway, json!({"name": "a", "models": ["lab/small"]})).await;
    assert_eq!(chat(&client, MODEL).await, refusal(403, "model_not_allowed"));
    assert_eq!(chat(&client, "lab/small").await, served());
    changed(&gateway, &key, json!({"models": [MODEL]})).await;
    assert_eq!(chat(&client, "lab/small").await, refusal(403, "model_not_allowed"));
    changed(&gateway, &key, json!({"models": []})).await;
    assert_eq!(chat(&client, MODEL).await, refusal(403, "model_not_allowed"), "an empty list allows nothing");
    changed(&gateway, &key, json!({"models": null})).await;
    assert_eq!(chat(&client, MODEL).await, served());
    assert_eq!(gateway.provider.seen().len(), 2, "what is refused reaches no provider");
    gateway.books_balance(Nanos(2 * 1900)).await;
}

#[tokio::test]
async fn a_deleted_key_is_unauthorized_at_once_and_for_good() {
    let gateway = TestGateway::start().await;
    let (key, client) = made(&gateway, json!({"name": "a"})).await;
    assert_eq!(chat(&client, MODEL).await, served(), "its policy is in the authorizer's cache now");
    let deleted = gateway.billing.send(Method::DELETE, &path(&key), "").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    for wait_ms in [0, 9_999, 1, DAY_MS] {
        gateway.clock().advance_ms(wait_ms);
        for answer in [client.post(CHAT, &TestGateway::chat(MODEL)).await, client.get("/v1/models").await] {
            assert_eq!((answer.status, answer.text.as_str()), (401, refusals::UNAUTHORIZED), "{wait_ms}");
        }
    }
    for (method, path) in [
        (Method::GET, path(&key)),
        (Method::PATCH, path(&key)),
        (Method::POST, format!("{}/rotate", path(&key))),
        (Method::DELETE, path(&key)),
    ] {
        assert_eq!(gateway.billing.send(method, &path, "{}").await.error(), refusal(404, "not_found"));
    }
    let (next, _) = made(&gateway, json!({"name": "b"})).await;
    assert_eq!(next["id"], json!(4), "an id is never used again");
    gateway.books_balance(Nanos(1900)).await;
}

#[tokio::test]
async fn what_runs_when_its_key_is_deleted_is_served_and_charged() {
    let gateway = TestGateway::start().await;
    let (key, client) = made(&gateway, json!({"name": "a"})).await;
    gateway.provider.will(Reply::Stepwise(chat_stream(&["Hello", " there"], 11, 2)));
    let mut body = TestGateway::chat(MODEL);
    body["stream"] = true.into();
    let mut running = client.request(Method::POST, CHAT).body(body.to_string()).send().await.unwrap();
    assert!(running.chunk().await.unwrap().is_some());
    assert_eq!(gateway.billing.send(Method::DELETE, &path(&key), "").await.status, 204);
    gateway.provider.steps(9);
    let mut rest = String::new();
    while let Some(chunk) = running.chunk().await.unwrap() {
        rest.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(rest.ends_with("data: [DONE]\n\n"), "{rest}");
    gateway.books_balance(Nanos(1900)).await;
}

#[tokio::test]
async fn last_used_follows_every_use_of_the_key() {
    let gateway = TestGateway::start().await;
    let (key, client) = made(&gateway, json!({"name": "a"})).await;
    let last_used = async || gateway.billing.get(&path(&key)).await.json()["lastUsedAt"].clone();
    assert_eq!(last_used().await, Value::Null);
    gateway.clock().advance_ms(60_000);
    assert_eq!(client.get("/v1/models").await.status, 200);
    assert_eq!(last_used().await, "2026-11-23T09:31:00.000Z");
    gateway.clock().advance_ms(1_500);
    assert_eq!(chat(&client, MODEL).await, served());
    gateway.clock().advance_ms(5_000);
    assert_eq!(last_used().await, "2026-11-23T09:31:01.500Z", "looking at it is no use of it");
}
