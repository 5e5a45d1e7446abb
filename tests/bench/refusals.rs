//! The baseline refuses what the store refuses, and for the same reasons: else they would not be the same books.

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::EntryKind,
    limits::{Interval, RateLimit},
    moment::UnixMs,
    money::Nanos,
    token::{KeyType, Token},
};
use gateway_store::{Credit, HoldOutcome, HoldRequest, KeyChange, NewKey, Store, random};

use crate::baseline::{Baseline, Placed};

const AT: UnixMs = UnixMs(1_790_000_000_000);
const CREDIT: Nanos = Nanos::usd(1);

/// A key's own settings, and what comes of placing so many holds of an amount with it, under one id or each its own.
struct Case {
    key: fn(&mut NewKey),
    active: bool,
    amount: Nanos,
    holds: usize,
    one_id: bool,
    last: Placed,
}

const USUAL: Case = Case { key: |_| {}, active: true, amount: Nanos(1), holds: 1, one_id: true, last: Placed::Held };

const CASES: [Case; 8] = [
    USUAL,
    Case { amount: Nanos(CREDIT.0 + 1), last: Placed::InsufficientFunds, ..USUAL },
    Case { holds: 2, last: Placed::AlreadyHeld, ..USUAL },
    Case { active: false, last: Placed::KeyInactive, ..USUAL },
    Case { key: |key| key.expires_at = Some(AT), last: Placed::KeyGone, ..USUAL },
    Case { key: |key| key.models = Some(["other".to_owned()].into()), last: Placed::ModelNotAllowed, ..USUAL },
    Case { key: |key| key.rate_limit.requests = 1, holds: 2, one_id: false, last: Placed::RateLimited, ..USUAL },
    Case {
        key: |key| key.spend_limit = Some(Nanos(1)),
        holds: 2,
        one_id: false,
        last: Placed::SpendLimitReached,
        ..USUAL
    },
];

/// Checks every case with both, in an account of their own.
pub(crate) async fn check(store: &Store, baseline: &Baseline) {
    let account = store.account_create("bench", AT).await.unwrap().id;
    let id = RequestId::new(AT, random().unwrap());
    let credit = Credit { id, kind: EntryKind::Payment, amount: CREDIT, description: "bench".to_owned() };
    assert!(store.account_credit(&account, &credit).await.unwrap());
    for (number, case) in CASES.iter().enumerate() {
        for ours in [true, false] {
            let key = case.new_key(store, &account).await;
            let mut id = RequestId::new(AT, random().unwrap());
            let mut placed = Vec::new();
            for _ in 0..case.holds {
                let (models, expires) = (&[vec!["bench/chat".to_owned()]], AT.plus_ms(60_000));
                let wanted =
                    HoldRequest { account: &account, key, id: &id, models, amount: case.amount, at: AT, expires };
                placed.push(match ours {
                    true => named(&store.hold_place(&wanted).await.unwrap()),
                    false => baseline.place(&wanted).await,
                });
                if !case.one_id {
                    id = RequestId::new(AT, random().unwrap());
                }
            }
            assert_eq!(placed.pop(), Some(case.last), "case {number}, ours: {ours}");
            assert!(placed.iter().all(|placed| *placed == Placed::Held), "case {number}, ours: {ours}");
        }
    }
}

impl Case {
    async fn new_key(&self, store: &Store, account: &AccountId) -> KeyId {
        let mut new = NewKey {
            name: "bench".to_owned(),
            key_type: KeyType::Proxy,
            expires_at: None,
            spend_limit: None,
            reset: None,
            rate_limit: RateLimit { requests: 1000, interval: Interval { seconds: 86_400 } },
            models: None,
        };
        (self.key)(&mut new);
        let token = Token::from_random(KeyType::Proxy, random().unwrap());
        let key = store.key_create(account, &new, &token, AT, None).await.unwrap().unwrap().id;
        let change = KeyChange { active: Some(self.active), ..KeyChange::default() };
        store.key_update(account, key, &change, AT).await.unwrap();
        key
    }
}

fn named(outcome: &HoldOutcome) -> Placed {
    match outcome {
        HoldOutcome::Held(_) => Placed::Held,
        HoldOutcome::AlreadyHeld => Placed::AlreadyHeld,
        HoldOutcome::InsufficientFunds { .. } => Placed::InsufficientFunds,
        HoldOutcome::SpendLimitReached { .. } => Placed::SpendLimitReached,
        HoldOutcome::RateLimited(_) => Placed::RateLimited,
        HoldOutcome::ModelNotAllowed => Placed::ModelNotAllowed,
        HoldOutcome::KeyInactive => Placed::KeyInactive,
        HoldOutcome::KeyGone => Placed::KeyGone,
        // Of the rollup's fence, which the baseline does without.
        HoldOutcome::TooLate => panic!("nothing is rolled up here"),
    }
}
