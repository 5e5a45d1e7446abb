//! `/api/keys`: the account's proxy keys. Billing keys are never made or changed by another key.

mod body;
mod create;
mod rotate;

use std::fmt::Display;

use gateway_core::{
    error::{ApiError, ErrorCode},
    ids::KeyId,
    limits::RateLimit,
    moment::{Reset, UnixMs},
    money::Nanos,
    token::{KeyType, Token},
};
use gateway_lambda::{Caller, Request, Response};
use gateway_store::{Idempotency, IdempotencyKey, KeyRecord, Store, UpdateOutcome, random};
use serde::Serialize;

/// How often a `POST` is begun again when another one with its idempotency key came first.
const TRIES: usize = 3;

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts and the tokens.
    pub store: Store,
}

/// A key as its account sees it: never a token or a hash, but once the token in the answer that makes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    id: KeyId,
    name: String,
    prefix: String,
    active: bool,
    created_at: UnixMs,
    expires_at: Option<UnixMs>,
    last_used_at: Option<UnixMs>,
    spend_limit: Option<Nanos>,
    spend_limit_reset: Option<Reset>,
    spent: Nanos,
    rate_limit: RateLimit,
    models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Key {
    fn of(record: KeyRecord, at: UnixMs) -> Self {
        let allowance = record.allowance;
        Self {
            id: record.id,
            name: record.name,
            prefix: record.prefix,
            active: allowance.active,
            created_at: record.created_at,
            expires_at: allowance.expires_at,
            last_used_at: record.last_used_at,
            spend_limit: allowance.spend_limit,
            spend_limit_reset: allowance.reset,
            spent: allowance.period_spent(at),
            rate_limit: allowance.rate_limit,
            models: allowance.models.map(|models| models.into_iter().collect()),
            key: None,
        }
    }

    /// The same with its token, for the one answer that shows it.
    fn with_token(self, token: &Token) -> Self {
        Self { key: Some(token.reveal().to_owned()), ..self }
    }
}

#[derive(Serialize)]
struct Keys {
    keys: Vec<Key>,
}

/// Every route of `/api/keys`.
///
/// # Errors
/// 400 for a bad body, 404 for an unknown key, 409 for an idempotency key used again otherwise; 401, 403 and 429 of the
/// calling key; 500.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = request.caller()?;
    let (_, rate) = app.store.key_count(&caller.account, caller.key, request.at).await?.counted()?;
    request.record.counted(rate);
    match (request.method.as_str(), request.resource.as_str()) {
        ("GET", "/api/keys") => list(app, &caller, &request).await,
        ("POST", "/api/keys") => create::answer(app, &caller, &request).await,
        ("POST", _) => rotate::answer(app, &caller, &request).await,
        ("GET", _) => show(app, &caller, &request).await,
        ("DELETE", _) => delete(app, &caller, &request).await,
        _ => update(app, &caller, &request).await,
    }
}

/// GET /api/keys
async fn list(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let standing = app.store.account_standing(&caller.account).await?;
    let records = standing.map(|standing| standing.keys).unwrap_or_default();
    let shown = records.into_iter().filter(|key| key.key_type == KeyType::Proxy && !key.allowance.deleted);
    Ok(Response::json(200, &Keys { keys: shown.map(|record| Key::of(record, request.at)).collect() }))
}

/// GET /api/keys/{id}
async fn show(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let record = proxy_key(app, caller, request).await?;
    Ok(Response::json(200, &Key::of(record, request.at)))
}

/// PUT and PATCH /api/keys/{id}
async fn update(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let change = body::change(request)?;
    let record = proxy_key(app, caller, request).await?;
    match app.store.key_update(&caller.account, record.id, &change, request.at).await? {
        UpdateOutcome::Updated(record) => Ok(Response::json(200, &Key::of(*record, request.at))),
        _ => Err(not_found(record.id)),
    }
}

/// DELETE /api/keys/{id}
async fn delete(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let record = proxy_key(app, caller, request).await?;
    if app.store.key_delete(&caller.account, record.id).await? {
        Ok(Response::no_content())
    } else {
        Err(not_found(record.id))
    }
}

/// The proxy key that the path names, if it is the caller's account's.
async fn proxy_key(app: &App, caller: &Caller, request: &Request) -> Result<KeyRecord, ApiError> {
    let text = request.path_parameters.get("id").map_or("", String::as_str);
    let id = KeyId::parse(text).ok_or_else(|| not_found(text))?;
    let record = app.store.key(&caller.account, id).await?;
    record.filter(|record| record.key_type == KeyType::Proxy).ok_or_else(|| not_found(id))
}

/// A key that is not the account's, or no proxy key, or deleted: to the caller all the same.
fn not_found(id: impl Display) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("There is no proxy key with the id `{id}`."))
}

/// A `POST`'s new token, and what is remembered of the `POST` where the client sent an `Idempotency-Key`.
async fn new_token(app: &App, caller: &Caller, request: &Request) -> Result<(Token, Option<Idempotency>), ApiError> {
    let Some(given) = request.idempotency_key()? else {
        return Ok((Token::from_random(KeyType::Proxy, random()?), None));
    };
    let own = request.token()?;
    let key = IdempotencyKey::new(given, &own, &request.path, &request.body);
    let memory = app.store.idempotency(&caller.account, key, request.at).await?.agreed()?;
    Ok((memory.token(KeyType::Proxy, &own), Some(memory)))
}
