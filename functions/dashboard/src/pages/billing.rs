//! `/dashboard/billing`: the account's money, when to be told that it is low, and all that changed it.

use askama::Template;
use gateway_core::{
    ids::RequestId,
    low_balance::{LowBalance, LowBalanceProblem, MOST_THRESHOLD},
    money::Nanos,
    payment::{CHECKOUT_MARK, LEAST_TOP_UP, MOST_TOP_UP},
    transaction::{SHOWN, Transaction},
};
use gateway_store::{Filter, random};

use super::{UNPROCESSABLE, receipt, used_this_month};
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    problem::Problem,
    visit::Visit,
    written::When,
};

const PER_PAGE: usize = 25;

#[derive(Template)]
#[template(path = "billing.html")]
pub(super) struct Billing<'a> {
    frame: Frame<'a>,
    balance: Nanos,
    available: Nanos,
    held: Nanos,
    spent: Nanos,
    notice: Option<&'static str>,
    is_owner: bool,
    takes_payments: bool,
    emails: bool,
    amount: &'a str,
    least: Nanos,
    most: Nanos,
    /// What a form that is sent twice is known by.
    once: String,
    threshold: String,
    email: String,
    transactions: Vec<Transaction>,
    older: Option<RequestId>,
    is_first: bool,
}

/// The page, perhaps with what is wrong with a form.
pub(super) async fn page<'a>(visit: &'a Visit<'_>, problem: Option<&'a Problem>) -> Result<Billing<'a>, Failure> {
    let standing = visit.standing()?;
    let account = &standing.account.id;
    let cursor =
        visit.request.query("cursor").map(|text| RequestId::parse(text).ok_or(Failure::NotFound)).transpose()?;
    let filter = Filter { kinds: SHOWN.to_vec(), ..Filter::default() };
    let (ledger, used, secrets) = tokio::join!(
        visit.app.store.ledger_page(account, &filter, cursor.as_ref(), 0, PER_PAGE),
        used_this_month(visit),
        visit.app.payment_secrets.current(visit.request.at),
    );
    let ledger = ledger?;
    let typed = |field: &str| visit.form.text(field).to_owned();
    let low = standing.account.low_balance.as_ref();
    let is_low_s = |problem: &&Problem| problem.is_at("threshold") || problem.is_at("email");
    let (threshold, email) = match problem.filter(is_low_s) {
        Some(_) => (typed("threshold"), typed("email")),
        None => (
            low.map(|low| low.threshold.to_string()).unwrap_or_default(),
            low.and_then(|low| low.email.as_ref()).map(ToString::to_string).unwrap_or_default(),
        ),
    };
    Ok(Billing {
        frame: visit.frame("Billing", "/billing").with(problem),
        balance: standing.balance(),
        available: standing.available(),
        held: standing.held(),
        spent: used?.values().map(|sums| sums.spent).sum(),
        notice: notice(visit),
        is_owner: visit.is_owner(),
        takes_payments: secrets?.secret_key().is_ok(),
        emails: visit.app.emails,
        amount: visit.form.text("amount"),
        least: LEAST_TOP_UP,
        most: MOST_TOP_UP,
        once: format!("{:032x}", u128::from_be_bytes(random()?)),
        threshold,
        email,
        transactions: ledger.entries.into_iter().map(Transaction::from).collect(),
        older: ledger.next,
        is_first: cursor.is_none(),
    })
}

fn notice(visit: &Visit<'_>) -> Option<&'static str> {
    match (visit.request.query(CHECKOUT_MARK), visit.request.query("notice")) {
        (Some("success"), _) => Some(
            "Thank you. The money is added to your balance when Stripe confirms the payment, usually within a minute. Some \
             payment methods take days. The payment then appears below.",
        ),
        (Some("cancelled"), _) => Some("You cancelled at Stripe. Nothing was paid."),
        (_, Some("low-balance")) => Some("Saved."),
        _ => None,
    }
}

/// GET /billing
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    Answer::page(&page(visit, None).await?)
}

/// POST /billing: when to be told that the balance is low.
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let account = &visit.standing()?.account;
    // Where no emails are sent, the form has no field for an address.
    let email = if visit.app.emails { visit.form.text("email") } else { "" };
    let low = match LowBalance::read(visit.form.text("threshold"), email) {
        Ok(low) => low,
        Err(problem) => {
            let problem = match problem {
                LowBalanceProblem::Threshold => Problem::at(
                    "threshold",
                    format!("Enter an amount in USD up to {MOST_THRESHOLD}, like 5 or 2.50, or leave it empty."),
                ),
                LowBalanceProblem::NoThreshold => {
                    Problem::at("threshold", "Enter the balance below which to send the email.")
                }
                LowBalanceProblem::Email => Problem::at("email", "Enter a full email address, or leave it empty."),
            };
            return Answer::page_with(UNPROCESSABLE, &page(visit, Some(&problem)).await?);
        }
    };
    // What is the same as before does not begin anew.
    if low != account.low_balance {
        visit.app.store.low_balance_set(&account.id, low.as_ref()).await?;
    }
    Ok(Answer::go("/billing?notice=low-balance"))
}
