//! A batch of a table's stream, as a function behind it gets it, and what it answers.

use std::collections::{BTreeMap, HashMap};

use gateway_core::ids::AccountId;
use serde::{Deserialize, Serialize};

/// A batch of a DynamoDB stream's records, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamEvent {
    /// The records, oldest first.
    #[serde(rename = "Records")]
    pub records: Vec<StreamRecord>,
}

/// A change of an item.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamRecord {
    /// Which item changed, and where in the stream.
    pub dynamodb: Change,
}

/// Which item changed, and where in the stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Change {
    /// The item's key, each attribute as its type's letter and its text: `{"account": {"S": "acct_…"}}`.
    #[serde(default)]
    pub keys: HashMap<String, HashMap<String, String>>,
    /// The record's number in the stream.
    #[serde(default)]
    pub sequence_number: String,
}

/// What of a batch is to be delivered again: from the first of these records on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The records that failed.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A record that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its number in the stream.
    pub item_identifier: String,
}

impl StreamEvent {
    /// The accounts whose items changed, each with the number of its first record. A record that names no account is to
    /// come again, so that it ends where somebody looks at it.
    pub fn accounts(&self) -> (BTreeMap<AccountId, &str>, BatchResponse) {
        let (mut accounts, mut response) = (BTreeMap::new(), BatchResponse::default());
        for StreamRecord { dynamodb: change } in &self.records {
            let sequence_number = change.sequence_number.as_str();
            let named = change.keys.get("account").and_then(|account| AccountId::parse(account.get("S")?));
            if let Some(account) = named {
                accounts.entry(account).or_insert(sequence_number);
            } else {
                tracing::error!(sequence_number, "a record of the stream names no account");
                response.failed(sequence_number);
            }
        }
        (accounts, response)
    }
}

impl BatchResponse {
    /// The record of this number is to come again.
    pub fn failed(&mut self, sequence_number: &str) {
        self.batch_item_failures.push(BatchItemFailure { item_identifier: sequence_number.to_owned() });
    }
}
