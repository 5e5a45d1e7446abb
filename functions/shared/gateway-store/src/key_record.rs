//! A key's item and the record that it is read into: what people set, what the rules need, its tokens' hashes, its holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{Allowance, Hold, NO_PERIOD, UNLIMITED},
    limits::{Interval, RateLimit},
    moment::{Reset, UnixMs},
    money::Nanos,
    token::{KeyType, Token, TokenHash},
};

use crate::{
    NewKey, StoreError,
    attributes::{
        ACCOUNT, ACTIVE, AVAILABLE, Attributes, CREATED, DELETED, EXPIRES, HOLDS, ITEM, Item, KEY, LAST_USED,
        LIMIT_LEFT, MODELS, NAME, OLD_TOKENS, PERIOD, PERIOD_BASE, PREFIX, RATE_REQUESTS, RATE_SECONDS, RESET,
        SPEND_LIMIT, SPENT, TOKEN, TYPE, WINDOWS, as_hash, as_number, flag, hash, nanos, number, text,
    },
};

/// What every key's item is called, before its number.
pub(crate) const KEY_ITEMS: &str = "key#";
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
    pub(crate) token: TokenHash,
    /// Tokens that were rotated out, and when their grace is over.
    pub(crate) old_tokens: BTreeMap<[u8; 32], UnixMs>,
}

impl KeyRecord {
    /// A key that is fresh: nothing used, nothing held.
    pub(crate) fn fresh(account: &AccountId, id: KeyId, new: &NewKey, token: &Token, at: UnixMs) -> Self {
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

    /// The attributes of a fresh key's item.
    pub(crate) fn attributes(&self) -> Attributes {
        let fixed = [
            (ACCOUNT, text(self.account.as_str())),
            (ITEM, text(key_item(self.id))),
            (KEY, number(self.id.0)),
            (TYPE, text(self.key_type.name())),
            (CREATED, number(self.created_at.0)),
            (WINDOWS, AttributeValue::M(HashMap::new())),
            (HOLDS, AttributeValue::M(HashMap::new())),
            (SPENT, nanos(self.allowance.spent)),
            (AVAILABLE, nanos(self.allowance.available)),
        ];
        let changeable = self.changeable().into_iter().filter_map(|(name, value)| Some((name, value?)));
        fixed.into_iter().chain(changeable).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The attributes that a change can write; none: the item lacks it.
    pub(crate) fn changeable(&self) -> [(&'static str, Option<AttributeValue>); 15] {
        let allowance = &self.allowance;
        [
            (NAME, Some(text(&self.name))),
            (PREFIX, Some(text(&self.prefix))),
            (TOKEN, Some(hash(&self.token))),
            (OLD_TOKENS, old_tokens_value(&self.old_tokens)),
            (ACTIVE, Some(flag(allowance.active))),
            (DELETED, allowance.deleted.then(|| flag(true))),
            (EXPIRES, allowance.expires_at.map(|at| number(at.0))),
            (RATE_REQUESTS, Some(number(allowance.rate_limit.requests))),
            (RATE_SECONDS, Some(number(allowance.rate_limit.interval.seconds))),
            (MODELS, allowance.models.as_ref().map(models_value)),
            (SPEND_LIMIT, allowance.spend_limit.map(nanos)),
            (RESET, allowance.reset.map(|reset| text(reset.name()))),
            (PERIOD, Some(text(&allowance.period))),
            (PERIOD_BASE, Some(nanos(allowance.period_base))),
            (LIMIT_LEFT, Some(nanos(allowance.limit_left))),
        ]
    }

    /// Every token that opens the key.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = TokenHash> + '_ {
        self.old_tokens.keys().map(|&old| TokenHash(old)).chain([self.token])
    }

    /// The same without the tokens whose grace is over. The table drops them by itself, whenever it likes.
    pub(crate) fn at(mut self, at: UnixMs) -> Self {
        self.old_tokens.retain(|_, until| *until > at);
        self
    }
}

/// A set can't be empty: a list that allows nothing allows the model that has no name.
fn models_value(models: &BTreeSet<String>) -> AttributeValue {
    AttributeValue::Ss(if models.is_empty() { vec![String::new()] } else { models.iter().cloned().collect() })
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

/// `[amount, expiry and nonce]`. The expiry is in microseconds, whose last six digits are the nonce: a number of 16 digits
/// takes 9 bytes, an attribute of its own would take more.
pub(crate) fn hold_value(hold: &Hold) -> AttributeValue {
    let stamp = hold.expires.seconds() * 1_000_000 + u64::from(hold.nonce);
    AttributeValue::L(vec![nanos(hold.amount), number(stamp)])
}

/// The hold that [`hold_value`] wrote.
fn hold_of(id: &str, value: &AttributeValue) -> Option<Hold> {
    let parts = value.as_l().ok()?;
    let stamp: u64 = as_number(parts.get(1)?)?;
    Some(Hold {
        id: RequestId::parse(id)?,
        amount: Nanos(as_number(parts.first()?)?),
        expires: UnixMs(stamp / 1_000_000 * 1000),
        nonce: u32::try_from(stamp % 1_000_000).unwrap_or(0),
    })
}
