//! `/dashboard/sign-in`: with email address and password, or by way of the OpenID provider.

use askama::Template;
use form_urlencoded::byte_serialize;
use gateway_core::people::{Email, Password, Secret, Tries};
use gateway_store::random;

use super::{UNPROCESSABLE, counted, uncounted};
use crate::{
    answer::{Answer, Failure},
    cookies::Cookie,
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
    // Counted before any user is looked up or password hashed: what is refused costs next to nothing, and says nothing.
    let device = Cookie::Device.secret(visit.site, &visit.request.headers);
    let known = known_for(visit, device.as_ref(), &email).await?;
    let tries = match &known {
        Some(own) => vec![Tries::Known(own)],
        None => vec![Tries::Client(&visit.request.client_address), Tries::Password(&email)],
    };
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
    let answer = visit.sign_in(&user, visit.next()).await?;
    if known.is_some() {
        return Ok(answer);
    }
    let device = device.map_or_else(|| random().map(Secret::from_random), Ok)?;
    visit.app.store.device_remember(&device, &email, visit.request.at).await?;
    Ok(answer.cookie(Cookie::Device, Some(device.reveal())))
}

/// What tries of this address are counted under in a browser where its password was right before; none in another browser.
async fn known_for(visit: &Visit<'_>, device: Option<&Secret>, email: &Email) -> Result<Option<Secret>, Failure> {
    let Some(device) = device else { return Ok(None) };
    let knows = visit.app.store.device_knows(device, email, visit.request.at).await?;
    Ok(knows.then(|| device.derive(email.as_str())))
}
