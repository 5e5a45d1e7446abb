//! How often something was tried, in fixed windows: counted before it is done, so that many at once are no more than one
//! after the other.

use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    types::ReturnValue,
};
use gateway_core::{moment::UnixMs, people::Tries};

use crate::{
    Store, StoreError,
    attributes::{ITEM, TRIES, TTL, number, text},
};

impl Store {
    /// Counts a try. None if it may go on; else the end of the window, which is full.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn try_count(&self, tries: &Tries<'_>, at: UnixMs) -> Result<Option<UnixMs>, StoreError> {
        let update = self
            .tries_update(tries, at)
            .update_expression("ADD #tries :one SET #ttl = :ttl")
            .condition_expression("attribute_not_exists(#tries) OR #tries < :most")
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":most", number(tries.most()))
            .expression_attribute_values(":ttl", number(tries.window_end(at).seconds() + 1));
        counted(update).await.map(|counted| (!counted).then(|| tries.window_end(at)))
    }

    /// Gives a try back: it was none that should be counted.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn try_return(&self, tries: &Tries<'_>, at: UnixMs) -> Result<(), StoreError> {
        let update = self
            .tries_update(tries, at)
            .update_expression("ADD #tries :less")
            .condition_expression("#tries > :none")
            .expression_attribute_values(":less", number(-1))
            .expression_attribute_values(":none", number(0));
        counted(update).await.map(drop)
    }

    fn tries_update(&self, tries: &Tries<'_>, at: UnixMs) -> UpdateItemFluentBuilder {
        let item = format!("tries#{}#{}", tries.name(), tries.window_end(at).seconds());
        let update = self.client.update_item().table_name(&self.tables.people).key(ITEM, text(item));
        update.expression_attribute_names("#tries", TRIES).return_values(ReturnValue::None)
    }
}

/// Whether the condition held.
async fn counted(update: UpdateItemFluentBuilder) -> Result<bool, StoreError> {
    match update.send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {
            Ok(false)
        }
        Err(error) => Err(StoreError::of("tries", error)),
    }
}
