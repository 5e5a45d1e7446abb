//! What a function begins at start-up, and who waits for it.

use serde_json::{Value, json};
use support::{
    Journal, RuntimeApi, ServedDatabase,
    lambda::{Function, FunctionProcess, GATE},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::scene::{LONG, TEST};

/// A process whose start-up waits at a gate.
struct Gated {
    api: RuntimeApi,
    gate: TcpStream,
    _process: FunctionProcess,
}

impl Gated {
    /// `initialization`: what Lambda says that the environment is made for. The process is at the gate.
    async fn start(initialization: &str) -> Self {
        let journal = Journal::default();
        let (api, database) = (RuntimeApi::start(journal.clone()).await, ServedDatabase::start(journal).await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let more = [(GATE, address.as_str()), ("AWS_LAMBDA_INITIALIZATION_TYPE", initialization)];
        let process = FunctionProcess::start(TEST, Function::Told, &api, &database, &json!({}), 1, &more);
        let (gate, _) = listener.accept().await.unwrap();
        Self { api, gate, _process: process }
    }

    /// What the function answers to an event that is there now.
    async fn answer(mut self) -> String {
        let answer = self.api.invoke(&event(), LONG);
        self.gate.write_u8(1).await.unwrap();
        answer.ended().await.json()["body"].as_str().unwrap().to_owned()
    }
}

fn event() -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../../events/balance/show.json")).unwrap();
    event["body"] = json!("well");
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_up_that_hangs_does_not_keep_the_first_event() {
    let gated = Gated::start("on-demand").await;
    let answer = gated.api.invoke(&event(), LONG).ended().await;
    assert_eq!(answer.json()["body"], "well", "the gate was never opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_demand_the_event_is_asked_for_meanwhile_and_handled_when_start_up_is_done() {
    let gated = Gated::start("on-demand").await;
    gated.api.asked(1).await;
    assert_eq!(gated.answer().await, "warm");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_made_ahead_asks_for_no_event_before_start_up_is_done() {
    for initialization in ["provisioned-concurrency", "lambda-managed-instances"] {
        let gated = Gated::start(initialization).await;
        assert_eq!(gated.api.asked_so_far(), 0);
        assert_eq!(gated.answer().await, "warm");
    }
}
