//! What other gateways' trackers are full of: how each charges too little, too much or twice. One test each, ours passing.
//!
//! Three of them are shown where they belong: cached tokens counted twice by
//! `usage::cached_tokens_are_part_of_the_prompt_and_charged_at_their_own_price_to_the_nano_dollar`, a client that leaves in
//! the middle of a stream by `chat_completions::a_client_that_leaves_pays_for_what_the_provider_bills`, a balance overdrawn
//! at the same time by `chat_completions::requests_at_the_same_time_never_overdraw_the_balance`.

use std::{collections::HashMap, sync::Arc};

use gateway_core::{
    catalogue::Catalogue, ids::RequestId, ledger::EntryKind, limits::RateLimit, money::Nanos, settings::Settings,
    token::KeyType,
};
use gateway_lambda::Host;
use gateway_store::{Configuration, Credit};
use gateway_upstream::{Credentials, Timeouts, Upstream};
use http::Method;
use serde_json::{Value, json};
use support::{Client, MODEL, Reply, START, TestGateway, chat_answer, chat_stream};
use tokio::{sync::Semaphore, task::JoinSet};

const PATH: &str = "/v1/chat/completions";
/// 11 input tokens at 0.10 USD and 2 output tokens at 0.40 USD per million.
const COST: Nanos = Nanos(1900);

fn chat(model: &str, stream: bool) -> Value {
    let mut body = TestGateway::chat(model);
    body["stream"] = stream.into();
    body
}

/// Sends a request and goes when the provider has it.
async fn left_at_once(gateway: &TestGateway, client: &Client, body: &Value) {
    let asked = gateway.provider.seen().len();
    let arrived = async {
        while gateway.provider.seen().len() == asked {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = client.post(PATH, body) => panic!("{answer:?}"),
        () = arrived => {}
    }
}

/// Gateways that write the charge when the client has read the answer: one that goes before pays nothing, though the provider
/// bills.
#[tokio::test]
async fn a_client_that_leaves_before_the_answer_pays_what_the_provider_bills() {
    let gateway = TestGateway::start().await;
    for (stream, reply) in [
        (false, Reply::Json(200, chat_answer("Hello there", 11, 2))),
        (true, Reply::Stream(chat_stream(&["Hello", " there"], 11, 2))),
    ] {
        let go_on = Arc::new(Semaphore::new(0));
        gateway.provider.will(Reply::Once(go_on.clone(), Box::new(reply)));
        left_at_once(&gateway, &gateway.proxy, &chat(MODEL, stream)).await;
        go_on.add_permits(1);
        gateway.idle_books().await;
    }
    gateway.books_balance(Nanos(2 * COST.0)).await;
}

/// Gateways that read a count of zero as a missing one and estimate: a client that left is charged for what the provider gave
/// away.
#[tokio::test]
async fn an_explicit_zero_is_charged_zero_whether_the_client_stays_or_leaves() {
    let gateway = TestGateway::start().await;
    for leaves in [false, true] {
        gateway.provider.will(Reply::Stepwise(chat_stream(&["one", "two"], 0, 0)));
        let request = gateway.proxy.request(Method::POST, PATH).body(chat(MODEL, true).to_string());
        let mut response = request.send().await.unwrap();
        assert!(response.chunk().await.unwrap().is_some());
        let response = (!leaves).then_some(response);
        gateway.provider.steps(4);
        if let Some(response) = response {
            assert!(response.text().await.unwrap().ends_with("data: [DONE]\n\n"));
        }
        gateway.books_balance(Nanos::ZERO).await;
    }
    let usage = gateway.billing.get("/api/usage").await.json();
    let completed = usage["usage"].as_array().unwrap().iter().filter(|line| line["status"] == "completed").count();
    assert_eq!(completed, 2, "{usage}");
}

/// Gateways that look at `choices[0]` of every chunk: the last one, which has the count and no choice, is dropped and the
/// stream is free.
#[tokio::test]
async fn a_count_in_the_last_chunk_is_charged_whatever_its_choices_look_like() {
    let gateway = TestGateway::start().await;
    let usage = r#""usage":{"prompt_tokens":11,"completion_tokens":2}"#;
    let forms = [r#""choices":[],"#, r#""choices":[ ],"#, r#""choices":null,"#, ""];
    for form in forms {
        for include_usage in [false, true] {
            let mut pieces = chat_stream(&["Hello"], 0, 0);
            pieces[2] = format!("data: {{{form}{usage}}}\n\n");
            gateway.provider.will(Reply::Stream(pieces));
            let mut body = chat(MODEL, true);
            body["stream_options"] = json!({"include_usage": include_usage});
            let answer = gateway.proxy.post(PATH, &body).await;
            assert_eq!(answer.text.contains(r#""cost":0.0000019"#), include_usage, "{form}: {}", answer.text);
        }
    }
    gateway.books_balance(Nanos(2 * COST.0 * forms.len() as i64)).await;
}

/// Gateways that look a price up when the answer is there: a model that has none costs nothing, and no limit is ever reached.
#[tokio::test]
async fn an_unpriced_model_is_never_served_and_no_limit_is_disarmed() {
    let gateway = TestGateway::start().await;
    let limit = Nanos(150_000);
    let (_, client) = gateway.key(KeyType::Proxy, |new| new.spend_limit = Some(limit)).await;
    for n in 0..20 {
        assert_eq!(client.post(PATH, &chat("lab/unpriced", n % 2 == 0)).await.error().1, "no_provider");
    }
    assert!(gateway.provider.seen().is_empty());
    // Nor as a fallback.
    gateway.provider.will(Reply::Json(500, "{}".to_owned()));
    let mut body = chat("lab/small", false);
    body["models"] = json!(["lab/unpriced"]);
    assert_eq!(client.post(PATH, &body).await.status, 502);
    assert_eq!(gateway.provider.seen().len(), 1);
    gateway.books_balance(Nanos::ZERO).await;
    let mut charged = Nanos::ZERO;
    while client.post(PATH, &chat("lab/small", false)).await.status == 200 {
        charged += COST;
        assert!(charged <= limit);
    }
    assert_eq!(client.post(PATH, &chat("lab/small", false)).await.error().1, "spend_limit_reached");
    gateway.books_balance(charged).await;
}

/// Gateways that compare what was spent with the budget and add to it after the answer: requests at the same time all pass
/// the same check.
#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_never_pass_a_spend_limit() {
    let gateway = TestGateway::start().await;
    // Each holds about 0.0001 USD and costs 0.000058.
    let limit = Nanos(600_000);
    let (id, client) = gateway.key(KeyType::Proxy, |new| new.spend_limit = Some(limit)).await;
    gateway.provider.answers_by(|_| Reply::Json(200, chat_answer("x", 500, 20)));
    let mut requests = JoinSet::new();
    for _ in 0..40 {
        let client = client.clone();
        requests.spawn(async move { client.post(PATH, &chat("lab/small", false)).await });
    }
    let answers = requests.join_all().await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 403).count();
    assert_eq!(served + refused, 40);
    assert!((5..=10).contains(&served), "{served} served");
    let charged = Nanos(58_000 * i64::try_from(served).unwrap());
    gateway.books_balance(charged).await;
    let standing = gateway.standing().await;
    let key = standing.keys.iter().find(|key| key.id == id).unwrap();
    assert!(charged <= limit && key.allowance.spent == charged && key.allowance.limit_left == limit - charged);
}

/// Gateways that write a whole key back when its request ends: one that was edited, switched off or deleted meanwhile is as
/// before again.
#[tokio::test]
async fn a_request_that_ends_undoes_no_change_of_its_key() {
    let gateway = TestGateway::start().await;
    let before = gateway.standing().await.balance();
    let (id, client) = gateway.key(KeyType::Proxy, |_| ()).await;
    let path = format!("/api/keys/{}", id.0);
    for (n, deleted) in [false, true].into_iter().enumerate() {
        gateway.provider.will(Reply::Stepwise(chat_stream(&["one", "two"], 11, 2)));
        let request = client.request(Method::POST, PATH).body(chat(MODEL, true).to_string());
        let mut running = request.send().await.unwrap();
        assert!(running.chunk().await.unwrap().is_some());
        let changed = if deleted {
            gateway.billing.send(Method::DELETE, &path, "").await
        } else {
            let change =
                r#"{"name":"edited","active":false,"spend_limit":1,"rate_limit":{"requests":7,"interval":"1m"}}"#;
            gateway.billing.send(Method::PUT, &path, change).await
        };
        assert!(changed.status < 300, "{}", changed.text);
        gateway.provider.steps(4);
        while running.chunk().await.unwrap().is_some() {}
        gateway.books_balance(Nanos(COST.0 * (n as i64 + 1))).await;
        let shown = gateway.billing.get(&path).await;
        if deleted {
            assert_eq!((shown.status, client.post(PATH, &chat(MODEL, false)).await.status), (404, 401));
        } else {
            let key = shown.json();
            assert_eq!((&key["name"], &key["active"]), (&json!("edited"), &json!(false)), "{key}");
            assert_eq!((&key["spendLimit"], &key["rateLimit"]["requests"]), (&json!(1.00), &json!(7)), "{key}");
            assert_eq!(key["spent"].to_string(), "1.9e-6", "{key}");
            assert_eq!(client.post(PATH, &chat(MODEL, false)).await.error().1, "key_deactivated");
            let on = gateway.billing.send(Method::PUT, &path, r#"{"active":true}"#).await;
            assert_eq!(on.status, 200);
            gateway.clock().advance_ms(60_000);
        }
    }
    // The deleted key's idle funds are the account's again.
    let standing = gateway.standing().await;
    let key = standing.keys.iter().find(|key| key.id == id).unwrap();
    assert_eq!((key.allowance.available, standing.balance()), (Nanos::ZERO, before - Nanos(2 * COST.0)));
}

/// An event of the platform's for `POST /v1/chat/completions`, the same whenever it is delivered.
fn delivery(gateway: &TestGateway) -> lambda_http::Request {
    let mut event: Value = serde_json::from_str(include_str!("../../events/chat-completions/answer.json")).unwrap();
    let context = &mut event["requestContext"];
    context["authorizer"]["account"] = gateway.account.as_str().into();
    context["authorizer"]["key"] = "1".into();
    context["requestId"] = "delivered-twice".into();
    context["requestTimeEpoch"] = START.0.into();
    event["body"] = chat("lab/chat", false).to_string().into();
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

/// The function, as Lambda runs it.
fn function(gateway: &TestGateway) -> chat_completions::App {
    let settings = json!({
        "providers": {"lab": {"base_url": gateway.provider.base_url}},
        "models": {"lab/chat": {"provider": "lab", "upstream_id": "x", "kind": "chat", "context_length": 128_000,
            "max_output_tokens": 16_384, "price": {"input": "0.10", "output": "0.40"}}},
    });
    let catalogue = Catalogue::new(Settings::parse(settings.to_string().as_bytes()).unwrap()).unwrap();
    chat_completions::App {
        store: gateway.store().clone(),
        upstream: Upstream::new(Timeouts::default(), Credentials::fixed(HashMap::new())),
        configuration: Configuration::fixed(catalogue),
    }
}

/// Gateways that charge for each run of their code: a request that the platform, a queue or a retry delivers twice is charged
/// twice.
#[tokio::test]
async fn a_request_delivered_twice_is_charged_once_also_when_it_was_settled_before() {
    let gateway = TestGateway::start().await;
    let (app, host) = (function(&gateway), Host::new(gateway.clock().clone()));
    let deliver = async || {
        let handle = |request| chat_completions::handle(&app, request);
        gateway_lambda::answer(&host, "chat-completions", delivery(&gateway), handle).await.status().as_u16()
    };
    let go_on = Arc::new(Semaphore::new(0));
    let first = Reply::Json(200, chat_answer("Hello there", 11, 2));
    gateway.provider.will(Reply::Once(go_on.clone(), Box::new(first)));
    let second = async {
        while gateway.provider.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        let status = deliver().await;
        go_on.add_permits(1);
        status
    };
    let (first, second) = tokio::join!(deliver(), second);
    assert_eq!((first, second), (200, 500), "at the same time");
    assert_eq!(gateway.provider.seen().len(), 1);
    gateway.books_balance(COST).await;
    // The provider may be asked again and count otherwise: the client has paid.
    for _ in 0..3 {
        gateway.provider.will(Reply::Json(200, chat_answer("Hello again", 500, 500)));
        assert_eq!(deliver().await, 200, "afterwards");
        gateway.books_balance(COST).await;
    }
}

/// Shops that look for a payment and then add it: a webhook that comes several times at once is credited as often.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_delivered_many_times_at_once_is_credited_once() {
    let gateway = TestGateway::with_credit("1").await;
    let id = RequestId::of_platform(START, "evt_1");
    let credit = Credit { id, kind: EntryKind::Payment, amount: Nanos::usd(20), description: "Top-up".to_owned() };
    let mut deliveries = JoinSet::new();
    for _ in 0..16 {
        let (store, account, credit) = (gateway.store().clone(), gateway.account.clone(), credit.clone());
        deliveries.spawn(async move { store.account_credit(&account, &credit).await.unwrap() });
    }
    let credited = deliveries.join_all().await.into_iter().filter(|credited| *credited).count();
    assert_eq!(credited, 1);
    assert!(!gateway.store().account_credit(&gateway.account, &credit).await.unwrap(), "nor later");
    let standing = gateway.standing().await;
    assert_eq!((standing.balance(), standing.account.paid_in), (Nanos::usd(21), Nanos::usd(20)));
    gateway.idle_books().await;
}

/// Gateways that reserve first and check later: each refused request keeps a part of the balance until somebody notices.
#[tokio::test]
async fn no_refusal_leaves_a_hold_or_a_charge() {
    let gateway = TestGateway::with_credit("0.01").await;
    let key = async |change: fn(&mut gateway_store::NewKey)| gateway.key(KeyType::Proxy, change).await.1;
    let limited = key(|new| new.spend_limit = Some(Nanos(1))).await;
    let listed = key(|new| new.models = Some(["lab/small".to_owned()].into())).await;
    let (off_id, off) = gateway.key(KeyType::Proxy, |_| ()).await;
    let switched = gateway.billing.send(Method::PUT, &format!("/api/keys/{}", off_id.0), r#"{"active":false}"#).await;
    assert_eq!(switched.status, 200);
    let once = key(|new| new.rate_limit = RateLimit { requests: 1, ..RateLimit::default() }).await;
    assert_eq!(once.post(PATH, &chat(MODEL, false)).await.status, 200);
    let (any, good) = (&gateway.proxy, chat(MODEL, false));
    let mut large = good.clone();
    large["messages"][0]["content"] = "x".repeat(7_000_000).into();
    let mut dear = good.clone();
    dear["n"] = 128.into();
    let error = |status, message: &str| Some(Reply::Json(status, json!({"error": {"message": message}}).to_string()));
    let missing = json!({"model": MODEL});
    let refusals = [
        (any, &missing, None, 400, "missing_parameter"),
        (any, &good, error(400, "bad top_p"), 400, "invalid_parameter"),
        (&gateway.anonymous, &good, None, 401, "invalid_api_key"),
        (any, &dear, None, 402, "insufficient_balance"),
        (&off, &good, None, 403, "key_deactivated"),
        (&limited, &good, None, 403, "spend_limit_reached"),
        (&listed, &good, None, 403, "model_not_allowed"),
        (&gateway.billing, &good, None, 403, "wrong_key_type"),
        (any, &chat("lab/nothing", false), None, 404, "model_not_found"),
        (any, &large, None, 413, "request_too_large"),
        (&once, &good, None, 429, "rate_limit_exceeded"),
        (any, &good, error(500, "down"), 502, "upstream_error"),
        (any, &good, Some(Reply::Garbage("not HTTP at all\r\n\r\n")), 502, "upstream_error"),
        (any, &good, error(429, "busy"), 503, "upstream_overloaded"),
        (any, &chat("lab/unpriced", false), None, 503, "no_provider"),
        (any, &good, Some(Reply::Hang), 504, "upstream_timeout"),
    ];
    let before = gateway.standing().await;
    for (client, body, reply, status, code) in refusals {
        for stream in [false, true] {
            let mut body = body.clone();
            body["stream"] = stream.into();
            reply.iter().for_each(|reply| {
                gateway.provider.will(reply.clone());
            });
            assert_eq!(client.post(PATH, &body).await.error(), (status, code.to_owned()), "stream {stream}");
            gateway.books_balance(COST).await;
            let after = gateway.standing().await;
            assert_eq!(after.balance(), before.balance(), "{status} {code}, stream {stream}");
            for (key, was) in after.keys.iter().zip(&before.keys) {
                let (now, was) = (&key.allowance, &was.allowance);
                assert_eq!((now.spent, now.limit_left), (was.spent, was.limit_left), "{status} {code}: {key:?}");
            }
        }
    }
}

/// Gateways that round each part of a bill up, or to a cent: thousands of tiny requests cost many times their price.
#[tokio::test]
async fn tiny_requests_are_rounded_up_once_each_and_by_less_than_a_nano_dollar() {
    let gateway = TestGateway::start_with(|options| {
        let model = r#"{"provider":"lab","upstream_id":"x","kind":"chat","context_length":8192,"max_output_tokens":100,
            "markup_percent":10,"price":{"input":"0.0004","cache_read":"0.0003","output":"0.0005"}}"#;
        let models = &mut options.settings.as_mut().unwrap().models;
        models.insert("lab/tiny".to_owned(), serde_json::from_str(model).unwrap());
    })
    .await;
    let mut charged = 0;
    // Fresh, cached and output tokens; the price with its markup in pico-dollars is 440, 330 and 550 for each; in nanos.
    for (fresh, cached, output, nanos) in
        [(1, 0, 0, 1), (1, 1, 1, 2), (0, 0, 0, 0), (3, 0, 0, 2), (100, 0, 0, 44), (1, 1, 0, 1)]
    {
        let mut answer: Value = serde_json::from_str(&chat_answer("x", fresh + cached, output)).unwrap();
        answer["usage"]["prompt_tokens_details"] = json!({"cached_tokens": cached});
        gateway.provider.will(Reply::Json(200, answer.to_string()));
        let answer = gateway.proxy.post(PATH, &chat("lab/tiny", false)).await;
        let cost = Nanos(nanos).to_string();
        assert!(answer.text.contains(&format!("\"cost\":{cost}}}")), "{cost}: {}", answer.text);
        charged += nanos;
        gateway.books_balance(Nanos(charged)).await;
    }
}
