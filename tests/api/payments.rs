//! `POST /api/payments`, against a stand-in for Stripe.

use gateway_core::token::KeyType;
use gateway_lambda::Clock;
use http::Method;
use serde_json::{Value, json};
use support::{Answer, Client, Reply, START, Stripe, TestGateway, refusals};

const ROUTES: [&str; 1] = ["POST /api/payments"];
const PAYMENTS: &str = "/api/payments";
const DAY_MS: u64 = 86_400_000;

/// A gateway that takes payments, and who takes them.
pub(crate) async fn taking_payments() -> (TestGateway, Stripe) {
    let stripe = Stripe::start(Clock::manual(START)).await;
    let gateway = TestGateway::start_with(|options| stripe.set_up(options)).await;
    stripe.delivers_to(&gateway.gateway.url);
    (gateway, stripe)
}

fn body() -> Value {
    json!({"amount": 20.5, "return_url": "https://app.example/billing?tab=1"})
}

async fn post(client: &Client, key: &str, body: &Value) -> Answer {
    let request = client.request(Method::POST, PAYMENTS).header("Idempotency-Key", key);
    Answer::of(request.body(body.to_string())).await
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
    let (gateway, _stripe) = taking_payments().await;
    refusals::rate_limited_at(&gateway, ROUTES[0], &body().to_string()).await;
}

#[tokio::test]
async fn bad_request_for_what_can_t_be_paid_or_returned_to() {
    let (gateway, stripe) = taking_payments().await;
    for (field, values) in [
        (
            "amount",
            vec![
                json!(0),
                json!(0.99),
                json!("0.99"),
                json!(-5),
                json!(10_000.01),
                json!(1e15),
                json!(5.001),
                json!("5,00"),
                json!(""),
                json!([5]),
                json!(true),
            ],
        ),
        ("return_url", vec![json!("/billing"), json!("http://app.example/"), json!("https://a@b.example/"), json!(7)]),
    ] {
        for value in values {
            let mut wrong = body();
            wrong[field] = value.clone();
            let answer = gateway.billing.post(PAYMENTS, &wrong).await;
            assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{field} {value}: {}", answer.text);
            assert_eq!(answer.json()["error"]["param"], field);
        }
        for nothing in [json!({}), json!({ field: null })] {
            let mut without = body();
            without.as_object_mut().unwrap().remove(field);
            without.as_object_mut().unwrap().extend(nothing.as_object().unwrap().clone());
            let answer = gateway.billing.post(PAYMENTS, &without).await;
            assert_eq!(answer.error(), (400, "missing_parameter".to_owned()));
            assert_eq!(answer.json()["error"]["param"], field);
        }
    }
    let answer = gateway.billing.post(PAYMENTS, &json!({"amount": 5, "currency": "eur"})).await;
    assert_eq!(answer.json()["error"]["param"], "currency", "no parameter is taken for nothing");
    assert_eq!(gateway.billing.send(Method::POST, PAYMENTS, "{\"amount\":").await.error().1, "invalid_json");
    assert!(stripe.seen().is_empty(), "Stripe was asked");
}

#[tokio::test]
async fn a_payment_is_a_page_of_stripe_s_for_the_caller_s_account_and_credits_nothing() {
    let (gateway, stripe) = taking_payments().await;
    let before = gateway.billing.get("/api/balance").await.text;
    let answer = gateway.billing.post(PAYMENTS, &body()).await;
    let [session] = stripe.sessions().try_into().unwrap();
    let url = format!("{}/pay/{}", stripe.url, session.id);
    assert_eq!((answer.status, answer.text), (201, format!(r#"{{"id":"{}","url":"{url}"}}"#, session.id)));
    assert_eq!((session.amount, session.field("mode")), (2050, "payment"));
    for field in ["client_reference_id", "metadata[account]", "payment_intent_data[metadata][account]"] {
        assert_eq!(session.field(field), gateway.account.as_str(), "{field}");
    }
    assert_eq!(session.field("success_url"), "https://app.example/billing?tab=1&checkout=success");
    assert_eq!(session.field("cancel_url"), "https://app.example/billing?tab=1&checkout=cancelled");
    assert_eq!(gateway.billing.get("/api/balance").await.text, before);
}

#[tokio::test]
async fn an_amount_is_a_number_or_a_string_in_whole_cents_and_never_a_float() {
    let (gateway, stripe) = taking_payments().await;
    let amounts = ["1", "1.00", "\"1\"", "10000", "\"10000.00\"", "1e2", "70.07", "\"1234.56\"", "8.29", "1.100000000"];
    for amount in amounts {
        let body = format!(r#"{{"amount":{amount},"returnUrl":"http://127.0.0.1:3000/"}}"#);
        assert_eq!(gateway.billing.send(Method::POST, PAYMENTS, &body).await.status, 201, "{amount}");
    }
    let cents: Vec<_> = stripe.sessions().iter().map(|session| session.amount).collect();
    assert_eq!(cents, [100, 100, 100, 1_000_000, 1_000_000, 10_000, 7_007, 123_456, 829, 110]);
}

#[tokio::test]
async fn the_same_post_again_has_the_same_page_for_a_day() {
    let (gateway, stripe) = taking_payments().await;
    let first = post(&gateway.billing, "order 1", &body()).await;
    assert_eq!(first.status, 201);
    for wait_ms in [0, 5_000, DAY_MS - 5_001] {
        gateway.clock().advance_ms(wait_ms);
        let again = post(&gateway.billing, "order 1", &body()).await;
        assert_eq!((again.status, &again.text), (201, &first.text), "{wait_ms}");
    }
    assert_eq!(stripe.sessions().len(), 1);
    gateway.clock().advance_ms(1);
    assert_ne!(post(&gateway.billing, "order 1", &body()).await.text, first.text, "after a day it is forgotten");
    let keys = stripe.seen().into_iter().map(|seen| seen.header("idempotency-key").unwrap().to_owned());
    assert!(keys.into_iter().all(|key| !key.contains("order")), "the client's own key goes to nobody");
}

#[tokio::test]
async fn without_an_idempotency_key_or_with_another_each_post_makes_a_page() {
    let (gateway, stripe) = taking_payments().await;
    let (_, other) = gateway.key(KeyType::Billing, |_| ()).await;
    for _ in 0..2 {
        assert_eq!(gateway.billing.post(PAYMENTS, &body()).await.status, 201);
    }
    for (client, key) in [(&gateway.billing, "a"), (&gateway.billing, "b"), (&other, "c")] {
        assert_eq!(post(client, key, &body()).await.status, 201);
    }
    assert_eq!(stripe.sessions().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_post_many_times_at_once_makes_one_page() {
    let (gateway, stripe) = taking_payments().await;
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let client = gateway.billing.clone();
        posts.spawn(async move { post(&client, "race", &body()).await });
    }
    let answers = posts.join_all().await;
    assert!(answers.iter().all(|answer| (answer.status, &answer.text) == (201, &answers[0].text)), "{answers:?}");
    assert_eq!(stripe.sessions().len(), 1);
}

#[tokio::test]
async fn conflict_when_the_idempotency_key_is_used_again_for_another_post() {
    let (gateway, stripe) = taking_payments().await;
    let (_, other) = gateway.key(KeyType::Billing, |_| ()).await;
    assert_eq!(post(&gateway.billing, "x", &body()).await.status, 201);
    let mut dearer = body();
    dearer["amount"] = json!(30);
    for (client, body) in [(&gateway.billing, dearer), (&other, body())] {
        let answer = post(client, "x", &body).await;
        assert_eq!(answer.error(), (409, "idempotency_conflict".to_owned()), "{}", answer.text);
    }
    for key in ["", &"x".repeat(256)] {
        assert_eq!(post(&gateway.billing, key, &body()).await.json()["error"]["param"], "Idempotency-Key");
    }
    assert_eq!(stripe.sessions().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_of_stripe_s_is_asked_for_again_and_makes_no_second_page() {
    let (gateway, stripe) = taking_payments().await;
    for first in [Reply::Close, Reply::Hang, Reply::Json(500, "{}".to_owned()), Reply::Json(409, "{}".to_owned())] {
        stripe.will(first);
        assert_eq!(gateway.billing.post(PAYMENTS, &body()).await.status, 201);
        let seen = stripe.seen();
        let [.., first, second] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));
    }
    assert_eq!(stripe.sessions().len(), 4);
}

#[tokio::test]
async fn a_failure_of_stripe_s_has_its_row_and_says_nothing_of_ours() {
    let (gateway, stripe) = taking_payments().await;
    let words = json!({"error": {"message": format!("marked words, {}", stripe.secret_key), "code": "card_declined"}});
    for (status, times, code) in [
        (400, 1, (502, "upstream_error")),
        (401, 1, (502, "upstream_error")),
        (402, 1, (502, "upstream_error")),
        (403, 1, (502, "upstream_error")),
        (404, 1, (502, "upstream_error")),
        (429, 2, (503, "upstream_overloaded")),
        (500, 2, (502, "upstream_error")),
        (503, 2, (503, "upstream_overloaded")),
    ] {
        for _ in 0..times {
            stripe.will(Reply::Json(status, words.to_string()));
        }
        let answer = gateway.billing.post(PAYMENTS, &body()).await;
        assert_eq!(answer.error(), (code.0, code.1.to_owned()), "{status}: {}", answer.text);
        assert!(!answer.text.contains("marked") && !answer.text.contains(&stripe.secret_key), "{}", answer.text);
    }
    stripe.will(Reply::Hang).will(Reply::Hang);
    assert_eq!(gateway.billing.post(PAYMENTS, &body()).await.error(), (504, "upstream_timeout".to_owned()));
    assert_eq!(stripe.sessions().len(), 0);
}

#[tokio::test]
async fn where_payments_are_not_set_up_it_is_said_after_what_is_wrong_with_the_request() {
    let gateway = TestGateway::start().await;
    let answer = gateway.billing.post(PAYMENTS, &body()).await;
    assert_eq!(answer.error(), (503, "no_provider".to_owned()));
    assert_eq!(gateway.billing.post(PAYMENTS, &json!({})).await.error(), (400, "missing_parameter".to_owned()));
}
