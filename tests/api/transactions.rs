//! `GET /api/transactions`.

use gateway_core::ledger::EntryKind;
use support::{MODEL, TestGateway, refusals};

const ROUTES: [&str; 1] = ["GET /api/transactions"];

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
    refusals::rate_limited(ROUTES[0], "").await;
}

#[tokio::test]
async fn bad_request_for_a_page_that_cannot_be() {
    let gateway = TestGateway::start().await;
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=51", "limit"),
        ("limit=x", "limit"),
        ("offset=-1", "offset"),
        ("cursor=x", "cursor"),
    ] {
        let answer = gateway.billing.get(&format!("/api/transactions?{query}")).await;
        assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{query}");
        assert_eq!(answer.json()["error"]["param"], param);
    }
}

#[tokio::test]
async fn every_change_of_the_funds_is_there_newest_first() {
    let gateway = TestGateway::start().await;
    gateway.clock().advance_ms(1000);
    gateway.credit("20", EntryKind::Payment).await;
    gateway.clock().advance_ms(1000);
    assert_eq!(gateway.proxy.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await.status, 200);
    let answer = gateway.billing.get("/api/transactions").await;
    let list = answer.json()["transactions"].clone();
    let shown: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["type"].as_str().unwrap(), it["createdAt"].as_str().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            ("usage", "2026-11-23T09:30:02.000Z"),
            ("payment", "2026-11-23T09:30:01.000Z"),
            ("adjustment", "2026-11-23T09:30:00.000Z"),
        ]
    );
    // 11 × 0.10 $/M + 2 × 0.40 $/M.
    assert!(
        answer.text.contains(r#""amount":-0.0000019,"type":"usage","description":"lab/chat (key 1)""#),
        "{}",
        answer.text
    );
    assert!(answer.text.contains(r#""amount":20.00,"type":"payment""#), "{}", answer.text);
    assert!(answer.json()["nextCursor"].is_null());
}

#[tokio::test]
async fn pages_by_cursor_and_by_offset_give_each_once() {
    let gateway = TestGateway::start().await;
    for _ in 0..4 {
        gateway.clock().advance_ms(1000);
        gateway.credit("1", EntryKind::Payment).await;
    }
    let whole = gateway.billing.get("/api/transactions").await.json();
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["transactions"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut by_cursor = Vec::new();
    let mut path = "/api/transactions?limit=2".to_owned();
    loop {
        let page = gateway.billing.get(&path).await.json();
        by_cursor.extend(ids(&page));
        match page["nextCursor"].as_str() {
            Some(cursor) => path = format!("/api/transactions?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    let mut by_offset = Vec::new();
    for offset in [0, 2, 4] {
        by_offset.extend(ids(&gateway.billing.get(&format!("/api/transactions?limit=2&offset={offset}")).await.json()));
    }
    assert_eq!(by_cursor, ids(&whole));
    assert_eq!(by_offset, ids(&whole));
    assert_eq!(by_cursor.len(), 5);
}
