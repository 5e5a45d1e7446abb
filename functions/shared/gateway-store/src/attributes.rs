//! The attributes' names, all of them, and items as typed reads.
//!
//! Names are short where they repeat in an item that every request writes: a key's item with 15 holds stays under a
//! kilobyte, which is one write unit.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use gateway_core::{moment::UnixMs, money::Nanos, token::TokenHash};

pub(crate) const ACCOUNT: &str = "account";
pub(crate) const ITEM: &str = "item";
pub(crate) const TTL: &str = "ttl";

/// The account's own item and its attributes.
pub(crate) const ACCOUNT_ITEM: &str = "account";
pub(crate) const BALANCE: &str = "balance";
pub(crate) const PAID_IN: &str = "paid_in";
pub(crate) const LAST_KEY: &str = "last_key";
pub(crate) const NAME: &str = "name";
pub(crate) const CREATED: &str = "created";
pub(crate) const LOW_THRESHOLD: &str = "low";
pub(crate) const LOW_EMAIL: &str = "low_email";
pub(crate) const LOW_TOLD: &str = "low_told";
pub(crate) const LOW_TOLD_AT: &str = "low_told_at";

/// A key's item and its attributes.
pub(crate) const TYPE: &str = "type";
pub(crate) const PREFIX: &str = "prefix";
pub(crate) const ACTIVE: &str = "active";
pub(crate) const DELETED: &str = "deleted";
pub(crate) const EXPIRES: &str = "expires";
pub(crate) const LAST_USED: &str = "last_used";
pub(crate) const MODELS: &str = "models";
pub(crate) const TOKEN: &str = "token";
pub(crate) const OLD_TOKENS: &str = "old_tokens";
pub(crate) const SPEND_LIMIT: &str = "limit";
pub(crate) const RESET: &str = "reset";
pub(crate) const PERIOD: &str = "period";
pub(crate) const PERIOD_BASE: &str = "base";
pub(crate) const SPENT: &str = "spent";
pub(crate) const LIMIT_LEFT: &str = "left";
pub(crate) const AVAILABLE: &str = "avail";
pub(crate) const OWING: &str = "owing";
pub(crate) const REFILL: &str = "refill";
pub(crate) const HOLDS: &str = "holds";
pub(crate) const RATE_REQUESTS: &str = "rate_n";
pub(crate) const RATE_SECONDS: &str = "rate_s";
pub(crate) const RATE_ALL: &str = "rate_all";
pub(crate) const LANES: &str = "lanes";
pub(crate) const WINDOWS: &str = "windows";
pub(crate) const SEALED: &str = "sealed";

/// A token's item and its attributes.
pub(crate) const HASH: &str = "hash";
pub(crate) const KEY: &str = "key";
pub(crate) const GRACE_UNTIL: &str = "grace_until";

/// A ledger entry's attributes.
pub(crate) const ENTRY: &str = "entry";
pub(crate) const KIND: &str = "kind";
pub(crate) const AMOUNT: &str = "amount";
pub(crate) const MODEL: &str = "model";
pub(crate) const PROVIDER: &str = "provider";
pub(crate) const USAGE: &str = "usage";
pub(crate) const ESTIMATED: &str = "estimated";
pub(crate) const UNPAID: &str = "unpaid";
pub(crate) const DURATION: &str = "ms";
pub(crate) const HOLD: &str = "hold";
pub(crate) const DESCRIPTION: &str = "description";

/// A usage total's attributes, beside `ENTRY`, up to which it counts, and `SPENT`.
pub(crate) const TOTAL: &str = "total";
pub(crate) const REQUESTS: &str = "requests";
pub(crate) const INPUT: &str = "input";
pub(crate) const CACHED: &str = "cached";
pub(crate) const OUTPUT: &str = "output";

/// An idempotency item, before its key's hash, and its attributes. (See `account_standing` for where it may sort.)
pub(crate) const POST_ITEMS: &str = "post#";
pub(crate) const BODY: &str = "body";
pub(crate) const SALT: &str = "salt";

/// What is known of people, beside `ITEM`, `ACCOUNT`, `CREATED`, `EXPIRES`, `KIND` and `TTL`.
pub(crate) const EMAIL: &str = "email";
pub(crate) const ROLE: &str = "role";
pub(crate) const PASSWORD: &str = "password";
pub(crate) const SUBJECT: &str = "subject";
pub(crate) const VERIFIED: &str = "verified";
pub(crate) const EPOCH: &str = "epoch";
pub(crate) const SEEN: &str = "seen";
pub(crate) const TRIES: &str = "tries";
/// A payment's attributes: its account, amounts, and the disputes that took it or gave it again.
pub(crate) const PAYER: &str = "payer";
pub(crate) const PAID: &str = "paid";
pub(crate) const REFUNDED: &str = "refunded";
pub(crate) const WITHDRAWN: &str = "withdrawn";
pub(crate) const REINSTATED: &str = "reinstated";

/// The operator's settings.
pub(crate) const SETTINGS: &str = "settings";

pub(crate) type Attributes = HashMap<String, AttributeValue>;

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn nanos(amount: Nanos) -> AttributeValue {
    number(amount.0)
}

pub(crate) fn flag(value: bool) -> AttributeValue {
    AttributeValue::Bool(value)
}

pub(crate) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub(crate) fn hash(value: &TokenHash) -> AttributeValue {
    bytes(value.0)
}

/// An item read from a table. A missing attribute reads as nothing.
pub(crate) struct Item<'a>(pub(crate) &'a Attributes);

impl<'a> Item<'a> {
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name)?.as_s().ok().map(String::as_str)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        as_number(self.0.get(name)?)
    }

    pub(crate) fn nanos(&self, name: &str) -> Nanos {
        Nanos(self.number(name).unwrap_or(0))
    }

    pub(crate) fn moment(&self, name: &str) -> Option<UnixMs> {
        self.number(name).map(UnixMs)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(|value| value.as_bool().ok()).copied().unwrap_or(false)
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.0.get(name)?.as_b().ok().map(Blob::as_ref)
    }

    pub(crate) fn texts(&self, name: &str) -> Option<&'a [String]> {
        self.0.get(name)?.as_ss().ok().map(Vec::as_slice)
    }

    pub(crate) fn map(&self, name: &str) -> impl Iterator<Item = (&'a String, &'a AttributeValue)> + use<'a> {
        self.0.get(name).and_then(|value| value.as_m().ok()).into_iter().flatten()
    }
}

pub(crate) fn as_number<T: std::str::FromStr>(value: &AttributeValue) -> Option<T> {
    value.as_n().ok()?.parse().ok()
}

pub(crate) fn as_hash(value: &[u8]) -> Option<TokenHash> {
    value.try_into().ok().map(TokenHash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_record::KEY_ITEMS;

    #[test]
    fn reading_an_account_s_funds_reads_nothing_else_of_it() {
        let between = |item: &str| (ACCOUNT_ITEM..=format!("{KEY_ITEMS}~").as_str()).contains(&item);
        assert!(between(ACCOUNT_ITEM) && between(&format!("{KEY_ITEMS}0000000001#15")));
        assert!(!between(&format!("{POST_ITEMS}{}", "0".repeat(64))));
    }
}
