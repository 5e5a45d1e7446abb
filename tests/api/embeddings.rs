//! `POST /v1/embeddings`.

use gateway_core::{money::Nanos, token::KeyType};
use http::Method;
use serde_json::{Value, json};
use support::{Answer, MODEL, Reply, TestGateway, embeddings_answer, refusals};

const ROUTES: [&str; 1] = ["POST /v1/embeddings"];
const PATH: &str = "/v1/embeddings";
const EMBED: &str = "lab/embed";

/// 7 tokens, as the provider counts by default, at 0.02 USD per million.
const COST: Nanos = Nanos(140);

fn body(input: Value) -> Value {
    json!({"model": EMBED, "input": input})
}

async fn post(gateway: &TestGateway, body: &Value) -> Answer {
    gateway.proxy.post(PATH, body).await
}

/// The ledger's newest line.
async fn line(gateway: &TestGateway) -> Value {
    gateway.billing.get("/api/usage?limit=1").await.json()["usage"][0].clone()
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
    refusals::rate_limited(ROUTES[0], &body(json!("Hello there")).to_string()).await;
}

#[tokio::test]
async fn both_encodings_pass_both_ways_as_they_were_written() {
    let gateway = TestGateway::start().await;
    // 0.25 and -0.5 as little-endian floats of 32 bits.
    for (format, embedding) in [
        (r#","encoding_format":"float""#, "[0.25,-5.0e-1]"),
        (r#","encoding_format":"base64""#, r#""AACAPgAAAL8=""#),
        (r#","encoding_format":null"#, "[0.25,-0.5]"),
        ("", "[ 0.25 , -0.5 ]"),
    ] {
        let told = format!(
            r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding":{embedding}}}],"model":"provider-embedder-2026","usage":{{"prompt_tokens":7,"total_tokens":7}}}}"#
        );
        gateway.provider.will(Reply::Json(200, told.clone()));
        let sent = format!(r#"{{"input":"Hello there","model":"{EMBED}"{format}}}"#);
        let answer = gateway.proxy.send(Method::POST, PATH, &sent).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{format}");
        assert_eq!(answer.text, told.replace(r#""total_tokens":7}"#, r#""total_tokens":7,"cost":0.00000014}"#));
        assert_eq!(gateway.provider.last().body, sent.replace(EMBED, "upstream-embed"));
        assert_eq!(gateway.provider.last().path, "/v1/embeddings");
    }
    gateway.books_balance(Nanos(4 * COST.0)).await;
}

#[tokio::test]
async fn every_form_of_input_reaches_the_provider_untouched() {
    let gateway = TestGateway::start().await;
    for input in [
        r#""Hello there""#,
        r#""h\u00e9llo \ud83d\ude00 there""#,
        r#"["Hello","there"]"#,
        "[ 9906, 1070,1, 2, 3, 4, 5 ]",
        "[[9906,1070,1],[2,3,4,5]]",
    ] {
        let sent = format!(r#"{{"model":"{EMBED}","input":{input}}}"#);
        let answer = gateway.proxy.send(Method::POST, PATH, &sent).await;
        assert_eq!(answer.status, 200, "{input}: {}", answer.text);
        assert_eq!(gateway.provider.last().body, sent.replace(EMBED, "upstream-embed"));
    }
    gateway.books_balance(Nanos(5 * COST.0)).await;
}

#[tokio::test]
async fn dimensions_and_unknown_fields_pass_both_ways_and_the_model_is_what_the_provider_says() {
    let gateway = TestGateway::start().await;
    let told = r#"{"new":{"a":[1.0,null]},"model":"provider-embedder-2026","data":[{"embedding":[1.50],"index":0,"object":"embedding","extra":"x"}],"usage":{"prompt_tokens":7,"total_tokens":7,"detail":{"b": 2}},"tail":true}"#;
    gateway.provider.will(Reply::Json(200, told.to_owned()));
    let sent = format!(
        r#"{{"model":"{EMBED}","dimensions":256,"input":"Hello there","user":"u-1","input_type":{{"deep":[ 1.0 ]}}}}"#
    );
    let answer = gateway.proxy.send(Method::POST, PATH, &sent).await;
    assert_eq!(answer.text, told.replace(r#"{"b": 2}}"#, r#"{"b": 2},"cost":0.00000014}"#));
    assert_eq!(gateway.provider.last().body, sent.replace(EMBED, "upstream-embed"));
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn the_provider_gets_its_credential_and_headers_and_never_the_client_s() {
    let gateway = TestGateway::start().await;
    let request =
        gateway.proxy.request(Method::POST, PATH).header("cookie", "a=b").header("openai-organization", "theirs");
    assert_eq!(Answer::of(request.body(body(json!("Hello there")).to_string())).await.status, 200);
    let seen = gateway.provider.last();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", gateway.credential).as_str()));
    assert_eq!(seen.header("x-team"), Some("gateway-tests"));
    assert!(
        !seen.head.contains("ms-") && seen.header("cookie").is_none() && seen.header("openai-organization").is_none()
    );
}

#[tokio::test]
async fn the_cost_is_exact_in_the_answer_the_ledger_and_the_balance() {
    let gateway = TestGateway::start_with(|options| {
        let model = r#"{"provider":"lab","kind":"embedding","markup_percent":"12.5","price":{"input":"0.129999"}}"#;
        let models = &mut options.settings.as_mut().unwrap().models;
        models.insert("lab/odd".to_owned(), serde_json::from_str(model).unwrap());
    })
    .await;
    gateway.provider.will(Reply::Json(200, embeddings_answer(3)));
    let answer = post(&gateway, &json!({"model": "lab/odd", "input": "Hello there"})).await;
    // 3 × 129999 pico-dollars and an eighth: 438.746… nano-dollars, rounded up once.
    assert!(
        answer.text.contains(r#""usage":{"prompt_tokens":3,"total_tokens":3,"cost":0.000000439}"#),
        "{}",
        answer.text
    );
    let usage = gateway.billing.get("/api/usage").await.text;
    let line = r#""model":"lab/odd","provider":"lab","keyId":1,"promptTokens":3,"completionTokens":0,"cachedTokens":0,"chargedAmount":0.000000439,"status":"completed""#;
    assert!(usage.contains(line), "{usage}");
    assert!(gateway.billing.get("/api/balance").await.text.starts_with(r#"{"balance":4.999999561,"#));
    gateway.books_balance(Nanos(439)).await;
}

#[tokio::test]
async fn the_answer_has_its_id_and_the_key_s_standing() {
    let gateway = TestGateway::start().await;
    let answer = post(&gateway, &body(json!("Hello there"))).await;
    assert_eq!(answer.header("x-request-id"), line(&gateway).await["id"].as_str().unwrap());
    assert_eq!(answer.header("x-ratelimit-limit-requests"), "1000");
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), "999");
    assert_eq!(answer.header("x-ratelimit-reset-requests"), "10s");
}

#[tokio::test]
async fn what_the_provider_did_not_count_is_estimated_and_marked() {
    let gateway = TestGateway::start().await;
    let told = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m"}"#;
    // Text is counted by a tokenizer; tokens are counted as they are.
    for (input, tokens) in
        [(json!("word ".repeat(100)), 101), (json!((0..40).collect::<Vec<_>>()), 40), (json!([[1, 2], [3]]), 3)]
    {
        gateway.provider.will(Reply::Json(200, told.to_owned()));
        gateway.clock().advance_ms(1);
        let answer = post(&gateway, &body(input)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, told), "no usage is made up for the client");
        let line = line(&gateway).await;
        assert_eq!((&line["status"], &line["promptTokens"]), (&json!("estimated"), &json!(tokens)));
    }
    gateway.books_balance(Nanos(144 * 20)).await;
}

#[tokio::test]
async fn bad_request_names_the_field_and_asks_no_provider() {
    let gateway = TestGateway::start().await;
    for (field, value) in [
        ("model", json!(7)),
        ("model", json!("")),
        ("model", json!(["lab/embed"])),
        ("input", json!(7)),
        ("input", json!({"text": "x"})),
        ("input", json!([])),
        ("input", json!([[]])),
        ("input", json!([1, "x"])),
        ("input", json!(["x", 1])),
        ("input", json!([[1], ["x"]])),
        ("input", json!([-1])),
        ("input", json!([1.5])),
        ("encoding_format", json!("hex")),
        ("encoding_format", json!(1)),
        ("dimensions", json!(0)),
        ("dimensions", json!(-1)),
        ("dimensions", json!("256")),
        ("dimensions", json!(1.5)),
    ] {
        let mut body = body(json!("Hello there"));
        body[field] = value;
        let answer = post(&gateway, &body).await;
        assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{body}");
        assert_eq!(answer.json()["error"]["param"], field, "{body}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    for field in ["model", "input"] {
        for body in [json!({"model": EMBED, "input": "x", field: null}), {
            let mut body = body(json!("x"));
            body.as_object_mut().unwrap().remove(field);
            body
        }] {
            let answer = post(&gateway, &body).await;
            assert_eq!(answer.error(), (400, "missing_parameter".to_owned()), "{body}");
            assert_eq!(answer.json()["error"]["param"], field);
        }
    }
    for body in ["", "{", "[]", "null", r#"{"model":"lab/embed","input":"x"}}"#] {
        let answer = gateway.proxy.send(Method::POST, PATH, body).await;
        assert_eq!(answer.error(), (400, "invalid_json".to_owned()), "{body}");
    }
    assert!(gateway.provider.seen().is_empty());
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn bad_request_for_a_chat_model_not_found_for_an_unknown_one() {
    let gateway = TestGateway::start().await;
    for model in [MODEL, "modelswitch/echo"] {
        let answer = post(&gateway, &json!({"model": model, "input": "x"})).await;
        assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{model}");
        assert_eq!(answer.json()["error"]["param"], "model");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("does not make embeddings"));
    }
    for model in ["lab/nothing", "nothing", "embed"] {
        let answer = post(&gateway, &json!({"model": model, "input": "x"})).await;
        assert_eq!(answer.error(), (404, "model_not_found".to_owned()), "{model}");
        assert_eq!(answer.json()["error"]["param"], "model");
    }
    let unserved = post(&gateway, &json!({"model": "text-embedding-3-small", "input": "x"})).await;
    assert_eq!(unserved.error(), (503, "no_provider".to_owned()), "known, but its provider is not set up");
    assert!(gateway.provider.seen().is_empty());
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn a_provider_s_refusal_of_the_request_reaches_the_client() {
    let gateway = TestGateway::start().await;
    let error = |message: &str, code: &str| {
        json!({"error": {"message": message, "type": "invalid_request_error", "param": "dimensions", "code": code}})
            .to_string()
    };
    for (status, code, ours) in [
        (400, "unsupported", "invalid_parameter"),
        (404, "model_gone", "invalid_parameter"),
        (422, "unprocessable", "invalid_parameter"),
        (400, "context_length_exceeded", "context_length_exceeded"),
    ] {
        gateway.provider.will(Reply::Json(status, error("This model has no dimensions", code)));
        let answer = post(&gateway, &body(json!("Hello there"))).await;
        assert_eq!(answer.error(), (400, ours.to_owned()), "{status} {code}");
        let error = answer.json()["error"].clone();
        assert_eq!(
            (&error["message"], &error["param"]),
            (&json!("This model has no dimensions"), &json!("dimensions"))
        );
    }
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn a_provider_s_failure_has_its_row_of_the_table_and_costs_nothing() {
    let gateway = TestGateway::start().await;
    let secret = format!(r#"{{"error":{{"message":"bad key {}"}}}}"#, gateway.credential);
    let busy = r#"{"error":{"message":"slow down"}}"#.to_owned();
    // Garbage ends the connection, so the next request has a fresh one: what fails on that is not tried again. What was
    // kept open may have been closed meanwhile: that is tried once more, and here fails again.
    for (replies, status, code) in [
        (vec![Reply::JsonWith(429, "retry-after", "7".to_owned(), busy.clone())], 503, "upstream_overloaded"),
        (vec![Reply::Json(503, busy.clone())], 503, "upstream_overloaded"),
        (vec![Reply::Json(500, busy.clone())], 502, "upstream_error"),
        (vec![Reply::Json(401, secret.clone())], 502, "upstream_error"),
        (vec![Reply::Json(403, secret)], 502, "upstream_error"),
        (vec![Reply::Json(504, busy)], 504, "upstream_timeout"),
        (vec![Reply::Json(404, "<html>not found</html>".to_owned())], 502, "upstream_error"),
        (vec![Reply::Json(200, "<html>hello</html>".to_owned())], 502, "upstream_error"),
        (vec![Reply::Json(200, "[]".to_owned())], 502, "upstream_error"),
        (vec![Reply::Json(200, r#"{"error":{"message":"broken"}}"#.to_owned())], 502, "upstream_error"),
        (vec![Reply::Close, Reply::Close], 502, "upstream_error"),
        (vec![Reply::Garbage("no HTTP at all\r\n\r\n")], 502, "upstream_error"),
        (vec![Reply::Close], 502, "upstream_error"),
        (vec![Reply::Hang], 504, "upstream_timeout"),
    ] {
        let name = format!("{replies:?}");
        for reply in replies {
            gateway.provider.will(reply);
        }
        let answer = post(&gateway, &body(json!("Hello there"))).await;
        assert_eq!(answer.error(), (status, code.to_owned()), "{name}: {}", answer.text);
        assert_eq!(answer.json()["error"]["type"], "api_error", "{name}");
        assert_eq!(answer.header("retry-after"), if name.contains("retry-after") { "7" } else { "" }, "{name}");
        assert!(!answer.text.contains(&gateway.credential), "{name}: {}", answer.text);
        gateway.books_balance(Nanos::ZERO).await;
    }
}

#[tokio::test]
async fn payment_required_unless_the_free_funds_cover_the_most_that_it_can_cost() {
    // Two letters and their quotes, at 20 nano-dollars a token.
    for (credit, served) in [("0", false), ("0.000000079", false), ("0.00000008", true)] {
        let gateway = TestGateway::with_credit(credit).await;
        gateway.provider.will(Reply::Json(200, embeddings_answer(4)));
        let answer = post(&gateway, &body(json!("hi"))).await;
        if served {
            assert_eq!(answer.status, 200, "{credit}: {}", answer.text);
            gateway.books_balance(Nanos(80)).await;
        } else {
            assert_eq!(answer.error(), (402, "insufficient_balance".to_owned()), "{credit}");
            let error = answer.json()["error"].clone();
            assert_eq!((&error["type"], &error["reason"]), (&json!("billing_error"), &json!("balance")));
            assert_eq!(answer.header("retry-after"), "");
            assert!(gateway.provider.seen().is_empty());
            gateway.books_balance(Nanos::ZERO).await;
        }
    }
}

#[tokio::test]
async fn payment_required_while_another_request_holds_the_funds() {
    let gateway = TestGateway::start_with(|options| {
        options.free_credit = Nanos(500);
        options.timeouts.idle_ms = 60_000;
    })
    .await;
    // Each may cost 13 tokens, 260 nano-dollars, and costs 140.
    let body = body(json!("Hello there"));
    let told = embeddings_answer(7);
    gateway.provider.will(Reply::Stepwise(vec![told[..20].to_owned(), told[20..].to_owned()]));
    let second = async {
        while gateway.provider.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        let answer = post(&gateway, &body).await;
        gateway.provider.steps(1);
        answer
    };
    let (first, second) = tokio::join!(post(&gateway, &body), second);
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(second.error(), (402, "insufficient_balance".to_owned()), "{}", second.text);
    assert_eq!(second.json()["error"]["reason"], "in_flight");
    assert!(second.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(post(&gateway, &body).await.status, 200, "what the first did not cost is free again");
    let last = post(&gateway, &body).await;
    assert_eq!((last.status, &last.json()["error"]["reason"]), (402, &json!("balance")));
    gateway.books_balance(Nanos(2 * COST.0)).await;
}

#[tokio::test]
async fn payment_required_for_a_batch_that_is_more_than_one_input_can_be() {
    // One input is at most 8192 tokens (163840 nano-dollars); of four of 8000 bytes each may be 8000.
    let batch = body(json!(vec!["x".repeat(8_000); 4]));
    let gateway = TestGateway::with_credit("0.0002").await;
    gateway.provider.will(Reply::Json(200, embeddings_answer(32_000)));
    let answer = post(&gateway, &batch).await;
    assert_eq!(answer.error(), (402, "insufficient_balance".to_owned()), "{}", answer.text);
    gateway.books_balance(Nanos::ZERO).await;
    let gateway = TestGateway::with_credit("0.001").await;
    gateway.provider.will(Reply::Json(200, embeddings_answer(32_000)));
    assert_eq!(post(&gateway, &batch).await.status, 200);
    gateway.books_balance(Nanos(640_000)).await;
}

#[tokio::test]
async fn forbidden_over_the_key_s_spend_limit_or_beside_its_models() {
    let gateway = TestGateway::start().await;
    let (_, poor) = gateway.key(KeyType::Proxy, |new| new.spend_limit = Some(Nanos(300))).await;
    assert_eq!(poor.post(PATH, &body(json!("Hello there"))).await.status, 200);
    let answer = poor.post(PATH, &body(json!("Hello there"))).await;
    assert_eq!(answer.error(), (403, "spend_limit_reached".to_owned()), "160 are left, and it may cost 260");
    assert_eq!(answer.json()["error"]["type"], "permission_error");
    let (_, chatty) = gateway.key(KeyType::Proxy, |new| new.models = Some([MODEL.to_owned()].into())).await;
    let answer = chatty.post(PATH, &body(json!("Hello there"))).await;
    assert_eq!(answer.error(), (403, "model_not_allowed".to_owned()));
    let (_, embedder) = gateway.key(KeyType::Proxy, |new| new.models = Some([EMBED.to_owned()].into())).await;
    assert_eq!(embedder.post(PATH, &body(json!("Hello there"))).await.status, 200);
    gateway.books_balance(Nanos(2 * COST.0)).await;
}

#[tokio::test]
async fn a_provider_that_bills_more_than_was_held_is_paid_what_it_billed() {
    let gateway = TestGateway::start().await;
    gateway.provider.will(Reply::Json(200, embeddings_answer(1_000_000)));
    let answer = post(&gateway, &body(json!("hi"))).await;
    assert!(answer.text.contains(r#""cost":0.02}"#), "{}", answer.text);
    gateway.books_balance(Nanos(20_000_000)).await;
}
