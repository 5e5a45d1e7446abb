//! `GET /api/usage/export`: every request as CSV, streamed as it is read.

use bytes::Bytes;
use gateway_core::error::ApiError;
use gateway_lambda::{Caller, Request, Response};
use gateway_store::Filter;
use http::{HeaderValue, header};
use tokio::sync::mpsc;

use crate::App;

/// The last line of an export that was cut short: a CSV has no place for an error, and a line that is not a record keeps a
/// reader from taking the part for the whole.
const CUT: &str = "error: the export was cut short, try again\n";

pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    filter: Filter,
    request: &Request,
) -> Result<Response, ApiError> {
    if request.query("format").is_some_and(|format| format != "csv") {
        return Err(ApiError::invalid("format", "'format' must be csv"));
    }
    let (app, account) = (app.clone(), caller.account.clone());
    let write = move |sender: mpsc::Sender<Bytes>| async move {
        app.store.usage_csv(&account, &filter, usize::MAX, &sender).await?;
        Ok(())
    };
    let disposition = HeaderValue::from_static("attachment; filename=\"usage.csv\"");
    Ok(Response::streamed("text/csv; charset=utf-8", request, CUT, write)
        .header(header::CONTENT_DISPOSITION, disposition))
}
