//! What clients and providers do wrong: each gets its row of the error table, nothing is charged that should not be, and
//! nothing is held afterwards.

use gateway_core::money::Nanos;
use http::Method;
use support::{Answer, MODEL, Reply, TestGateway, chat_stream};

const CHAT: &str = "/v1/chat/completions";

async fn refused(gateway: &TestGateway, body: impl Into<reqwest::Body>) -> Answer {
    Answer::of(gateway.proxy.request(Method::POST, CHAT).body(body)).await
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_invalid_json() {
    let gateway = TestGateway::start().await;
    for body in ["", "{", "[]", "null", "hello", r#"{"model":"#, r#"{"model":"a"} trailing"#] {
        let answer = refused(&gateway, body).await;
        assert_eq!(answer.error(), (400, "invalid_json".to_owned()), "{body}");
    }
    let invalid_utf8 = [b"{\"model\":\"lab/chat\",\"messages\":[\"".as_slice(), &[0xFF, 0xFE], b"\"]}"].concat();
    assert_eq!(refused(&gateway, invalid_utf8).await.error(), (400, "invalid_json".to_owned()));
    assert!(gateway.provider.seen().is_empty());
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let gateway = TestGateway::start().await;
    for (field, value) in [
        ("model", "7"),
        ("messages", "\"hi\""),
        ("messages", "[]"),
        ("stream", "1"),
        ("max_tokens", "-5"),
        ("max_completion_tokens", "\"many\""),
        ("n", "0"),
        ("n", "1000000"),
        ("stream_options", "true"),
        ("models", "{}"),
    ] {
        let mut body = TestGateway::chat(MODEL);
        body[field] = serde_json::from_str(value).unwrap();
        let answer = gateway.proxy.post(CHAT, &body).await;
        assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{field}: {value}");
        assert_eq!(answer.json()["error"]["param"], field);
    }
    for field in ["model", "messages"] {
        let mut body = TestGateway::chat(MODEL);
        body.as_object_mut().unwrap().remove(field);
        let answer = gateway.proxy.post(CHAT, &body).await;
        assert_eq!(answer.error(), (400, "missing_parameter".to_owned()));
        assert_eq!(answer.json()["error"]["param"], field);
    }
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn a_field_given_twice_counts_once_and_the_same_for_us_and_the_provider() {
    let gateway = TestGateway::start().await;
    let body = r#"{"model":"lab/nothing","max_tokens":1,"model":"lab/chat","messages":[{"role":"user","content":"x"}],"max_tokens":5}"#;
    assert_eq!(gateway.proxy.send(Method::POST, CHAT, body).await.status, 200);
    let seen = gateway.provider.last().body;
    assert_eq!(seen.matches("max_tokens").count(), 1, "{seen}");
    assert!(seen.contains(r#""max_tokens":5"#) && seen.contains("upstream-chat"), "{seen}");
}

#[tokio::test]
async fn five_megabytes_pass_and_what_lambda_cannot_carry_is_too_large() {
    let gateway = TestGateway::with_credit("100").await;
    let mut body = TestGateway::chat(MODEL);
    body["messages"][0]["content"] = "a".repeat(5_000_000).into();
    assert_eq!(gateway.proxy.post(CHAT, &body).await.status, 200);
    assert!(gateway.provider.last().body.len() > 5_000_000);
    body["messages"][0]["content"] = "a".repeat(7_000_000).into();
    let answer = gateway.proxy.post(CHAT, &body).await;
    assert_eq!(answer.error(), (413, "request_too_large".to_owned()));
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    assert_eq!(gateway.provider.seen().len(), 1);
    gateway.books_balance(Nanos(1900)).await;
}

#[tokio::test]
async fn a_huge_header_is_refused_in_our_envelope() {
    let gateway = TestGateway::start().await;
    let request = gateway.proxy.request(Method::GET, "/v1/models").header("x-huge", "a".repeat(12_000));
    let answer = Answer::of(request).await;
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    assert!(answer.json()["error"]["code"].is_string(), "{}", answer.text);
}

/// A provider's failure before any content: status and code for the client.
async fn failure(gateway: &TestGateway, stream: bool, reply: Reply, row: (u16, &str)) -> Answer {
    let told = format!("{reply:?}");
    gateway.provider.will(reply);
    let mut body = TestGateway::chat(MODEL);
    body["stream"] = stream.into();
    let answer = gateway.proxy.post(CHAT, &body).await;
    assert_eq!(answer.error(), (row.0, row.1.to_owned()), "stream {stream}: {told}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-ratelimit-limit-requests"), "1000");
    gateway.books_balance(Nanos::ZERO).await;
    answer
}

#[tokio::test]
async fn a_provider_s_failure_has_its_row_and_costs_nothing() {
    let gateway = TestGateway::start().await;
    let error =
        |message: &str| format!(r#"{{"error":{{"message":"{message}","type":"x","param":"top_p","code":null}}}}"#);
    for stream in [false, true] {
        let answer =
            failure(&gateway, stream, Reply::Json(400, error("top_p is odd")), (400, "invalid_parameter")).await;
        assert_eq!(answer.json()["error"]["message"], "top_p is odd");
        assert_eq!(answer.json()["error"]["param"], "top_p");
        let long = r#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#.to_owned();
        failure(&gateway, stream, Reply::Json(400, long), (400, "context_length_exceeded")).await;
        for status in [401, 403] {
            let answer =
                failure(&gateway, stream, Reply::Json(status, error("our key")), (502, "upstream_error")).await;
            assert!(!answer.text.contains("our key"), "{}", answer.text);
        }
        let wait = Reply::JsonWith(429, "retry-after", "17".to_owned(), error("slow"));
        let answer = failure(&gateway, stream, wait, (503, "upstream_overloaded")).await;
        assert_eq!(answer.header("retry-after"), "17");
        failure(&gateway, stream, Reply::Json(500, error("secret trace")), (502, "upstream_error")).await;
        failure(&gateway, stream, Reply::Json(503, error("busy")), (503, "upstream_overloaded")).await;
        failure(&gateway, stream, Reply::Hang, (504, "upstream_timeout")).await;
        failure(&gateway, stream, Reply::Garbage("no http at all\r\n\r\n"), (502, "upstream_error")).await;
        failure(&gateway, stream, Reply::Json(200, "<html>".to_owned()), (502, "upstream_error")).await;
        failure(&gateway, stream, Reply::Json(200, error("in a 200")), (502, "upstream_error")).await;
    }
    failure(&gateway, true, Reply::Stream(vec![]), (502, "upstream_error")).await;
    failure(
        &gateway,
        true,
        Reply::Stream(vec!["data: {\"error\":{\"message\":\"x\",\"code\":429}}\n\n".to_owned()]),
        (503, "upstream_overloaded"),
    )
    .await;
    failure(&gateway, true, Reply::HungStream(vec![]), (504, "upstream_timeout")).await;
}

#[tokio::test]
async fn a_stream_that_fails_in_the_middle_ends_with_an_error_event_and_costs_nothing() {
    let gateway = TestGateway::start().await;
    let begun = chat_stream(&["one", "two"], 11, 2)[..2].to_vec();
    let mut sick = begun.clone();
    sick.push("data: {\"error\":{\"message\":\"the prompt, quoted\",\"type\":\"server_error\"}}\n\n".to_owned());
    for (reply, code) in [
        (Reply::CutStream(begun.clone()), "upstream_error"),
        (Reply::Stream(begun.clone()), "upstream_error"),
        (Reply::HungStream(begun.clone()), "upstream_timeout"),
        (Reply::Stream(sick), "upstream_error"),
    ] {
        let told = format!("{reply:?}");
        gateway.provider.will(reply);
        let mut body = TestGateway::chat(MODEL);
        body["stream"] = true.into();
        let answer = gateway.proxy.post(CHAT, &body).await;
        assert_eq!(answer.status, 200, "{told}");
        let events = answer.events();
        assert_eq!(events.len(), 3, "{told}: {}", answer.text);
        let last: serde_json::Value = serde_json::from_str(&events[2]).unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "error", "{told}");
        assert_eq!(last["error"]["code"], code, "{told}");
        assert_eq!(last["error"]["type"], "api_error");
        assert!(!answer.text.contains("quoted"), "{told}");
        gateway.books_balance(Nanos::ZERO).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_no_answer() {
    let gateway = TestGateway::start().await;
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":";
    failure(&gateway, false, Reply::Garbage(cut), (502, "upstream_error")).await;
}
