//! `GET /api/transactions`: all that changed the account's funds, newest first.

use gateway_core::{
    error::ApiError,
    ids::RequestId,
    transaction::{SHOWN, Transaction},
};
use gateway_lambda::{Request, Response};
use gateway_store::{Filter, Store};
use serde::Serialize;

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts and the ledger.
    pub store: Store,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Transactions {
    transactions: Vec<Transaction>,
    next_cursor: Option<RequestId>,
}

/// GET /api/transactions
///
/// # Errors
/// 400 for a bad page; 401, 403 and 429 of the key; 500.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = request.caller()?;
    let paging = request.paging()?;
    let (_, rate) = app.store.key_count(&caller.account, caller.key, request.at).await?.counted()?;
    request.record.counted(rate);
    let filter = Filter { kinds: SHOWN.to_vec(), ..Filter::default() };
    let page =
        app.store.ledger_page(&caller.account, &filter, paging.cursor.as_ref(), paging.offset, paging.limit).await?;
    let transactions = page.entries.into_iter().map(Transaction::from).collect();
    Ok(Response::json(200, &Transactions { transactions, next_cursor: page.next }))
}
