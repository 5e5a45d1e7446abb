//! `GET /v1/models` and `GET /v1/models/{id}`.

use support::{MODEL, TestGateway, refusals};

const ROUTES: [&str; 2] = ["GET /v1/models", "GET /v1/models/{id+}"];

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
    refusals::rate_limited("GET /v1/models", "").await;
}

#[tokio::test]
async fn not_found_for_a_model_that_nobody_serves_here() {
    let gateway = TestGateway::start().await;
    // Unknown, known without a price, and known of a provider that is not set up.
    let _route = "GET /v1/models/{id+}";
    for id in ["nothing", "lab/unpriced", "gpt-4o", "lab/chat/more"] {
        let answer = gateway.proxy.get(&format!("/v1/models/{id}")).await;
        assert_eq!(answer.error(), (404, "model_not_found".to_owned()), "{id}");
    }
}

#[tokio::test]
async fn the_list_has_openai_s_shape_and_what_is_served_alone() {
    let gateway = TestGateway::start().await;
    let list = gateway.proxy.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["lab/chat", "lab/embed", "lab/small", "modelswitch/echo", "spare/chat"]);
    for model in list["data"].as_array().unwrap() {
        assert_eq!(model["object"], "model");
        assert!(model["created"].is_u64() && model["owned_by"].is_string() && model["name"].is_string());
    }
}

#[tokio::test]
async fn one_model_tells_its_price_per_token_as_strings() {
    let gateway = TestGateway::start().await;
    let model = gateway.proxy.get(&format!("/v1/models/{MODEL}")).await.json();
    assert_eq!(model["id"], MODEL);
    assert_eq!(model["owned_by"], "lab");
    assert_eq!(model["context_length"], 128_000);
    assert_eq!(model["max_output_tokens"], 16_384);
    assert_eq!(model["pricing"]["prompt"], "0.0000001");
    assert_eq!(model["pricing"]["completion"], "0.0000004");
    assert_eq!(model["architecture"]["input_modalities"], serde_json::json!(["text"]));
    assert!(model["supported_parameters"].is_array());
    let escaped = gateway.proxy.get("/v1/models/lab%2Fchat").await;
    assert_eq!(escaped.json()["id"], MODEL, "SDKs escape the slash");
}
