//! The account's books beside the providers': what must hold of both.

use std::collections::{BTreeMap, HashMap};

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{Entry, EntryKind},
    money::Nanos,
};
use gateway_store::{Filter, Standing, Store};

use crate::{
    plan::{MOST_OUTPUT, Tokens},
    provider::{Billed, cost},
};

/// What a client knows of its request.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The request's number.
    pub n: u64,
    /// Its id, if an answer began.
    pub id: Option<RequestId>,
    /// The answer's status, if it began.
    pub status: Option<u16>,
    /// The answer came to its proper end.
    pub whole: bool,
    /// The cost that it named.
    pub cost: Option<Nanos>,
}

/// What the account has at the most, as far as anybody has seen since the last credit: between credits it only shrinks.
#[derive(Clone, Copy)]
pub struct Purse {
    /// Odd while a credit comes in.
    pub epoch: u64,
    /// The smallest sum that was seen, holds included.
    pub ceiling: Nanos,
}

/// The whole ledger of an account.
pub async fn ledger(store: &Store, account: &AccountId) -> Vec<Entry> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let page = store.ledger_page(account, &Filter::default(), after.as_ref(), 0, 1_000).await.unwrap();
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() {
            return entries;
        }
    }
}

/// Checks what holds of an account at every instant, and returns all that is not charged yet. `given` came in otherwise than
/// by payment; no key of `most` may ever spend more than that in a period.
pub fn funds_are_true(standing: &Standing, given: Nanos, most: &BTreeMap<KeyId, Nanos>) -> Nanos {
    let spent: Nanos = standing.lanes.iter().map(|lane| lane.allowance.spent).sum();
    assert_eq!(standing.balance() + spent, given + standing.account.paid_in, "paid in = left + spent: {standing:?}");
    assert!(standing.account.balance >= Nanos::ZERO, "{standing:?}");
    for lane in &standing.lanes {
        let allowance = &lane.allowance;
        assert!(allowance.available >= Nanos::ZERO, "{lane:?}");
        assert!(allowance.holds.values().all(|hold| hold.amount >= Nanos::ZERO), "{lane:?}");
        if let Some(&most) = most.get(&lane.id) {
            assert!(allowance.spent - allowance.period_base + allowance.held() <= most, "over {most}: {lane:?}");
        }
    }
    standing.balance()
}

/// Checks an account at rest: nothing is held, and the ledger adds up to what is left and to what each key spent.
pub fn ledger_adds_up(standing: &Standing, entries: &[Entry]) {
    assert_eq!(standing.held(), Nanos::ZERO, "held at rest");
    assert_eq!(entries.iter().map(|entry| entry.amount).sum::<Nanos>(), standing.balance(), "ledger and funds");
    for key in &standing.keys {
        let charged: Nanos =
            usage(entries).filter(|(_, served)| served.key == key.id).map(|(entry, _)| -entry.amount).sum();
        assert_eq!(charged, key.allowance.spent, "key {} by the ledger and by its item", key.id);
        let stranded = key.allowance.deleted.then_some(key.allowance.available);
        assert!(stranded.is_none_or(|stranded| stranded == Nanos::ZERO), "key {} is deleted and has funds", key.id);
    }
}

/// The usage entries, with what they say was served.
pub fn usage(entries: &[Entry]) -> impl Iterator<Item = (&Entry, &gateway_core::ledger::Served)> {
    entries.iter().filter_map(|entry| {
        assert_eq!(entry.kind == EntryKind::Usage, entry.served.is_some(), "{entry:?}");
        Some((entry, entry.served.as_ref()?))
    })
}

/// The tokens that an entry was charged for.
pub fn tokens(served: &gateway_core::ledger::Served) -> Tokens {
    let usage = &served.metered.usage;
    Tokens { input: usage.all_input(), cached: usage.cache_read, output: usage.all_output() }
}

/// Checks that each entry's amount is the price list's for its tokens.
pub fn prices_are_the_list_s(entries: &[Entry]) {
    for (entry, served) in usage(entries) {
        let tokens = tokens(served);
        assert_eq!((-entry.amount + served.unpaid).0, cost(&served.model, tokens), "{entry:?}");
        assert!(entry.amount <= Nanos::ZERO, "{entry:?}");
        assert!(served.unpaid == Nanos::ZERO || tokens.output > MOST_OUTPUT, "unpaid within the bound: {entry:?}");
    }
}

/// Checks that what was charged for is what the providers billed, one for one. What they served without a count stands
/// estimated in the ledger, as often.
pub fn all_that_was_served_is_charged(entries: &[Entry], billed: &[Billed]) {
    let (mut counted, mut estimated) = (Vec::new(), BTreeMap::new());
    for (_, served) in usage(entries) {
        if served.metered.estimated {
            *estimated.entry(served.model.as_str()).or_insert(0) += 1;
        } else {
            counted.push((served.model.as_str(), tokens(served)));
        }
    }
    let mut provider_counted: Vec<_> = billed.iter().filter_map(|it| Some((it.model, it.tokens?))).collect();
    let mut provider_uncounted = BTreeMap::new();
    for it in billed.iter().filter(|it| it.tokens.is_none()) {
        *provider_uncounted.entry(it.model).or_insert(0) += 1;
    }
    counted.sort_unstable();
    provider_counted.sort_unstable();
    assert_eq!(counted, provider_counted, "charged, and what the providers counted");
    assert_eq!(estimated, provider_uncounted, "estimated, and what the providers served without a count");
}

/// Checks that a request was charged only if a provider served it, for what that provider counted, and that a client was told
/// no other cost. What was served is charged too, but where `may_be_lost` says that the process died in time.
pub fn clients_were_told_the_truth(
    entries: &[Entry],
    billed: &[Billed],
    outcomes: &[Outcome],
    may_be_lost: impl Fn(&Outcome) -> bool,
) {
    let by_id: HashMap<_, _> = usage(entries).map(|(entry, served)| (&entry.id, (entry, served))).collect();
    assert_eq!(by_id.len(), usage(entries).count(), "one entry a request");
    let served: HashMap<_, _> = billed.iter().map(|it| (it.n, it)).collect();
    for outcome in outcomes {
        let Some(id) = &outcome.id else { continue };
        match (by_id.get(id), served.get(&outcome.n)) {
            (None, None) => assert_eq!(outcome.cost, None, "told a cost and not charged: {outcome:?}"),
            (None, Some(_)) if may_be_lost(outcome) => {}
            (Some((entry, served)), Some(billed)) => {
                assert_eq!(served.model, billed.model, "{outcome:?}");
                assert!(billed.tokens.is_none_or(|counted| counted == tokens(served)), "{outcome:?}: {entry:?}");
                // A stream names the price before it is settled; where more was billed than can be, not all of it is paid.
                let charged = [-entry.amount, -entry.amount + served.unpaid];
                assert!(outcome.cost.is_none_or(|cost| charged.contains(&cost)), "{outcome:?}: {entry:?}");
            }
            (entry, billed) => panic!("charged {entry:?}, served {billed:?}: {outcome:?}"),
        }
    }
}

/// The cost that an answer names.
pub fn cost_in(text: &str) -> Option<Nanos> {
    let (_, rest) = text.split_once("\"cost\":")?;
    let end = rest.find([',', '}']).unwrap();
    Some(Nanos::parse_usd(&rest[..end]).unwrap())
}

/// What a 402 says that the request needs, and what it says is free.
pub fn amounts_in(message: &str) -> [Nanos; 2] {
    let after = |words: &str| message.split_once(words).unwrap_or_else(|| panic!("{message}")).1;
    let amount = |text: &str| Nanos::parse_usd(text.split(' ').next().unwrap()).unwrap();
    [amount(after("this request needs ")), amount(after(" USD and "))]
}
