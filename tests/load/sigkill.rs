//! The gateway is killed again and again amid its work, and starts again on the same file.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::EntryKind,
    money::Nanos,
};
use gateway_lambda::Clock;
use http::Method;
use modelswitch::{Data, Gateway, Options};
use serde_json::{Value, json};
use support::{Client, Folder, Process, process};
use tokio::task::JoinSet;

use crate::{
    books::{self, Outcome, funds_are_true},
    locked,
    plan::{Act, Chance, Leaves, MOST_OUTPUT, Plan, Route, Tokens},
    provider::Providers,
    seed, setting,
};

const TEST: &str = "sigkill::the_gateway_as_a_process";
const CLIENTS: u64 = 24;
/// The account's free credit, in USD, which lasts; and a limit that runs out, of the last key.
const CREDIT: &str = "1";
const LIMIT: Nanos = Nanos(5_000_000);
/// Longer than any hold lasts.
const ALL_EXPIRED_MS: u64 = 1_000_000;

#[test]
fn the_gateway_as_a_process() {
    process::run_if_asked();
}

/// What outlives the gateway.
struct Run {
    folder: Folder,
    providers: Providers,
    next: AtomicU64,
    /// How many answers of a provider came whole.
    answered: AtomicU64,
    outcomes: Mutex<Vec<Outcome>>,
}

/// The account's tokens, known since the first start.
#[derive(Clone)]
struct Account {
    id: AccountId,
    tokens: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_kill_leaves_is_settled_once_or_released_and_the_books_balance() {
    let mut chance = Chance(seed("sigkill"));
    let run = Arc::new(Run::start().await);
    let mut account = None;
    let kills = setting("LOAD_KILLS", 12);
    for _ in 0..kills {
        run.life(&mut account, &mut chance).await;
    }
    run.judge(&account.unwrap(), kills).await;
}

impl Run {
    async fn start() -> Self {
        let (folder, providers) = (Folder::new(), Providers::start().await);
        let settings = serde_json::to_string(&providers.settings()).unwrap();
        std::fs::write(folder.path("settings.json"), settings).unwrap();
        Self {
            folder,
            providers,
            next: AtomicU64::default(),
            answered: AtomicU64::default(),
            outcomes: Mutex::default(),
        }
    }

    /// Starts the gateway, lets clients ask until a moment that chance chooses, and kills it.
    async fn life(self: &Arc<Self>, account: &mut Option<Account>, chance: &mut Chance) {
        let (data, settings) = (self.folder.path("data.db"), self.folder.path("settings.json"));
        let arguments = ["--data", data.to_str().unwrap(), "--config", settings.to_str().unwrap(), "--credit", CREDIT];
        let gateway = Process::start(TEST, &arguments, &HashMap::new());
        let anonymous = Client::new(gateway.ready["url"].as_str().unwrap(), None);
        if account.is_none() {
            *account = Some(Account::make(&gateway).await);
        }
        let tokens = &account.as_ref().unwrap().tokens;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let key = chance.below(tokens.len() as u64) as usize;
            let client = anonymous.with_token(Some(&tokens[key]));
            let (run, chance) = (self.clone(), Chance(chance.below(u64::MAX)));
            clients.spawn(async move { run.client(client, key, chance).await });
        }
        let until = self.providers.asked() + 5 + chance.below(60) as usize;
        while self.providers.asked() < until {
            if let Some(ended) = clients.try_join_next() {
                ended.unwrap();
                panic!("an answer broke off before the kill");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if chance.percent(50) {
            // As soon as a client has a whole answer: what it was told must be on the disk.
            let answered = self.answered.load(Ordering::SeqCst);
            while self.answered.load(Ordering::SeqCst) == answered {
                tokio::task::yield_now().await;
            }
        } else {
            // Anywhere between two writes.
            tokio::time::sleep(Duration::from_micros(chance.below(20_000))).await;
        }
        gateway.kill();
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    }

    /// Asks until the gateway is gone.
    async fn client(&self, client: Client, key: usize, mut chance: Chance) {
        while let Some(outcome) = self.ask(&client, &self.plan(key, &mut chance)).await {
            let ended = !outcome.whole;
            locked(&self.outcomes).push(outcome);
            if ended {
                break;
            }
        }
    }

    /// A request whose usage no other has, so that its ledger entry names it.
    fn plan(&self, key: usize, chance: &mut Chance) -> Plan {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        let plan = Plan::of(chance, n, key);
        let own = Tokens { input: n / MOST_OUTPUT, cached: 0, output: n % MOST_OUTPUT };
        let acts = plan.acts.map(|act| match act {
            Act::Serve(_) | Act::ServeUncounted => Act::Serve(own),
            Act::ServeAndCut(_) => Act::ServeAndCut(own),
            act => act,
        });
        let route = match plan.route {
            Route::Embeddings => Route::Chat { stream: false },
            chat => chat,
        };
        Plan { acts, route, max_tokens: None, leaves: Leaves::AtTheEnd, ..plan }
    }

    /// What came of a request; nothing if no answer began. One that is not whole was cut by the kill.
    async fn ask(&self, client: &Client, plan: &Plan) -> Option<Outcome> {
        self.providers.expect(plan);
        let (path, body) = plan.request();
        let response = client.request(Method::POST, path).body(body.to_string()).send().await.ok()?;
        let id = response.headers()["x-request-id"].to_str().unwrap();
        let (id, status) = (RequestId::parse(id), response.status().as_u16());
        let text = response.text().await.ok();
        let whole = text.is_some();
        if whole && status == 200 {
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
        let text = text.unwrap_or_default();
        let limited = status == 403 && text.contains("spend_limit_reached");
        assert!(!whole || limited || status == plan.answer().0, "{status} {text}: {plan:?}");
        let failed = text.contains("\"error\"");
        let cost = (whole && !failed).then(|| books::cost_in(&text)).flatten();
        Some(Outcome { n: plan.n, id, status: Some(status), whole, cost })
    }

    /// Opens what is left with a clock that is past every hold, and compares the books with the providers'.
    async fn judge(&self, account: &Account, kills: u64) {
        let data = self.folder.path("data.db");
        let clock = Clock::manual(Clock::system().now());
        let options = Options { data: Data::File(data), clock: clock.clone(), ..Options::default() };
        let gateway = Gateway::start(options).await.unwrap();
        let standing = || async { gateway.store.account_standing(&account.id).await.unwrap().unwrap() };
        let (given, most) = (Nanos::parse_usd(CREDIT).unwrap(), BTreeMap::from([(account.limited(), LIMIT)]));
        let before = standing().await;
        funds_are_true(&before, given, &most);
        clock.advance_ms(ALL_EXPIRED_MS);
        gateway.expire_holds().await.unwrap();
        let standing = standing().await;
        funds_are_true(&standing, given, &most);
        let entries = books::ledger(&gateway.store, &account.id).await;
        books::ledger_adds_up(&standing, &entries);
        books::prices_are_the_list_s(&entries);
        let (billed, outcomes) = (self.providers.billed(), locked(&self.outcomes).clone());
        let cut = |outcome: &Outcome| !outcome.whole;
        books::clients_were_told_the_truth(&entries, &billed, &outcomes, cut);
        // Usage tells whose entry it is, also where no answer said its id.
        let mut unpaid: BTreeMap<_, _> = billed.iter().map(|it| ((it.model, it.tokens.unwrap()), it.n)).collect();
        assert_eq!(unpaid.len(), billed.len(), "served once");
        for (entry, served) in books::usage(&entries) {
            let n = unpaid.remove(&(served.model.as_str(), books::tokens(served)));
            assert!(n.is_some(), "charged twice, or not served: {entry:?}");
        }
        let audit = process::run(TEST, &["--data", self.folder.path("data.db").to_str().unwrap(), "audit"]);
        let said = String::from_utf8_lossy(&audit.stdout);
        assert!(
            audit.status.success() && said.contains(": they agree"),
            "{said}{}",
            String::from_utf8_lossy(&audit.stderr)
        );
        let of = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
        let (charged, expired) = (of(EntryKind::Usage), of(EntryKind::Expired));
        println!(
            "{kills} kills, {} requests, {} served, {charged} charged, {expired} expired, {} answers whole; held after the last: {}",
            self.next.load(Ordering::SeqCst),
            billed.len(),
            outcomes.iter().filter(|outcome| outcome.whole).count(),
            before.held(),
        );
        assert!(expired > 0, "no kill left a hold without its entry: nothing was shown");
        assert!(charged > billed.len() / 4, "{charged} of {}", billed.len());
    }
}

impl Account {
    /// The account of the first start, with three keys more; the last has a spend limit.
    async fn make(gateway: &Process) -> Self {
        let billing = gateway.client("billing_key");
        let word = |it: &Value| it.as_str().unwrap().to_owned();
        let mut tokens = vec![word(&gateway.ready["proxy_key"])];
        for (name, limit) in [("a", Value::Null), ("b", Value::Null), ("limited", json!(0.005))] {
            let made = billing.post("/api/keys", &json!({"name": name, "spend_limit": limit})).await;
            assert_eq!(made.status, 201, "{}", made.text);
            tokens.push(word(&made.json()["key"]));
        }
        Self { id: AccountId::parse(gateway.ready["account_id"].as_str().unwrap()).unwrap(), tokens }
    }

    fn limited(&self) -> KeyId {
        // The first start makes a key of each type.
        KeyId(5)
    }
}
