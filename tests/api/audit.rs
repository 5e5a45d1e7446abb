//! `modelswitch audit`: it agrees with true books whatever runs or has died, and finds what is changed in them.

use std::collections::HashMap;

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use clap::Parser;
use futures_util::FutureExt;
use gateway_core::{
    audit::{Difference, Notice, What},
    ids::{AccountId, KeyId, RequestId},
    ledger::{EntryKind, Served},
    money::Nanos,
    token::{KeyType, Token},
    usage::{Metered, Usage},
};
use gateway_store::{Busy, Credit, HoldRequest, KeyChange, PlacedHold, Store, Tables, random};
use modelswitch::{
    Data, Engine,
    cli::Cli,
    operator::{self, Report},
};
use serde_json::Value;
use support::{Folder, MODEL, Process, Reply, TestGateway, chat_stream, new_key, process};

const TEST: &str = "audit::the_program_as_a_process";
const ACCOUNTS: &str = "modelswitch-accounts";
const LEDGER: &str = "modelswitch-ledger";
const USAGE: &str = "modelswitch-usage";
const KEY: KeyId = KeyId(1);
const KEY_ITEM: &str = "key#0000000001";

type Item = HashMap<String, AttributeValue>;

/// A gateway on a file, and the file's tables without any rule.
struct Audited {
    folder: Folder,
    gateway: TestGateway,
    client: Client,
}

impl Audited {
    async fn start() -> Self {
        let folder = Folder::new();
        let data = folder.path("data.db");
        let gateway = TestGateway::start_with(|options| options.data = Data::File(data.clone())).await;
        let client = Engine::beside(&data).unwrap().client();
        Self { folder, gateway, client }
    }

    /// The command's report.
    async fn audit(&self, arguments: &str) -> Result<Report, String> {
        let data = self.folder.path("data.db");
        let words = ["modelswitch", "--data", data.to_str().unwrap(), "audit"];
        let cli = Cli::try_parse_from(words.into_iter().chain(arguments.split_whitespace())).unwrap();
        operator::run(&cli.target, cli.command, modelswitch::echo()).await.map_err(|problem| problem.to_string())
    }

    async fn agrees(&self) {
        let report = self.audit("").await.unwrap();
        assert!(!report.failed && report.text.ends_with(": they agree"), "{}", report.text);
        assert_eq!((report.text.lines().count(), report.warnings.len()), (1, 0), "{}", report.text);
    }

    /// What differs, by name.
    async fn differs(&self) -> Vec<String> {
        let report = self.audit("").await.unwrap();
        let found: Value = serde_json::from_str(&report.json).unwrap();
        let differences = found["differences"].as_array().unwrap();
        assert_eq!(report.failed, !differences.is_empty());
        let account = self.gateway.account.as_str();
        let lines = report.text.lines().filter(|line| line.starts_with(account) && line.contains("expected"));
        assert_eq!(lines.count(), differences.len(), "{}", report.text);
        differences.iter().map(|it| it["what"].as_str().unwrap().to_owned()).collect()
    }

    fn key(&self, table: &str, item: &str) -> Item {
        let sort = match table {
            LEDGER => "entry",
            USAGE => "total",
            _ => "item",
        };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        HashMap::from([("account".to_owned(), text(self.gateway.account.as_str())), (sort.to_owned(), text(item))])
    }

    async fn item(&self, table: &str, item: &str) -> Item {
        let read = self.client.get_item().table_name(table).set_key(Some(self.key(table, item)));
        read.send().await.unwrap().item.unwrap()
    }

    async fn put(&self, table: &str, item: Item) {
        self.client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }

    async fn delete(&self, table: &str, item: &str) {
        self.client.delete_item().table_name(table).set_key(Some(self.key(table, item))).send().await.unwrap();
    }

    /// What differs while an item is changed, which it is only for that long.
    async fn planted(&self, table: &str, item: &str, change: impl FnOnce(&mut Item)) -> Vec<String> {
        let before = self.item(table, item).await;
        let mut changed = before.clone();
        change(&mut changed);
        self.put(table, changed).await;
        let found = self.differs().await;
        self.put(table, before).await;
        found
    }

    /// A request of the first key that served three units of money, and its entry's id.
    async fn charged(&self) -> RequestId {
        let hold = self.hold().await;
        let metered = Metered { usage: Usage { input: 10, ..Usage::default() }, estimated: false };
        let served = Served {
            key: KEY,
            model: MODEL.to_owned(),
            provider: "lab".to_owned(),
            metered,
            unpaid: Nanos::ZERO,
            duration_ms: None,
        };
        let _ = self.gateway.store().hold_settle(&hold.1, Nanos(3), served).await.unwrap();
        hold.0
    }

    async fn hold(&self) -> (RequestId, PlacedHold) {
        hold(self.gateway.store(), &self.gateway.account, self.gateway.clock().now()).await
    }
}

/// A hold of 1000 nano-dollars of the first key.
async fn hold(store: &Store, account: &AccountId, at: gateway_core::moment::UnixMs) -> (RequestId, PlacedHold) {
    let id = RequestId::new(at, random().unwrap());
    let (models, amount, expires) = (&[vec![MODEL.to_owned()]], Nanos(1000), at.plus_ms(960_000));
    let wanted = HoldRequest { account, key: KEY, id: &id, models, amount, at, expires };
    let hold = store.hold_place(&wanted).await.unwrap().placed(amount).unwrap();
    (id, hold)
}

fn add(item: &mut Item, name: &str, more: i64) {
    let before: i64 = item[name].as_n().unwrap().parse().unwrap();
    item.insert(name.to_owned(), AttributeValue::N((before + more).to_string()));
}

#[test]
fn the_program_as_a_process() {
    process::run_if_asked();
}

#[tokio::test]
async fn true_books_agree_after_traffic_and_in_the_middle_of_it() {
    let audited = Audited::start().await;
    let gateway = &audited.gateway;
    gateway.credit("20", EntryKind::Payment).await;
    let (_, limited) = gateway.key(KeyType::Proxy, |key| key.spend_limit = Some(Nanos(2000))).await;
    let (_, of_many_lanes) = gateway.key(KeyType::Proxy, |key| key.rate_limit.requests = 100_000).await;
    let body = TestGateway::chat(MODEL);
    for client in [&gateway.proxy, &limited, &gateway.proxy, &of_many_lanes, &of_many_lanes, &of_many_lanes] {
        client.post("/v1/chat/completions", &body).await;
    }
    gateway.provider.will(Reply::Json(500, "{}".to_owned()));
    assert!(gateway.proxy.post("/v1/chat/completions", &body).await.status >= 500, "it costs nothing");
    gateway.gateway.idle().await;
    audited.agrees().await;
    gateway.provider.will(Reply::Stepwise(chat_stream(&["a"], 3, 1)));
    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let request = gateway.proxy.request(http::Method::POST, "/v1/chat/completions").body(streamed.to_string());
    let mut running = request.send().await.unwrap();
    assert!(gateway.standing().await.held() > Nanos::ZERO);
    audited.agrees().await;
    gateway.provider.steps(3);
    while running.chunk().await.unwrap().is_some() {}
    gateway.gateway.idle().await;
    audited.agrees().await;
}

#[tokio::test]
async fn true_books_agree_whatever_a_killed_process_left() {
    let audited = Audited::start().await;
    let gateway = &audited.gateway;
    audited.charged().await;
    // Before the provider answered.
    let _killed = audited.hold().await;
    // Between the ledger's write and the allowance's: its store has no accounts to write, and is dropped while it waits.
    let tables = Tables { accounts: "nowhere".to_owned(), ..Tables::of_stack("modelswitch") };
    let dying = Store::new(audited.client.clone(), tables);
    let metered = Metered { usage: Usage::default(), estimated: false };
    let served = Served {
        key: KEY,
        model: MODEL.to_owned(),
        provider: "lab".to_owned(),
        metered,
        unpaid: Nanos::ZERO,
        duration_ms: None,
    };
    assert!(dying.hold_settle(&audited.hold().await.1, Nanos(300), served).now_or_never().is_none());
    // Between the sweep's two writes.
    let (expired, _hold) = audited.hold().await;
    let stamp = audited.gateway.standing().await.keys[0].allowance.holds[&expired].stamp();
    let mut entry = audited.key(LEDGER, expired.as_str());
    entry.insert("kind".to_owned(), AttributeValue::S("expired".to_owned()));
    entry.insert("amount".to_owned(), AttributeValue::N("0".to_owned()));
    entry.insert("hold".to_owned(), AttributeValue::N(stamp.to_string()));
    audited.put(LEDGER, entry).await;
    audited.agrees().await;
    gateway.clock().advance_ms(960_000);
    let swept = gateway.gateway.expire_holds().await.unwrap();
    assert_eq!((swept.charged, swept.released), (1, 2));
    audited.agrees().await;
}

#[tokio::test]
async fn what_is_changed_in_the_accounts_is_found_and_named() {
    let audited = Audited::start().await;
    audited.gateway.credit("1", EntryKind::Payment).await;
    audited.charged().await;
    let (held, _) = audited.hold().await;
    let account = |change: fn(&mut Item)| audited.planted(ACCOUNTS, "account", change);
    let key = |change: fn(&mut Item)| audited.planted(ACCOUNTS, KEY_ITEM, change);
    assert_eq!(account(|item| add(item, "balance", 1)).await, ["funds"]);
    assert_eq!(account(|item| add(item, "balance", -10_000_000_000)).await, ["negative_balance", "funds"]);
    assert_eq!(account(|item| add(item, "paid_in", 1)).await, ["paid_in"]);
    assert_eq!(key(|item| add(item, "avail", 1)).await, ["funds"]);
    assert_eq!(key(|item| add(item, "avail", -10_000_000_000)).await, ["negative_allowance", "funds"]);
    assert_eq!(key(|item| add(item, "spent", 1)).await, ["limit_left", "spent"]);
    assert_eq!(key(|item| add(item, "left", 1)).await, ["limit_left"]);
    assert_eq!(key(|item| add(item, "base", 1)).await, ["limit_left"]);
    // A hold is its amount and, in the last eleven digits, its stamp.
    let of_hold = |more: i128| {
        let held = held.as_str().to_owned();
        audited.planted(ACCOUNTS, KEY_ITEM, move |item| {
            let mut holds = item["holds"].as_m().unwrap().clone();
            let before: i128 = holds[&held].as_n().unwrap().parse().unwrap();
            holds.insert(held, AttributeValue::N((before + more * 100_000_000_000).to_string()));
            item.insert("holds".to_owned(), AttributeValue::M(holds));
        })
    };
    assert_eq!(of_hold(1).await, ["limit_left", "funds"]);
    assert_eq!(of_hold(-1).await, ["limit_left", "funds"]);
    let key = audited.item(ACCOUNTS, KEY_ITEM).await;
    audited.delete(ACCOUNTS, KEY_ITEM).await;
    assert_eq!(audited.differs().await, ["funds", "no_such_key"]);
    audited.put(ACCOUNTS, key).await;
    audited.agrees().await;
}

#[tokio::test]
async fn what_is_changed_in_the_ledger_is_found_and_named() {
    let audited = Audited::start().await;
    let (usage, _) = (audited.charged().await, audited.hold().await);
    let entry = |change: fn(&mut Item)| audited.planted(LEDGER, usage.as_str(), change);
    assert_eq!(entry(|item| add(item, "amount", -1)).await, ["funds", "spent"]);
    assert_eq!(entry(|item| add(item, "amount", 4)).await, ["funds", "spent", "wrong_entry"]);
    assert_eq!(entry(|item| drop(item.remove("key"))).await, ["spent", "wrong_entry"]);
    assert_eq!(entry(|item| add(item, "key", 1)).await, ["spent", "spent"]);
    assert_eq!(entry(|item| add(item, "key", 8)).await, ["spent", "no_such_key"]);
    let whole = audited.item(LEDGER, usage.as_str()).await;
    audited.delete(LEDGER, usage.as_str()).await;
    assert_eq!(audited.differs().await, ["funds", "spent"]);
    audited.put(LEDGER, whole.clone()).await;
    let twice = RequestId::new(usage.at(), [9; 10]);
    let copy = whole.clone().into_iter().chain(audited.key(LEDGER, twice.as_str())).collect();
    audited.put(LEDGER, copy).await;
    assert_eq!(audited.differs().await, ["funds", "spent"]);
    audited.delete(LEDGER, twice.as_str()).await;
    audited.agrees().await;
    let broken = whole.into_iter().filter(|(name, _)| name != "amount").collect();
    audited.put(LEDGER, broken).await;
    let problem = audited.audit("").await.unwrap_err();
    assert!(problem.contains(usage.as_str()) && problem.contains("not readable"), "{problem}");
}

#[tokio::test]
async fn what_is_changed_in_the_sums_of_usage_is_found_and_named() {
    let audited = Audited::start().await;
    let (_, day) = (audited.charged().await, audited.gateway.clock().now().day());
    audited.gateway.clock().advance_ms(120_000);
    audited.gateway.gateway.rollup().await;
    let later = audited.charged().await;
    audited.agrees().await;
    let total = format!("{day}#0000000001#{MODEL}");
    for name in ["requests", "input", "output", "spent"] {
        assert_eq!(audited.planted(USAGE, &total, |item| add(item, name, 1)).await, ["total"], "{name}");
    }
    let mark = |id: &RequestId| AttributeValue::S(id.as_str().to_owned());
    let counts_more = |item: &mut Item| drop(item.insert("entry".to_owned(), mark(&later)));
    assert_eq!(audited.planted(USAGE, &total, counts_more).await, ["total"]);
    audited.delete(USAGE, &total).await;
    assert_eq!(audited.differs().await, ["total"]);
}

#[tokio::test]
async fn one_account_is_audited_alone_and_one_that_there_is_not_is_said() {
    let audited = Audited::start().await;
    let other = audited.gateway.store().account_create("other", audited.gateway.clock().now()).await.unwrap();
    let mut account = audited.item(ACCOUNTS, "account").await;
    add(&mut account, "balance", 1);
    audited.put(ACCOUNTS, account).await;
    assert!(audited.audit("").await.unwrap().failed);
    let alone = audited.audit(&format!("--account {}", other.id)).await.unwrap();
    assert!(!alone.failed && alone.text.starts_with("1 account, 0 ledger entries"), "{}", alone.text);
    let problem = audited.audit("--account acct_0000000000000000").await.unwrap_err();
    assert!(problem.contains("acct_0000000000000000"), "{problem}");
}

#[tokio::test]
async fn a_limit_below_what_was_spent_is_a_notice() {
    let audited = Audited::start().await;
    let gateway = &audited.gateway;
    audited.charged().await;
    let lowered = KeyChange { spend_limit: Some(Some(Nanos(2))), ..KeyChange::default() };
    gateway.store().key_update(&gateway.account, KEY, &lowered, gateway.clock().now()).await.unwrap();
    let audit = gateway.store().audit(&gateway.account, || ()).await.unwrap().unwrap();
    assert_eq!(audit.differences, []);
    assert_eq!(audit.notices, [Notice::OverLimit { key: KEY, limit: Nanos(2), spent: Nanos(3) }]);
}

/// What the audit finds while `meanwhile` happens at each entry that it reads, the first `times` times.
async fn disturbed<F: Future<Output = ()>>(
    audited: &Audited,
    times: usize,
    meanwhile: impl Fn(Store, AccountId) -> F,
) -> gateway_store::Audit {
    let (store, account) = (audited.gateway.store(), &audited.gateway.account);
    let (runtime, mut left) = (tokio::runtime::Handle::current(), times);
    let each = || {
        if left > 0 {
            left -= 1;
            tokio::task::block_in_place(|| runtime.block_on(meanwhile(store.clone(), account.clone())));
        }
    };
    store.audit(account, each).await.unwrap().unwrap()
}

async fn hold_meanwhile(store: Store, account: AccountId) {
    let _runs = hold(&store, &account, support::START).await;
}

async fn credit_meanwhile(store: Store, account: AccountId) {
    let id = RequestId::new(support::START, random().unwrap());
    let credit = Credit { id, kind: EntryKind::Payment, amount: Nanos(5), description: "meanwhile".to_owned() };
    assert!(store.account_credit(&account, &credit).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_account_that_comes_to_rest_is_compared_with_its_ledger() {
    let audited = Audited::start().await;
    audited.charged().await;
    assert_eq!(disturbed(&audited, 1, hold_meanwhile).await.busy, None);
    let audit = disturbed(&audited, 1, credit_meanwhile).await;
    assert_eq!((audit.busy, audit.differences, audit.sums.payments), (None, vec![], Nanos(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_account_that_never_rests_is_compared_with_what_came_in() {
    let audited = Audited::start().await;
    audited.charged().await;
    let audit = disturbed(&audited, usize::MAX, hold_meanwhile).await;
    assert_eq!((audit.busy, audit.differences), (Some(Busy::Conservation), vec![]));
    let mut account = audited.item(ACCOUNTS, "account").await;
    add(&mut account, "balance", 1);
    audited.put(ACCOUNTS, account).await;
    let audit = disturbed(&audited, usize::MAX, hold_meanwhile).await;
    let (expected, found) = (Nanos::usd(5), Nanos::usd(5) + Nanos(1));
    assert_eq!(audit.differences, [Difference { what: What::Conservation, expected, found }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_account_that_is_paid_into_all_the_time_is_compared_item_by_item() {
    let audited = Audited::start().await;
    audited.charged().await;
    let mut key = audited.item(ACCOUNTS, KEY_ITEM).await;
    add(&mut key, "left", 1);
    audited.put(ACCOUNTS, key).await;
    let audit = disturbed(&audited, usize::MAX, credit_meanwhile).await;
    let whats: Vec<_> = audit.differences.into_iter().map(|it| it.what).collect();
    assert_eq!((audit.busy, whats), (Some(Busy::Items), vec![What::LimitLeft(KEY)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_account_of_more_keys_than_a_transaction_reads_is_compared_at_rest() {
    let audited = Audited::start().await;
    let (store, account) = (audited.gateway.store(), &audited.gateway.account);
    for _ in 0..100 {
        let token = Token::from_random(KeyType::Proxy, random().unwrap());
        let made = store.key_create(account, &new_key(KeyType::Proxy), &token, support::START, None).await;
        assert!(made.unwrap().is_some());
    }
    audited.charged().await;
    audited.agrees().await;
    assert_eq!(audited.planted(ACCOUNTS, "account", |item| add(item, "balance", 1)).await, ["funds"]);
    assert_eq!(disturbed(&audited, usize::MAX, hold_meanwhile).await.busy, Some(Busy::Items));
}

#[tokio::test]
async fn the_exit_code_says_whether_the_books_agree() {
    let folder = Folder::new();
    let path = folder.path("data.db");
    let data = path.to_str().unwrap();
    let gateway = Process::start(TEST, &["--data", data], &HashMap::new());
    let answer = gateway.client("proxy_key").post("/v1/chat/completions", &TestGateway::chat("modelswitch/echo")).await;
    assert_eq!(answer.status, 200);
    let audit = || process::run(TEST, &["--data", data, "audit"]);
    let printed = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let agrees = audit();
    assert!(agrees.status.success() && printed(&agrees.stdout).contains("they agree"), "{agrees:?}");
    assert_eq!(printed(&agrees.stderr), "", "no progress bar where there is no terminal");
    let client = Engine::beside(&path).unwrap().client();
    let account = AttributeValue::S(gateway.ready["account_id"].as_str().unwrap().to_owned());
    let update = client.update_item().table_name(ACCOUNTS).key("account", account);
    let update = update.key("item", AttributeValue::S("account".to_owned())).update_expression("ADD balance :one");
    update.expression_attribute_values(":one", AttributeValue::N("1".to_owned())).send().await.unwrap();
    let differs = audit();
    assert_eq!(differs.status.code(), Some(1));
    let line = "balance, allowances and holds, by the ledger's sum: expected 4.999999 USD, found 4.999999001 USD";
    assert!(printed(&differs.stdout).contains(line), "{differs:?}");
}
