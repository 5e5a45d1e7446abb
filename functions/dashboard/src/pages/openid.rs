//! `/dashboard/openid`: to the OpenID provider and back. It has no page but the one that says what went wrong.

use askama::Template;
use gateway_core::{
    error::{ApiError, ErrorCode},
    people::{Role, Secret, User},
};
use gateway_store::random;
use gateway_upstream::{Flow, Identity, OpenId, OpenIdError};

use crate::{
    answer::{Answer, Failure},
    cookies::Cookie,
    frame::Frame,
    site::own_path,
    visit::Visit,
};

#[derive(Template)]
#[template(path = "openid.html")]
struct Refused<'a> {
    frame: Frame<'a>,
    text: &'a str,
}

/// Where the provider sends the browser back to: this very address has to be registered there.
const RETURN: &str = "/openid/return";

/// GET /openid
pub(crate) async fn begin(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let openid = configured(visit)?;
    let secret = Secret::from_random(random()?);
    let return_to = visit.site.address(RETURN);
    match openid.authorization_url(&Flow::of(&secret), &return_to, visit.request.at).await {
        Ok(address) => {
            let kept = format!("{}{}", secret.reveal(), visit.next());
            Ok(Answer::leave(address).cookie(Cookie::OpenId, Some(kept)))
        }
        Err(error) => refused(visit, &error),
    }
}

/// GET /openid/return
pub(crate) async fn end(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let openid = configured(visit)?;
    let kept = Cookie::OpenId.read(visit.site, &visit.request.headers).unwrap_or_default();
    let (secret, next) = kept.split_at(kept.find('/').unwrap_or(kept.len()));
    let flow = Secret::parse(secret).map(|secret| Flow::of(&secret));
    // An answer to another browser's flow, or to one of long ago.
    let Some(flow) =
        flow.filter(|flow| visit.request.query("state").and_then(Secret::parse) == Some(flow.state.clone()))
    else {
        return wrong(visit, "That took too long, or you started in another browser. Sign in again.");
    };
    let Some(code) = visit.request.query("code") else {
        return wrong(visit, "Your organisation did not sign you in. Try again.");
    };
    let at = visit.request.at;
    let identity = match openid.identity(&flow, code, &visit.site.address(RETURN), at).await {
        Ok(identity) => identity,
        Err(error) => return refused(visit, &error),
    };
    match known(visit, &identity).await? {
        Some(user) => {
            let answer = visit.sign_in(&user, own_path(next).unwrap_or("/")).await?;
            Ok(answer.cookie(Cookie::OpenId, None))
        }
        None => wrong(
            visit,
            "Your organisation knows you, but here that email address does not let you in yet. Ask your operator for an \
             invitation. If you signed up here with a password, sign in with it, and ask for a reset link to use your \
             organisation too. If you never signed up here, say so: somebody else may have used your address.",
        ),
    }
}

fn configured<'a>(visit: &'a Visit<'_>) -> Result<&'a OpenId, Failure> {
    visit.app.openid.as_ref().ok_or(Failure::NotFound)
}

/// The user of this identity: the one with its address, if somebody vouched for that and it is no other identity's; or, where
/// everybody may sign up, a new one.
async fn known(visit: &Visit<'_>, identity: &Identity) -> Result<Option<User>, Failure> {
    let store = &visit.app.store;
    let Identity { email, subject } = identity;
    if let Some(user) = store.user_subject(email, subject).await? {
        return Ok(Some(user));
    }
    if !visit.app.sign_up {
        return Ok(None);
    }
    let at = visit.request.at;
    let owner = |account| User { subject: Some(subject.clone()), ..User::new(email.clone(), account, Role::Owner, at) };
    Ok(store.user_sign_up(email.as_str(), at, owner).await?)
}

fn refused(visit: &Visit<'_>, error: &OpenIdError) -> Result<Answer, Failure> {
    let cause = ApiError { cause: Some(error.to_string()), ..ApiError::new(ErrorCode::UpstreamError, "OpenID") };
    visit.request.record.failed(&cause);
    match error {
        OpenIdError::Unverified => {
            wrong(visit, "Your organisation has not verified your email address. Verify it there, then sign in again.")
        }
        OpenIdError::Provider(_) => {
            wrong(visit, "Your organisation's sign-in isn't responding properly. Try again in a minute.")
        }
        OpenIdError::Refused(_) | OpenIdError::Token(_) => {
            wrong(visit, "We couldn't verify the answer from your organisation. Sign in again.")
        }
    }
}

fn wrong(visit: &Visit<'_>, text: &str) -> Result<Answer, Failure> {
    let page = Refused { frame: visit.frame("You are not signed in", ""), text };
    Ok(Answer::page_with(403, &page)?.cookie(Cookie::OpenId, None))
}
