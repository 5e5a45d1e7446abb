//! `/dashboard/billing/transactions.csv`: all that changed the account's funds, as a file.

use bytes::Bytes;
use gateway_core::transaction::{SHOWN, Transaction};
use gateway_lambda::Response;
use gateway_store::Filter;
use tokio::sync::mpsc;

use crate::{
    answer::{Answer, Failure},
    visit::Visit,
};

const ENTRIES_PER_READ: usize = 500;
/// Lambda takes 6 MB for an answer that it hands over whole, as it does this function's.
const MOST_BYTES: usize = 5 * 1024 * 1024;
/// The last line of a file that does not hold all: a CSV has no place for an error, and a line that is no record keeps a
/// reader from taking the part for the whole.
const FULL: &str = "error: older transactions do not fit into one file; GET /api/transactions has them all\n";
const CUT: &str = "error: this file is incomplete; download it again\n";

/// GET /billing/transactions.csv
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let (store, account) = (visit.app.store.clone(), visit.standing()?.account.id.clone());
    let write = move |sender: mpsc::Sender<Bytes>| async move {
        let filter = Filter { kinds: SHOWN.to_vec(), ..Filter::default() };
        let (mut text, mut after, mut sent) = (Transaction::CSV_HEADER.to_owned(), None, 0);
        loop {
            let page = store.ledger_page(&account, &filter, after.as_ref(), 0, ENTRIES_PER_READ).await?;
            text.extend(page.entries.into_iter().map(|entry| Transaction::from(entry).csv()));
            after = page.next;
            sent += text.len();
            let is_last = after.is_none() || sent >= MOST_BYTES;
            if is_last && after.is_some() {
                text.push_str(FULL);
            }
            // A client that is gone needs no more.
            if sender.send(Bytes::from(std::mem::take(&mut text))).await.is_err() || is_last {
                return Ok(());
            }
        }
    };
    let response = Response::streamed("text/csv; charset=utf-8", visit.request, CUT, write);
    Ok(Answer::file(response, "attachment; filename=\"transactions.csv\""))
}
