//! 64 clients with 8 keys of one account whose balance runs out in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use gateway_core::{
    ids::{KeyId, RequestId},
    ledger::EntryKind,
    limits::RateLimit,
    moment::Reset,
    money::Nanos,
    token::KeyType,
};
use gateway_store::Credit;
use gateway_upstream::Timeouts;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use support::{Client, TestGateway};
use tokio::task::JoinSet;

use crate::{
    books::{self, Outcome, Purse, amounts_in, cost_in, funds_are_true},
    locked,
    plan::{Act, Chance, Leaves, Plan, Route, Tokens},
    provider::Providers,
    seed, setting,
};

const CLIENTS: u64 = 64;
const ROUNDS: u64 = 5;
/// The round in whose midst the account is credited; its funds run out before.
const CREDIT_ROUND: u64 = 2;
/// Virtual time goes on by less than this before each request.
const STEP_MS: u64 = 40;
/// How long a gateway may remember what the authorizer said.
const REMEMBERED_MS: u64 = 10_000;

// The keys, by what becomes of them; the others are left alone.
const FIRST: usize = 0;
const DELETED: usize = 1;
const SWITCHED: usize = 2;
const LIMITED: usize = 3;
const LIMITED_DAILY: usize = 4;
const RATE_LIMITED: usize = 5;
const LIMIT_CHANGES: usize = 6;
const KEYS: usize = 8;

const RATE: RateLimit = RateLimit { requests: 12, interval: gateway_core::limits::Interval { seconds: 10 } };

struct Load {
    gateway: TestGateway,
    providers: Providers,
    clients: Vec<Client>,
    keys: Vec<KeyId>,
    given: Nanos,
    most: BTreeMap<KeyId, Nanos>,
    /// Steps of the key that is switched: 0 on, 1 changing, 2 off, 3 changing, 4 on…
    switch: AtomicU64,
    switched_at: AtomicU64,
    purse: Mutex<Purse>,
    next: AtomicU64,
    outcomes: Mutex<Vec<Outcome>>,
    /// What was left of each key's rate window, by the answers of the requests that were counted.
    rates: Mutex<BTreeMap<(usize, u64), Vec<u32>>>,
    /// How often what happened.
    seen: Mutex<BTreeMap<String, u64>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_64_clients_are_charged_is_what_the_providers_served_while_the_balance_runs_out() {
    let seed = seed("http_concurrency");
    let requests = setting("LOAD_REQUESTS", 2_240);
    let each = requests.div_ceil(CLIENTS * ROUNDS);
    let load = Arc::new(Load::start(CLIENTS * each).await);
    for round in 0..ROUNDS {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (load, chance) = (load.clone(), Chance(seed ^ (round << 32 | client)));
            clients.spawn(async move { load.client(client, round, each, chance).await });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        load.rest(round).await;
    }
    load.report();
}

/// A provider's bug meets an account that is short: the hold can't be made to cover the bill, and what can be is fought for.
#[tokio::test(flavor = "multi_thread")]
async fn requests_billed_over_their_holds_at_the_same_time_are_all_settled() {
    let seed = seed("billed_over");
    let load = Arc::new(Load::start(4 * CLIENTS).await);
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let (load, key) = (load.clone(), [FIRST, DELETED, LIMIT_CHANGES][n as usize % 3]);
        clients.spawn(async move {
            let plan = Plan::of(&mut Chance(seed ^ n), load.next.fetch_add(1, Ordering::SeqCst), key);
            let acts = [Act::Serve(Tokens { input: 100, cached: 0, output: 1_000 }); 2];
            load.ask(&Plan { acts, leaves: Leaves::AtTheEnd, route: Route::Chat { stream: n % 2 == 0 }, ..plan }).await
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    load.gateway.gateway.idle().await;
    load.books_are_true().await;
    let seen = locked(&load.seen).clone();
    println!("{seen:?}");
    assert!(seen["200 "] > 1);
}

impl Load {
    /// A gateway whose account can pay for about a round and a half of so many requests.
    async fn start(round: u64) -> Self {
        let providers = Providers::start().await;
        let given = Nanos(i64::try_from(round).unwrap() * 45_000);
        let gateway = TestGateway::start_with(|options| {
            options.settings = Some(providers.settings());
            options.free_credit = given;
            let patient = 60_000;
            options.timeouts =
                Timeouts { connect_ms: patient, first_byte_ms: patient, answer_ms: patient, idle_ms: patient };
        })
        .await;
        let round = i64::try_from(round).unwrap();
        let limit = |key| match key {
            LIMITED => Some(Nanos(round * 18_000)),
            LIMITED_DAILY => Some(Nanos(round * 6_000)),
            LIMIT_CHANGES => Some(Nanos(round * 30_000)),
            _ => None,
        };
        let (mut clients, mut keys, mut most) = (vec![gateway.proxy.clone()], vec![KeyId(1)], BTreeMap::new());
        for key in 1..KEYS {
            let change = |new: &mut gateway_store::NewKey| {
                new.spend_limit = limit(key);
                new.reset = (key == LIMITED_DAILY).then_some(Reset::Daily);
                new.rate_limit = if key == RATE_LIMITED { RATE } else { new.rate_limit };
            };
            let (id, client) = gateway.key(KeyType::Proxy, change).await;
            most.extend(limit(key).map(|limit| (id, limit)));
            clients.push(client);
            keys.push(id);
        }
        let purse = Mutex::new(Purse { epoch: 0, ceiling: given });
        Self {
            gateway,
            providers,
            clients,
            keys,
            given,
            most,
            purse,
            switch: AtomicU64::default(),
            switched_at: AtomicU64::default(),
            next: AtomicU64::default(),
            outcomes: Mutex::default(),
            rates: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// One client's requests of a round. The first client changes keys beside, the second credits the account.
    async fn client(&self, client: u64, round: u64, requests: u64, mut chance: Chance) {
        for turn in 0..requests {
            self.gateway.clock().advance_ms(chance.below(STEP_MS));
            match client {
                0 => self.change_keys(round, turn, &mut chance).await,
                1 if round == CREDIT_ROUND && turn == requests / 2 => {
                    self.credit(Nanos(self.given.0 * 8), EntryKind::Payment).await;
                }
                _ => {}
            }
            let key = chance.below(KEYS as u64) as usize;
            let mut plan = Plan::of(&mut chance, self.next.fetch_add(1, Ordering::SeqCst), key);
            if key == RATE_LIMITED && plan.leaves == Leaves::BeforeTheAnswer {
                // Every answer of this key is needed: they count its windows.
                plan.leaves = Leaves::AtTheEnd;
            }
            self.ask(&plan).await;
            if chance.percent(5) {
                self.look().await;
            }
        }
    }

    /// Reads the account amid all that runs, and checks it.
    async fn look(&self) -> Nanos {
        let before = locked(&self.purse).epoch;
        let left = funds_are_true(&self.gateway.standing().await, self.given, &self.most);
        let mut purse = locked(&self.purse);
        if purse.epoch == before && before.is_multiple_of(2) {
            purse.ceiling = purse.ceiling.min(left);
        }
        left
    }

    fn saw(&self, what: impl Into<String>) {
        *locked(&self.seen).entry(what.into()).or_default() += 1;
    }

    /// Credits the account, in four deliveries at once.
    async fn credit(&self, amount: Nanos, kind: EntryKind) {
        let unknown = |purse: &mut Purse| *purse = Purse { epoch: purse.epoch + 1, ceiling: Nanos(i64::MAX) };
        unknown(&mut locked(&self.purse));
        let id = RequestId::new(self.gateway.clock().now(), gateway_store::random().unwrap());
        let credit = Credit { id, kind, amount, description: "payment".to_owned() };
        let deliver = || self.gateway.store().account_credit(&self.gateway.account, &credit);
        let delivered = tokio::join!(deliver(), deliver(), deliver(), deliver());
        let delivered = [delivered.0, delivered.1, delivered.2, delivered.3].map(Result::unwrap);
        assert_eq!(delivered.iter().filter(|credited| **credited).count(), 1, "credited once");
        unknown(&mut locked(&self.purse));
    }

    async fn put(&self, key: usize, change: Value) {
        let path = format!("/api/keys/{}", self.keys[key]);
        let answer = self.gateway.billing.send(Method::PUT, &path, &change.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    async fn change_keys(&self, round: u64, turn: u64, chance: &mut Chance) {
        match turn % 4 {
            0 => {
                self.switch.fetch_add(1, Ordering::SeqCst);
                self.put(SWITCHED, json!({"active": false})).await;
                self.switch.fetch_add(1, Ordering::SeqCst);
                assert_eq!(self.ask(&self.plain(SWITCHED)).await, Some(403), "switched off");
            }
            1 => {
                self.switch.fetch_add(1, Ordering::SeqCst);
                self.put(SWITCHED, json!({"active": true})).await;
                self.switched_at.store(self.gateway.clock().now().0, Ordering::SeqCst);
                self.switch.fetch_add(1, Ordering::SeqCst);
            }
            2 => {
                let limit = Nanos(self.most[&self.keys[LIMIT_CHANGES]].0 / (1 + chance.below(20) as i64));
                self.put(
                    LIMIT_CHANGES,
                    json!({"spend_limit": limit.to_string().parse::<serde_json::Number>().unwrap()}),
                )
                .await;
            }
            _ if round < ROUNDS - 1 => self.put(DELETED, json!({"name": format!("name {turn}")})).await,
            _ => {}
        }
        if round == ROUNDS - 1 && turn == 0 {
            let path = format!("/api/keys/{}", self.keys[DELETED]);
            let answer = self.gateway.billing.send(Method::DELETE, &path, "").await;
            assert_eq!(answer.status, 204, "{}", answer.text);
            assert_eq!(self.ask(&self.plain(DELETED)).await, Some(401), "deleted");
        }
    }

    /// Sends a request as its plan says, and checks all that comes back.
    async fn ask(&self, plan: &Plan) -> Option<u16> {
        self.providers.expect(plan);
        let (path, body) = plan.request();
        let (purse, switch) = (*locked(&self.purse), self.switch.load(Ordering::SeqCst));
        let sent = self.clients[plan.key].request(Method::POST, path).body(body.to_string()).send();
        let response = tokio::select! {
            response = sent => Some(response.unwrap()),
            arrived = plan.arrived.acquire(), if plan.leaves == Leaves::BeforeTheAnswer => {
                arrived.unwrap().forget();
                None
            }
        };
        let mut outcome = Outcome { n: plan.n, id: None, status: None, whole: false, cost: None };
        if let Some(mut response) = response {
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            outcome.status = Some(status);
            outcome.id = headers.get("x-request-id").and_then(|id| RequestId::parse(id.to_str().unwrap()));
            self.rate_is_true(plan, status, outcome.id.as_ref(), &headers);
            if status == 200 && plan.leaves == Leaves::Midway {
                assert!(response.chunk().await.unwrap().is_some());
                self.saw("left midway");
            } else {
                let text = response.text().await.unwrap();
                outcome.whole = !text.contains("\"error\"");
                // A stream that fails names what it had cost until then, and is free.
                outcome.cost = cost_in(&text).filter(|_| outcome.whole);
                self.answer_is_true(plan, status, &headers, &text, purse, switch).await;
            }
        } else {
            self.saw("left before the answer");
        }
        plan.go_on.add_permits(8);
        let status = outcome.status;
        locked(&self.outcomes).push(outcome);
        status
    }

    /// Checks what an answer's headers say of the key's rate window.
    fn rate_is_true(&self, plan: &Plan, status: u16, id: Option<&RequestId>, headers: &HeaderMap) {
        let number = |name: &str| -> Option<u32> {
            let text = headers.get(name)?.to_str().unwrap();
            Some(text.trim_end_matches('s').parse().unwrap_or_else(|_| panic!("{name}: {text}")))
        };
        let limit = if plan.key == RATE_LIMITED { RATE } else { RateLimit::default() };
        let Some(remaining) = number("x-ratelimit-remaining-requests") else {
            // Refused before it was counted.
            assert!([401, 402, 403].contains(&status), "{status} without its rate window");
            return;
        };
        assert_eq!(number("x-ratelimit-limit-requests"), Some(limit.requests));
        assert!((1..=limit.interval.seconds).contains(&number("x-ratelimit-reset-requests").unwrap()));
        if status == 429 {
            assert_eq!(remaining, 0, "refused with requests left");
            assert!((1..=limit.interval.seconds).contains(&number("retry-after").unwrap()));
        }
        let window = limit.interval.window(id.unwrap().at());
        let mut rates = locked(&self.rates);
        let counted = rates.entry((plan.key, window)).or_default();
        if status == 429 {
            assert_eq!(plan.key, RATE_LIMITED);
            // Marked as full: checked when all answers are there.
            counted.push(u32::MAX);
        } else {
            assert!(remaining < limit.requests && !counted.contains(&remaining), "{remaining} left twice: {counted:?}");
            counted.push(remaining);
        }
    }

    async fn answer_is_true(
        &self,
        plan: &Plan,
        status: u16,
        headers: &HeaderMap,
        text: &str,
        purse: Purse,
        switch: u64,
    ) {
        let (expected, act) = plan.answer();
        let error: Value = if status == 200 { Value::Null } else { serde_json::from_str(text).unwrap() };
        let code = error["error"]["code"].as_str().unwrap_or_default();
        let off = plan.key == SWITCHED && switch == self.switch.load(Ordering::SeqCst) && switch % 4 == 2;
        assert!(!off || code == "key_deactivated", "let through when switched off: {status} {text}");
        self.saw(format!("{status} {code}"));
        match (status, code) {
            (401, "invalid_api_key") => assert_eq!(plan.key, DELETED),
            (402, "insufficient_balance") => self.refusal_for_funds_is_true(headers, &error, purse).await,
            (403, "key_deactivated") => {
                let on_for = self.gateway.clock().now().0 - self.switched_at.load(Ordering::SeqCst);
                let on = switch == self.switch.load(Ordering::SeqCst) && switch.is_multiple_of(4);
                assert_eq!(plan.key, SWITCHED);
                assert!(!on || on_for <= REMEMBERED_MS, "refused when switched on for {on_for} ms");
            }
            (403, "spend_limit_reached") => {
                assert!([LIMITED, LIMITED_DAILY, LIMIT_CHANGES].contains(&plan.key), "{}", plan.key);
            }
            (429, "rate_limit_exceeded") => {}
            // The fallback is dearer, and left out where the funds or the key's limit cover the first model alone.
            (status, _) if plan.first_alone() == Some(status) && self.may_be_short(plan.key, purse) => {}
            (status, _) => assert_eq!(status, expected, "{text}: {plan:?}"),
        }
        if status == 200 {
            let said_cost = !plan.stream() || plan.n.is_multiple_of(2);
            let counted = matches!(act, Act::Serve(_) | Act::ServeAndCut(_));
            assert!(!said_cost || !counted || cost_in(text).is_some(), "no cost in {text}");
        }
    }

    /// Whether a request may have met too little for the dearer of its models.
    fn may_be_short(&self, key: usize, purse: Purse) -> bool {
        let held_by_all = Nanos(i64::try_from(CLIENTS).unwrap() * 300_000);
        self.most.contains_key(&self.keys[key]) || purse.ceiling < held_by_all
    }

    /// Checks that the account could not pay, and what it was said to lack.
    async fn refusal_for_funds_is_true(&self, headers: &HeaderMap, error: &Value, before: Purse) {
        let message = error["error"]["message"].as_str().unwrap();
        let [amount, free] = amounts_in(message);
        assert!(free < amount, "{message}");
        let left = self.look().await;
        let still = before.epoch == locked(&self.purse).epoch && before.epoch.is_multiple_of(2);
        let retry_after = headers.get("retry-after").map(|seconds| seconds.to_str().unwrap().parse::<u64>().unwrap());
        match error["error"]["reason"].as_str() {
            Some("in_flight") => {
                self.saw("402 in_flight");
                assert!(retry_after.unwrap() >= 1);
                assert!(!still || before.ceiling >= amount, "only {} there: {message}", before.ceiling);
            }
            Some("balance") => {
                self.saw("402 balance");
                assert_eq!(retry_after, None);
                assert!(!still || left < amount, "{left} there: {message}");
            }
            reason => panic!("{reason:?}: {message}"),
        }
    }

    /// Checks all the books when nothing runs.
    async fn rest(&self, round: u64) {
        self.gateway.gateway.idle().await;
        self.books_are_true().await;
        if round == CREDIT_ROUND - 1 {
            self.last_nano_counts().await;
            self.books_are_true().await;
        }
        if round == CREDIT_ROUND + 1 {
            let day_ms = 86_400_000;
            self.gateway.clock().advance_ms(day_ms);
            let status = self.ask(&self.plain(LIMITED_DAILY)).await;
            assert_eq!(status, Some(200), "a new day, a new limit");
        }
    }

    async fn books_are_true(&self) {
        let left = self.look().await;
        let standing = self.gateway.standing().await;
        assert_eq!(left, standing.balance());
        let entries = books::ledger(self.gateway.store(), &self.gateway.account).await;
        books::ledger_adds_up(&standing, &entries);
        books::prices_are_the_list_s(&entries);
        let billed = self.providers.billed();
        books::all_that_was_served_is_charged(&entries, &billed);
        books::clients_were_told_the_truth(&entries, &billed, &locked(&self.outcomes), |_| false);
        for ((key, window), remaining) in &*locked(&self.rates) {
            let counted: BTreeSet<_> = remaining.iter().filter(|&&remaining| remaining < u32::MAX).collect();
            let full = counted.len() < remaining.len();
            assert!(!full || counted.len() == RATE.requests as usize, "429 in a window of {counted:?}: {key} {window}");
        }
    }

    /// A request that is served, counted and answered whole.
    fn plain(&self, key: usize) -> Plan {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        let tokens = Tokens { input: 100, cached: 0, output: 100 };
        let plan = Plan::of(&mut Chance(n), n, key);
        let acts = [Act::Serve(tokens); 2];
        let route = Route::Chat { stream: false };
        Plan { route, fallback: false, max_tokens: Some(150), acts, leaves: Leaves::AtTheEnd, ..plan }
    }

    /// With too little left for a request, it is refused; with exactly enough it is served, wherever the funds lie.
    async fn last_nano_counts(&self) {
        let (plan, [mut needs, mut free]) = loop {
            let plan = self.plain(FIRST);
            if let Some(amounts) = self.refused(&plan).await {
                break (plan, amounts);
            }
        };
        // Far below the price nothing is counted, and a bound by size is named.
        let near = Nanos(needs.0 * 3 / 5);
        if free < near {
            self.credit(near - free, EntryKind::Payment).await;
            [needs, free] = self.refused(&plan).await.unwrap();
        }
        self.credit(needs - free - Nanos(1), EntryKind::Payment).await;
        assert_eq!(self.refused(&plan).await, Some([needs, needs - Nanos(1)]), "a nano short");
        self.credit(Nanos(1), EntryKind::Payment).await;
        assert_eq!(self.ask(&plan).await, Some(200), "to the last nano");
    }

    /// Sends a request when nothing else runs; if it is refused for want of funds, what it needs and what is free.
    async fn refused(&self, plan: &Plan) -> Option<[Nanos; 2]> {
        let left = self.gateway.standing().await.balance();
        self.providers.expect(plan);
        let (path, body) = plan.request();
        let answer = self.clients[plan.key].post(path, &body).await;
        if answer.status == 200 {
            return None;
        }
        assert_eq!(answer.error(), (402, "insufficient_balance".to_owned()), "{left} left: {}", answer.text);
        let error = answer.json();
        let [needs, free] = amounts_in(error["error"]["message"].as_str().unwrap());
        assert_eq!((free, error["error"]["reason"].as_str()), (left, Some("balance")));
        Some([needs, free])
    }

    /// Says what happened, and checks that all that is to be shown did.
    fn report(&self) {
        let seen = locked(&self.seen);
        let billed = self.providers.billed();
        println!("{} requests, {} served; {seen:?}", self.next.load(Ordering::SeqCst), billed.len());
        for what in [
            "200 ",
            "400 invalid_parameter",
            "401 invalid_api_key",
            "402 balance",
            "403 key_deactivated",
            "403 spend_limit_reached",
            "429 rate_limit_exceeded",
            "502 upstream_error",
            "503 upstream_overloaded",
            "504 upstream_timeout",
            "left midway",
            "left before the answer",
        ] {
            assert!(seen.contains_key(what), "nothing shown of `{what}`");
        }
    }
}
