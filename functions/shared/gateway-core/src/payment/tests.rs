use serde_json::{Value, json};

use super::*;

const ACCOUNT: &str = "acct_0123456789ABCDEF";
const AT: UnixMs = UnixMs(1_795_426_200_000);

fn event(kind: &str, object: &Value) -> Meaning {
    let event = json!({
        "id": "evt_1", "object": "event", "api_version": "2026-10-28.endive", "created": 1_795_426_200, "type": kind,
        "livemode": false, "pending_webhooks": 1, "data": {"object": object},
    });
    let read = read(event.to_string().as_bytes()).unwrap();
    assert_eq!((read.id.as_str(), read.kind.as_str()), ("evt_1", kind));
    read.meaning
}

fn session() -> Value {
    json!({
        "id": "cs_1", "object": "checkout.session", "created": 1_795_420_000, "payment_status": "paid",
        "amount_subtotal": 9999, "amount_total": 2050, "currency": "usd", "payment_intent": "pi_1",
        "client_reference_id": ACCOUNT, "metadata": {"account": ACCOUNT},
    })
}

fn charge() -> Value {
    json!({
        "id": "ch_1", "object": "charge", "amount": 2050, "amount_refunded": 50, "currency": "usd",
        "payment_intent": "pi_1", "metadata": {"account": ACCOUNT}, "refunded": false,
    })
}

fn dispute() -> Value {
    json!({"id": "dp_1", "object": "dispute", "amount": 2050, "currency": "usd", "charge": "ch_1",
        "payment_intent": "pi_1", "metadata": {}})
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}

fn booking(meaning: Meaning) -> Booking {
    let Meaning::Book(booking) = meaning else { panic!("{meaning:?}") };
    assert_eq!((booking.payment.as_str(), booking.entry.at()), ("pi_1", AT));
    booking
}

#[test]
fn a_paid_session_is_credited_to_its_account_with_what_was_paid() {
    for kind in ["checkout.session.completed", "checkout.session.async_payment_succeeded"] {
        let paid = booking(event(kind, &session()));
        let account = AccountId::parse(ACCOUNT).unwrap();
        assert_eq!((paid.description().as_str(), &paid.origin), ("Payment pi_1", &Origin::Ours(account.clone())));
        assert_eq!(paid.change, Change::Paid { account, amount: Nanos(20_500_000_000) }, "{kind}");
    }
}

#[test]
fn a_session_that_is_not_paid_or_not_ours_is_nothing() {
    let completed = |object| event("checkout.session.completed", &object);
    for status in ["unpaid", "no_payment_required"] {
        let waits = completed(with(session(), "payment_status", status.into()));
        assert_eq!(waits, Meaning::Nothing("a session that is not paid yet"));
    }
    for metadata in [Value::Null, json!({}), json!({"account": "acct_1032D82eZvKYlo2C"}), json!({"account": "me"})] {
        let other = completed(with(session(), "metadata", metadata));
        assert_eq!(other, Meaning::Nothing("a session that is not ours"));
    }
}

#[test]
fn money_that_the_books_can_t_hold_is_never_taken_for_dollars() {
    let completed = |object| event("checkout.session.completed", &object);
    for (field, value) in [
        ("currency", json!("eur")),
        ("currency", json!("USD")),
        ("currency", Value::Null),
        ("amount_total", Value::Null),
        ("amount_total", json!(0)),
        ("amount_total", json!(-1)),
        ("amount_total", json!(i64::MAX)),
    ] {
        let meaning = completed(with(session(), field, value.clone()));
        assert!(matches!(meaning, Meaning::Unbookable(_)), "{field} {value}: {meaning:?}");
    }
    assert!(matches!(event("charge.refunded", &with(charge(), "currency", json!("eur"))), Meaning::Unbookable(_)));
}

#[test]
fn a_refund_says_what_went_back_in_all() {
    let refunded = booking(event("charge.refunded", &charge()));
    assert_eq!(refunded.change, Change::Refunded { all: Nanos(500_000_000) });
    let ours = Origin::Ours(AccountId::parse(ACCOUNT).unwrap());
    assert_eq!((refunded.description().as_str(), refunded.origin), ("Refund of payment pi_1", ours));
    let more = booking(event("charge.refunded", &with(charge(), "amount_refunded", json!(60))));
    assert_ne!(more.entry, refunded.entry, "each refund is an entry of its own");
    let unmarked = with(charge(), "metadata", json!({}));
    assert_eq!(booking(event("charge.refunded", &unmarked)).origin, Origin::Others);
    let others = with(unmarked, "currency", json!("eur"));
    assert_eq!(event("charge.refunded", &others), Meaning::Nothing("a charge that is not ours"));
    let without = with(charge(), "payment_intent", Value::Null);
    assert_eq!(event("charge.refunded", &without), Meaning::Nothing("a charge without a payment intent"));
}

#[test]
fn a_refund_that_failed_is_booked_by_nobody_and_says_of_which_payment_it_was() {
    let refund = json!({"id": "re_1", "object": "refund", "amount": 50, "currency": "usd", "payment_intent": "pi_1",
        "status": "failed", "failure_reason": "expired_or_canceled_card"});
    let (payment, id) = ("pi_1".to_owned(), "re_1".to_owned());
    assert_eq!(event("refund.failed", &refund), Meaning::RefundFailed { payment, refund: id });
    let without = event("refund.failed", &with(refund, "payment_intent", Value::Null));
    assert_eq!(without, Meaning::Nothing("a refund without a payment intent"));
}

#[test]
fn a_dispute_takes_and_gives_again_only_when_funds_move() {
    let (dispute_id, amount) = ("dp_1".to_owned(), Nanos(20_500_000_000));
    let withdrawn = booking(event("charge.dispute.funds_withdrawn", &dispute()));
    assert_eq!(withdrawn.change, Change::Withdrawn { dispute: dispute_id.clone(), amount });
    let reinstated = booking(event("charge.dispute.funds_reinstated", &dispute()));
    assert_eq!(reinstated.change, Change::Reinstated { dispute: dispute_id, amount });
    assert_ne!(withdrawn.entry, reinstated.entry);
    assert_eq!((withdrawn.origin, reinstated.origin), (Origin::Unsaid, Origin::Unsaid));
    for kind in ["charge.dispute.created", "charge.dispute.closed", "charge.dispute.updated", "charge.succeeded"] {
        assert_eq!(event(kind, &dispute()), Meaning::Nothing("another kind of event"), "{kind}");
    }
    let euros = with(dispute(), "currency", json!("eur"));
    assert_eq!(event("charge.dispute.funds_withdrawn", &euros), Meaning::Nothing("a dispute of no amount in dollars"));
}

#[test]
fn an_event_of_another_form_is_an_error_and_no_booking() {
    let body = |kind: &str, object: Value| {
        json!({"id": "evt_1", "created": 1, "type": kind, "data": {"object": object}}).to_string()
    };
    for wrong in [
        "{}".to_owned(),
        "no event".to_owned(),
        body("checkout.session.completed", json!({"id": "cs_1"})),
        body("checkout.session.completed", with(session(), "amount_total", json!(20.5))),
        body("charge.refunded", with(charge(), "amount_refunded", json!("50"))),
        body("charge.dispute.funds_withdrawn", with(dispute(), "amount", Value::Null)),
    ] {
        assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let of_others = body("invoice.paid", json!({"whatever": [1.5]}));
    assert!(matches!(read(of_others.as_bytes()).unwrap().meaning, Meaning::Nothing(_)));
}
