//! Keys: one item each beside their account's, and one item for each of their tokens.
//!
//! A change writes the key's item and its tokens' items together, so the authorizer, which reads only the token's, and
//! the hold, which reads only the key's, never disagree for longer than the authorizer's cache lasts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use gateway_core::{
    ids::{AccountId, KeyId},
    ledger::{Allowance, NO_PERIOD, UNLIMITED},
    limits::{Interval, RateLimit},
    moment::{Reset, UnixMs},
    money::Nanos,
    token::{KeyType, Token, TokenHash},
};

use crate::{
    Idempotency, Store, StoreError,
    accounts::{Transaction, built},
    attributes::{
        ACCOUNT, ACCOUNT_ITEM, ACTIVE, AVAILABLE, Attributes, CREATED, DELETED, EXPIRES, HOLDS, ITEM, Item, KEY,
        LAST_KEY, LAST_USED, LIMIT_LEFT, MODELS, NAME, OLD_TOKENS, PERIOD, PERIOD_BASE, PREFIX, RATE_REQUESTS,
        RATE_SECONDS, RESET, SPEND_LIMIT, SPENT, TOKEN, TYPE, WINDOWS, as_hash, as_number, flag, hash, nanos, number,
        text,
    },
    holds::hold_of,
    rewrite::Rewrite,
};

/// What every key's item is called, before its number.
pub(crate) const KEY_ITEMS: &str = "key#";
/// A key's tokens at the most, so that a change of all of them fits one transaction.
const MOST_TOKENS: usize = 20;
/// How often a change is tried while requests change the key under it.
const TRIES: usize = 32;

pub(crate) fn key_item(key: KeyId) -> String {
    format!("{KEY_ITEMS}{:010}", key.0)
}

/// A key as it is kept: what people set, what the rules need, its tokens' hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The account.
    pub account: AccountId,
    /// The key.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// What it opens.
    pub key_type: KeyType,
    /// The first characters of its token.
    pub prefix: String,
    /// When it was made.
    pub created_at: UnixMs,
    /// Its last request.
    pub last_used_at: Option<UnixMs>,
    /// What the rules need.
    pub allowance: Allowance,
    token: TokenHash,
    /// Tokens that were rotated out, and when their grace is over.
    old_tokens: BTreeMap<[u8; 32], UnixMs>,
}

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

impl KeyRecord {
    /// A key that is fresh: nothing used, nothing held.
    fn fresh(account: &AccountId, id: KeyId, new: &NewKey, token: &Token, at: UnixMs) -> Self {
        let allowance = Allowance {
            deleted: false,
            active: true,
            expires_at: new.expires_at,
            models: new.models.clone(),
            rate_limit: new.rate_limit,
            windows: BTreeMap::new(),
            spend_limit: new.spend_limit,
            reset: new.reset,
            period: new.reset.map_or_else(|| NO_PERIOD.to_owned(), |reset| reset.period(at)),
            period_base: Nanos::ZERO,
            spent: Nanos::ZERO,
            limit_left: new.spend_limit.unwrap_or(UNLIMITED),
            available: Nanos::ZERO,
            holds: BTreeMap::new(),
        };
        Self {
            account: account.clone(),
            id,
            name: new.name.clone(),
            key_type: new.key_type,
            prefix: token.prefix().to_owned(),
            created_at: at,
            last_used_at: None,
            allowance,
            token: token.hash(),
            old_tokens: BTreeMap::new(),
        }
    }

    /// The key in this item.
    pub(crate) fn of(attributes: &Attributes) -> Result<Self, StoreError> {
        let item = Item(attributes);
        let read = || {
            Some(Self {
                account: AccountId::parse(item.text(ACCOUNT)?)?,
                id: KeyId(item.number(KEY)?),
                name: item.text(NAME)?.to_owned(),
                key_type: KeyType::parse(item.text(TYPE)?)?,
                prefix: item.text(PREFIX)?.to_owned(),
                created_at: item.moment(CREATED)?,
                last_used_at: item.moment(LAST_USED),
                allowance: allowance_of(&item)?,
                token: as_hash(item.bytes(TOKEN)?)?,
                old_tokens: old_tokens_of(attributes.get(OLD_TOKENS)),
            })
        };
        read().ok_or_else(|| StoreError::new("key", "a key's item is not readable"))
    }

    fn attributes(&self) -> Attributes {
        let allowance = &self.allowance;
        let mut item = HashMap::from([
            (ACCOUNT, text(self.account.as_str())),
            (ITEM, text(key_item(self.id))),
            (KEY, number(self.id.0)),
            (NAME, text(&self.name)),
            (TYPE, text(self.key_type.name())),
            (PREFIX, text(&self.prefix)),
            (CREATED, number(self.created_at.0)),
            (TOKEN, hash(&self.token)),
            (ACTIVE, flag(allowance.active)),
            (RATE_REQUESTS, number(allowance.rate_limit.requests)),
            (RATE_SECONDS, number(allowance.rate_limit.interval.seconds)),
            (WINDOWS, AttributeValue::M(HashMap::new())),
            (PERIOD, text(&allowance.period)),
            (PERIOD_BASE, nanos(allowance.period_base)),
            (SPENT, nanos(allowance.spent)),
            (LIMIT_LEFT, nanos(allowance.limit_left)),
            (AVAILABLE, nanos(allowance.available)),
            (HOLDS, AttributeValue::M(HashMap::new())),
        ]);
        let optional = settable(allowance);
        item.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        item.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What is stored of its token.
    pub(crate) fn token(&self) -> &TokenHash {
        &self.token
    }

    /// Every token that opens the key.
    fn tokens(&self) -> impl Iterator<Item = TokenHash> + '_ {
        self.old_tokens.keys().map(|&old| TokenHash(old)).chain([self.token])
    }

    /// The same without the tokens whose grace is over. The table drops them by itself, whenever it likes.
    fn at(mut self, at: UnixMs) -> Self {
        self.old_tokens.retain(|_, until| *until > at);
        self
    }
}

/// The attributes that a key may lack.
fn settable(allowance: &Allowance) -> [(&'static str, Option<AttributeValue>); 4] {
    [
        (EXPIRES, allowance.expires_at.map(|at| number(at.0))),
        (SPEND_LIMIT, allowance.spend_limit.map(nanos)),
        (RESET, allowance.reset.map(|reset| text(reset.name()))),
        // A set can't be empty: a list that allows nothing allows the model that has no name.
        (
            MODELS,
            allowance.models.as_ref().map(|models| match models.len() {
                0 => AttributeValue::Ss(vec![String::new()]),
                _ => AttributeValue::Ss(models.iter().cloned().collect()),
            }),
        ),
    ]
}

fn allowance_of(item: &Item<'_>) -> Option<Allowance> {
    let holds = item.map(HOLDS).map(|(id, value)| hold_of(id, value).map(|hold| (hold.id.clone(), hold)));
    let windows = item.map(WINDOWS).map(|(start, count)| Some((start.parse().ok()?, as_number(count)?)));
    Some(Allowance {
        deleted: item.flag(DELETED),
        active: item.flag(ACTIVE),
        expires_at: item.moment(EXPIRES),
        models: item.texts(MODELS).map(|models| models.iter().filter(|model| !model.is_empty()).cloned().collect()),
        rate_limit: RateLimit {
            requests: item.number(RATE_REQUESTS)?,
            interval: Interval { seconds: item.number(RATE_SECONDS)? },
        },
        windows: windows.collect::<Option<_>>()?,
        spend_limit: item.number(SPEND_LIMIT).map(Nanos),
        reset: item.text(RESET).and_then(Reset::parse),
        period: item.text(PERIOD)?.to_owned(),
        period_base: item.nanos(PERIOD_BASE),
        spent: item.nanos(SPENT),
        limit_left: item.nanos(LIMIT_LEFT),
        available: item.nanos(AVAILABLE),
        holds: holds.collect::<Option<_>>()?,
    })
}

/// A set of blobs, each a token's hash and the eight bytes of its grace's end.
fn old_tokens_of(value: Option<&AttributeValue>) -> BTreeMap<[u8; 32], UnixMs> {
    let blobs: &[Blob] = value.and_then(|value| value.as_bs().ok()).map_or(&[], Vec::as_slice);
    let token = |blob: &Blob| {
        let (hash, until) = blob.as_ref().split_first_chunk()?;
        Some((*hash, UnixMs(u64::from_be_bytes(until.try_into().ok()?))))
    };
    blobs.iter().filter_map(token).collect()
}

fn old_tokens_value(old_tokens: &BTreeMap<[u8; 32], UnixMs>) -> Option<AttributeValue> {
    let blob = |(hash, until): (&[u8; 32], &UnixMs)| Blob::new([hash.as_slice(), &until.0.to_be_bytes()].concat());
    let blobs: Vec<_> = old_tokens.iter().map(blob).collect();
    (!blobs.is_empty()).then_some(AttributeValue::Bs(blobs))
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
            let Some(last) = self.last_key(account).await? else { return Ok(None) };
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
            items.extend(idempotency.map(|it| self.idempotency_put(account, it, record.id)).transpose()?);
            match self.transact(OPERATION, items).await? {
                Transaction::Done => return Ok(Some(record)),
                Transaction::ConditionFailed(0) => {}
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
        let found = self.client.get_item().table_name(&self.tables.accounts).consistent_read(true);
        let found = found.key(ACCOUNT, text(account.as_str())).key(ITEM, text(key_item(key))).send().await;
        let found = found.map_err(|error| StoreError::of("key", error))?;
        let record = found.item.as_ref().map(KeyRecord::of).transpose()?;
        Ok(record.filter(|record| !record.allowance.deleted))
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
            let Some(before) = self.key(account, key).await? else { return Ok(UpdateOutcome::NotFound) };
            let before = before.at(at);
            let after = changed(&before, change, at);
            let mut items = vec![self.key_rewrite(&before, &after)?];
            if change.active.is_some() || change.expires_at.is_some() {
                for token in before.tokens() {
                    items.push(self.token_rewrite(&token, &after.allowance)?);
                }
            }
            if self.transact("key_update", items).await?.is_done() {
                return Ok(UpdateOutcome::Updated(Box::new(after)));
            }
        }
        Err(StoreError::new("key_update", "the key's item changed under every try"))
    }

    /// Gives the key a new token. The old one works until `grace_until`, or no longer if that is now.
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
            let Some(before) = self.key(account, key).await? else { return Ok(UpdateOutcome::NotFound) };
            let before = before.at(at);
            if before.old_tokens.len() + 1 >= MOST_TOKENS {
                return Ok(UpdateOutcome::TooManyTokens);
            }
            let mut after = before.clone();
            after.token = token.hash();
            after.prefix = token.prefix().to_owned();
            let old = if grace_until > at {
                after.old_tokens.insert(before.token.0, grace_until);
                self.token_retire(&before.token, grace_until)?
            } else {
                self.token_delete(&before.token)?
            };
            let mut items = vec![self.key_rewrite(&before, &after)?, self.token_put(&after)?, old];
            let remembered = items.len();
            items.extend(idempotency.map(|it| self.idempotency_put(account, it, key)).transpose()?);
            match self.transact("key_rotate", items).await? {
                Transaction::Done => return Ok(UpdateOutcome::Updated(Box::new(after))),
                Transaction::ConditionFailed(index) if index == remembered => return Ok(UpdateOutcome::Repeated),
                Transaction::ConditionFailed(_) => {}
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
            let Some(before) = self.key(account, key).await? else { return Ok(false) };
            let mut after = before.clone();
            after.allowance.deleted = true;
            after.allowance.active = false;
            let mut items = vec![self.key_rewrite(&before, &after)?];
            for token in before.tokens() {
                items.push(self.token_delete(&token)?);
            }
            if self.transact("key_delete", items).await?.is_done() {
                return Ok(true);
            }
        }
        Err(StoreError::new("key_delete", "the key's item changed under every try"))
    }

    async fn last_key(&self, account: &AccountId) -> Result<Option<u32>, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.accounts).consistent_read(true);
        let found = found.key(ACCOUNT, text(account.as_str())).key(ITEM, text(ACCOUNT_ITEM)).send().await;
        let found = found.map_err(|error| StoreError::of("last_key", error))?;
        Ok(found.item.as_ref().and_then(|item| Item(item).number(LAST_KEY)))
    }

    /// Writes what differs between `before` and `after`, if nothing that it was worked out from has changed.
    fn key_rewrite(&self, before: &KeyRecord, after: &KeyRecord) -> Result<TransactWriteItem, StoreError> {
        let mut rewrite = Rewrite::new();
        let (old, new) = (&before.allowance, &after.allowance);
        rewrite.set(NAME, text(&after.name));
        rewrite.set(PREFIX, text(&after.prefix));
        rewrite.set(TOKEN, hash(&after.token));
        rewrite.expect(TOKEN, hash(&before.token));
        rewrite.set(ACTIVE, flag(new.active));
        rewrite.set(RATE_REQUESTS, number(new.rate_limit.requests));
        rewrite.set(RATE_SECONDS, number(new.rate_limit.interval.seconds));
        if new.deleted {
            rewrite.set(DELETED, flag(true));
        }
        for (name, value) in settable(new) {
            rewrite.set_or_remove(name, value);
        }
        rewrite.set_or_remove(OLD_TOKENS, old_tokens_value(&after.old_tokens));
        let limits_change =
            (old.limit_left, old.period_base, &old.period) != (new.limit_left, new.period_base, &new.period);
        if limits_change {
            rewrite.set(LIMIT_LEFT, nanos(new.limit_left));
            rewrite.set(PERIOD, text(&new.period));
            rewrite.set(PERIOD_BASE, nanos(new.period_base));
            rewrite.expect(LIMIT_LEFT, nanos(old.limit_left));
            rewrite.expect(SPENT, nanos(old.spent));
        }
        let update = rewrite.update(Update::builder().table_name(&self.tables.accounts), TOKEN);
        let update = update.key(ACCOUNT, text(after.account.as_str())).key(ITEM, text(key_item(after.id))).build();
        Ok(TransactWriteItem::builder().update(built("key_rewrite", update)?).build())
    }
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
        new.limit_left = new.limit_left + (old.spent - old.period_base);
        new.period_base = old.spent;
    }
    after
}
