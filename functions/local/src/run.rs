//! The program: reads the command line and the environment, runs, prints.
//!
//! Results go to standard output, words about errors and the log's JSON lines to standard error.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use gateway_lambda::{environment, panics_to_log};
use gateway_upstream::OpenIdSettings;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Command, ServeArgs, Target},
    engine::Data,
    operator, server,
    start::{FIRST_OWNER, FirstAccount, Gateway, Options, of_environment, payments_of_environment},
};

/// Runs what was typed.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::read(arguments);
    // A gateway tells what it does; a command's report and its error are all that its user wants.
    panics_to_log();
    logs(if matches!(cli.command, Command::Serve(_)) { "info" } else { "off" });
    let outcome = match cli.command {
        Command::Serve(serve) => run_server(serve, &cli.target, cli.json).await,
        command => run_command(command, &cli.target, cli.json).await,
    };
    match outcome {
        Ok(code) => code,
        Err(problem) => {
            // Where standard error is gone, the exit code has to do.
            let _ = writeln!(io::stderr(), "modelswitch: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run_command(command: Command, target: &Target, json: bool) -> Result<ExitCode, String> {
    let report =
        operator::run(target, command, of_environment(environment).0).await.map_err(|problem| problem.to_string())?;
    print(if json { &report.json } else { &report.text })?;
    for warning in &report.warnings {
        // Where standard error is gone, nobody is to be warned.
        let _ = writeln!(io::stderr(), "modelswitch: {warning}");
    }
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn run_server(serve: ServeArgs, target: &Target, json: bool) -> Result<ExitCode, String> {
    if target.stack.is_some() {
        return Err("serve runs on local data; --stack is for the other commands".to_owned());
    }
    let grace = Duration::from_secs(serve.grace);
    let place = if serve.ephemeral { "memory, until it stops".to_owned() } else { target.data.display().to_string() };
    let gateway = Gateway::start(options(serve, target).await?).await.map_err(|error| error.to_string())?;
    print(&if json { ready_line(&gateway) } else { welcome(&gateway, &place) })?;
    server::stop_signal().await;
    if gateway.stop(grace).await {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("requests were still running after {} seconds and were cut off", grace.as_secs()))
    }
}

async fn options(serve: ServeArgs, target: &Target) -> Result<Options, String> {
    let (mut extra, mut credentials) = of_environment(environment);
    for price in &serve.prices {
        if !serve.providers.iter().any(|provider| provider.name == price.name) {
            return Err(format!("--price {}: there is no --provider of that name", price.name));
        }
    }
    for provider in &serve.providers {
        let credential = environment(&provider.env_var());
        provider.add_to(&mut extra, &serve.prices, credential.as_deref()).await?;
        credentials.extend(credential.map(|secret| (provider.name.clone(), secret)));
    }
    let settings = serve.config.as_deref().map(operator::read_settings).transpose()?;
    let openid = serve.openid_issuer.map(|issuer| {
        let client_id = serve.openid_client_id.unwrap_or_default();
        (OpenIdSettings { issuer, client_id }, environment("OPENID_CLIENT_SECRET"))
    });
    let data = if serve.ephemeral { Data::Ephemeral } else { Data::File(target.data.clone()) };
    Ok(Options {
        port: serve.port,
        data,
        settings,
        extra,
        credentials,
        stripe_url: serve.stripe,
        payments_secret: payments_of_environment(environment),
        template: serve.template,
        free_credit: serve.credit,
        mail: serve.mail,
        sign_up: serve.sign_up,
        openid,
        ..Options::default()
    })
}

/// The one line that scripts wait for. After the first start there are no tokens to tell.
fn ready_line(gateway: &Gateway) -> String {
    #[derive(Serialize)]
    struct Ready<'a> {
        url: &'a str,
        proxy_key: Option<&'a str>,
        billing_key: Option<&'a str>,
        account_id: Option<&'a str>,
        sign_in_link: Option<&'a str>,
    }
    let first = gateway.first_account.as_ref();
    let ready = Ready {
        url: &gateway.url,
        proxy_key: first.map(|first| first.proxy_key.reveal()),
        billing_key: first.map(|first| first.billing_key.reveal()),
        account_id: first.map(|first| first.id.as_str()),
        sign_in_link: first.map(|first| first.sign_in_link.as_str()),
    };
    serde_json::to_string(&ready).unwrap_or_default()
}

fn welcome(gateway: &Gateway, place: &str) -> String {
    let url = &gateway.url;
    // Whoever has not installed the program runs it through cargo.
    let program = if environment("CARGO").is_some() { "cargo run --" } else { "modelswitch" };
    match &gateway.first_account {
        Some(first) => first_welcome(url, place, program, first),
        None => format!(
            "ModelSwitch answers at {url} (for OpenAI's SDKs: {url}/v1); its data are in {place}\n\n\
             The dashboard: {url}/dashboard\n\
             A new link:    {program} user reset {FIRST_OWNER}\n\
             A new key:     {program} key create --name NAME\n\
             The accounts:  {program} account list\n",
        ),
    }
}

fn first_welcome(url: &str, place: &str, program: &str, first: &FirstAccount) -> String {
    let FirstAccount { id, proxy_key, billing_key, sign_in_link } = first;
    let (proxy_key, billing_key) = (proxy_key.reveal(), billing_key.reveal());
    format!(
        r#"ModelSwitch answers at {url} (for OpenAI's SDKs: {url}/v1); its data are in {place}

  account      {id}
  proxy key    {proxy_key}   for the models, /v1
  billing key  {billing_key}   for the account, /api

Copy the keys now: they are stored as hashes and won't be shown again.

The dashboard; this link signs you in, once, within 24 hours:

  {sign_in_link}

Set a password there to sign in again, or print another link:

  {program} user reset {FIRST_OWNER}

Ask a model (this one is built in; it is no model and answers with your own words):

  curl {url}/v1/chat/completions \
    -H 'Authorization: Bearer {proxy_key}' \
    -H 'Content-Type: application/json' \
    -d '{{"model":"modelswitch/echo","messages":[{{"role":"user","content":"Hello, gateway!"}}]}}'

The same, streaming:

  curl -N {url}/v1/chat/completions \
    -H 'Authorization: Bearer {proxy_key}' \
    -H 'Content-Type: application/json' \
    -d '{{"model":"modelswitch/echo","stream":true,"messages":[{{"role":"user","content":"Hello, gateway!"}}]}}'

See what it cost:

  curl {url}/api/usage -H 'Authorization: Bearer {billing_key}'

For real models, set OPENAI_API_KEY or the like, or add a server of your own with --provider NAME=URL; see {program} --help
"#
    )
}

fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    match written {
        // Whoever reads may stop reading, as `head` does.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}

/// The log: JSON lines on standard error. `RUST_LOG` says what is in it, or else `default`.
fn logs(default: &str) {
    let filter = environment("RUST_LOG").and_then(|filter| EnvFilter::try_new(filter).ok());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(io::stderr)
        .with_target(false)
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(default)))
        .init();
}

#[cfg(test)]
mod tests {
    use gateway_core::{ids::AccountId, token::KeyType, token::Token};

    use super::*;

    #[test]
    fn the_first_welcome_says_how_to_sign_in_again_and_ends_where_scripts_wait() {
        let first = FirstAccount {
            id: AccountId::parse("acct_0123456789ABCDEF").unwrap(),
            proxy_key: Token::from_random(KeyType::Proxy, [1; 32]),
            billing_key: Token::from_random(KeyType::Billing, [2; 32]),
            sign_in_link: "http://127.0.0.1:8787/dashboard/link/secret".to_owned(),
        };
        let text = first_welcome("http://127.0.0.1:8787", "memory", "modelswitch", &first);
        assert!(text.contains("  http://127.0.0.1:8787/dashboard/link/secret\n"), "{text}");
        assert!(text.contains("\n  modelswitch user reset owner@localhost\n"), "{text}");
        assert_eq!(text.matches("--help").count(), 1, "{text}");
        assert!(text.trim_end().ends_with("modelswitch --help"), "{text}");
    }
}
