//! `POST /api/keys/{id}/rotate`: a new token for the same key. The old one works on for a grace period.

use gateway_core::{error::ApiError, key_rules, moment::UnixMs};
use gateway_lambda::{Caller, Request, Response};
use gateway_store::UpdateOutcome;
use serde::Serialize;

use crate::{App, Key, TRIES, body, new_token, not_found, proxy_key};

#[derive(Serialize)]
struct Rotated {
    #[serde(flatten)]
    key: Key,
    /// Until then the old token works.
    #[serde(rename = "oldKeyExpiresAt")]
    old_key_expires_at: UnixMs,
}

pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let grace_ms = body::grace_ms(request)?;
    for _ in 0..TRIES {
        // In this order: a key that was read before its rotation was remembered may be the key before it.
        let (token, memory) = new_token(app, caller, request).await?;
        let before = proxy_key(app, caller, request).await?;
        let began = memory.as_ref().map_or(request.at, |memory| memory.at);
        let grace_until = key_rules::grace_end(began, grace_ms, before.allowance.expires_at);
        let record = if memory.as_ref().is_some_and(|memory| memory.made.is_some()) {
            // The same POST again: the same token.
            before
        } else {
            let id = before.id;
            let rotated = app.store.key_rotate(&caller.account, id, &token, grace_until, request.at, memory.as_ref());
            match rotated.await? {
                UpdateOutcome::Updated(record) => *record,
                UpdateOutcome::NotFound => return Err(not_found(id)),
                UpdateOutcome::TooManyTokens => return Err(ApiError::invalid("grace_seconds", TOO_MANY_TOKENS)),
                UpdateOutcome::Repeated => continue,
            }
        };
        let key = Key::of(record, request.at).with_token(&token);
        return Ok(Response::json(200, &Rotated { key, old_key_expires_at: grace_until }));
    }
    Err(ApiError::internal("other rotations with this idempotency key came first every time"))
}

const TOO_MANY_TOKENS: &str =
    "This key was rotated too often: wait until the grace of an old token is over, or delete the key";
