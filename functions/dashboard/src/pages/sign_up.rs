//! `/dashboard/sign-up`: a new account and its owner, where the operator lets everybody in. Nobody has seen the address, so
//! nobody vouches for it.

use askama::Template;
use gateway_core::people::{Email, Role, Tries, User};

use super::{UNPROCESSABLE, counted, new_password};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    problem::Problem,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUp<'a> {
    frame: Frame<'a>,
    email: &'a str,
}

fn page<'a>(visit: &'a Visit<'_>, problem: Option<&'a Problem>) -> SignUp<'a> {
    SignUp { frame: visit.frame("Sign up", "").with(problem), email: visit.form.text("email") }
}

/// GET /sign-up
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    if !visit.app.sign_up {
        return Err(Failure::NotFound);
    }
    Answer::page(&page(visit, None))
}

/// POST /sign-up
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    if !visit.app.sign_up {
        return Err(Failure::NotFound);
    }
    let wrong = |problem: &Problem| Answer::page_with(UNPROCESSABLE, &page(visit, Some(problem)));
    let Some(email) = Email::parse(visit.form.text("email")) else {
        return wrong(&Problem::at("email", "Enter your full email address."));
    };
    let password = match new_password(visit, &email) {
        Ok(password) => password,
        Err(problem) => return wrong(&problem),
    };
    counted(visit, &[Tries::SignUp(&visit.request.client_address)]).await?;
    let (hash, at) = (visit.app.passwords.hash(password).await?, visit.request.at);
    let owner =
        |account| User { password: Some(hash), verified: false, ..User::new(email.clone(), account, Role::Owner, at) };
    match visit.app.store.user_sign_up(email.as_str(), at, owner).await? {
        Some(user) => visit.sign_in(&user, "/").await,
        None => wrong(&Problem::at("email", "There is already a user with this email address. Sign in instead.")),
    }
}
