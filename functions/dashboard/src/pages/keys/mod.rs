//! `/dashboard/keys` and `/dashboard/billing-keys`: the account's keys, each kind on its own page. What holds for one holds
//! for the other; billing keys call no model, so they have no allow list and no spend limit.

pub(crate) mod create;
pub(crate) mod delete;
mod fields;
pub(crate) mod list;
pub(crate) mod rotate;
pub(crate) mod settings;
mod view;

use askama::Template;
use gateway_core::{
    ids::KeyId,
    token::{KeyType, Token},
};
use gateway_store::{Idempotency, IdempotencyKey, KeyRecord};

use self::view::KeyView;
use super::UNPROCESSABLE;
use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    visit::Visit,
    written::When,
};

/// How often a form is looked at again when the same form came first.
const TRIES: usize = 3;

/// One of the two pages.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    key_type: KeyType,
    path: &'static str,
    title: &'static str,
    /// What one of its keys is called.
    one: &'static str,
    new: &'static str,
    /// What its keys are for.
    purpose: &'static str,
}

static API_KEYS: Page = Page {
    key_type: KeyType::Proxy,
    path: "/keys",
    title: "API Keys",
    one: "API key",
    new: "New API key",
    purpose: "Your programs call models with these keys. They start with ms- and work on /v1.",
};

static BILLING_KEYS: Page = Page {
    key_type: KeyType::Billing,
    path: "/billing-keys",
    title: "Billing Keys",
    one: "billing key",
    new: "New billing key",
    purpose: "Your programs read your balance, usage and transactions with these keys, and manage API keys. They start with mk- \
              and work on /api.",
};

impl Page {
    /// The page that the visit is to.
    fn of(visit: &Visit<'_>) -> &'static Self {
        if visit.site.path.starts_with(BILLING_KEYS.path) { &BILLING_KEYS } else { &API_KEYS }
    }

    fn is_api(&self) -> bool {
        self.key_type == KeyType::Proxy
    }

    /// The path of one of its keys.
    fn key(&self, id: KeyId) -> String {
        format!("{}/{id}", self.path)
    }
}

/// The key in the path, if it is the account's, of the page's kind, and not deleted.
async fn key_of(visit: &Visit<'_>, page: &Page) -> Result<KeyRecord, Failure> {
    let id = KeyId::parse(&visit.parameter).ok_or(Failure::NotFound)?;
    let record = visit.app.store.key(&visit.signed_in()?.user.account, id).await?;
    record.filter(|record| record.key_type == page.key_type).ok_or(Failure::NotFound)
}

/// What is remembered of this very form. Each page that is shown has a token of its own, so it tells a form that is sent
/// again from another.
async fn memory_of(visit: &Visit<'_>) -> Result<Idempotency, Failure> {
    let once = visit.form.text("csrf");
    if once.is_empty() {
        return Err(Failure::Unreadable);
    }
    let key = IdempotencyKey::of_form(once, &visit.site.path);
    Ok(visit.app.store.idempotency(&visit.signed_in()?.user.account, key, visit.request.at).await?)
}

#[derive(Template)]
#[template(path = "key_shown.html")]
struct Shown<'a> {
    frame: Frame<'a>,
    page: &'static Page,
    name: &'a str,
    token: &'a str,
    /// Until when the token before it works.
    old_until: Option<When>,
    old_works: bool,
    done: String,
}

/// The one page that shows a token: the answer to the form that made it.
fn shown(
    visit: &Visit<'_>,
    page: &'static Page,
    record: &KeyRecord,
    token: &Token,
    old_until: Option<When>,
) -> Result<Answer, Failure> {
    let old_works = old_until.is_some_and(|When(until)| until > visit.request.at);
    let (name, token, done) = (record.name.as_str(), token.reveal(), page.key(record.id));
    Answer::page(&Shown { frame: visit.frame(page.title, page.path), page, name, token, old_until, old_works, done })
}
