//! Holds: funds set aside for running requests, inside their key's item. The hot path: every function here is single-item
//! writes, and any of them may be repeated for ever without harm.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{Allowance, Hold, NO_PERIOD, Refusal},
    limits::{RateLimit, RateStanding},
    moment::{Reset, UnixMs},
    money::Nanos,
};

use crate::{
    Store, StoreError,
    attributes::{
        ACCOUNT, ACTIVE, AVAILABLE, Attributes, DELETED, EXPIRES, HOLDS, ITEM, LAST_USED, LIMIT_LEFT, MODELS, OWING,
        PERIOD, PERIOD_BASE, RATE_REQUESTS, RATE_SECONDS, RESET, SEALED, SPENT, WINDOWS, flag, nanos, number, text,
    },
    backoff::backoff,
    key_record::{KeyRecord, Lane, hold_value},
    random,
    refill::{RefillOutcome, Shortage},
};

/// How often a hold is tried while funds, periods and windows change under it.
pub(crate) const TRIES: u32 = 32;
/// From this try on, a moment passes before the next: whoever meets so often should not meet again.
pub(crate) const PATIENT_TRIES: u32 = 4;
/// A key whose requests are only counted is swept when so many of its windows are over.
const STALE_WINDOWS: usize = 8;
/// How many keys' rhythms are remembered.
const RHYTHMS: usize = 10_000;

/// What to hold, and for what.
#[derive(Debug, Clone)]
pub struct HoldRequest<'a> {
    /// The account.
    pub account: &'a AccountId,
    /// The key that pays.
    pub key: KeyId,
    /// The request.
    pub id: &'a RequestId,
    /// The models it may be served by, each by all its names; the key's allow list must name each by one of them.
    pub models: &'a [Vec<String>],
    /// The most it can cost.
    pub amount: Nanos,
    /// Now.
    pub at: UnixMs,
    /// When nobody will settle it any more.
    pub expires: UnixMs,
}

/// A hold that was placed. It ends by [`Store::hold_settle`] or [`Store::hold_release`], or it expires.
#[derive(Debug, Clone)]
#[must_use = "a hold that is neither settled nor released keeps funds until it expires"]
pub struct PlacedHold {
    pub(crate) account: AccountId,
    pub(crate) lane: Lane,
    pub(crate) hold: Hold,
    pub(crate) stale_windows: Vec<u64>,
    /// Where the key stands in its rate window.
    pub rate: RateStanding,
}

/// How placing a hold ended.
#[derive(Debug, Clone)]
pub enum HoldOutcome {
    /// The funds are held.
    Held(PlacedHold),
    /// Another delivery of this request holds them.
    AlreadyHeld,
    /// The account's free funds do not cover it: what is free, and what running requests hold.
    InsufficientFunds {
        /// Free funds.
        free: Nanos,
        /// Held funds.
        held: Nanos,
    },
    /// The key's spend limit would be passed.
    SpendLimitReached {
        /// What of the limit is neither spent nor held.
        left: Nanos,
    },
    /// The key's rate window is full.
    RateLimited(RateStanding),
    /// The key's allow list does not name the model.
    ModelNotAllowed,
    /// The key is switched off.
    KeyInactive,
    /// The key was deleted or has expired.
    KeyGone,
    /// The request began so long ago that the usage of its time is taken for complete.
    TooLate,
}

/// How counting a request that costs nothing ended.
#[derive(Debug, Clone)]
pub enum CountOutcome {
    /// It is counted. The key as it stands, and its standing in its rate window.
    Counted(Box<KeyRecord>, RateStanding),
    /// The key's rate window is full.
    RateLimited(RateStanding),
    /// The key is switched off.
    KeyInactive,
    /// The key was deleted or has expired.
    KeyGone,
}

/// The rate interval, reset and lanes of each key as last seen, so that one write is right at once in nearly every case.
#[derive(Debug, Default)]
pub(crate) struct Rhythms(Mutex<HashMap<(AccountId, KeyId), Rhythm>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rhythm {
    interval_seconds: u32,
    reset: Option<Reset>,
    lanes: u32,
}

impl Rhythms {
    fn of(&self, account: &AccountId, key: KeyId) -> Rhythm {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(account.clone(), key)).copied();
        known.unwrap_or(Rhythm { interval_seconds: RateLimit::default().interval.seconds, reset: None, lanes: 1 })
    }

    fn learn(&self, account: &AccountId, key: KeyId, allowance: &Allowance) {
        let interval_seconds = allowance.rate_limit.interval.seconds;
        let seen = Rhythm { interval_seconds, reset: allowance.reset, lanes: allowance.lanes };
        if self.of(account, key) != seen {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= RHYTHMS {
                known.clear();
            }
            known.insert((account.clone(), key), seen);
        }
    }

    fn forget(&self, account: &AccountId, key: KeyId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(account.clone(), key));
    }
}

impl Rhythm {
    /// The key's `n`th lane, counted round and round.
    fn lane(self, key: KeyId, n: u32) -> Lane {
        Lane { key, number: n % self.lanes }
    }

    fn window(self, at: UnixMs) -> u64 {
        at.seconds() - at.seconds() % u64::from(self.interval_seconds)
    }

    fn period(self, at: UnixMs) -> String {
        self.reset.map_or_else(|| NO_PERIOD.to_owned(), |reset| reset.period(at))
    }
}

/// Counts the request in its window and marks the key as used.
const COUNT: &str = "#windows.#w = if_not_exists(#windows.#w, :zero) + :one, #used = :now";
/// The key may be used now, the writer knows its interval, and its window is not full.
const COUNTABLE: &str = "#active = :true AND attribute_not_exists(#deleted) \
    AND (attribute_not_exists(#expires) OR #expires > :now) AND #rate_s = :interval \
    AND (attribute_not_exists(#windows.#w) OR #windows.#w < #rate_n)";

impl Store {
    /// Sets funds aside for a request and counts it: one write, unless the allowance is short or a period is over.
    ///
    /// # Errors
    /// The database did not answer. Nothing is held then, or a hold that expires.
    pub async fn hold_place(&self, wanted: &HoldRequest<'_>) -> Result<HoldOutcome, StoreError> {
        let HoldRequest { account, key, at, .. } = *wanted;
        let nonce = u32::from_be_bytes(random()?) % 1_000_000;
        let hold = Hold { id: wanted.id.clone(), amount: wanted.amount, expires: wanted.expires, nonce };
        let mut full_lanes = 0;
        for attempt in 0..TRIES {
            if attempt >= PATIENT_TRIES {
                backoff(attempt - PATIENT_TRIES).await;
            }
            let rhythm = self.rhythms.of(account, key);
            let lane = rhythm.lane(key, home_lane(wanted.id) + full_lanes);
            let record = match self.returned(self.place(wanted, lane, &hold, rhythm)).await? {
                Written::Yes(record) => {
                    self.rhythms.learn(account, key, &record.allowance);
                    // The request holds its funds: that another one's could not be freed is not its failure.
                    if let Err(error) = self.expire_in_passing(&record, at).await {
                        tracing::warn!(%error, "a hold past its time stays for now");
                    }
                    return Ok(HoldOutcome::Held(placed(wanted, &hold, &record)));
                }
                // The key had more lanes when this process last looked.
                Written::No(None) if lane.number > 0 => {
                    self.rhythms.forget(account, key);
                    continue;
                }
                Written::No(None) => return Ok(HoldOutcome::KeyGone),
                Written::No(Some(record)) => record,
            };
            let allowance = &record.allowance;
            self.rhythms.learn(account, key, allowance);
            if let Some(there) = allowance.holds.get(wanted.id) {
                let own = there.stamp() == hold.stamp();
                return Ok(if own {
                    HoldOutcome::Held(placed(wanted, &hold, &record))
                } else {
                    HoldOutcome::AlreadyHeld
                });
            }
            if record.sealed > wanted.id.at() {
                return Ok(HoldOutcome::TooLate);
            }
            match refusal(wanted, allowance, rhythm) {
                Some(Refusal::Deleted | Refusal::Expired) => return Ok(HoldOutcome::KeyGone),
                Some(Refusal::Inactive) => return Ok(HoldOutcome::KeyInactive),
                Some(Refusal::ModelNotAllowed) => return Ok(HoldOutcome::ModelNotAllowed),
                Some(Refusal::RateLimited(_)) if rhythm.lanes != allowance.lanes => full_lanes = 0,
                Some(Refusal::RateLimited(_)) if full_lanes + 1 < rhythm.lanes => full_lanes += 1,
                Some(Refusal::RateLimited(rate)) => return Ok(HoldOutcome::RateLimited(rate)),
                Some(Refusal::SpendLimitReached(left)) => {
                    if !allowance.holds.values().any(|hold| hold.expires <= at) {
                        return Ok(HoldOutcome::SpendLimitReached { left });
                    }
                    self.expire_in_passing(&record, at).await?;
                }
                Some(Refusal::PeriodOver) => self.period_begin(&record, at).await?,
                Some(Refusal::Short(missing)) => {
                    self.expire_in_passing(&record, at).await?;
                    self.owing_return(&record).await?;
                    let shortage = Shortage { missing, hold: hold.amount, last: allowance.refill, at };
                    if let RefillOutcome::Insufficient(standing) = self.refill(account, lane, shortage).await? {
                        return Ok(HoldOutcome::InsufficientFunds {
                            free: standing.available(),
                            held: standing.held(),
                        });
                    }
                }
                // The writer knew another interval, or the item changed between the write and its reply.
                Some(Refusal::OtherInterval) | None => {}
            }
        }
        Err(StoreError::new("hold_place", "the key's item changed under every try"))
    }

    /// Counts a request that costs nothing, and reads the key: one write.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn key_count(&self, account: &AccountId, key: KeyId, at: UnixMs) -> Result<CountOutcome, StoreError> {
        let home = u32::from_be_bytes(random()?) / 2;
        let mut full_lanes = 0;
        for _ in 0..TRIES {
            let rhythm = self.rhythms.of(account, key);
            let lane = rhythm.lane(key, home + full_lanes);
            let update = self.counted(account, lane, rhythm, at).update_expression(format!("SET {COUNT}"));
            let record = match self.returned(update.condition_expression(COUNTABLE)).await? {
                Written::Yes(record) => {
                    self.rhythms.learn(account, key, &record.allowance);
                    let stale = record.allowance.stale_windows(at);
                    if stale.len() >= STALE_WINDOWS {
                        self.windows_sweep(account, lane, &stale).await?;
                    }
                    let rate = record.allowance.rate_standing(at);
                    return Ok(CountOutcome::Counted(record, rate));
                }
                Written::No(None) if lane.number > 0 => {
                    self.rhythms.forget(account, key);
                    continue;
                }
                Written::No(None) => return Ok(CountOutcome::KeyGone),
                Written::No(Some(record)) => record,
            };
            let lanes = record.allowance.lanes;
            self.rhythms.learn(account, key, &record.allowance);
            match record.allowance.count_refusal(rhythm.interval_seconds, at) {
                Some(Refusal::Deleted | Refusal::Expired) => return Ok(CountOutcome::KeyGone),
                Some(Refusal::Inactive) => return Ok(CountOutcome::KeyInactive),
                Some(Refusal::RateLimited(_)) if rhythm.lanes != lanes => full_lanes = 0,
                Some(Refusal::RateLimited(_)) if full_lanes + 1 < lanes => full_lanes += 1,
                Some(Refusal::RateLimited(rate)) => return Ok(CountOutcome::RateLimited(rate)),
                _ => {}
            }
        }
        Err(StoreError::new("key_count", "the key's item changed under every try"))
    }

    fn counted(&self, account: &AccountId, lane: Lane, rhythm: Rhythm, at: UnixMs) -> UpdateItemFluentBuilder {
        let names = [
            ("#windows", WINDOWS.to_owned()),
            ("#w", rhythm.window(at).to_string()),
            ("#used", LAST_USED.to_owned()),
            ("#active", ACTIVE.to_owned()),
            ("#deleted", DELETED.to_owned()),
            ("#expires", EXPIRES.to_owned()),
            ("#rate_s", RATE_SECONDS.to_owned()),
            ("#rate_n", RATE_REQUESTS.to_owned()),
        ];
        let values = [
            (":zero", number(0)),
            (":one", number(1)),
            (":now", number(at.0)),
            (":true", flag(true)),
            (":interval", number(rhythm.interval_seconds)),
        ];
        let update = names.into_iter().fold(self.lane_update(account, lane), |update, (name, attribute)| {
            update.expression_attribute_names(name, attribute)
        });
        values.into_iter().fold(update, |update, (name, value)| update.expression_attribute_values(name, value))
    }

    fn place(&self, wanted: &HoldRequest<'_>, lane: Lane, hold: &Hold, rhythm: Rhythm) -> UpdateItemFluentBuilder {
        let mut condition = format!(
            "{COUNTABLE} AND attribute_not_exists(#holds.#id) AND #period >= :period AND #left >= :amount \
             AND #avail >= :amount AND (attribute_not_exists(#sealed) OR #sealed <= :begun)"
        );
        let mut update = self.counted(wanted.account, lane, rhythm, wanted.at);
        if hold.amount > Nanos::ZERO {
            condition.push_str(" AND attribute_not_exists(#owing)");
            update = update.expression_attribute_names("#owing", OWING);
        }
        for (n, names) in wanted.models.iter().enumerate() {
            condition.push_str(" AND (attribute_not_exists(#models)");
            for (m, name) in names.iter().enumerate() {
                condition.push_str(&format!(" OR contains(#models, :model{n}_{m})"));
                update = update.expression_attribute_values(format!(":model{n}_{m}"), text(name));
            }
            condition.push(')');
        }
        match rhythm.reset {
            Some(reset) => {
                condition.push_str(" AND #reset = :reset");
                update = update.expression_attribute_values(":reset", text(reset.name()));
            }
            None => condition.push_str(" AND attribute_not_exists(#reset)"),
        }
        update
            .expression_attribute_names("#reset", RESET)
            .update_expression(format!(
                "SET {COUNT}, #holds.#id = :hold, #left = #left - :amount, #avail = #avail - :amount"
            ))
            .condition_expression(condition)
            .expression_attribute_names("#holds", HOLDS)
            .expression_attribute_names("#id", hold.id.as_str())
            .expression_attribute_names("#models", MODELS)
            .expression_attribute_names("#period", PERIOD)
            .expression_attribute_names("#left", LIMIT_LEFT)
            .expression_attribute_names("#avail", AVAILABLE)
            .expression_attribute_names("#sealed", SEALED)
            .expression_attribute_values(":begun", number(hold.id.at().0))
            .expression_attribute_values(":hold", hold_value(hold))
            .expression_attribute_values(":amount", nanos(hold.amount))
            .expression_attribute_values(":period", text(rhythm.period(wanted.at)))
    }

    /// Begins the spend limit's period that holds `at`, unless somebody else has.
    pub(crate) async fn period_begin(&self, record: &KeyRecord, at: UnixMs) -> Result<(), StoreError> {
        let seen = &record.allowance;
        let update = self.lane_update(&record.account, record.place());
        let update = update
            .update_expression("SET #period = :period, #base = :spent, #left = #left + :period_spent")
            .condition_expression("#period = :seen AND #spent = :spent AND #base = :base")
            .expression_attribute_names("#period", PERIOD)
            .expression_attribute_names("#base", PERIOD_BASE)
            .expression_attribute_names("#spent", SPENT)
            .expression_attribute_names("#left", LIMIT_LEFT)
            .expression_attribute_values(":period", text(seen.period_at(at)))
            .expression_attribute_values(":seen", text(&seen.period))
            .expression_attribute_values(":spent", nanos(seen.spent))
            .expression_attribute_values(":base", nanos(seen.period_base))
            .expression_attribute_values(":period_spent", nanos(seen.spent - seen.period_base));
        self.returned(update).await.map(|_| ())
    }

    async fn windows_sweep(&self, account: &AccountId, lane: Lane, stale: &[u64]) -> Result<(), StoreError> {
        let mut update = self.lane_update(account, lane).expression_attribute_names("#windows", WINDOWS);
        let mut paths = Vec::new();
        for (n, window) in stale.iter().enumerate() {
            paths.push(format!("#windows.#w{n}"));
            update = update.expression_attribute_names(format!("#w{n}"), window.to_string());
        }
        let update = update.update_expression(format!("REMOVE {}", paths.join(", ")));
        self.returned(update.condition_expression("attribute_exists(#windows)")).await.map(|_| ())
    }

    pub(crate) fn lane_update(&self, account: &AccountId, lane: Lane) -> UpdateItemFluentBuilder {
        let update = self.client.update_item().table_name(&self.tables.accounts);
        update.key(ACCOUNT, text(account.as_str())).key(ITEM, text(lane.item()))
    }

    /// Sends a conditional update of a key's item: the item after it, or the item that refused it.
    pub(crate) async fn returned(&self, update: UpdateItemFluentBuilder) -> Result<Written, StoreError> {
        let update = update
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let record = |item: &Attributes| KeyRecord::of(item).map(Box::new);
        for attempt in 0..TRIES {
            let error = match update.clone().send().await {
                Ok(done) => {
                    let item =
                        done.attributes.ok_or_else(|| StoreError::new("update_item", "the new item is missing"))?;
                    return record(&item).map(Written::Yes);
                }
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    return refused.item().map(record).transpose().map(Written::No);
                }
                // A transaction is on the item at this moment. The SDK does not try that again by itself.
                Some(UpdateItemError::TransactionConflictException(_)) => backoff(attempt).await,
                _ => return Err(StoreError::of("update_item", error)),
            }
        }
        Err(StoreError::new("update_item", "transactions were on the item at every try"))
    }
}

/// How a conditional update of a key's item ended.
pub(crate) enum Written {
    /// Done: the item now.
    Yes(Box<KeyRecord>),
    /// Refused by this item, or because there is none.
    No(Option<Box<KeyRecord>>),
}

fn placed(wanted: &HoldRequest<'_>, hold: &Hold, record: &KeyRecord) -> PlacedHold {
    PlacedHold {
        account: wanted.account.clone(),
        lane: record.place(),
        hold: hold.clone(),
        stale_windows: record.allowance.stale_windows(wanted.at),
        rate: record.allowance.rate_standing(wanted.at),
    }
}

/// The lane that a request begins with, the same whenever it is delivered.
fn home_lane(id: &RequestId) -> u32 {
    id.as_str().bytes().fold(0, |sum, byte| sum * 31 % 65_521 + u32::from(byte))
}

/// Why the item did not take the hold.
fn refusal(wanted: &HoldRequest<'_>, allowance: &Allowance, rhythm: Rhythm) -> Option<Refusal> {
    let mut models = wanted.models.iter();
    models.find_map(|model| allowance.hold_refusal(wanted.amount, model, rhythm.interval_seconds, wanted.at))
}
