//! The books as they are commonly kept: transactions on one item for each account. What ours are measured against.
//!
//! The same tables, keys, conditions and ledger entries as the store's, so that nothing but the shape differs: funds lie
//! in the account's item, and placing and settling a hold are a transaction each on it and the key's. What stands in the
//! way of a transaction cancels it; it is tried again after a random wait that doubles, as the store's own are, for ever.
//! Left out is what is not measured: periods of a spend limit, lanes, expiry, costs over the hold, the rollup's fence.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update,
    },
};
use gateway_core::{ids::RequestId, ledger::Served, money::Nanos};
use gateway_store::{HoldRequest, Tables, random};

/// The store's backoff: at most 10 ms first, then twice as long each time, up to a second.
const FIRST_WAIT_MS: u64 = 10;
const LONGEST_WAIT_MS: u64 = 1_000;

/// How placing a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    Held,
    AlreadyHeld,
    InsufficientFunds,
    SpendLimitReached,
    RateLimited,
    ModelNotAllowed,
    KeyInactive,
    KeyGone,
}

/// The store of the baseline.
#[derive(Debug, Clone)]
pub(crate) struct Baseline {
    pub(crate) client: Client,
    pub(crate) tables: Tables,
}

const PLACE_ACCOUNT: &str = "SET balance = balance - :amount, held = if_not_exists(held, :zero) + :amount";
const PLACE_KEY: &str = "SET windows.#w = if_not_exists(windows.#w, :zero) + :one, last_used = :now, \
    holds.#id = :amount, #left = #left - :amount";
/// As the store's own, but for the period.
const PLACE_KEY_IF: &str = "active = :true AND attribute_not_exists(deleted) \
    AND (attribute_not_exists(expires) OR expires > :now) \
    AND (attribute_not_exists(windows.#w) OR windows.#w < rate_n) AND attribute_not_exists(holds.#id) \
    AND #left >= :amount AND (attribute_not_exists(models) OR contains(models, :model))";
const SETTLE_ACCOUNT: &str = "SET balance = balance + :back, held = held - :amount";
const SETTLE_KEY: &str = "SET #left = #left + :back, spent = spent + :charged REMOVE holds.#id";

impl Baseline {
    /// Sets funds aside for a request and counts it in a window of a day.
    pub(crate) async fn place(&self, wanted: &HoldRequest<'_>) -> Placed {
        let window = (wanted.at.seconds() - wanted.at.seconds() % 86_400).to_string();
        let account = self
            .update(wanted, "account".to_owned())
            .update_expression(PLACE_ACCOUNT)
            .condition_expression("balance >= :amount")
            .expression_attribute_values(":amount", number(wanted.amount.0))
            .expression_attribute_values(":zero", number(0));
        let key = self
            .update(wanted, key_item(wanted))
            .update_expression(PLACE_KEY)
            .condition_expression(PLACE_KEY_IF)
            .return_values_on_condition_check_failure(AllOld)
            .expression_attribute_names("#w", &window)
            .expression_attribute_names("#id", wanted.id.as_str())
            .expression_attribute_names("#left", "left")
            .expression_attribute_values(":amount", number(wanted.amount.0))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(wanted.at.0))
            .expression_attribute_values(":true", AttributeValue::Bool(true))
            .expression_attribute_values(":model", AttributeValue::S(wanted.models[0][0].clone()));
        match self.transact(vec![updated(account), updated(key)]).await {
            None => Placed::Held,
            Some(reasons) => refusal(wanted, &window, &reasons),
        }
    }

    /// Charges a request; false if it had been charged before.
    pub(crate) async fn settle(&self, held: &HoldRequest<'_>, cost: Nanos, served: &Served) -> bool {
        let entry = Put::builder()
            .table_name(&self.tables.ledger)
            .set_item(Some(entry(held, cost, served)))
            .condition_expression("attribute_not_exists(entry)")
            .build()
            .unwrap();
        let account = self
            .update(held, "account".to_owned())
            .update_expression(SETTLE_ACCOUNT)
            .expression_attribute_values(":amount", number(held.amount.0))
            .expression_attribute_values(":back", number((held.amount - cost).0));
        let key = self
            .update(held, key_item(held))
            .update_expression(SETTLE_KEY)
            .condition_expression("attribute_exists(holds.#id)")
            .expression_attribute_names("#id", held.id.as_str())
            .expression_attribute_names("#left", "left")
            .expression_attribute_values(":back", number((held.amount - cost).0))
            .expression_attribute_values(":charged", number(cost.0));
        let parts = vec![TransactWriteItem::builder().put(entry).build(), updated(account), updated(key)];
        self.transact(parts).await.is_none()
    }

    fn update(&self, of: &HoldRequest<'_>, item: String) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
        let update = Update::builder().table_name(&self.tables.accounts);
        update.key("account", AttributeValue::S(of.account.as_str().to_owned())).key("item", AttributeValue::S(item))
    }

    /// Writes all parts; otherwise why each was not, if that is not another transaction's doing.
    async fn transact(&self, parts: Vec<TransactWriteItem>) -> Option<Vec<CancellationReason>> {
        for attempt in 0.. {
            let sent = self.client.transact_write_items().set_transact_items(Some(parts.clone())).send().await;
            let error = sent.err()?.into_service_error();
            let TransactWriteItemsError::TransactionCanceledException(canceled) = error else { panic!("{error:?}") };
            let reasons = canceled.cancellation_reasons();
            if reasons.iter().any(|reason| reason.code() == Some("ConditionalCheckFailed")) {
                return Some(reasons.to_vec());
            }
            let most = FIRST_WAIT_MS.saturating_mul(1 << attempt.min(16)).min(LONGEST_WAIT_MS);
            let part = u64::from(u32::from_be_bytes(random().unwrap()));
            tokio::time::sleep(Duration::from_millis(most * part / u64::from(u32::MAX))).await;
        }
        None
    }
}

/// Why a hold was not placed, by the items that refused it.
fn refusal(wanted: &HoldRequest<'_>, window: &str, reasons: &[CancellationReason]) -> Placed {
    if reasons[0].code() == Some("ConditionalCheckFailed") {
        return Placed::InsufficientFunds;
    }
    let Some(key) = reasons[1].item() else { return Placed::KeyGone };
    let amount = |name: &str| key.get(name).and_then(as_number).unwrap_or_default();
    let in_map = |map: &str, name: &str| key.get(map).and_then(|map| map.as_m().ok()?.get(name)).and_then(as_number);
    let allowed = key.get("models").and_then(|models| models.as_ss().ok());
    if in_map("holds", wanted.id.as_str()).is_some() {
        Placed::AlreadyHeld
    } else if key.contains_key("deleted") || key.get("expires").is_some_and(|_| amount("expires") <= wanted.at.0.into())
    {
        Placed::KeyGone
    } else if key.get("active") != Some(&AttributeValue::Bool(true)) {
        Placed::KeyInactive
    } else if allowed.is_some_and(|allowed| !allowed.contains(&wanted.models[0][0])) {
        Placed::ModelNotAllowed
    } else if in_map("windows", window).unwrap_or_default() >= amount("rate_n") {
        Placed::RateLimited
    } else {
        Placed::SpendLimitReached
    }
}

/// The ledger entry, attribute by attribute as the store's.
fn entry(held: &HoldRequest<'_>, cost: Nanos, served: &Served) -> HashMap<String, AttributeValue> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let usage = &served.metered.usage;
    let usage = [usage.input, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.output, 0, 0];
    let attributes = [
        ("account", text(held.account.as_str())),
        ("entry", text(RequestId::as_str(held.id))),
        ("kind", text("usage")),
        ("amount", number(-cost.0)),
        ("key", number(served.key.0)),
        ("model", text(&served.model)),
        ("provider", text(&served.provider)),
        ("usage", AttributeValue::L(usage.map(number).to_vec())),
        ("hold", number(60_000_000_000_u64)),
    ];
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn key_item(of: &HoldRequest<'_>) -> String {
    format!("key#{:010}", of.key.0)
}

fn updated(update: aws_sdk_dynamodb::types::builders::UpdateBuilder) -> TransactWriteItem {
    TransactWriteItem::builder().update(update.build().unwrap()).build()
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn as_number(value: &AttributeValue) -> Option<i128> {
    value.as_n().ok()?.parse().ok()
}
