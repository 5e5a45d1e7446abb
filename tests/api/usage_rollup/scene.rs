//! An account with usage, written to the books without a provider, and what its statistics must be.

use std::{collections::BTreeMap, path::PathBuf};

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::Served,
    limits::{Interval, RateLimit},
    moment::UnixMs,
    money::Nanos,
    token::KeyType,
    usage::{Metered, Usage},
};
use gateway_lambda::Host;
use gateway_store::{HoldOutcome, HoldRequest, PlacedHold, Rollup, Store};
use http_body_util::BodyExt;
use lambda_http::{aws_lambda_events::apigw::ApiGatewayProxyRequest, request::LambdaRequest};
use modelswitch::{Data, Options};
use serde_json::{Value, json};
use support::{Client, Folder, TestGateway};
use usage_rollup::{App, StreamEvent};

pub(crate) const DAY_MS: u64 = 86_400_000;
pub(crate) const MINUTE_MS: u64 = 60_000;
const HOLD: Nanos = Nanos(10_000_000);

/// A request that runs.
pub(crate) struct Running {
    pub(crate) id: RequestId,
    hold: PlacedHold,
    key: KeyId,
    model: String,
}

/// Requests, prompt tokens, completion tokens, nano-dollars.
type Sums = (u64, u64, u64, i64);

/// What `/api/usage/stats` says: in all, by model, the series.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stats {
    all: Sums,
    models: Vec<(String, Sums)>,
    series: Vec<(String, Sums)>,
}

/// A gateway on a file, and a billing key that may ask often.
pub(crate) struct Scene {
    pub(crate) gateway: TestGateway,
    pub(crate) folder: Folder,
    billing: Client,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// The same with a gateway whose options the test changes.
    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = Folder::new();
        let file = folder.path("data.db");
        let gateway = TestGateway::start_with(|options| {
            options.data = Data::File(file);
            options.free_credit = Nanos::usd(1000);
            change(options);
        })
        .await;
        let often = RateLimit { requests: u32::MAX, interval: Interval { seconds: 86_400 } };
        let (_, billing) = gateway.key(KeyType::Billing, |new| new.rate_limit = often).await;
        Self { gateway, folder, billing }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path("data.db")
    }

    pub(crate) fn now(&self) -> UnixMs {
        self.gateway.clock().now()
    }

    pub(crate) fn app(&self) -> App {
        App { store: self.gateway.store().clone(), clock: self.gateway.clock().clone() }
    }

    /// A proxy key with one lane that may ask often.
    pub(crate) async fn proxy_key(&self) -> KeyId {
        self.proxy_key_with(250).await
    }

    /// A proxy key that may send so many requests a second.
    pub(crate) async fn proxy_key_with(&self, requests: u32) -> KeyId {
        let often = RateLimit { requests: requests * 86_400, interval: Interval { seconds: 86_400 } };
        self.gateway.key(KeyType::Proxy, |new| new.rate_limit = often).await.0
    }

    /// Tries to place a hold for a request that began at `at`.
    pub(crate) fn late(
        &self,
        key: KeyId,
        model: &str,
        at: UnixMs,
    ) -> impl Future<Output = (RequestId, HoldOutcome)> + Send + use<> {
        let id = RequestId::new(at, gateway_store::random().unwrap());
        let outcome = self.hold(key, model, &id);
        async move { (id, outcome.await) }
    }

    /// Tries to place a hold for this request.
    pub(crate) fn hold(
        &self,
        key: KeyId,
        model: &str,
        id: &RequestId,
    ) -> impl Future<Output = HoldOutcome> + Send + use<> {
        let (store, account, at) = (self.gateway.store().clone(), self.gateway.account.clone(), self.now());
        let (models, id) = ([vec![model.to_owned()]], id.clone());
        async move {
            let expires = at.plus_ms(16 * MINUTE_MS);
            let wanted = HoldRequest { account: &account, key, id: &id, models: &models, amount: HOLD, at, expires };
            store.hold_place(&wanted).await.unwrap()
        }
    }

    pub(crate) fn running(&self, id: RequestId, hold: PlacedHold, key: KeyId, model: &str) -> Running {
        Running { id, hold, key, model: model.to_owned() }
    }

    pub(crate) async fn place(&self, key: KeyId, model: &str) -> Running {
        let (id, outcome) = self.late(key, model, self.now()).await;
        self.running(id, outcome.placed(HOLD).unwrap(), key, model)
    }

    /// Ends a request that used `input` tokens, a third of them cached, half as much output, and is charged 0.1 milli-dollar
    /// and a nano-dollar for each.
    pub(crate) async fn settle(&self, running: Running, input: u64) {
        let Running { hold, key, model, .. } = running;
        let usage = Usage { input: input - input / 3, cache_read: input / 3, output: input / 2, ..Usage::default() };
        let metered = Metered { usage, estimated: false };
        let served = Served { key, model, provider: "lab".to_owned(), metered, unpaid: Nanos::ZERO, duration_ms: None };
        let cost = Nanos(100_000 + i64::try_from(input).unwrap());
        self.gateway.store().hold_settle(&hold, cost, served).await.unwrap();
    }

    pub(crate) async fn release(&self, running: Running) {
        self.gateway.store().hold_release(&running.hold).await;
    }

    pub(crate) async fn serve(&self, key: KeyId, model: &str, input: u64) {
        let running = self.place(key, model).await;
        self.settle(running, input).await;
    }

    /// Runs the rollup for what was served since the last time, as the gateway does.
    pub(crate) async fn rollup(&self) {
        self.gateway.gateway.rollup().await;
    }

    pub(crate) async fn rolled(&self) -> Rollup {
        self.gateway.store().rollup_totals(&self.gateway.account, None, None).await.unwrap()
    }

    /// How many requests are in totals.
    pub(crate) async fn summed_up(&self) -> u64 {
        self.rolled().await.totals.values().map(|total| total.sums.requests).sum()
    }

    /// Checks that the statistics are the sums over the list's pages, for this filter and each way to group.
    pub(crate) async fn check(&self, filter: &str) {
        let lines = self.lines(filter).await;
        for group in ["day", "model", "key"] {
            let answer = self.billing.get(&format!("/api/usage/stats?groupBy={group}&{filter}")).await;
            assert_eq!(answer.status, 200, "{filter}: {}", answer.text);
            assert_eq!(told(&answer.json()), summed(&lines, group), "groupBy={group}&{filter}");
        }
    }

    /// The same check of a store of its own, asked without HTTP.
    pub(crate) async fn check_of(&self, store: &Store) {
        let mut event: Value = serde_json::from_str(include_str!("../../../events/usage/stats.json")).unwrap();
        event["requestContext"]["authorizer"] = json!({"account": self.gateway.account, "key": "2"});
        event["requestContext"]["requestTimeEpoch"] = self.now().0.into();
        event["queryStringParameters"] = json!({"groupBy": "key"});
        event["multiValueQueryStringParameters"] = json!({"groupBy": ["key"]});
        let event: ApiGatewayProxyRequest = serde_json::from_value(event).unwrap();
        let (host, app) = (Host::new(self.gateway.clock().clone()), usage::App { store: store.clone() });
        let request = LambdaRequest::ApiGatewayV1(event).into();
        let answer = gateway_lambda::answer(&host, "usage", request, |request| usage::handle(&app, request)).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let answer = serde_json::from_slice(&body).unwrap();
        assert_eq!(told(&answer), summed(&self.lines("").await, "key"));
    }

    /// [`Scene::check`] for filters of every kind.
    pub(crate) async fn check_all(&self) {
        for filter in [
            "",
            "from=2026-11-24",
            "to=2026-11-23",
            "from=2026-11-23&to=2026-11-24",
            "from=2026-11-23T09:30:00.001Z&to=2026-11-25T09:31:00Z",
            "from=2026-11-23T12:00:00Z",
            "to=2026-11-24T12:00:00Z",
            "from=2026-11-23T09:00:00Z&to=2026-11-23T23:00:00Z",
            "model=lab/chat",
            "keyId=1",
            "keyId=1&model=lab/small&from=2026-11-24&to=2026-11-25",
        ] {
            self.check(filter).await;
        }
    }

    /// Every line of the list, page by page.
    async fn lines(&self, filter: &str) -> Vec<Value> {
        let (mut lines, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.billing.get(&format!("/api/usage?limit=50{cursor}&{filter}")).await.json();
            lines.extend(page["usage"].as_array().unwrap().iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return lines,
            }
        }
    }
}

/// A batch of the ledger's stream that names these accounts.
pub(crate) fn batch(accounts: &[&AccountId]) -> StreamEvent {
    let record = |(n, account): (usize, &&AccountId)| {
        let keys = json!({"account": {"S": account}, "entry": {"S": "01M83VVDBR0000000000000000"}});
        json!({"eventName": "INSERT", "dynamodb": {"Keys": keys, "SequenceNumber": n.to_string()}})
    };
    let records: Vec<_> = accounts.iter().enumerate().map(record).collect();
    serde_json::from_value(json!({"Records": records})).unwrap()
}

fn sums(value: &Value, names: [&str; 4]) -> Sums {
    let [requests, input, output] = [0, 1, 2].map(|n| value[names[n]].as_u64().unwrap());
    (requests, input, output, Nanos::parse_usd(&value[names[3]].to_string()).unwrap().0)
}

fn told(answer: &Value) -> Stats {
    let groups = |list: &str, name: &str| {
        let group = |group: &Value| {
            let names = ["requests", "promptTokens", "completionTokens", "spent"];
            (group[name].as_str().unwrap().to_owned(), sums(group, names))
        };
        answer[list].as_array().unwrap().iter().map(group).collect()
    };
    let names = ["totalRequests", "totalPromptTokens", "totalCompletionTokens", "totalSpent"];
    Stats { all: sums(&answer["stats"], names), models: groups("byModel", "model"), series: groups("series", "group") }
}

fn summed(lines: &[Value], group_by: &str) -> Stats {
    let mut all = Sums::default();
    let (mut models, mut series) = (BTreeMap::<String, Sums>::new(), BTreeMap::<(u64, String), Sums>::new());
    for line in lines {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let key = line["keyId"].as_u64().unwrap();
        let group = match group_by {
            "day" => (0, text("createdAt")[..10].to_owned()),
            "model" => (0, text("model")),
            _ => (key, key.to_string()),
        };
        let mut line = line.clone();
        line["one"] = 1.into();
        let more = sums(&line, ["one", "promptTokens", "completionTokens", "chargedAmount"]);
        for sums in [&mut all, models.entry(text("model")).or_default(), series.entry(group).or_default()] {
            *sums = (sums.0 + more.0, sums.1 + more.1, sums.2 + more.2, sums.3 + more.3);
        }
    }
    let series = series.into_iter().map(|((_, group), sums)| (group, sums)).collect();
    Stats { all, models: models.into_iter().collect(), series }
}
