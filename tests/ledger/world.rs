//! One account in a real database, with the environments that work on it: runs commands, and says how each ended.

use std::collections::BTreeSet;

use gateway_core::{
    catalogue::{Dialect, Endpoint, Model as CatalogueModel, ModelKind, OUTPUT_LIMITS, Provider},
    ids::{AccountId, KeyId, RequestId},
    ledger::{Entry, EntryKind, Hold, Served},
    limits::RateLimit,
    moment::{Reset, UnixMs},
    money::{Nanos, Picos},
    payment::{Booking, Change, Origin},
    pricing::{Markup, Prices, Rates},
    token::{KeyType, Token},
    usage::{Metered, Usage},
};
use gateway_store::{
    Booked, CountOutcome, Credit, HoldOutcome, HoldRequest, KeyChange, NewKey, PlacedHold, SettleOutcome, Store,
    UpdateOutcome, random,
};
use support::{
    Database, Environment,
    faults::{Fate, Retries},
};

use crate::{
    books::Books,
    command::{Act, Command, ENVIRONMENTS, Fault, Wait},
};

/// A Sunday in the last second before midnight, the last but one of its month.
pub(crate) const START: UnixMs = UnixMs(1_795_996_799_000);
const DAY_MS: u64 = 86_400_000;
/// The platform delivers a request again within this time, if at all.
const REDELIVERED_MS: u64 = 900_000;

/// The account and all that the commands so far have left.
pub(crate) struct World<'a> {
    pub(crate) database: &'a Database,
    reader: Store,
    pub(crate) environments: Vec<Environment>,
    pub(crate) account: AccountId,
    pub(crate) now: UnixMs,
    serial: u64,
    pub(crate) books: Books,
    credits: Vec<Credit>,
    /// Payments, each with its amount.
    payments: Vec<(String, Nanos)>,
    bookings: Vec<Booking>,
    requests: Vec<(RequestId, KeyId)>,
    holds: Vec<Taken>,
    /// Keys that were over their limit when it was set.
    pub(crate) excused: BTreeSet<KeyId>,
    /// How many calls the last command made.
    pub(crate) called: usize,
    /// Keys whose rate interval was changed.
    pub(crate) rearranged: BTreeSet<KeyId>,
}

/// A hold that a request was told it has.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) placed: PlacedHold,
    pub(crate) key: KeyId,
    pub(crate) hold: Hold,
}

/// What a command did, and what it was told; no outcome if it was told nothing or that the database does not answer.
#[derive(Debug, Clone)]
pub(crate) enum Ran {
    Nothing,
    Credited { entry: Entry, outcome: Option<bool> },
    Booked { booking: Booking, outcome: Option<Booked> },
    Placed { key: KeyId, id: RequestId, amount: Nanos, expires: UnixMs, outcome: Option<HoldOutcome> },
    Settled { key: KeyId, entry: Entry, outcome: Option<SettleOutcome> },
    Finished { taken: Taken, cost: Nanos, outcome: Option<Nanos> },
    Released { taken: Taken, answered: bool },
    Counted { key: KeyId, outcome: Option<CountOutcome> },
    Created { new: NewKey, outcome: Option<Option<KeyId>> },
    Updated { key: KeyId, change: KeyChange, outcome: Option<UpdateOutcome> },
    Deleted { key: KeyId, outcome: Option<bool> },
    Swept { failed: Option<u64> },
}

/// A model at one nano-dollar a token of output.
pub(crate) fn endpoint() -> Endpoint {
    let prices = Prices { base: Rates { output: Picos(1000), ..Rates::default() }, tiers: Vec::new() };
    let (id, provider) = ("books/chat".to_owned(), "books".to_owned());
    Endpoint {
        model: CatalogueModel {
            id: id.clone(),
            name: id.clone(),
            provider: provider.clone(),
            upstream_id: id,
            kind: ModelKind::Chat,
            context_length: None,
            max_output_tokens: None,
            input_modalities: Vec::new(),
            output_modalities: Vec::new(),
            supported_parameters: Vec::new(),
            prices: Some(prices.clone()),
            markup: Markup::default(),
        },
        prices,
        provider: Provider {
            name: provider,
            dialect: Dialect::OpenAi,
            base_url: String::new(),
            credential: None,
            headers: Vec::new(),
            output_limits: OUTPUT_LIMITS,
        },
    }
}

/// So much output, which costs as many nano-dollars.
pub(crate) fn metered(cost: Nanos) -> Metered {
    Metered { usage: Usage { output: cost.0.unsigned_abs(), ..Usage::default() }, estimated: false }
}

/// What every request took.
pub(crate) const DURATION_MS: u64 = 1_250;

/// What an entry says of a request that cost `cost`, of which `unpaid` was not charged.
pub(crate) fn served(key: KeyId, cost: Nanos, unpaid: Nanos) -> Served {
    Served {
        key,
        model: "books/chat".to_owned(),
        provider: "books".to_owned(),
        metered: metered(cost),
        unpaid,
        duration_ms: Some(DURATION_MS),
    }
}

/// The entry that charges `charged` to a hold.
pub(crate) fn charge(account: &AccountId, hold: &Hold, charged: Nanos, served: Served) -> Entry {
    Entry {
        account: account.clone(),
        id: hold.id.clone(),
        kind: EntryKind::Usage,
        amount: -charged,
        hold: Some(hold.stamp()),
        served: Some(served),
        description: None,
    }
}

pub(crate) fn new_key(limit: Option<Nanos>, reset: Option<Reset>, rate_limit: RateLimit) -> NewKey {
    NewKey {
        name: "books".to_owned(),
        key_type: KeyType::Proxy,
        expires_at: None,
        spend_limit: limit,
        reset,
        rate_limit,
        models: None,
    }
}

pub(crate) fn new_token() -> Token {
    Token::from_random(KeyType::Proxy, random().unwrap())
}

/// Each environment of a kind: every other one's SDK tries again.
fn environment(database: &Database, n: usize) -> Environment {
    database.environment(if n.is_multiple_of(2) { Retries::Standard } else { Retries::Off })
}

impl<'a> World<'a> {
    /// An account with two keys and no funds.
    pub(crate) async fn open(database: &'a Database) -> Self {
        let reader = database.reader();
        let account = reader.account_create("books", START).await.unwrap().id;
        for _ in 0..2 {
            let new = new_key(None, None, RateLimit::default());
            reader.key_create(&account, &new, &new_token(), START, None).await.unwrap().unwrap();
        }
        let books = Books::read(&reader, &account).await;
        let environments = (0..ENVIRONMENTS).map(|n| environment(database, n)).collect();
        Self {
            database,
            reader,
            environments,
            account,
            now: START,
            serial: 0,
            books,
            credits: Vec::new(),
            payments: Vec::new(),
            bookings: Vec::new(),
            requests: Vec::new(),
            holds: Vec::new(),
            excused: BTreeSet::new(),
            called: 0,
            rearranged: BTreeSet::new(),
        }
    }

    /// A fresh id, of now.
    pub(crate) fn fresh_id(&mut self) -> RequestId {
        self.serial += 1;
        let mut bits = [0; 10];
        bits[2..].copy_from_slice(&self.serial.to_be_bytes());
        RequestId::new(self.now, bits)
    }

    /// Reads the books past all that goes wrong.
    pub(crate) async fn read(&self) -> Books {
        Books::read(&self.reader, &self.account).await
    }

    /// Remembers a hold that somebody was told of, by what the database says of it.
    pub(crate) fn remember(&mut self, key: KeyId, placed: PlacedHold, hold: Hold) {
        self.holds.push(Taken { placed, key, hold });
    }

    /// Runs a command, on which the faults fall that it names.
    pub(crate) async fn run(&mut self, command: &Command) -> Ran {
        self.called = 0;
        let Some(act) = self.known(&command.act) else { return Ran::Nothing };
        let at = self.at(command);
        // Where time does not stand still, nobody waits for a storm to pass.
        let most = if self.database.is_embedded() { usize::MAX } else { 2 };
        let faults: Vec<_> =
            command.faults.iter().map(|fault| Fault { calls: fault.calls.min(most), ..*fault }).collect();
        let environment = &self.environments[command.environment];
        environment.wire.script(move |call| {
            let hit = faults.iter().find(|fault| (fault.from..fault.from + fault.calls).contains(&call.number));
            hit.map_or(Fate::Done, |fault| fault.fate)
        });
        let (store, wire) = (&environment.store, &environment.wire);
        let ran = act.run(store, wire, &self.account, at).await;
        self.called = environment.wire.called();
        environment.wire.heal();
        if environment.wire.has_crashed() {
            self.environments[command.environment] = self::environment(self.database, command.environment);
        }
        ran
    }

    /// What the clock says where the command runs.
    pub(crate) fn at(&self, command: &Command) -> UnixMs {
        UnixMs(self.now.0 - command.behind_ms)
    }

    /// The act with what its numbers stand for; none if that is nothing.
    fn known(&mut self, act: &Act) -> Option<Known> {
        let key = |key: usize| KeyId(u32::try_from(key).unwrap_or(u32::MAX) + 1);
        Some(match act {
            Act::Credit { amount, payment } => {
                let kind = if *payment { EntryKind::Payment } else { EntryKind::Adjustment };
                let credit =
                    Credit { id: self.fresh_id(), kind, amount: Nanos(*amount), description: "books".to_owned() };
                self.credits.push(credit.clone());
                Known::Credit(credit)
            }
            Act::CreditAgain { credit } => Known::Credit(from_newest(&self.credits, *credit)?.clone()),
            Act::Pay { amount } => {
                let payment = format!("pi_{}_{}", self.fresh_id(), self.account);
                self.payments.push((payment.clone(), Nanos(*amount)));
                self.booked(payment, Change::Paid { account: self.account.clone(), amount: Nanos(*amount) })
            }
            Act::BookAgain { booking } => Known::Book(from_newest(&self.bookings, *booking)?.clone()),
            Act::Refund { payment, percent } => {
                let (payment, paid) = from_newest(&self.payments, *payment)?.clone();
                self.booked(payment, Change::Refunded { all: Nanos(1.max(paid.0 * percent / 100)) })
            }
            Act::Dispute { payment, percent, won } => self.disputed(*payment, *percent, *won)?,
            Act::Place { key: n, amount, lasts_s } => {
                let id = self.fresh_id();
                self.requests.push((id.clone(), key(*n)));
                Known::Place { id, key: key(*n), amount: Nanos(*amount), lasts_ms: lasts_s * 1000 }
            }
            Act::PlaceAgain { request, amount } => {
                let (id, key) = from_newest(&self.requests, *request)?.clone();
                let recent = self.now < id.at().plus_ms(REDELIVERED_MS);
                // In another lane nobody sees that it is held: both hold, one is charged. See the tests of what is known.
                let lanes = self.books.standing.lanes.iter().filter(|lane| lane.id == key).count();
                (recent && lanes < 2).then_some(Known::Place { id, key, amount: Nanos(*amount), lasts_ms: 90_000 })?
            }
            Act::Finish { hold, percent } => {
                let (taken, cost) = self.payable(*hold, *percent)?;
                Known::Finish(taken, cost)
            }
            Act::Settle { hold, percent } => {
                let (taken, cost) = self.payable(*hold, *percent)?;
                Known::Settle(taken, cost)
            }
            Act::Release { hold } => Known::Release(self.returnable(*hold)?),
            Act::Count { key: n } => Known::Count(key(*n)),
            Act::Create { limit, reset, rate } => Known::Create(new_key(limit.map(Nanos), *reset, *rate)),
            Act::Limit { key: n, limit } => {
                Known::Update(key(*n), KeyChange { spend_limit: Some(limit.map(Nanos)), ..KeyChange::default() })
            }
            Act::Reset { key: n, reset } => {
                Known::Update(key(*n), KeyChange { reset: Some(*reset), ..KeyChange::default() })
            }
            Act::Rate { key: n, rate } => {
                Known::Update(key(*n), KeyChange { rate_limit: Some(*rate), ..KeyChange::default() })
            }
            Act::Switch { key: n, active } => {
                Known::Update(key(*n), KeyChange { active: Some(*active), ..KeyChange::default() })
            }
            Act::Delete { key: n } => Known::Delete(key(*n)),
            Act::Sweep => Known::Sweep,
            Act::Wait(wait) => {
                self.now = after(self.now, *wait);
                return None;
            }
        })
    }

    fn disputed(&mut self, payment: usize, percent: i64, won: bool) -> Option<Known> {
        let (payment, paid) = from_newest(&self.payments, payment)?.clone();
        let (dispute, amount) = (format!("dp_of_{payment}"), Nanos(1.max(paid.0 * percent / 100)));
        let change = if won { Change::Reinstated { dispute, amount } } else { Change::Withdrawn { dispute, amount } };
        Some(self.booked(payment, change))
    }

    fn booked(&mut self, payment: String, change: Change) -> Known {
        let booking = Booking { payment, entry: self.fresh_id(), change, origin: Origin::Unsaid };
        self.bookings.push(booking.clone());
        Known::Book(booking)
    }

    /// A hold that a caller may charge, and how much: one that stands, or whose request has an entry. Nobody charges what
    /// he has given back.
    fn payable(&self, hold: usize, percent: i64) -> Option<(Taken, Nanos)> {
        let taken = from_newest(&self.holds, hold)?;
        let entered = self.books.entries.iter().any(|entry| entry.id == taken.hold.id);
        let cost = taken.hold.amount.0 * percent / 100 + i64::from(percent > 100);
        (entered || self.stands(taken)).then(|| (taken.clone(), Nanos(cost)))
    }

    /// A hold that a caller may give back: nobody gives back what he has begun to charge.
    fn returnable(&self, hold: usize) -> Option<Taken> {
        let taken = from_newest(&self.holds, hold)?;
        let stamp = Some(taken.hold.stamp());
        let entered = self.books.entries.iter().any(|entry| entry.id == taken.hold.id && entry.hold == stamp);
        (!entered || !self.stands(taken)).then(|| taken.clone())
    }

    fn stands(&self, taken: &Taken) -> bool {
        let lanes = self.books.standing.lanes.iter().filter(|lane| lane.id == taken.key);
        let mut there = lanes.filter_map(|lane| lane.allowance.holds.get(&taken.hold.id));
        there.any(|hold| hold.stamp() == taken.hold.stamp())
    }
}

fn from_newest<T>(all: &[T], n: usize) -> Option<&T> {
    all.len().checked_sub(n + 1).map(|index| &all[index])
}

fn after(now: UnixMs, wait: Wait) -> UnixMs {
    let midnight = UnixMs((now.0 / DAY_MS + 1) * DAY_MS);
    match wait {
        Wait::Ms(ms) => now.plus_ms(ms),
        Wait::Midnight { before_ms } => now.max(UnixMs(midnight.0 - before_ms)),
        Wait::Midnights(nights) => midnight.plus_ms((nights - 1) * DAY_MS + 1),
    }
}

/// An act whose keys, requests and holds are known.
enum Known {
    Credit(Credit),
    Book(Booking),
    Place { id: RequestId, key: KeyId, amount: Nanos, lasts_ms: u64 },
    Finish(Taken, Nanos),
    Settle(Taken, Nanos),
    Release(Taken),
    Count(KeyId),
    Create(NewKey),
    Update(KeyId, KeyChange),
    Delete(KeyId),
    Sweep,
}

impl Known {
    async fn run(self, store: &Store, wire: &support::faults::Wire, account: &AccountId, at: UnixMs) -> Ran {
        match self {
            Self::Credit(credit) => {
                let told = wire.unless_it_crashes(store.account_credit(account, &credit)).await;
                let Credit { id, kind, amount, description } = credit;
                let (account, description) = (account.clone(), Some(description));
                let entry = Entry { account, id, kind, amount, hold: None, served: None, description };
                Ran::Credited { entry, outcome: told.and_then(Result::ok) }
            }
            Self::Book(booking) => {
                let told = wire.unless_it_crashes(store.payment_book(&booking)).await;
                Ran::Booked { booking, outcome: told.and_then(Result::ok) }
            }
            Self::Place { id, key, amount, lasts_ms } => {
                let expires = at.plus_ms(lasts_ms);
                let models = [vec!["books/chat".to_owned()]];
                let wanted = HoldRequest { account, key, id: &id, models: &models, amount, at, expires };
                let told = wire.unless_it_crashes(store.hold_place(&wanted)).await;
                Ran::Placed { key, id, amount, expires, outcome: told.and_then(Result::ok) }
            }
            Self::Finish(taken, cost) => {
                let (endpoint, usage) = (endpoint(), Some(metered(cost)));
                let told =
                    wire.unless_it_crashes(store.hold_finish(&taken.placed, &endpoint, usage, DURATION_MS)).await;
                Ran::Finished { taken, cost, outcome: told.and_then(Result::ok) }
            }
            Self::Settle(taken, cost) => {
                let served = served(taken.key, cost, Nanos::ZERO);
                let entry = charge(account, &taken.hold, cost, served.clone());
                let told = wire.unless_it_crashes(store.hold_settle(&taken.placed, cost, served)).await;
                Ran::Settled { key: taken.key, entry, outcome: told.and_then(Result::ok) }
            }
            Self::Release(taken) => {
                let told = wire.unless_it_crashes(store.hold_release(&taken.placed)).await;
                Ran::Released { taken, answered: told.is_some() }
            }
            Self::Count(key) => {
                let told = wire.unless_it_crashes(store.key_count(account, key, at)).await;
                Ran::Counted { key, outcome: told.and_then(Result::ok) }
            }
            Self::Create(new) => {
                let token = new_token();
                let told = wire.unless_it_crashes(store.key_create(account, &new, &token, at, None)).await;
                let outcome = told.and_then(Result::ok).map(|made| made.map(|key| key.id));
                Ran::Created { new, outcome }
            }
            Self::Update(key, change) => {
                let told = wire.unless_it_crashes(store.key_update(account, key, &change, at)).await;
                Ran::Updated { key, change, outcome: told.and_then(Result::ok) }
            }
            Self::Sweep => {
                let told = wire.unless_it_crashes(store.holds_sweep(at)).await;
                Ran::Swept { failed: told.and_then(Result::ok).map(|swept| swept.failed) }
            }
            Self::Delete(key) => {
                let told = wire.unless_it_crashes(store.key_delete(account, key)).await;
                Ran::Deleted { key, outcome: told.and_then(Result::ok) }
            }
        }
    }
}
