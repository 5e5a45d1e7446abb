//! `/dashboard/billing/top-up`: on to a page of Stripe's, where the customer pays. Nothing is credited here: that the money
//! has come is for the `stripe-webhook` function to hear, from Stripe.
//!
//! The answer is a page of ours with a link, not a redirect: browsers hold the policy's `form-action` against where a form's
//! answer redirects to as well, and Stripe's pages may be at the operator's own domain, which no policy of ours can name
//! before. A script that sends the form needs no click.

use askama::Template;
use gateway_core::{
    error::ApiError,
    money::Nanos,
    payment::{CHECKOUT_MARK, LEAST_TOP_UP, MOST_TOP_UP, top_up_cents},
    people::Tries,
};
use gateway_upstream::stripe::CheckoutOrder;
use http::HeaderName;
use sha2::{Digest, Sha256};

use super::{UNPROCESSABLE, billing, counted};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    problem::Problem,
    visit::Visit,
};

/// What is said where no other try helps, and where one may. What it was, the log says.
const OURS: &str = "Payments are not working here right now; your operator has to look at it. Nothing was paid.";
const STRIPE_S: &str = "Stripe can't be reached right now. Nothing was paid. Try again in a minute.";

#[derive(Template)]
#[template(path = "top_up.html")]
struct TopUp<'a> {
    frame: Frame<'a>,
    amount: Nanos,
    url: &'a str,
}

/// POST /billing/top-up
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let account = &visit.signed_in()?.user.account;
    let secrets = visit.app.payment_secrets.current(visit.request.at).await?;
    let amount = Nanos::parse_usd(visit.form.text("amount").trim()).ok();
    let Some((amount, cents)) = amount.and_then(|amount| Some((amount, top_up_cents(amount)?))) else {
        let problem = format!("Enter an amount from {LEAST_TOP_UP} to {MOST_TOP_UP} USD, like 25 or 25.50.");
        let problem = Problem::at("amount", problem);
        let page = billing::page(visit, Some(&problem)).await?;
        return Answer::page_with(UNPROCESSABLE, &page);
    };
    counted(visit, &[Tries::TopUp(account)]).await?;
    let address = |how| visit.site.address(&format!("/billing?{CHECKOUT_MARK}={how}"));
    let (success_url, cancel_url) = (address("success"), address("cancelled"));
    let order = CheckoutOrder { account, cents, success_url: &success_url, cancel_url: &cancel_url };
    let ordered = match secrets.secret_key() {
        Ok(key) => {
            let ordered = visit.app.stripe.checkout(key, &idempotency_key(visit, cents)?, order).await;
            ordered.map_err(|error| (if error.is_ours() { OURS } else { STRIPE_S }, ApiError::from(error)))
        }
        Err(error) => Err((OURS, error)),
    };
    let session = match ordered {
        Ok(session) => session,
        Err((problem, error)) => {
            visit.request.record.failed(&error);
            let problem = Problem::of_none(problem);
            let page = billing::page(visit, Some(&problem)).await?;
            return Answer::page_with(error.code.status(), &page);
        }
    };
    let page = TopUp { frame: visit.frame("Top up", "/billing"), amount, url: &session.url };
    let answer = Answer::page(&page)?;
    let by_script = visit.request.header("hx-request").is_some();
    Ok(if by_script { answer.with(HeaderName::from_static("hx-redirect"), session.url) } else { answer })
}

/// What Stripe knows this order by: the same form sent twice for the same amount is one order.
fn idempotency_key(visit: &Visit<'_>, cents: i64) -> Result<String, Failure> {
    let once = match visit.form.text("once") {
        "" => visit.request.id.as_str(),
        once => once,
    };
    let account = visit.signed_in()?.user.account.as_str();
    let hash = Sha256::digest(format!("{account} {cents} {once}"));
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}
