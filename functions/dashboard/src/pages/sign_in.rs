//! `/dashboard/sign-in`: with email address and password, or by way of the OpenID provider.

use askama::Template;
use form_urlencoded::byte_serialize;
use gateway_core::people::{Email, Password, Tries};

use super::{UNPROCESSABLE, counted, uncounted};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    problem::Problem,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn<'a> {
    frame: Frame<'a>,
    email: &'a str,
    next: &'a str,
    notice: Option<&'a str>,
    sign_up: bool,
    /// Where the OpenID provider's way begins, if there is one.
    openid: Option<String>,
}

fn page<'a>(visit: &'a Visit<'_>, problem: Option<&'a Problem>) -> SignIn<'a> {
    let notice = match visit.request.query("notice") {
        Some("everywhere") => Some("You are signed out everywhere."),
        Some("invited") => Some("Your account is ready. Sign in to begin."),
        _ => None,
    };
    SignIn {
        frame: visit.frame("Sign in", "").with(problem),
        email: visit.form.text("email"),
        next: visit.next(),
        notice,
        sign_up: visit.app.sign_up,
        openid: visit.app.openid.is_some().then(|| visit.site.at(&format!("/openid{}", query(visit.next())))),
    }
}

/// `?next=…`, but for the first page.
fn query(next: &str) -> String {
    if next == "/" { String::new() } else { format!("?next={}", byte_serialize(next.as_bytes()).collect::<String>()) }
}

/// GET /sign-in
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    if visit.guest().is_some() {
        return Ok(Answer::go(visit.next()));
    }
    Answer::page(&page(visit, None))
}

/// POST /sign-in
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let Some(email) = Email::parse(visit.form.text("email")) else {
        let problem = Problem::at("email", "Enter your full email address.");
        return Answer::page_with(UNPROCESSABLE, &page(visit, Some(&problem)));
    };
    // Counted before anything is looked up or hashed: what is refused costs next to nothing, and says nothing.
    let tries = [Tries::Client(&visit.request.client_address), Tries::Password(&email)];
    counted(visit, &tries).await?;
    let user = visit.app.store.user(&email).await?;
    let hash = user.as_ref().and_then(|user| user.password.clone());
    let right = visit.app.passwords.is_right(Password::typed(visit.form.text("password")), hash).await?;
    let Some(user) = user.filter(|_| right) else {
        // Which of the two is not said. It is the password that is to be typed again in any case.
        let problem = Problem::among(["password", "email"], "The email address or password is wrong.");
        return Answer::page_with(UNPROCESSABLE, &page(visit, Some(&problem)));
    };
    uncounted(visit, &tries).await?;
    visit.sign_in(&user, visit.next()).await
}
