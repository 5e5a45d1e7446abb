//! The ledger: one entry for all that changed an account's funds, written once.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{Entry, EntryKind, Served},
    money::Nanos,
    usage::{Metered, Usage},
};

use crate::{
    Store, StoreError,
    attributes::{
        ACCOUNT, AMOUNT, Attributes, DESCRIPTION, DURATION, ENTRY, ESTIMATED, HOLD, Item, KEY, KIND, MODEL, PROVIDER,
        UNPAID, USAGE, flag, nanos, number, text,
    },
};

/// Which entries to read. The default: all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only these kinds; empty: all.
    pub kinds: Vec<EntryKind>,
    /// This entry or later.
    pub from: Option<RequestId>,
    /// This entry or earlier.
    pub to: Option<RequestId>,
    /// Only this model's.
    pub model: Option<String>,
    /// Only this key's.
    pub key: Option<KeyId>,
}

/// Of a filtered read, how many entries are looked at at a time, at the least.
const FILTERED_READ: usize = 200;

/// Entries, newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The last entry given, if more may follow: the next page begins after it.
    pub next: Option<RequestId>,
}

impl Store {
    /// The newest `limit` entries that pass the filter, after `after` and the `offset` that follow it.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn ledger_page(
        &self,
        account: &AccountId,
        filter: &Filter,
        after: Option<&RequestId>,
        offset: usize,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let wanted = offset + limit;
        let mut entries: Vec<Entry> = Vec::new();
        let mut start: Option<Attributes> = after.map(|entry| {
            HashMap::from([(ACCOUNT.into(), text(account.as_str())), (ENTRY.into(), text(entry.as_str()))])
        });
        loop {
            let query = filter.query(self.client.query().table_name(&self.tables.ledger), account);
            // One more than is asked for tells whether more follow. A filter drops entries after they are counted.
            let least = if query.get_filter_expression().is_some() { FILTERED_READ } else { 1 };
            let most = i32::try_from((wanted + 1 - entries.len()).max(least)).unwrap_or(i32::MAX);
            let page = query.scan_index_forward(false).set_exclusive_start_key(start).limit(most).consistent_read(true);
            let page = page.send().await.map_err(|error| StoreError::of("ledger_page", error))?;
            for item in page.items() {
                entries.push(entry_of(item).ok_or_else(|| StoreError::new("ledger_page", "an entry is not readable"))?);
            }
            start = page.last_evaluated_key;
            if start.is_none() || entries.len() > wanted {
                break;
            }
        }
        let more = entries.len() > wanted;
        entries.truncate(wanted);
        entries.drain(..offset.min(entries.len()));
        let next = entries.last().filter(|_| more).map(|entry| entry.id.clone());
        Ok(Page { entries, next })
    }

    /// The entry with this id.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn ledger_entry(&self, account: &AccountId, id: &RequestId) -> Result<Option<Entry>, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.ledger).consistent_read(true);
        let found = found.key(ACCOUNT, text(account.as_str())).key(ENTRY, text(id.as_str())).send().await;
        let found = found.map_err(|error| StoreError::of("ledger_entry", error))?;
        Ok(found.item.as_ref().and_then(entry_of))
    }

    /// Writes the entry if none has its id. Otherwise the one that has.
    pub(crate) async fn ledger_append(&self, entry: &Entry) -> Result<Option<Entry>, StoreError> {
        let put = self.client.put_item().table_name(&self.tables.ledger).set_item(Some(attributes_of(entry)));
        let put = put.condition_expression("attribute_not_exists(#e)").expression_attribute_names("#e", ENTRY);
        match put.send().await {
            Ok(_) => Ok(None),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                let there = self.ledger_entry(&entry.account, &entry.id).await?;
                there.map(Some).ok_or_else(|| StoreError::new("ledger_append", "an entry was there and is not"))
            }
            Err(error) => Err(StoreError::of("ledger_append", error)),
        }
    }
}

impl Filter {
    fn query(
        &self,
        query: aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder,
        account: &AccountId,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let mut keys = "#a = :a".to_owned();
        let mut query =
            query.expression_attribute_names("#a", ACCOUNT).expression_attribute_values(":a", text(account.as_str()));
        if self.from.is_some() || self.to.is_some() {
            // Every id lies between these two: digits sort before, and letters up to Z.
            let bound = |id: &Option<RequestId>, open: &str| text(id.as_ref().map_or(open, RequestId::as_str));
            keys.push_str(" AND #e BETWEEN :from AND :to");
            query = query
                .expression_attribute_names("#e", ENTRY)
                .expression_attribute_values(":from", bound(&self.from, "0"))
                .expression_attribute_values(":to", bound(&self.to, "Z"));
        }
        let mut conditions = Vec::new();
        if !self.kinds.is_empty() {
            let names: Vec<_> = (0..self.kinds.len()).map(|n| format!(":kind{n}")).collect();
            conditions.push(format!("#kind IN ({})", names.join(", ")));
            query = query.expression_attribute_names("#kind", KIND);
            for (name, kind) in names.into_iter().zip(&self.kinds) {
                query = query.expression_attribute_values(name, text(kind.name()));
            }
        }
        if let Some(model) = &self.model {
            conditions.push("#model = :model".to_owned());
            query =
                query.expression_attribute_names("#model", MODEL).expression_attribute_values(":model", text(model));
        }
        if let Some(key) = self.key {
            conditions.push("#key = :key".to_owned());
            query = query.expression_attribute_names("#key", KEY).expression_attribute_values(":key", number(key.0));
        }
        if !conditions.is_empty() {
            query = query.filter_expression(conditions.join(" AND "));
        }
        query.key_condition_expression(keys)
    }
}

/// Usage as a list of its buckets: a list costs less than a map of names.
fn usage_list(usage: &Usage) -> AttributeValue {
    let Usage { input, cache_read, cache_write_5m, cache_write_1h, output, input_audio, output_audio } = *usage;
    let buckets = [input, cache_read, cache_write_5m, cache_write_1h, output, input_audio, output_audio];
    AttributeValue::L(buckets.iter().map(number).collect())
}

fn usage_of(item: &Item<'_>) -> Option<Usage> {
    let buckets = item.0.get(USAGE)?.as_l().ok()?;
    let at = |index: usize| buckets.get(index).and_then(crate::attributes::as_number).unwrap_or(0);
    Some(Usage {
        input: at(0),
        cache_read: at(1),
        cache_write_5m: at(2),
        cache_write_1h: at(3),
        output: at(4),
        input_audio: at(5),
        output_audio: at(6),
    })
}

pub(crate) fn attributes_of(entry: &Entry) -> Attributes {
    let mut item = HashMap::from([
        (ACCOUNT.to_owned(), text(entry.account.as_str())),
        (ENTRY.to_owned(), text(entry.id.as_str())),
        (KIND.to_owned(), text(entry.kind.name())),
        (AMOUNT.to_owned(), nanos(entry.amount)),
    ]);
    if let Some(served) = &entry.served {
        item.insert(KEY.to_owned(), number(served.key.0));
        item.insert(MODEL.to_owned(), text(&served.model));
        item.insert(PROVIDER.to_owned(), text(&served.provider));
        item.insert(USAGE.to_owned(), usage_list(&served.metered.usage));
        if served.metered.estimated {
            item.insert(ESTIMATED.to_owned(), flag(true));
        }
        if served.unpaid > Nanos::ZERO {
            item.insert(UNPAID.to_owned(), nanos(served.unpaid));
        }
        if let Some(ms) = served.duration_ms {
            item.insert(DURATION.to_owned(), number(ms));
        }
    }
    if let Some(hold) = entry.hold {
        item.insert(HOLD.to_owned(), number(hold));
    }
    if let Some(description) = &entry.description {
        item.insert(DESCRIPTION.to_owned(), text(description));
    }
    item
}

pub(crate) fn entry_of(attributes: &Attributes) -> Option<Entry> {
    let item = Item(attributes);
    let served = (|| {
        Some(Served {
            key: KeyId(item.number(KEY)?),
            model: item.text(MODEL)?.to_owned(),
            provider: item.text(PROVIDER)?.to_owned(),
            metered: Metered { usage: usage_of(&item)?, estimated: item.flag(ESTIMATED) },
            unpaid: item.nanos(UNPAID),
            duration_ms: item.number(DURATION),
        })
    })();
    Some(Entry {
        account: AccountId::parse(item.text(ACCOUNT)?)?,
        id: RequestId::parse(item.text(ENTRY)?)?,
        kind: EntryKind::parse(item.text(KIND)?)?,
        amount: item.nanos(AMOUNT),
        hold: item.number(HOLD),
        served,
        description: item.text(DESCRIPTION).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use gateway_core::moment::UnixMs;

    use super::*;

    #[test]
    fn an_entry_is_read_back_as_it_was_written_and_without_a_duration_where_none_was_kept() {
        let usage = Usage { input: 5, cache_read: 3, output: 4, ..Usage::default() };
        let served = |duration_ms| Served {
            key: KeyId(1),
            model: "lab/chat".to_owned(),
            provider: "lab".to_owned(),
            metered: Metered { usage, estimated: true },
            unpaid: Nanos(7),
            duration_ms,
        };
        let entry = |duration_ms| Entry {
            account: AccountId::from_random([1; 10]),
            id: RequestId::new(UnixMs(1_795_426_200_000), [1; 10]),
            kind: EntryKind::Usage,
            amount: Nanos(-700),
            hold: Some(600_000_123),
            served: Some(served(duration_ms)),
            description: None,
        };
        let mut item = attributes_of(&entry(Some(1_250)));
        assert_eq!(entry_of(&item), Some(entry(Some(1_250))));
        assert!(item.remove(DURATION).is_some());
        assert_eq!(entry_of(&item), Some(entry(None)), "as those from before are");
    }
}
