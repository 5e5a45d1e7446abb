//! Lanes: a very busy key's allowance in several items, because one item takes a thousand writes a second and no more.
//!
//! A lane is a whole allowance: funds, holds, a share of the rate window. Requests are spread over the lanes, and one that
//! finds its lane full tries the others. A spend limit is one number, so a key that gets one, or needs fewer lanes, is first
//! folded into its first lane: the others take nothing new, their holds move over, then they are deleted. A hold that has
//! moved is ended where it is now.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use gateway_core::{
    ids::{AccountId, KeyId},
    ledger::{Allowance, Hold},
    moment::UnixMs,
    money::Nanos,
};

use crate::{
    KeyRecord, Store, StoreError,
    attributes::{ACCOUNT, AVAILABLE, HOLDS, ITEM, LIMIT_LEFT, PERIOD, PERIOD_BASE, SPENT, nanos, text},
    backoff::backoff,
    key_record::{Lane, hold_value, holds_value},
    transaction::built,
};

/// Holds moved in one transaction.
const HOLDS_A_STEP: usize = 40;
/// How often a fold waits for a request that is held in two lanes.
const MOST_WAITS: u32 = 8;
/// More steps than any fold takes: 16 lanes with some thousands of holds each.
const FOLD_STEPS: usize = 5_000;

impl Store {
    /// Every lane of the key, its first one first; none if there is no such key. Deleted keys' too.
    pub(crate) async fn key_lanes(&self, account: &AccountId, key: KeyId) -> Result<Vec<KeyRecord>, StoreError> {
        let first = Lane::first(key).item();
        let query = self.client.query().table_name(&self.tables.accounts).consistent_read(true);
        let query = query.key_condition_expression("#a = :a AND #i BETWEEN :first AND :last");
        let query = query.expression_attribute_names("#a", ACCOUNT).expression_attribute_names("#i", ITEM);
        let query = query.expression_attribute_values(":a", text(account.as_str()));
        let query = query.expression_attribute_values(":last", text(format!("{first}#~")));
        let mut items = query.expression_attribute_values(":first", text(first)).into_paginator().items().send();
        let mut lanes = Vec::new();
        while let Some(item) = items.next().await {
            lanes.push(KeyRecord::of(&item.map_err(|error| StoreError::of("key_lanes", error))?)?);
        }
        Ok(lanes)
    }

    /// The lane as it is now.
    pub(crate) async fn lane(&self, account: &AccountId, lane: Lane) -> Result<Option<KeyRecord>, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.accounts).consistent_read(true);
        let found = found.key(ACCOUNT, text(account.as_str())).key(ITEM, text(lane.item())).send().await;
        found.map_err(|error| StoreError::of("lane", error))?.item.as_ref().map(KeyRecord::of).transpose()
    }

    /// Makes the lanes of `key` that it does not have yet, as part of a change that has just found it with one.
    pub(crate) fn lanes_open(&self, key: &KeyRecord) -> Result<Vec<TransactWriteItem>, StoreError> {
        let lane = |number| {
            let put = Put::builder()
                .table_name(&self.tables.accounts)
                .set_item(Some(key.new_lane(number).attributes()))
                .condition_expression("attribute_not_exists(#i)")
                .expression_attribute_names("#i", ITEM)
                .build();
            Ok(TransactWriteItem::builder().put(built("lanes_open", put)?).build())
        };
        (1..key.allowance.lanes).map(lane).collect()
    }

    /// Folds every other lane into the first. Requests go on meanwhile, on the first one.
    pub(crate) async fn lanes_fold(&self, account: &AccountId, key: KeyId, at: UnixMs) -> Result<(), StoreError> {
        let mut waits = 0;
        for _ in 0..FOLD_STEPS {
            let lanes = self.key_lanes(account, key).await?;
            let Some((first, [.., last])) = lanes.split_first() else { return Ok(()) };
            if first.allowance.lanes > 1 {
                self.lanes_close(&lanes).await?;
            } else if let Some(behind) = [first, last].into_iter().find(|lane| lane.allowance.period_over(at)) {
                self.period_begin(behind, at).await?;
            } else if held_in_both(first, last) {
                waits += 1;
                if waits > MOST_WAITS {
                    return Err(StoreError::new("lanes_fold", "a request delivered twice is held in two lanes"));
                }
                backoff(waits).await;
            } else {
                self.fold_step(first, last).await?;
            }
        }
        Err(StoreError::new("lanes_fold", "the key's lanes changed under every try"))
    }

    /// Gives the first lane the whole rate limit and the others none of it.
    async fn lanes_close(&self, lanes: &[KeyRecord]) -> Result<(), StoreError> {
        let closed = lanes.iter().map(|lane| {
            let rate_share = if lane.lane == 0 { lane.allowance.rate_limit.requests } else { 0 };
            let allowance = Allowance { lanes: 1, rate_share, ..lane.allowance.clone() };
            self.key_rewrite(lane, &KeyRecord { allowance, ..lane.clone() })
        });
        let items = closed.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        self.transact("lanes_close", items).await.map(|_| ())
    }

    /// Moves some of a closed lane's holds to the first lane, or, when they are few, all that it has.
    async fn fold_step(&self, first: &KeyRecord, lane: &KeyRecord) -> Result<(), StoreError> {
        let all = &lane.allowance.holds;
        let movable = all.values().filter(|hold| !first.allowance.holds.contains_key(&hold.id));
        let moved: Vec<&Hold> = movable.take(HOLDS_A_STEP).collect();
        let leaves = if moved.len() == all.len() { self.lane_delete(lane)? } else { self.lane_lose(lane, &moved)? };
        let arrives = self.lane_gain(first, lane, &moved, moved.len() == all.len())?;
        // If a request changed one of the two meanwhile, the next step sees it.
        self.transact("fold_step", vec![leaves, arrives]).await.map(|_| ())
    }

    fn lane_gain(
        &self,
        first: &KeyRecord,
        lane: &KeyRecord,
        moved: &[&Hold],
        whole: bool,
    ) -> Result<TransactWriteItem, StoreError> {
        let part = &lane.allowance;
        let (mut sets, mut update) = (Vec::new(), self.lane_part(first));
        let mut conditions = vec!["#period = :period".to_owned()];
        for (n, hold) in moved.iter().enumerate() {
            sets.push(format!("#holds.#h{n} = :h{n}"));
            conditions.push(format!("attribute_not_exists(#holds.#h{n})"));
            update = update
                .expression_attribute_names(format!("#h{n}"), hold.id.as_str())
                .expression_attribute_values(format!(":h{n}"), hold_value(hold));
        }
        if !moved.is_empty() {
            update = update.expression_attribute_names("#holds", HOLDS);
        }
        let mut taken: Nanos = moved.iter().map(|hold| hold.amount).sum();
        if whole {
            // What the lane spent in the period counts from now on as the first one's.
            let earlier = part.period < first.allowance.period;
            let base = if earlier { part.spent } else { part.period_base };
            taken += part.spent - base;
            let moves = [(SPENT, part.spent), (PERIOD_BASE, base), (AVAILABLE, part.available)];
            for (n, (attribute, amount)) in moves.into_iter().enumerate() {
                sets.push(format!("#m{n} = #m{n} + :m{n}"));
                update = update
                    .expression_attribute_names(format!("#m{n}"), attribute)
                    .expression_attribute_values(format!(":m{n}"), nanos(amount));
            }
        }
        let update = update
            .update_expression(format!("SET #left = #left - :taken, {}", sets.join(", ")))
            .condition_expression(conditions.join(" AND "))
            .expression_attribute_names("#left", LIMIT_LEFT)
            .expression_attribute_names("#period", PERIOD)
            .expression_attribute_values(":taken", nanos(taken))
            .expression_attribute_values(":period", text(&first.allowance.period));
        Ok(TransactWriteItem::builder().update(built("lane_gain", update.build())?).build())
    }

    fn lane_lose(&self, lane: &KeyRecord, moved: &[&Hold]) -> Result<TransactWriteItem, StoreError> {
        let (mut removes, mut conditions, mut update) = (Vec::new(), Vec::new(), self.lane_part(lane));
        for (n, hold) in moved.iter().enumerate() {
            removes.push(format!("#holds.#h{n}"));
            conditions.push(format!("#holds.#h{n} = :h{n}"));
            update = update
                .expression_attribute_names(format!("#h{n}"), hold.id.as_str())
                .expression_attribute_values(format!(":h{n}"), hold_value(hold));
        }
        let lost: Nanos = moved.iter().map(|hold| hold.amount).sum();
        let update = update
            .update_expression(format!("SET #left = #left + :lost REMOVE {}", removes.join(", ")))
            .condition_expression(conditions.join(" AND "))
            .expression_attribute_names("#holds", HOLDS)
            .expression_attribute_names("#left", LIMIT_LEFT)
            .expression_attribute_values(":lost", nanos(lost));
        Ok(TransactWriteItem::builder().update(built("lane_lose", update.build())?).build())
    }

    fn lane_delete(&self, lane: &KeyRecord) -> Result<TransactWriteItem, StoreError> {
        let part = &lane.allowance;
        let delete = Delete::builder()
            .table_name(&self.tables.accounts)
            .key(ACCOUNT, text(lane.account.as_str()))
            .key(ITEM, text(lane.place().item()))
            .condition_expression(
                "#holds = :holds AND #spent = :spent AND #avail = :avail AND #period = :period AND #base = :base",
            )
            .expression_attribute_names("#holds", HOLDS)
            .expression_attribute_names("#spent", SPENT)
            .expression_attribute_names("#avail", AVAILABLE)
            .expression_attribute_names("#period", PERIOD)
            .expression_attribute_names("#base", PERIOD_BASE)
            .expression_attribute_values(":holds", holds_value(&part.holds))
            .expression_attribute_values(":spent", nanos(part.spent))
            .expression_attribute_values(":avail", nanos(part.available))
            .expression_attribute_values(":period", text(&part.period))
            .expression_attribute_values(":base", nanos(part.period_base));
        Ok(TransactWriteItem::builder().delete(built("lane_delete", delete.build())?).build())
    }

    fn lane_part(&self, lane: &KeyRecord) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
        let update = Update::builder().table_name(&self.tables.accounts);
        update.key(ACCOUNT, text(lane.account.as_str())).key(ITEM, text(lane.place().item()))
    }
}

/// Whether all that the lane still holds are requests that the first one holds too: the platform delivered them twice. An
/// item holds a request once, so such a lane stays until one of the two has ended.
fn held_in_both(first: &KeyRecord, lane: &KeyRecord) -> bool {
    let (there, here) = (&first.allowance.holds, &lane.allowance.holds);
    !here.is_empty() && here.keys().all(|id| there.contains_key(id))
}

/// The lane with its key's rules as they are to be.
pub(crate) fn follows(lane: &KeyRecord, key: &Allowance) -> KeyRecord {
    let allowance = Allowance {
        active: key.active,
        deleted: key.deleted,
        expires_at: key.expires_at,
        models: key.models.clone(),
        rate_limit: key.rate_limit,
        ..lane.allowance.clone()
    };
    KeyRecord { allowance, ..lane.clone() }.spread()
}
