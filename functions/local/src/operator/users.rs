//! `modelswitch user …`

use gateway_core::{
    ids::AccountId,
    moment::UnixMs,
    people::{Email, Link, LinkKind, Role, Secret, User},
};
use serde::Serialize;

use super::{Problem, Report, Session, stack, table::table};
use crate::cli::{OfAccount, Place, UserCommand};

/// Where `modelswitch serve` answers, if nothing else is said.
const HERE: &str = "http://127.0.0.1:8787";

pub(super) async fn run(session: &Session, command: UserCommand) -> Result<Report, Problem> {
    match command {
        UserCommand::Invite { email, of, role, place } => invite(session, email, of, role, place).await,
        UserCommand::Reset { email, place } => reset(session, email, place).await,
        UserCommand::List => list(session).await,
        UserCommand::Remove { email } => remove(session, &email).await,
    }
}

async fn invite(session: &Session, email: Email, of: OfAccount, role: Role, place: Place) -> Result<Report, Problem> {
    let account = session.account_of(of.account).await?;
    if session.store.account(&account).await?.is_none() {
        return Err(Problem::no_account(&account));
    }
    if let Some(user) = session.store.user(&email).await? {
        return Err(Problem::new(match user.verified {
            true => format!("{email} is a user already; `modelswitch user reset {email}` gives a new link"),
            false => format!(
                "somebody signed up as {email}, and nobody checked whose address that is. If it was not its owner, \
                 `modelswitch user remove {email}` first; if it was, `modelswitch user reset {email}` gives a new link"
            ),
        }));
    }
    let words = format!("{email} becomes {} of {account} by this link:", role.name());
    link(session, Link { kind: LinkKind::Invitation, email, account, role, created_at: session.now() }, place, &words)
        .await
}

async fn reset(session: &Session, email: Email, place: Place) -> Result<Report, Problem> {
    let user = session.store.user(&email).await?.ok_or_else(|| no_user(&email))?;
    let User { account, role, .. } = user;
    let mut words = format!("{email} sets a new password by this link:");
    if !user.verified {
        let standing = session.store.account_standing(&account).await?;
        let keys = standing.map_or(0, |standing| standing.keys.iter().filter(|key| !key.allowance.deleted).count());
        words = format!(
            "Nobody checked the address {email} when its user signed up. Whoever that was may hold the account's keys \
             ({keys}), which go on working: ask first, and if it was somebody else, remove the user and invite this one.\n\n\
             {words}"
        );
    }
    link(session, Link { kind: LinkKind::Reset, email, account, role, created_at: session.now() }, place, &words).await
}

/// Makes the link, which takes the place of all that the address had; the one report that holds it.
async fn link(session: &Session, link: Link, place: Place, words: &str) -> Result<Report, Problem> {
    let url = match (place.url, &session.stack) {
        (Some(url), _) => url,
        (None, Some(name)) => stack::url(name).await?,
        (None, None) if session.local => HERE.to_owned(),
        (None, None) => return Err(Problem::new("say where the gateway answers: --url https://…")),
    };
    let secret = Secret::from_random(gateway_store::random()?);
    session.store.links_remove(&link.email).await?;
    session.store.link_create(&secret, &link).await?;
    let url = link.kind.url(&format!("{}/dashboard", url.trim_end_matches('/')), &secret);
    let text = format!(
        "{words}\n\n  {url}\n\nIt works once, until {}, and earlier links of this address no more. It is stored as a hash \
         and can't be shown again.",
        link.expires_at()
    );
    let view =
        LinkView { email: link.email.as_str(), account: &link.account, url: &url, expires_at: link.expires_at() };
    Report::new(&view, text)
}

async fn list(session: &Session) -> Result<Report, Problem> {
    let (users, pending) = session.store.user_list(session.now()).await?;
    let invited = pending.iter().map(|pending| UserView::invited(&pending.0));
    let views: Vec<_> = users.iter().map(UserView::of).chain(invited).collect();
    let rows: Vec<_> = views.iter().map(UserView::row).collect();
    let text = match rows.is_empty() {
        true => "No user yet: modelswitch user invite EMAIL".to_owned(),
        false => table(&["EMAIL", "ACCOUNT", "ROLE", "SIGNS IN BY", "SINCE"], &rows),
    };
    Report::new(&views, text)
}

async fn remove(session: &Session, email: &Email) -> Result<Report, Problem> {
    if !session.store.user_remove(email).await? {
        return Err(no_user(email));
    }
    let text = format!("{email} is no user any more. The account and its keys stay as they are.");
    Report::new(&Removed { email: email.as_str(), removed: true }, text)
}

fn no_user(email: &Email) -> Problem {
    Problem::new(format!("there is no user {email}; `modelswitch user list` shows them"))
}

/// A link for scripts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkView<'a> {
    email: &'a str,
    account: &'a AccountId,
    url: &'a str,
    expires_at: UnixMs,
}

/// What is left of a user, for scripts.
#[derive(Serialize)]
struct Removed<'a> {
    email: &'a str,
    removed: bool,
}

/// A user for scripts, or somebody who is invited.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserView<'a> {
    email: &'a str,
    account: &'a AccountId,
    role: &'static str,
    signs_in_by: &'static str,
    /// Whether somebody vouched for the address.
    verified: bool,
    created_at: UnixMs,
}

impl<'a> UserView<'a> {
    fn of(user: &'a User) -> Self {
        let signs_in_by = match (&user.password, &user.subject) {
            (Some(_), Some(_)) => "password, OpenID",
            (Some(_), None) => "password",
            (None, Some(_)) => "OpenID",
            (None, None) => "nothing yet",
        };
        let User { email, account, role, created_at, verified, .. } = user;
        let (email, role) = (email.as_str(), role.name());
        Self { email, account, role, signs_in_by, verified: *verified, created_at: *created_at }
    }

    fn invited(link: &'a Link) -> Self {
        let Link { email, account, role, created_at, .. } = link;
        let (email, role) = (email.as_str(), role.name());
        Self { email, account, role, signs_in_by: "invited", verified: true, created_at: *created_at }
    }

    fn row(&self) -> Vec<String> {
        let Self { email, account, role, signs_in_by, verified, created_at } = self;
        let address = if *verified { (*email).to_owned() } else { format!("{email} (not checked)") };
        vec![address, account.to_string(), (*role).to_owned(), (*signs_in_by).to_owned(), created_at.day()]
    }
}
