//! `modelswitch account …`

use gateway_core::{
    ids::{AccountId, RequestId},
    ledger::EntryKind,
    moment::UnixMs,
    money::Nanos,
};
use gateway_store::{Account, Credit};
use serde::Serialize;

use super::{
    Problem, Report, Session,
    keys::{KeyView, key_table},
    table::table,
};
use crate::cli::AccountCommand;

pub(super) async fn run(session: &Session, command: AccountCommand) -> Result<Report, Problem> {
    match command {
        AccountCommand::Create { name, credit } => create(session, &name, credit).await,
        AccountCommand::List => list(session).await,
        AccountCommand::Show { id } => show(session, &id).await,
        AccountCommand::Credit { id, amount, reason, paid } => {
            let kind = if paid { EntryKind::Payment } else { EntryKind::Adjustment };
            give(session, &id, amount, kind, &reason).await?;
            show(session, &id).await
        }
    }
}

async fn create(session: &Session, name: &str, credit: Option<Nanos>) -> Result<Report, Problem> {
    let mut account = session.store.account_create(name, session.now()).await?;
    if let Some(amount) = credit.filter(|&amount| amount > Nanos::ZERO) {
        give(session, &account.id, amount, EntryKind::Adjustment, "Credit at creation").await?;
        account.balance = amount;
    }
    let text = format!(
        "Created account {} with {} USD.\nNext: modelswitch key create --account {} --name NAME",
        account.id, account.balance, account.id
    );
    Report::new(&AccountView::of(&account, account.balance), text)
}

async fn give(
    session: &Session,
    account: &AccountId,
    amount: Nanos,
    kind: EntryKind,
    description: &str,
) -> Result<(), Problem> {
    if amount <= Nanos::ZERO {
        return Err(Problem::new("a credit must be more than nothing"));
    }
    let id = RequestId::new(session.now(), gateway_store::random()?);
    let credit = Credit { id, kind, amount, description: description.to_owned() };
    if session.store.account_credit(account, &credit).await? { Ok(()) } else { Err(Problem::no_account(account)) }
}

async fn list(session: &Session) -> Result<Report, Problem> {
    // The account's own item holds what is in no key's allowance, so the balance takes a second look at each.
    let accounts = session.store.account_list().await?;
    let (mut lines, mut views) = (Vec::new(), Vec::new());
    for account in &accounts {
        let Some(standing) = session.store.account_standing(&account.id).await? else { continue };
        let keys = standing.keys.iter().filter(|key| !key.allowance.deleted).count();
        lines.push(vec![
            account.id.to_string(),
            account.name.clone(),
            standing.balance().to_string(),
            keys.to_string(),
            account.created_at.day(),
        ]);
        views.push(AccountView::of(account, standing.balance()));
    }
    let text = match lines.is_empty() {
        true => "No account yet: modelswitch account create --name NAME".to_owned(),
        false => table(&["ACCOUNT", "NAME", ">BALANCE USD", ">KEYS", "CREATED"], &lines),
    };
    Report::new(&views, text)
}

async fn show(session: &Session, id: &AccountId) -> Result<Report, Problem> {
    let standing = session.store.account_standing(id).await?.ok_or_else(|| Problem::no_account(id))?;
    let keys: Vec<_> = standing.keys.iter().filter(|key| !key.allowance.deleted).collect();
    let account = &standing.account;
    let view = AccountView {
        available: Some(standing.available()),
        held: Some(standing.held()),
        keys: Some(keys.iter().map(|key| KeyView::of(key, session.now())).collect()),
        ..AccountView::of(account, standing.balance())
    };
    let text = format!(
        "Account    {}\nName       {}\nCreated    {}\nBalance    {} USD\nAvailable  {} USD\nHeld       {} USD\nPaid in    {} USD\n\n{}",
        account.id,
        account.name,
        account.created_at,
        standing.balance(),
        standing.available(),
        standing.held(),
        account.paid_in,
        key_table(&keys, session.now()),
    );
    Report::new(&view, text)
}

/// An account for scripts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountView<'a> {
    id: &'a AccountId,
    name: &'a str,
    created_at: UnixMs,
    balance: Nanos,
    paid_in: Nanos,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<Nanos>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Nanos>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<KeyView<'a>>>,
}

impl<'a> AccountView<'a> {
    fn of(account: &'a Account, balance: Nanos) -> Self {
        Self {
            id: &account.id,
            name: &account.name,
            created_at: account.created_at,
            balance,
            paid_in: account.paid_in,
            available: None,
            held: None,
            keys: None,
        }
    }
}
