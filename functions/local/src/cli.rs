//! What can be typed: commands, options, and help that teaches.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use gateway_core::{
    ids::{AccountId, KeyId},
    limits::{Interval, RateLimit},
    moment::{Reset, UnixMs},
    money::Nanos,
    people::{Email, Role},
    token::KeyType,
};

use crate::provider::{ProviderArg, ProviderPrice};

const DATA: &str = "Which data";

/// An AI gateway that keeps exact books: one OpenAI-compatible address for many providers, with keys, limits and a ledger.
#[derive(Debug, Parser)]
#[command(
    name = "modelswitch",
    version,
    override_usage = "modelswitch [OPTIONS] [COMMAND]",
    after_help = "\
Examples:
  modelswitch                                        Start the gateway; the first start prints keys and a request to copy
  OPENAI_API_KEY=… modelswitch                       The same, with OpenAI's models behind it
  modelswitch --provider ollama=http://localhost:11434 --price ollama=0.10,0.40
                                                     The same, with a server of your own behind it
  modelswitch account create --name 'My team' --credit 20
  modelswitch key create --account acct_… --name laptop --spend-limit 5 --reset monthly
  modelswitch account list --stack production        The same commands on a stack in AWS

Without a command, `serve` runs. Every command has its own --help."
)]
pub struct Cli {
    /// Which data a command works on.
    #[command(flatten)]
    pub target: Target,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which data a command works on: a local file, or a stack in AWS.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// The local gateway's data.
    #[arg(long, global = true, help_heading = DATA, value_name = "FILE", default_value = ".modelswitch/data.db")]
    pub data: PathBuf,
    /// The stack in AWS with this name, with the credentials and the region of the environment.
    #[arg(long, global = true, help_heading = DATA, value_name = "NAME")]
    pub stack: Option<String>,
    /// A table in AWS, where its name does not follow from the stack's.
    #[arg(long, global = true, help_heading = DATA, value_name = "NAME")]
    pub accounts_table: Option<String>,
    /// The same for the tokens' table.
    #[arg(long, global = true, help_heading = DATA, value_name = "NAME")]
    pub tokens_table: Option<String>,
    /// The same for the ledger's table.
    #[arg(long, global = true, help_heading = DATA, value_name = "NAME")]
    pub ledger_table: Option<String>,
    /// The same for the table of usage in sums.
    #[arg(long, global = true, help_heading = DATA, value_name = "NAME")]
    pub usage_table: Option<String>,
    /// The same for the table of people.
    #[arg(long, global = true, help_heading = DATA, value_name = "NAME")]
    pub people_table: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway on this machine (the default).
    Serve(ServeArgs),
    /// Create and look at accounts, and credit them.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Create, change and delete an account's keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Let people into the dashboard.
    #[command(
        subcommand,
        after_help = "\
A link works once, within 24 hours. Give it to the person yourself: nothing is sent.

Examples:
  modelswitch user invite ada@example.com
  modelswitch user invite ada@example.com --account acct_… --role member --stack production
  modelswitch user reset ada@example.com --url https://gateway.example"
    )]
    User(UserCommand),
    /// Work the books out again from the ledger and print where they differ.
    Audit(AuditArgs),
    /// Look at the models that are served.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Look at and change which providers and models are served, and at what price.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// How to serve.
#[derive(Debug, Args)]
#[command(after_help = "\
Providers:
  A provider of the catalogue serves as soon as its key is in the environment: OPENAI_API_KEY, GROQ_API_KEY,
  MISTRAL_API_KEY, DEEPSEEK_API_KEY, XAI_API_KEY, TOGETHER_API_KEY, FIREWORKS_API_KEY and the like.
  --provider NAME=URL adds any server that speaks OpenAI's protocol; a key for it is read from NAME_API_KEY.
  The model `modelswitch/echo` is always there. It is no model: it answers with your last message.

Payments:
  STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET in the environment switch them on. In Stripe's test mode, the second is what
  `stripe listen --forward-to http://127.0.0.1:8787/webhooks/stripe` prints. Several have commas between them.

Examples:
  modelswitch serve --provider lab=http://127.0.0.1:8000/v1 --price lab=0.10,0.40
  modelswitch serve --ephemeral --port 0 --json      One line of JSON with url, proxy_key, billing_key,
                                                     account_id, sign_in_link")]
pub struct ServeArgs {
    /// Listen on this port of 127.0.0.1; 0 is any free one.
    #[arg(long, default_value_t = 8787)]
    pub port: u16,
    /// Keep the data in memory and forget them at the end.
    #[arg(long, conflicts_with = "data")]
    pub ephemeral: bool,
    /// Settings for this run, as JSON, instead of those that `config set` stored.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Serve every model that this server lists, as NAME/ID. May be given more than once.
    #[arg(long = "provider", value_name = "NAME=URL")]
    pub providers: Vec<ProviderArg>,
    /// What that provider's models cost, in USD per million input and output tokens. Without it they cost nothing.
    #[arg(long = "price", value_name = "NAME=IN,OUT")]
    pub prices: Vec<ProviderPrice>,
    /// Where Stripe's API answers; for a stand-in.
    #[arg(long, value_name = "URL", default_value = gateway_upstream::stripe::API)]
    pub stripe: String,
    /// Free credit, in USD, of the account that the first start makes.
    #[arg(long, value_name = "USD", default_value = "5", value_parser = usd)]
    pub credit: Nanos,
    /// Write the emails about low balances into this folder. None is sent from here; without it there are none.
    #[arg(long, value_name = "FOLDER")]
    pub mail: Option<PathBuf>,
    /// Let anybody make an account in the dashboard.
    #[arg(long)]
    pub sign_up: bool,
    /// Let people sign in to the dashboard at this OpenID provider; our secret there is read from OPENID_CLIENT_SECRET.
    #[arg(long, value_name = "URL", requires = "openid_client_id")]
    pub openid_issuer: Option<String>,
    /// Our name at the OpenID provider.
    #[arg(long, value_name = "ID", requires = "openid_issuer")]
    pub openid_client_id: Option<String>,
    /// At the end, let running requests finish for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub grace: u64,
    /// The template that says which routes there are.
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
}

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Create an account.
    Create {
        /// What people call it.
        #[arg(long)]
        name: String,
        /// Credit it at once, in USD.
        #[arg(long, value_name = "USD", value_parser = usd)]
        credit: Option<Nanos>,
    },
    /// List every account.
    List,
    /// Show an account with its funds and keys.
    Show {
        /// The account.
        #[arg(value_name = "ACCOUNT")]
        id: AccountId,
    },
    /// Give an account funds.
    Credit {
        /// The account.
        #[arg(value_name = "ACCOUNT")]
        id: AccountId,
        /// How much, in USD.
        #[arg(value_name = "USD", value_parser = usd)]
        amount: Nanos,
        /// Why; the account's transactions show it.
        #[arg(long)]
        reason: String,
        /// The account has paid for it: it is no free tier any more.
        #[arg(long)]
        paid: bool,
    },
}

/// Which account a command is about.
#[derive(Debug, Args)]
pub struct OfAccount {
    /// The account. May be left out where there is only one.
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<AccountId>,
}

/// Which books to audit.
#[derive(Debug, Args)]
#[command(after_help = "\
Requests may run meanwhile. An account on which they never cease is compared as far as that is exact, and a line on
standard error says so. The exit code is 1 if there is a difference.

Examples:
  modelswitch audit                                  Every account
  modelswitch audit --account acct_… --stack production --json")]
pub struct AuditArgs {
    /// This account alone.
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<AccountId>,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Create a key and print it, this once.
    Create(NewKeyArgs),
    /// List an account's keys.
    List(OfAccount),
    /// Switch a key off: its requests get a 403.
    Deactivate(OneKey),
    /// Switch a key on again.
    Activate(OneKey),
    /// Give a key a new token and print it, this once.
    Rotate {
        /// The key.
        #[command(flatten)]
        key: OneKey,
        /// The old token works for so many seconds more.
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
        grace: u64,
    },
    /// Delete a key for good.
    Delete(OneKey),
}

/// What to do with the dashboard's users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Print a link by which somebody becomes a user of an account.
    Invite {
        /// Whom.
        #[arg(value_name = "EMAIL", value_parser = email)]
        email: Email,
        /// To which account.
        #[command(flatten)]
        of: OfAccount,
        /// As what: an owner may do everything, a member what does not concern money or other users.
        #[arg(long, value_name = "owner|member", default_value = "owner", value_parser = role)]
        role: Role,
        /// Where the link leads.
        #[command(flatten)]
        place: Place,
    },
    /// Print a link by which a user sets a new password.
    Reset {
        /// Which one.
        #[arg(value_name = "EMAIL", value_parser = email)]
        email: Email,
        /// Where the link leads.
        #[command(flatten)]
        place: Place,
    },
    /// List users, and who is invited.
    List,
    /// Take a user away, sign them out and make their links void.
    Remove {
        /// Which one.
        #[arg(value_name = "EMAIL", value_parser = email)]
        email: Email,
    },
}

/// Where a link leads.
#[derive(Debug, Args)]
pub struct Place {
    /// Where the gateway answers. Without it, a stack's own outputs say so; on this machine it is
    /// http://127.0.0.1:8787.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

/// A key of an account.
#[derive(Debug, Args)]
pub struct OneKey {
    /// Its account.
    #[command(flatten)]
    pub of: OfAccount,
    /// The key's number.
    #[arg(value_name = "KEY", value_parser = key_id)]
    pub key: KeyId,
}

/// A key to create.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  modelswitch key create --name laptop
  modelswitch key create --name ci --spend-limit 5 --reset monthly --rate-limit 100/10s --model gpt-4o-mini
  modelswitch key create --name dashboards --type billing")]
pub struct NewKeyArgs {
    /// Its account.
    #[command(flatten)]
    pub of: OfAccount,
    /// What people call it.
    #[arg(long)]
    pub name: String,
    /// What it opens: `proxy` the models (/v1), `billing` the account (/api).
    #[arg(long = "type", value_name = "proxy|billing", default_value = "proxy", value_parser = key_type)]
    pub key_type: KeyType,
    /// The most it may spend, in USD.
    #[arg(long, value_name = "USD", value_parser = usd)]
    pub spend_limit: Option<Nanos>,
    /// When its spend limit starts afresh.
    #[arg(long, value_name = "daily|weekly|monthly", value_parser = reset, requires = "spend_limit")]
    pub reset: Option<Reset>,
    /// Requests per window, such as 1000/10s.
    #[arg(long, value_name = "REQUESTS/INTERVAL", value_parser = rate_limit)]
    pub rate_limit: Option<RateLimit>,
    /// When it expires: a date or a moment, UTC.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    pub expires: Option<UnixMs>,
    /// A model that it may call; may be given more than once. Without it, all.
    #[arg(long = "model", value_name = "ID")]
    pub models: Vec<String>,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models that are served, with their prices, markup included.
    List,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the stored settings.
    Show,
    /// Check settings and store them. A stack in AWS follows within a minute, a local gateway at its next start.
    #[command(after_help = "\
The file is JSON. All of it may be left out:
  {
    \"markup_percent\": 10,
    \"providers\": {\"openai\": {}, \"lab\": {\"base_url\": \"http://127.0.0.1:8000/v1\", \"credential\": null}},
    \"models\": {
      \"lab/qwen\": {\"provider\": \"lab\", \"upstream_id\": \"qwen\", \"price\": {\"input\": 0.10, \"output\": 0.40}},
      \"fast\": {\"alias_of\": \"gpt-4o-mini\"},
      \"gpt-4o\": {\"enabled\": false}
    }
  }
Prices are USD per million tokens. It holds no secret: credentials are kept elsewhere, by name.")]
    Set {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Cli {
    /// What was typed; prints help or the error and ends the process where there is nothing to do.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self::parse_from(with_default_command(arguments.into_iter().collect()))
    }
}

/// `serve` is what an option without a command belongs to: `modelswitch --port 9000`.
fn with_default_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    const NOT_SERVE: [&str; 12] =
        ["serve", "account", "key", "user", "audit", "models", "config", "help", "--help", "-h", "--version", "-V"];
    let options_alone = arguments.get(1).is_none_or(|first| first.to_string_lossy().starts_with('-'));
    let named = arguments.iter().skip(1).any(|argument| NOT_SERVE.iter().any(|name| argument == name));
    if options_alone && !named {
        arguments.insert(arguments.len().min(1), "serve".into());
    }
    arguments
}

fn usd(text: &str) -> Result<Nanos, String> {
    Nanos::parse_usd(text).map_err(|error| error.to_string())
}

fn key_id(text: &str) -> Result<KeyId, String> {
    KeyId::parse(text).ok_or_else(|| "a key is a whole number from 1; `modelswitch key list` shows them".to_owned())
}

fn key_type(text: &str) -> Result<KeyType, String> {
    KeyType::parse(text).ok_or_else(|| "write proxy or billing".to_owned())
}

fn email(text: &str) -> Result<Email, String> {
    Email::parse(text).ok_or_else(|| "write an email address, such as ada@example.com".to_owned())
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "write owner or member".to_owned())
}

fn reset(text: &str) -> Result<Reset, String> {
    Reset::parse(text).ok_or_else(|| "write daily, weekly or monthly".to_owned())
}

fn moment(text: &str) -> Result<UnixMs, String> {
    UnixMs::parse_rfc3339(text).ok_or_else(|| "write a date, 2027-01-31, or a moment, 2027-01-31T12:00:00Z".to_owned())
}

fn rate_limit(text: &str) -> Result<RateLimit, String> {
    let wrong = || "write so many requests per interval, such as 1000/10s or 20/1m".to_owned();
    let (requests, interval) = text.split_once('/').ok_or_else(wrong)?;
    let requests = requests.parse().ok().filter(|&requests| requests > 0).ok_or_else(wrong)?;
    Ok(RateLimit { requests, interval: Interval::parse(interval).ok_or_else(wrong)? })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(line: &str) -> Cli {
        Cli::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_gateway_serves() {
        for line in ["modelswitch", "modelswitch --port 9", "modelswitch --json --ephemeral", "modelswitch serve"] {
            assert!(matches!(read(line).command, Command::Serve(_)), "{line}");
        }
        let Command::Serve(serve) =
            read("modelswitch --port 0 --credit 2.50 --provider a=http://x --price a=1,2").command
        else {
            panic!("serve")
        };
        assert_eq!(
            (serve.port, serve.credit, serve.providers.len(), serve.prices.len()),
            (0, Nanos(2_500_000_000), 1, 1)
        );
    }

    #[test]
    fn global_options_stand_anywhere() {
        for line in ["modelswitch --json account list", "modelswitch account list --json"] {
            let cli = read(line);
            assert!(cli.json && matches!(cli.command, Command::Account(AccountCommand::List)), "{line}");
        }
    }

    #[test]
    fn wrong_values_are_refused_with_what_to_write() {
        assert!(rate_limit("0/10s").is_err() && rate_limit("10").is_err() && rate_limit("10/1w").is_err());
        assert_eq!(rate_limit("1000/10s"), Ok(RateLimit::default()));
        let error = Cli::try_parse_from(["modelswitch", "key", "delete", "x"]).unwrap_err().to_string();
        assert!(error.contains("modelswitch key list"), "{error}");
    }
}
