//! `GET /api/transactions`: all that changed the account's funds, newest first.

use gateway_core::{
    error::ApiError,
    ids::RequestId,
    ledger::{Entry, EntryKind},
    moment::UnixMs,
    money::Nanos,
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

/// What an account sees of its ledger: not the entries that only keep late settlements out.
const SHOWN: [EntryKind; 4] = [EntryKind::Usage, EntryKind::Payment, EntryKind::Refund, EntryKind::Adjustment];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Transactions {
    transactions: Vec<Transaction>,
    next_cursor: Option<RequestId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    id: RequestId,
    amount: Nanos,
    #[serde(rename = "type")]
    kind: &'static str,
    description: String,
    created_at: UnixMs,
}

impl From<Entry> for Transaction {
    fn from(entry: Entry) -> Self {
        let served = entry.served.map(|served| format!("{} (key {})", served.model, served.key));
        Self {
            created_at: entry.id.at(),
            id: entry.id,
            amount: entry.amount,
            kind: entry.kind.name(),
            description: entry.description.or(served).unwrap_or_default(),
        }
    }
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
