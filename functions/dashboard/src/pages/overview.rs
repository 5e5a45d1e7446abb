//! `/dashboard`: the account at a glance.

use askama::Template;
use gateway_core::{money::Nanos, token::KeyType};
use gateway_store::KeyRecord;

use super::used_this_month;
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
    spent: Nanos,
    /// Requests since midnight, UTC.
    requests: u64,
    has_key: bool,
    has_funds: bool,
}

/// GET /
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let standing = visit.standing()?;
    let (used, today) = (used_this_month(visit).await?, visit.request.at.day());
    let opens = |key: &KeyRecord| key.key_type == KeyType::Proxy && !key.allowance.deleted;
    Answer::page(&Overview {
        frame: visit.frame("Overview", "/"),
        account: &standing.account.name,
        balance: standing.balance(),
        available: standing.available(),
        held: standing.held(),
        spent: used.values().map(|sums| sums.spent).sum(),
        requests: used.iter().filter(|(group, _)| group.day == today).map(|(_, sums)| sums.requests).sum(),
        has_key: standing.keys.iter().any(opens),
        has_funds: standing.balance() > Nanos::ZERO,
    })
}
