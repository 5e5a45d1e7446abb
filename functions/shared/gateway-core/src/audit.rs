//! The audit's rules: what an account's items must say by its ledger, and where they say something else.
//!
//! Everything is worked out again from the ledger's entries. They are only summed up, per key and per hold, so a ledger of
//! millions takes no more memory than one of ten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    ids::{KeyId, RequestId},
    ledger::{Allowance, EntryKind, Hold, UNLIMITED},
    money::Nanos,
};

/// How many entries that can't be right are kept to be named.
const MOST_WRONG: usize = 20;

/// An account's funds as its items say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Funds {
    /// In no key's allowance.
    pub balance: Nanos,
    /// All that was ever paid in, by payments alone.
    pub paid_in: Nanos,
    /// Every key's, deleted ones included, by the numbers of key and lane. A key's first lane is number 0.
    pub lanes: BTreeMap<(KeyId, u32), LaneFunds>,
}

/// A lane's funds: what of an allowance is money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneFunds {
    /// The most it may spend in a period.
    pub spend_limit: Option<Nanos>,
    /// What it had spent in all when the period began.
    pub period_base: Nanos,
    /// What it has spent in all.
    pub spent: Nanos,
    /// Its limit, less what it spent in the period, less its holds.
    pub limit_left: Nanos,
    /// Funds that are not held.
    pub available: Nanos,
    /// Its running requests, and those whose process died.
    pub holds: BTreeMap<RequestId, Hold>,
}

impl From<&Allowance> for LaneFunds {
    fn from(allowance: &Allowance) -> Self {
        Self {
            spend_limit: allowance.spend_limit,
            period_base: allowance.period_base,
            spent: allowance.spent,
            limit_left: allowance.limit_left,
            available: allowance.available,
            holds: allowance.holds.clone(),
        }
    }
}

impl LaneFunds {
    fn held(&self) -> Nanos {
        self.holds.values().map(|hold| hold.amount).sum()
    }

    fn period_spent(&self) -> Nanos {
        self.spent - self.period_base
    }

    /// What the ledger has already charged of its holds: the process died, or is, between the entry and the allowance.
    fn settled(&self, sums: &LedgerSums) -> Nanos {
        let settled = self.holds.values().filter_map(|hold| sums.settled.get(&(hold.id.clone(), hold.stamp())));
        settled.copied().sum()
    }
}

impl Funds {
    /// All that is not charged yet, as the items say.
    pub fn left(&self) -> Nanos {
        self.balance + self.lanes.values().map(|lane| lane.available + lane.held()).sum()
    }

    /// The sum of what each key's lanes have.
    fn by_key(&self, of: impl Fn(&LaneFunds) -> Nanos) -> BTreeMap<KeyId, Nanos> {
        let mut sums = BTreeMap::new();
        for ((key, _), lane) in &self.lanes {
            *sums.entry(*key).or_default() += of(lane);
        }
        sums
    }

    /// The keys' own items: a limit is kept in those alone.
    fn first_lanes(&self) -> impl Iterator<Item = (KeyId, &LaneFunds)> {
        self.lanes.iter().filter(|((_, number), _)| *number == 0).map(|((key, _), lane)| (*key, lane))
    }
}

/// What the audit reads of a ledger entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its id.
    pub id: RequestId,
    /// What it is about.
    pub kind: EntryKind,
    /// What it adds to the account's funds.
    pub amount: Nanos,
    /// The stamp of the hold that it ended.
    pub hold: Option<u64>,
    /// The key that spent, for usage.
    pub key: Option<KeyId>,
    /// What it cost beyond what was charged.
    pub unpaid: Nanos,
}

impl Line {
    fn is_credit(&self) -> bool {
        !matches!(self.kind, EntryKind::Usage | EntryKind::Expired)
    }

    fn is_wrong(&self) -> bool {
        match self.kind {
            EntryKind::Usage => self.amount > Nanos::ZERO || self.key.is_none(),
            EntryKind::Expired => self.amount != Nanos::ZERO,
            EntryKind::Payment => self.amount < Nanos::ZERO,
            EntryKind::Refund => self.amount > Nanos::ZERO,
            EntryKind::Adjustment => false,
        }
    }
}

/// How many entries that are not about requests, and their sum. Entries are only ever added, so two reads that count as
/// many have read the same ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Credits {
    /// How many.
    pub entries: u64,
    /// Their sum.
    pub amount: Nanos,
    /// What of it went out; positive.
    pub taken: Nanos,
}

/// An account's ledger, summed up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerSums {
    /// How many entries.
    pub entries: u64,
    /// The sum of all of them.
    pub amount: Nanos,
    /// What came into the account, and what was taken out, other than by requests.
    pub credits: Credits,
    /// What was paid in.
    pub payments: Nanos,
    /// What each key was charged; positive.
    pub usage: BTreeMap<KeyId, Nanos>,
    /// What was charged for holds that are still there, by request and stamp; positive.
    pub settled: BTreeMap<(RequestId, u64), Nanos>,
    /// What requests cost beyond what was charged.
    pub unpaid: Nanos,
    /// The first entries that can't be right, and their amounts.
    pub wrong: Vec<(RequestId, Nanos)>,
    held: BTreeSet<(RequestId, u64)>,
}

impl LedgerSums {
    /// Nothing read yet, of the account that has these funds.
    pub fn new(funds: &Funds) -> Self {
        let holds = funds.lanes.values().flat_map(|lane| lane.holds.values());
        Self { held: holds.map(|hold| (hold.id.clone(), hold.stamp())).collect(), ..Self::default() }
    }

    /// Adds an entry.
    pub fn add(&mut self, line: Line) {
        self.entries += 1;
        self.amount += line.amount;
        self.unpaid += line.unpaid;
        if line.is_wrong() && self.wrong.len() < MOST_WRONG {
            self.wrong.push((line.id.clone(), line.amount));
        }
        if line.is_credit() {
            self.credits.entries += 1;
            self.credits.amount += line.amount;
            self.credits.taken += (-line.amount).max(Nanos::ZERO);
            if line.kind == EntryKind::Payment {
                self.payments += line.amount;
            }
            return;
        }
        let charged = Nanos::ZERO - line.amount;
        if let Some(key) = line.key {
            *self.usage.entry(key).or_default() += charged;
        }
        // An entry settles the hold that it names. Another one of the same request, which the platform delivered twice,
        // is charged nothing.
        if let Some(hold) = line.hold.map(|stamp| (line.id, stamp)).filter(|hold| self.held.contains(hold)) {
            self.settled.insert(hold, charged);
        }
    }
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Balance, allowances and holds, against the sum of all entries.
    Funds,
    /// Balance, allowances, holds and all that was spent, against what came in.
    Conservation,
    /// All that was paid in, against the payments.
    PaidIn,
    /// What a key has spent, against its usage entries.
    Spent(KeyId),
    /// What is left of a key's limit, against the limit, what was spent of it and what is held.
    LimitLeft(KeyId),
    /// A balance further below nothing than refunds and the like can have taken it.
    NegativeBalance,
    /// An allowance below nothing. (A hold below nothing is not readable.)
    NegativeAllowance(KeyId),
    /// Usage entries of a key that there is not.
    NoSuchKey(KeyId),
    /// An entry without a key, or of an amount that its kind can't have.
    WrongEntry(RequestId),
    /// The sum of what a key used of a model on a day, against its usage entries.
    Total {
        /// The UTC day.
        day: String,
        /// The key.
        key: KeyId,
        /// The model.
        model: String,
    },
}

impl What {
    /// Its name for scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Funds => "funds",
            Self::Conservation => "conservation",
            Self::PaidIn => "paid_in",
            Self::Spent(_) => "spent",
            Self::LimitLeft(_) => "limit_left",
            Self::NegativeBalance => "negative_balance",
            Self::NegativeAllowance(_) => "negative_allowance",
            Self::NoSuchKey(_) => "no_such_key",
            Self::WrongEntry(_) => "wrong_entry",
            Self::Total { .. } => "total",
        }
    }

    /// The key that it is about.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::Spent(key)
            | Self::LimitLeft(key)
            | Self::NegativeAllowance(key)
            | Self::NoSuchKey(key)
            | Self::Total { key, .. } => Some(*key),
            _ => None,
        }
    }

    /// The entry that it is about.
    pub fn entry(&self) -> Option<&RequestId> {
        match self {
            Self::WrongEntry(id) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Funds => f.write_str("balance, allowances and holds, by the ledger's sum"),
            Self::Conservation => f.write_str("balance, allowances, holds and all spent, by all that came in"),
            Self::PaidIn => f.write_str("paid in, by the payments"),
            Self::Spent(key) => write!(f, "spent by key {key}, by its usage"),
            Self::LimitLeft(key) => write!(f, "left of key {key}'s limit, by what it spent and holds"),
            Self::NegativeBalance => f.write_str("the balance, which only refunds can make negative"),
            Self::NegativeAllowance(key) => write!(f, "key {key}'s allowance, which must not be negative"),
            Self::NoSuchKey(key) => write!(f, "usage of key {key}, which does not exist"),
            Self::Total { day, key, model } => {
                write!(f, "total of {model} by key {key} on {day}, by its requests, their tokens and what they cost")
            }
            Self::WrongEntry(id) => write!(f, "entry {id}, which has no key or an amount of the wrong sign"),
        }
    }
}

/// Where what is stored is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub what: What,
    /// What it must be.
    pub expected: Nanos,
    /// What it is.
    pub found: Nanos,
}

/// What is no difference, but the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The account owes so much: payments went back that were spent.
    Owes(Nanos),
    /// Providers billed so much more than a request can cost, and nobody paid for it.
    Unpaid(Nanos),
    /// A key has spent more in its period than its limit is. No request can do that, but whoever lowers a limit can, and
    /// nothing stored tells the two apart.
    OverLimit {
        /// The key.
        key: KeyId,
        /// The limit now.
        limit: Nanos,
        /// What it spent in its period.
        spent: Nanos,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owes(amount) => {
                write!(f, "the account owes {amount} USD, because payments went back that were spent")
            }
            Self::Unpaid(amount) => {
                write!(f, "{amount} USD stayed unpaid that providers billed beyond what requests can cost")
            }
            Self::OverLimit { key, limit, spent } => {
                write!(
                    f,
                    "key {key} has spent {spent} USD of a limit of {limit} USD, which was lowered since or passed"
                )
            }
        }
    }
}

/// The funds against the ledger. Exact if no funds moved and no request was settled between the two reads.
pub fn compare(funds: &Funds, sums: &LedgerSums) -> Vec<Difference> {
    let settled = funds.lanes.values().map(|lane| lane.settled(sums)).sum();
    let mut all = compare_balance(funds, sums.credits);
    all.extend(compare_items(funds));
    differ(&mut all, What::Funds, sums.amount, funds.left() - settled);
    differ(&mut all, What::PaidIn, sums.payments, funds.paid_in);
    let spent = funds.by_key(|lane| lane.spent + lane.settled(sums));
    for (key, spent) in &spent {
        let charged = sums.usage.get(key).copied().unwrap_or_default();
        differ(&mut all, What::Spent(*key), charged, *spent);
    }
    let nobody = sums.usage.iter().filter(|(key, _)| !spent.contains_key(key));
    all.extend(nobody.map(|(key, charged)| not_nothing(What::NoSuchKey(*key), *charged)));
    all.extend(sums.wrong.iter().map(|(id, amount)| not_nothing(What::WrongEntry(id.clone()), *amount)));
    all
}

/// The funds against what came in. Exact at any moment, whatever runs, if the funds were read at one moment and nothing
/// came in about it: what requests do moves funds between the balance, allowances, holds and what is spent, each time in
/// one write of one item or in a transaction.
pub fn compare_conservation(funds: &Funds, credits: Credits) -> Vec<Difference> {
    let mut all = compare_balance(funds, credits);
    let spent = funds.lanes.values().map(|lane| lane.spent).sum();
    differ(&mut all, What::Conservation, credits.amount, funds.left() + spent);
    all
}

/// The balance against what went out of the account. No request takes it below nothing.
fn compare_balance(funds: &Funds, credits: Credits) -> Vec<Difference> {
    let (found, expected) = (funds.balance, -credits.taken);
    if found < expected { vec![Difference { what: What::NegativeBalance, expected, found }] } else { Vec::new() }
}

/// What each item says against the rest of it. Exact at any moment: an item is written and read whole.
///
/// What is left of a limit is compared in keys' own items alone. A key with more lanes has no limit, and a lane that is
/// being folded away does not keep the number up.
pub fn compare_items(funds: &Funds) -> Vec<Difference> {
    let allowances = funds.lanes.iter().map(|((key, _), lane)| (What::NegativeAllowance(*key), lane.available));
    let negative = allowances.filter(|(_, amount)| *amount < Nanos::ZERO);
    let mut all: Vec<_> = negative.map(|(what, amount)| not_nothing(what, amount)).collect();
    for (key, lane) in funds.first_lanes() {
        let limit = lane.spend_limit.unwrap_or(UNLIMITED);
        differ(&mut all, What::LimitLeft(key), limit - lane.period_spent() - lane.held(), lane.limit_left);
    }
    all
}

/// What the operator should know.
pub fn notices(funds: &Funds, sums: &LedgerSums) -> Vec<Notice> {
    let over = funds.first_lanes().filter_map(|(key, lane)| {
        let (limit, spent) = (lane.spend_limit?, lane.period_spent());
        (spent > limit).then_some(Notice::OverLimit { key, limit, spent })
    });
    let unpaid = (sums.unpaid > Nanos::ZERO).then_some(Notice::Unpaid(sums.unpaid));
    let free = funds.balance + funds.lanes.values().map(|lane| lane.available).sum();
    let owes = (free < Nanos::ZERO).then_some(Notice::Owes(-free));
    owes.into_iter().chain(unpaid).chain(over).collect()
}

fn not_nothing(what: What, found: Nanos) -> Difference {
    Difference { what, expected: Nanos::ZERO, found }
}

fn differ(all: &mut Vec<Difference>, what: What, expected: Nanos, found: Nanos) {
    if expected != found {
        all.push(Difference { what, expected, found });
    }
}

#[cfg(test)]
mod tests;
