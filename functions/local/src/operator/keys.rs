//! `modelswitch key …`

use gateway_core::{
    ids::{AccountId, KeyId},
    key_rules,
    limits::RateLimit,
    moment::{Reset, UnixMs},
    money::Nanos,
    token::Token,
};
use gateway_store::{KeyChange, KeyRecord, NewKey, UpdateOutcome};
use serde::Serialize;

use super::{Problem, Report, Session, table::table};
use crate::cli::{KeyCommand, NewKeyArgs, OfAccount, OneKey};

pub(super) async fn run(session: &Session, command: KeyCommand) -> Result<Report, Problem> {
    match command {
        KeyCommand::Create(arguments) => create(session, arguments).await,
        KeyCommand::List(of) => list(session, of).await,
        KeyCommand::Deactivate(key) => switch(session, key, false).await,
        KeyCommand::Activate(key) => switch(session, key, true).await,
        KeyCommand::Rotate { key, grace } => rotate(session, key, grace).await,
        KeyCommand::Delete(key) => delete(session, key).await,
    }
}

async fn create(session: &Session, arguments: NewKeyArgs) -> Result<Report, Problem> {
    let account = session.account_of(arguments.of.account).await?;
    let new = NewKey {
        name: arguments.name,
        key_type: arguments.key_type,
        expires_at: arguments.expires,
        spend_limit: arguments.spend_limit,
        reset: arguments.reset,
        rate_limit: arguments.rate_limit.unwrap_or_default(),
        models: (!arguments.models.is_empty()).then(|| arguments.models.into_iter().collect()),
    };
    let token = Token::from_random(new.key_type, gateway_store::random()?);
    let record = session.store.key_create(&account, &new, &token, session.now(), None).await?;
    let record = record.ok_or_else(|| Problem::no_account(&account))?;
    let words = format!("Created {} key {} of {}.", record.key_type.name(), record.id, account);
    with_token(&record, &token, session.now(), &words)
}

async fn list(session: &Session, of: OfAccount) -> Result<Report, Problem> {
    let account = session.account_of(of.account).await?;
    let standing = session.store.account_standing(&account).await?.ok_or_else(|| Problem::no_account(&account))?;
    let keys: Vec<_> = standing.keys.iter().filter(|key| !key.allowance.deleted).collect();
    let views: Vec<_> = keys.iter().map(|key| KeyView::of(key, session.now())).collect();
    Report::new(&views, key_table(&keys, session.now()))
}

async fn switch(session: &Session, key: OneKey, active: bool) -> Result<Report, Problem> {
    let account = session.account_of(key.of.account).await?;
    let change = KeyChange { active: Some(active), ..KeyChange::default() };
    let outcome = session.store.key_update(&account, key.key, &change, session.now()).await?;
    let record = updated(outcome, &account, key.key)?;
    let what = if active { "on" } else { "off" };
    let text = format!("Key {} of {account} is {what}. Requests follow within 10 seconds.", record.id);
    Report::new(&KeyView::of(&record, session.now()), text)
}

async fn rotate(session: &Session, key: OneKey, grace_s: u64) -> Result<Report, Problem> {
    let account = session.account_of(key.of.account).await?;
    let before = session.store.key(&account, key.key).await?.ok_or_else(|| no_key(&account, key.key))?;
    let token = Token::from_random(before.key_type, gateway_store::random()?);
    let now = session.now();
    let until = key_rules::grace_end(now, grace_s.saturating_mul(1000), before.allowance.expires_at);
    let outcome = session.store.key_rotate(&account, key.key, &token, until, now, None).await?;
    let record = updated(outcome, &account, key.key)?;
    let words = format!("Key {} of {account} has a new token. The old one works until {until}.", record.id);
    with_token(&record, &token, now, &words)
}

async fn delete(session: &Session, key: OneKey) -> Result<Report, Problem> {
    let account = session.account_of(key.of.account).await?;
    if !session.store.key_delete(&account, key.key).await? {
        return Err(no_key(&account, key.key));
    }
    let text = format!("Deleted key {} of {account}. Requests follow within 10 seconds.", key.key);
    Report::new(&Deleted { id: key.key, deleted: true }, text)
}

fn updated(outcome: UpdateOutcome, account: &AccountId, key: KeyId) -> Result<Box<KeyRecord>, Problem> {
    match outcome {
        UpdateOutcome::Updated(record) => Ok(record),
        // No command of ours has an idempotency key, so none is used again.
        UpdateOutcome::NotFound | UpdateOutcome::Repeated => Err(no_key(account, key)),
        UpdateOutcome::TooManyTokens => Err(Problem::new(
            "the key has too many old tokens that still work: wait for their grace to end, or create another key",
        )),
    }
}

fn no_key(account: &AccountId, key: KeyId) -> Problem {
    Problem::new(format!(
        "account {account} has no key {key}; `modelswitch key list --account {account}` shows its keys"
    ))
}

/// The one report that holds a token.
fn with_token(record: &KeyRecord, token: &Token, now: UnixMs, words: &str) -> Result<Report, Problem> {
    let view = KeyView { key: Some(token.reveal()), ..KeyView::of(record, now) };
    let text =
        format!("{words}\n\n  {}\n\nCopy it now: it is stored as a hash and can't be shown again.", token.reveal());
    Report::new(&view, text)
}

/// What is left of a deleted key, for scripts.
#[derive(Serialize)]
struct Deleted {
    id: KeyId,
    deleted: bool,
}

/// A key for scripts, as `/api/keys` shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyView<'a> {
    id: KeyId,
    name: &'a str,
    #[serde(rename = "type")]
    key_type: &'static str,
    prefix: &'a str,
    active: bool,
    created_at: UnixMs,
    expires_at: Option<UnixMs>,
    last_used_at: Option<UnixMs>,
    spend_limit: Option<Nanos>,
    spend_limit_reset: Option<Reset>,
    spent: Nanos,
    rate_limit: RateLimit,
    models: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> KeyView<'a> {
    pub(super) fn of(record: &'a KeyRecord, now: UnixMs) -> Self {
        let allowance = &record.allowance;
        Self {
            id: record.id,
            name: &record.name,
            key_type: record.key_type.name(),
            prefix: &record.prefix,
            active: allowance.active,
            created_at: record.created_at,
            expires_at: allowance.expires_at,
            last_used_at: record.last_used_at,
            spend_limit: allowance.spend_limit,
            spend_limit_reset: allowance.reset,
            spent: allowance.period_spent(now),
            rate_limit: allowance.rate_limit,
            models: allowance.models.as_ref().map(|models| models.iter().map(String::as_str).collect()),
            key: None,
        }
    }
}

pub(super) fn key_table(keys: &[&KeyRecord], now: UnixMs) -> String {
    if keys.is_empty() {
        return "No key yet: modelswitch key create --name NAME".to_owned();
    }
    let rows: Vec<_> = keys.iter().map(|key| row(key, now)).collect();
    table(&[">KEY", "NAME", "TYPE", "PREFIX", "STATUS", ">SPENT USD", ">LIMIT USD", "RATE", "LAST USED"], &rows)
}

fn row(key: &KeyRecord, now: UnixMs) -> Vec<String> {
    let allowance = &key.allowance;
    let status = match allowance.expires_at {
        Some(at) if at <= now => "expired",
        _ if !allowance.active => "off",
        _ => "on",
    };
    let limit = allowance.spend_limit.map_or_else(
        || "-".to_owned(),
        |limit| allowance.reset.map_or_else(|| limit.to_string(), |reset| format!("{limit} {}", reset.name())),
    );
    vec![
        key.id.to_string(),
        key.name.clone(),
        key.key_type.name().to_owned(),
        format!("{}…", key.prefix),
        status.to_owned(),
        allowance.period_spent(now).to_string(),
        limit,
        format!("{}/{}", allowance.rate_limit.requests, allowance.rate_limit.interval),
        key.last_used_at.map_or_else(|| "never".to_owned(), |at| at.day()),
    ]
}
