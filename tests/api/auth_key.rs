//! `GET /v1/auth/key` and `GET /v1/key`.

use gateway_core::{ledger::EntryKind, moment::Reset, money::Nanos, token::KeyType};
use support::{MODEL, TestGateway, refusals};

const ROUTES: [&str; 2] = ["GET /v1/auth/key", "GET /v1/key"];

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
    for route in ROUTES {
        refusals::rate_limited(route, "").await;
    }
}

#[tokio::test]
async fn the_answer_is_the_page_s_field_by_field_in_order() {
    let gateway = TestGateway::with_credit("0").await;
    gateway.credit("1500.50", EntryKind::Payment).await;
    let (_, client) = gateway.key(KeyType::Proxy, |new| new.name = "My Production Key".to_owned()).await;
    for path in ["/v1/auth/key", "/v1/key"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.text,
            r#"{"data":{"label":"My Production Key","usage":0.00,"limit":1500.50,"is_free_tier":false,"rate_limit":{"requests":1000,"interval":"10s"},"spend_limit":null,"spend_limit_remaining":null,"spend_limit_reset":null,"expires_at":null}}"#
        );
    }
}

#[tokio::test]
async fn usage_and_what_is_left_of_a_limit_follow_the_spending() {
    let gateway = TestGateway::start().await;
    let (_, client) = gateway
        .key(KeyType::Proxy, |new| {
            new.spend_limit = Some(Nanos::usd(1));
            new.reset = Some(Reset::Daily);
            new.expires_at = Some(support::START.plus_ms(3 * 86_400_000));
        })
        .await;
    assert_eq!(client.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await.status, 200);
    let text = client.get("/v1/auth/key").await.text;
    assert!(text.contains(r#""usage":0.0000019,"limit":4.9999981,"is_free_tier":true"#), "{text}");
    assert!(text.contains(r#""spend_limit":1.00,"spend_limit_remaining":0.9999981,"spend_limit_reset":"daily","expires_at":"2026-11-26T09:30:00.000Z""#), "{text}");
    gateway.clock().advance_ms(86_400_000);
    let text = client.get("/v1/auth/key").await.text;
    assert!(text.contains(r#""usage":0.0000019"#) && text.contains(r#""spend_limit_remaining":1.00"#), "{text}");
}
