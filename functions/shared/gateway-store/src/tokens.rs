//! What a token's hash stands for: the authorizer's one read, and the parts that tokens have in a change of their key.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use gateway_core::{
    ids::{AccountId, KeyId},
    ledger::Allowance,
    moment::UnixMs,
    token::{KeyType, TokenHash},
};

use crate::{
    KeyRecord, Store, StoreError,
    attributes::{ACCOUNT, ACTIVE, EXPIRES, GRACE_UNTIL, HASH, Item, KEY, TTL, TYPE, flag, hash, number, text},
    rewrite::Rewrite,
    transaction::built,
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

    pub(crate) fn token_put(&self, record: &KeyRecord) -> Result<TransactWriteItem, StoreError> {
        let allowance = &record.allowance;
        let put = Put::builder()
            .table_name(&self.tables.tokens)
            .item(HASH, hash(&record.token))
            .item(ACCOUNT, text(record.account.as_str()))
            .item(KEY, number(record.id.0))
            .item(TYPE, text(record.key_type.name()))
            .item(ACTIVE, flag(allowance.active))
            .condition_expression("attribute_not_exists(#hash)")
            .expression_attribute_names("#hash", HASH);
        let put = allowance.expires_at.into_iter().fold(put, |put, at| put.item(EXPIRES, number(at.0)));
        Ok(TransactWriteItem::builder().put(built("token_put", put.build())?).build())
    }

    /// Writes what of a token's item differs between its key `before` and `after`; none if nothing does.
    pub(crate) fn token_rewrite(
        &self,
        token: &TokenHash,
        before: &Allowance,
        after: &Allowance,
    ) -> Result<Option<TransactWriteItem>, StoreError> {
        let mut rewrite = Rewrite::default();
        if before.active != after.active {
            rewrite.set(ACTIVE, flag(after.active));
        }
        if before.expires_at != after.expires_at {
            rewrite.set_or_remove(EXPIRES, after.expires_at.map(|at| number(at.0)));
        }
        if rewrite.is_empty() { Ok(None) } else { self.token_update(token, rewrite).map(Some) }
    }

    pub(crate) fn token_retire(&self, token: &TokenHash, grace_until: UnixMs) -> Result<TransactWriteItem, StoreError> {
        let mut rewrite = Rewrite::default();
        rewrite.set(GRACE_UNTIL, number(grace_until.0));
        rewrite.set(TTL, number(grace_until.seconds() + 1));
        self.token_update(token, rewrite)
    }

    fn token_update(&self, token: &TokenHash, mut rewrite: Rewrite) -> Result<TransactWriteItem, StoreError> {
        // The token is still there: an update would make one out of nothing.
        rewrite.expect(HASH, hash(token));
        let update = rewrite.update(Update::builder().table_name(&self.tables.tokens)).key(HASH, hash(token)).build();
        Ok(TransactWriteItem::builder().update(built("token_update", update)?).build())
    }

    pub(crate) fn token_delete(&self, token: &TokenHash) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder().table_name(&self.tables.tokens).key(HASH, hash(token)).build();
        Ok(TransactWriteItem::builder().delete(built("token_delete", delete)?).build())
    }
}
