//! A request that can't finish before the platform would end its process is ended by us: cut off, settled, and told so.

use gateway_core::money::Nanos;
use gateway_upstream::Timeouts;
use serde_json::{Value, json};
use support::{Answer, MODEL, Reply, TestGateway, chat_stream};

const CHAT: &str = "/v1/chat/completions";

/// A gateway that would wait for its providers for longer than a test runs.
async fn gateway() -> TestGateway {
    TestGateway::start_with(|options| options.timeouts = Timeouts::default()).await
}

fn streaming() -> Value {
    let mut body = TestGateway::chat(MODEL);
    body["stream"] = json!(true);
    body
}

/// Sends a request, waits until the provider has it, which says nothing, and moves the clock on by `ms`.
async fn asked_too_late(gateway: &TestGateway, path: &str, body: &Value, ms: u64) -> Answer {
    gateway.provider.will(Reply::Hang);
    let before = gateway.provider.seen().len();
    let late = async {
        while gateway.provider.seen().len() == before {
            tokio::task::yield_now().await;
        }
        gateway.clock().advance_ms(ms);
    };
    tokio::join!(gateway.proxy.post(path, body), late).0
}

#[tokio::test]
async fn a_stream_that_runs_out_of_time_is_cut_off_charged_for_what_came_and_told_so() {
    let gateway = gateway().await;
    let words = chat_stream(&["Hello", " there"], 11, 2)[..2].to_vec();
    gateway.provider.will(Reply::HungStream(words));
    let mut answer = gateway.proxy.request(http::Method::POST, CHAT).json(&streaming()).send().await.unwrap();
    let mut text = String::new();
    while !text.contains(" there") {
        text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    // The template gives it 15 minutes; five seconds of them are for the books.
    gateway.clock().advance_ms(895_000);
    while let Some(bytes) = answer.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    let last: Value = serde_json::from_str(text.trim_end().rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "error");
    assert_eq!((&last["error"]["type"], &last["error"]["code"]), (&json!("api_error"), &json!("upstream_timeout")));

    gateway.idle_books().await;
    let entry = &gateway.billing.get("/api/usage").await.json()["usage"][0];
    // The two words that were sent, and the two that came, with what stands around each message.
    assert_eq!((&entry["status"], &entry["completionTokens"]), (&json!("estimated"), &json!(2)), "{entry}");
    assert!(gateway.charged().await > Nanos::ZERO);
}

#[tokio::test]
async fn a_request_that_runs_out_of_time_before_an_answer_is_504_and_costs_nothing() {
    let gateway = gateway().await;
    let embeddings = json!({"model": "lab/embed", "input": "Hello"});
    for (path, body, ms) in [
        (CHAT, &streaming(), 895_000),
        (CHAT, &TestGateway::chat(MODEL), 895_000),
        ("/v1/embeddings", &embeddings, 24_000),
    ] {
        let answer = asked_too_late(&gateway, path, body, ms).await;
        assert_eq!(answer.error(), (504, "upstream_timeout".to_owned()), "{}", answer.text);
        assert_eq!(answer.json()["error"]["message"], "The request took too long.");
        gateway.books_balance(Nanos::ZERO).await;
    }
    assert!(gateway.spare.seen().is_empty(), "nobody else is asked: there is no time");
}
