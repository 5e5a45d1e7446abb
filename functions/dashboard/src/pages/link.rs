//! `/dashboard/link/{secret}`: signs in without a password, once; and the page of every link that was used.

use askama::Template;
use gateway_core::people::LinkKind;
use gateway_store::Accepted;

use super::link_of;
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "link.html")]
struct SignInLink<'a> {
    frame: Frame<'a>,
    email: &'a str,
}

#[derive(Template)]
#[template(path = "gone.html")]
struct Gone<'a> {
    frame: Frame<'a>,
}

/// GET /link/{secret}
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    match link_of(visit, LinkKind::SignIn).await? {
        Some((_, link)) => Answer::page(&SignInLink { frame: visit.frame("Sign in", ""), email: link.email.as_str() }),
        None => gone(visit),
    }
}

/// POST /link/{secret}
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let Some((secret, _)) = link_of(visit, LinkKind::SignIn).await? else { return gone(visit) };
    match visit.app.store.link_sign_in(&secret, visit.request.at).await? {
        Accepted::Yes(user) => visit.sign_in(&user, "/").await,
        Accepted::Gone | Accepted::UserExists => gone(visit),
    }
}

/// A link that was never made, was used, or is too old: to whoever has it all the same.
pub(super) fn gone(visit: &Visit<'_>) -> Result<Answer, Failure> {
    Answer::page_with(404, &Gone { frame: visit.frame("This link no longer works", "") })
}
