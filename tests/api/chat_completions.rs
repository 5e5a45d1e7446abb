//! `POST /v1/chat/completions`.

use gateway_core::{ledger::EntryKind, money::Nanos, token::KeyType};
use gateway_upstream::Timeouts;
use http::Method;
use serde_json::json;
use support::{MODEL, Reply, TestGateway, chat_answer, chat_stream, refusals};

const ROUTES: [&str; 1] = ["POST /v1/chat/completions"];
const PATH: &str = "/v1/chat/completions";

/// 11 input tokens at 0.10 USD and 2 output tokens at 0.40 USD per million, as the provider answers by default.
const COST: Nanos = Nanos(1900);

fn streamed(model: &str) -> serde_json::Value {
    let mut body = TestGateway::chat(model);
    body["stream"] = true.into();
    body
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
    refusals::rate_limited(ROUTES[0], &TestGateway::chat(MODEL).to_string()).await;
}

#[tokio::test]
async fn unknown_fields_pass_both_ways_and_the_model_is_what_the_provider_says() {
    let gateway = TestGateway::start().await;
    let answer = r#"{"id":"x","model":"provider-model-2026","new_thing":{"a":[1.0,null]},"choices":[{"index":0,"message":{"role":"assistant","content":"hi","reasoning_content":"hm"},"finish_reason":"eos"}],"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13,"extra":{"b": 2}},"tail":true}"#;
    gateway.provider.will(Reply::Json(200, answer.to_owned()));
    let body = format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"hi","x":1.50}}],"custom":{{"deep":[ 1 ]}},"temperature":0.70}}"#
    );
    let got = gateway.proxy.send(Method::POST, PATH, &body).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.text, answer.replace(r#""extra":{"b": 2}}"#, r#""extra":{"b": 2},"cost":0.0000019}"#));
    assert_eq!(gateway.provider.last().body, body.replace(MODEL, "upstream-chat"));
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn the_provider_gets_its_credential_and_headers_and_never_the_client_s() {
    let gateway = TestGateway::start().await;
    let request =
        gateway.proxy.request(Method::POST, PATH).header("x-forwarded-for", "1.2.3.4").header("cookie", "a=b");
    let answer = support::Answer::of(request.body(TestGateway::chat(MODEL).to_string())).await;
    assert_eq!(answer.status, 200);
    let seen = gateway.provider.last();
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", gateway.credential).as_str()));
    assert_eq!(seen.header("x-team"), Some("gateway-tests"));
    assert!(!seen.head.contains("ms-") && seen.header("cookie").is_none() && seen.header("x-forwarded-for").is_none());
}

#[tokio::test]
async fn every_answer_names_its_request_and_the_rate_window() {
    let gateway = TestGateway::start().await;
    let first = gateway.proxy.post(PATH, &TestGateway::chat(MODEL)).await;
    let second = gateway.proxy.post(PATH, &streamed(MODEL)).await;
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    for (answer, left) in [(first, "999"), (second, "998")] {
        assert_eq!(answer.header("x-request-id").len(), 26);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "1000");
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), left);
        assert_eq!(answer.header("x-ratelimit-reset-requests"), "10s");
    }
}

#[tokio::test]
async fn a_stream_s_frames_reach_the_client_as_they_came() {
    let gateway = TestGateway::start().await;
    let frames = [
        ": a comment\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a \\\"usage\\\": b\"}}],\"x\": 1.0}\n\n",
        "event: message\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":2}}\n\n",
        "data: [DONE]\n\n",
    ];
    // Split where it hurts: in the middle of frames, of line ends and of the usage.
    let whole = frames.concat();
    let pieces = whole.as_bytes().chunks(7).map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect();
    gateway.provider.will(Reply::Stream(pieces));
    let answer = gateway.proxy.post(PATH, &streamed(MODEL)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(answer.text, [frames[0], frames[1], frames[2], frames[4]].concat(), "the usage was not asked for");
    assert_eq!(gateway.provider.last().json()["stream_options"], json!({"include_usage": true}));
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn a_client_that_asks_for_usage_gets_it_with_its_cost() {
    let gateway = TestGateway::start().await;
    let mut body = streamed(MODEL);
    body["stream_options"] = json!({"include_usage": true});
    let answer = gateway.proxy.post(PATH, &body).await;
    let events = answer.events();
    assert_eq!(events.last().unwrap(), "[DONE]");
    let usage = &events[events.len() - 2];
    assert!(usage.contains(r#""choices":[]"#) && usage.contains(r#""cost":0.0000019"#), "{usage}");
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn chunks_are_forwarded_when_they_come_and_not_at_the_end() {
    let gateway = TestGateway::start().await;
    gateway.provider.will(Reply::Stepwise(chat_stream(&["one", "two"], 11, 2)));
    let request = gateway.proxy.request(Method::POST, PATH).body(streamed(MODEL).to_string());
    let mut response = request.send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("one"));
    gateway.provider.steps(1);
    let second = response.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&second).contains("two"));
    gateway.provider.steps(3);
    while response.chunk().await.unwrap().is_some() {}
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_the_provider_bills() {
    let gateway = TestGateway::start().await;
    gateway.provider.will(Reply::Stepwise(chat_stream(&["one", "two", "three"], 11, 2)));
    let request = gateway.proxy.request(Method::POST, PATH).body(streamed(MODEL).to_string());
    let mut response = request.send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    gateway.provider.steps(5);
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn cached_tokens_are_charged_once_and_listed() {
    let gateway = TestGateway::start().await;
    let usage = r#"{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    gateway.provider.will(Reply::Json(200, usage.to_owned()));
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat(MODEL)).await.status, 200);
    // The model has no price of its own for cached input: it costs what fresh input does, and only once.
    gateway.books_balance(COST).await;
    assert_eq!(gateway.billing.get("/api/usage").await.json()["usage"][0]["cachedTokens"], 4);
}

#[tokio::test]
async fn zero_usage_costs_nothing_and_absent_usage_is_estimated_and_marked() {
    let gateway = TestGateway::start().await;
    gateway.provider.will(Reply::Json(200, chat_answer("Hello", 0, 0)));
    let zero = gateway.proxy.post(PATH, &TestGateway::chat(MODEL)).await;
    assert!(zero.text.contains(r#""cost":0.00"#), "{}", zero.text);
    gateway.books_balance(Nanos::ZERO).await;
    gateway.clock().advance_ms(1);
    let absent = r#"{"choices":[{"index":0,"message":{"content":"Hello there, you"},"finish_reason":"stop"}]}"#;
    gateway.provider.will(Reply::Json(200, absent.to_owned()));
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat(MODEL)).await.status, 200);
    gateway.idle_books().await;
    let entry = gateway.billing.get("/api/usage").await.json()["usage"][0].clone();
    assert_eq!(entry["status"], "estimated");
    assert_eq!(entry["completionTokens"], 4, "two words, a comma, a word");
}

#[tokio::test]
async fn fallbacks_are_tried_in_order_before_the_first_content() {
    let gateway = TestGateway::start().await;
    let mut body = TestGateway::chat(MODEL);
    body["models"] = json!(["spare/chat"]);
    for stream in [false, true] {
        body["stream"] = stream.into();
        for failure in [
            Reply::Json(500, "{}".to_owned()),
            Reply::Json(429, r#"{"error":{"message":"slow down"}}"#.to_owned()),
            Reply::Close,
            Reply::Garbage("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"),
            Reply::Json(401, r#"{"error":{"message":"bad key"}}"#.to_owned()),
        ] {
            let told = format!("{failure:?}");
            if matches!(failure, Reply::Close) {
                // The connection has answered before, so this one close is retried at the same provider.
                gateway.provider.will(Reply::Close);
            }
            gateway.provider.will(failure);
            let answer = gateway.proxy.post(PATH, &body).await;
            assert_eq!(answer.status, 200, "{told} {}", answer.text);
            assert!(answer.text.contains("Hello"), "{told}");
        }
    }
    gateway.books_balance(Nanos(10 * COST.0)).await;
    let usage = gateway.billing.get("/api/usage").await.json();
    assert!(usage["usage"].as_array().unwrap().iter().all(|entry| entry["model"] == "spare/chat"));
}

#[tokio::test]
async fn the_client_s_own_mistake_is_not_sent_to_a_fallback() {
    let gateway = TestGateway::start().await;
    let mut body = TestGateway::chat(MODEL);
    body["models"] = json!(["spare/chat"]);
    gateway.provider.will(Reply::Json(
        400,
        r#"{"error":{"message":"bad top_p","type":"invalid_request_error","param":"top_p","code":null}}"#.to_owned(),
    ));
    let answer = gateway.proxy.post(PATH, &body).await;
    assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()));
    assert_eq!(answer.json()["error"]["message"], "bad top_p");
    assert_eq!(answer.json()["error"]["param"], "top_p");
    assert!(gateway.spare.seen().is_empty());
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn one_connection_that_turns_out_closed_is_retried_once_and_charged_once() {
    let gateway = TestGateway::start().await;
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat(MODEL)).await.status, 200);
    gateway.provider.will(Reply::Close);
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat(MODEL)).await.status, 200);
    assert_eq!(gateway.provider.seen().len(), 3);
    gateway.books_balance(Nanos(2 * COST.0)).await;
}

#[tokio::test]
async fn not_found_for_a_model_that_does_not_exist() {
    let gateway = TestGateway::start().await;
    let _route = "POST /v1/chat/completions";
    let answer = gateway.proxy.post(PATH, &TestGateway::chat("lab/nothing")).await;
    assert_eq!(answer.error(), (404, "model_not_found".to_owned()));
    assert_eq!(answer.json()["error"]["param"], "model");
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    assert!(gateway.provider.seen().is_empty());
}

#[tokio::test]
async fn a_model_without_a_price_or_a_provider_is_never_served() {
    let gateway = TestGateway::start().await;
    for model in ["lab/unpriced", "gpt-4o"] {
        assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat(model)).await.error(), (503, "no_provider".to_owned()));
    }
    assert!(gateway.provider.seen().is_empty());
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn payment_required_when_the_free_funds_do_not_cover_the_request() {
    let gateway = TestGateway::with_credit("0.000001").await;
    let answer = gateway.proxy.post(PATH, &TestGateway::chat(MODEL)).await;
    assert_eq!(answer.error(), (402, "insufficient_balance".to_owned()));
    assert_eq!(answer.json()["error"]["type"], "billing_error");
    assert_eq!(answer.json()["error"]["reason"], "balance");
    assert!(answer.header("retry-after").is_empty());
    assert!(gateway.provider.seen().is_empty());
    gateway.books_balance(Nanos::ZERO).await;
    gateway.credit("1", EntryKind::Payment).await;
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat(MODEL)).await.status, 200);
}

#[tokio::test]
async fn payment_required_says_when_running_requests_hold_the_funds() {
    // One request of lab/small holds at most (bytes + 512) × 0.10 $/M + 100 × 0.40 $/M: about 0.0001 USD.
    let gateway = TestGateway::with_credit("0.00015").await;
    gateway.provider.will(Reply::Stepwise(chat_stream(&["one"], 11, 2)));
    let request = gateway.proxy.request(Method::POST, PATH).body(streamed("lab/small").to_string());
    let mut running = request.send().await.unwrap();
    let refused = gateway.proxy.post(PATH, &TestGateway::chat("lab/small")).await;
    assert_eq!(refused.error(), (402, "insufficient_balance".to_owned()));
    assert_eq!(refused.json()["error"]["reason"], "in_flight");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    gateway.provider.steps(3);
    while running.chunk().await.unwrap().is_some() {}
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat("lab/small")).await.status, 200);
    gateway.books_balance(Nanos(2 * COST.0)).await;
}

#[tokio::test]
async fn another_key_s_idle_allowance_pays_before_anybody_is_refused() {
    let gateway = TestGateway::with_credit("0.0002").await;
    // The first key's refill takes what it lacked; the rest of the balance does not cover a second request alone.
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat("lab/small")).await.status, 200);
    let (_, other) = gateway.key(KeyType::Proxy, |_| ()).await;
    for _ in 0..3 {
        assert_eq!(other.post(PATH, &TestGateway::chat("lab/small")).await.status, 200);
        assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat("lab/small")).await.status, 200);
    }
    gateway.books_balance(Nanos(7 * COST.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_never_overdraw_the_balance() {
    // Each holds about 0.0001 USD and costs 0.000058: the balance runs out among 40 requests of 4 keys.
    let gateway = TestGateway::start_with(|options| {
        options.free_credit = Nanos::parse_usd("0.001").unwrap();
        // On a busy machine 40 at once take longer than the tests' provider is given.
        options.timeouts = Timeouts::default();
    })
    .await;
    let mut clients = vec![gateway.proxy.clone()];
    for _ in 0..3 {
        clients.push(gateway.key(KeyType::Proxy, |_| ()).await.1);
    }
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..40 {
        gateway.provider.will(Reply::Json(200, chat_answer("x", 500, 20)));
        let client = clients[n % clients.len()].clone();
        requests.spawn(async move { client.post(PATH, &TestGateway::chat("lab/small")).await });
    }
    let answers = requests.join_all().await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(
        answers.iter().all(|answer| answer.status == 200 || answer.error() == (402, "insufficient_balance".to_owned()))
    );
    assert!((9..=17).contains(&served), "{served} served");
    gateway.books_balance(Nanos(58_000 * i64::try_from(served).unwrap())).await;
    let standing = gateway.standing().await;
    assert!(standing.account.balance >= Nanos::ZERO);
    assert!(standing.keys.iter().all(|key| key.allowance.available >= Nanos::ZERO));
}

#[tokio::test]
async fn a_spend_limit_is_never_passed() {
    let gateway = TestGateway::start().await;
    // Enough for one request's hold at a time, and for a few costs.
    let (_, client) = gateway.key(KeyType::Proxy, |new| new.spend_limit = Some(Nanos(105_000))).await;
    let mut served = 0;
    loop {
        gateway.provider.will(Reply::Json(200, chat_answer("x", 100, 20)));
        let answer = client.post(PATH, &TestGateway::chat("lab/small")).await;
        if answer.status != 200 {
            assert_eq!(answer.error(), (403, "spend_limit_reached".to_owned()));
            assert_eq!(answer.json()["error"]["type"], "permission_error");
            break;
        }
        served += 1;
    }
    assert!(served >= 1);
    let cost = Nanos(18_000);
    assert!(Nanos(served * cost.0) <= Nanos(105_000));
    gateway.books_balance(Nanos(served * cost.0)).await;
}

#[tokio::test]
async fn forbidden_for_a_model_that_the_key_s_list_does_not_name() {
    let gateway = TestGateway::start().await;
    let (_, client) = gateway.key(KeyType::Proxy, |new| new.models = Some([MODEL.to_owned()].into())).await;
    assert_eq!(client.post(PATH, &TestGateway::chat(MODEL)).await.status, 200);
    let answer = client.post(PATH, &TestGateway::chat("lab/small")).await;
    assert_eq!(answer.error(), (403, "model_not_allowed".to_owned()));
    let mut body = TestGateway::chat(MODEL);
    body["models"] = json!(["spare/chat"]);
    assert_eq!(client.post(PATH, &body).await.error(), (403, "model_not_allowed".to_owned()), "nor by a fallback");
    let (_, nothing) = gateway.key(KeyType::Proxy, |new| new.models = Some([].into())).await;
    assert_eq!(nothing.post(PATH, &TestGateway::chat(MODEL)).await.error().1, "model_not_allowed");
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn an_allow_list_may_name_a_model_by_any_of_its_names() {
    let settings = r#"{"providers":{"openai":{"base_url":"BASE","credential":null}}}"#;
    let provider = support::Provider::start().await;
    let settings = settings.replace("BASE", &provider.base_url);
    let gateway = TestGateway::start_with(|options| {
        options.settings = Some(gateway_core::settings::Settings::parse(settings.as_bytes()).unwrap());
    })
    .await;
    let (_, client) =
        gateway.key(KeyType::Proxy, |new| new.models = Some(["openai/gpt-4o-mini".to_owned()].into())).await;
    for model in ["gpt-4o-mini", "openai/gpt-4o-mini"] {
        assert_eq!(client.post(PATH, &TestGateway::chat(model)).await.status, 200, "{model}");
    }
    assert_eq!(client.post(PATH, &TestGateway::chat("gpt-4o")).await.error().1, "model_not_allowed");
}

#[tokio::test]
async fn a_provider_that_bills_more_than_can_be_is_paid_what_there_is_and_no_more() {
    // lab/small can't cost more than about 0.0001 USD; the provider bills 0.4 USD.
    let gateway = TestGateway::with_credit("0.0002").await;
    gateway.provider.will(Reply::Json(200, chat_answer("x", 0, 1_000_000)));
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat("lab/small")).await.status, 200);
    gateway.books_balance(Nanos(200_000)).await;
    assert_eq!(gateway.standing().await.balance(), Nanos::ZERO);
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat("lab/small")).await.status, 402);
    // Nothing of it blocks the key: topped up, it works on. Where the account can pay, it pays in full.
    gateway.credit("1", EntryKind::Payment).await;
    gateway.clock().advance_ms(1_000_000);
    gateway.provider.will(Reply::Json(200, chat_answer("x", 0, 1_000_000)));
    assert_eq!(gateway.proxy.post(PATH, &TestGateway::chat("lab/small")).await.status, 200);
    gateway.books_balance(Nanos(200_000 + 400_000_000)).await;
    let (_, limited) = gateway.key(KeyType::Proxy, |new| new.spend_limit = Some(Nanos(150_000))).await;
    gateway.provider.will(Reply::Json(200, chat_answer("x", 0, 1_000_000)));
    assert_eq!(limited.post(PATH, &TestGateway::chat("lab/small")).await.status, 200);
    gateway.books_balance(Nanos(200_000 + 400_000_000 + 150_000)).await;
}

#[tokio::test]
async fn the_echo_answers_without_any_provider() {
    let gateway = TestGateway::start().await;
    let answer = gateway.proxy.post(PATH, &TestGateway::chat("modelswitch/echo")).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Hello there");
    let mut body = streamed("modelswitch/echo");
    body["stream_options"] = json!({"include_usage": true});
    let events = gateway.proxy.post(PATH, &body).await.events();
    let words: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<serde_json::Value>(event).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(words, "Hello there");
    assert!(gateway.provider.seen().is_empty());
    // Each: 2 words in at 0.10 $/M and 2 words out at 0.40 $/M.
    gateway.books_balance(Nanos(2000)).await;
}
