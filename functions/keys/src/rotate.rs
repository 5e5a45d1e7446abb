//! `POST /api/keys/{id}/rotate`: a new token for the same key. The old one works on for a grace period.

use gateway_core::{error::ApiError, moment::UnixMs};
use gateway_lambda::{Caller, Request, Response};
use serde::Serialize;

use crate::{App, Key, body, new_token, proxy_key, updated_key};

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
    let before = proxy_key(app, caller, request).await?;
    let (token, memory) = new_token(app, caller, request).await?;
    let end = request.at.plus_ms(grace_ms);
    let grace_until = before.allowance.expires_at.map_or(end, |expires| expires.min(end));
    let record = if memory.as_ref().is_some_and(|memory| memory.made.is_some()) {
        before
    } else {
        let id = before.id;
        let rotated =
            app.store.key_rotate(&caller.account, id, &token, grace_until, request.at, memory.as_ref()).await?;
        updated_key(rotated, request)?
    };
    let key = Key::of(record, request.at).with_token(&token);
    Ok(Response::json(200, &Rotated { key, old_key_expires_at: grace_until }))
}
