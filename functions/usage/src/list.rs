//! `GET /api/usage`: the requests themselves, newest first.

use gateway_core::{error::ApiError, ids::RequestId};
use gateway_lambda::{Caller, Request, Response};
use gateway_store::{Filter, UsageLine};
use serde::Serialize;

use crate::App;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageList {
    usage: Vec<UsageLine>,
    next_cursor: Option<RequestId>,
}

pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    filter: Filter,
    request: &Request,
) -> Result<Response, ApiError> {
    let paging = request.paging()?;
    if paging.cursor.as_ref().is_some_and(|cursor| !filter.spans(cursor)) {
        return Err(ApiError::invalid("cursor", "'cursor' must be of an answer to the same 'from' and 'to'"));
    }
    let page =
        app.store.usage_page(&caller.account, &filter, paging.cursor.as_ref(), paging.offset, paging.limit).await?;
    Ok(Response::json(200, &UsageList { usage: page.lines, next_cursor: page.next }))
}
