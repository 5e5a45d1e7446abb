//! What an account or a key that can't pay a whole request gets: what its funds cover, never a debt.

use gateway_core::{money::Nanos, settings::Settings, token::KeyType};
use serde_json::{Value, json};
use support::{Answer, MODEL, Provider, Reply, TestGateway, chat_answer, chat_stream, embeddings_answer};

const CHAT: &str = "/v1/chat/completions";
const EMBEDDINGS: &str = "/v1/embeddings";

/// 11 input tokens at 0.10 USD and 2 output tokens at 0.40 USD per million, as the provider answers by default.
const COST: Nanos = Nanos(1900);

/// A chat with `more` fields.
fn chat(model: &str, more: &Value) -> Value {
    let mut body = TestGateway::chat(model);
    let fields = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

/// A gateway with these settings, in which BASE is the provider's URL, and an account with so many USD.
async fn gateway_with(usd: &str, settings: &str) -> (TestGateway, Provider) {
    let provider = Provider::start().await;
    let settings = Settings::parse(settings.replace("BASE", &provider.base_url).as_bytes()).unwrap();
    let gateway = TestGateway::start_with(|options| {
        options.settings = Some(settings);
        options.free_credit = Nanos::parse_usd(usd).unwrap();
    })
    .await;
    (gateway, provider)
}

const OPENAI: &str = r#"{"providers":{"openai":{"base_url":"BASE","credential":null}}}"#;

fn refused_for_balance(answer: &Answer) {
    assert_eq!(answer.error(), (402, "insufficient_balance".to_owned()), "{}", answer.text);
    assert_eq!(answer.json()["error"]["reason"], "balance");
}

/// Half the output of lab/chat, and less than 256 tokens of it.
const SOME: &str = "0.003";
const TOO_LITTLE: &str = "0.00015";

#[tokio::test]
async fn a_poor_account_gets_a_shorter_answer_that_its_funds_cover_to_the_last_token() {
    for (more, field) in [
        (json!({}), "max_tokens"),
        (json!({"stream": true}), "max_tokens"),
        (json!({"max_tokens": 16_000}), "max_tokens"),
        (json!({"max_tokens": 1_000_000}), "max_tokens"),
        (json!({"max_completion_tokens": 16_000, "stream": true}), "max_completion_tokens"),
    ] {
        let body = chat(MODEL, &more);
        let gateway = TestGateway::with_credit(SOME).await;
        assert_eq!(gateway.proxy.post(CHAT, &body).await.status, 200, "{more}");
        let sent = gateway.provider.last().json();
        let told = sent[field].as_u64().unwrap();
        assert!((7_000..7_500).contains(&told), "{told}");
        assert_eq!(["max_tokens", "max_completion_tokens"].iter().filter(|name| !sent[*name].is_null()).count(), 1);
        gateway.books_balance(COST).await;

        // The same request, and a provider that bills all that it may: nothing is left unpaid.
        let gateway = TestGateway::with_credit(SOME).await;
        let reply = match more["stream"].is_null() {
            true => Reply::Json(200, chat_answer("x", 80, told)),
            false => Reply::Stream(chat_stream(&["x"], 80, told)),
        };
        gateway.provider.will(reply);
        assert_eq!(gateway.proxy.post(CHAT, &body).await.status, 200, "{more}");
        let charged = 80 * 100 + i64::try_from(told).unwrap() * 400;
        assert!(charged <= Nanos::parse_usd(SOME).unwrap().0);
        gateway.books_balance(Nanos(charged)).await;
    }
}

#[tokio::test]
async fn a_funded_account_gets_what_it_asked_for_untouched() {
    let gateway = TestGateway::start().await;
    for more in [json!({}), json!({"max_tokens": 9_000}), json!({"max_completion_tokens": 9_000, "n": 2})] {
        let body = chat(MODEL, &more);
        assert_eq!(gateway.proxy.post(CHAT, &body).await.status, 200);
        assert_eq!(gateway.provider.last().body, body.to_string().replace(MODEL, "upstream-chat"));
    }
    gateway.books_balance(Nanos(3 * COST.0)).await;
}

#[tokio::test]
async fn payment_required_when_not_even_a_short_answer_is_covered() {
    let gateway = TestGateway::with_credit(TOO_LITTLE).await;
    refused_for_balance(&gateway.proxy.post(CHAT, &chat(MODEL, &json!({}))).await);
    refused_for_balance(&gateway.proxy.post(CHAT, &chat(MODEL, &json!({"max_tokens": 250}))).await);
    assert!(gateway.provider.seen().is_empty());
    gateway.books_balance(Nanos::ZERO).await;
    // Who asks for less than the least gets it whole.
    let short = chat(MODEL, &json!({"max_tokens": 150}));
    assert_eq!(gateway.proxy.post(CHAT, &short).await.status, 200);
    assert_eq!(gateway.provider.last().json()["max_tokens"], 150);
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn forbidden_or_a_shorter_answer_when_the_spend_limit_leaves_little() {
    let gateway = TestGateway::start().await;
    let limited = |usd: &str| {
        let limit = Nanos::parse_usd(usd).unwrap();
        gateway.key(KeyType::Proxy, move |new| new.spend_limit = Some(limit))
    };
    let (_, some) = limited(SOME).await;
    assert_eq!(some.post(CHAT, &chat(MODEL, &json!({}))).await.status, 200);
    let told = gateway.provider.last().json()["max_tokens"].as_u64().unwrap();
    assert!((7_000..7_500).contains(&told), "{told}");
    let (_, too_little) = limited(TOO_LITTLE).await;
    let answer = too_little.post(CHAT, &chat(MODEL, &json!({}))).await;
    assert_eq!(answer.error(), (403, "spend_limit_reached".to_owned()));
    assert_eq!(gateway.provider.seen().len(), 1);
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn the_balance_may_allow_less_than_the_spend_limit() {
    let gateway = TestGateway::with_credit("0.001").await;
    let (_, client) = gateway.key(KeyType::Proxy, |new| new.spend_limit = Some(Nanos(3_000_000))).await;
    assert_eq!(client.post(CHAT, &chat(MODEL, &json!({}))).await.status, 200);
    let told = gateway.provider.last().json()["max_tokens"].as_u64().unwrap();
    assert!((2_000..2_500).contains(&told), "{told}");
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn the_choices_share_what_there_is() {
    let gateway = TestGateway::with_credit(SOME).await;
    assert_eq!(gateway.proxy.post(CHAT, &chat(MODEL, &json!({"n": 10}))).await.status, 200);
    let told = gateway.provider.last().json()["max_tokens"].as_u64().unwrap();
    assert!((700..750).contains(&told), "{told}");
    refused_for_balance(&gateway.proxy.post(CHAT, &chat(MODEL, &json!({"n": 40}))).await);
    gateway.books_balance(COST).await;
}

#[tokio::test]
async fn each_fallback_is_told_its_own_limit_and_those_too_dear_are_left_out() {
    let settings = r#"{
        "providers": {"one": {"base_url": "BASE"}, "two": {"base_url": "BASE"}},
        "models": {
            "one/dear": {"provider": "one", "max_output_tokens": 9000, "price": {"input": "10", "output": "40"}},
            "two/middle": {"provider": "two", "max_output_tokens": 9000, "price": {"input": "0.2", "output": "0.8"}},
            "two/cheap": {"provider": "two", "max_output_tokens": 9000, "price": {"input": "0.1", "output": "0.4"}}
        }
    }"#;
    let (gateway, provider) = gateway_with("0.003", settings).await;
    let failure = || Reply::Json(500, "{}".to_owned());
    provider.will(failure()).will(Reply::Json(200, chat_answer("x", 10, 10)));
    let body = chat("one/dear", &json!({"models": ["two/middle", "two/cheap"]}));
    assert_eq!(gateway.proxy.post(CHAT, &body).await.status, 200);
    let told: Vec<_> = provider
        .seen()
        .iter()
        .map(|seen| (seen.json()["model"].as_str().unwrap().to_owned(), seen.json()["max_tokens"].as_u64().unwrap()))
        .collect();
    assert_eq!(told.iter().map(|(model, _)| model.as_str()).collect::<Vec<_>>(), ["middle", "cheap"]);
    assert!((3_400..3_700).contains(&told[0].1) && (7_000..7_500).contains(&told[1].1), "{told:?}");
    gateway.books_balance(Nanos(10 * 100 + 10 * 400)).await;

    let poor_key = gateway.key(KeyType::Proxy, |new| new.models = Some(["two/middle".to_owned()].into())).await.1;
    let answer = poor_key.post(CHAT, &body).await;
    assert_eq!(answer.error().1, "model_not_allowed", "what is left out for its price must be allowed all the same");
    refused_for_balance(&gateway.proxy.post(CHAT, &chat("one/dear", &json!({}))).await);
}

/// 20,002 tokens in 120 kB.
fn long_text() -> String {
    "hello ".repeat(20_000)
}

#[tokio::test]
async fn the_true_token_count_rescues_a_request_whose_bytes_do_not_fit() {
    // gpt-4o-mini: 120 kB at 0.15 USD per million would be 0.018, the 20,000 tokens are 0.003.
    let (gateway, provider) = gateway_with("0.005", OPENAI).await;
    let mut body = chat("gpt-4o-mini", &json!({"max_tokens": 300}));
    body["messages"][0]["content"] = long_text().into();
    provider.will(Reply::Json(200, chat_answer("x", 20_010, 300)));
    let answer = gateway.proxy.post(CHAT, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(provider.last().body, body.to_string(), "nothing had to be cut");
    gateway.books_balance(Nanos(20_010 * 150 + 300 * 600)).await;
    refused_for_balance(&gateway.proxy.post(CHAT, &body).await);

    // The same count is no bound for a model with a vocabulary that nobody here knows.
    let gateway = TestGateway::with_credit("0.005").await;
    let mut body = chat(MODEL, &json!({"max_tokens": 300}));
    body["messages"][0]["content"] = long_text().into();
    refused_for_balance(&gateway.proxy.post(CHAT, &body).await);
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn openai_is_told_in_the_field_that_its_newer_models_take() {
    let (gateway, provider) = gateway_with("0.005", OPENAI).await;
    let mut body = chat("gpt-4o-mini", &json!({}));
    body["messages"][0]["content"] = long_text().into();
    assert_eq!(gateway.proxy.post(CHAT, &body).await.status, 200);
    let sent = provider.last().json();
    assert!((2_000..3_300).contains(&sent["max_completion_tokens"].as_u64().unwrap()), "counted, and then cut");
    assert!(sent["max_tokens"].is_null());
    gateway.idle_books().await;
}

#[tokio::test]
async fn embeddings_are_counted_before_they_are_refused() {
    // 120 kB at 0.02 USD per million would be 0.0024, the 20,000 tokens are 0.0004.
    let (gateway, provider) = gateway_with("0.0005", OPENAI).await;
    let body = json!({"model": "text-embedding-3-small", "input": [long_text()]});
    provider.will(Reply::Json(200, embeddings_answer(20_001)));
    let answer = gateway.proxy.post(EMBEDDINGS, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    gateway.books_balance(Nanos(20_001 * 20)).await;
    refused_for_balance(&gateway.proxy.post(EMBEDDINGS, &body).await);
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn poor_requests_at_the_same_time_share_the_funds_and_owe_nothing() {
    let gateway = TestGateway::with_credit(SOME).await;
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..24 {
        let client = gateway.proxy.clone();
        gateway.provider.will(Reply::Json(200, chat_answer("x", 80, 250)));
        let body = chat(MODEL, &json!({"n": 1 + n % 3}));
        requests.spawn(async move { client.post(CHAT, &body).await });
    }
    let answers = requests.join_all().await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status != 200);
    refused.for_each(|answer| assert_eq!(answer.error(), (402, "insufficient_balance".to_owned())));
    assert!(served > 0);
    gateway.books_balance(Nanos(i64::try_from(served).unwrap() * (80 * 100 + 250 * 400))).await;
    assert!(gateway.standing().await.balance() >= Nanos::ZERO);
}

#[tokio::test]
async fn an_estimate_is_never_more_than_was_held() {
    let gateway = TestGateway::with_credit(SOME).await;
    let words = "many words ".repeat(20_000);
    let text = json!({"choices": [{"index": 0, "message": {"content": words}, "finish_reason": "stop"}]}).to_string();
    gateway.provider.will(Reply::Json(200, text));
    assert_eq!(gateway.proxy.post(CHAT, &chat(MODEL, &json!({"max_tokens": 300}))).await.status, 200);
    gateway.idle_books().await;
    let entry = gateway.billing.get("/api/usage").await.json()["usage"][0].clone();
    assert_eq!((&entry["status"], &entry["completionTokens"]), (&json!("estimated"), &json!(300)));
}

#[tokio::test]
async fn a_stream_without_usage_is_counted_by_what_was_sent_and_received() {
    let gateway = TestGateway::start().await;
    let mut pieces = chat_stream(&["One two", " three", " four \\u00e9"], 0, 0);
    pieces.remove(pieces.len() - 2);
    gateway.provider.will(Reply::Stream(pieces));
    assert_eq!(gateway.proxy.post(CHAT, &chat(MODEL, &json!({"stream": true}))).await.status, 200);
    gateway.idle_books().await;
    let entry = gateway.billing.get("/api/usage").await.json()["usage"][0].clone();
    // One two three four \ u 0 0 e 9, as the words of a JSON string stand for; two words and a role were sent.
    assert_eq!((&entry["status"], &entry["promptTokens"]), (&json!("estimated"), &json!(5)));
    let output = entry["completionTokens"].as_u64().unwrap();
    assert!((8..=10).contains(&output), "{output}");
}

#[tokio::test]
async fn an_answer_that_says_nothing_and_not_why_is_free() {
    let gateway = TestGateway::start().await;
    let blank = r#"{"choices":[{"index":0,"message":{"content":""},"finish_reason":null}],"usage":{"prompt_tokens":11,"completion_tokens":0}}"#;
    gateway.provider.will(Reply::Json(200, blank.to_owned()));
    assert_eq!(gateway.proxy.post(CHAT, &chat(MODEL, &json!({}))).await.status, 200);
    gateway.books_balance(Nanos::ZERO).await;
}

#[tokio::test]
async fn bad_request_for_what_has_no_price_here() {
    let gateway = TestGateway::start().await;
    for (field, value) in [
        ("web_search_options", json!({"search_context_size": "high"})),
        ("search_parameters", json!({"mode": "on"})),
        ("enable_search", json!(true)),
        ("plugins", json!([{"id": "web"}])),
        ("preset", json!("dear")),
        ("service_tier", json!("priority")),
        ("modalities", json!(["image", "text"])),
        ("tools", json!([{"type": "web_search"}])),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}, {"type": "code_interpreter"}])),
        ("Model", json!("lab/dear")),
        ("MAX_TOKENS", json!(100_000)),
        ("n_predict", json!(100_000)),
    ] {
        let answer = gateway.proxy.post(CHAT, &chat(MODEL, &json!({field: value}))).await;
        assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{field}");
        assert_eq!(answer.json()["error"]["param"], field);
    }
    assert!(gateway.provider.seen().is_empty());
    let fine = json!({
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}],
        "modalities": ["text", "audio"], "service_tier": "flex", "web_search_options": null,
    });
    assert_eq!(gateway.proxy.post(CHAT, &chat(MODEL, &fine)).await.status, 200);
    gateway.books_balance(COST).await;
}
