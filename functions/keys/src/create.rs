//! `POST /api/keys`: a new proxy key. Its token is in this answer and nowhere else.

use gateway_core::error::ApiError;
use gateway_lambda::{Caller, Request, Response};

use crate::{App, Key, body, new_token, not_found};

pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, ApiError> {
    let new = body::new_key(request)?;
    let (token, memory) = new_token(app, caller, request).await?;
    let made = memory.as_ref().and_then(|memory| memory.made);
    let record = match made {
        // The same POST again: the same key and token.
        Some(id) => app.store.key(&caller.account, id).await?.ok_or_else(|| not_found(request))?,
        None => {
            let made = app.store.key_create(&caller.account, &new, &token, request.at, memory.as_ref()).await?;
            made.ok_or_else(|| ApiError::internal("the account is gone, or the same POST ran at the same time"))?
        }
    };
    Ok(Response::json(201, &Key::of(record, request.at).with_token(&token)))
}
