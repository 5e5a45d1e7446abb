//! `GET /api/usage/export`: every request as CSV, streamed as it is read.

use bytes::Bytes;
use gateway_core::error::ApiError;
use gateway_lambda::{Caller, Request, Response};
use gateway_store::Filter;
use http::{HeaderValue, header};
use tokio::sync::mpsc;

use crate::{App, Entries, list::UsageLine};

const HEADER: &str =
    "id,created_at,model,provider,key_id,prompt_tokens,completion_tokens,cached_tokens,charged_amount,status\n";
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
        let mut entries = Entries::new(&app.store, &account, &filter);
        let mut text = HEADER.to_owned();
        // A client that is gone needs no more.
        while sender.send(Bytes::from(std::mem::take(&mut text))).await.is_ok() {
            let Some(page) = entries.next().await? else { break };
            text.extend(page.into_iter().map(|entry| csv_line(&UsageLine::from(entry))));
        }
        Ok(())
    };
    let disposition = HeaderValue::from_static("attachment; filename=\"usage.csv\"");
    Ok(Response::streamed("text/csv; charset=utf-8", request, CUT, write)
        .header(header::CONTENT_DISPOSITION, disposition))
}

fn csv_line(line: &UsageLine) -> String {
    let UsageLine { id, model, provider, key_id, prompt_tokens, completion_tokens, cached_tokens, .. } = line;
    let UsageLine { charged_amount, status, created_at, .. } = line;
    let (model, provider) = (csv_field(model), csv_field(provider));
    format!(
        "{id},{created_at},{model},{provider},{key_id},{prompt_tokens},{completion_tokens},{cached_tokens},\
         {charged_amount},{status}\n"
    )
}

/// A name as a CSV field: quoted where it must be, and never a formula to a spreadsheet.
fn csv_field(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        return text.to_owned();
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_never_formulas() {
        assert_eq!(csv_field("gpt-4o"), "gpt-4o");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_field("=1+1"), "\"'=1+1\"");
    }
}
