//! `/dashboard/invitation/{secret}`: who was invited chooses a password, once.

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
#[template(path = "invitation.html")]
struct Invitation<'a> {
    frame: Frame<'a>,
    email: &'a str,
    openid: bool,
}

fn page<'a>(visit: &'a Visit<'_>, link: &'a Link, problem: Option<&'a Problem>) -> Invitation<'a> {
    let (frame, openid) = (visit.frame("Welcome", "").with(problem), visit.app.openid.is_some());
    Invitation { frame, email: link.email.as_str(), openid }
}

/// GET /invitation/{secret}
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    match link_of(visit, LinkKind::Invitation).await? {
        Some((_, link)) => Answer::page(&page(visit, &link, None)),
        None => gone(visit),
    }
}

/// POST /invitation/{secret}
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let Some((secret, link)) = link_of(visit, LinkKind::Invitation).await? else { return gone(visit) };
    let at_the_provider = visit.app.openid.is_some() && visit.form.text("with") == "openid";
    let password = if at_the_provider {
        None
    } else {
        match new_password(visit, &link.email) {
            Ok(password) => Some(visit.app.passwords.hash(password).await?),
            Err(problem) => return Answer::page_with(UNPROCESSABLE, &page(visit, &link, Some(&problem))),
        }
    };
    match visit.app.store.link_accept(&secret, password, visit.request.at).await? {
        // A browser would not let a form's answer lead on to the provider: the next page has a link there.
        Accepted::Yes(_) if at_the_provider => Ok(Answer::go("/sign-in?notice=invited")),
        Accepted::Yes(user) => visit.sign_in(&user, "/").await,
        Accepted::Gone => gone(visit),
        Accepted::UserExists => {
            let problem = Problem::of_none("There is already a user with this email address. Sign in instead.");
            Answer::page_with(UNPROCESSABLE, &page(visit, &link, Some(&problem)))
        }
    }
}
