//! What a DynamoDB stream would tell of the tables that have one: which items were put into them.
//!
//! In place of the engine's own streams, whose every write searches all records that were ever made. A record is told once,
//! to whoever takes it; what nobody took when the process ends is gone. Nothing may rely on more than that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::template::Table;

/// The records of all streamed tables. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Feed(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The streamed tables and the names of their keys' attributes.
    tables: Vec<(String, Vec<String>)>,
    records: Vec<Value>,
    told: u64,
}

/// A `PutItem`, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    table_name: String,
    item: Map<String, Value>,
}

/// A `TransactWriteItems`, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Transaction {
    transact_items: Vec<Part>,
}

/// A part of one.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    put: Option<Put>,
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of this table from now on, if it is streamed.
    pub fn follow(&self, table: &Table) {
        if table.streamed {
            let schema = table.definition["KeySchema"].as_array().into_iter().flatten();
            let keys = schema.filter_map(|key| key["AttributeName"].as_str()).map(str::to_owned).collect();
            self.state().tables.push((table.name.clone(), keys));
        }
    }

    /// Notes a `PutItem` that was done.
    pub fn put(&self, request: &[u8]) {
        if let Ok(put) = serde_json::from_slice::<Put>(request) {
            self.state().put(&put);
        }
    }

    /// Notes a `TransactWriteItems` that was done.
    pub fn transaction(&self, request: &[u8]) {
        if let Ok(Transaction { transact_items }) = serde_json::from_slice(request) {
            let mut state = self.state();
            transact_items.iter().filter_map(|part| part.put.as_ref()).for_each(|put| state.put(put));
        }
    }

    /// Adds a record of this item, as if it had just been put.
    pub fn add(&self, keys: Map<String, Value>) {
        self.state().add(keys);
    }

    /// The records since the last time, oldest first, as a function is told them.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.state().records)
    }
}

impl State {
    fn put(&mut self, put: &Put) {
        let Some((_, keys)) = self.tables.iter().find(|(name, _)| *name == put.table_name) else { return };
        let keys: Map<_, _> = keys.iter().filter_map(|key| Some((key.clone(), put.item.get(key)?.clone()))).collect();
        self.add(keys);
    }

    fn add(&mut self, keys: Map<String, Value>) {
        self.told += 1;
        let record = json!({"Keys": keys, "SequenceNumber": self.told.to_string(), "StreamViewType": "KEYS_ONLY"});
        self.records.push(json!({"eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": record}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, streamed: bool) -> Table {
        let definition = json!({"KeySchema": [{"AttributeName": "account", "KeyType": "HASH"}]});
        Table { name: name.to_owned(), definition, time_to_live: None, streamed }
    }

    #[test]
    fn what_is_put_into_a_streamed_table_is_told_once_and_in_order() {
        let feed = Feed::default();
        feed.follow(&table("ledger", true));
        feed.follow(&table("tokens", false));
        for (table, account) in [("ledger", "a"), ("tokens", "b"), ("other", "c"), ("ledger", "d")] {
            let put = json!({"TableName": table, "Item": {"account": {"S": account}, "amount": {"N": "1"}}});
            feed.put(put.to_string().as_bytes());
        }
        let put = json!({"Put": {"TableName": "ledger", "Item": {"account": {"S": "e"}}}});
        let other = json!({"Update": {"TableName": "ledger", "Key": {"account": {"S": "f"}}}});
        feed.transaction(json!({"TransactItems": [other, put]}).to_string().as_bytes());
        let records = feed.take();
        let told: Vec<_> = records.iter().map(|record| &record["dynamodb"]).collect();
        assert_eq!(told.len(), 3);
        assert_eq!(told[2]["Keys"], json!({"account": {"S": "e"}}));
        assert_eq!((&told[0]["Keys"], &told[0]["SequenceNumber"]), (&json!({"account": {"S": "a"}}), &json!("1")));
        assert_eq!((&told[1]["Keys"], &told[1]["SequenceNumber"]), (&json!({"account": {"S": "d"}}), &json!("2")));
        assert!(feed.take().is_empty());
    }
}
