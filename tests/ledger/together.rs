//! Many at once: requests, an operator and dying processes on the keys of one account whose funds run out in the midst,
//! their calls in a random order, some failing, lost or twice. A reader that stops everybody sees true books each time.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use futures_util::future::join_all;
use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::EntryKind,
    limits::{Interval, RateLimit},
    moment::{Reset, UnixMs},
    money::Nanos,
    payment::{Booking, Change, Origin},
};
use gateway_store::{Credit, HoldOutcome, HoldRequest, KeyChange, SettleOutcome, random};
use proptest::test_runner::{RngAlgorithm, TestRng};
use support::{
    Database, Environment,
    faults::{Fate, Lost, Refused, Retries},
    on_database,
};
use tokio::time::{Instant, sleep};

use crate::{
    books::Books,
    world::{DURATION_MS, START, World, endpoint, metered, new_key, new_token, served},
};

/// Environments that serve requests.
const ENVIRONMENTS: u64 = 8;
/// Requests of each.
const REQUESTS: usize = 20;
/// The same where each call crosses a network.
const REQUESTS_FAR: usize = 8;
/// What is paid in for each of an environment's requests: not enough for all environments'.
const FUNDS: i64 = 150;
/// It has a limit that nobody changes.
const LIMITED: KeyId = KeyId(3);
const LIMIT: Nanos = Nanos(1_500);
/// The operator changes its limits.
const CHANGED: KeyId = KeyId(2);
const LASTS_MS: u64 = 60_000;

/// A number below `end`.
fn below(random: &RefCell<TestRng>, end: u64) -> u64 {
    use proptest::prelude::Rng;
    random.borrow_mut().next_u64() % end
}

/// What all tasks share.
struct Crowd {
    account: AccountId,
    began: Instant,
    random: RefCell<TestRng>,
    /// Requests that the platform may deliver again.
    requests: RefCell<Vec<(RequestId, KeyId)>>,
    /// What clients were told that their requests cost.
    told: RefCell<BTreeMap<RequestId, Nanos>>,
    refused: Cell<usize>,
    serial: Cell<u64>,
    /// Something is being booked of a payment: the lanes may not all be marked yet.
    booking: Cell<bool>,
}

impl Crowd {
    fn now(&self) -> UnixMs {
        START.plus_ms(u64::try_from(self.began.elapsed().as_millis()).unwrap())
    }

    fn below(&self, end: u64) -> u64 {
        below(&self.random, end)
    }

    fn fresh_id(&self) -> RequestId {
        self.serial.set(self.serial.get() + 1);
        let mut bits = [0xFF; 10];
        bits[2..].copy_from_slice(&self.serial.get().to_be_bytes());
        RequestId::new(self.now(), bits)
    }

    /// A new request, or an old one again.
    fn next(&self) -> (RequestId, KeyId) {
        let known = self.requests.borrow();
        if !known.is_empty() && self.below(8) == 0 {
            let recent = known.len().min(10);
            return known[known.len() - 1 - usize::try_from(self.below(recent as u64)).unwrap()].clone();
        }
        drop(known);
        let new = (self.fresh_id(), KeyId(1 + u32::try_from(self.below(5)).unwrap()));
        self.requests.borrow_mut().push(new.clone());
        new
    }
}

/// A rotten network: one call in eight goes wrong, and each takes some time.
fn rotten(wire: &support::faults::Wire, seed: u64, dies: bool) {
    let generator = || RefCell::new(TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_be_bytes(); 4].concat()));
    let (fates, times) = (generator(), generator());
    wire.script(move |_| match below(&fates, 64) {
        0 => Fate::Refused(Refused::Throughput),
        1 | 2 => Fate::Refused(Refused::Conflict),
        3 => Fate::Refused(Refused::Unreachable),
        4 => Fate::ReplyLost(Lost::TimedOut),
        5 => Fate::ReplyLost(Lost::Internal),
        6 => Fate::DoneTwice,
        7 if dies => Fate::Crash,
        _ => Fate::Done,
    });
    wire.delays(move || (Duration::from_millis(below(&times, 9)), Duration::from_millis(below(&times, 9))));
}

/// One request from its hold to its end, whichever that is.
async fn request(crowd: &Crowd, environment: &Environment) {
    let (id, key) = crowd.next();
    let (at, store) = (crowd.now(), &environment.store);
    let amount = Nanos(i64::try_from(crowd.below(400)).unwrap());
    let models = [vec!["books/chat".to_owned()]];
    let expires = at.plus_ms(LASTS_MS);
    let wanted = HoldRequest { account: &crowd.account, key, id: &id, models: &models, amount, at, expires };
    let hold = match store.hold_place(&wanted).await {
        Ok(HoldOutcome::Held(hold)) => hold,
        Ok(HoldOutcome::InsufficientFunds { .. }) => return crowd.refused.set(crowd.refused.get() + 1),
        Ok(_) | Err(_) => return,
    };
    sleep(Duration::from_millis(crowd.below(40))).await;
    let cost = Nanos(amount.0 * i64::try_from(crowd.below(101)).unwrap() / 100);
    match crowd.below(10) {
        // Its process dies, or its client's connection with it.
        0 => {}
        1 | 2 => store.hold_release(&hold).await,
        3 => {
            // The provider bills more than a request can cost; what is charged of it the entry says.
            let _ = store.hold_finish(&hold, &endpoint(), Some(metered(cost + amount)), DURATION_MS).await;
        }
        _ => {
            let settled = store.hold_settle(&hold, cost, served(key, cost, Nanos::ZERO)).await;
            if settled.is_ok_and(|settled| settled == SettleOutcome::Charged) {
                let before = crowd.told.borrow_mut().insert(id, cost);
                assert_eq!(before, None, "two deliveries were told that they were charged");
            }
        }
    }
}

/// Changes keys while requests run on them.
async fn operator(crowd: &Crowd, environment: &Environment) {
    let store = &environment.store;
    for _ in 0..REQUESTS {
        let mut change = KeyChange::default();
        let key = match crowd.below(5) {
            0 => {
                change.spend_limit =
                    Some((crowd.below(2) == 0).then(|| Nanos(i64::try_from(crowd.below(900)).unwrap())));
                CHANGED
            }
            1 => {
                let requests = if crowd.below(2) == 0 { 900 } else { 40 };
                change.rate_limit = Some(RateLimit { requests, interval: Interval { seconds: 1 } });
                KeyId(1)
            }
            2 => {
                change.reset = Some((crowd.below(2) == 0).then_some(Reset::Daily));
                CHANGED
            }
            _ => {
                change.active = Some(crowd.below(2) == 0);
                KeyId(4)
            }
        };
        let _ = store.key_update(&crowd.account, key, &change, crowd.now()).await;
        sleep(Duration::from_millis(crowd.below(60))).await;
    }
}

/// Payments come, and go back by refunds or disputes, as often as Stripe has to say it.
async fn payments(crowd: &Crowd, environment: &Environment) {
    for n in 0..REQUESTS {
        let amount = Nanos(1 + i64::try_from(crowd.below(900)).unwrap());
        let (payment, dispute) = (format!("pi_{n}_{}", crowd.account), format!("dp_{n}"));
        let back = match crowd.below(2) {
            0 => vec![Change::Refunded { all: Nanos(1 + amount.0 / 3) }, Change::Refunded { all: amount }],
            _ => vec![Change::Withdrawn { dispute, amount }],
        };
        for change in [vec![Change::Paid { account: crowd.account.clone(), amount }], back].concat() {
            let booking = Booking { payment: payment.clone(), entry: crowd.fresh_id(), change, origin: Origin::Unsaid };
            crowd.booking.set(true);
            while environment.store.payment_book(&booking).await.is_err() {}
            crowd.booking.set(false);
            sleep(Duration::from_millis(crowd.below(40))).await;
        }
    }
}

/// Serves requests, in a new process when the old one dies.
async fn serve(crowd: &Crowd, database: &Database, seed: u64, requests: usize) {
    for life in 0..requests as u64 {
        let environment = database.environment(if seed.is_multiple_of(2) { Retries::Standard } else { Retries::Off });
        rotten(&environment.wire, seed ^ (life << 32), true);
        let lives = async {
            for _ in 0..requests {
                request(crowd, &environment).await;
            }
        };
        if environment.wire.unless_it_crashes(lives).await.is_some() {
            return;
        }
    }
}

/// Reads the books again and again while nobody is at the database. How often, and how often the account owed.
async fn watch(database: &Database, crowd: &Crowd, ended: &Cell<bool>) -> (usize, usize) {
    let (reader, mut seen, mut owed, mut before) = (database.reader(), 0, 0, None::<Books>);
    while !ended.get() {
        let paused = database.wire().pause().await;
        let books = Books::read(&reader, &crowd.account).await;
        drop(paused);
        books.check().unwrap_or_else(|wrong| panic!("{wrong}"));
        if !crowd.booking.get() {
            books.check_debt().unwrap_or_else(|wrong| panic!("{wrong}"));
            owed += usize::from(books.standing.account.balance < Nanos::ZERO);
        }
        // Only the one whose limit is changed may be over it.
        books.check_limits(|key| key == CHANGED).unwrap_or_else(|wrong| panic!("{wrong}"));
        if let Some(before) = before.replace(books.clone()) {
            books.check_since(&before).unwrap_or_else(|wrong| panic!("{wrong}"));
        }
        seen += 1;
        sleep(Duration::from_millis(17)).await;
    }
    (seen, owed)
}

async fn open(database: &Database, seed: u64, requests: usize) -> Crowd {
    let account = World::open(database).await.account;
    let reader = database.reader();
    for limit in [Some(LIMIT), None, None] {
        let new = new_key(limit, None, RateLimit::default());
        reader.key_create(&account, &new, &new_token(), START, None).await.unwrap().unwrap();
    }
    let (id, funds) = (RequestId::new(START, random().unwrap()), Nanos(FUNDS * i64::try_from(requests).unwrap()));
    let paid = Credit { id, kind: EntryKind::Payment, amount: funds, description: "books".to_owned() };
    assert!(reader.account_credit(&account, &paid).await.unwrap());
    Crowd {
        account,
        began: Instant::now(),
        random: RefCell::new(TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_be_bytes(); 4].concat())),
        requests: RefCell::default(),
        told: RefCell::default(),
        refused: Cell::new(0),
        serial: Cell::new(0),
        booking: Cell::new(false),
    }
}

#[test]
fn whatever_happens_at_once_the_books_are_true_at_every_moment() {
    let seed = gateway_lambda::environment("LEDGER_SEED").and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from_be_bytes(random().unwrap()));
    println!("LEDGER_SEED={seed}");
    on_database(async |database| {
        let requests = if database.is_embedded() { REQUESTS } else { REQUESTS_FAR };
        let crowd = open(database, seed, requests).await;
        let ended = Cell::new(false);
        let all = async {
            let busy = everybody(&crowd, database, seed, requests).await;
            ended.set(true);
            busy
        };
        let ((), (seen, owed)) = tokio::join!(all, watch(database, &crowd, &ended));
        assert!(seen > requests, "looked {seen} times only");
        println!("{seen} looks, at {owed} of them it owed");
        balances(database, &crowd).await;
    });
}

async fn everybody(crowd: &Crowd, database: &Database, seed: u64, requests: usize) {
    let changes = database.environment(Retries::Standard);
    rotten(&changes.wire, seed, false);
    let serving = (0..ENVIRONMENTS).map(|n| serve(crowd, database, seed.wrapping_add(n), requests));
    let booked = database.environment(Retries::Standard);
    rotten(&booked.wire, seed.rotate_left(8), false);
    tokio::join!(operator(crowd, &changes), payments(crowd, &booked), join_all(serving));
}

/// When all have ended and every hold's time is over, what was told was charged, and all else is free.
async fn balances(database: &Database, crowd: &Crowd) {
    let reader = database.reader();
    let swept = reader.holds_sweep(crowd.now().plus_ms(LASTS_MS + 1_000)).await.unwrap();
    assert_eq!(swept.failed, 0);
    let books = Books::read(&reader, &crowd.account).await;
    books.check().unwrap();
    assert_eq!(books.standing.held(), Nanos::ZERO);
    assert!(crowd.refused.get() > 0, "the funds never ran out");
    let told = crowd.told.borrow();
    assert!(!told.is_empty(), "nothing was charged");
    for (id, cost) in told.iter() {
        let entry = books.entries.iter().find(|entry| entry.id == *id);
        assert_eq!(entry.map(|entry| (entry.kind, entry.amount)), Some((EntryKind::Usage, -*cost)), "{id}");
    }
    let limited = books.standing.keys.iter().find(|key| key.id == LIMITED).unwrap();
    assert!(limited.allowance.spent <= LIMIT, "{} spent", limited.allowance.spent);
}
