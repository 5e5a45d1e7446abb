//! `/dashboard/reset/{secret}`: a new password, by a link of the operator's.

use askama::Template;
use gateway_core::people::{Link, LinkKind};
use gateway_store::Accepted;

use super::{UNPROCESSABLE, link_of, new_password};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    pages::link::gone,
    problem::Problem,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "reset.html")]
struct Reset<'a> {
    frame: Frame<'a>,
    email: &'a str,
}

fn page<'a>(visit: &'a Visit<'_>, link: &'a Link, problem: Option<&'a Problem>) -> Reset<'a> {
    Reset { frame: visit.frame("New password", "").with(problem), email: link.email.as_str() }
}

/// GET /reset/{secret}
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    match link_of(visit, LinkKind::Reset).await? {
        Some((_, link)) => Answer::page(&page(visit, &link, None)),
        None => gone(visit),
    }
}

/// POST /reset/{secret}
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let Some((secret, link)) = link_of(visit, LinkKind::Reset).await? else { return gone(visit) };
    let password = match new_password(visit, &link.email) {
        Ok(password) => password,
        Err(problem) => return Answer::page_with(UNPROCESSABLE, &page(visit, &link, Some(&problem))),
    };
    let hash = visit.app.passwords.hash(password).await?;
    match visit.app.store.link_reset(&secret, &hash, visit.request.at).await? {
        Accepted::Yes(user) => visit.sign_in(&user, "/").await,
        Accepted::Gone | Accepted::UserExists => gone(visit),
    }
}
