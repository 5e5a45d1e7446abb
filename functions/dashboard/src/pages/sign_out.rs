//! `/dashboard/sign-out`: here, and everywhere.

use crate::{
    answer::{Answer, Failure},
    cookies::Cookie,
    visit::Visit,
};

/// POST /sign-out
pub(crate) async fn submit(visit: &Visit<'_>) -> Result<Answer, Failure> {
    visit.sign_out().await
}

/// POST /sign-out/everywhere
pub(crate) async fn everywhere(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let user = &visit.signed_in()?.user;
    visit.app.store.user_sign_out(&user.email).await?;
    Ok(Answer::go("/sign-in?notice=everywhere").cookie(Cookie::Session, None))
}
