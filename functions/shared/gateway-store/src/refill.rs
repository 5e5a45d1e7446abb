//! Moving funds between an account's balance and its keys' allowances. Rare, so these are transactions.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update, builders::UpdateBuilder};
use gateway_core::{
    ids::{AccountId, KeyId},
    ledger::{self, Allowance, Refill},
    moment::UnixMs,
    money::Nanos,
};

use crate::{
    KeyRecord, Store, StoreError,
    accounts::Standing,
    attributes::{ACCOUNT, ACCOUNT_ITEM, AVAILABLE, BALANCE, ITEM, OWING, REFILL, nanos, text},
    backoff::backoff,
    holds::TRIES,
    key_record::{Lane, refill_value},
    transaction::{Transaction, built},
};

/// What an allowance is short of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shortage {
    /// What is missing for the hold.
    pub(crate) missing: Nanos,
    /// The hold.
    pub(crate) hold: Nanos,
    /// The allowance's last refill.
    pub(crate) last: Option<Refill>,
    /// Now.
    pub(crate) at: UnixMs,
}

/// How a refill ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefillOutcome {
    /// The allowance got what it lacked, or the funds changed meanwhile: try the hold again.
    TryAgain,
    /// The account's free funds do not cover the hold. The account as it stood.
    Insufficient(Box<Standing>),
}

impl Store {
    /// Moves funds to the key's allowance. Where the balance is short, holds of dead requests are ended and what lies
    /// idle in the account's other allowances is called back first.
    pub(crate) async fn refill(
        &self,
        account: &AccountId,
        lane: Lane,
        shortage: Shortage,
    ) -> Result<RefillOutcome, StoreError> {
        let Shortage { missing, hold, last, at } = shortage;
        let balance = self.account(account).await?.map_or(Nanos::ZERO, |account| account.balance);
        if let Some(amount) = ledger::refill(balance, missing, hold, last, at) {
            self.funds_move(account, lane, amount, Some(Refill { amount, at })).await?;
            return Ok(RefillOutcome::TryAgain);
        }
        let standing = self.standing(account).await?;
        if standing.available() < hold {
            for lane in &standing.lanes {
                self.expire_in_passing(lane, at).await?;
            }
            // Funds move while the items are read one after the other. What two reads agree on was so at one moment.
            let again = self.standing(account).await?;
            let still = again.funds().eq(standing.funds());
            return Ok(if still { RefillOutcome::Insufficient(Box::new(again)) } else { RefillOutcome::TryAgain });
        }
        let mut wanted = missing - standing.account.balance;
        for other in standing.lanes.iter().filter(|other| other.place() != lane) {
            if wanted <= Nanos::ZERO {
                break;
            }
            let amount = other.allowance.available;
            if amount > Nanos::ZERO && self.funds_move(account, other.place(), -amount, None).await?.is_done() {
                wanted = wanted - amount;
            }
        }
        Ok(RefillOutcome::TryAgain)
    }

    /// Gives the idle funds of a key that is switched off or deleted back to the balance. Nothing is wrong until then:
    /// another key that runs short would call them back.
    ///
    /// # Errors
    /// The database did not answer, or the key's funds changed under every try.
    pub async fn allowance_return(&self, account: &AccountId, key: KeyId) -> Result<(), StoreError> {
        for lane in self.key_lanes(account, key).await? {
            let (lane, mut stranded) = (lane.place(), lane.allowance.stranded());
            let mut tries = 0;
            while stranded > Nanos::ZERO && !self.funds_move(account, lane, -stranded, None).await?.is_done() {
                backoff(tries).await;
                tries += 1;
                if tries > TRIES {
                    return Err(StoreError::new("allowance_return", "the key's funds changed under every try"));
                }
                stranded = self.lane(account, lane).await?.map_or(Nanos::ZERO, |lane| lane.allowance.stranded());
            }
        }
        Ok(())
    }

    /// Gives back to the balance what an owing lane has available: whether that is owed, the balance tells.
    pub(crate) async fn owing_return(&self, lane: &KeyRecord) -> Result<(), StoreError> {
        let Allowance { owing, available, .. } = lane.allowance;
        if owing && available > Nanos::ZERO {
            self.funds_move(&lane.account, lane.place(), -available, None).await?;
        }
        Ok(())
    }

    async fn standing(&self, account: &AccountId) -> Result<Standing, StoreError> {
        let standing = self.account_standing(account).await?;
        standing.ok_or_else(|| StoreError::new("refill", "the account does not exist"))
    }

    /// Moves `amount` from the balance to the lane's allowance, or back if it is negative, if the side it leaves has it: a
    /// negative balance takes, and gives nothing. Tried once: whoever finds others on the items looks again first, because
    /// another's refill is as good as its own.
    async fn funds_move(
        &self,
        account: &AccountId,
        lane: Lane,
        amount: Nanos,
        refill: Option<Refill>,
    ) -> Result<Transaction, StoreError> {
        let side = |item: String, attribute: &str, change: Nanos| {
            let update = Update::builder()
                .table_name(&self.tables.accounts)
                .key(ACCOUNT, text(account.as_str()))
                .key(ITEM, text(item))
                .expression_attribute_names("#funds", attribute)
                .expression_attribute_values(":change", nanos(change));
            if change < Nanos::ZERO {
                let update = update.condition_expression("#funds >= :least");
                update.expression_attribute_values(":least", nanos(-change))
            } else {
                update.condition_expression("attribute_exists(#funds)")
            }
        };
        let moved = "SET #funds = #funds + :change";
        let balance = side(ACCOUNT_ITEM.to_owned(), BALANCE, -amount).update_expression(moved);
        let allowance = side(lane.item(), AVAILABLE, amount);
        let allowance = match refill {
            Some(refill) => allowance
                .update_expression(format!("{moved}, #refill = :refill REMOVE #owing"))
                .expression_attribute_names("#refill", REFILL)
                .expression_attribute_names("#owing", OWING)
                .expression_attribute_values(":refill", refill_value(refill)),
            None => allowance.update_expression(moved),
        };
        let item =
            |side: UpdateBuilder| Ok(TransactWriteItem::builder().update(built("funds_move", side.build())?).build());
        self.transact_once("funds_move", vec![item(balance)?, item(allowance)?]).await
    }
}
