//! One key: what it is, what may be changed of it, and whether it is on.

use askama::Template;
use gateway_store::{KeyChange, KeyRecord, UpdateOutcome};

use super::{
    KeyView, Page, UNPROCESSABLE,
    fields::{self, Fields},
    key_of,
};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    problem::Problem,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "key.html")]
struct Key<'a> {
    frame: Frame<'a>,
    page: &'static Page,
    key: KeyView<'a>,
    fields: Fields,
    /// The fields as they are, which the form brings along.
    now: String,
    notice: Option<&'static str>,
}

fn settings<'a>(
    visit: &'a Visit<'_>,
    page: &'static Page,
    record: &'a KeyRecord,
    fields: Fields,
    problem: Option<&'a Problem>,
) -> Key<'a> {
    let notice = match visit.request.query("notice") {
        Some("saved") => Some("The settings are saved. They apply to requests within 10 seconds."),
        Some("deactivated") => Some("The key is deactivated. Requests with it are refused within 10 seconds."),
        Some("activated") => Some("The key is active again. Requests with it work within 10 seconds."),
        Some("sent") => Some(
            "That form was sent before and took effect then. The full key was shown once and cannot be retrieved. If you \
             did not copy it, rotate the key.",
        ),
        _ => None,
    };
    Key {
        frame: visit.frame(&record.name, page.path).with(problem),
        page,
        key: KeyView::of(page, record, visit.request.at),
        fields,
        now: Fields::of_key(record).written(),
        notice,
    }
}

/// GET /keys/{id}, /billing-keys/{id}
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let page = Page::of(visit);
    let record = key_of(visit, page).await?;
    Answer::page(&settings(visit, page, &record, Fields::of_key(&record), None))
}

/// POST /keys/{id}, /billing-keys/{id}
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let page = Page::of(visit);
    let record = key_of(visit, page).await?;
    let now = Fields::of_key(&record);
    let sent = Fields::of_form(visit).over(visit, &now);
    match sent.read(visit, page, Some(&record)).await? {
        Ok(new) => change(visit, page, &record, &fields::change(page, new, &sent, &now), "saved").await,
        Err(problem) => Answer::page_with(UNPROCESSABLE, &settings(visit, page, &record, sent, Some(&problem))),
    }
}

/// POST /keys/{id}/deactivate, /billing-keys/{id}/deactivate
pub(crate) async fn deactivate(visit: &Visit<'_>) -> Result<Answer, Failure> {
    switch(visit, false, "deactivated").await
}

/// POST /keys/{id}/activate, /billing-keys/{id}/activate
pub(crate) async fn activate(visit: &Visit<'_>) -> Result<Answer, Failure> {
    switch(visit, true, "activated").await
}

async fn switch(visit: &Visit<'_>, active: bool, notice: &str) -> Result<Answer, Failure> {
    let page = Page::of(visit);
    let record = key_of(visit, page).await?;
    change(visit, page, &record, &KeyChange { active: Some(active), ..KeyChange::default() }, notice).await
}

async fn change(
    visit: &Visit<'_>,
    page: &Page,
    record: &KeyRecord,
    change: &KeyChange,
    notice: &str,
) -> Result<Answer, Failure> {
    match visit.app.store.key_update(&record.account, record.id, change, visit.request.at).await? {
        UpdateOutcome::Updated(_) => Ok(Answer::go(format!("{}?notice={notice}", page.key(record.id)))),
        _ => Err(Failure::NotFound),
    }
}
