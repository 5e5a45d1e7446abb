//! The product's own page, statement by statement, in its order.

use gateway_core::{ledger::EntryKind, money::Nanos, token::KeyType};
use gateway_store::KeyChange;
use http::Method;
use modelswitch::Data;
use serde_json::json;
use support::{MODEL, TestGateway, refusals};

const CHAT: &str = "/v1/chat/completions";

async fn new_key(gateway: &TestGateway) -> serde_json::Value {
    let answer = gateway.billing.post("/api/keys", &json!({"name": "My Production Key"})).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn all_inference_requests_require_a_bearer_token_in_the_authorization_header() {
    let gateway = TestGateway::start().await;
    for (method, path) in [(Method::POST, CHAT), (Method::POST, "/v1/embeddings"), (Method::GET, "/v1/models")] {
        let answer = gateway.anonymous.send(method, path, "{}").await;
        assert_eq!((answer.status, answer.text.as_str()), (401, refusals::UNAUTHORIZED), "{path}");
    }
}

#[tokio::test]
async fn each_key_starts_with_ms_and_is_hashed_before_storage() {
    let folder = support::Folder::new();
    let gateway = TestGateway::start_with(|options| options.data = Data::File(folder.path("data.db"))).await;
    let key = new_key(&gateway).await;
    let token = key["key"].as_str().unwrap();
    assert!(token.starts_with("ms-"));
    // Every byte of the database's files.
    let stored = folder.contents();
    assert!(stored.contains("My Production Key"));
    assert!(!stored.contains(&token[8..]), "the token is stored");
}

#[tokio::test]
async fn the_full_value_is_only_shown_once_at_creation() {
    let gateway = TestGateway::start().await;
    let key = new_key(&gateway).await;
    let token = key["key"].as_str().unwrap();
    let path = format!("/api/keys/{}", key["id"]);
    for answer in [gateway.billing.get("/api/keys").await, gateway.billing.get(&path).await] {
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains(&token[8..]) && !answer.text.contains("hash"), "{}", answer.text);
        assert!(answer.text.contains(&token[..8]), "its first 8 characters tell it apart");
    }
}

#[tokio::test]
async fn a_lost_key_can_be_deactivated_and_a_new_one_created() {
    let gateway = TestGateway::start().await;
    let lost = new_key(&gateway).await;
    let path = format!("/api/keys/{}", lost["id"]);
    assert_eq!(gateway.billing.send(Method::PUT, &path, r#"{"active":false}"#).await.status, 200);
    let fresh = new_key(&gateway).await;
    gateway.clock().advance_ms(10_000);
    let with = |key: &serde_json::Value| gateway.anonymous.with_token(key["key"].as_str());
    assert_eq!(with(&lost).get("/v1/auth/key").await.error(), (403, "key_deactivated".to_owned()));
    assert_eq!(with(&fresh).get("/v1/auth/key").await.status, 200);
}

#[tokio::test]
async fn proxy_keys_open_v1_and_billing_keys_open_api_and_neither_the_other() {
    let gateway = TestGateway::start().await;
    assert_eq!(gateway.proxy.get("/v1/models").await.status, 200);
    assert_eq!(gateway.billing.get("/api/balance").await.status, 200);
    assert_eq!(gateway.proxy.get("/api/balance").await.error(), (403, "wrong_key_type".to_owned()));
    assert_eq!(gateway.billing.get("/v1/models").await.error(), (403, "wrong_key_type".to_owned()));
}

#[tokio::test]
async fn balance_usage_and_transactions_are_open_to_a_billing_key() {
    let gateway = TestGateway::start().await;
    for path in ["/api/balance", "/api/usage", "/api/transactions"] {
        assert_eq!(gateway.billing.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_page_s_request_is_answered() {
    let gateway = TestGateway::start().await;
    let body = format!(r#"{{"model": "{MODEL}", "messages": [{{"role": "user", "content": "Hello!"}}]}}"#);
    let answer = gateway.proxy.send(Method::POST, CHAT, &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello there");
}

#[tokio::test]
async fn unauthorized_is_the_page_s_body_byte_for_byte_for_a_missing_malformed_invalid_or_expired_key() {
    refusals::unauthorized(&["POST /v1/chat/completions"]).await;
}

#[tokio::test]
async fn forbidden_when_the_key_is_deactivated_or_its_spend_limit_has_been_reached() {
    let gateway = TestGateway::start().await;
    let (id, client) = gateway.key(KeyType::Proxy, |new| new.spend_limit = Some(Nanos(1))).await;
    let answer = client.post(CHAT, &TestGateway::chat(MODEL)).await;
    assert_eq!(answer.error(), (403, "spend_limit_reached".to_owned()));
    let change = KeyChange { active: Some(false), ..KeyChange::default() };
    gateway.store().key_update(&gateway.account, id, &change, gateway.clock().now()).await.unwrap();
    assert_eq!(client.post(CHAT, &TestGateway::chat(MODEL)).await.error(), (403, "key_deactivated".to_owned()));
}

#[tokio::test]
async fn payment_required_when_the_balance_is_insufficient_until_it_is_topped_up() {
    let gateway = TestGateway::with_credit("0").await;
    assert_eq!(
        gateway.proxy.post(CHAT, &TestGateway::chat(MODEL)).await.error(),
        (402, "insufficient_balance".to_owned())
    );
    gateway.credit("10", EntryKind::Payment).await;
    assert_eq!(gateway.proxy.post(CHAT, &TestGateway::chat(MODEL)).await.status, 200);
}

#[tokio::test]
async fn the_limit_field_reflects_the_current_account_balance() {
    let gateway = TestGateway::with_credit("0").await;
    gateway.credit("1500.50", EntryKind::Payment).await;
    let text = gateway.proxy.get("/v1/auth/key").await.text;
    assert!(text.starts_with(r#"{"data":{"label":"#), "{text}");
    assert!(
        text.contains(
            r#""usage":0.00,"limit":1500.50,"is_free_tier":false,"rate_limit":{"requests":1000,"interval":"10s"}"#
        ),
        "{text}"
    );
    assert_eq!(gateway.proxy.post(CHAT, &TestGateway::chat(MODEL)).await.status, 200);
    let text = gateway.proxy.get("/v1/auth/key").await.text;
    assert!(text.contains(r#""usage":0.0000019,"limit":1500.4999981"#), "{text}");
}
