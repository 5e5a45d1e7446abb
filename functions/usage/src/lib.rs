//! `GET /api/usage`, `/api/usage/stats` and `/api/usage/export`: what the account's requests used and what they cost.

mod export;
mod list;
mod stats;

use gateway_core::{
    error::ApiError,
    ids::{AccountId, KeyId, RequestId},
    ledger::{Entry, EntryKind, Served},
    moment::UnixMs,
};
use gateway_lambda::{Request, Response};
use gateway_store::{Filter, Store, StoreError};

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts, the ledger and its sums.
    pub store: Store,
}

/// GET /api/usage, GET /api/usage/stats, GET /api/usage/export
///
/// # Errors
/// 400 for a bad filter or page; 401, 403 and 429 of the key; 500.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = request.caller()?;
    let filter = filter(&request)?;
    let (_, rate) = app.store.key_count(&caller.account, caller.key, request.at).await?.counted()?;
    request.record.counted(rate);
    match request.resource.as_str() {
        "/api/usage/stats" => stats::answer(app, &caller, filter, &request).await,
        "/api/usage/export" => export::answer(app, &caller, filter, &request).await,
        _ => list::answer(app, &caller, filter, &request).await,
    }
}

/// The query's `from`, `to`, `model` and `keyId`. A date alone as `to` means that day's end.
fn filter(request: &Request) -> Result<Filter, ApiError> {
    let moment = |name: &str| {
        let read = |text: &str| {
            let wrong = || {
                ApiError::invalid(name, format!("'{name}' must be a date or an RFC 3339 time, 2026-11-23T09:30:00Z"))
            };
            UnixMs::parse_rfc3339(text).map(|at| (at, text.len())).ok_or_else(wrong)
        };
        request.query(name).map(read).transpose()
    };
    const DAY_MS: u64 = 86_400_000;
    const DATE_CHARS: usize = 10;
    let key = request.query("keyId").map(|text| {
        KeyId::parse(text).ok_or_else(|| ApiError::invalid("keyId", "'keyId' must be a key's id, a whole number"))
    });
    let from = moment("from")?.map(|(at, _)| RequestId::first_at(at));
    let to = moment("to")?
        .map(|(at, chars)| RequestId::last_at(if chars == DATE_CHARS { at.plus_ms(DAY_MS - 1) } else { at }));
    // The database takes no range that ends before it begins.
    if from.as_ref().zip(to.as_ref()).is_some_and(|(from, to)| to < from) {
        return Err(ApiError::invalid("to", "'to' must not lie before 'from'"));
    }
    Ok(Filter {
        kinds: vec![EntryKind::Usage],
        from,
        to,
        model: request.query("model").map(str::to_owned),
        key: key.transpose()?,
    })
}

/// Every usage entry that passes the filter, newest first, a page at a time.
struct Entries<'a> {
    store: &'a Store,
    account: &'a AccountId,
    filter: &'a Filter,
    after: Option<RequestId>,
    done: bool,
}

const ENTRIES_PER_READ: usize = 500;

impl<'a> Entries<'a> {
    fn new(store: &'a Store, account: &'a AccountId, filter: &'a Filter) -> Self {
        Self { store, account, filter, after: None, done: false }
    }

    /// The next entries; none when all were given.
    async fn next(&mut self) -> Result<Option<Vec<(Entry, Served)>>, StoreError> {
        if self.done {
            return Ok(None);
        }
        let page = self.store.ledger_page(self.account, self.filter, self.after.as_ref(), 0, ENTRIES_PER_READ).await?;
        self.done = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.entries.into_iter().filter_map(with_served).collect()))
    }
}

/// The entry beside what it says was served; every usage entry has that.
fn with_served(mut entry: Entry) -> Option<(Entry, Served)> {
    let served = entry.served.take()?;
    Some((entry, served))
}
