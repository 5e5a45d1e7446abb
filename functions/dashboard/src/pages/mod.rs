//! The pages: each file is one, and is called as its path and its template are.

pub(crate) mod billing;
pub(crate) mod invitation;
pub(crate) mod keys;
pub(crate) mod link;
pub(crate) mod models;
pub(crate) mod openid;
pub(crate) mod overview;
pub(crate) mod quick_start;
pub(crate) mod receipt;
pub(crate) mod reset;
pub(crate) mod security;
pub(crate) mod sign_in;
pub(crate) mod sign_out;
pub(crate) mod sign_up;
pub(crate) mod top_up;
pub(crate) mod transactions;
pub(crate) mod usage;

use std::collections::BTreeMap;

use gateway_core::{
    ids::RequestId,
    ledger::EntryKind,
    moment::{Reset, UnixMs},
    people::{
        Email, LEAST_PASSWORD_CHARS, Link, LinkKind, MOST_PASSWORD_CHARS, Password, PasswordProblem, Secret, Tries,
    },
};
use gateway_store::{Filter, UsageGroup, UsageSums};

use crate::{answer::Failure, problem::Problem, visit::Visit};

/// A form that has something wrong with it is answered with this.
const UNPROCESSABLE: u16 = 422;

/// The form's new password, in its field `password`; or what is wrong with it.
fn new_password(visit: &Visit<'_>, email: &Email) -> Result<Password, Problem> {
    Password::new(visit.form.text("password"), email).map_err(|problem| {
        let text = match problem {
            PasswordProblem::TooShort => format!("Use at least {LEAST_PASSWORD_CHARS} characters."),
            PasswordProblem::TooLong => format!("Use at most {MOST_PASSWORD_CHARS} characters."),
            PasswordProblem::Guessable => "That password is too easy to guess. Choose another one.".to_owned(),
        };
        Problem::at("password", text)
    })
}

/// What the account used since the month began, UTC.
async fn used_this_month(visit: &Visit<'_>) -> Result<BTreeMap<UsageGroup, UsageSums>, Failure> {
    let first = UnixMs::parse_rfc3339(&Reset::Monthly.period(visit.request.at)).unwrap_or_default();
    let from = Some(RequestId::first_at(first));
    let filter = Filter { kinds: vec![EntryKind::Usage], from, ..Filter::default() };
    Ok(visit.app.store.usage_sums(&visit.standing()?.account.id, &filter).await?)
}

/// The link that the path's secret is for, if it is good.
async fn link_of(visit: &Visit<'_>, kind: LinkKind) -> Result<Option<(Secret, Link)>, Failure> {
    let Some(secret) = Secret::parse(&visit.parameter) else { return Ok(None) };
    let link = visit.app.store.link(kind, &secret, visit.request.at).await?;
    Ok(link.map(|link| (secret, link)))
}

/// Counts a try, and lets it go on only if it is not one too many.
async fn counted(visit: &Visit<'_>, tries: &[Tries<'_>]) -> Result<(), Failure> {
    for tries in tries {
        if let Some(until) = visit.app.store.try_count(tries, visit.request.at).await? {
            return Err(Failure::TooMany(until));
        }
    }
    Ok(())
}

/// Gives tries back that were right.
async fn uncounted(visit: &Visit<'_>, tries: &[Tries<'_>]) -> Result<(), Failure> {
    for tries in tries {
        visit.app.store.try_return(tries, visit.request.at).await?;
    }
    Ok(())
}
