//! `GET /api/balance`: what the account has, what of it is free and what running requests hold.

use gateway_core::{error::ApiError, money::Nanos};
use gateway_lambda::{Request, Response};
use gateway_store::Store;
use serde::Serialize;

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts.
    pub store: Store,
}

#[derive(Serialize)]
struct Balance {
    balance: Nanos,
    available: Nanos,
    held: Nanos,
    currency: &'static str,
}

/// GET /api/balance
///
/// # Errors
/// 401, 403 and 429 of the key; 500.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = request.caller()?;
    let (_, rate) = app.store.key_count(&caller.account, caller.key, request.at).await?.counted()?;
    request.record.counted(rate);
    let standing = app.store.account_standing(&caller.account).await?;
    let standing = standing.ok_or_else(|| ApiError::internal("the key's account does not exist"))?;
    let (balance, available, held) = (standing.balance(), standing.available(), standing.held());
    Ok(Response::json(200, &Balance { balance, available, held, currency: "USD" }))
}
