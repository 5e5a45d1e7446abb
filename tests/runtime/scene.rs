//! A function's process and all that surrounds it: the Runtime API, the database, a provider, an account with funds.

use std::time::Duration;

use gateway_core::{
    ids::{AccountId, RequestId},
    ledger::{Entry, EntryKind},
    moment::UnixMs,
    money::Nanos,
    token::{KeyType, Token},
};
use gateway_store::{Credit, Filter, random};
use serde_json::{Value, json};
use support::{
    Invocation, Journal, Provider, RuntimeApi, ServedDatabase,
    lambda::{self, Function, FunctionProcess},
    new_key,
};

pub const TEST: &str = "scene::the_function_as_a_process";

/// What a function may run for where a test does not let it run out of time.
pub const LONG: Duration = Duration::from_secs(900);

/// The journal's lines of a request that is charged: its ledger entry, and its hold's end.
pub const SETTLED: [&str; 2] = ["PutItem modelswitch-ledger", "UpdateItem modelswitch-accounts"];

#[test]
fn the_function_as_a_process() {
    lambda::run_if_asked();
}

/// Everything.
pub struct Scene {
    pub api: RuntimeApi,
    pub provider: Provider,
    pub process: FunctionProcess,
    pub journal: Journal,
    database: ServedDatabase,
    account: AccountId,
    key: String,
}

impl Scene {
    /// A process of `function` that takes up to `concurrency` events at once, and has asked for them.
    pub async fn start(function: Function, concurrency: usize) -> Self {
        let journal = Journal::default();
        let (api, provider) = (RuntimeApi::start(journal.clone()).await, Provider::start().await);
        // The account's own writes are no part of the story.
        let database = ServedDatabase::start(journal.clone()).await;
        let store = &database.store;
        let now = UnixMs(1_795_426_200_000);
        let account = store.account_create("test", now).await.unwrap().id;
        let id = RequestId::new(now, random().unwrap());
        let credit = Credit { id, kind: EntryKind::Payment, amount: Nanos::usd(5), description: "test".to_owned() };
        assert!(store.account_credit(&account, &credit).await.unwrap());
        let token = Token::from_random(KeyType::Proxy, random().unwrap());
        let key = store.key_create(&account, &new_key(KeyType::Proxy), &token, now, None).await.unwrap().unwrap();
        let settings = json!({
            "providers": {"lab": {"base_url": provider.base_url}},
            "models": {"lab/chat": {"provider": "lab", "upstream_id": "chat", "kind": "chat", "context_length": 128_000,
                "max_output_tokens": 16_384, "price": {"input": "0.10", "output": "0.40"}}},
        });
        let process = FunctionProcess::start(TEST, function, &api, &database, &settings, concurrency, &[]);
        api.asked(concurrency).await;
        Self { api, provider, process, journal, database, account, key: key.id.to_string() }
    }

    /// Begins a chat that streams; `platform_id` is API Gateway's id of it.
    pub fn stream(&self, platform_id: &str) -> Invocation {
        let body = json!({
            "model": "lab/chat", "stream": true, "messages": [{"role": "user", "content": "Hello there"}],
        });
        self.invoke(platform_id, &body.to_string(), LONG)
    }

    /// Sends the function an HTTP request with this body.
    pub fn invoke(&self, platform_id: &str, body: &str, runs: Duration) -> Invocation {
        let mut event: Value = serde_json::from_str(include_str!("../../events/chat-completions/stream.json")).unwrap();
        event["body"] = json!(body);
        let context = &mut event["requestContext"];
        context["requestId"] = json!(platform_id);
        context["authorizer"] = json!({"account": self.account, "key": self.key});
        self.api.invoke(&event, runs)
    }

    /// Waits until the process ends by itself: whether it ended well, and what it printed.
    pub async fn ended(&mut self) -> (bool, String) {
        tokio::task::block_in_place(|| self.process.ended())
    }

    /// The usage that was charged, newest first, once nothing is held and the books balance.
    pub async fn charged(&self) -> Vec<Entry> {
        let store = &self.database.store;
        let standing = store.account_standing(&self.account).await.unwrap().unwrap();
        assert_eq!(standing.held(), Nanos::ZERO, "held");
        let all = Filter::default();
        let entries = store.ledger_page(&self.account, &all, None, 0, 1_000).await.unwrap().entries;
        assert_eq!(entries.iter().map(|entry| entry.amount).sum::<Nanos>(), standing.balance(), "ledger and funds");
        entries.into_iter().filter(|entry| entry.kind == EntryKind::Usage).collect()
    }
}

/// What a process logged.
pub fn lines(output: &str) -> impl Iterator<Item = Value> {
    // The test harness writes before the first.
    output.lines().filter_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok())
}

/// The line of the first request.
pub fn request_line(output: &str) -> Value {
    lines(output).find(|line| line["message"] == "request").unwrap_or_else(|| panic!("no request in {output}"))
}
