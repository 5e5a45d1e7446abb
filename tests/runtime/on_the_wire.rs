//! What goes to Lambda's runtime API of an answer that streams.

use serde_json::json;
use support::lambda::Function;

use crate::scene::{LONG, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_is_posted_as_lambda_wants_it() {
    let scene = Scene::start(Function::ToldStreaming, 1).await;
    let answer = scene.invoke("one", "well", LONG).ended().await;
    let (line, headers) = answer.head.trim_end().split_once("\r\n").unwrap();
    assert_eq!(line, "POST /2018-06-01/runtime/invocation/invocation-1/response HTTP/1.1");
    let mut headers: Vec<_> = headers.lines().filter(|header| !header.starts_with("user-agent: ")).collect();
    headers.sort_unstable();
    let host = format!("host: {}", scene.api.address);
    let expected = [
        "content-type: application/vnd.awslambda.http-integration-response",
        &host,
        "lambda-runtime-function-response-mode: streaming",
        "lambda-runtime-invocation-id: attempt-at-invocation-1",
        "trailer: Lambda-Runtime-Function-Error-Body",
        "trailer: Lambda-Runtime-Function-Error-Type",
        "transfer-encoding: chunked",
    ];
    assert_eq!(headers, expected);
    assert_eq!(answer.prelude["statusCode"], 200);
    assert_eq!(answer.prelude["headers"]["content-type"], "text/plain");
    assert_eq!(answer.prelude["cookies"], json!([]));
    assert_eq!(answer.text, "well");
}

/// The runtime's own connection holds small pieces back, and ours does not, which `gateway-lambda` tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_does_not_go_by_the_connection_that_asks_for_events() {
    let scene = Scene::start(Function::ToldStreaming, 1).await;
    for platform_id in ["one", "two", "three"] {
        assert!(!scene.invoke(platform_id, "well", LONG).ended().await.asks_for_events, "{platform_id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_no_request_fails_its_invocation_and_the_process_goes_on() {
    let scene = Scene::start(Function::ToldStreaming, 1).await;
    let answer = scene.api.invoke(&json!({"is": "no request"}), LONG).ended().await;
    assert_eq!(answer.to, "error", "{answer:?}");
    assert_eq!(scene.invoke("two", "well", LONG).ended().await.status(), 200);
}
