//! `POST /api/keys`: a new proxy key. Its token is in this answer and nowhere else.

use gateway_core::error::ApiError;
use gateway_lambda::{Caller, Request, Response};

use crate::{App, Key, TRIES, body, new_token, not_found};

pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let new = body::new_key(request)?;
    for _ in 0..TRIES {
        let (token, memory) = new_token(app, caller, request).await?;
        let record = match memory.as_ref().and_then(|memory| memory.made) {
            // The same POST again: the same key and token.
            Some(id) => Some(app.store.key(&caller.account, id).await?.ok_or_else(|| not_found(id))?),
            None => app.store.key_create(&caller.account, &new, &token, request.at, memory.as_ref()).await?,
        };
        if let Some(record) = record {
            return Ok(Response::json(201, &Key::of(record, request.at).with_token(&token)));
        }
    }
    Err(ApiError::internal("the account is gone"))
}
