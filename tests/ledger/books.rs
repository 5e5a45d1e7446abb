//! What must always hold, read from the database itself: design/money.md's invariants over an account's items and ledger.

use std::collections::BTreeMap;

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{Entry, EntryKind, Hold, UNLIMITED},
    money::Nanos,
};
use gateway_store::{Filter, KeyRecord, Payment, Standing, Store};

/// More entries than any test writes.
const ALL: usize = 1_000_000;

/// All that the database says of an account.
#[derive(Debug, Clone)]
pub(crate) struct Books {
    pub(crate) standing: Standing,
    /// Every entry, newest first.
    pub(crate) entries: Vec<Entry>,
    /// What is remembered of the payments that have an entry.
    payments: BTreeMap<String, Option<Payment>>,
}

/// How the entries of a payment say what they are.
const PAID: &str = "Payment ";
const REFUND: &str = "Refund of payment ";

/// Gives the error if the condition does not hold.
macro_rules! must {
    ($holds:expr, $($said:tt)*) => {
        if !$holds {
            return Err(format!($($said)*));
        }
    };
}
pub(crate) use must;

impl Books {
    /// Reads them. Nobody may write meanwhile: the two tables are read one after the other.
    pub(crate) async fn read(store: &Store, account: &AccountId) -> Self {
        let standing = store.account_standing(account).await.unwrap().unwrap();
        let entries = store.ledger_page(account, &Filter::default(), None, 0, ALL).await.unwrap().entries;
        let mut payments = BTreeMap::new();
        for payment in entries.iter().filter_map(|entry| entry.description.as_ref()?.strip_prefix(PAID)) {
            payments.insert(payment.to_owned(), store.payment(payment).await.unwrap());
        }
        Self { standing, entries, payments }
    }

    /// What a hold's own entry takes of it, if it has one: the hold is settled then, only not removed yet.
    fn charged(by_id: &BTreeMap<&RequestId, &Entry>, hold: &Hold) -> Option<Nanos> {
        by_id.get(&hold.id).filter(|entry| entry.hold == Some(hold.stamp())).map(|entry| -entry.amount)
    }

    /// Checks all that can be seen in the books of one moment.
    pub(crate) fn check(&self) -> Result<(), String> {
        let by_id: BTreeMap<_, _> = self.entries.iter().map(|entry| (&entry.id, entry)).collect();
        must!(by_id.len() == self.entries.len(), "two entries have one id");
        let account = &self.standing.account;
        let went_back: Nanos =
            self.entries.iter().filter(|it| it.served.is_none()).map(|it| it.amount.min(Nanos::ZERO)).sum();
        must!(
            account.balance >= went_back.min(Nanos::ZERO),
            "the balance is {}, {went_back} went back",
            account.balance
        );
        let mut kept = account.balance;
        let mut spent: BTreeMap<KeyId, Nanos> = BTreeMap::new();
        for key in &self.standing.lanes {
            let it = &key.allowance;
            must!(it.available >= Nanos::ZERO, "key {}: {} available", key.id, it.available);
            kept += it.available;
            let spent = spent.entry(key.id).or_default();
            *spent += it.spent;
            for hold in it.holds.values() {
                must!(hold.amount >= Nanos::ZERO, "key {}: {hold:?}", key.id);
                let charged = Self::charged(&by_id, hold).unwrap_or(Nanos::ZERO);
                must!(charged <= hold.amount, "key {}: {charged} charged for {hold:?}", key.id);
                kept += hold.amount - charged;
                *spent += charged;
            }
            let limit = it.spend_limit.unwrap_or(UNLIMITED);
            let left = limit - (it.spent - it.period_base) - it.held();
            must!(it.limit_left == left, "key {}: {} of the limit is left, not {left}", key.id, it.limit_left);
            must!(it.period_base <= it.spent, "key {}: the period began at {}", key.id, it.period_base);
        }
        for (key, spent) in spent {
            let sold = self.sold(key);
            must!(spent == sold, "key {key}: spent {spent}, sold {sold}");
        }
        let paid: Nanos = self.entries.iter().map(|entry| entry.amount).sum();
        must!(paid == kept, "the entries make {paid}, the account has {kept}");
        let payments: Nanos = self.of_kind(EntryKind::Payment).map(|entry| entry.amount).sum();
        must!(account.paid_in == payments, "paid in {}, payments {payments}", account.paid_in);
        self.check_payments()?;
        for expired in self.of_kind(EntryKind::Expired) {
            must!(expired.amount == Nanos::ZERO, "an expired request costs {}", expired.amount);
        }
        for usage in self.of_kind(EntryKind::Usage) {
            must!(usage.amount <= Nanos::ZERO, "a request adds {}", usage.amount);
            must!(usage.served.is_some(), "a charge says nothing of what was served: {usage:?}");
        }
        Ok(())
    }

    /// What is remembered of a payment is what its entries say.
    fn check_payments(&self) -> Result<(), String> {
        let sum = |said: String| -> Nanos {
            let entries = self.entries.iter().filter(|entry| entry.description.as_ref() == Some(&said));
            entries.map(|entry| entry.amount).sum()
        };
        for (id, payment) in &self.payments {
            let (paid, refunded) = (sum(format!("{PAID}{id}")), -sum(format!("{REFUND}{id}")));
            let expected = (&self.standing.account.id, paid, refunded);
            let known = payment.as_ref().map(|payment| (&payment.account, payment.paid, payment.refunded));
            must!(known == Some(expected), "{id} is {payment:?}, not {expected:?}");
        }
        Ok(())
    }

    /// Checks that an account that owes has no funds anywhere that a request could hold, or come to hold.
    pub(crate) fn check_debt(&self) -> Result<(), String> {
        let owes = self.standing.account.balance < Nanos::ZERO;
        let usable = |key: &&KeyRecord| {
            !key.allowance.owing && (key.allowance.available > Nanos::ZERO || key.allowance.held() > Nanos::ZERO)
        };
        let usable = self.standing.lanes.iter().find(usable).filter(|_| owes);
        must!(usable.is_none(), "the balance is {}, and there is {usable:?}", self.standing.account.balance);
        Ok(())
    }

    /// What the key's requests were charged.
    pub(crate) fn sold(&self, key: KeyId) -> Nanos {
        let of_key = |entry: &&Entry| entry.served.as_ref().is_some_and(|served| served.key == key);
        self.of_kind(EntryKind::Usage).filter(of_key).map(|entry| -entry.amount).sum()
    }

    fn of_kind(&self, kind: EntryKind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }

    /// Checks that every entry of an earlier moment is there still, unchanged.
    pub(crate) fn check_since(&self, earlier: &Self) -> Result<(), String> {
        let by_id: BTreeMap<_, _> = self.entries.iter().map(|entry| (&entry.id, entry)).collect();
        for entry in &earlier.entries {
            let there = by_id.get(&entry.id);
            must!(there == Some(&entry), "an entry changed from {entry:?} to {there:?}");
        }
        Ok(())
    }

    /// Checks that no key spends and holds more than its limit, but those that were over a limit when it was set.
    pub(crate) fn check_limits(&self, excused: impl Fn(KeyId) -> bool) -> Result<(), String> {
        for key in &self.standing.lanes {
            let left = key.allowance.limit_left;
            must!(left >= Nanos::ZERO || excused(key.id), "key {}: {left} of its limit is left", key.id);
        }
        Ok(())
    }
}
