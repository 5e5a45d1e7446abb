//! The books' rules: what a key's allowance lets a request do, and what the ledger says of it afterwards.
//!
//! The store's condition expressions enforce these rules; this module explains a refusal from the item that refused.
//!
//! **Debts.** No request makes one. But what a card is refunded, or a bank takes back in a dispute, is gone, whether or not
//! it was spent here: then the account owes, and its balance is negative, by no more than what was taken back. Nothing that
//! costs anything is held until it is paid. That must not depend on how funds are spread: an allowance that has some left,
//! or gets some back from a request that runs, belongs to the debt. So, when a balance goes below nothing, every lane is
//! marked as [`Allowance::owing`]. A lane so marked pays for nothing; only a refill unmarks it, and a refill needs a balance
//! that covers it. The lanes are marked before the balance falls, so that no crash leaves one unmarked, and those that were
//! refilled in that moment after it: once the refund is booked, all of them are. What requests held by then is theirs: they
//! are served and charged.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::{AccountId, KeyId, RequestId},
    limits::{RateLimit, RateStanding},
    moment::{Reset, UnixMs},
    money::Nanos,
    usage::Metered,
};

/// What a key without a spend limit has left: more than there is money. Making "no limit" a number keeps one expression
/// for all keys.
pub const UNLIMITED: Nanos = Nanos(i64::MAX / 2);

/// The period of a spend limit that never resets.
pub const NO_PERIOD: &str = "always";

/// A refill takes at most this part of the balance, so that other keys find funds without calling any back.
const REFILL_FRACTION: i64 = 16;
/// Refill for this many requests like the one that ran short, at the least.
const REFILL_REQUESTS: i64 = 64;
/// A refill that lasts for less than this is followed by one of twice its size.
const REFILL_LASTS_MS: u64 = 60_000;

/// Requests per second that a lane is meant for.
const LANE_REQUESTS_PER_S: u32 = 250;
/// A key's lanes at the most.
const MOST_LANES: u32 = 16;
/// Nonces are below this.
const NONCES: u64 = 1_000_000;
/// No hold lasts longer: more than a day.
const LONGEST_HOLD_S: u64 = 99_999;

/// Funds set aside for one running request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The request.
    pub id: RequestId,
    /// The most it can cost.
    pub amount: Nanos,
    /// From then on nobody will settle it any more, and anybody may expire it.
    pub expires: UnixMs,
    /// Below a million. Tells a lost reply to our own write from a second delivery of the same request.
    pub nonce: u32,
}

impl Hold {
    /// What tells this hold from every other that its request ever had: how long it lasts, in whole seconds, and six
    /// digits of nonce. Its ledger entry carries it, so that an entry settles one hold and no second one.
    pub fn stamp(&self) -> u64 {
        let lasts = self.expires.seconds().saturating_sub(self.id.at().seconds()).min(LONGEST_HOLD_S);
        lasts * NONCES + u64::from(self.nonce)
    }

    /// The hold of a request that has this stamp.
    pub fn stamped(id: RequestId, amount: Nanos, stamp: u64) -> Self {
        let expires = UnixMs((id.at().seconds() + stamp / NONCES) * 1000);
        Self { id, amount, expires, nonce: u32::try_from(stamp % NONCES).unwrap_or(0) }
    }
}

/// The last refill of an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refill {
    /// How much it was.
    pub amount: Nanos,
    /// When it was.
    pub at: UnixMs,
}

/// A key's item as the rules see it: its attributes, its allowance, its holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The key was deleted; its item stays for what still runs.
    pub deleted: bool,
    /// Switched on.
    pub active: bool,
    /// Refused from then on.
    pub expires_at: Option<UnixMs>,
    /// The only models it may call.
    pub models: Option<BTreeSet<String>>,
    /// Its rate limit.
    pub rate_limit: RateLimit,
    /// What of it this lane may take.
    pub rate_share: u32,
    /// The key's lanes: parts of its allowance, each in an item of its own, that requests are spread over.
    pub lanes: u32,
    /// Requests counted per window; the key is the window's start in seconds.
    pub windows: BTreeMap<u64, u32>,
    /// The most it may spend in a period.
    pub spend_limit: Option<Nanos>,
    /// When its spend limit starts afresh.
    pub reset: Option<Reset>,
    /// The period that `period_base` and `limit_left` speak of.
    pub period: String,
    /// What it had spent in all when the period began.
    pub period_base: Nanos,
    /// What it has spent in all.
    pub spent: Nanos,
    /// Its limit, less what it spent in the period, less its holds.
    pub limit_left: Nanos,
    /// Funds moved out of the balance and not held.
    pub available: Nanos,
    /// What is available may be owed: nothing is held of it before the next refill.
    pub owing: bool,
    /// The last refill.
    pub refill: Option<Refill>,
    /// Its running requests.
    pub holds: BTreeMap<RequestId, Hold>,
}

/// Why a hold was not placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The key was deleted.
    Deleted,
    /// The key is switched off.
    Inactive,
    /// The key has expired.
    Expired,
    /// The allow list does not name the model.
    ModelNotAllowed,
    /// The window is full.
    RateLimited(RateStanding),
    /// The writer assumed another rate interval than the key's.
    OtherInterval,
    /// A new period of the spend limit has begun.
    PeriodOver,
    /// The limit would be passed: what of it is left.
    SpendLimitReached(Nanos),
    /// The allowance lacks this much.
    Short(Nanos),
}

impl Allowance {
    /// What it spent in the period that holds `at`.
    pub fn period_spent(&self, at: UnixMs) -> Nanos {
        if self.period_over(at) { Nanos::ZERO } else { self.spent - self.period_base }
    }

    /// What its running requests hold.
    pub fn held(&self) -> Nanos {
        self.holds.values().map(|hold| hold.amount).sum()
    }

    /// What it may still spend in the period that holds `at`, holds taken off; none without a limit.
    pub fn limit_remaining(&self, at: UnixMs) -> Option<Nanos> {
        let limit = self.spend_limit?;
        Some((limit - self.period_spent(at) - self.held()).max(Nanos::ZERO))
    }

    /// The name of the period that holds `at`.
    pub fn period_at(&self, at: UnixMs) -> String {
        self.reset.map_or_else(|| NO_PERIOD.to_owned(), |reset| reset.period(at))
    }

    /// A period began after the one that is counted. Periods only go forward: to a writer whose clock is behind, the one
    /// that is counted is the current one.
    pub fn period_over(&self, at: UnixMs) -> bool {
        self.period < self.period_at(at)
    }

    /// What it lacks for a hold of `amount`, or nothing.
    pub fn missing(&self, amount: Nanos) -> Nanos {
        let usable = if self.owing { Nanos::ZERO } else { self.available };
        (amount - usable).max(Nanos::ZERO)
    }

    /// Idle funds that no request of this key can use: it is switched off or deleted.
    pub fn stranded(&self) -> Nanos {
        if self.active && !self.deleted { Nanos::ZERO } else { self.available }
    }

    /// Where it stands in the window that holds `at`.
    pub fn rate_standing(&self, at: UnixMs) -> RateStanding {
        let RateLimit { requests, interval } = self.rate_limit;
        let used = self.windows.get(&interval.window(at)).copied().unwrap_or(0);
        // What the other lanes have is not known here; requests are spread evenly.
        let remaining = self.rate_share.saturating_sub(used).saturating_mul(self.lanes).min(requests);
        RateStanding { limit: requests, remaining, reset_s: interval.seconds_left(at) }
    }

    /// The windows that nobody counts in any more. The one just over stays for requests whose clock is behind: once
    /// forgotten, it would count from zero again.
    pub fn stale_windows(&self, at: UnixMs) -> Vec<u64> {
        let interval = self.rate_limit.interval;
        let last = interval.window(at).saturating_sub(u64::from(interval.seconds));
        self.windows.keys().copied().filter(|&window| window < last).collect()
    }

    /// Why a request of the key can't be counted, if it can't.
    pub fn count_refusal(&self, interval_seconds: u32, at: UnixMs) -> Option<Refusal> {
        let rate = self.rate_standing(at);
        if self.deleted {
            Some(Refusal::Deleted)
        } else if !self.active {
            Some(Refusal::Inactive)
        } else if self.expires_at.is_some_and(|expires| expires <= at) {
            Some(Refusal::Expired)
        } else if self.rate_limit.interval.seconds != interval_seconds {
            Some(Refusal::OtherInterval)
        } else if rate.remaining == 0 {
            Some(Refusal::RateLimited(rate))
        } else {
            None
        }
    }

    /// Why a hold of `amount` for the model of these names can't be placed, if it can't.
    pub fn hold_refusal(&self, amount: Nanos, model: &[String], interval_seconds: u32, at: UnixMs) -> Option<Refusal> {
        let counted = self.count_refusal(interval_seconds, at);
        if counted.is_some() {
            counted
        } else if self.models.as_ref().is_some_and(|models| !model.iter().any(|name| models.contains(name))) {
            Some(Refusal::ModelNotAllowed)
        } else if self.period_over(at) {
            Some(Refusal::PeriodOver)
        } else if self.limit_left < amount {
            Some(Refusal::SpendLimitReached(self.limit_left.max(Nanos::ZERO)))
        } else {
            Some(self.missing(amount)).filter(|missing| *missing > Nanos::ZERO).map(Refusal::Short)
        }
    }
}

/// How much to move from a balance to an allowance that lacks `missing` for a hold of `hold`: enough for many such
/// requests, twice as much as the last time if that did not last, but a small part of the balance. None if the balance
/// does not even cover what is missing.
pub fn refill(balance: Nanos, missing: Nanos, hold: Nanos, last: Option<Refill>, at: UnixMs) -> Option<Nanos> {
    let brief = last.filter(|last| at < last.at.plus_ms(REFILL_LASTS_MS)).map_or(0, |last| last.amount.0);
    let ahead = hold.0.saturating_mul(REFILL_REQUESTS).max(brief.saturating_mul(2));
    (balance >= missing).then(|| Nanos(missing.0.max(ahead.min(balance.0 / REFILL_FRACTION))))
}

/// How many lanes a key has. An item takes a thousand writes a second, which is 500 requests: a key that may make more
/// than half of that gets a second lane. A spend limit is one number in one item, so a key that has one keeps to one lane.
pub fn lanes(rate_limit: RateLimit, spend_limit: Option<Nanos>) -> u32 {
    let per_lane = LANE_REQUESTS_PER_S.saturating_mul(rate_limit.interval.seconds);
    if spend_limit.is_some() { 1 } else { rate_limit.requests.div_ceil(per_lane).clamp(1, MOST_LANES) }
}

/// What lane `lane` of `lanes` may take of a rate limit.
pub fn rate_share(requests: u32, lane: u32, lanes: u32) -> u32 {
    requests / lanes + u32::from(lane < requests % lanes)
}

/// What an entry of the ledger is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A request was served.
    Usage,
    /// The account paid in.
    Payment,
    /// The account was paid back.
    Refund,
    /// The operator gave or took, or a bank did in a dispute.
    Adjustment,
    /// A request whose process died: its hold was released, and this entry keeps a late settlement out.
    Expired,
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Usage, Self::Payment, Self::Refund, Self::Adjustment, Self::Expired];

    /// Its name in the store and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Adjustment => "adjustment",
            Self::Expired => "expired",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A line of the ledger. Written once, never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The account.
    pub account: AccountId,
    /// Its id, the request's for usage; sorts by time.
    pub id: RequestId,
    /// What it is about.
    pub kind: EntryKind,
    /// What it adds to the account's funds; negative for usage and refunds.
    pub amount: Nanos,
    /// The stamp of the hold that it ended, for usage and expiry.
    pub hold: Option<u64>,
    /// What was served, for usage.
    pub served: Option<Served>,
    /// Words for people.
    pub description: Option<String>,
}

/// What a usage entry says of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The key that spent.
    pub key: KeyId,
    /// The model, by the id that prices it.
    pub model: String,
    /// Who served it.
    pub provider: String,
    /// The tokens.
    pub metered: Metered,
    /// What it cost beyond what was charged: nothing, unless a provider billed more than a request can cost and the
    /// account could not pay it.
    pub unpaid: Nanos,
    /// Milliseconds from the request's arrival to its settlement; none in entries from before it was kept.
    pub duration_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance() -> Allowance {
        Allowance {
            deleted: false,
            active: true,
            expires_at: None,
            models: None,
            rate_limit: RateLimit::default(),
            rate_share: 1000,
            lanes: 1,
            windows: BTreeMap::new(),
            spend_limit: None,
            reset: None,
            period: NO_PERIOD.to_owned(),
            period_base: Nanos::ZERO,
            spent: Nanos::ZERO,
            limit_left: UNLIMITED,
            available: Nanos::usd(1),
            owing: false,
            refill: None,
            holds: BTreeMap::new(),
        }
    }

    const AT: UnixMs = UnixMs(1_790_000_000_000);

    fn refusal(allowance: &Allowance) -> Option<Refusal> {
        allowance.hold_refusal(Nanos::usd(1), &["gpt-4o".to_owned()], 10, AT)
    }

    #[test]
    fn a_refusal_names_its_reason() {
        let with = |change: fn(&mut Allowance)| {
            let mut changed = allowance();
            change(&mut changed);
            refusal(&changed)
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|it| it.deleted = true), Some(Refusal::Deleted));
        assert_eq!(with(|it| it.active = false), Some(Refusal::Inactive));
        assert_eq!(with(|it| it.expires_at = Some(AT)), Some(Refusal::Expired));
        assert_eq!(with(|it| it.expires_at = Some(AT.plus_ms(1))), None);
        assert_eq!(with(|it| it.models = Some(BTreeSet::new())), Some(Refusal::ModelNotAllowed));
        assert_eq!(with(|it| it.limit_left = Nanos(999_999_999)), Some(Refusal::SpendLimitReached(Nanos(999_999_999))));
        assert_eq!(with(|it| it.available = Nanos(999_999_999)), Some(Refusal::Short(Nanos(1))));
        assert_eq!(with(|it| it.owing = true), Some(Refusal::Short(Nanos::usd(1))));
        let yesterday = with(|it| {
            it.reset = Some(Reset::Daily);
            it.period = "2026-01-01".to_owned();
        });
        assert_eq!(yesterday, Some(Refusal::PeriodOver));
        let full = with(|it| {
            it.windows.insert(1_790_000_000, 1000);
        });
        assert!(matches!(full, Some(Refusal::RateLimited(RateStanding { remaining: 0, reset_s: 10, .. }))));
        assert_eq!(allowance().hold_refusal(Nanos(1), &[], 60, AT), Some(Refusal::OtherInterval));
    }

    #[test]
    fn what_costs_nothing_is_held_whatever_is_owed() {
        let owing = Allowance { owing: true, ..allowance() };
        assert_eq!(owing.hold_refusal(Nanos::ZERO, &[], 10, AT), None);
        assert_eq!(refill(Nanos(-1), Nanos(1), Nanos(1), None, AT), None, "a debt refills nothing");
    }

    #[test]
    fn a_refill_covers_what_is_missing_and_leaves_most_of_the_balance() {
        let refilled = |balance, missing, hold| refill(Nanos(balance), Nanos(missing), Nanos(hold), None, AT);
        assert_eq!(refilled(10, 11, 11), None);
        assert_eq!(refilled(11, 11, 11), Some(Nanos(11)));
        assert_eq!(refilled(160_000, 10, 100), Some(Nanos(6400)));
        assert_eq!(refilled(1600, 10, 100), Some(Nanos(100)));
    }

    #[test]
    fn a_refill_doubles_while_the_last_one_did_not_last_a_minute() {
        let after = |ms| {
            let last = Refill { amount: Nanos(10_000), at: AT };
            refill(Nanos(1_600_000), Nanos(1), Nanos(10), Some(last), AT.plus_ms(ms))
        };
        assert_eq!(after(59_999), Some(Nanos(20_000)));
        assert_eq!(after(60_000), Some(Nanos(640)));
        let last = Refill { amount: Nanos(90_000), at: AT };
        assert_eq!(
            refill(Nanos(1_600_000), Nanos(1), Nanos(10), Some(last), AT),
            Some(Nanos(100_000)),
            "1/16 at the most"
        );
    }

    #[test]
    fn a_clock_behind_never_brings_an_old_period_back() {
        let mut daily = allowance();
        daily.reset = Some(Reset::Daily);
        daily.period = Reset::Daily.period(AT);
        daily.spent = Nanos(7);
        let day_before = UnixMs(AT.0 - 86_400_000);
        assert!(!daily.period_over(day_before));
        assert_eq!(daily.period_spent(day_before), Nanos(7));
        assert_eq!(daily.hold_refusal(Nanos(1), &[], 10, day_before), None);
        assert!(daily.period_over(AT.plus_ms(86_400_000)));
        assert_eq!(daily.period_spent(AT.plus_ms(86_400_000)), Nanos::ZERO);
    }

    #[test]
    fn lanes_share_a_rate_limit_and_a_spend_limit_wants_one() {
        let rate = |requests, seconds| RateLimit { requests, interval: crate::limits::Interval { seconds } };
        assert_eq!(lanes(RateLimit::default(), None), 1);
        assert_eq!(lanes(rate(2500, 10), None), 1);
        assert_eq!(lanes(rate(2501, 10), None), 2);
        assert_eq!(lanes(rate(u32::MAX, 1), None), MOST_LANES);
        assert_eq!(lanes(rate(u32::MAX, 1), Some(Nanos(1))), 1);
        for (requests, lanes) in [(10, 3), (2501, 2), (5, 16), (1, 1)] {
            assert_eq!((0..lanes).map(|lane| rate_share(requests, lane, lanes)).sum::<u32>(), requests);
        }
    }

    #[test]
    fn the_window_just_over_is_remembered() {
        let mut counted = allowance();
        let now = AT.seconds();
        counted.windows = [now - 20, now - 10, now].map(|start| (start, 1)).into();
        assert_eq!(counted.stale_windows(AT), [now - 20]);
    }
}
