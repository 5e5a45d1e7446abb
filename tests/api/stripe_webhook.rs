//! `POST /webhooks/stripe`: what is booked of what Stripe says, and what is not.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use gateway_core::{audit::Notice, ids::AccountId, ledger::EntryKind, moment::UnixMs, money::Nanos};
use gateway_lambda::{Host, answer};
use gateway_store::{Filter, PaymentSecrets, PaymentsSecret, Store, Tables};
use http::Method;
use http_body_util::BodyExt;
use lambda_http::request::LambdaRequest;
use modelswitch::{
    Data, Engine,
    event::{self, Platform},
};
use serde_json::{Value, json};
use support::{
    Folder, MODEL, Reply, START, Stripe, TestGateway,
    stripe::{Event, Session, sign},
};

use crate::payments::taking_payments;

const WEBHOOK: &str = "/webhooks/stripe";
const HOUR_MS: u64 = 3_600_000;

/// A session that the account was sent to pay.
async fn ordered(gateway: &TestGateway, stripe: &Stripe, usd: &str) -> Session {
    let body = json!({"amount": usd, "return_url": "https://app.example/"});
    assert_eq!(gateway.billing.post("/api/payments", &body).await.status, 201);
    stripe.sessions().pop().unwrap()
}

async fn paid(gateway: &TestGateway, stripe: &Stripe, usd: &str) -> Session {
    let session = ordered(gateway, stripe, usd).await;
    received(stripe, &stripe.paid(&session)).await;
    session
}

async fn received(stripe: &Stripe, event: &Event) {
    let answer = stripe.deliver(event).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"received":true}"#));
}

/// Types and amounts in USD of all that was booked but the first credit, sorted.
async fn booked(gateway: &TestGateway) -> Vec<(&'static str, String)> {
    let page = gateway.store().ledger_page(&gateway.account, &Filter::default(), None, 0, 100).await.unwrap();
    let entries = page.entries.iter().filter(|entry| entry.description.as_deref() != Some("Free credit"));
    let mut booked: Vec<_> = entries.map(|entry| (entry.kind.name(), entry.amount.to_string())).collect();
    booked.sort();
    booked
}

fn lines(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut lines: Vec<_> = expected.iter().map(|(kind, amount)| (*kind, (*amount).to_owned())).collect();
    lines.sort();
    lines
}

async fn balance(gateway: &TestGateway) -> Nanos {
    gateway.standing().await.balance()
}

/// The books balance, and the audit finds the same.
async fn agrees(gateway: &TestGateway) -> Vec<Notice> {
    gateway.idle_books().await;
    let audit = gateway.store().audit(&gateway.account, || ()).await.unwrap().unwrap();
    assert_eq!(audit.differences, []);
    audit.notices
}

#[tokio::test]
async fn bad_request_for_a_signature_that_is_not_right() {
    let route = "POST /webhooks/stripe";
    let (gateway, stripe) = taking_payments().await;
    let event = stripe.paid(&ordered(&gateway, &stripe, "20").await);
    let (body, now) = (event.0.as_str(), START.seconds());
    let right = stripe.signature(body);
    for (why, body, header) in [
        ("none", body, String::new()),
        ("another body", &body.replace("2000", "200000"), right.clone()),
        ("white space", &format!("{body}\n"), right.clone()),
        ("another secret", body, sign("whsec_other", now, body)),
        ("an empty secret", body, sign("", now, body)),
        ("too old", body, sign(&stripe.webhook_secret, now - 301, body)),
        ("of the future", body, sign(&stripe.webhook_secret, now + 301, body)),
        ("another time", body, right.replace(&now.to_string(), &(now + 1).to_string())),
        ("another scheme", body, right.replace("v1=", "v0=")),
        ("nonsense", body, "nonsense".to_owned()),
    ] {
        let answer = stripe.send(body, &header).await;
        assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{route}: {why}");
        assert_eq!(answer.json()["error"]["param"], "Stripe-Signature", "{why}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    let unsigned = gateway.billing.send(Method::POST, WEBHOOK, body).await;
    assert_eq!(unsigned.status, 400, "a key opens nothing here");
    assert_eq!(booked(&gateway).await, []);
    received(&stripe, &event).await;
    assert_eq!(booked(&gateway).await, lines(&[("payment", "20.00")]));
}

#[test]
fn the_stand_in_signs_as_stripe_s_own_sdk_does() {
    // By the SDK for Python, 16.1.0; what it thinks of other signatures is in tests/sdk.
    let by_sdk = "t=1795426200,v1=552477b25309167349688ad9c0acdda46c0274aa99f8b935d052e076afd33f94";
    assert_eq!(sign("whsec_test_secret", 1_795_426_200, r#"{"id":"evt_1","name":"\u00fc"}"#), by_sdk);
}

#[tokio::test]
async fn whoever_pays_on_the_page_is_credited_before_he_is_back() {
    let (gateway, stripe) = taking_payments().await;
    stripe.delivers_times(2);
    let session = ordered(&gateway, &stripe, "20.50").await;
    let browser = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let page = format!("{}/pay/{}", stripe.url, session.id);
    let shown = browser.get(&page).send().await.unwrap().text().await.unwrap();
    assert!(shown.contains("Pay $20.50"), "{shown}");
    let location = async |button: &str| {
        let back = browser.post(format!("{page}/{button}")).send().await.unwrap();
        assert_eq!(back.status(), 303);
        back.headers()["location"].to_str().unwrap().to_owned()
    };
    assert_eq!(location("cancel").await, "https://app.example/?checkout=cancelled");
    assert_eq!(balance(&gateway).await, Nanos::usd(5));
    gateway.clock().advance_ms(90_000);
    assert_eq!(location("pay").await, "https://app.example/?checkout=success");
    let list = gateway.billing.get("/api/transactions?limit=1").await;
    let entry = &list.json()["transactions"][0];
    assert!(list.text.contains(r#""amount":20.50,"type":"payment""#), "{}", list.text);
    assert_eq!(entry["description"], format!("Payment {}", session.payment));
    assert_eq!(entry["createdAt"], "2026-11-23T09:31:30.000Z", "when it was paid");
    assert_eq!(balance(&gateway).await, Nanos(25_500_000_000));
    assert_eq!(gateway.proxy.get("/v1/auth/key").await.json()["data"]["is_free_tier"], false);
    assert_eq!(agrees(&gateway).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_and_a_session_are_credited_once_however_often_they_come() {
    let (gateway, stripe) = taking_payments().await;
    let session = ordered(&gateway, &stripe, "20").await;
    let event = stripe.paid(&session);
    let mut deliveries = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (stripe, event) = (stripe.clone(), event.clone());
        deliveries.spawn(async move { stripe.deliver(&event).await.status });
    }
    let answers = deliveries.join_all().await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    gateway.clock().advance_ms(7_000);
    received(&stripe, &event).await;
    received(&stripe, &stripe.paid(&session)).await;
    received(&stripe, &stripe.event("checkout.session.async_payment_succeeded", &session.object(true))).await;
    assert_eq!(booked(&gateway).await, lines(&[("payment", "20.00")]));
    paid(&gateway, &stripe, "20").await;
    assert_eq!(booked(&gateway).await, lines(&[("payment", "20.00"), ("payment", "20.00")]));
    assert_eq!(agrees(&gateway).await, []);
}

#[tokio::test]
async fn what_a_bank_has_yet_to_pay_is_credited_when_it_has() {
    let (gateway, stripe) = taking_payments().await;
    let session = ordered(&gateway, &stripe, "20").await;
    let mut waits = session.object(true);
    waits["payment_status"] = "unpaid".into();
    received(&stripe, &stripe.event("checkout.session.completed", &waits)).await;
    received(&stripe, &stripe.event("checkout.session.async_payment_failed", &waits)).await;
    assert_eq!(booked(&gateway).await, []);
    received(&stripe, &stripe.event("checkout.session.async_payment_succeeded", &session.object(true))).await;
    assert_eq!(booked(&gateway).await, lines(&[("payment", "20.00")]));
}

#[tokio::test]
async fn the_amount_is_what_stripe_says_was_paid_whatever_was_ordered() {
    let (gateway, stripe) = taking_payments().await;
    let mut object = ordered(&gateway, &stripe, "20").await.object(true);
    object["amount_total"] = 1234.into();
    received(&stripe, &stripe.event("checkout.session.completed", &object)).await;
    assert_eq!(booked(&gateway).await, lines(&[("payment", "12.34")]));
}

#[tokio::test]
async fn what_is_not_ours_or_not_booked_is_received_and_ignored() {
    let (gateway, stripe) = taking_payments().await;
    let session = paid(&gateway, &stripe, "20").await;
    let others = |mut object: Value| {
        object["payment_intent"] = "pi_of_others".into();
        object["metadata"] = json!({});
        object
    };
    for event in [
        stripe.event("checkout.session.completed", &others(session.object(true))),
        stripe.event("charge.refunded", &others(session.charge(500))),
        stripe.event("customer.created", &json!({"id": "cus_1"})),
        stripe.disputed(&session, "created", 2000),
        stripe.disputed(&session, "closed", 2000),
    ] {
        received(&stripe, &event).await;
    }
    assert_eq!(booked(&gateway).await, lines(&[("payment", "20.00")]));
}

#[tokio::test]
async fn money_that_the_books_can_t_hold_is_not_booked_and_not_sent_again() {
    let (gateway, stripe) = taking_payments().await;
    let ours = ordered(&gateway, &stripe, "20").await.object(true);
    let mut euros = ours.clone();
    euros["currency"] = "eur".into();
    let mut of_nobody = ours;
    of_nobody["metadata"]["account"] = AccountId::from_random([9; 10]).as_str().into();
    for object in [euros, of_nobody] {
        received(&stripe, &stripe.event("checkout.session.completed", &object)).await;
    }
    assert_eq!(booked(&gateway).await, []);
}

#[tokio::test]
async fn refunds_take_what_went_back_once_in_whatever_order_they_come() {
    let (gateway, stripe) = taking_payments().await;
    let session = paid(&gateway, &stripe, "20").await;
    let [first, second, third] = [500, 1200, 2000].map(|cents| stripe.refunded(&session, cents));
    for event in [&second, &first, &second, &third, &third, &first] {
        gateway.clock().advance_ms(1_000);
        received(&stripe, event).await;
    }
    assert_eq!(booked(&gateway).await, lines(&[("refund", "-8.00"), ("refund", "-12.00"), ("payment", "20.00")]));
    assert_eq!(balance(&gateway).await, Nanos::usd(5));
    assert_eq!(agrees(&gateway).await, []);
}

#[tokio::test]
async fn a_refund_before_its_payment_is_asked_for_again_and_booked_after_it() {
    let (gateway, stripe) = taking_payments().await;
    let session = ordered(&gateway, &stripe, "20").await;
    let (payment, refund) = (stripe.paid(&session), stripe.refunded(&session, 500));
    for wait_ms in [0, HOUR_MS, 24 * HOUR_MS] {
        gateway.clock().advance_ms(wait_ms);
        assert_eq!(stripe.deliver(&refund).await.error(), (500, "internal_error".to_owned()), "{wait_ms}");
    }
    assert_eq!(booked(&gateway).await, []);
    received(&stripe, &payment).await;
    received(&stripe, &refund).await;
    assert_eq!(balance(&gateway).await, Nanos::usd(20));
    assert_eq!(agrees(&gateway).await, []);
}

#[tokio::test]
async fn what_happens_to_another_stack_s_payments_is_received_and_not_asked_for_again() {
    let (gateway, stripe) = taking_payments().await;
    let session = ordered(&gateway, &stripe, "20").await;
    let mut charge = session.charge(500);
    charge["metadata"]["account"] = AccountId::from_random([9; 10]).as_str().into();
    charge["payment_intent"] = "pi_of_another_stack".into();
    received(&stripe, &stripe.event("charge.refunded", &charge)).await;
    assert_eq!(booked(&gateway).await, []);
}

#[tokio::test]
async fn a_refund_that_failed_changes_no_books_and_is_for_the_operator() {
    let (gateway, stripe) = taking_payments().await;
    let session = paid(&gateway, &stripe, "20").await;
    received(&stripe, &stripe.refunded(&session, 500)).await;
    let before = booked(&gateway).await;
    for payment in [session.payment.as_str(), "pi_of_others"] {
        let refund = json!({"id": "re_1", "object": "refund", "amount": 500, "currency": "usd", "status": "failed",
            "payment_intent": payment});
        received(&stripe, &stripe.event("refund.failed", &refund)).await;
    }
    assert_eq!(booked(&gateway).await, before);
    assert_eq!(agrees(&gateway).await, []);
}

#[tokio::test]
async fn a_dispute_takes_and_when_it_is_won_gives_again_once_each() {
    let (gateway, stripe) = taking_payments().await;
    let session = paid(&gateway, &stripe, "20").await;
    let withdrawn = stripe.disputed(&session, "funds_withdrawn", 2000);
    for event in [&stripe.disputed(&session, "created", 2000), &withdrawn, &withdrawn] {
        received(&stripe, event).await;
    }
    assert_eq!(balance(&gateway).await, Nanos::usd(5));
    gateway.clock().advance_ms(30 * 24 * HOUR_MS);
    for what in ["funds_reinstated", "funds_reinstated", "closed"] {
        received(&stripe, &stripe.disputed(&session, what, 2000)).await;
    }
    assert_eq!(balance(&gateway).await, Nanos::usd(25));
    assert_eq!(
        booked(&gateway).await,
        lines(&[("adjustment", "20.00"), ("adjustment", "-20.00"), ("payment", "20.00")])
    );
    assert_eq!(agrees(&gateway).await, []);
}

#[tokio::test]
async fn a_dispute_of_a_payment_that_is_not_known_is_asked_for_again_for_an_hour() {
    let (gateway, stripe) = taking_payments().await;
    let session = ordered(&gateway, &stripe, "20").await;
    let (payment, dispute) = (stripe.paid(&session), stripe.disputed(&session, "funds_withdrawn", 2000));
    assert_eq!(stripe.deliver(&dispute).await.status, 500);
    gateway.clock().advance_ms(HOUR_MS - 1_000);
    assert_eq!(stripe.deliver(&dispute).await.status, 500);
    gateway.clock().advance_ms(1_000);
    received(&stripe, &dispute).await;
    assert_eq!(booked(&gateway).await, [], "somebody else's");
    received(&stripe, &payment).await;
    received(&stripe, &dispute).await;
    assert_eq!(balance(&gateway).await, Nanos::usd(5));
}

#[tokio::test]
async fn what_goes_back_and_is_spent_is_owed_and_nothing_is_served_until_it_is_paid() {
    let (gateway, stripe) = taking_payments().await;
    gateway.provider.answers_by(|_| Reply::Json(200, support::chat_answer("x", 10_000_000, 0)));
    let session = paid(&gateway, &stripe, "20").await;
    let chat = async || gateway.proxy.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await;
    // The provider bills 10 million tokens, a dollar.
    for _ in 0..6 {
        assert_eq!(chat().await.status, 200);
    }
    received(&stripe, &stripe.refunded(&session, 2000)).await;
    let owed = gateway.billing.get("/api/balance").await;
    assert_eq!(owed.text, r#"{"balance":-1.00,"available":-1.00,"held":0.00,"currency":"USD"}"#);
    let refused = chat().await;
    assert_eq!(refused.error(), (402, "insufficient_balance".to_owned()));
    assert_eq!(refused.json()["error"]["reason"], "balance");
    assert!(refused.text.contains("the account owes 1.00 USD"), "{}", refused.text);
    assert_eq!(agrees(&gateway).await, [Notice::Owes(Nanos::usd(1))]);
    paid(&gateway, &stripe, "1").await;
    assert_eq!(chat().await.status, 402, "paid, and nothing more");
    paid(&gateway, &stripe, "3").await;
    assert_eq!(chat().await.status, 200);
    assert_eq!(balance(&gateway).await, Nanos::usd(2));
    assert_eq!(agrees(&gateway).await, []);
}

#[tokio::test]
async fn a_request_that_runs_while_its_payment_goes_back_is_served_and_charged() {
    let (gateway, stripe) = taking_payments().await;
    let session = paid(&gateway, &stripe, "20").await;
    gateway.provider.will(Reply::Stepwise(support::chat_stream(&["a"], 10_000_000, 0)));
    let mut body = TestGateway::chat(MODEL);
    body["stream"] = true.into();
    let request = gateway.proxy.request(Method::POST, "/v1/chat/completions").body(body.to_string());
    let mut running = request.send().await.unwrap();
    let withdrawn = stripe.disputed(&session, "funds_withdrawn", 2000);
    received(&stripe, &withdrawn).await;
    received(&stripe, &stripe.refunded(&session, 500)).await;
    assert!(gateway.standing().await.available() < Nanos::ZERO);
    gateway.provider.steps(3);
    while running.chunk().await.unwrap().is_some() {}
    gateway.gateway.idle().await;
    // 25 less 20, 5 and what of the dollar was held: no more is taken of an account that owes.
    assert_eq!(balance(&gateway).await, -gateway.charged().await);
    assert_eq!(gateway.proxy.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await.status, 402);
    agrees(&gateway).await;
}

/// The function itself, on a store of the test's.
async fn called(store: Store, secrets: &[&str], now: UnixMs, event: &Event, signature: &str, base64: bool) -> u16 {
    let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    let secrets = PaymentSecrets::fixed(PaymentsSecret::new(String::new(), secrets));
    let app = stripe_webhook::App { store, secrets };
    let request = http::Request::post(WEBHOOK).header("stripe-signature", signature).body(()).unwrap();
    let platform = Platform { request_id: "1", at: now, address: "api.example", resource: WEBHOOK };
    let (parts, ()) = request.into_parts();
    let mut request = event::proxy_event(&parts, event.0.clone().into_bytes(), HashMap::new(), None, platform);
    if base64 {
        (request.body, request.is_base64_encoded) = (Some(BASE64_STANDARD.encode(&event.0)), true);
    }
    let host = Host::new(gateway_lambda::Clock::manual(now));
    let request = LambdaRequest::ApiGatewayV1(request).into();
    let answer = answer(&host, "stripe-webhook", request, |request| stripe_webhook::handle(&app, request)).await;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn an_event_that_could_not_be_booked_is_sent_again_and_booked_then() {
    let (gateway, stripe) = taking_payments().await;
    let folder = Folder::new();
    let engine = Engine::open(&Data::File(folder.path("data.db"))).unwrap();
    let event = stripe.paid(&ordered(&gateway, &stripe, "20").await);
    let (signature, secret) = (stripe.signature(&event.0), stripe.webhook_secret.as_str());
    let broken = Store::new(engine.client(), Tables::of_stack("nowhere"));
    assert_eq!(called(broken, &[secret], START, &event, &signature, false).await, 500);
    assert_eq!(booked(&gateway).await, []);
    assert_eq!(called(gateway.store().clone(), &[secret], START, &event, &signature, false).await, 200);
    assert_eq!(booked(&gateway).await, lines(&[("payment", "20.00")]));
}

#[tokio::test]
async fn a_body_in_base64_is_the_body_that_was_signed() {
    let (gateway, stripe) = taking_payments().await;
    let event = stripe.paid(&ordered(&gateway, &stripe, "20").await);
    let signature = stripe.signature(&event.0);
    let store = gateway.store().clone();
    assert_eq!(called(store, &[&stripe.webhook_secret], START, &event, &signature, true).await, 200);
    assert_eq!(booked(&gateway).await, lines(&[("payment", "20.00")]));
}

#[tokio::test]
async fn while_a_secret_is_rotated_both_are_good_and_without_any_nothing_is() {
    let (gateway, stripe) = taking_payments().await;
    let event = stripe.paid(&ordered(&gateway, &stripe, "20").await);
    let now = START.seconds();
    let store = || gateway.store().clone();
    let (old, new) = (sign("whsec_old", now, &event.0), sign("whsec_new", now, &event.0));
    let both = format!("{old},{}", new.split_once(',').unwrap().1);
    for (secrets, signature, status) in [
        (&["whsec_old", "whsec_new"][..], &old, 200),
        (&["whsec_old", "whsec_new"], &new, 200),
        (&["whsec_new"], &both, 200),
        (&["whsec_new"], &old, 400),
        (&[], &old, 503),
        (&[""], &sign("", now, &event.0), 503),
    ] {
        assert_eq!(called(store(), secrets, START, &event, signature, false).await, status, "{secrets:?} {signature}");
    }
    assert_eq!(booked(&gateway).await, lines(&[("payment", "20.00")]));
}

#[tokio::test]
async fn a_payment_is_remembered_where_a_dispute_finds_it_and_nowhere_else() {
    let folder = Folder::new();
    let data = folder.path("data.db");
    let stripe = Stripe::start(gateway_lambda::Clock::manual(START)).await;
    let gateway = TestGateway::start_with(|options| {
        stripe.set_up(options);
        options.data = Data::File(data.clone());
    })
    .await;
    stripe.delivers_to(&gateway.gateway.url);
    let session = paid(&gateway, &stripe, "20").await;
    let client = Engine::beside(&data).unwrap().client();
    let owner = AttributeValue::S(format!("payment#{}", session.payment));
    let read = client.get_item().table_name("modelswitch-accounts").key("account", owner);
    let item = read.key("item", AttributeValue::S("payment".to_owned())).send().await.unwrap().item.unwrap();
    assert_eq!(item["payer"].as_s().unwrap(), gateway.account.as_str());
    assert!(!folder.contents().contains("customer.example"), "nothing of the customer is kept");
    let filter = Filter { kinds: vec![EntryKind::Payment], ..Filter::default() };
    let page = gateway.store().ledger_page(&gateway.account, &filter, None, 0, 10).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    assert_eq!(gateway.store().account_list().await.unwrap().len(), 1, "a payment is no account");
}
