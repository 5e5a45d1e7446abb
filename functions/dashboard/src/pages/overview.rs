//! `/dashboard`: the account at a glance.

use askama::Template;
use gateway_core::{error::ApiError, money::Nanos};

use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview<'a> {
    frame: Frame<'a>,
    account: &'a str,
    balance: Nanos,
    available: Nanos,
    held: Nanos,
}

/// GET /
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let user = &visit.signed_in()?.user;
    let standing = visit.app.store.account_standing(&user.account).await?;
    let standing = standing.ok_or_else(|| ApiError::internal("the user's account does not exist"))?;
    Answer::page(&Overview {
        frame: visit.frame("Overview", "/"),
        account: &standing.account.name,
        balance: standing.balance(),
        available: standing.available(),
        held: standing.held(),
    })
}
