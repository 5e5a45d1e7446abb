//! Each expression that the store sends, on whichever database is chosen: so that no engine's quirks become ours.
//!
//! The books' other tests run there too; these name the expression that an engine reads differently. The sweep's and the
//! audit's are beside theirs.

use std::collections::BTreeSet;

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::EntryKind,
    limits::{Interval, RateLimit},
    moment::{Reset, UnixMs},
    money::Nanos,
    token::Token,
};
use gateway_store::{
    CountOutcome, Credit, Filter, HoldOutcome, HoldRequest, IdempotencyKey, KeyChange, NewKey, PlacedHold,
    SettleOutcome, Store, UpdateOutcome, random,
};
use support::{
    Database, Environment,
    faults::{Fate, Refused, Retries},
    on_database,
};

use crate::{
    books::Books,
    model::Placed,
    possible::placed_of,
    world::{DURATION_MS, START, endpoint, metered, new_key, new_token, served},
};

pub(crate) const KEY: KeyId = KeyId(1);
pub(crate) const OTHER: KeyId = KeyId(2);
const DAY_MS: u64 = 86_400_000;

/// An account of a thousand nano-dollars with two keys.
pub(crate) struct Bench {
    pub(crate) store: Store,
    wire: support::faults::Wire,
    reader: Store,
    pub(crate) account: AccountId,
    token: Token,
}

impl Bench {
    pub(crate) async fn open(database: &Database) -> Self {
        let Environment { store, wire } = database.environment(Retries::Standard);
        let account = store.account_create("conformance", START).await.unwrap().id;
        let token = new_token();
        let bench = Self { store, wire, reader: database.reader(), account, token };
        bench.credit(1_000).await;
        bench.create(&new_key(None, None, RateLimit::default()), &bench.token).await;
        bench.create(&new_key(None, None, RateLimit::default()), &new_token()).await;
        bench
    }

    async fn credit(&self, amount: i64) {
        let id = RequestId::new(START, random().unwrap());
        let credit = Credit { id, kind: EntryKind::Payment, amount: Nanos(amount), description: "paid".to_owned() };
        assert!(self.store.account_credit(&self.account, &credit).await.unwrap());
        assert!(!self.store.account_credit(&self.account, &credit).await.unwrap(), "credited twice");
    }

    async fn create(&self, new: &NewKey, token: &Token) -> KeyId {
        self.store.key_create(&self.account, new, token, START, None).await.unwrap().unwrap().id
    }

    pub(crate) async fn change(&self, key: KeyId, change: KeyChange, at: UnixMs) {
        let updated = self.store.key_update(&self.account, key, &change, at).await.unwrap();
        assert!(matches!(updated, UpdateOutcome::Updated(_)), "{updated:?}");
    }

    async fn ask(&self, key: KeyId, id: &RequestId, amount: i64, at: UnixMs) -> HoldOutcome {
        let models = [vec!["books/chat".to_owned(), "chat".to_owned()]];
        let (amount, expires) = (Nanos(amount), at.plus_ms(60_000));
        let wanted = HoldRequest { account: &self.account, key, id, models: &models, amount, at, expires };
        self.store.hold_place(&wanted).await.unwrap()
    }

    pub(crate) async fn told(&self, key: KeyId, amount: i64, at: UnixMs) -> Placed {
        placed_of(&self.ask(key, &RequestId::new(at, random().unwrap()), amount, at).await)
    }

    pub(crate) async fn hold(&self, key: KeyId, amount: i64, at: UnixMs) -> PlacedHold {
        let id = RequestId::new(at, random().unwrap());
        self.ask(key, &id, amount, at).await.placed(Nanos(amount)).unwrap()
    }

    pub(crate) async fn settle(&self, hold: &PlacedHold, key: KeyId, cost: i64) -> SettleOutcome {
        self.store.hold_settle(hold, Nanos(cost), served(key, Nanos(cost), Nanos::ZERO)).await.unwrap()
    }

    pub(crate) async fn books(&self) -> Books {
        let books = Books::read(&self.reader, &self.account).await;
        books.check().unwrap();
        books
    }

    /// Free funds, held funds.
    pub(crate) async fn funds(&self) -> (i64, i64) {
        let standing = self.books().await.standing;
        (standing.available().0, standing.held().0)
    }

    /// The calls since the last time this was asked.
    pub(crate) fn calls(&self) -> Vec<(String, usize)> {
        self.wire.take_counts().into_iter().map(|((operation, _), count)| (operation, count.calls)).collect()
    }
}

#[test]
fn a_hold_is_refused_for_the_reason_that_the_item_shows() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        assert_eq!(bench.told(KeyId(9), 1, START).await, Placed::KeyGone);
        // From here on its allowance is not what is short.
        bench.store.hold_release(&bench.hold(KEY, 800, START).await).await;
        let id = RequestId::new(START, random().unwrap());
        assert_eq!(placed_of(&bench.ask(KEY, &id, 100, START).await), Placed::Held);
        assert_eq!(placed_of(&bench.ask(KEY, &id, 100, START).await), Placed::AlreadyHeld);
        let short = Placed::InsufficientFunds { free: Nanos(900), held: Nanos(100) };
        assert_eq!(bench.told(KEY, 901, START).await, short);
        bench.change(KEY, KeyChange { spend_limit: Some(Some(Nanos(150))), ..KeyChange::default() }, START).await;
        assert_eq!(bench.told(KEY, 51, START).await, Placed::SpendLimitReached { left: Nanos(50) });
        let models = Some(Some(BTreeSet::from(["other".to_owned()])));
        bench.change(KEY, KeyChange { models, ..KeyChange::default() }, START).await;
        let named = bench.ask(KEY, &RequestId::new(START, random().unwrap()), 1, START).await;
        assert!(matches!(named, HoldOutcome::ModelNotAllowed), "{named:?}");
        let models = Some(Some(BTreeSet::from(["other".to_owned(), "chat".to_owned()])));
        bench.change(KEY, KeyChange { models, ..KeyChange::default() }, START).await;
        assert_eq!(bench.told(KEY, 1, START).await, Placed::Held);
        // As many as it has placed.
        let rate_limit = Some(RateLimit { requests: 3, interval: Interval { seconds: 10 } });
        bench.change(KEY, KeyChange { rate_limit, ..KeyChange::default() }, START).await;
        assert_eq!(bench.told(KEY, 1, START).await, Placed::RateLimited);
        bench.change(KEY, KeyChange { active: Some(false), ..KeyChange::default() }, START).await;
        assert_eq!(bench.told(KEY, 1, START).await, Placed::KeyInactive);
        let expires_at = Some(Some(START.plus_ms(1)));
        bench.change(OTHER, KeyChange { expires_at, ..KeyChange::default() }, START).await;
        assert_eq!(bench.told(OTHER, 1, START).await, Placed::Held);
        assert_eq!(bench.told(OTHER, 1, START.plus_ms(1)).await, Placed::KeyGone);
        assert!(bench.store.key_delete(&bench.account, KEY).await.unwrap());
        assert_eq!(bench.told(KEY, 1, START).await, Placed::KeyGone);
    });
}

#[test]
fn a_request_takes_one_write_before_and_two_after_and_no_transaction() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let first = bench.hold(KEY, 10, START).await;
        bench.calls();
        let hold = bench.hold(KEY, 10, START).await;
        assert_eq!(bench.calls(), [("UpdateItem".to_owned(), 1)]);
        assert_eq!(bench.settle(&hold, KEY, 4).await, SettleOutcome::Charged);
        assert_eq!(bench.calls(), [("PutItem".to_owned(), 1), ("UpdateItem".to_owned(), 1)]);
        bench.store.hold_release(&first).await;
        assert_eq!(bench.calls(), [("UpdateItem".to_owned(), 1)]);
        assert_eq!(bench.settle(&hold, KEY, 4).await, SettleOutcome::AlreadyCharged);
        assert_eq!(bench.funds().await, (996, 0));
    });
}

#[test]
fn a_charge_over_its_hold_extends_it_as_far_as_funds_and_limit_go() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let finish = async |hold: PlacedHold, cost| {
            bench.store.hold_finish(&hold, &endpoint(), Some(metered(Nanos(cost))), DURATION_MS).await.unwrap()
        };
        assert_eq!(finish(bench.hold(KEY, 10, START).await, 70).await, Nanos(70));
        bench.change(KEY, KeyChange { spend_limit: Some(Some(Nanos(100))), ..KeyChange::default() }, START).await;
        assert_eq!(finish(bench.hold(KEY, 10, START).await, 70).await, Nanos(30));
        assert_eq!(finish(bench.hold(OTHER, 10, START).await, 5_000).await, Nanos(900));
        let unpaid: Nanos =
            bench.books().await.entries.iter().filter_map(|entry| Some(entry.served.as_ref()?.unpaid)).sum();
        assert_eq!((bench.funds().await, unpaid), ((0, 0), Nanos(40 + 4_100)));
    });
}

#[test]
fn a_period_begins_with_its_first_request_and_never_goes_back() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let (limit, reset) = (Some(Some(Nanos(100))), Some(Some(Reset::Daily)));
        bench.change(KEY, KeyChange { spend_limit: limit, reset, ..KeyChange::default() }, START).await;
        let hold = bench.hold(KEY, 100, START).await;
        bench.settle(&hold, KEY, 80).await;
        let tomorrow = START.plus_ms(DAY_MS);
        assert_eq!(bench.told(KEY, 30, START).await, Placed::SpendLimitReached { left: Nanos(20) });
        assert_eq!(bench.told(KEY, 90, tomorrow).await, Placed::Held);
        assert_eq!(bench.told(KEY, 20, START).await, Placed::SpendLimitReached { left: Nanos(10) });
        let key = bench.store.key(&bench.account, KEY).await.unwrap().unwrap();
        assert_eq!((key.allowance.period.as_str(), key.allowance.period_base), ("2026-11-30", Nanos(80)));
    });
}

#[test]
fn windows_that_are_over_are_forgotten() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let windows = async || bench.store.key(&bench.account, KEY).await.unwrap().unwrap().allowance.windows.len();
        for n in 0..9 {
            let counted = bench.store.key_count(&bench.account, KEY, START.plus_ms(n * 10_000)).await.unwrap();
            assert!(matches!(counted, CountOutcome::Counted(..)), "{counted:?}");
        }
        assert_eq!(windows().await, 9);
        bench.store.key_count(&bench.account, KEY, START.plus_ms(90_000)).await.unwrap();
        assert_eq!(windows().await, 2, "this one and the one just over");
        let hold = bench.hold(KEY, 1, START.plus_ms(200_000)).await;
        bench.settle(&hold, KEY, 1).await;
        assert_eq!(windows().await, 1);
    });
}

#[test]
fn idle_funds_of_other_keys_are_called_back_to_the_last_nano_dollar() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let idle = bench.hold(KEY, 700, START).await;
        bench.store.hold_release(&idle).await;
        assert_eq!(
            bench.told(OTHER, 1_001, START).await,
            Placed::InsufficientFunds { free: Nanos(1_000), held: Nanos::ZERO }
        );
        let hold = bench.hold(OTHER, 1_000, START).await;
        assert_eq!(bench.funds().await, (0, 1_000));
        bench.store.hold_release(&hold).await;
        bench.change(OTHER, KeyChange { active: Some(false), ..KeyChange::default() }, START).await;
        assert_eq!(bench.books().await.standing.account.balance, Nanos(1_000), "a key switched off keeps nothing");
    });
}

#[test]
fn a_transaction_sent_twice_is_done_once() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        bench.wire.script(|_| Fate::DoneTwice);
        let id = RequestId::new(START, random().unwrap());
        let credit = Credit { id, kind: EntryKind::Adjustment, amount: Nanos(7), description: "gift".to_owned() };
        assert!(bench.store.account_credit(&bench.account, &credit).await.unwrap());
        let hold = bench.hold(KEY, 100, START).await;
        assert_eq!(bench.settle(&hold, KEY, 40).await, SettleOutcome::AlreadyCharged);
        assert_eq!(bench.funds().await, (967, 0));
    });
}

#[test]
fn what_passes_is_waited_for() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let fails = |calls, refused| {
            bench.wire.script(move |call| if call.number < calls { Fate::Refused(refused) } else { Fate::Done });
        };
        fails(5, Refused::Conflict);
        let hold = bench.hold(KEY, 100, START).await;
        // Three attempts each time, three times: a charge is not given up for a moment's failure.
        fails(9, Refused::Internal);
        assert_eq!(bench.settle(&hold, KEY, 40).await, SettleOutcome::Charged);
        fails(5, Refused::Conflict);
        assert_eq!(bench.told(OTHER, 900, START).await, Placed::Held);
        let hold = bench.hold(KEY, 10, START).await;
        fails(9, Refused::Unreachable);
        bench.store.hold_release(&hold).await;
        assert_eq!(bench.funds().await, (60, 900));
    });
}

#[test]
fn a_key_and_its_tokens_change_together() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let lookup = async |token: &Token| bench.store.key_lookup(&token.hash()).await.unwrap();
        assert_eq!(lookup(&bench.token).await.map(|found| (found.key, found.active)), Some((KEY, true)));
        let (second, third, fourth) = (new_token(), new_token(), new_token());
        let idempotency = async |given: &str| {
            let key = IdempotencyKey::new(given, &bench.token, "/api/keys/1/rotate", b"{}");
            bench.store.idempotency(&bench.account, key, START).await.unwrap()
        };
        let once = idempotency("once").await;
        let grace = START.plus_ms(1_000);
        let rotate = async |token: &Token, until, memory| {
            bench.store.key_rotate(&bench.account, KEY, token, until, START, Some(memory)).await.unwrap()
        };
        assert!(matches!(rotate(&second, grace, &once).await, UpdateOutcome::Updated(_)));
        assert_eq!(lookup(&bench.token).await.unwrap().expires_at, Some(grace));
        assert!(matches!(rotate(&third, grace, &once).await, UpdateOutcome::Repeated));
        assert_eq!(idempotency("once").await.made, Some(KEY));
        let (twice, thrice) = (idempotency("twice").await, idempotency("thrice").await);
        assert!(matches!(rotate(&third, START, &twice).await, UpdateOutcome::Updated(_)));
        assert_eq!((lookup(&second).await, lookup(&bench.token).await), (None, None), "without grace all are gone");
        assert!(matches!(rotate(&fourth, grace, &thrice).await, UpdateOutcome::Updated(_)));
        bench.change(KEY, KeyChange { active: Some(false), ..KeyChange::default() }, START).await;
        assert!(!lookup(&fourth).await.unwrap().active && !lookup(&third).await.unwrap().active);
        assert!(bench.store.key_delete(&bench.account, KEY).await.unwrap());
        assert!(!bench.store.key_delete(&bench.account, KEY).await.unwrap());
        assert_eq!((lookup(&fourth).await, lookup(&third).await), (None, None));
        let unknown = AccountId::from_random(random().unwrap());
        let new = new_key(None, None, RateLimit::default());
        assert!(bench.store.key_create(&unknown, &new, &new_token(), START, None).await.unwrap().is_none());
    });
}

#[test]
fn the_ledger_is_read_by_kind_time_model_and_key_page_by_page() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        for n in 0..6 {
            let (key, at) = (if n % 2 == 0 { KEY } else { OTHER }, START.plus_ms(1_000 * (n + 1)));
            let hold = bench.hold(key, 10, at).await;
            bench.settle(&hold, key, 1 + i64::try_from(n).unwrap()).await;
        }
        let page = async |filter: &Filter, after: Option<&RequestId>, offset, limit| {
            bench.store.ledger_page(&bench.account, filter, after, offset, limit).await.unwrap()
        };
        let amounts = async |filter: Filter| -> Vec<i64> {
            page(&filter, None, 0, 100).await.entries.iter().map(|entry| -entry.amount.0).collect()
        };
        assert_eq!(amounts(Filter::default()).await, [6, 5, 4, 3, 2, 1, -1_000]);
        assert_eq!(amounts(Filter { kinds: vec![EntryKind::Payment], ..Filter::default() }).await, [-1_000]);
        assert_eq!(amounts(Filter { key: Some(OTHER), ..Filter::default() }).await, [6, 4, 2]);
        assert_eq!(amounts(Filter { model: Some("books/chat".to_owned()), ..Filter::default() }).await.len(), 6);
        let (from, to) = (RequestId::first_at(START.plus_ms(2_000)), RequestId::last_at(START.plus_ms(4_000)));
        assert_eq!(amounts(Filter { from: Some(from), to: Some(to), ..Filter::default() }).await, [4, 3, 2]);
        let (mut after, mut read) = (None, Vec::new());
        loop {
            let part = page(&Filter::default(), after.as_ref(), 0, 2).await;
            read.extend(part.entries.iter().map(|entry| -entry.amount.0));
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(read, [6, 5, 4, 3, 2, 1, -1_000]);
        assert_eq!(page(&Filter::default(), None, 5, 1).await.entries[0].amount, Nanos(-1));
    });
}

#[test]
fn a_key_s_lanes_open_take_requests_and_fold_with_their_holds() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let rate_limit = Some(RateLimit { requests: 900, interval: Interval { seconds: 1 } });
        bench.change(KEY, KeyChange { rate_limit, ..KeyChange::default() }, START).await;
        let mut holds = Vec::new();
        for n in 0..12 {
            holds.push(bench.hold(KEY, 10 + n, START).await);
        }
        let lanes = bench.books().await.standing.lanes;
        assert_eq!(lanes.iter().filter(|lane| lane.id == KEY).count(), 4);
        bench.change(KEY, KeyChange { spend_limit: Some(Some(Nanos(500))), ..KeyChange::default() }, START).await;
        let lanes = bench.books().await.standing.lanes;
        assert_eq!(lanes.iter().filter(|lane| lane.id == KEY).count(), 1);
        assert_eq!(bench.funds().await, (814, 186));
        for hold in &holds {
            assert_eq!(bench.settle(hold, KEY, 5).await, SettleOutcome::Charged);
        }
        assert_eq!(bench.funds().await, (940, 0));
        let key = bench.store.key(&bench.account, KEY).await.unwrap().unwrap();
        assert_eq!((key.allowance.spent, key.allowance.limit_left), (Nanos(60), Nanos(440)));
    });
}

#[test]
fn the_largest_amounts_are_kept_to_the_last_digit() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let most = i64::MAX / 4;
        bench.credit(most).await;
        let hold = bench.hold(KEY, most, START).await;
        assert_eq!(bench.funds().await, (1_000, most));
        assert_eq!(bench.settle(&hold, KEY, most - 1).await, SettleOutcome::Charged);
        assert_eq!(bench.funds().await, (1_001, 0));
    });
}

#[test]
fn accounts_are_listed_without_what_else_they_keep() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let other = bench.store.account_create("other", START).await.unwrap();
        let listed = bench.store.account_list().await.unwrap();
        let ids: BTreeSet<_> = listed.iter().map(|account| account.id.clone()).collect();
        assert_eq!(ids, BTreeSet::from([bench.account.clone(), other.id.clone()]));
        assert_eq!(bench.store.account(&other.id).await.unwrap(), Some(other));
        assert_eq!(bench.store.account(&AccountId::from_random(random().unwrap())).await.unwrap(), None);
    });
}
