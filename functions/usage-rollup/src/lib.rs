//! Sums up what requests used, account by account, behind the ledger table's stream.
//!
//! The stream only says which accounts had usage: what is summed up is read from the ledger itself, from where the
//! account's sums end. So a record that comes twice, late or not at all changes no sum.

use gateway_lambda::Clock;
use gateway_store::Store;

pub use gateway_lambda::{BatchResponse, StreamEvent};

/// What the function reaches.
#[derive(Debug, Clone)]
pub struct App {
    /// The keys, the ledger and the sums.
    pub store: Store,
    /// Tells from what a request can't come late any more.
    pub clock: Clock,
}

/// Sums up the usage of every account that the batch names. The first record of each account that failed is to come again.
pub async fn handle(app: &App, event: StreamEvent) -> BatchResponse {
    let (accounts, mut response) = event.accounts();
    for (account, sequence_number) in accounts {
        if let Err(error) = app.store.rollup_advance(&account, app.clock.now()).await {
            tracing::error!(account = account.as_str(), %error, "an account's usage could not be summed up");
            response.failed(sequence_number);
        }
    }
    response
}
