//! Providers that do as the plan of each request says, and keep books of their own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use gateway_core::settings::Settings;
use serde_json::{Value, json};
use support::{Provider, Reply, Seen};

use crate::{
    locked,
    plan::{Act, Leaves, MOST_OUTPUT, Plan, Route, Tokens},
};

/// What a provider served, and bills.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Billed {
    /// The request's number.
    pub n: u64,
    /// The model, by the gateway's id.
    pub model: &'static str,
    /// What the provider counted, if it did.
    pub tokens: Option<Tokens>,
}

/// Two providers, the plans that they follow and what they billed.
#[derive(Clone)]
pub struct Providers {
    lab: Provider,
    spare: Provider,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    plans: BTreeMap<u64, Plan>,
    billed: Vec<Billed>,
    asked: usize,
}

impl Providers {
    /// Starts both.
    pub async fn start() -> Self {
        let providers = Self { lab: Provider::start().await, spare: Provider::start().await, books: Arc::default() };
        let at = |which: usize| {
            let books = providers.books.clone();
            move |seen: &Seen| reply(&mut locked(&books), which, seen)
        };
        providers.lab.answers_by(at(0));
        providers.spare.answers_by(at(1));
        providers
    }

    /// Settings with both, and with the prices that [`cost`] knows.
    pub fn settings(&self) -> Settings {
        let chat = |provider: &str, price: Value| {
            json!({
                "provider": provider, "upstream_id": "chat", "kind": "chat", "context_length": 128_000,
                "max_output_tokens": MOST_OUTPUT, "price": price,
            })
        };
        let settings = json!({
            "markup_percent": 7.3,
            "providers": {"lab": {"base_url": self.lab.base_url}, "spare": {"base_url": self.spare.base_url}},
            "models": {
                "lab/chat": chat("lab", json!({"input": "0.100003", "cache_read": "0.033337", "output": "0.400007"})),
                "spare/chat": chat("spare", json!({"input": "0.150001", "output": "0.600013"})),
                "lab/embed": {"provider": "lab", "upstream_id": "embed", "kind": "embedding", "context_length": 8192,
                    "price": {"input": "0.020011"}},
            },
        });
        Settings::parse(settings.to_string().as_bytes()).unwrap()
    }

    /// Tells the providers of a request that will come.
    pub fn expect(&self, plan: &Plan) {
        locked(&self.books).plans.insert(plan.n, plan.clone());
    }

    /// What they billed for so far.
    pub fn billed(&self) -> Vec<Billed> {
        locked(&self.books).billed.clone()
    }

    /// How often they were asked so far.
    pub fn asked(&self) -> usize {
        locked(&self.books).asked
    }
}

/// The price of so many tokens in nano-USD, worked out from the price list above and from nothing else.
pub fn cost(model: &str, tokens: Tokens) -> i64 {
    // Pico-USD per token: fresh input, input from the cache, output.
    let [input, cached, output]: [i128; 3] = match model {
        "lab/chat" => [100_003, 33_337, 400_007],
        "spare/chat" => [150_001, 150_001, 600_013],
        "lab/embed" => [20_011, 20_011, 0],
        other => panic!("{other} has no price here"),
    };
    let fresh = i128::from(tokens.input - tokens.cached);
    let picos = fresh * input + i128::from(tokens.cached) * cached + i128::from(tokens.output) * output;
    // 7.3 % on top, and rounded up once to a nano.
    let (with_markup, per_nano) = (picos * 1073, 1000 * 1000);
    i64::try_from((with_markup + per_nano - 1) / per_nano).unwrap()
}

/// Decides what a provider does with a request, and bills it.
fn reply(books: &mut Books, which: usize, seen: &Seen) -> Reply {
    let body = seen.json();
    let plan = books.plans[&body["plan"].as_u64().unwrap()].clone();
    let model = match (plan.route, which) {
        (Route::Embeddings, _) => "lab/embed",
        (_, 0) => "lab/chat",
        _ => "spare/chat",
    };
    let told = ["max_tokens", "max_completion_tokens"].iter().filter_map(|name| body[*name].as_u64()).min();
    let act = plan.acts[which].within(told);
    let tokens = match act {
        Act::Serve(tokens) | Act::ServeAndCut(tokens) => Some(tokens),
        _ => None,
    };
    books.asked += 1;
    if act.serves() {
        books.billed.push(Billed { n: plan.n, model, tokens });
    }
    plan.arrived.add_permits(1);
    let reply = match plan.route {
        Route::Embeddings => whole(act, embeddings),
        Route::Chat { stream: false } => whole(act, chat),
        Route::Chat { stream: true } => streamed(act, &plan),
    };
    match plan.leaves {
        Leaves::BeforeTheAnswer => Reply::Once(plan.go_on, Box::new(reply)),
        _ => reply,
    }
}

fn chat(usage: Option<Tokens>) -> String {
    let choices =
        json!([{"index": 0, "message": {"role": "assistant", "content": WORDS.concat()}, "finish_reason": "stop"}]);
    with_usage(json!({"id": "x", "object": "chat.completion", "model": "m", "choices": choices}), usage)
}

fn embeddings(usage: Option<Tokens>) -> String {
    let data = json!([{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]);
    with_usage(json!({"object": "list", "model": "e", "data": data}), usage)
}

fn with_usage(mut answer: Value, usage: Option<Tokens>) -> String {
    if let Some(tokens) = usage {
        answer["usage"] = tokens.usage();
    }
    answer.to_string()
}

const FAILED: &str = r#"{"error":{"message":"told to","type":"server_error","code":null}}"#;
const WORDS: [&str; 4] = ["Hello", " there,", " you", " all"];

/// What no model answers.
const GARBAGE: Reply = Reply::Garbage("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>");

fn failed(act: Act) -> Reply {
    match act {
        Act::Fail(status) => Reply::Json(status, FAILED.to_owned()),
        Act::Reject => {
            let error =
                r#"{"error":{"message":"bad top_p","type":"invalid_request_error","param":"top_p","code":null}}"#;
            Reply::Json(400, error.to_owned())
        }
        Act::Garbage => GARBAGE,
        _ => Reply::Close,
    }
}

fn whole(act: Act, answer: impl Fn(Option<Tokens>) -> String) -> Reply {
    match act {
        Act::Serve(tokens) | Act::ServeAndCut(tokens) => Reply::Json(200, answer(Some(tokens))),
        Act::ServeUncounted => Reply::Json(200, answer(None)),
        Act::Error => Reply::Json(200, FAILED.to_owned()),
        Act::Cut(_) => Reply::Garbage(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"choices\":[",
        ),
        act => failed(act),
    }
}

fn streamed(act: Act, plan: &Plan) -> Reply {
    let frame = |choices: Value, usage: Value| {
        let chunk = json!({"id": "x", "object": "chat.completion.chunk", "choices": choices, "usage": usage});
        format!("data: {chunk}\n\n")
    };
    let said = |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
    let so_far = if let Act::Cut(Some(tokens)) = act { tokens.usage() } else { Value::Null };
    let words = WORDS.iter().map(|word| frame(said(json!({"content": word}), Value::Null), so_far.clone()));
    let mut pieces: Vec<_> = words.collect();
    let half = pieces.len() / 2;
    match act {
        Act::Serve(tokens) | Act::ServeAndCut(tokens) if plan.n.is_multiple_of(3) => {
            // Some count in the chunk that ends the answer.
            pieces.push(frame(said(json!({}), json!("stop")), tokens.usage()));
        }
        Act::Serve(tokens) | Act::ServeAndCut(tokens) => {
            pieces.push(frame(said(json!({}), json!("stop")), Value::Null));
            pieces.push(frame(json!([]), tokens.usage()));
        }
        Act::ServeUncounted => pieces.push(frame(said(json!({}), json!("stop")), Value::Null)),
        Act::Cut(_) => pieces.truncate(half + 1),
        Act::Error => {
            pieces.truncate(half + 1);
            pieces.push(format!("data: {FAILED}\n\n"));
        }
        act => return failed(act),
    }
    let cut = matches!(act, Act::ServeAndCut(_) | Act::Cut(_));
    if !cut {
        pieces.push("data: [DONE]\n\n".to_owned());
    }
    match (cut, plan.leaves) {
        // The client leaves when it has the first half, and only then does the second follow.
        (_, Leaves::Midway) => Reply::Paused(pieces, half, plan.go_on.clone()),
        (true, _) => Reply::CutStream(pieces),
        (false, _) => Reply::Stream(pieces),
    }
}
