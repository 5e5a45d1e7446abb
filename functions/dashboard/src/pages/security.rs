//! `/dashboard/security`: the password, and signing out everywhere.

use askama::Template;
use gateway_core::people::{Password, Tries, User};

use super::{UNPROCESSABLE, counted, new_password, uncounted};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    problem::Problem,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "security.html")]
struct Security<'a> {
    frame: Frame<'a>,
    email: &'a str,
    has_password: bool,
    openid: bool,
    may_set: bool,
    notice: Option<&'a str>,
}

fn page<'a>(visit: &'a Visit<'_>, problem: Option<&'a Problem>) -> Result<Security<'a>, Failure> {
    let user = &visit.signed_in()?.user;
    let done = "Your password is changed. Every other browser is signed out.";
    Ok(Security {
        frame: visit.frame("Security", "/security").with(problem),
        email: user.email.as_str(),
        has_password: user.password.is_some(),
        openid: user.subject.is_some(),
        may_set: may_set(user),
        notice: (visit.request.query("notice") == Some("password")).then_some(done),
    })
}

/// Whoever comes by way of the provider alone sets no password: the provider decides for how long they come, and a session
/// of theirs would otherwise be enough to come for ever. The operator's link can give them one.
fn may_set(user: &User) -> bool {
    user.password.is_some() || user.subject.is_none()
}

/// GET /security
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    Answer::page(&page(visit, None)?)
}

/// POST /security: another password. Who has none yet sets the first; who has one must know it.
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let user = &visit.signed_in()?.user;
    if !may_set(user) {
        return Err(Failure::NotFound);
    }
    let password = match new_password(visit, &user.email) {
        Ok(password) => password,
        Err(problem) => return Answer::page_with(UNPROCESSABLE, &page(visit, Some(&problem))?),
    };
    if user.password.is_some() {
        let tries = [Tries::Current(&user.email)];
        counted(visit, &tries).await?;
        let typed = Password::typed(visit.form.text("current"));
        if !visit.app.passwords.is_right(typed, user.password.clone()).await? {
            let problem = Problem::at("current", "Your current password is wrong.");
            return Answer::page_with(UNPROCESSABLE, &page(visit, Some(&problem))?);
        }
        uncounted(visit, &tries).await?;
    }
    let hash = visit.app.passwords.hash(password).await?;
    let user = visit.app.store.user_password(user, &hash).await?.ok_or(Failure::SignedOut)?;
    visit.sign_in(&user, "/security?notice=password").await
}
