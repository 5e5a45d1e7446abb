//! A new token for a key. The old one works on for as long as is chosen.

use askama::Template;
use gateway_core::{
    error::ApiError,
    key_rules::{self, DEFAULT_GRACE_S, MOST_GRACE_S},
    token::Token,
};
use gateway_store::{KeyRecord, UpdateOutcome, random};

use super::{KeyView, Page, TRIES, UNPROCESSABLE, key_of, memory_of, shown};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    problem::Problem,
    visit::Visit,
    written::When,
};

/// How long the old token may work, to choose from.
const GRACES: [(u64, &str); 5] = [
    (0, "Immediately"),
    (3_600, "After 1 hour"),
    (DEFAULT_GRACE_S, "After 24 hours"),
    (604_800, "After 7 days"),
    (MOST_GRACE_S, "After 30 days"),
];

const TOO_MANY_TOKENS: &str =
    "This key was rotated too often. Wait until an old value stops working, or create a new key and delete this one.";

#[derive(Template)]
#[template(path = "key_rotate.html")]
struct Rotate<'a> {
    frame: Frame<'a>,
    page: &'static Page,
    key: KeyView<'a>,
    graces: Vec<(u64, &'static str, bool)>,
}

fn form<'a>(
    visit: &'a Visit<'_>,
    page: &'static Page,
    record: &'a KeyRecord,
    problem: Option<&'a Problem>,
) -> Rotate<'a> {
    Rotate {
        frame: visit.frame("Rotate the key", page.path).with(problem),
        page,
        key: KeyView::of(page, record, visit.request.at),
        graces: GRACES.map(|(seconds, label)| (seconds, label, seconds == DEFAULT_GRACE_S)).into(),
    }
}

/// GET /keys/{id}/rotate, /billing-keys/{id}/rotate
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let page = Page::of(visit);
    let record = key_of(visit, page).await?;
    Answer::page(&form(visit, page, &record, None))
}

/// POST /keys/{id}/rotate, /billing-keys/{id}/rotate: the new token is in this answer and nowhere else.
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let (page, at) = (Page::of(visit), visit.request.at);
    let grace_ms = visit.form.text("grace").parse().ok().and_then(key_rules::grace_ms);
    for _ in 0..TRIES {
        let memory = memory_of(visit).await?;
        let record = key_of(visit, page).await?;
        if memory.made.is_some() {
            return Ok(Answer::go(format!("{}?notice=sent", page.key(record.id))));
        }
        let wrong = |problem: &Problem| Answer::page_with(UNPROCESSABLE, &form(visit, page, &record, Some(problem)));
        let Some(grace_ms) = grace_ms else {
            return wrong(&Problem::at("grace", "Choose when the old value stops working."));
        };
        let until = key_rules::grace_end(at, grace_ms, record.allowance.expires_at);
        let token = Token::from_random(page.key_type, random()?);
        match visit.app.store.key_rotate(&record.account, record.id, &token, until, at, Some(&memory)).await? {
            UpdateOutcome::Updated(record) => return shown(visit, page, &record, &token, Some(When(until))),
            UpdateOutcome::NotFound => return Err(Failure::NotFound),
            UpdateOutcome::TooManyTokens => return wrong(&Problem::of_none(TOO_MANY_TOKENS)),
            UpdateOutcome::Repeated => {}
        }
    }
    Err(ApiError::internal("the same form came first every time").into())
}
