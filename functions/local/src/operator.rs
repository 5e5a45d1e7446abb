//! The operator's commands: accounts, keys, users, models, settings, the audit, on local data or a stack in AWS.
//!
//! Each gives a report, as JSON for scripts and as text for people; what prints it is not here. A token, or a link, is in
//! the one report that creates it and nowhere else.

mod accounts;
mod audit;
mod keys;
mod models;
mod stack;
mod table;
mod users;

use std::path::Path;

use gateway_core::{catalogue::Catalogue, ids::AccountId, moment::UnixMs, settings::Settings};
use gateway_lambda::Clock;
use gateway_store::{Store, StoreError, Tables};
use serde::Serialize;

use crate::{
    cli::{Command, ConfigCommand, Target},
    engine::Engine,
    template::STACK_NAME,
};

/// What a command found or did.
#[derive(Debug)]
pub struct Report {
    /// For scripts: one line of JSON. It is written at once, because money in a `Value` would be a float.
    pub json: String,
    /// For people.
    pub text: String,
    /// What people should know beside it, a line each; not part of the report.
    pub warnings: Vec<String>,
    /// What was asked about is not as it should be: the exit code says so.
    pub failed: bool,
}

impl Report {
    fn new(json: &impl Serialize, text: impl Into<String>) -> Result<Self, Problem> {
        let json = serde_json::to_string(json).map_err(|error| Problem::new(error.to_string()))?;
        Ok(Self { json, text: text.into(), warnings: Vec::new(), failed: false })
    }
}

/// Why a command could not do it, in words for people.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// What was asked for can't be done.
    #[error("{0}")]
    Request(String),
    /// The database did not answer.
    #[error("{0}")]
    Database(String),
}

impl Problem {
    fn new(words: impl Into<String>) -> Self {
        Self::Request(words.into())
    }

    fn no_account(id: &AccountId) -> Self {
        Self::new(format!("there is no account {id}; `modelswitch account list` shows them"))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // Behind the words the SDK writes its own structures, for a log.
        let words = error.detail.split_once(" (").map_or(error.detail.as_str(), |(words, _)| words);
        Self::Database(format!("the database did not answer {}: {words}", error.operation))
    }
}

/// What commands work with.
struct Session {
    store: Store,
    clock: Clock,
    /// Whether the data are this machine's, where providers come with the environment.
    local: bool,
    /// The stack in AWS, where one is named.
    stack: Option<String>,
}

/// Does what `command` says; serving is not for here.
///
/// # Errors
/// Says what is wrong and what to do.
pub async fn run(target: &Target, command: Command, settings_of_environment: Settings) -> Result<Report, Problem> {
    let session = Session::open(target).await?;
    let local = session.local;
    let outcome = run_in(session, command, settings_of_environment).await;
    outcome.map_err(|problem| match problem {
        Problem::Database(words) if !local => Problem::Database(format!("{}. {AWS_HINT}", words.trim_end_matches('.'))),
        problem => problem,
    })
}

const AWS_HINT: &str = "Check the stack's name, AWS_REGION and the credentials in the environment";

async fn run_in(session: Session, command: Command, settings_of_environment: Settings) -> Result<Report, Problem> {
    match command {
        Command::Serve(_) => Err(Problem::new("serve is no operator's command")),
        Command::Account(command) => accounts::run(&session, command).await,
        Command::Key(command) => keys::run(&session, command).await,
        Command::User(command) => users::run(&session, command).await,
        Command::Audit(arguments) => audit::run(&session, arguments).await,
        Command::Models(_) => models::list(&session, settings_of_environment).await,
        Command::Config(ConfigCommand::Show) => config_show(&session).await,
        Command::Config(ConfigCommand::Set { file }) => config_set(&session, &file).await,
    }
}

impl Session {
    async fn open(target: &Target) -> Result<Self, Problem> {
        let clock = Clock::system();
        let Some(tables) = tables_in_aws(target)? else {
            if !target.data.is_file() {
                let path = target.data.display();
                return Err(Problem::new(format!(
                    "there are no data at {path}. Start the gateway once (modelswitch), or name its file with --data FILE, \
                     or a stack in AWS with --stack NAME"
                )));
            }
            let engine = Engine::beside(&target.data).map_err(|error| Problem::new(error.to_string()))?;
            let store = Store::new(engine.client(), Tables::of_stack(STACK_NAME));
            return Ok(Self { store, clock, local: true, stack: None });
        };
        Ok(Self { store: Store::connect_as_operator(tables).await, clock, local: false, stack: target.stack.clone() })
    }

    fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// The account that was named, or the only one there is.
    async fn account_of(&self, named: Option<AccountId>) -> Result<AccountId, Problem> {
        if let Some(id) = named {
            return Ok(id);
        }
        match self.store.account_list().await?.as_slice() {
            [only] => Ok(only.id.clone()),
            [] => Err(Problem::new("there is no account yet: modelswitch account create --name NAME")),
            _ => Err(Problem::new(
                "there are several accounts: say which with --account; `modelswitch account list` shows them",
            )),
        }
    }
}

/// The tables in AWS, if that is where the command is to work.
fn tables_in_aws(target: &Target) -> Result<Option<Tables>, Problem> {
    let named =
        [&target.accounts_table, &target.tokens_table, &target.ledger_table, &target.usage_table, &target.people_table];
    let tables = match &target.stack {
        Some(stack) => Tables::of_stack(stack),
        None if named.iter().all(|name| name.is_none()) => return Ok(None),
        None if named.iter().all(|name| name.is_some()) => Tables::default(),
        None => {
            return Err(Problem::new(
                "name --stack, or all of --accounts-table, --tokens-table, --ledger-table, --usage-table and --people-table",
            ));
        }
    };
    let [accounts, tokens, ledger, usage, people] = named.map(Clone::clone);
    Ok(Some(Tables {
        accounts: accounts.unwrap_or(tables.accounts),
        tokens: tokens.unwrap_or(tables.tokens),
        ledger: ledger.unwrap_or(tables.ledger),
        usage: usage.unwrap_or(tables.usage),
        people: people.unwrap_or(tables.people),
    }))
}

async fn config_show(session: &Session) -> Result<Report, Problem> {
    let settings = session.store.settings().await?;
    let text = serde_json::to_string_pretty(&settings).map_err(|error| Problem::new(error.to_string()))?;
    Report::new(&settings, text)
}

async fn config_set(session: &Session, file: &Path) -> Result<Report, Problem> {
    let settings = read_settings(file).map_err(Problem::Request)?;
    session.store.settings_put(&settings).await?;
    let when =
        if session.local { "A local gateway follows at its next start." } else { "The stack follows within a minute." };
    Report::new(&settings, format!("Stored. {when}"))
}

/// The settings in a file, if they make sense.
///
/// # Errors
/// Names the file, the place in it and what to change.
pub fn read_settings(file: &Path) -> Result<Settings, String> {
    let path = file.display();
    let json = std::fs::read(file).map_err(|error| format!("{path}: {error}"))?;
    let settings = Settings::parse(&json).map_err(|error| format!("{path}: {error}"))?;
    Catalogue::new(settings.clone()).map_err(|error| format!("{path}: {error}"))?;
    Ok(settings)
}
