//! A new key.

use askama::Template;
use gateway_core::{error::ApiError, token::Token};
use gateway_store::random;

use super::{Page, TRIES, UNPROCESSABLE, fields::Fields, memory_of, shown};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    problem::Problem,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "key_new.html")]
struct New<'a> {
    frame: Frame<'a>,
    page: &'static Page,
    fields: Fields,
}

fn form<'a>(visit: &'a Visit<'_>, page: &'static Page, fields: Fields, problem: Option<&'a Problem>) -> New<'a> {
    New { frame: visit.frame(page.new, page.path).with(problem), page, fields }
}

/// GET /keys/new, /billing-keys/new
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    Answer::page(&form(visit, Page::of(visit), Fields::fresh(), None))
}

/// POST /keys/new, /billing-keys/new: the key is made once, and its token is in this answer and nowhere else.
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let (page, fields) = (Page::of(visit), Fields::of_form(visit));
    let new = match fields.read(visit, page, None).await? {
        Ok(new) => new,
        Err(problem) => return Answer::page_with(UNPROCESSABLE, &form(visit, page, fields, Some(&problem))),
    };
    let account = &visit.signed_in()?.user.account;
    for _ in 0..TRIES {
        let memory = memory_of(visit).await?;
        if let Some(id) = memory.made {
            return Ok(Answer::go(format!("{}?notice=sent", page.key(id))));
        }
        let token = Token::from_random(page.key_type, random()?);
        let made = visit.app.store.key_create(account, &new, &token, visit.request.at, Some(&memory)).await?;
        if let Some(record) = made {
            return shown(visit, page, &record, &token, None);
        }
    }
    Err(ApiError::internal("the user's account does not exist").into())
}
