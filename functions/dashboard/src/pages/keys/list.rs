//! The keys in a table, newest first.

use askama::Template;
use form_urlencoded::byte_serialize;
use gateway_store::KeyRecord;

use super::{KeyView, Page};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    visit::Visit,
};

/// On one page.
const MOST_ROWS: usize = 50;
/// Of fewer keys there is nothing to search for.
const SEARCHED_FROM: usize = 10;

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys<'a> {
    frame: Frame<'a>,
    page: &'static Page,
    notice: Option<&'static str>,
    /// Whether who is signed in may make and change such keys.
    may_change: bool,
    rows: Vec<KeyView<'a>>,
    /// All that there are, and how many are found by `search`.
    all: usize,
    found: usize,
    search: &'a str,
    searched: bool,
    /// The pages before and after this one.
    newer: Option<String>,
    older: Option<String>,
}

/// GET /keys, /billing-keys
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let (page, at) = (Page::of(visit), visit.request.at);
    let mut keys = visit.standing()?.keys.clone();
    keys.retain(|key| key.key_type == page.key_type && !key.allowance.deleted);
    keys.reverse();
    let all = keys.len();
    let search = visit.request.query("search").unwrap_or_default().trim();
    keys.retain(|key| matches(key, search));
    let found = keys.len();
    let last = found.div_ceil(MOST_ROWS).max(1);
    let number = visit.request.query("page").and_then(|text| text.parse::<usize>().ok()).unwrap_or(1).clamp(1, last);
    let to = |number: usize| {
        let search: String = byte_serialize(search.as_bytes()).collect();
        visit.site.at(&format!("{}?page={number}&search={search}", page.path))
    };
    let rows = keys.iter().skip((number - 1) * MOST_ROWS).take(MOST_ROWS);
    Answer::page(&Keys {
        frame: visit.frame(page.title, page.path),
        page,
        notice: (visit.request.query("notice") == Some("deleted")).then_some("The key is deleted."),
        may_change: page.is_api() || visit.is_owner(),
        rows: rows.map(|key| KeyView::of(page, key, at)).collect(),
        all,
        found,
        search,
        searched: all > SEARCHED_FROM,
        newer: (number > 1).then(|| to(number - 1)),
        older: (number < last).then(|| to(number + 1)),
    })
}

/// By its name in whatever case, or by how its token begins.
fn matches(key: &KeyRecord, search: &str) -> bool {
    key.name.to_lowercase().contains(&search.to_lowercase()) || key.prefix.starts_with(search)
}
