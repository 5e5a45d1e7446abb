//! Every five minutes: ends the holds of requests whose process died, for keys that no request comes to any more; and
//! returns to the balance what such a process left in the allowance of a deactivated or deleted key.
//!
//! What of an event matters is that it came. Invocations that overlap do what one does.

use gateway_core::moment::UnixMs;
use gateway_store::{Expired, Store, StoreError, Swept};
use serde::Serialize;

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts and the ledger.
    pub store: Store,
}

/// What an invocation found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Keys' items that held something, or had idle funds that their key can't use.
    pub items: u64,
    /// Holds past their time whose request is in the ledger: charged what its entry says.
    pub charged: u64,
    /// Holds past their time that were given back whole.
    pub released: u64,
    /// Items of deactivated and deleted keys whose idle funds went back to the balance.
    pub returned: u64,
}

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The accounts can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// So many items could not be swept; the others were. The log says why.
    #[error("keys' items that could not be swept: {0}")]
    Items(u64),
}

/// A scheduled event: every hold that is past its time at `at` is ended, and stranded funds go back.
///
/// # Errors
/// [`Failure`], after all was done that could be. The next event tries again.
pub async fn handle(app: &App, at: UnixMs) -> Result<Report, Failure> {
    let Swept { items, expired: Expired { charged, released }, returned, failed } = app.store.holds_sweep(at).await?;
    tracing::info!(items, charged, released, returned, failed, "holds swept");
    if failed == 0 { Ok(Report { items, charged, released, returned }) } else { Err(Failure::Items(failed)) }
}
