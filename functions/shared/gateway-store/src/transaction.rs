//! All of some writes or none of them, tried again while others are on the same items.

use aws_sdk_dynamodb::{operation::transact_write_items::TransactWriteItemsError, types::TransactWriteItem};
use aws_smithy_types::error::operation::BuildError;

use crate::{Store, StoreError, backoff::backoff, random};

const TRANSACTION_TRIES: u32 = 10;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// All was written.
    Done,
    /// Nothing was: the condition of the item with this index did not hold.
    ConditionFailed(usize),
    /// Nothing was: another write was on one of the items, or its table was too busy.
    Conflict,
}

impl Transaction {
    pub(crate) fn is_done(self) -> bool {
        self == Self::Done
    }
}

/// A request part that has all it needs.
pub(crate) fn built<T>(operation: &'static str, part: Result<T, BuildError>) -> Result<T, StoreError> {
    part.map_err(|error| StoreError::of(operation, error))
}

impl Store {
    /// Writes all of `items` or none, and tries again while others are on them. Every try carries one token, so the database
    /// answers one that comes after a reply was lost as it did the first, and does not write again.
    pub(crate) async fn transact(
        &self,
        operation: &'static str,
        items: Vec<TransactWriteItem>,
    ) -> Result<Transaction, StoreError> {
        let token = format!("{:032x}", u128::from_be_bytes(random()?));
        for attempt in 0..TRANSACTION_TRIES {
            match self.transact_as(operation, items.clone(), Some(token.clone())).await? {
                Transaction::Conflict => backoff(attempt).await,
                ended => return Ok(ended),
            }
        }
        Err(StoreError::new(operation, "the transaction was cancelled by others every time"))
    }

    /// Writes all of `items` or none.
    pub(crate) async fn transact_once(
        &self,
        operation: &'static str,
        items: Vec<TransactWriteItem>,
    ) -> Result<Transaction, StoreError> {
        self.transact_as(operation, items, None).await
    }

    /// `token` tells tries of one transaction from another transaction; without it the SDK makes one for this call.
    async fn transact_as(
        &self,
        operation: &'static str,
        items: Vec<TransactWriteItem>,
        token: Option<String>,
    ) -> Result<Transaction, StoreError> {
        let request =
            self.client.transact_write_items().set_transact_items(Some(items)).set_client_request_token(token);
        let Err(error) = request.send().await else { return Ok(Transaction::Done) };
        let reasons = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => canceled.cancellation_reasons(),
            // An earlier try of this one is not over yet.
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => return Ok(Transaction::Conflict),
            _ => return Err(StoreError::of(operation, error)),
        };
        let failed = reasons.iter().position(|reason| reason.code() == Some("ConditionalCheckFailed"));
        Ok(failed.map_or(Transaction::Conflict, Transaction::ConditionFailed))
    }
}
