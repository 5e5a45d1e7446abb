//! `GET /api/usage`: the requests themselves, newest first.

use gateway_core::{
    error::ApiError,
    ids::{KeyId, RequestId},
    ledger::{Entry, Served},
    moment::UnixMs,
    money::Nanos,
};
use gateway_lambda::{Caller, Request, Response};
use gateway_store::Filter;
use serde::Serialize;

use crate::{App, with_served};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageList {
    usage: Vec<UsageLine>,
    next_cursor: Option<RequestId>,
}

/// One request, as the list and the export show it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageLine {
    pub(crate) id: RequestId,
    pub(crate) model: String,
    pub(crate) provider: String,
    pub(crate) key_id: KeyId,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) charged_amount: Nanos,
    pub(crate) status: &'static str,
    pub(crate) created_at: UnixMs,
}

impl From<(Entry, Served)> for UsageLine {
    fn from((entry, served): (Entry, Served)) -> Self {
        let Served { key, model, provider, metered, .. } = served;
        Self {
            created_at: entry.id.at(),
            id: entry.id,
            model,
            provider,
            key_id: key,
            prompt_tokens: metered.usage.all_input(),
            completion_tokens: metered.usage.all_output(),
            cached_tokens: metered.usage.cache_read,
            charged_amount: -entry.amount,
            status: if metered.estimated { "estimated" } else { "completed" },
        }
    }
}

pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    filter: Filter,
    request: &Request,
) -> Result<Response, ApiError> {
    let paging = request.paging()?;
    // The database takes no place to go on from that is outside the range.
    let outside = |cursor: &RequestId| {
        filter.from.as_ref().is_some_and(|from| cursor < from) || filter.to.as_ref().is_some_and(|to| cursor > to)
    };
    if paging.cursor.as_ref().is_some_and(outside) {
        return Err(ApiError::invalid("cursor", "'cursor' must be of an answer to the same 'from' and 'to'"));
    }
    let page =
        app.store.ledger_page(&caller.account, &filter, paging.cursor.as_ref(), paging.offset, paging.limit).await?;
    let usage = page.entries.into_iter().filter_map(with_served).map(UsageLine::from).collect();
    Ok(Response::json(200, &UsageList { usage, next_cursor: page.next }))
}
