//! `/dashboard`: the site for people. Pages are made on the server, work without JavaScript, and need no other origin.
//!
//! A page is a file in `pages/` and a template of the same name, and both have the name of its path: `/dashboard/security`
//! is `pages/security.rs` and `templates/security.html`. [`routes::ROUTES`] has them all. What every page relies on is done
//! here, before it runs: who is signed in, whether the form is our own, and the headers of the answer.

mod answer;
mod assets;
mod chart;
mod cookies;
mod form;
mod frame;
mod pages;
mod passwords;
mod problem;
pub mod routes;
mod site;
mod visit;
mod written;

use gateway_core::{error::ApiError, people::Role};
use gateway_lambda::{Request, Response};
use gateway_store::{Configuration, PaymentSecrets, Store};
use gateway_upstream::{OpenId, stripe::Stripe};
use http::Method;

use self::{
    answer::{Answer, Failure},
    routes::{Access, Route},
    site::Site,
    visit::Visit,
};

pub use passwords::Passwords;

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The people, the accounts and their books.
    pub store: Store,
    /// The catalogue.
    pub configuration: Configuration,
    /// Who takes payments.
    pub stripe: Stripe,
    /// What Stripe knows us by.
    pub payment_secrets: PaymentSecrets,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Whether emails are sent; otherwise only a banner tells of a low balance.
    pub emails: bool,
    /// Whether anybody may make an account.
    pub sign_up: bool,
    /// Where people may sign in without a password of ours.
    pub openid: Option<OpenId>,
}

/// Every route below `/dashboard`.
///
/// # Errors
/// None: what goes wrong is a page too.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let site = Site::of(&request);
    let answer = Box::pin(answer(app, &request, &site)).await;
    Ok(answer.into_response(&site))
}

async fn answer(app: &App, request: &Request, site: &Site) -> Answer {
    let found = routes::find(&request.method, &site.path);
    let is_asset = found.as_ref().is_ok_and(|(route, _)| route.access == Access::Asset);
    let opened =
        if is_asset { Ok(Visit::of_stranger(app, request, site)) } else { Visit::open(app, request, site).await };
    let mut visit = match opened {
        Ok(visit) => visit,
        // Who it is can't be known, so the page is a stranger's.
        Err(failure) => return failure.answer(&Visit::of_stranger(app, request, site)),
    };
    let outcome = match found {
        Ok((route, parameter)) => {
            visit.parameter = parameter;
            page(&mut visit, route).await
        }
        Err(failure) => Err(failure),
    };
    outcome.unwrap_or_else(|failure| failure.answer(&visit)).behind(visit.cookies())
}

/// The page's answer, if the visitor may be here, and if what comes with a form comes from a page of ours.
async fn page(visit: &mut Visit<'_>, route: &Route) -> Result<Answer, Failure> {
    match route.access {
        Access::Asset | Access::Anyone => {}
        Access::User => drop(visit.signed_in()?),
        Access::Owner if visit.signed_in()?.user.role == Role::Owner => {}
        Access::Owner => return Err(Failure::NotOwner),
    }
    if visit.request.method == Method::POST {
        visit.read_form()?;
    }
    (route.handler)(visit).await
}
