//! A key's item and the record that it is read into: what people set, what the rules need, its tokens' hashes, its holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{self, Allowance, Hold, NO_PERIOD, Refill, UNLIMITED},
    limits::{Interval, RateLimit},
    moment::{Reset, UnixMs},
    money::Nanos,
    token::{KeyType, Token, TokenHash},
};

use crate::{
    NewKey, StoreError,
    attributes::{
        ACCOUNT, ACTIVE, AVAILABLE, Attributes, CREATED, DELETED, EXPIRES, HOLDS, ITEM, Item, KEY, LANES, LAST_USED,
        LIMIT_LEFT, MODELS, NAME, OLD_TOKENS, OWING, PERIOD, PERIOD_BASE, PREFIX, RATE_ALL, RATE_REQUESTS,
        RATE_SECONDS, REFILL, RESET, SEALED, SPEND_LIMIT, SPENT, TOKEN, TYPE, WINDOWS, as_hash, as_number, flag, hash,
        nanos, number, text,
    },
};

/// What every key's item is called, before its number.
pub(crate) const KEY_ITEMS: &str = "key#";

/// One of a key's items. Every key has its first lane, which is the key itself; a very busy one has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) key: KeyId,
    pub(crate) number: u32,
}

impl Lane {
    pub(crate) fn first(key: KeyId) -> Self {
        Self { key, number: 0 }
    }

    /// `key#0000000001`, and `key#0000000001#01` for its second lane.
    pub(crate) fn item(self) -> String {
        let Self { key: KeyId(key), number } = self;
        if number == 0 { format!("{KEY_ITEMS}{key:010}") } else { format!("{KEY_ITEMS}{key:010}#{number:02}") }
    }

    /// The number of the lane in this item.
    fn number_of(item: &str) -> Option<u32> {
        let rest = item.strip_prefix(KEY_ITEMS)?;
        rest.split_once('#').map_or(Some(0), |(_, number)| number.parse().ok())
    }
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
    pub(crate) lane: u32,
    /// Requests that began before can place no hold any more: 1970 before the first rollup.
    pub(crate) sealed: UnixMs,
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
            rate_share: new.rate_limit.requests,
            lanes: 1,
            windows: BTreeMap::new(),
            spend_limit: new.spend_limit,
            reset: new.reset,
            period: new.reset.map_or_else(|| NO_PERIOD.to_owned(), |reset| reset.period(at)),
            period_base: Nanos::ZERO,
            spent: Nanos::ZERO,
            limit_left: new.spend_limit.unwrap_or(UNLIMITED),
            available: Nanos::ZERO,
            owing: false,
            refill: None,
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
            lane: 0,
            sealed: UnixMs(0),
            token: token.hash(),
            old_tokens: BTreeMap::new(),
        }
        .spread()
    }

    /// The same with as many lanes as its limits want, and the first one's share of its rate limit.
    pub(crate) fn spread(mut self) -> Self {
        let allowance = &mut self.allowance;
        allowance.lanes = match self.key_type {
            KeyType::Proxy => ledger::lanes(allowance.rate_limit, allowance.spend_limit),
            KeyType::Billing => 1,
        };
        allowance.rate_share = ledger::rate_share(allowance.rate_limit.requests, self.lane, allowance.lanes);
        self
    }

    /// A new lane of this key: the same rules, nothing used, nothing held.
    pub(crate) fn new_lane(&self, lane: u32) -> Self {
        let fresh = Allowance {
            windows: BTreeMap::new(),
            holds: BTreeMap::new(),
            refill: None,
            period_base: Nanos::ZERO,
            spent: Nanos::ZERO,
            limit_left: UNLIMITED,
            available: Nanos::ZERO,
            owing: false,
            ..self.allowance.clone()
        };
        Self { lane, allowance: fresh, old_tokens: BTreeMap::new(), ..self.clone() }.spread()
    }

    /// The key in these lanes, which begin with its first: what it has spent, has and holds in all of them.
    pub(crate) fn merged(lanes: &[Self]) -> Option<Self> {
        let (first, rest) = lanes.split_first()?;
        let mut key = first.clone();
        for lane in rest {
            let (all, part) = (&mut key.allowance, &lane.allowance);
            // A lane that is in an earlier period has spent nothing in this one.
            if all.period < part.period {
                (all.period, all.period_base) = (part.period.clone(), all.spent);
            }
            all.period_base += if part.period < all.period { part.spent } else { part.period_base };
            all.spent += part.spent;
            all.available += part.available;
            all.holds.extend(part.holds.iter().map(|(id, hold)| (id.clone(), hold.clone())));
            for (window, count) in &part.windows {
                *all.windows.entry(*window).or_default() += count;
            }
            key.last_used_at = key.last_used_at.max(lane.last_used_at);
        }
        Some(key)
    }

    pub(crate) fn place(&self) -> Lane {
        Lane { key: self.id, number: self.lane }
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
                lane: Lane::number_of(item.text(ITEM)?)?,
                sealed: item.moment(SEALED).unwrap_or_default(),
                token: as_hash(item.bytes(TOKEN)?)?,
                old_tokens: old_tokens_of(attributes.get(OLD_TOKENS)),
            })
        };
        read().ok_or_else(|| {
            let (account, item) = (item.text(ACCOUNT).unwrap_or_default(), item.text(ITEM).unwrap_or_default());
            StoreError::new("key", format_args!("the item {item} of {account} is not readable"))
        })
    }

    /// The attributes of a fresh key's item.
    pub(crate) fn attributes(&self) -> Attributes {
        let fixed = [
            (ACCOUNT, text(self.account.as_str())),
            (ITEM, text(self.place().item())),
            (KEY, number(self.id.0)),
            (TYPE, text(self.key_type.name())),
            (CREATED, number(self.created_at.0)),
            (WINDOWS, AttributeValue::M(HashMap::new())),
            (HOLDS, AttributeValue::M(HashMap::new())),
            (SPENT, nanos(self.allowance.spent)),
            (AVAILABLE, nanos(self.allowance.available)),
        ];
        let sealed = (self.sealed > UnixMs(0)).then(|| (SEALED, number(self.sealed.0)));
        let changeable = self.changeable().into_iter().filter_map(|(name, value)| Some((name, value?)));
        fixed.into_iter().chain(sealed).chain(changeable).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The attributes that a change can write; none: the item lacks it.
    pub(crate) fn changeable(&self) -> [(&'static str, Option<AttributeValue>); 17] {
        let allowance = &self.allowance;
        [
            (NAME, Some(text(&self.name))),
            (PREFIX, Some(text(&self.prefix))),
            (TOKEN, Some(hash(&self.token))),
            (OLD_TOKENS, old_tokens_value(&self.old_tokens)),
            (ACTIVE, Some(flag(allowance.active))),
            (DELETED, allowance.deleted.then(|| flag(true))),
            (EXPIRES, allowance.expires_at.map(|at| number(at.0))),
            (RATE_REQUESTS, Some(number(allowance.rate_share))),
            (RATE_ALL, (allowance.lanes > 1).then(|| number(allowance.rate_limit.requests))),
            (LANES, (allowance.lanes > 1).then(|| number(allowance.lanes))),
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

    /// When the last of the tokens that were rotated out stops working; none if none works at `at`.
    pub fn grace_ends_at(&self, at: UnixMs) -> Option<UnixMs> {
        self.old_tokens.values().copied().max().filter(|until| *until > at)
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
    let rate_share = item.number(RATE_REQUESTS)?;
    Some(Allowance {
        deleted: item.flag(DELETED),
        active: item.flag(ACTIVE),
        expires_at: item.moment(EXPIRES),
        models: item.texts(MODELS).map(|models| models.iter().filter(|model| !model.is_empty()).cloned().collect()),
        rate_limit: RateLimit {
            requests: item.number(RATE_ALL).unwrap_or(rate_share),
            interval: Interval { seconds: item.number(RATE_SECONDS)? },
        },
        rate_share,
        lanes: item.number(LANES).unwrap_or(1),
        windows: windows.collect::<Option<_>>()?,
        spend_limit: item.number(SPEND_LIMIT).map(Nanos),
        reset: item.text(RESET).and_then(Reset::parse),
        period: item.text(PERIOD)?.to_owned(),
        period_base: item.nanos(PERIOD_BASE),
        spent: item.nanos(SPENT),
        limit_left: item.nanos(LIMIT_LEFT),
        available: item.nanos(AVAILABLE),
        owing: item.flag(OWING),
        refill: item.0.get(REFILL).and_then(refill_of),
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

/// Above every stamp.
const STAMPS: i128 = 100_000_000_000;

/// One number: the amount, and the stamp in its last eleven digits. Two numbers would take twice the bytes, and an item
/// over a kilobyte costs every write of every request a unit more.
pub(crate) fn hold_value(hold: &Hold) -> AttributeValue {
    number(i128::from(hold.amount.0) * STAMPS + i128::from(hold.stamp()))
}

pub(crate) fn holds_value(holds: &BTreeMap<RequestId, Hold>) -> AttributeValue {
    AttributeValue::M(holds.values().map(|hold| (hold.id.as_str().to_owned(), hold_value(hold))).collect())
}

/// The hold that [`hold_value`] wrote.
fn hold_of(id: &str, value: &AttributeValue) -> Option<Hold> {
    let packed: i128 = as_number(value)?;
    let (amount, stamp) = (i64::try_from(packed / STAMPS).ok()?, u64::try_from(packed % STAMPS).ok()?);
    Some(Hold::stamped(RequestId::parse(id)?, Nanos(amount), stamp))
}

/// `[amount, seconds since 1970]`.
pub(crate) fn refill_value(refill: Refill) -> AttributeValue {
    AttributeValue::L(vec![nanos(refill.amount), number(refill.at.seconds())])
}

fn refill_of(value: &AttributeValue) -> Option<Refill> {
    let [amount, seconds] = value.as_l().ok()?.as_slice() else { return None };
    Some(Refill { amount: Nanos(as_number(amount)?), at: UnixMs(as_number::<u64>(seconds)? * 1000) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMs = UnixMs(1_790_000_000_123);

    /// What DynamoDB counts an attribute's value as, in bytes.
    fn size(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(number) => 1 + number.trim_matches('0').len().div_ceil(2),
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            AttributeValue::M(map) => 3 + map.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>(),
            AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + size(value)).sum::<usize>(),
            _ => 1,
        }
    }

    fn hold(n: u8) -> Hold {
        let id = RequestId::new(AT, [n; 10]);
        Hold { id, amount: Nanos(123_456_789), expires: UnixMs(AT.seconds() * 1000).plus_ms(960_000), nonce: 999_999 }
    }

    #[test]
    fn a_hold_is_read_as_it_was_written() {
        let written = hold(1);
        assert_eq!(hold_of(written.id.as_str(), &hold_value(&written)), Some(written.clone()));
        let most = Hold { amount: Nanos(i64::MAX), ..written };
        assert_eq!(hold_of(most.id.as_str(), &hold_value(&most)), Some(most));
    }

    #[test]
    fn a_key_with_15_requests_in_flight_costs_one_write_unit() {
        let new = NewKey {
            name: "production, checkout team".to_owned(),
            key_type: KeyType::Proxy,
            expires_at: Some(AT),
            spend_limit: Some(Nanos::usd(2500)),
            reset: Some(Reset::Monthly),
            rate_limit: RateLimit::default(),
            models: None,
        };
        let token = Token::from_random(KeyType::Proxy, [1; 32]);
        let mut item = KeyRecord::fresh(&AccountId::from_random([1; 10]), KeyId(1), &new, &token, AT).attributes();
        let holds = (0..15).map(|n| (hold(n).id.as_str().to_owned(), hold_value(&hold(n)))).collect();
        let windows = (0..2).map(|n| ((AT.seconds() + n).to_string(), number(1000))).collect();
        let refill = refill_value(Refill { amount: Nanos(1_234_567_891), at: AT });
        let changed = [
            (HOLDS, AttributeValue::M(holds)),
            (WINDOWS, AttributeValue::M(windows)),
            (REFILL, refill),
            (LAST_USED, number(AT.0)),
            (SEALED, number(AT.0)),
            (SPENT, number(1_234_567_891_011_u64)),
            (PERIOD_BASE, number(1_034_567_891_011_u64)),
            (LIMIT_LEFT, number(2_034_567_891_011_u64)),
            (AVAILABLE, number(34_567_891_011_u64)),
        ];
        item.extend(changed.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let bytes: usize = item.iter().map(|(name, value)| name.len() + size(value)).sum();
        assert!(bytes <= 1024, "{bytes} bytes");
    }
}
