//! What a token's hash stands for. The authorizer's one read.

use gateway_core::{
    ids::{AccountId, KeyId},
    moment::UnixMs,
    token::{KeyType, TokenHash},
};

use crate::{
    Store, StoreError,
    attributes::{ACCOUNT, ACTIVE, EXPIRES, GRACE_UNTIL, HASH, Item, KEY, TYPE, hash},
};

/// A key, found by the hash of its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLookup {
    /// The account.
    pub account: AccountId,
    /// The key.
    pub key: KeyId,
    /// What it opens.
    pub key_type: KeyType,
    /// Switched on.
    pub active: bool,
    /// Refused from then on: the key's own expiry or, for a token that was rotated out, the end of its grace.
    pub expires_at: Option<UnixMs>,
}

impl Store {
    /// The key whose token has this hash, if there is one. Eventually consistent: half a read unit.
    ///
    /// # Errors
    /// The database did not answer, or the item is not one of ours.
    pub async fn key_lookup(&self, token: &TokenHash) -> Result<Option<KeyLookup>, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.tokens).key(HASH, hash(token)).send().await;
        let found = found.map_err(|error| StoreError::of("key_lookup", error))?;
        let Some(attributes) = found.item else { return Ok(None) };
        let item = Item(&attributes);
        let lookup = (|| {
            Some(KeyLookup {
                account: AccountId::parse(item.text(ACCOUNT)?)?,
                key: KeyId(item.number(KEY)?),
                key_type: KeyType::parse(item.text(TYPE)?)?,
                active: item.flag(ACTIVE),
                expires_at: [item.moment(EXPIRES), item.moment(GRACE_UNTIL)].into_iter().flatten().min(),
            })
        })();
        lookup.map(Some).ok_or_else(|| StoreError::new("key_lookup", "the token's item is not readable"))
    }
}
