//! The part of Stripe that is used: Checkout Sessions, the page where one is paid, and signed webhooks.
//!
//! It is as strict as Stripe is: the bearer, the version, every field by name, and idempotency keys that replay. What happens
//! to a payment is an event, which is delivered when a test says so, as often and in whatever order it says; whoever presses
//! the page's button has it delivered before he is sent on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gateway_lambda::Clock;
use gateway_store::PaymentsSecret;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use modelswitch::Options;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Semaphore;

use crate::{Answer, Client, Provider, Reply, Seen, gateway::made_up, provider::spawn};

/// The fields that a session may be ordered with.
const FIELDS: [&str; 11] = [
    "mode",
    "client_reference_id",
    "metadata[account]",
    "payment_intent_data[metadata][account]",
    "line_items[0][quantity]",
    "line_items[0][price_data][currency]",
    "line_items[0][price_data][unit_amount]",
    "line_items[0][price_data][product_data][name]",
    "adaptive_pricing[enabled]",
    "success_url",
    "cancel_url",
];

/// The least that Stripe takes, in cents.
const LEAST_CENTS: i64 = 50;

/// A stand-in for Stripe. Clones are the same one.
#[derive(Clone)]
pub struct Stripe {
    /// Where its API and its pages are.
    pub url: String,
    /// What opens its API.
    pub secret_key: String,
    /// What its webhooks are signed with.
    pub webhook_secret: String,
    server: Provider,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    sessions: Vec<Session>,
    /// By idempotency key: what was asked, and the answer.
    answers: HashMap<String, (String, String)>,
    /// Where webhooks go.
    webhook: Option<Client>,
    /// How often the event of a press is delivered.
    times: usize,
    events: usize,
}

/// A Checkout Session, its payment and its charge.
#[derive(Debug, Clone)]
pub struct Session {
    /// `cs_…`.
    pub id: String,
    /// Its payment intent, `pi_…`.
    pub payment: String,
    /// What it was ordered with.
    pub fields: HashMap<String, String>,
    /// In cents.
    pub amount: i64,
    /// Since 1970, in seconds.
    pub created: u64,
}

/// An event: the body of a webhook, byte for byte.
#[derive(Debug, Clone)]
pub struct Event(pub String);

impl Stripe {
    /// Stripe on a free port, by this clock.
    pub async fn start(clock: Clock) -> Self {
        let server = Provider::start().await;
        let stripe = Self {
            url: server.base_url.trim_end_matches("/v1").to_owned(),
            secret_key: made_up("sk_test_"),
            webhook_secret: made_up("whsec_"),
            server: server.clone(),
            clock,
            state: Arc::new(Mutex::new(State { times: 1, ..State::default() })),
        };
        let answering = stripe.clone();
        server.answers_by(move |seen| answering.answer(seen));
        stripe
    }

    /// Sets a gateway up to take payments here.
    pub fn set_up(&self, options: &mut Options) {
        options.clock = self.clock.clone();
        options.stripe_url.clone_from(&self.url);
        options.stripe_attempt_ms = 1_500;
        options.payments_secret = PaymentsSecret::new(self.secret_key.clone(), vec![self.webhook_secret.clone()]);
    }

    /// From now on webhooks go to the gateway at this URL.
    pub fn delivers_to(&self, url: &str) {
        self.state().webhook = Some(Client::new(url, None));
    }

    /// From now on the event of a press is delivered so many times, all at once.
    pub fn delivers_times(&self, times: usize) {
        self.state().times = times;
    }

    /// What it does with the next call of its API instead of what it should.
    pub fn will(&self, reply: Reply) -> &Self {
        self.server.will(reply);
        self
    }

    /// The calls so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }

    /// The sessions that were made.
    pub fn sessions(&self) -> Vec<Session> {
        self.state().sessions.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, seen: &Seen) -> Reply {
        let method = seen.head.split(' ').next().unwrap_or_default();
        let path = seen.path.split('?').next().unwrap_or_default();
        match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
            ("POST", ["", "v1", "checkout", "sessions"]) => self.create(seen),
            ("GET", ["", "pay", id]) => self.on_page(id, |session| Reply::Html(page(session))),
            ("POST", ["", "pay", id, "pay"]) => self.on_page(id, |session| self.pressed(session)),
            ("POST", ["", "pay", id, "cancel"]) => self.on_page(id, |session| redirect(session, "cancel_url")),
            _ => refusal(404, "resource_missing", "url"),
        }
    }

    fn on_page(&self, id: &str, answer: impl FnOnce(&Session) -> Reply) -> Reply {
        let session = self.sessions().into_iter().find(|session| session.id == id);
        session.map_or_else(|| refusal(404, "resource_missing", "id"), |session| answer(&session))
    }

    /// POST /v1/checkout/sessions
    fn create(&self, seen: &Seen) -> Reply {
        if seen.header("authorization") != Some(format!("Bearer {}", self.secret_key).as_str()) {
            return refusal(401, "api_key_invalid", "authorization");
        }
        if !seen.header("stripe-version").is_some_and(|version| version.starts_with("20")) {
            return refusal(400, "api_version_missing", "stripe-version");
        }
        if seen.header("content-type") != Some("application/x-www-form-urlencoded") {
            return refusal(400, "content_type", "content-type");
        }
        let key = seen.header("idempotency-key").unwrap_or_default().to_owned();
        let mut state = self.state();
        match state.answers.get(&key) {
            Some((asked, _)) if *asked != seen.body => {
                return refusal(400, "idempotency_key_in_use", "idempotency-key");
            }
            Some((_, answer)) => {
                return Reply::JsonWith(200, "idempotent-replayed", "true".to_owned(), answer.clone());
            }
            None => {}
        }
        let session = match self.session(&seen.body, state.sessions.len()) {
            Ok(session) => session,
            Err(param) => return refusal(400, "parameter_invalid", &param),
        };
        let mut answer = session.object(false);
        answer["url"] = format!("{}/pay/{}", self.url, session.id).into();
        state.sessions.push(session);
        if !key.is_empty() {
            state.answers.insert(key, (seen.body.clone(), answer.to_string()));
        }
        Reply::Json(200, answer.to_string())
    }

    /// The session that a form orders, or the field that is at fault.
    fn session(&self, form: &str, number: usize) -> Result<Session, String> {
        let fields: HashMap<String, String> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(unknown.clone());
        }
        for field in FIELDS {
            let given = fields.get(field).ok_or(field)?.as_str();
            let right = match field {
                "mode" => given == "payment",
                "line_items[0][price_data][currency]" => given == "usd",
                "line_items[0][price_data][unit_amount]" => given.parse().is_ok_and(|cents: i64| cents >= LEAST_CENTS),
                "success_url" | "cancel_url" => given.starts_with("https://") || given.starts_with("http://"),
                _ => !given.is_empty(),
            };
            if !right {
                return Err(field.to_owned());
            }
        }
        let amount = fields["line_items[0][price_data][unit_amount]"].parse().unwrap();
        let (id, payment) = (format!("cs_test_{number}"), made_up("pi_"));
        Ok(Session { id, payment, fields, amount, created: self.clock.now().seconds() })
    }

    /// Somebody pressed Pay.
    fn pressed(&self, session: &Session) -> Reply {
        let (event, delivered) = (self.paid(session), Arc::new(Semaphore::new(0)));
        let (stripe, done, times) = (self.clone(), delivered.clone(), self.state().times);
        spawn(async move {
            futures_util::future::join_all((0..times).map(|_| stripe.deliver(&event))).await;
            done.add_permits(1);
        });
        Reply::Once(delivered, Box::new(redirect(session, "success_url")))
    }

    /// The event of a session that was paid at once.
    pub fn paid(&self, session: &Session) -> Event {
        self.event("checkout.session.completed", &session.object(true))
    }

    /// The event of a refund: so many cents went back, in all.
    pub fn refunded(&self, session: &Session, cents: i64) -> Event {
        self.event("charge.refunded", &session.charge(cents))
    }

    /// The event of a dispute of so many cents: `funds_withdrawn`, `funds_reinstated`, `created`, `closed`.
    pub fn disputed(&self, session: &Session, what: &str, cents: i64) -> Event {
        self.event(&format!("charge.dispute.{what}"), &session.dispute(cents))
    }

    /// An event of this type about this object.
    pub fn event(&self, kind: &str, object: &Value) -> Event {
        let mut state = self.state();
        state.events += 1;
        let event = json!({
            "id": format!("evt_{}", state.events), "object": "event", "api_version": "2026-10-28.endive",
            "created": self.clock.now().seconds(), "type": kind, "livemode": false, "pending_webhooks": 1,
            "request": {"id": null, "idempotency_key": null}, "data": {"object": object},
        });
        // As Stripe writes them: what the signature is about is the text.
        Event(serde_json::to_string_pretty(&event).unwrap())
    }

    /// The signature of a body, now.
    pub fn signature(&self, body: &str) -> String {
        sign(&self.webhook_secret, self.clock.now().seconds(), body)
    }

    /// Delivers an event, signed now, and returns what was answered.
    pub async fn deliver(&self, event: &Event) -> Answer {
        self.send(&event.0, &self.signature(&event.0)).await
    }

    /// Delivers this body with this header.
    pub async fn send(&self, body: &str, signature: &str) -> Answer {
        let webhook = self.state().webhook.clone().unwrap();
        let request = webhook.request(Method::POST, "/webhooks/stripe").header("stripe-signature", signature);
        Answer::of(request.header("content-type", "application/json; charset=utf-8").body(body.to_owned())).await
    }
}

/// The header of a body that is signed with this secret at this second.
pub fn sign(secret: &str, seconds: u64, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let mac = mac.chain_update(format!("{seconds}.{body}")).finalize().into_bytes();
    format!("t={seconds},v1={}", mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

impl Session {
    /// A field that it was ordered with.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The session as Stripe writes it.
    pub fn object(&self, paid: bool) -> Value {
        json!({
            "id": self.id, "object": "checkout.session", "created": self.created, "mode": self.field("mode"),
            "amount_subtotal": self.amount, "amount_total": self.amount, "currency": "usd", "livemode": false,
            "client_reference_id": self.field("client_reference_id"), "customer_details": {"email": "a@customer.example"},
            "metadata": {"account": self.field("metadata[account]")},
            "payment_intent": if paid { json!(self.payment) } else { Value::Null },
            "payment_status": if paid { "paid" } else { "unpaid" }, "status": if paid { "complete" } else { "open" },
            "success_url": self.field("success_url"), "cancel_url": self.field("cancel_url"), "url": null,
        })
    }

    /// Its charge, of which so many cents went back.
    pub fn charge(&self, refunded: i64) -> Value {
        json!({
            "id": format!("ch_of_{}", self.payment), "object": "charge", "amount": self.amount, "paid": true,
            "amount_captured": self.amount, "amount_refunded": refunded, "currency": "usd",
            "metadata": {"account": self.field("payment_intent_data[metadata][account]")},
            "payment_intent": self.payment, "refunded": refunded == self.amount, "status": "succeeded",
        })
    }

    /// A dispute of so many cents of it.
    pub fn dispute(&self, cents: i64) -> Value {
        json!({
            "id": format!("dp_of_{}", self.payment), "object": "dispute", "amount": cents, "currency": "usd",
            "charge": format!("ch_of_{}", self.payment), "payment_intent": self.payment, "metadata": {},
            "balance_transactions": [], "reason": "fraudulent", "status": "needs_response",
        })
    }
}

fn refusal(status: u16, code: &str, param: &str) -> Reply {
    let message = format!("Stripe's own words about {param}");
    let error = json!({"type": "invalid_request_error", "code": code, "param": param, "message": message});
    Reply::Json(status, json!({"error": error}).to_string())
}

fn redirect(session: &Session, to: &str) -> Reply {
    let url = session.field(to).replace("{CHECKOUT_SESSION_ID}", &session.id);
    Reply::JsonWith(303, "location", url, String::new())
}

/// The page where a session is paid.
fn page(session: &Session) -> String {
    let (id, dollars, cents) = (&session.id, session.amount / 100, session.amount % 100);
    format!(
        r#"<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Checkout</title></head><body>
<h1>Pay ${dollars}.{cents:02}</h1>
<form method="post" action="/pay/{id}/pay"><button id="pay">Pay</button></form>
<form method="post" action="/pay/{id}/cancel"><button id="cancel">Cancel</button></form>
</body></html>"#
    )
}
