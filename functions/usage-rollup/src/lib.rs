//! Sums up what requests used, account by account, behind the ledger table's stream.
//!
//! The stream only says which accounts had usage: what is summed up is read from the ledger itself, from where the
//! account's sums end. So a record that comes twice, late or not at all changes no sum.

use std::collections::{BTreeMap, HashMap};

use gateway_core::ids::AccountId;
use gateway_lambda::Clock;
use gateway_store::Store;
use serde::{Deserialize, Serialize};

/// What the function reaches.
#[derive(Debug, Clone)]
pub struct App {
    /// The keys, the ledger and the sums.
    pub store: Store,
    /// Tells from what a request can't come late any more.
    pub clock: Clock,
}

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

impl StreamRecord {
    /// The account whose ledger has the entry.
    fn account(&self) -> Option<AccountId> {
        AccountId::parse(self.dynamodb.keys.get("account")?.get("S")?)
    }
}

/// Sums up the usage of every account that the batch names. The first record of each account that failed is to come again,
/// and a record that names no account, so that it ends where somebody looks at it.
pub async fn handle(app: &App, event: StreamEvent) -> BatchResponse {
    let mut failed = Vec::new();
    let mut accounts = BTreeMap::new();
    for record in &event.records {
        let sequence_number = &record.dynamodb.sequence_number;
        match record.account() {
            Some(account) => {
                accounts.entry(account).or_insert(sequence_number);
            }
            None => {
                tracing::error!(sequence_number, "a record of the ledger's stream names no account");
                failed.push(sequence_number);
            }
        }
    }
    for (account, sequence_number) in accounts {
        if let Err(error) = app.store.rollup_advance(&account, app.clock.now()).await {
            tracing::error!(account = account.as_str(), %error, "an account's usage could not be summed up");
            failed.push(sequence_number);
        }
    }
    let failures = failed.into_iter().map(|number| BatchItemFailure { item_identifier: number.clone() });
    BatchResponse { batch_item_failures: failures.collect() }
}
