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
    /// Whether who is signed in can do so again without another link.
    has_way_in: bool,
    /// Whether any key calls models.
    has_key: bool,
    has_funds: bool,
}

/// GET /
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let standing = visit.standing()?;
    let (at, user) = (visit.request.at, &visit.signed_in()?.user);
    let (used, today) = (used_this_month(visit).await?, at.day());
    let opens = |key: &KeyRecord| {
        let rules = &key.allowance;
        let ended = rules.deleted || !rules.active || rules.expires_at.is_some_and(|expires| expires <= at);
        key.key_type == KeyType::Proxy && !ended
    };
    Answer::page(&Overview {
        frame: visit.frame("Overview", "/"),
        account: &standing.account.name,
        balance: standing.balance(),
        available: standing.available(),
        held: standing.held(),
        spent: used.values().map(|sums| sums.spent).sum(),
        requests: used.iter().filter(|(group, _)| group.day == today).map(|(_, sums)| sums.requests).sum(),
        has_way_in: user.password.is_some() || user.subject.is_some(),
        has_key: standing.keys.iter().any(opens),
        has_funds: standing.balance() > Nanos::ZERO,
    })
}
