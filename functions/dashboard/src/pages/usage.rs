//! `/dashboard/usage`: what the account's requests cost, by day, model and key; and the requests themselves.

mod figures;

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use bytes::Bytes;
use form_urlencoded::Serializer;
use gateway_core::{
    ids::{KeyId, RequestId},
    moment::UnixMs,
};
use gateway_lambda::Response;
use gateway_store::{ESTIMATED, Filter, Standing, UsageGroup, UsageLine, UsageSums};
use tokio::sync::mpsc;

use self::figures::Figures;
use super::UNPROCESSABLE;
use crate::{
    answer::{Answer, Failure},
    chart::Chart,
    frame::Frame,
    problem::Problem,
    visit::Visit,
    written::{Count, Duration, When},
};

const PATH: &str = "/usage";
const DAY_MS: u64 = 86_400_000;
/// Days that are shown where nobody says which, and at the most.
const USUAL_DAYS: u64 = 31;
const MOST_DAYS: u64 = 366;
/// Requests a page of the list.
const LINES: usize = 25;

/// Lambda takes 6 MB for an answer that it hands over whole, as it does this function's.
const MOST_BYTES: usize = 5 * 1024 * 1024;
/// The last line of a file that does not hold all: a CSV has no place for an error, and a line that is no record keeps a
/// reader from taking the part for the whole.
const FULL: &str = "error: older requests do not fit into one file; choose fewer days\n";
const CUT: &str = "error: this file is incomplete; download it again\n";

/// What the query asks for.
struct Asked {
    filter: Filter,
    days: Vec<String>,
}

/// One choice of a list.
struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

/// A request, as the list shows it.
struct Line {
    line: UsageLine,
    time: When,
    key: String,
    duration: Option<Duration>,
}

/// What is shown if the query makes sense.
struct Shown {
    figures: Figures,
    lines: Vec<Line>,
    /// Whether the tokens of any of them are estimated.
    estimated: bool,
    /// Where the list's first page is, if this is another one; and its next page, if there is one.
    newest: Option<String>,
    older: Option<String>,
    csv: String,
}

#[derive(Template)]
#[template(path = "usage.html")]
struct Page<'a> {
    frame: Frame<'a>,
    from: String,
    to: String,
    models: Vec<Choice>,
    keys: Vec<Choice>,
    shown: Option<Shown>,
}

/// The days that the query asks for, as the form shows them: its own, or the last ones.
fn range(visit: &Visit<'_>) -> (String, String) {
    let to = visit.request.query("to").map_or_else(|| visit.request.at.day(), str::to_owned);
    let last = UnixMs::parse_rfc3339(&to).unwrap_or(visit.request.at);
    let first = UnixMs(last.0.saturating_sub((USUAL_DAYS - 1) * DAY_MS)).day();
    (visit.request.query("from").map_or(first, str::to_owned), to)
}

/// What the query asks for, or what is wrong with it.
fn asked(visit: &Visit<'_>) -> Result<Asked, Problem> {
    let (from, to) = range(visit);
    let parameter = |name: &str| match name {
        "from" => Some(from.as_str()),
        "to" => Some(to.as_str()),
        _ => visit.request.query(name),
    };
    let filter = Filter::of_usage(parameter).map_err(|error| match error.param.as_deref() {
        Some("from") => Problem::at("from", "Enter the start date like 2026-11-23."),
        Some("to") if UnixMs::parse_rfc3339(&to).is_none() => Problem::at("to", "Enter the end date like 2026-11-23."),
        Some("to") => Problem::at("to", "The end date is before the start date."),
        _ => Problem::at("keyId", "There is no such key. Choose one from the list."),
    })?;
    let day = |id: &Option<RequestId>| id.as_ref().map_or(0, |id| id.at().0 / DAY_MS);
    let (first, last) = (day(&filter.from), day(&filter.to));
    if last - first >= MOST_DAYS {
        return Err(Problem::among(["from", "to"], "That is more than a year. Choose at most 366 days."));
    }
    Ok(Asked { filter, days: (first..=last).map(|day| UnixMs(day * DAY_MS).day()).collect() })
}

/// The path of a page with what the query asks for, and with this cursor.
fn address(visit: &Visit<'_>, path: &str, cursor: Option<&RequestId>) -> String {
    let mut query = Serializer::new(String::new());
    for name in ["from", "to", "model", "keyId"] {
        if let Some(value) = visit.request.query(name) {
            query.append_pair(name, value);
        }
    }
    if let Some(cursor) = cursor {
        query.append_pair("cursor", cursor.as_str());
    }
    let query = query.finish();
    visit.site.at(&if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") })
}

/// The page with the form as it was sent, and nothing shown.
fn page<'a>(visit: &'a Visit<'_>, problem: Option<&'a Problem>) -> Result<Page<'a>, Failure> {
    let (from, to) = range(visit);
    // A field for a date takes nothing else.
    let day = |text: String| UnixMs::parse_rfc3339(&text).map(UnixMs::day).unwrap_or_default();
    let (from, to) = (day(from), day(to));
    let frame = visit.frame("Usage", PATH).with(problem);
    let key = visit.request.query("keyId").and_then(KeyId::parse);
    let chosen = Filter { model: visit.request.query("model").map(str::to_owned), key, ..Filter::default() };
    let standing = visit.standing()?;
    let (models, keys) = choices(&BTreeMap::new(), &chosen, |id| key_name(standing, id));
    Ok(Page { frame, from, to, models, keys, shown: None })
}

/// What a key is called.
fn key_name(standing: &Standing, id: KeyId) -> String {
    let key = standing.keys.iter().find(|key| key.id == id);
    key.map_or_else(|| format!("Key {id}"), |key| format!("{} (key {id})", key.name))
}

/// The models and the keys that were used in these days, and those that the query names.
fn choices(
    sums: &BTreeMap<UsageGroup, UsageSums>,
    filter: &Filter,
    key_name: impl Fn(KeyId) -> String,
) -> (Vec<Choice>, Vec<Choice>) {
    let models: BTreeSet<_> = sums.keys().map(|group| &group.model).chain(&filter.model).collect();
    let keys: BTreeSet<_> = sums.keys().map(|group| group.key).chain(filter.key).collect();
    let model = |model: &String| Choice {
        value: model.clone(),
        label: model.clone(),
        chosen: filter.model.as_ref() == Some(model),
    };
    let key = |key| Choice { value: format!("{key}"), label: key_name(key), chosen: filter.key == Some(key) };
    (models.into_iter().map(model).collect(), keys.into_iter().map(key).collect())
}

/// GET /usage
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let Asked { filter, days } = match asked(visit) {
        Ok(asked) => asked,
        Err(problem) => return Answer::page_with(UNPROCESSABLE, &page(visit, Some(&problem))?),
    };
    let (store, account) = (&visit.app.store, &visit.signed_in()?.user.account);
    // One that is not of this range begins nowhere: then the list begins at its newest.
    let cursor = visit.request.query("cursor").and_then(RequestId::parse).filter(|cursor| filter.spans(cursor));
    // Of all models and keys, so that the form can name them.
    let range = Filter { model: None, key: None, ..filter.clone() };
    let (sums, lines) = tokio::try_join!(
        store.usage_sums(account, &range),
        store.usage_page(account, &filter, cursor.as_ref(), 0, LINES),
    )?;
    let standing = visit.standing()?;
    let key_name = |id| key_name(standing, id);
    let mut page = page(visit, None)?;
    (page.models, page.keys) = choices(&sums, &filter, key_name);
    let wanted: BTreeMap<_, _> = sums.into_iter().filter(|(group, _)| filter.takes(group)).collect();
    let line = |line: UsageLine| Line {
        time: When(line.created_at),
        key: key_name(line.key_id),
        duration: line.duration_ms.map(Duration),
        line,
    };
    page.shown = Some(Shown {
        figures: Figures::of(&wanted, &days, key_name),
        newest: cursor.is_some().then(|| address(visit, PATH, None)),
        older: lines.next.as_ref().map(|next| address(visit, PATH, Some(next))),
        csv: address(visit, "/usage/requests.csv", None),
        estimated: lines.lines.iter().any(|line| line.status == ESTIMATED),
        lines: lines.lines.into_iter().map(line).collect(),
    });
    Answer::page(&page)
}

/// GET /usage/requests.csv
pub(crate) async fn download(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let filter = match asked(visit) {
        Ok(asked) => asked.filter,
        Err(problem) => return Answer::page_with(UNPROCESSABLE, &page(visit, Some(&problem))?),
    };
    let (store, account) = (visit.app.store.clone(), visit.signed_in()?.user.account.clone());
    let write = move |sender: mpsc::Sender<Bytes>| async move {
        if !store.usage_csv(&account, &filter, MOST_BYTES, &sender).await? {
            // A client that is gone needs no more.
            let _ = sender.send(Bytes::from_static(FULL.as_bytes())).await;
        }
        Ok(())
    };
    let response = Response::streamed("text/csv; charset=utf-8", visit.request, CUT, write);
    Ok(Answer::file(response, "attachment; filename=\"requests.csv\""))
}
