//! How many requests a second one key and one account can pay for: ours beside a baseline that does all by transactions.
//!
//! A request is a hold that is placed and settled; no provider is asked. All arms run against the same emulated database,
//! or, where `LEDGER_DATABASE` names one, against that; each against its own tables, in turn, in one run.

use std::{sync::Arc, time::Duration};

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{EntryKind, Served},
    limits::{Interval, RateLimit},
    money::Nanos,
    token::{KeyType, Token},
    usage::{Metered, Usage},
};
use gateway_lambda::Clock;
use gateway_store::{Credit, HoldOutcome, HoldRequest, NewKey, Store, Tables, random};
use modelswitch::{Data, Engine, STACK_NAME, Template};
use support::faults::{Retries, Wire};
use tokio::task::JoinSet;

use crate::{
    baseline::{Baseline, Placed},
    emulation::{Behaviour, Emulated},
    now, refusals,
    sample::{Sample, median},
};

/// After one to warm up.
const ROUNDS: usize = 5;
/// No new request begins after so long.
const ROUND: Duration = Duration::from_secs(1);
const WORKERS: usize = 64;
/// What every call of the database takes.
const CALL: Duration = Duration::from_millis(5);

const CREDIT: Nanos = Nanos::usd(100_000);
const HOLD: Nanos = Nanos(500_000);
const COST: Nanos = Nanos(81_200);

/// A variant of the books.
#[derive(Clone)]
enum Books {
    Ours(Store),
    Transactions(Baseline),
}

impl Books {
    /// Places and settles a hold. False if the database, or a limit, did not let it.
    async fn pay(&self, account: &AccountId, key: KeyId) -> bool {
        let at = Clock::system().now();
        let id = RequestId::new(at, random().unwrap());
        let wanted = HoldRequest {
            account,
            key,
            id: &id,
            models: &[vec!["bench/chat".to_owned()]],
            amount: HOLD,
            at,
            expires: at.plus_ms(600_000),
        };
        let served = Served {
            key,
            model: "bench/chat".to_owned(),
            provider: "bench".to_owned(),
            metered: Metered { usage: Usage { input: 12, output: 200, ..Usage::default() }, estimated: false },
            unpaid: Nanos::ZERO,
            duration_ms: None,
        };
        match self {
            Self::Ours(store) => match store.hold_place(&wanted).await {
                Ok(HoldOutcome::Held(hold)) => store.hold_settle(&hold, COST, served).await.is_ok(),
                _ => false,
            },
            Self::Transactions(baseline) => {
                baseline.place(&wanted).await == Placed::Held && baseline.settle(&wanted, COST, &served).await
            }
        }
    }
}

/// Books with an account, its keys, and what was measured.
struct Arm {
    name: &'static str,
    books: Books,
    /// Looks at the account when all is done.
    reader: Store,
    account: AccountId,
    keys: Arc<[KeyId]>,
    emulated: Option<Emulated>,
    samples: Vec<Sample>,
    /// Requests paid for, in the rounds that count, and in all.
    measured: usize,
    done: usize,
    failed: usize,
    conflicts: u64,
}

/// What an arm's keys are like.
#[derive(Debug, Clone, Copy)]
struct Keys {
    count: usize,
    rate_limit: RateLimit,
    spend_limit: Option<Nanos>,
}

impl Keys {
    /// That no limit stops, in one lane each.
    fn without_limit(count: usize) -> Self {
        let rate_limit = RateLimit { requests: 4_000_000, interval: Interval { seconds: 86_400 } };
        Self { count, rate_limit, spend_limit: None }
    }
}

/// Measures and prints the tables.
pub(crate) fn run() {
    if gateway_lambda::environment("LEDGER_DATABASE").is_some() {
        support::on_database(async |database| {
            for count in [1, 32] {
                let mut arms = Vec::new();
                for name in ["ours", "transactions on one item"] {
                    let wire = database.wire().beside();
                    wire.latency(CALL);
                    let client = database.client_on(&wire, Retries::Standard);
                    let books = books(name, client, database.tables.clone());
                    arms.push(Arm::open(name, books, database.reader(), None, Keys::without_limit(count)).await);
                }
                compare(&title(count, "as the database is, and 5 ms more a call"), &mut arms).await;
            }
        });
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (engine, tables) = engine();
        let baseline = Baseline { client: engine.client(), tables: tables.clone() };
        refusals::check(&Store::new(engine.client(), tables), &baseline).await;
        for count in [1, 32] {
            let mut arms = Vec::new();
            for (name, on_items) in [
                ("ours", CALL),
                ("transactions on one item", CALL),
                ("transactions on one item, each on it for 1 ms of its 5 ms", Duration::from_millis(1)),
            ] {
                let behaviour = Behaviour { call: CALL, on_items, writes_per_s: None };
                arms.push(emulated(name, behaviour, Keys::without_limit(count)).await);
            }
            compare(&title(count, "5 ms a call"), &mut arms).await;
        }
        lanes().await;
    });
    println!(
        "Emulated, for the embedded engine has none of it: each call takes 5 ms. While a transaction is on its items, which \
         here is all of its call or its last millisecond, other writes to them are refused as DynamoDB documents, plain \
         ones too; plain writes wait for each other only in the engine. Refused writes are tried again after a random \
         wait of at most 10 ms, doubling up to 1 s, by both. Limits of a partition are emulated in the last table alone.\n"
    );
}

fn title(keys: usize, database: &str) -> String {
    let keys = if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys of one account") };
    format!("{keys}, {WORKERS} workers, {database}")
}

/// One key in one lane beside one in 16, where an item, and an account's ledger, take 1000 writes a second.
async fn lanes() {
    let rate_limit = RateLimit { requests: 4_000, interval: Interval { seconds: 1 } };
    let mut arms = Vec::new();
    // A spend limit is one number in one item.
    for (name, spend_limit) in [("one lane (a spend limit wants that)", Some(CREDIT)), ("16 lanes", None)] {
        let behaviour = Behaviour { call: CALL, on_items: CALL, writes_per_s: Some(1_000) };
        arms.push(emulated(name, behaviour, Keys { count: 1, rate_limit, spend_limit }).await);
    }
    compare("1 key of 4000 requests a second, 1000 writes a second to an item and to the ledger", &mut arms).await;
}

/// A fresh one with the template's tables.
fn engine() -> (Engine, Tables) {
    let engine = Engine::open(&Data::Ephemeral).unwrap();
    for table in &Template::load(None).unwrap().tables {
        engine.create_table(table).unwrap();
    }
    (engine, Tables::of_stack(STACK_NAME))
}

/// An arm on an emulated database of its own.
async fn emulated(name: &'static str, behaviour: Behaviour, keys: Keys) -> Arm {
    let (engine, tables) = engine();
    let base = engine.client();
    let emulated = Emulated::new(engine, behaviour);
    let client = Wire::to(emulated.clone()).client(base.config(), Retries::Standard);
    Arm::open(name, books(name, client, tables.clone()), Store::new(base, tables), Some(emulated), keys).await
}

fn books(name: &str, client: aws_sdk_dynamodb::Client, tables: Tables) -> Books {
    if name.starts_with("transactions") {
        Books::Transactions(Baseline { client, tables })
    } else {
        Books::Ours(Store::new(client, tables))
    }
}

/// Round after round, the arms in turn.
async fn compare(title: &str, arms: &mut [Arm]) {
    for round in 0..=ROUNDS {
        for arm in &mut *arms {
            arm.round(round > 0).await;
        }
    }
    println!("| {title} | requests/s | | p50 | p99 | conflicts a request | failed |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let first = arms[0].middle(|sample| sample.per_second);
    for arm in &*arms {
        arm.check_books().await;
        let per_second = arm.middle(|sample| sample.per_second);
        let (p50, p99) = (arm.middle(|sample| sample.percentile_ms(50)), arm.middle(|sample| sample.percentile_ms(99)));
        let conflicts = match arm.emulated {
            Some(_) => format!("{:.2}", arm.conflicts as f64 / arm.measured as f64),
            None => String::new(),
        };
        println!(
            "| {} | {per_second:.0} | ×{:.3} | {p50:.0} ms | {p99:.0} ms | {conflicts} | {} |",
            arm.name,
            per_second / first,
            arm.failed
        );
    }
    println!();
}

impl Arm {
    async fn open(name: &'static str, books: Books, reader: Store, emulated: Option<Emulated>, of: Keys) -> Self {
        let at = Clock::system().now();
        let account = reader.account_create("bench", at).await.unwrap().id;
        let id = RequestId::new(at, random().unwrap());
        let credit = Credit { id, kind: EntryKind::Payment, amount: CREDIT, description: "bench".to_owned() };
        assert!(reader.account_credit(&account, &credit).await.unwrap());
        let mut keys = Vec::new();
        for _ in 0..of.count {
            let new = NewKey {
                name: "bench".to_owned(),
                key_type: KeyType::Proxy,
                expires_at: None,
                spend_limit: of.spend_limit,
                reset: None,
                rate_limit: of.rate_limit,
                models: None,
            };
            let token = Token::from_random(KeyType::Proxy, random().unwrap());
            keys.push(reader.key_create(&account, &new, &token, at, None).await.unwrap().unwrap().id);
        }
        let (keys, samples) = (keys.into(), Vec::new());
        Self { name, books, reader, account, keys, emulated, samples, measured: 0, done: 0, failed: 0, conflicts: 0 }
    }

    async fn round(&mut self, counts: bool) {
        let mut workers = JoinSet::new();
        let began = now();
        for worker in 0..WORKERS {
            let (books, account) = (self.books.clone(), self.account.clone());
            let key = self.keys[worker % self.keys.len()];
            workers.spawn(async move {
                let (mut times, mut failed) = (Vec::new(), 0);
                while began.elapsed() < ROUND {
                    let asked = now();
                    if books.pay(&account, key).await {
                        times.push(asked.elapsed());
                    } else {
                        failed += 1;
                    }
                }
                (times, failed)
            });
        }
        let all = workers.join_all().await;
        let elapsed = began.elapsed();
        let times: Vec<_> = all.iter().flat_map(|(times, _)| times.iter().copied()).collect();
        self.done += times.len();
        self.failed += all.iter().map(|(_, failed)| failed).sum::<usize>();
        let conflicts = self.emulated.as_ref().map_or(0, Emulated::take_conflicts);
        if counts {
            self.conflicts += conflicts;
            self.measured += times.len();
            self.samples.push(Sample::of(times, elapsed));
        }
    }

    fn middle(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(of))
    }

    /// Whatever is faster without booking every request is not a store.
    async fn check_books(&self) {
        let standing = self.reader.account_standing(&self.account).await.unwrap().unwrap();
        let charged = i64::try_from(self.done).unwrap() * COST.0;
        if self.failed == 0 {
            assert_eq!(
                (standing.balance(), standing.held()),
                (Nanos(CREDIT.0 - charged), Nanos::ZERO),
                "{}",
                self.name
            );
        }
    }
}
