//! Moving funds between an account's balance and its keys' allowances. Rare, so these are transactions.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use gateway_core::{
    ids::{AccountId, KeyId},
    ledger,
    money::Nanos,
};

use crate::{
    Store, StoreError,
    accounts::Standing,
    attributes::{ACCOUNT, ACCOUNT_ITEM, AVAILABLE, BALANCE, ITEM, nanos, text},
    key_record::key_item,
    transaction::{Transaction, built},
};

/// How a refill ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefillOutcome {
    /// The allowance got what it lacked, or another refill changed the funds meanwhile: try the hold again.
    TryAgain,
    /// The account's free funds do not cover the hold. The account as it stood.
    Insufficient(Box<Standing>),
}

impl Store {
    /// Moves funds to the key's allowance, which lacks `missing` for a hold of `hold`. Where the balance is short, what
    /// lies idle in the account's other allowances is called back first.
    pub(crate) async fn refill(
        &self,
        account: &AccountId,
        key: KeyId,
        missing: Nanos,
        hold: Nanos,
    ) -> Result<RefillOutcome, StoreError> {
        let balance = self.account(account).await?.map_or(Nanos::ZERO, |account| account.balance);
        if let Some(amount) = ledger::refill(balance, missing, hold) {
            self.funds_move(account, key, amount).await?;
            return Ok(RefillOutcome::TryAgain);
        }
        let Some(standing) = self.account_standing(account).await? else {
            return Err(StoreError::new("refill", "the account does not exist"));
        };
        if standing.available() < hold {
            return Ok(RefillOutcome::Insufficient(Box::new(standing)));
        }
        let mut wanted = missing - standing.account.balance;
        for other in standing.keys.iter().filter(|other| other.id != key) {
            if wanted <= Nanos::ZERO {
                break;
            }
            let amount = other.allowance.available;
            if amount > Nanos::ZERO && self.funds_move(account, other.id, -amount).await?.is_done() {
                wanted = wanted - amount;
            }
        }
        Ok(RefillOutcome::TryAgain)
    }

    /// Moves `amount` from the balance to the key's allowance, or back if it is negative, if the side it leaves has it.
    async fn funds_move(&self, account: &AccountId, key: KeyId, amount: Nanos) -> Result<Transaction, StoreError> {
        let side = |item: String, attribute: &str, change: Nanos| {
            let update = Update::builder()
                .table_name(&self.tables.accounts)
                .key(ACCOUNT, text(account.as_str()))
                .key(ITEM, text(item))
                .update_expression("SET #funds = #funds + :change")
                .condition_expression("#funds >= :least")
                .expression_attribute_names("#funds", attribute)
                .expression_attribute_values(":change", nanos(change))
                .expression_attribute_values(":least", nanos((-change).max(Nanos::ZERO)))
                .build();
            Ok(TransactWriteItem::builder().update(built("funds_move", update)?).build())
        };
        let items = vec![side(ACCOUNT_ITEM.to_owned(), BALANCE, -amount)?, side(key_item(key), AVAILABLE, amount)?];
        self.transact("funds_move", items).await
    }
}
