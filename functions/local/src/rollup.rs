//! What an event source mapping does for `usage-rollup`: tells it, every few seconds, of the ledger's new entries.

use std::time::Duration;

use serde_json::{Map, json};
use usage_rollup::App;

use crate::feed::Feed;

/// The function behind the ledger's feed. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Rollup {
    feed: Feed,
    app: App,
}

impl Rollup {
    pub(crate) fn new(feed: Feed, app: App) -> Self {
        Self { feed, app }
    }

    /// Tells the function of what came since the last time. What fails is logged by the function, and made up for when the
    /// account is used again.
    pub(crate) async fn run(&self) {
        let records = self.feed.take();
        if records.is_empty() {
            return;
        }
        match serde_json::from_value(json!({"Records": records})) {
            Ok(event) => {
                usage_rollup::handle(&self.app, event).await;
            }
            Err(error) => tracing::error!(%error, "the feed's records are no event"),
        }
    }

    /// Runs for ever: at once for every account, because the feed of the process before this one ended with it; then every
    /// `pause` for what is new.
    pub(crate) async fn keep_running(self, pause: Duration) {
        match self.app.store.account_list().await {
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
