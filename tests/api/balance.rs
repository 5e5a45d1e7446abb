//! `GET /api/balance`.

use http::Method;
use support::{MODEL, Reply, TestGateway, chat_answer, refusals};

const ROUTES: [&str; 1] = ["GET /api/balance"];

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
async fn money_is_exact_and_has_two_to_nine_decimals() {
    let gateway = TestGateway::with_credit("1500.50").await;
    let answer = gateway.billing.get("/api/balance").await;
    assert_eq!(answer.text, r#"{"balance":1500.50,"available":1500.50,"held":0.00,"currency":"USD"}"#);
    gateway.provider.will(Reply::Json(200, chat_answer("x", 1, 0)));
    assert_eq!(gateway.proxy.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await.status, 200);
    let answer = gateway.billing.get("/api/balance").await;
    assert_eq!(answer.text, r#"{"balance":1500.4999999,"available":1500.4999999,"held":0.00,"currency":"USD"}"#);
}

#[tokio::test]
async fn a_running_request_is_held_and_not_available() {
    let gateway = TestGateway::start().await;
    gateway.provider.will(Reply::Stepwise(support::chat_stream(&["a"], 3, 1)));
    let mut body = TestGateway::chat("lab/small");
    body["stream"] = true.into();
    let request = gateway.proxy.request(Method::POST, "/v1/chat/completions").body(body.to_string());
    let mut running = request.send().await.unwrap();
    let during = gateway.billing.get("/api/balance").await.json();
    let held = during["held"].as_f64().unwrap();
    assert!(held > 0.0, "{during}");
    assert!((during["available"].as_f64().unwrap() + held - 5.0).abs() < 1e-9, "{during}");
    gateway.provider.steps(3);
    while running.chunk().await.unwrap().is_some() {}
    let after = gateway.billing.get("/api/balance").await;
    assert_eq!(after.text, r#"{"balance":4.9999993,"available":4.9999993,"held":0.00,"currency":"USD"}"#);
}
