//! `Idempotency-Key`: a repeated `POST` gets the first one's answer, token included, although no token is ever stored.
//!
//! What is stored is 32 random bytes, the salt. The token is made from the salt and the caller's own token, which is not
//! stored either, so only a caller who holds it can have the answer again.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use gateway_core::{
    error::{ApiError, ErrorCode},
    ids::{AccountId, KeyId},
    moment::UnixMs,
    token::{KeyType, Token},
};
use sha2::{Digest, Sha256};

use crate::{
    Store, StoreError,
    attributes::{ACCOUNT, BODY, CREATED, ITEM, Item, KEY, POST_ITEMS, SALT, TTL, bytes, number, text},
    random,
    transaction::built,
};

/// How often a `POST` looks again when others with its key came first.
const TRIES: u32 = 4;
/// How long an idempotency key is remembered.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

/// An idempotency key as it is stored: hashed, with a hash of what it was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    item: String,
    body: [u8; 32],
}

impl IdempotencyKey {
    /// The key `given` by a client that `POST`s `body` to `path` with its token. The token belongs to what the key is
    /// used for: with another one the first answer could not be made again.
    pub fn new(given: &str, caller_token: &Token, path: &str, body: &[u8]) -> Self {
        let given = Sha256::digest(given.as_bytes());
        let body =
            Sha256::new().chain_update(caller_token.hash().0).chain_update(path).chain_update([0]).chain_update(body);
        let body = body.finalize();
        Self { item: format!("{POST_ITEMS}{}", hex(&given)), body: body.into() }
    }

    /// The key of a form that `path` takes once, whatever is in it: `once` tells it from every other that was shown. No
    /// client's own key is the same.
    pub fn of_form(once: &str, path: &str) -> Self {
        let own =
            Sha256::new().chain_update("form\0").chain_update(path).chain_update([0]).chain_update(once).finalize();
        Self { item: format!("{POST_ITEMS}{}", hex(&own)), body: own.into() }
    }
}

/// What is remembered under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    key: IdempotencyKey,
    salt: [u8; 32],
    /// When the first `POST` came.
    pub at: UnixMs,
    /// The key that the first `POST` made or rotated, if there was one.
    pub made: Option<KeyId>,
    /// The first `POST` had another path, body or caller.
    pub conflict: bool,
    /// It is stored already.
    known: bool,
}

impl Idempotency {
    /// The token of this `POST`, for a caller whose own token is `caller_token`: the same each time.
    pub fn token(&self, key_type: KeyType, caller_token: &Token) -> Token {
        let hash = Sha256::new().chain_update(self.salt).chain_update(caller_token.reveal()).finalize();
        Token::from_random(key_type, hash.into())
    }

    /// The idempotency key of what this `POST` asks of somebody else, called `whom`: the same each time.
    pub fn key_for(&self, whom: &str) -> String {
        hex(&Sha256::new().chain_update(self.salt).chain_update(whom).finalize())
    }

    /// The same, if it is of this `POST`.
    ///
    /// # Errors
    /// 409 if the key was used for another one.
    pub fn agreed(self) -> Result<Self, ApiError> {
        if self.conflict {
            let message = "This Idempotency-Key was used for another request in the last 24 hours: use a new one";
            return Err(ApiError::new(ErrorCode::IdempotencyConflict, message));
        }
        Ok(self)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Store {
    /// What is remembered under `key`, or a fresh memory to be stored with what the `POST` makes.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn idempotency(
        &self,
        account: &AccountId,
        key: IdempotencyKey,
        at: UnixMs,
    ) -> Result<Idempotency, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.accounts).consistent_read(true);
        let found = found.key(ACCOUNT, text(account.as_str())).key(ITEM, text(&key.item)).send().await;
        let found = found.map_err(|error| StoreError::of("idempotency", error))?;
        let item = found.item.unwrap_or_default();
        let item = Item(&item);
        // The table's own expiry may be days late.
        let first = item.moment(CREATED).filter(|first| at < first.plus_ms(REMEMBERED_MS));
        match (first, item.bytes(SALT).and_then(|salt| salt.try_into().ok())) {
            (Some(first), Some(salt)) => {
                let conflict = item.bytes(BODY) != Some(key.body.as_slice());
                let made = item.number(KEY).map(KeyId);
                Ok(Idempotency { key, salt, at: first, made, conflict, known: true })
            }
            _ => Ok(Idempotency { key, salt: random()?, at, made: None, conflict: false, known: false }),
        }
    }

    /// What is remembered under `key`, for a `POST` that does nothing here but asks somebody else to: it is stored before
    /// that, so all that come with the key ask by one key of their own.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn idempotency_begin(
        &self,
        account: &AccountId,
        key: IdempotencyKey,
        at: UnixMs,
    ) -> Result<Idempotency, StoreError> {
        for _ in 0..TRIES {
            let memory = self.idempotency(account, key.clone(), at).await?;
            if memory.known {
                return Ok(memory);
            }
            // Alone in its transaction, which is rare enough to cost what one costs.
            let item = self.idempotency_put(account, &memory, None)?;
            if self.transact("idempotency_begin", vec![item]).await?.is_done() {
                return Ok(memory);
            }
        }
        Err(StoreError::new("idempotency_begin", "others with this idempotency key came first every time"))
    }

    /// Remembers what a `POST` made, if nothing is remembered under its key yet.
    pub(crate) fn idempotency_put(
        &self,
        account: &AccountId,
        memory: &Idempotency,
        made: Option<KeyId>,
    ) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder()
            .table_name(&self.tables.accounts)
            .item(ACCOUNT, text(account.as_str()))
            .item(ITEM, text(&memory.key.item))
            .item(BODY, bytes(memory.key.body))
            .item(SALT, bytes(memory.salt))
            .item(CREATED, number(memory.at.0))
            .item(TTL, number(memory.at.plus_ms(REMEMBERED_MS).seconds()))
            .condition_expression("attribute_not_exists(#item) OR #ttl <= :now")
            .expression_attribute_names("#item", ITEM)
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_values(":now", number(memory.at.seconds()));
        let put = made.into_iter().fold(put, |put, key| put.item(KEY, number(key.0))).build();
        Ok(TransactWriteItem::builder().put(built("idempotency_put", put)?).build())
    }
}
