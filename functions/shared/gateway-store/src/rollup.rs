//! The rollup: sums of the ledger's usage, by day, key and model, so that statistics need not read every request.
//!
//! It is a cache, and the ledger is the truth. Every sum says up to which request id it counts; the account's watermark
//! says up to which id *all* of them count. What is at or below the watermark is final (see [`crate::fence`]). So, whoever
//! reads the watermark first, then the sums, then the ledger above the watermark without what the sums say they count
//! already, has every request once, whatever the rollup does meanwhile.
//!
//! Every write is of a single item, and moves that item's mark: done twice, late, or by two at a time, it changes nothing
//! the second time; and after a crash between any two of them the rollup goes on where it stopped. There is no transaction:
//! it would cost double, and DynamoDB's queries may see the half of one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use gateway_core::{
    audit::{Difference, What},
    ids::{AccountId, KeyId, RequestId},
    ledger::{EntryKind, Served},
    moment::UnixMs,
    money::Nanos,
};

use crate::{
    Store, StoreError,
    attributes::{
        ACCOUNT, Attributes, CACHED, ENTRY, INPUT, Item, KIND, OUTPUT, REQUESTS, SPENT, TOTAL, nanos, number, text,
    },
    fence::earliest,
    ledger::entry_of,
};

/// The watermark's item, which sorts after every day's.
const WATERMARK: &str = "rolled";
/// The ledger's entries that are summed up at a time.
const ENTRIES_PER_STEP: i32 = 1000;

/// What is summed together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageGroup {
    /// The UTC day that the requests began on, `2026-11-23`.
    pub day: String,
    /// The key that paid.
    pub key: KeyId,
    /// The model, by the id that prices it.
    pub model: String,
}

/// What requests used together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageSums {
    /// How many they are.
    pub requests: u64,
    /// All input tokens.
    pub input_tokens: u64,
    /// Those of them that were read from a provider's cache.
    pub cached_tokens: u64,
    /// All output tokens.
    pub output_tokens: u64,
    /// What was charged.
    pub spent: Nanos,
}

/// A group's sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Of every request of the group up to `through`, and of no other.
    pub sums: UsageSums,
    /// The id up to which the group's requests are in.
    pub through: RequestId,
}

/// What of an account's usage is summed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// The id up to which every group's requests are in its total. No usage entry at or below it will ever be added.
    pub watermark: RequestId,
    /// The totals. One may count further than the watermark.
    pub totals: BTreeMap<UsageGroup, Total>,
}

impl UsageGroup {
    /// The group of the request `id`, which was served so.
    pub fn of(id: &RequestId, served: &Served) -> Self {
        Self { day: id.at().day(), key: served.key, model: served.model.clone() }
    }

    /// Its item's sort key. A model's name may hold anything, so it is last.
    fn item(&self) -> String {
        format!("{}#{:010}#{}", self.day, self.key.0, self.model)
    }

    fn parse(item: &str) -> Option<Self> {
        let mut parts = item.splitn(3, '#');
        let (day, key, model) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { day: day.to_owned(), key: KeyId::parse(key)?, model: model.to_owned() })
    }
}

impl UsageSums {
    /// What one request used, and what it was charged.
    pub fn of(served: &Served, charged: Nanos) -> Self {
        let usage = &served.metered.usage;
        Self {
            requests: 1,
            input_tokens: usage.all_input(),
            cached_tokens: usage.cache_read,
            output_tokens: usage.all_output(),
            spent: charged,
        }
    }
}

impl std::ops::AddAssign for UsageSums {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.spent += other.spent;
    }
}

impl Rollup {
    /// Nothing summed up.
    pub fn none() -> Self {
        Self { watermark: earliest(), totals: BTreeMap::new() }
    }

    /// Whether the request is in a total.
    pub fn counts(&self, id: &RequestId, served: &Served) -> bool {
        self.totals.get(&UsageGroup::of(id, served)).is_some_and(|total| *id <= total.through)
    }
}

/// Some of a group's requests, oldest first.
type Requests = Vec<(RequestId, UsageSums)>;

/// What is to be summed up next.
struct Step {
    groups: BTreeMap<UsageGroup, Requests>,
    /// All entries up to this one are in `groups`.
    through: RequestId,
    last: bool,
}

impl Store {
    /// What of the account's usage is summed up, from `first_day` to `last_day` (`2026-11-23`; none: without end).
    /// Requests above the watermark are in the ledger; those of them that [`Rollup::counts`] are in a total already.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn rollup_totals(
        &self,
        account: &AccountId,
        first_day: Option<&str>,
        last_day: Option<&str>,
    ) -> Result<Rollup, StoreError> {
        const OPERATION: &str = "rollup_totals";
        // First: what it promises is in the totals that are read after it.
        let watermark = self.rollup_watermark(account).await?;
        let last = last_day.map_or_else(|| "9~".to_owned(), |day| format!("{day}~"));
        let query = self.client.query().table_name(&self.tables.usage).consistent_read(true);
        let query = query.key_condition_expression("#a = :a AND #t BETWEEN :first AND :last");
        let query = query.expression_attribute_names("#a", ACCOUNT).expression_attribute_names("#t", TOTAL);
        let query = query.expression_attribute_values(":a", text(account.as_str()));
        let query = query.expression_attribute_values(":first", text(first_day.unwrap_or("0")));
        let mut pages = query.expression_attribute_values(":last", text(last)).into_paginator().items().send();
        let mut totals = BTreeMap::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| StoreError::of(OPERATION, error))?;
            let (group, total) =
                total_of(&item).ok_or_else(|| StoreError::new(OPERATION, "a total is not readable"))?;
            totals.insert(group, total);
        }
        Ok(Rollup { watermark, totals })
    }

    /// Sums up what of the account's usage is final and not summed up yet. May be called by several at a time, and as
    /// often as one likes.
    ///
    /// # Errors
    /// The database did not answer. What is summed up stays so.
    pub async fn rollup_advance(&self, account: &AccountId, now: UnixMs) -> Result<(), StoreError> {
        let fence = self.usage_fence(account, now).await?;
        let mut from = self.rollup_watermark(account).await?;
        while from < fence {
            let Some(step) = self.rollup_step(account, &from, &fence).await? else { break };
            for (group, requests) in &step.groups {
                self.total_add(account, group, requests, &from, &step.through).await?;
            }
            // Last: from here on readers leave these entries to the totals.
            self.watermark_raise(account, &step.through).await?;
            if step.last {
                break;
            }
            from = step.through;
        }
        Ok(())
    }

    /// Sums up again, from the ledger, all that the account's totals count, and says where they differ. `each` is called
    /// for every entry that is read.
    ///
    /// # Errors
    /// The database did not answer, or an entry is not readable.
    pub async fn rollup_audit(
        &self,
        account: &AccountId,
        mut each: impl FnMut(),
    ) -> Result<Vec<Difference>, StoreError> {
        // First: what it counts was in the ledger before.
        let Rollup { watermark, totals } = self.rollup_totals(account, None, None).await?;
        let last = totals.values().map(|total| &total.through).fold(&watermark, Ord::max);
        let end = RequestId::last_at(last.at());
        let mut sums: BTreeMap<UsageGroup, UsageSums> = BTreeMap::new();
        let mut from = earliest();
        while let Some(step) = self.rollup_step(account, &from, &end).await? {
            for (group, requests) in step.groups {
                let counts = totals.get(&group).map_or(&watermark, |total| (&total.through).max(&watermark));
                for (id, used) in requests {
                    each();
                    if id <= *counts {
                        *sums.entry(group.clone()).or_default() += used;
                    }
                }
            }
            if step.last {
                break;
            }
            from = step.through;
        }
        let groups: BTreeSet<_> = sums.keys().chain(totals.keys()).cloned().collect();
        let differing = groups.into_iter().filter_map(|group| {
            let expected = sums.get(&group).copied().unwrap_or_default();
            let found = totals.get(&group).map(|total| total.sums).unwrap_or_default();
            let UsageGroup { day, key, model } = group;
            let difference =
                Difference { what: What::Total { day, key, model }, expected: expected.spent, found: found.spent };
            (expected != found).then_some(difference)
        });
        Ok(differing.collect())
    }

    async fn rollup_watermark(&self, account: &AccountId) -> Result<RequestId, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.usage).consistent_read(true);
        let found = found.key(ACCOUNT, text(account.as_str())).key(TOTAL, text(WATERMARK)).send().await;
        let found = found.map_err(|error| StoreError::of("rollup_watermark", error))?;
        let Some(item) = found.item else { return Ok(earliest()) };
        mark_of(&item).ok_or_else(|| StoreError::new("rollup_watermark", "the watermark is not readable"))
    }

    /// The usage after `from` and before `fence`, or the first of it. None if there is none.
    async fn rollup_step(
        &self,
        account: &AccountId,
        from: &RequestId,
        fence: &RequestId,
    ) -> Result<Option<Step>, StoreError> {
        const OPERATION: &str = "rollup_step";
        let after = HashMap::from([(ACCOUNT.into(), text(account.as_str())), (ENTRY.into(), text(from.as_str()))]);
        let query = self.client.query().table_name(&self.tables.ledger).consistent_read(true).limit(ENTRIES_PER_STEP);
        let query = query
            .key_condition_expression("#a = :a AND #e < :fence")
            .filter_expression("#kind = :usage")
            .set_exclusive_start_key(Some(after))
            .expression_attribute_names("#a", ACCOUNT)
            .expression_attribute_names("#e", ENTRY)
            .expression_attribute_names("#kind", KIND)
            .expression_attribute_values(":a", text(account.as_str()))
            .expression_attribute_values(":fence", text(fence.as_str()))
            .expression_attribute_values(":usage", text(EntryKind::Usage.name()));
        let page = query.send().await.map_err(|error| StoreError::of(OPERATION, error))?;
        let unreadable = || StoreError::new(OPERATION, "an entry is not readable");
        let last = page.last_evaluated_key.is_none();
        let mut through =
            page.last_evaluated_key.as_ref().map(|key| mark_of(key).ok_or_else(unreadable)).transpose()?;
        let mut groups: BTreeMap<_, Requests> = BTreeMap::new();
        for item in page.items.unwrap_or_default() {
            let entry = entry_of(&item).ok_or_else(unreadable)?;
            if through.as_ref().is_none_or(|through| *through < entry.id) {
                through = Some(entry.id.clone());
            }
            if let Some(served) = &entry.served {
                let sums = UsageSums::of(served, -entry.amount);
                groups.entry(UsageGroup::of(&entry.id, served)).or_default().push((entry.id, sums));
            }
        }
        Ok(through.map(|through| Step { groups, through, last }))
    }

    /// Adds to a group's total those of `requests`, all that the group has after `from` and up to `through`, that it does
    /// not count yet.
    async fn total_add(
        &self,
        account: &AccountId,
        group: &UsageGroup,
        requests: &Requests,
        from: &RequestId,
        through: &RequestId,
    ) -> Result<(), StoreError> {
        // The total counts all that the group has up to here.
        let mut counted = from.clone();
        while counted < *through {
            let mut more = UsageSums::default();
            requests.iter().filter(|(id, _)| *id > counted).for_each(|(_, sums)| more += *sums);
            let update = self.client.update_item().table_name(&self.tables.usage);
            let update = update.key(ACCOUNT, text(account.as_str())).key(TOTAL, text(group.item()));
            let update = update
                .update_expression(
                    "SET #e = :through ADD #requests :requests, #input :input, #cached :cached, #output :output, \
                     #spent :spent",
                )
                .condition_expression("attribute_not_exists(#e) OR #e <= :counted")
                .expression_attribute_names("#e", ENTRY)
                .expression_attribute_values(":through", text(through.as_str()))
                .expression_attribute_values(":counted", text(counted.as_str()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            let update = sums_values(&more).into_iter().fold(update, |update, (attribute, value)| {
                update
                    .expression_attribute_names(format!("#{attribute}"), attribute)
                    .expression_attribute_values(format!(":{attribute}"), value)
            });
            let Err(error) = update.send().await else { return Ok(()) };
            match error.as_service_error() {
                // It counts further, because of another rollup or of a try of this one that only seemed to fail.
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    counted = refused
                        .item()
                        .and_then(mark_of)
                        .ok_or_else(|| StoreError::new("total_add", "a total is not readable"))?;
                }
                _ => return Err(StoreError::of("total_add", error)),
            }
        }
        Ok(())
    }

    /// Sets the watermark to `through`, unless it is there already or further.
    async fn watermark_raise(&self, account: &AccountId, through: &RequestId) -> Result<(), StoreError> {
        let update = self.client.update_item().table_name(&self.tables.usage);
        let update = update.key(ACCOUNT, text(account.as_str())).key(TOTAL, text(WATERMARK));
        let update = update
            .update_expression("SET #e = :through")
            .condition_expression("attribute_not_exists(#e) OR #e < :through")
            .expression_attribute_names("#e", ENTRY)
            .expression_attribute_values(":through", text(through.as_str()));
        match update.send().await {
            Err(error) if !error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                Err(StoreError::of("watermark_raise", error))
            }
            _ => Ok(()),
        }
    }
}

fn sums_values(sums: &UsageSums) -> [(&'static str, AttributeValue); 5] {
    let UsageSums { requests, input_tokens, cached_tokens, output_tokens, spent } = *sums;
    [
        (REQUESTS, number(requests)),
        (INPUT, number(input_tokens)),
        (CACHED, number(cached_tokens)),
        (OUTPUT, number(output_tokens)),
        (SPENT, nanos(spent)),
    ]
}

fn total_of(attributes: &Attributes) -> Option<(UsageGroup, Total)> {
    let item = Item(attributes);
    let sums = UsageSums {
        requests: item.number(REQUESTS)?,
        input_tokens: item.number(INPUT)?,
        cached_tokens: item.number(CACHED)?,
        output_tokens: item.number(OUTPUT)?,
        spent: Nanos(item.number(SPENT)?),
    };
    Some((UsageGroup::parse(item.text(TOTAL)?)?, Total { sums, through: mark_of(attributes)? }))
}

fn mark_of(attributes: &Attributes) -> Option<RequestId> {
    RequestId::parse(Item(attributes).text(ENTRY)?)
}

#[cfg(test)]
mod tests {
    use gateway_core::usage::{Metered, Usage};

    use super::*;

    fn served(key: u32, model: &str) -> Served {
        let usage =
            Usage { input: 5, cache_read: 3, cache_write_5m: 2, output: 4, output_audio: 1, ..Usage::default() };
        let metered = Metered { usage, estimated: false };
        let provider = "lab".to_owned();
        Served { key: KeyId(key), model: model.to_owned(), provider, metered, unpaid: Nanos::ZERO, duration_ms: None }
    }

    #[test]
    fn groups_are_items_that_sort_by_day_and_are_read_back_whatever_a_model_is_called() {
        let id = RequestId::new(UnixMs(1_795_426_200_000), [1; 10]);
        let groups: Vec<_> = [(2, "lab/chat"), (2, "lab#0000000001#x"), (10, "~"), (u32::MAX, "")]
            .map(|(key, model)| UsageGroup::of(&id, &served(key, model)))
            .to_vec();
        assert_eq!(groups[0].item(), "2026-11-23#0000000002#lab/chat");
        for group in &groups {
            assert_eq!(UsageGroup::parse(&group.item()).as_ref(), Some(group));
            let item = group.item();
            assert!("2026-11-23" < item.as_str() && item.as_str() < "2026-11-23~" && item.as_str() < WATERMARK);
        }
        assert_eq!(UsageGroup::parse(WATERMARK), None);
    }

    #[test]
    fn a_total_is_read_back_as_it_was_written() {
        let id = RequestId::new(UnixMs(1_795_426_200_000), [1; 10]);
        let group = UsageGroup::of(&id, &served(1, "lab/chat"));
        let mut sums = UsageSums::of(&served(1, "lab/chat"), Nanos(700));
        sums += sums;
        let expected =
            UsageSums { requests: 2, input_tokens: 20, cached_tokens: 6, output_tokens: 10, spent: Nanos(1400) };
        assert_eq!(sums, expected);
        let mut item: Attributes =
            sums_values(&sums).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        item.insert(TOTAL.to_owned(), text(group.item()));
        assert_eq!(total_of(&item), None, "it must say how far it counts");
        item.insert(ENTRY.to_owned(), text(id.as_str()));
        assert_eq!(total_of(&item), Some((group, Total { sums, through: id })));
    }

    #[test]
    fn a_rollup_counts_a_request_up_to_its_own_group_s_mark() {
        let id = |ms: u64| RequestId::new(UnixMs(1_795_426_200_000 + ms), [1; 10]);
        let (chat, other) = (served(1, "lab/chat"), served(1, "lab/small"));
        let mut rollup = Rollup::none();
        assert!(!rollup.counts(&id(0), &chat));
        rollup
            .totals
            .insert(UsageGroup::of(&id(0), &chat), Total { sums: UsageSums::of(&chat, Nanos(1)), through: id(5) });
        assert!(rollup.counts(&id(0), &chat) && rollup.counts(&id(5), &chat));
        assert!(!rollup.counts(&id(6), &chat) && !rollup.counts(&id(0), &other));
        assert!(!rollup.counts(&id(86_400_000), &chat), "another day is another group");
    }
}
