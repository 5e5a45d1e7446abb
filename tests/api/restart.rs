//! What was paid for stays, however the process ends.

use std::collections::HashMap;

use gateway_core::money::Nanos;
use modelswitch::Data;
use support::{Folder, MODEL, Process, TestGateway, process};

const TEST: &str = "restart::the_gateway_as_a_process";

#[test]
fn the_gateway_as_a_process() {
    process::run_if_asked();
}

#[tokio::test]
async fn a_charge_is_still_there_after_a_kill_and_a_restart() {
    let folder = Folder::new();
    let data = folder.path("data.db");
    let arguments = ["--data", data.to_str().unwrap()];
    let first = Process::start(TEST, &arguments, &HashMap::new());
    let (proxy, billing) = (first.client("proxy_key"), first.client("billing_key"));
    let body = TestGateway::chat("modelswitch/echo");
    assert_eq!(proxy.post("/v1/chat/completions", &body).await.status, 200);
    let before = billing.get("/api/usage").await.text;
    assert!(before.contains(r#""chargedAmount":0.000001"#), "{before}");
    let (proxy_key, billing_key) = (first.ready["proxy_key"].clone(), first.ready["billing_key"].clone());
    first.kill();
    let second = Process::start(TEST, &arguments, &HashMap::new());
    assert!(second.ready["proxy_key"].is_null(), "no new account is made: {}", second.ready);
    let url = second.ready["url"].as_str().unwrap();
    let billing = support::Client::new(url, billing_key.as_str());
    assert_eq!(billing.get("/api/usage").await.text, before);
    assert_eq!(billing.get("/api/balance").await.json()["balance"].to_string(), "4.999999");
    let proxy = billing.with_token(proxy_key.as_str());
    assert_eq!(proxy.post("/v1/chat/completions", &body).await.status, 200);
}

#[tokio::test]
async fn a_request_whose_process_died_is_released_when_its_hold_expires() {
    let folder = Folder::new();
    let data = Data::File(folder.path("data.db"));
    let first = TestGateway::start_with(|options| options.data = data.clone()).await;
    // What a killed process leaves: a hold that nobody ends.
    let id = gateway_core::ids::RequestId::new(first.clock().now(), [7; 10]);
    let wanted = gateway_store::HoldRequest {
        account: &first.account,
        key: gateway_core::ids::KeyId(1),
        id: &id,
        models: &[vec![MODEL.to_owned()]],
        amount: Nanos::usd(1),
        at: first.clock().now(),
        expires: first.clock().now().plus_ms(960_000),
    };
    let outcome = first.store().hold_place(&wanted).await.unwrap();
    assert!(matches!(outcome, gateway_store::HoldOutcome::Held(_)));
    assert_eq!(first.standing().await.held(), Nanos::usd(1));
    first.clock().advance_ms(960_000);
    // Done in passing by the next request of the key, which is all it takes.
    assert_eq!(first.proxy.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await.status, 200);
    first.books_balance(Nanos(1900)).await;
}
