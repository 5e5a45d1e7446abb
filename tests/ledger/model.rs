//! The books as they should be, in plain Rust: what each command comes to, given what stands in the books before it.
//!
//! No input or output, no database, no words of the store's. How funds are spread over the balance and the allowances is
//! the store's own affair, so the model knows their sum alone.

use std::{collections::BTreeMap, fmt};

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{Allowance, Entry, EntryKind, Hold, NO_PERIOD, UNLIMITED},
    limits::RateLimit,
    moment::{Reset, UnixMs},
    money::Nanos,
    payment::{Booking, Change},
};
use gateway_store::{Booked, KeyChange, NewKey, Standing};

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) account: AccountId,
    /// The balance and all that is idle in the keys' allowances; negative if the account owes.
    pub(crate) free: Nanos,
    /// All payments.
    pub(crate) paid_in: Nanos,
    /// The newest key.
    pub(crate) last_key: u32,
    pub(crate) keys: BTreeMap<KeyId, Key>,
    pub(crate) entries: BTreeMap<RequestId, Entry>,
}

/// A line for the account, one for each key, one for each entry.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "free {} paid in {} last key {}", self.free.0, self.paid_in.0, self.last_key)?;
        for (id, key) in &self.keys {
            let Key { active, deleted, limit, reset, period, base, spent, .. } = key;
            write!(f, "\n  key {id}: spent {} base {} limit {:?} {reset:?} ", spent.0, base.0, limit.map(|it| it.0))?;
            write!(f, "{period} active {active} deleted {deleted} {:?} windows {:?}", key.rate, key.windows)?;
            for hold in key.holds.values() {
                write!(f, "\n    {} holds {} until {} ({})", hold.id, hold.amount.0, hold.expires, hold.stamp())?;
            }
        }
        for entry in self.entries.values() {
            write!(f, "\n  {} {} {} {:?}", entry.id, entry.kind.name(), entry.amount.0, entry.hold)?;
        }
        Ok(())
    }
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) active: bool,
    pub(crate) deleted: bool,
    pub(crate) rate: RateLimit,
    /// Requests counted per window, by the window's first second.
    pub(crate) windows: BTreeMap<u64, u32>,
    pub(crate) limit: Option<Nanos>,
    pub(crate) reset: Option<Reset>,
    /// The name of the period that is counted.
    pub(crate) period: String,
    /// What had been spent when it began.
    pub(crate) base: Nanos,
    /// What was ever spent.
    pub(crate) spent: Nanos,
    pub(crate) holds: BTreeMap<RequestId, Hold>,
    /// In how many items the store keeps it.
    pub(crate) lanes: usize,
}

/// What a request for a hold comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    Held,
    AlreadyHeld,
    InsufficientFunds { free: Nanos, held: Nanos },
    SpendLimitReached { left: Nanos },
    RateLimited,
    KeyInactive,
    KeyGone,
}

/// What a settlement comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Charged,
    AlreadyCharged,
    Expired,
}

impl Key {
    pub(crate) fn held(&self) -> Nanos {
        self.holds.values().map(|hold| hold.amount).sum()
    }

    /// What of the limit is neither spent nor held.
    pub(crate) fn left(&self) -> Nanos {
        self.limit.unwrap_or(UNLIMITED) - (self.spent - self.base) - self.held()
    }

    fn of(allowance: &Allowance, lanes: usize) -> Self {
        Self {
            active: allowance.active,
            deleted: allowance.deleted,
            rate: allowance.rate_limit,
            windows: allowance.windows.clone(),
            limit: allowance.spend_limit,
            reset: allowance.reset,
            period: allowance.period.clone(),
            base: allowance.period_base,
            spent: allowance.spent,
            holds: allowance.holds.clone(),
            lanes,
        }
    }

    /// Why no request of the key's may run now, if none may.
    fn refusal(&self, at: UnixMs) -> Option<Placed> {
        let counted = self.windows.get(&self.rate.interval.window(at)).copied().unwrap_or(0);
        if self.deleted {
            Some(Placed::KeyGone)
        } else if !self.active {
            Some(Placed::KeyInactive)
        } else if counted >= self.rate.requests {
            Some(Placed::RateLimited)
        } else {
            None
        }
    }

    pub(crate) fn count(&mut self, at: UnixMs) {
        *self.windows.entry(self.rate.interval.window(at)).or_default() += 1;
    }

    /// Begins the limit's period that holds `at`, unless that is over or has begun.
    pub(crate) fn period_begin(&mut self, at: UnixMs) {
        let now = period(self.reset, at);
        if self.reset.is_some() && self.period < now {
            (self.period, self.base) = (now, self.spent);
        }
    }

    fn change(&mut self, change: &KeyChange, at: UnixMs) {
        self.active = change.active.unwrap_or(self.active);
        self.rate = change.rate_limit.unwrap_or(self.rate);
        self.limit = change.spend_limit.unwrap_or(self.limit);
        if let Some(reset) = change.reset.filter(|reset| *reset != self.reset) {
            (self.reset, self.period, self.base) = (reset, period(reset, at), self.spent);
        }
    }
}

fn period(reset: Option<Reset>, at: UnixMs) -> String {
    reset.map_or_else(|| NO_PERIOD.to_owned(), |reset| reset.period(at))
}

impl Model {
    /// What a database says.
    pub(crate) fn of(standing: &Standing, entries: &[Entry]) -> Self {
        let lanes = |id| standing.lanes.iter().filter(|lane| lane.id == id).count();
        Self {
            account: standing.account.id.clone(),
            free: standing.available(),
            paid_in: standing.account.paid_in,
            last_key: standing.account.last_key,
            keys: standing.keys.iter().map(|key| (key.id, Key::of(&key.allowance, lanes(key.id)))).collect(),
            entries: entries.iter().map(|entry| (entry.id.clone(), entry.clone())).collect(),
        }
    }

    pub(crate) fn held(&self) -> Nanos {
        self.keys.values().map(Key::held).sum()
    }

    /// The account is credited, unless it was under this id. Whether it is now.
    pub(crate) fn credit(&mut self, entry: Entry) -> bool {
        let fresh = !self.entries.contains_key(&entry.id);
        if fresh {
            self.free += entry.amount;
            self.paid_in += if entry.kind == EntryKind::Payment { entry.amount } else { Nanos::ZERO };
            self.entries.insert(entry.id.clone(), entry);
        }
        fresh
    }

    /// Something happened to a payment. What it comes to.
    pub(crate) fn book(&mut self, booking: &Booking) -> Booked {
        let said = booking.description();
        let paid =
            Booking { change: Change::Paid { account: self.account.clone(), amount: Nanos::ZERO }, ..booking.clone() };
        if self.booked(&paid.description()).next().is_none() && paid.description() != said {
            return Booked::NoPayment;
        }
        let before: Vec<_> = self.booked(&said).map(|entry| entry.amount).collect();
        let (kind, amount) = match booking.change {
            // In all, so of each only what is more than before.
            Change::Refunded { all } => (EntryKind::Refund, -all - before.iter().copied().sum()),
            Change::Paid { amount, .. } if before.is_empty() => (EntryKind::Payment, amount),
            Change::Withdrawn { amount, .. } if before.is_empty() => (EntryKind::Adjustment, -amount),
            Change::Reinstated { amount, .. } if before.is_empty() => (EntryKind::Adjustment, amount),
            _ => return Booked::Before,
        };
        if kind == EntryKind::Refund && amount >= Nanos::ZERO {
            return Booked::Before;
        }
        let (account, id, description) = (self.account.clone(), booking.entry.clone(), Some(said));
        self.credit(Entry { account, id, kind, amount, hold: None, served: None, description });
        Booked::Now
    }

    fn booked<'a>(&'a self, said: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.values().filter(move |entry| entry.description.as_deref() == Some(said))
    }

    /// A hold is asked for.
    pub(crate) fn place(&mut self, id: KeyId, hold: Hold, at: UnixMs) -> Placed {
        let Some(key) = self.keys.get_mut(&id) else { return Placed::KeyGone };
        if key.holds.contains_key(&hold.id) {
            return Placed::AlreadyHeld;
        }
        if let Some(refused) = key.refusal(at) {
            return refused;
        }
        key.period_begin(at);
        if key.left() < hold.amount {
            self.expire_dead(id, at);
        }
        let left = self.keys[&id].left();
        if left < hold.amount {
            return Placed::SpendLimitReached { left: left.max(Nanos::ZERO) };
        }
        // The own dead ones go in passing; all others' only where they are needed.
        self.expire_dead(id, at);
        // What costs nothing is held whatever the account owes.
        let short = |free: Nanos| hold.amount > Nanos::ZERO && free < hold.amount;
        if short(self.free) {
            self.expire_all_dead(at);
        }
        if short(self.free) {
            return Placed::InsufficientFunds { free: self.free, held: self.held() };
        }
        self.free = self.free - hold.amount;
        let Some(key) = self.keys.get_mut(&id) else { return Placed::KeyGone };
        key.count(at);
        key.holds.insert(hold.id.clone(), hold);
        Placed::Held
    }

    /// A request that costs nothing is counted, if nothing is in its way.
    pub(crate) fn count(&mut self, id: KeyId, at: UnixMs) -> Option<Placed> {
        let Some(key) = self.keys.get_mut(&id) else { return Some(Placed::KeyGone) };
        let refused = key.refusal(at);
        if refused.is_none() {
            key.count(at);
        }
        refused
    }

    /// The entry is written, unless its request has one; then the hold it speaks of ends.
    pub(crate) fn settle(&mut self, key: KeyId, entry: Entry) -> Settled {
        let (id, stamp) = (entry.id.clone(), entry.hold);
        let settled = match self.entries.get(&id).map(|there| there.kind) {
            None => Settled::Charged,
            Some(EntryKind::Expired) => Settled::Expired,
            Some(_) => Settled::AlreadyCharged,
        };
        self.entries.entry(id.clone()).or_insert(entry);
        self.end(key, &id, stamp);
        settled
    }

    /// A hold covers more than it did: as much of `more` as limit and funds allow. What it covers then.
    pub(crate) fn extend(&mut self, id: KeyId, hold: &Hold, cost: Nanos) -> Nanos {
        let there = self.keys.get(&id).and_then(|key| Some((key.left(), key.holds.get(&hold.id)?)));
        let Some((left, there)) = there.filter(|(_, there)| there.stamp() == hold.stamp()) else { return hold.amount };
        if there.amount != hold.amount {
            return there.amount;
        }
        let more = (cost - hold.amount).min(left.max(Nanos::ZERO));
        if self.free < more {
            self.expire_all_dead(hold.id.at());
        }
        let more = more.min(self.free).max(Nanos::ZERO);
        self.free = self.free - more;
        if let Some(there) = self.keys.get_mut(&id).and_then(|key| key.holds.get_mut(&hold.id)) {
            there.amount += more;
        }
        hold.amount + more
    }

    /// The hold with this stamp ends: charged as its entry says, if it has one.
    pub(crate) fn end(&mut self, key: KeyId, request: &RequestId, stamp: Option<u64>) {
        let charged = self.charged(request, stamp);
        let Some(key) = self.keys.get_mut(&key) else { return };
        if key.holds.get(request).map(Hold::stamp) == stamp
            && let Some(hold) = key.holds.remove(request)
        {
            self.free += hold.amount - charged;
            key.spent += charged;
        }
    }

    /// What the entry of a request takes from the hold with this stamp.
    fn charged(&self, request: &RequestId, stamp: Option<u64>) -> Nanos {
        self.entries.get(request).filter(|entry| entry.hold == stamp).map_or(Nanos::ZERO, |entry| -entry.amount)
    }

    /// The entry that keeps a late settlement out, unless the hold's request has one.
    pub(crate) fn give_up(&mut self, key: KeyId, request: &RequestId) {
        let Some(hold) = self.keys.get(&key).and_then(|key| key.holds.get(request)) else { return };
        let entry = Entry {
            account: self.account.clone(),
            id: request.clone(),
            kind: EntryKind::Expired,
            amount: Nanos::ZERO,
            hold: Some(hold.stamp()),
            served: None,
            description: None,
        };
        self.entries.entry(request.clone()).or_insert(entry);
    }

    /// A hold past its time ends: charged if it has an entry, free if not.
    pub(crate) fn expire(&mut self, key: KeyId, request: &RequestId) {
        self.give_up(key, request);
        let stamp = self.keys.get(&key).and_then(|key| key.holds.get(request)).map(Hold::stamp);
        self.end(key, request, stamp);
    }

    /// The key's holds past their time.
    pub(crate) fn dead(&self, key: KeyId, at: UnixMs) -> Vec<RequestId> {
        let holds = self.keys.get(&key).into_iter().flat_map(|key| key.holds.values());
        holds.filter(|hold| hold.expires <= at).map(|hold| hold.id.clone()).collect()
    }

    fn expire_dead(&mut self, key: KeyId, at: UnixMs) {
        for request in self.dead(key, at) {
            self.expire(key, &request);
        }
    }

    /// Every key's holds past their time end.
    pub(crate) fn expire_all_dead(&mut self, at: UnixMs) {
        for key in self.keys.keys().copied().collect::<Vec<_>>() {
            self.expire_dead(key, at);
        }
    }

    /// A key is made.
    pub(crate) fn create(&mut self, new: &NewKey, at: UnixMs) -> KeyId {
        self.last_key += 1;
        let key = Key {
            active: true,
            deleted: false,
            rate: new.rate_limit,
            windows: BTreeMap::new(),
            limit: new.spend_limit,
            reset: new.reset,
            period: period(new.reset, at),
            base: Nanos::ZERO,
            spent: Nanos::ZERO,
            holds: BTreeMap::new(),
            lanes: 1,
        };
        self.keys.insert(KeyId(self.last_key), key);
        KeyId(self.last_key)
    }

    /// A key is changed. Whether there is one.
    pub(crate) fn update(&mut self, id: KeyId, change: &KeyChange, at: UnixMs) -> bool {
        let key = self.keys.get_mut(&id).filter(|key| !key.deleted);
        key.map(|key| key.change(change, at)).is_some()
    }

    /// A key is deleted. Whether there was one.
    pub(crate) fn delete(&mut self, id: KeyId) -> bool {
        let key = self.keys.get_mut(&id).filter(|key| !key.deleted);
        key.map(|key| (key.deleted, key.active) = (true, false)).is_some()
    }
}
