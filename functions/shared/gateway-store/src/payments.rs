//! Payments: each is credited once, and what of it goes back is taken once, whatever comes twice or in another order.
//!
//! A payment has an item of its own, under its own id, because a dispute names no account. All that is booked about it is one
//! transaction: the ledger entry, the account's balance, and here how far it has been booked.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use gateway_core::{
    ids::AccountId,
    ledger::EntryKind,
    money::Nanos,
    payment::{Booking, Change},
};

use crate::{
    Credit, Store, StoreError,
    accounts::CREDITED,
    attributes::{ACCOUNT, HOLDS, ITEM, Item, OWING, PAID, PAYER, REFUNDED, REINSTATED, WITHDRAWN, flag, nanos, text},
    backoff::backoff,
    holds::TRIES,
    transaction::{Transaction, built},
};

/// A payment's item stands among the accounts' under a name that no account can have.
const PAYMENTS: &str = "payment#";
const PAYMENT_ITEM: &str = "payment";

/// A payment that was credited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Who was credited.
    pub account: AccountId,
    /// How much.
    pub paid: Nanos,
    /// What of it has gone back to the card, in all.
    pub refunded: Nanos,
    /// The disputes in which a bank took it.
    pub withdrawn: Vec<String>,
    /// Those of them in which it came back.
    pub reinstated: Vec<String>,
}

/// How booking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booked {
    /// It is booked.
    Now,
    /// It was before, or more than that was.
    Before,
    /// The payment that it is about was never credited.
    NoPayment,
    /// There is no such account.
    NoAccount,
}

impl Store {
    /// The payment, if it was credited.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn payment(&self, payment: &str) -> Result<Option<Payment>, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.accounts).consistent_read(true);
        let found = found.set_key(Some(key_of(payment))).send().await;
        let Some(item) = found.map_err(|error| StoreError::of("payment", error))?.item else { return Ok(None) };
        let item = Item(&item);
        let account = item.text(PAYER).and_then(AccountId::parse);
        let account = account.ok_or_else(|| StoreError::new("payment", "a payment is not readable"))?;
        let disputes = |moved: &str| item.texts(moved).unwrap_or_default().to_vec();
        let (withdrawn, reinstated) = (disputes(WITHDRAWN), disputes(REINSTATED));
        Ok(Some(Payment { account, paid: item.nanos(PAID), refunded: item.nanos(REFUNDED), withdrawn, reinstated }))
    }

    /// Books what happened to a payment, once.
    ///
    /// # Errors
    /// The database did not answer, however often it was asked. Nothing is booked then, or all of it, and the lanes of an
    /// account that owes are perhaps not all marked: call it again.
    pub async fn payment_book(&self, booking: &Booking) -> Result<Booked, StoreError> {
        match &booking.change {
            Change::Paid { account, amount } => self.payment_credit(booking, account, *amount).await,
            Change::Refunded { all } => self.payment_refund(booking, *all).await,
            Change::Withdrawn { dispute, amount } => self.payment_dispute(booking, WITHDRAWN, dispute, -*amount).await,
            Change::Reinstated { dispute, amount } => self.payment_dispute(booking, REINSTATED, dispute, *amount).await,
        }
    }

    async fn payment_credit(
        &self,
        booking: &Booking,
        account: &AccountId,
        amount: Nanos,
    ) -> Result<Booked, StoreError> {
        let mut items = self.credit_items(account, &credit_of(booking, EntryKind::Payment, amount))?;
        let put = Put::builder()
            .table_name(&self.tables.accounts)
            .set_item(Some(key_of(&booking.payment)))
            .item(PAYER, text(account.as_str()))
            .item(PAID, nanos(amount))
            .item(REFUNDED, nanos(Nanos::ZERO))
            .condition_expression("attribute_not_exists(#payer)")
            .expression_attribute_names("#payer", PAYER)
            .build();
        items.push(TransactWriteItem::builder().put(built("payment_credit", put)?).build());
        Ok(match self.transact("payment_credit", items).await? {
            Transaction::Done => Booked::Now,
            Transaction::ConditionFailed(CREDITED) => Booked::NoAccount,
            _ => Booked::Before,
        })
    }

    /// Takes what of `all` that was refunded so far is not booked yet.
    async fn payment_refund(&self, booking: &Booking, all: Nanos) -> Result<Booked, StoreError> {
        for attempt in 0..TRIES {
            let Some(known) = self.payment(&booking.payment).await? else { return Ok(Booked::NoPayment) };
            if all <= known.refunded {
                // Who booked it may have died before every lane was marked.
                self.debt_mark(&known.account, Nanos::ZERO).await?;
                return Ok(Booked::Before);
            }
            let remembered = Update::builder()
                .table_name(&self.tables.accounts)
                .set_key(Some(key_of(&booking.payment)))
                .update_expression("SET #refunded = :all")
                .condition_expression("#refunded = :before")
                .expression_attribute_names("#refunded", REFUNDED)
                .expression_attribute_values(":all", nanos(all))
                .expression_attribute_values(":before", nanos(known.refunded))
                .build();
            let credit = credit_of(booking, EntryKind::Refund, known.refunded - all);
            if self.funds_change(&known.account, &credit, built("payment_refund", remembered)?).await?.is_done() {
                return Ok(Booked::Now);
            }
            // Another refund of it was booked meanwhile.
            backoff(attempt).await;
        }
        Err(StoreError::new("payment_refund", "the payment changed under every try"))
    }

    /// Takes or gives what a dispute moved, once each way.
    async fn payment_dispute(
        &self,
        booking: &Booking,
        moved: &str,
        dispute: &str,
        amount: Nanos,
    ) -> Result<Booked, StoreError> {
        let Some(known) = self.payment(&booking.payment).await? else { return Ok(Booked::NoPayment) };
        let remembered = Update::builder()
            .table_name(&self.tables.accounts)
            .set_key(Some(key_of(&booking.payment)))
            .update_expression("ADD #disputes :disputes")
            .condition_expression("NOT contains(#disputes, :dispute)")
            .expression_attribute_names("#disputes", moved)
            .expression_attribute_values(":disputes", AttributeValue::Ss(vec![dispute.to_owned()]))
            .expression_attribute_values(":dispute", text(dispute))
            .build();
        let credit = credit_of(booking, EntryKind::Adjustment, amount);
        let ended = self.funds_change(&known.account, &credit, built("payment_dispute", remembered)?).await?;
        Ok(if ended.is_done() { Booked::Now } else { Booked::Before })
    }

    /// Credits the account, or takes from it what may be more than it has, and writes `beside` with it.
    async fn funds_change(
        &self,
        account: &AccountId,
        credit: &Credit,
        beside: Update,
    ) -> Result<Transaction, StoreError> {
        let mut items = self.credit_items(account, credit)?;
        items.push(TransactWriteItem::builder().update(beside).build());
        if credit.amount >= Nanos::ZERO {
            return self.transact("funds_change", items).await;
        }
        self.debt_mark(account, -credit.amount).await?;
        let ended = self.transact("funds_change", items).await?;
        self.debt_mark(account, Nanos::ZERO).await?;
        Ok(ended)
    }

    /// Marks every lane of the account as owing, if it owes when `taken` more is taken. From when it owes, no lane is
    /// refilled, and so none is unmarked; and one that is made from then on has nothing.
    async fn debt_mark(&self, account: &AccountId, taken: Nanos) -> Result<(), StoreError> {
        let Some(standing) = self.account_standing(account).await? else { return Ok(()) };
        if standing.account.balance >= taken {
            return Ok(());
        }
        for lane in standing.lanes.iter().filter(|lane| !lane.allowance.owing) {
            let update = self
                .lane_update(account, lane.place())
                .update_expression("SET #owing = :true")
                .condition_expression("attribute_exists(#holds)")
                .expression_attribute_names("#owing", OWING)
                .expression_attribute_names("#holds", HOLDS)
                .expression_attribute_values(":true", flag(true));
            // One that was folded meanwhile has its funds in its key's first lane, which is marked too.
            self.returned(update).await?;
        }
        Ok(())
    }
}

fn credit_of(booking: &Booking, kind: EntryKind, amount: Nanos) -> Credit {
    Credit { id: booking.entry.clone(), kind, amount, description: booking.description() }
}

fn key_of(payment: &str) -> HashMap<String, AttributeValue> {
    let owner = text(format!("{PAYMENTS}{payment}"));
    HashMap::from([(ACCOUNT.to_owned(), owner), (ITEM.to_owned(), text(PAYMENT_ITEM))])
}
