//! `GET /v1/auth/key` and `GET /v1/key`: what a key may do and has done, to see that it works before it is deployed.

use gateway_core::{
    error::ApiError,
    limits::RateLimit,
    moment::{Reset, UnixMs},
    money::Nanos,
};
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
struct Answer {
    data: KeyInfo,
}

/// The product's page fixes the first five fields and their order.
#[derive(Serialize)]
struct KeyInfo {
    label: String,
    usage: Nanos,
    limit: Nanos,
    is_free_tier: bool,
    rate_limit: RateLimit,
    spend_limit: Option<Nanos>,
    spend_limit_remaining: Option<Nanos>,
    spend_limit_reset: Option<Reset>,
    expires_at: Option<UnixMs>,
}

/// GET /v1/auth/key
///
/// # Errors
/// 401, 403 and 429 of the key; 500.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = request.caller()?;
    let (lane, rate) = app.store.key_count(&caller.account, caller.key, request.at).await?.counted()?;
    request.record.counted(rate);
    let standing = app.store.account_standing(&caller.account).await?;
    let standing = standing.ok_or_else(|| ApiError::internal("the key's account does not exist"))?;
    let (balance, is_free_tier) = (standing.balance(), standing.account.paid_in == Nanos::ZERO);
    // What was counted is one lane; the key is all of them.
    let key = standing.keys.into_iter().find(|key| key.id == lane.id).unwrap_or(*lane);
    let data = KeyInfo {
        label: key.name,
        usage: key.allowance.spent,
        limit: balance,
        is_free_tier,
        rate_limit: key.allowance.rate_limit,
        spend_limit: key.allowance.spend_limit,
        spend_limit_remaining: key.allowance.limit_remaining(request.at),
        spend_limit_reset: key.allowance.reset,
        expires_at: key.allowance.expires_at,
    };
    Ok(Response::json(200, &Answer { data }))
}
