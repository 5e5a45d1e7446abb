//! What event source mappings do for `usage-rollup` and `low-balance`: tells them, every few seconds, of the ledger's new
//! entries.

use std::time::Duration;

use gateway_lambda::StreamEvent;
use serde_json::{Map, json};

use crate::feed::Feed;

/// The functions behind the ledger's feed. Clones are the same ones.
#[derive(Debug, Clone)]
pub(crate) struct LedgerStream {
    feed: Feed,
    rollup: usage_rollup::App,
    low_balance: low_balance::App,
}

impl LedgerStream {
    pub(crate) fn new(feed: Feed, rollup: usage_rollup::App, low_balance: low_balance::App) -> Self {
        Self { feed, rollup, low_balance }
    }

    /// Tells the functions of what came since the last time. What fails is logged by them, and made up for when the account
    /// is used again.
    pub(crate) async fn run(&self) {
        let records = self.feed.take();
        if records.is_empty() {
            return;
        }
        match serde_json::from_value::<StreamEvent>(json!({"Records": records})) {
            Ok(event) => {
                usage_rollup::handle(&self.rollup, event.clone()).await;
                low_balance::handle(&self.low_balance, event).await;
            }
            Err(error) => tracing::error!(%error, "the feed's records are no event"),
        }
    }

    /// Runs for ever: at once for every account, because the feed of the process before this one ended with it; then every
    /// `pause` for what is new.
    pub(crate) async fn keep_running(self, pause: Duration) {
        match self.rollup.store.account_list().await {
            Ok(accounts) => accounts.into_iter().for_each(|account| {
                self.feed.add(Map::from_iter([("account".to_owned(), json!({"S": account.id}))]));
            }),
            Err(error) => tracing::error!(%error, "the accounts could not be listed"),
        }
        loop {
            self.run().await;
            tokio::time::sleep(pause).await;
        }
    }
}
