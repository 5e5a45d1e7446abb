//! Deleting a key, which is asked for twice.

use askama::Template;

use super::{KeyView, Page, key_of};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "key_delete.html")]
struct Delete<'a> {
    frame: Frame<'a>,
    page: &'static Page,
    key: KeyView<'a>,
}

/// GET /keys/{id}/delete, /billing-keys/{id}/delete
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let page = Page::of(visit);
    let record = key_of(visit, page).await?;
    let key = KeyView::of(page, &record, visit.request.at);
    Answer::page(&Delete { frame: visit.frame("Delete the key", page.path), page, key })
}

/// POST /keys/{id}/delete, /billing-keys/{id}/delete
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let page = Page::of(visit);
    let record = key_of(visit, page).await?;
    if !visit.app.store.key_delete(&record.account, record.id).await? {
        return Err(Failure::NotFound);
    }
    Ok(Answer::go(format!("{}?notice=deleted", page.path)))
}
