//! The stand-in for Stripe as a process, for the browser tests: prints where it is and what opens it, then does what it is
//! told on standard input, a line at a time, and answers each with a line of JSON. It ends with its input.
//!
//! - `to URL`: webhooks go to the gateway there.
//! - `times N`: so often the event of a press on the page's button is delivered, all at once.
//! - `sessions`: those that were made, with their amounts in cents.
//! - `paid SESSION`, `refunded SESSION CENTS`, `disputed SESSION WHAT CENTS`: the event is made and delivered.
//! - `again N`: the Nth of those events is delivered once more.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a tool of tests: what it can't do fails the test"
)]

use std::str::FromStr;

use gateway_lambda::Clock;
use serde_json::{Value, json};
use support::{
    Stripe,
    stripe::{Event, Session},
};

#[tokio::main]
async fn main() {
    let stripe = Stripe::start(Clock::system()).await;
    println!("{}", json!({"url": stripe.url, "secretKey": stripe.secret_key, "webhookSecret": stripe.webhook_secret}));
    let mut events = Vec::new();
    // This thread may wait for the next line: the server has others.
    for line in std::io::stdin().lines() {
        println!("{}", told(&stripe, &mut events, &line.unwrap()).await);
    }
}

async fn told(stripe: &Stripe, events: &mut Vec<Event>, line: &str) -> Value {
    let words: Vec<_> = line.split(' ').collect();
    let event = match words.as_slice() {
        ["to", url] => {
            stripe.delivers_to(url);
            return Value::Null;
        }
        ["times", times] => {
            stripe.delivers_times(number(times));
            return Value::Null;
        }
        ["sessions"] => {
            let view = |session: &Session| json!({"id": session.id, "amount": session.amount});
            return stripe.sessions().iter().map(view).collect();
        }
        ["paid", id] => stripe.paid(&session(stripe, id)),
        ["refunded", id, cents] => stripe.refunded(&session(stripe, id), number(cents)),
        ["disputed", id, what, cents] => stripe.disputed(&session(stripe, id), what, number(cents)),
        ["again", nth] => {
            let nth: usize = number(nth);
            return delivered(stripe, &events[nth - 1]).await;
        }
        _ => panic!("no such command: {line}"),
    };
    events.push(event.clone());
    delivered(stripe, &event).await
}

async fn delivered(stripe: &Stripe, event: &Event) -> Value {
    let answer = stripe.deliver(event).await;
    json!({"status": answer.status, "text": answer.text})
}

fn session(stripe: &Stripe, id: &str) -> Session {
    stripe.sessions().into_iter().find(|session| session.id == id).unwrap()
}

fn number<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}
