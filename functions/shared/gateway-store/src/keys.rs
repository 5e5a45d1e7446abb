//! Keys: one item each beside their account's, and one item for each of their tokens.
//!
//! A change writes the key's item and its tokens' items together, so the authorizer, which reads only the token's, and
//! the hold, which reads only the key's, never disagree for longer than the authorizer's cache lasts.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use gateway_core::{
    ids::{AccountId, KeyId},
    ledger::{Allowance, UNLIMITED},
    limits::RateLimit,
    moment::{Reset, UnixMs},
    money::Nanos,
    token::{KeyType, Token},
};

use crate::{
    Idempotency, KeyRecord, Store, StoreError,
    attributes::{
        ACCOUNT, ACCOUNT_ITEM, DELETED, ITEM, LAST_KEY, LIMIT_LEFT, PERIOD, PERIOD_BASE, SEALED, SPEND_LIMIT, SPENT,
        TOKEN, hash, nanos, number, text,
    },
    key_record::Lane,
    lanes::follows,
    rewrite::Rewrite,
    transaction::{Transaction, built},
};

/// A key's tokens at the most, so that a change of all of them fits one transaction.
const MOST_TOKENS: usize = 20;
/// How often a change is tried while requests change the key under it.
const TRIES: usize = 32;

/// A key to make.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it opens.
    pub key_type: KeyType,
    /// Refused from then on.
    pub expires_at: Option<UnixMs>,
    /// The most it may spend in a period.
    pub spend_limit: Option<Nanos>,
    /// When its spend limit starts afresh.
    pub reset: Option<Reset>,
    /// Its rate limit.
    pub rate_limit: RateLimit,
    /// The only models it may call.
    pub models: Option<BTreeSet<String>>,
}

/// What to change of a key; what is none stays as it is. The inner none of an option takes the attribute away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// What people call it.
    pub name: Option<String>,
    /// Switched on or off.
    pub active: Option<bool>,
    /// Refused from then on.
    pub expires_at: Option<Option<UnixMs>>,
    /// The most it may spend in a period.
    pub spend_limit: Option<Option<Nanos>>,
    /// When its spend limit starts afresh.
    pub reset: Option<Option<Reset>>,
    /// Its rate limit.
    pub rate_limit: Option<RateLimit>,
    /// The only models it may call.
    pub models: Option<Option<BTreeSet<String>>>,
}

/// How a change of a key ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// The key as it is now.
    Updated(Box<KeyRecord>),
    /// There is no such key.
    NotFound,
    /// The key has as many tokens in their grace period as it may have.
    TooManyTokens,
    /// The idempotency key was used meanwhile.
    Repeated,
}

impl Store {
    /// Makes a key with this token. None if the account does not exist, or if the idempotency key was used meanwhile.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn key_create(
        &self,
        account: &AccountId,
        new: &NewKey,
        token: &Token,
        at: UnixMs,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<KeyRecord>, StoreError> {
        const OPERATION: &str = "key_create";
        for _ in 0..TRIES {
            let Some(last) = self.account(account).await?.map(|account| account.last_key) else { return Ok(None) };
            let record = KeyRecord::fresh(account, KeyId(last + 1), new, token, at);
            let counter = Update::builder()
                .table_name(&self.tables.accounts)
                .key(ACCOUNT, text(account.as_str()))
                .key(ITEM, text(ACCOUNT_ITEM))
                .update_expression("SET #last = :next")
                .condition_expression("#last = :last")
                .expression_attribute_names("#last", LAST_KEY)
                .expression_attribute_values(":last", number(last))
                .expression_attribute_values(":next", number(last + 1))
                .build();
            let key = Put::builder().table_name(&self.tables.accounts).set_item(Some(record.attributes())).build();
            let mut items = vec![
                TransactWriteItem::builder().update(built(OPERATION, counter)?).build(),
                TransactWriteItem::builder().put(built(OPERATION, key)?).build(),
                self.token_put(&record)?,
            ];
            items.extend(self.lanes_open(&record)?);
            items.extend(idempotency.map(|it| self.idempotency_put(account, it, Some(record.id))).transpose()?);
            match self.transact(OPERATION, items).await? {
                Transaction::Done => return Ok(Some(record)),
                Transaction::ConditionFailed(0) | Transaction::Conflict => {}
                Transaction::ConditionFailed(_) => return Ok(None),
            }
        }
        Err(StoreError::new(OPERATION, "other keys were made under every try"))
    }

    /// The key, if there is one and it was not deleted.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn key(&self, account: &AccountId, key: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let key = KeyRecord::merged(&self.key_lanes(account, key).await?);
        Ok(key.filter(|record| !record.allowance.deleted))
    }

    /// Changes the key and its tokens together.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn key_update(
        &self,
        account: &AccountId,
        key: KeyId,
        change: &KeyChange,
        at: UnixMs,
    ) -> Result<UpdateOutcome, StoreError> {
        for _ in 0..TRIES {
            let lanes = self.key_lanes(account, key).await?;
            let Some((first, others)) = lanes.split_first().filter(|(first, _)| !first.allowance.deleted) else {
                return Ok(UpdateOutcome::NotFound);
            };
            let before = first.clone().at(at);
            let after = changed(&before, change, at).spread();
            let (old, new) = (&before.allowance, &after.allowance);
            let reshaped = old.lanes != new.lanes || old.spend_limit != new.spend_limit || old.reset != new.reset;
            if reshaped && !others.is_empty() {
                self.lanes_fold(account, key, at).await?;
                continue;
            }
            let mut items: Vec<_> = self.key_rewrite(&before, &after)?.into_iter().collect();
            let mut shown = vec![after.clone()];
            for lane in others {
                let follower = follows(lane, new);
                items.extend(self.key_rewrite(lane, &follower)?);
                shown.push(follower);
            }
            if items.is_empty() {
                return Ok(updated(&shown));
            }
            if others.is_empty() {
                items.extend(self.lanes_open(&after)?);
            }
            for token in before.tokens() {
                items.extend(self.token_rewrite(&token, old, new)?);
            }
            if self.transact("key_update", items).await?.is_done() {
                if !new.active {
                    self.funds_returned(account, key).await;
                }
                return Ok(updated(&shown));
            }
        }
        Err(StoreError::new("key_update", "the key's item changed under every try"))
    }

    /// Gives the key a new token. Those it had work until `grace_until` at the latest, or no longer if that is now: who ends
    /// the grace of a token that leaked ends it, however often the key was rotated since.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn key_rotate(
        &self,
        account: &AccountId,
        key: KeyId,
        token: &Token,
        grace_until: UnixMs,
        at: UnixMs,
        idempotency: Option<&Idempotency>,
    ) -> Result<UpdateOutcome, StoreError> {
        for _ in 0..TRIES {
            let Some(before) = self.key_itself(account, key).await? else { return Ok(UpdateOutcome::NotFound) };
            let before = before.at(at);
            if grace_until > at && before.old_tokens.len() + 1 >= MOST_TOKENS {
                return Ok(UpdateOutcome::TooManyTokens);
            }
            let mut after = before.clone();
            after.token = token.hash();
            after.prefix = token.prefix().to_owned();
            let mut items = vec![self.token_put(&after)?];
            for old in before.tokens() {
                if grace_until <= at {
                    after.old_tokens.remove(&old.0);
                    items.push(self.token_delete(&old)?);
                } else if before.old_tokens.get(&old.0).is_none_or(|until| *until > grace_until) {
                    after.old_tokens.insert(old.0, grace_until);
                    items.push(self.token_retire(&old, grace_until)?);
                }
            }
            items.extend(self.key_rewrite(&before, &after)?);
            let remembered = items.len();
            items.extend(idempotency.map(|it| self.idempotency_put(account, it, Some(key))).transpose()?);
            match self.transact("key_rotate", items).await? {
                Transaction::Done => return Ok(UpdateOutcome::Updated(Box::new(after))),
                Transaction::ConditionFailed(index) if index == remembered => return Ok(UpdateOutcome::Repeated),
                Transaction::ConditionFailed(_) | Transaction::Conflict => {}
            }
        }
        Err(StoreError::new("key_rotate", "the key's item changed under every try"))
    }

    /// Deletes the key for good: its tokens at once, its item when nothing runs on it any more. False if there is none.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn key_delete(&self, account: &AccountId, key: KeyId) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let lanes = self.key_lanes(account, key).await?;
            let Some(first) = lanes.first().filter(|first| !first.allowance.deleted) else { return Ok(false) };
            let mut items = Vec::new();
            for lane in &lanes {
                let allowance = Allowance { deleted: true, active: false, ..lane.allowance.clone() };
                items.extend(self.key_rewrite(lane, &KeyRecord { allowance, ..lane.clone() })?);
            }
            for token in first.tokens() {
                items.push(self.token_delete(&token)?);
            }
            if self.transact("key_delete", items).await?.is_done() {
                self.funds_returned(account, key).await;
                return Ok(true);
            }
        }
        Err(StoreError::new("key_delete", "the key's item changed under every try"))
    }

    /// The key's own item, its first lane.
    async fn key_itself(&self, account: &AccountId, key: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.lane(account, Lane::first(key)).await?.filter(|record| !record.allowance.deleted))
    }

    /// The change is made whether or not the funds come back now: what stays is called back when it is needed.
    async fn funds_returned(&self, account: &AccountId, key: KeyId) {
        if let Err(error) = self.allowance_return(account, key).await {
            tracing::warn!(%error, "a key's funds stay in its allowance for now");
        }
    }

    /// Writes what differs between `before` and `after`, and nothing else: a change of another attribute at the same time
    /// stays, and requests that run meanwhile keep moving the limit's remainder, which is changed by a difference. Fails if
    /// the key was rotated or deleted meanwhile, or if its limit or period has changed. None if nothing differs.
    pub(crate) fn key_rewrite(
        &self,
        before: &KeyRecord,
        after: &KeyRecord,
    ) -> Result<Option<TransactWriteItem>, StoreError> {
        let mut rewrite = Rewrite::default();
        for ((name, old), (_, new)) in before.changeable().into_iter().zip(after.changeable()) {
            if old != new && name == LIMIT_LEFT {
                rewrite.add(name, nanos(after.allowance.limit_left - before.allowance.limit_left));
            } else if old != new {
                rewrite.set_or_remove(name, new);
            }
        }
        if rewrite.is_empty() {
            return Ok(None);
        }
        rewrite.expect(TOKEN, hash(&before.token));
        rewrite.expect_none(DELETED);
        let (old, new) = (&before.allowance, &after.allowance);
        if old.lanes < new.lanes {
            // The new lanes begin with the seal that was read.
            rewrite.expect_or_none(SEALED, (before.sealed > UnixMs(0)).then(|| number(before.sealed.0)));
        }
        if old.spend_limit != new.spend_limit {
            rewrite.expect_or_none(SPEND_LIMIT, old.spend_limit.map(nanos));
        }
        if old.reset != new.reset {
            rewrite.expect(SPENT, nanos(old.spent));
            rewrite.expect(PERIOD_BASE, nanos(old.period_base));
            rewrite.expect(PERIOD, text(&old.period));
        }
        let update = rewrite.update(Update::builder().table_name(&self.tables.accounts));
        let update = update.key(ACCOUNT, text(after.account.as_str())).key(ITEM, text(after.place().item())).build();
        Ok(Some(TransactWriteItem::builder().update(built("key_rewrite", update)?).build()))
    }
}

fn updated(lanes: &[KeyRecord]) -> UpdateOutcome {
    KeyRecord::merged(lanes).map_or(UpdateOutcome::NotFound, |key| UpdateOutcome::Updated(Box::new(key)))
}

/// `before` with the change made. A limit's remainder moves with the limit; a new reset starts counting afresh.
fn changed(before: &KeyRecord, change: &KeyChange, at: UnixMs) -> KeyRecord {
    let mut after = before.clone();
    let new = &mut after.allowance;
    let old = &before.allowance;
    if let Some(name) = &change.name {
        after.name.clone_from(name);
    }
    new.active = change.active.unwrap_or(new.active);
    new.expires_at = change.expires_at.unwrap_or(new.expires_at);
    new.rate_limit = change.rate_limit.unwrap_or(new.rate_limit);
    if let Some(models) = &change.models {
        new.models.clone_from(models);
    }
    if let Some(limit) = change.spend_limit {
        new.limit_left = new.limit_left - old.spend_limit.unwrap_or(UNLIMITED) + limit.unwrap_or(UNLIMITED);
        new.spend_limit = limit;
    }
    if let Some(reset) = change.reset.filter(|reset| *reset != old.reset) {
        new.reset = reset;
        new.period = new.period_at(at);
        new.limit_left += old.spent - old.period_base;
        new.period_base = old.spent;
    }
    after
}
