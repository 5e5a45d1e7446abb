//! What an account wants to be told of a low balance, and whether it was: attributes of the account's own item.
//!
//! Being told is written down before anybody is written to, by one conditional write: of all that find the balance low at
//! once, one writes. It is taken back when the balance is found not low, so each fall is told once.

use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder};
use gateway_core::{
    ids::AccountId,
    low_balance::{LowBalance, NOTICE_PAUSE_MS},
    moment::UnixMs,
    people::Email,
};

use crate::{
    Store, StoreError,
    attributes::{
        ACCOUNT, ACCOUNT_ITEM, BALANCE, ITEM, Item, LOW_EMAIL, LOW_THRESHOLD, LOW_TOLD, LOW_TOLD_AT, flag, nanos,
        number, text,
    },
};

/// What an account's item says of low balances.
pub(crate) fn low_balance_of(item: &Item<'_>) -> Option<LowBalance> {
    item.moment(LOW_THRESHOLD)?;
    Some(LowBalance { threshold: item.nanos(LOW_THRESHOLD), email: item.text(LOW_EMAIL).and_then(Email::parse) })
}

impl Store {
    /// From now on the account is told of this, or of nothing. It may be told of the present fall again. False if there is
    /// no such account.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn low_balance_set(&self, account: &AccountId, low: Option<&LowBalance>) -> Result<bool, StoreError> {
        let update = self.client.update_item().table_name(&self.tables.accounts);
        let update = account_item(update, account).condition_expression("attribute_exists(#balance)");
        let update = update.expression_attribute_names("#balance", BALANCE);
        let update = [("#threshold", LOW_THRESHOLD), ("#email", LOW_EMAIL), ("#told", LOW_TOLD)]
            .into_iter()
            .fold(update, |update, (name, attribute)| update.expression_attribute_names(name, attribute));
        let update = match low {
            Some(LowBalance { threshold, email: Some(email) }) => update
                .update_expression("SET #threshold = :threshold, #email = :email REMOVE #told")
                .expression_attribute_values(":threshold", nanos(*threshold))
                .expression_attribute_values(":email", text(email.as_str())),
            Some(LowBalance { threshold, email: None }) => update
                .update_expression("SET #threshold = :threshold REMOVE #email, #told")
                .expression_attribute_values(":threshold", nanos(*threshold)),
            None => update.update_expression("REMOVE #threshold, #email, #told"),
        };
        held("low_balance_set", update).await
    }

    /// Writes down that the account is told at `at` that its balance is below this threshold. False if it was told of this
    /// fall, or of another one a moment ago, or wants to be told something else by now: then nobody is written to.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn low_balance_tell(
        &self,
        account: &AccountId,
        low: &LowBalance,
        at: UnixMs,
    ) -> Result<bool, StoreError> {
        let update = self.client.update_item().table_name(&self.tables.accounts);
        let update = account_item(update, account)
            .update_expression("SET #told = :true, #at = :at")
            .condition_expression(
                "#threshold = :threshold AND attribute_not_exists(#told) AND (attribute_not_exists(#at) OR #at <= :before)",
            )
            .expression_attribute_names("#threshold", LOW_THRESHOLD)
            .expression_attribute_names("#told", LOW_TOLD)
            .expression_attribute_names("#at", LOW_TOLD_AT)
            .expression_attribute_values(":true", flag(true))
            .expression_attribute_values(":threshold", nanos(low.threshold))
            .expression_attribute_values(":at", number(at.0))
            .expression_attribute_values(":before", number(at.0.saturating_sub(NOTICE_PAUSE_MS)));
        held("low_balance_tell", update).await
    }

    /// Takes back that the account was told at `at`, because nothing was sent. A look after the pause tells it.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn low_balance_untell(&self, account: &AccountId, at: UnixMs) -> Result<bool, StoreError> {
        let update = self.client.update_item().table_name(&self.tables.accounts);
        let update = account_item(update, account)
            .update_expression("REMOVE #told")
            .condition_expression("#at = :at")
            .expression_attribute_names("#told", LOW_TOLD)
            .expression_attribute_names("#at", LOW_TOLD_AT)
            .expression_attribute_values(":at", number(at.0));
        held("low_balance_untell", update).await
    }

    /// The balance is not low: the next fall is told again.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn low_balance_over(&self, account: &AccountId) -> Result<bool, StoreError> {
        let update = self.client.update_item().table_name(&self.tables.accounts);
        let update = account_item(update, account)
            .update_expression("REMOVE #told")
            .condition_expression("attribute_exists(#told)")
            .expression_attribute_names("#told", LOW_TOLD);
        held("low_balance_over", update).await
    }
}

fn account_item(update: UpdateItemFluentBuilder, account: &AccountId) -> UpdateItemFluentBuilder {
    update.key(ACCOUNT, text(account.as_str())).key(ITEM, text(ACCOUNT_ITEM))
}

/// Whether the update's condition held.
async fn held(operation: &'static str, update: UpdateItemFluentBuilder) -> Result<bool, StoreError> {
    match update.send().await {
        Ok(_) => Ok(true),
        Err(error) if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {
            Ok(false)
        }
        Err(error) => Err(StoreError::of(operation, error)),
    }
}
