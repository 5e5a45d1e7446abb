//! `POST /api/payments`: a page of Stripe's, on which the account's credit is topped up. Nothing is credited here: that the
//! money has come is for the `stripe-webhook` function to hear, from Stripe.

mod body;

use gateway_core::error::ApiError;
use gateway_lambda::{Caller, Request, Response};
use gateway_store::{IdempotencyKey, PaymentSecrets, Store};
use gateway_upstream::stripe::{CheckoutOrder, Stripe};
use serde::Serialize;

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts.
    pub store: Store,
    /// Stripe.
    pub stripe: Stripe,
    /// Its secret key.
    pub secrets: PaymentSecrets,
}

#[derive(Serialize)]
struct Checkout {
    id: String,
    url: String,
}

/// POST /api/payments
///
/// # Errors
/// 400 for a bad body, 409 for an idempotency key used again otherwise; 401, 403 and 429 of the calling key; 502, 503 or 504
/// if Stripe makes no page, 503 where there is no secret key; 500.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = request.caller()?;
    let (_, rate) = app.store.key_count(&caller.account, caller.key, request.at).await?.counted()?;
    request.record.counted(rate);
    let body = body::read(&request)?;
    let secrets = app.secrets.current(request.at).await?;
    let secret_key = secrets.secret_key()?;
    let key = idempotency_key(app, &caller, &request).await?;
    let (success_url, cancel_url) = (body.success_url.as_str(), body.cancel_url.as_str());
    let order = CheckoutOrder { account: &caller.account, cents: body.cents, success_url, cancel_url };
    let session = app.stripe.checkout(secret_key, &key, order).await?;
    Ok(Response::json(201, &Checkout { id: session.id, url: session.url }))
}

/// What Stripe knows this `POST` by: one that is sent again makes no second page, and has the first one's answer.
async fn idempotency_key(app: &App, caller: &Caller, request: &Request) -> Result<String, ApiError> {
    let Some(given) = request.idempotency_key()? else { return Ok(request.id.as_str().to_owned()) };
    let key = IdempotencyKey::new(given, &request.token()?, &request.path, &request.body);
    let memory = app.store.idempotency_begin(&caller.account, key, request.at).await?.agreed()?;
    Ok(memory.key_for("stripe"))
}
