//! `GET /api/usage`, `/api/usage/stats` and `/api/usage/export`: what the account's requests used and what they cost.

mod export;
mod list;
mod stats;

use gateway_core::error::ApiError;
use gateway_lambda::{Request, Response};
use gateway_store::{Filter, Store};

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts, the ledger and its sums.
    pub store: Store,
}

/// GET /api/usage, GET /api/usage/stats, GET /api/usage/export
///
/// # Errors
/// 400 for a bad filter or page; 401, 403 and 429 of the key; 500.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = request.caller()?;
    let filter = Filter::of_usage(|name| request.query(name))?;
    let (_, rate) = app.store.key_count(&caller.account, caller.key, request.at).await?.counted()?;
    request.record.counted(rate);
    match request.resource.as_str() {
        "/api/usage/stats" => stats::answer(app, &caller, filter, &request).await,
        "/api/usage/export" => export::answer(app, &caller, filter, &request).await,
        _ => list::answer(app, &caller, filter, &request).await,
    }
}
