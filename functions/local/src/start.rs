//! Puts a gateway together: data, tables, settings, providers, functions, server. And the first account.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use gateway_core::{
    catalogue::{BUILT_IN_PROVIDERS, Catalogue, ECHO_PROVIDER},
    ids::{AccountId, RequestId},
    ledger::EntryKind,
    limits::RateLimit,
    moment::UnixMs,
    money::Nanos,
    people::{Email, Link, LinkKind, Role, Secret, User},
    settings::{ProviderSettings, Settings, SettingsError},
    token::{KeyType, Token},
};
use gateway_lambda::{Clock, Host, TaskTracker};
use gateway_store::{Configuration, Credit, Mailer, NewKey, PaymentSecrets, PaymentsSecret, Store, StoreError, Tables};
use gateway_upstream::{
    Credentials, OpenId, OpenIdSettings, Timeouts, Upstream,
    stripe::{self, Stripe},
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use crate::{
    api::Api,
    engine::{Data, Engine, OpenError},
    functions::Functions,
    ledger_stream::LedgerStream,
    mail,
    schedule::Schedules,
    server,
    template::{STACK_NAME, Template, TemplateError},
};

/// What a gateway is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on 127.0.0.1; 0 is any free one.
    pub port: u16,
    /// Where the data are.
    pub data: Data,
    /// The settings; none: those that are stored with the data.
    pub settings: Option<Settings>,
    /// Providers and models on top of the settings, where those do not speak of them.
    pub extra: Settings,
    /// The providers' keys, by name.
    pub credentials: HashMap<String, String>,
    /// How long to wait for providers.
    pub timeouts: Timeouts,
    /// Where Stripe answers.
    pub stripe_url: String,
    /// How long an attempt to ask it may take.
    pub stripe_attempt_ms: u64,
    /// What Stripe knows us by, and what we know its webhooks by.
    pub payments_secret: PaymentsSecret,
    /// The time.
    pub clock: Clock,
    /// The template; none: the one in the current folder, or else the built-in one.
    pub template: Option<PathBuf>,
    /// What the first account may spend.
    pub free_credit: Nanos,
    /// The folder that emails are written into, as none is sent from here; none: there are none, and the dashboard says so.
    pub mail: Option<PathBuf>,
    /// Whether anybody may make an account in the dashboard.
    pub sign_up: bool,
    /// Where people may sign in to the dashboard, and our secret there, if we have one.
    pub openid: Option<(OpenIdSettings, Option<String>)>,
    /// How long what is behind the ledger's stream pauses; none: it runs when [`Gateway::rollup`] is called, and never else.
    pub rollup_pause: Option<Duration>,
}

/// So long the local gateway's usage may wait to be summed up, which nobody sees.
const ROLLUP_PAUSE: Duration = Duration::from_secs(5);

impl Default for Options {
    /// In memory, on any port, with the built-in echo alone.
    fn default() -> Self {
        Self {
            port: 0,
            data: Data::Ephemeral,
            settings: None,
            extra: echo(),
            credentials: HashMap::new(),
            timeouts: Timeouts::default(),
            stripe_url: stripe::API.to_owned(),
            stripe_attempt_ms: stripe::ATTEMPT_MS,
            payments_secret: PaymentsSecret::default(),
            clock: Clock::system(),
            template: None,
            free_credit: Nanos::usd(5),
            mail: None,
            sign_up: false,
            openid: None,
            rollup_pause: Some(ROLLUP_PAUSE),
        }
    }
}

/// A gateway that answers.
#[derive(Debug)]
pub struct Gateway {
    /// Where it answers, `http://127.0.0.1:8787`.
    pub url: String,
    /// Its database.
    pub store: Store,
    /// Its clock.
    pub clock: Clock,
    /// The account that this start made, because there was none.
    pub first_account: Option<FirstAccount>,
    /// What hashes the dashboard's passwords.
    pub passwords: dashboard::Passwords,
    schedules: Schedules,
    running: TaskTracker,
    ledger_stream: LedgerStream,
    /// What runs beside the server, and ends with the gateway.
    tasks: JoinSet<()>,
    stop: oneshot::Sender<Duration>,
    server: JoinHandle<bool>,
}

/// The account that the first start makes, and its keys, which are shown this once.
#[derive(Debug, Clone)]
pub struct FirstAccount {
    /// The account.
    pub id: AccountId,
    /// Its key for the models.
    pub proxy_key: Token,
    /// Its key for the account.
    pub billing_key: Token,
    /// A link that signs its owner in to the dashboard, once.
    pub sign_in_link: String,
}

/// Who the first account's owner is: nobody writes to this address.
pub(crate) const FIRST_OWNER: &str = "owner@localhost";

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database.
    #[error("the database did not do it: {0}")]
    Store(#[from] StoreError),
    /// The tables, the routes or the port.
    #[error("{0}")]
    Other(String),
}

impl Gateway {
    /// Starts a gateway; it answers when this returns.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let template = Template::load(options.template.as_deref())?;
        let listener = server::bind(options.port).await.map_err(StartError::Other)?;
        let engine = Engine::open(&options.data)?;
        for table in &template.tables {
            engine.create_table(table).map_err(StartError::Other)?;
        }
        engine.sweep();
        let store = Store::new(engine.client(), Tables::of_stack(STACK_NAME));
        let settings = match options.settings {
            Some(settings) => settings,
            None => store.settings().await?,
        };
        let catalogue = Catalogue::new(merged(settings, options.extra))?;
        let configuration = Configuration::fixed(catalogue);
        let stripe = Stripe::new(&options.stripe_url, options.stripe_attempt_ms);
        let payment_secrets = PaymentSecrets::fixed(options.payments_secret);
        let dashboard = dashboard::App {
            store: store.clone(),
            configuration: configuration.clone(),
            stripe: stripe.clone(),
            payment_secrets: payment_secrets.clone(),
            passwords: dashboard::Passwords::default(),
            emails: options.mail.is_some(),
            sign_up: options.sign_up,
            openid: options.openid.map(openid).transpose().map_err(StartError::Other)?,
        };
        let passwords = dashboard.passwords.clone();
        let functions = Functions {
            store: store.clone(),
            dashboard,
            configuration,
            upstream: Upstream::new(options.timeouts, Credentials::fixed(options.credentials)),
            stripe,
            payment_secrets,
        };
        let address = listener.local_addr().map_err(|error| StartError::Other(error.to_string()))?.to_string();
        let url = format!("http://{address}");
        let first_account = first_account(&store, &options.clock, options.free_credit, &url).await?;
        let mailer = options.mail.as_deref().map_or_else(|| Ok(Mailer::nobody()), mail::mailer);
        let mailer = mailer.map_err(StartError::Other)?;
        let rollup = usage_rollup::App { store: store.clone(), clock: options.clock.clone() };
        let low_balance = low_balance::App {
            store: store.clone(),
            mailer,
            billing_page: format!("{url}/dashboard/billing"),
            clock: options.clock.clone(),
        };
        let ledger_stream = LedgerStream::new(engine.feed, rollup, low_balance);
        let mut tasks = JoinSet::new();
        if let Some(pause) = options.rollup_pause {
            tasks.spawn(ledger_stream.clone().keep_running(pause));
        }
        let host = Host::new(options.clock.clone());
        let running = host.running.clone();
        let schedules = Schedules::start(&template.schedules, &functions, &host).map_err(StartError::Other)?;
        let api = Arc::new(Api::new(template, functions, host, address).map_err(StartError::Other)?);
        let (stop, stopped) = oneshot::channel();
        let server = spawn(server::serve(listener, api, stopped));
        let clock = options.clock;
        Ok(Self { url, store, clock, first_account, passwords, schedules, running, ledger_stream, tasks, stop, server })
    }

    /// Does at once what the schedule does every few minutes: ends the holds that are past their time.
    ///
    /// # Errors
    /// What the function that does it says.
    pub async fn expire_holds(&self) -> Result<hold_expirer::Report, hold_expirer::Failure> {
        hold_expirer::handle(&hold_expirer::App { store: self.store.clone() }, self.clock.now()).await
    }

    /// Waits until no request runs, settlement included.
    pub async fn idle(&self) {
        self.running.close();
        self.running.wait().await;
        self.running.reopen();
    }

    /// Runs what is behind the ledger's stream, `usage-rollup` and `low-balance`, for what was booked since it ran last.
    pub async fn rollup(&self) {
        self.ledger_stream.run().await;
    }

    /// Takes no more requests, lets running ones finish for at most `grace`, and says whether all did.
    pub async fn stop(mut self, grace: Duration) -> bool {
        self.schedules.stop().await;
        // The receiver is gone only if the server is, and then there is nothing to stop.
        let _ = self.stop.send(grace);
        let all = self.server.await.unwrap_or(false);
        self.tasks.shutdown().await;
        all
    }
}

#[expect(clippy::disallowed_methods, reason = "the server's own task, awaited by `Gateway::stop`")]
fn spawn(server: impl Future<Output = bool> + Send + 'static) -> JoinHandle<bool> {
    tokio::spawn(server)
}

/// Settings that turn on the built-in echo and nothing else.
pub fn echo() -> Settings {
    let mut settings = Settings::default();
    settings.providers.insert(ECHO_PROVIDER.to_owned(), ProviderSettings::default());
    settings
}

/// The echo and each built-in provider whose key the environment holds, and those keys by name.
pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> (Settings, HashMap<String, String>) {
    let (mut settings, mut credentials) = (echo(), HashMap::new());
    for provider in BUILT_IN_PROVIDERS {
        if let Some(key) = provider.env_var.and_then(&variable) {
            settings.providers.insert(provider.name.to_owned(), ProviderSettings::default());
            credentials.insert(provider.name.to_owned(), key);
        }
    }
    (settings, credentials)
}

/// Stripe's keys, as the environment holds them: `STRIPE_SECRET_KEY`, and `STRIPE_WEBHOOK_SECRET`, of which there may be
/// several with commas between them.
pub fn payments_of_environment(variable: impl Fn(&str) -> Option<String>) -> PaymentsSecret {
    let webhook_secrets = variable("STRIPE_WEBHOOK_SECRET").unwrap_or_default();
    let webhook_secrets = webhook_secrets.split(',').map(str::trim).filter(|secret| !secret.is_empty());
    let webhook_secrets = webhook_secrets.map(str::to_owned).collect();
    PaymentsSecret::new(variable("STRIPE_SECRET_KEY").unwrap_or_default(), webhook_secrets)
}

/// `settings`, and what of `extra` they do not speak of.
pub fn merged(mut settings: Settings, extra: Settings) -> Settings {
    for (name, provider) in extra.providers {
        settings.providers.entry(name).or_insert(provider);
    }
    for (id, model) in extra.models {
        settings.models.entry(id).or_insert(model);
    }
    settings
}

/// Makes an account with credit and one key of each type, if there is no account at all.
async fn first_account(
    store: &Store,
    clock: &Clock,
    credit: Nanos,
    url: &str,
) -> Result<Option<FirstAccount>, StoreError> {
    if !store.account_list().await?.is_empty() {
        return Ok(None);
    }
    let now = clock.now();
    let id = store.account_create("My account", now).await?.id;
    if credit > Nanos::ZERO {
        let entry = RequestId::new(now, gateway_store::random()?);
        let description = "Free credit".to_owned();
        store
            .account_credit(&id, &Credit { id: entry, kind: EntryKind::Adjustment, amount: credit, description })
            .await?;
    }
    let proxy_key = first_key(store, &id, KeyType::Proxy, clock).await?;
    let billing_key = first_key(store, &id, KeyType::Billing, clock).await?;
    let sign_in_link = first_link(store, &id, now, url).await?;
    Ok(Some(FirstAccount { id, proxy_key, billing_key, sign_in_link }))
}

/// Makes the account's owner, and a link that signs them in.
async fn first_link(store: &Store, account: &AccountId, at: UnixMs, url: &str) -> Result<String, StoreError> {
    let Some(email) = Email::parse(FIRST_OWNER) else { return Ok(String::new()) };
    store.user_create(&User::new(email.clone(), account.clone(), Role::Owner, at)).await?;
    let secret = Secret::from_random(gateway_store::random()?);
    let link = Link { kind: LinkKind::SignIn, email, account: account.clone(), role: Role::Owner, created_at: at };
    store.link_create(&secret, &link).await?;
    Ok(link.kind.url(&format!("{url}/dashboard"), &secret))
}

/// The OpenID provider with what we are there.
fn openid((settings, secret): (OpenIdSettings, Option<String>)) -> Result<OpenId, String> {
    let credentials = secret.map(|secret| ("client_secret".to_owned(), secret)).into_iter().collect();
    OpenId::new(settings, Credentials::fixed(credentials))
}

async fn first_key(store: &Store, account: &AccountId, key_type: KeyType, clock: &Clock) -> Result<Token, StoreError> {
    let token = Token::from_random(key_type, gateway_store::random()?);
    let new = NewKey {
        name: format!("First {} key", key_type.name()),
        key_type,
        expires_at: None,
        spend_limit: None,
        reset: None,
        rate_limit: RateLimit::default(),
        models: None,
    };
    store.key_create(account, &new, &token, clock.now(), None).await?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_serves_when_its_key_is_in_the_environment() {
        let (settings, credentials) = of_environment(|name| (name == "GROQ_API_KEY").then(|| "key".to_owned()));
        assert_eq!(settings.providers.keys().collect::<Vec<_>>(), ["groq", ECHO_PROVIDER]);
        assert_eq!(credentials, HashMap::from([("groq".to_owned(), "key".to_owned())]));
    }

    #[test]
    fn stripe_s_keys_are_in_the_environment() {
        let secret = payments_of_environment(|name| match name {
            "STRIPE_SECRET_KEY" => Some("sk_1".to_owned()),
            "STRIPE_WEBHOOK_SECRET" => Some("whsec_1, whsec_2,".to_owned()),
            _ => None,
        });
        assert_eq!(secret, PaymentsSecret::new("sk_1".to_owned(), vec!["whsec_1".to_owned(), "whsec_2".to_owned()]));
        assert_eq!(payments_of_environment(|_| None), PaymentsSecret::default());
    }

    #[test]
    fn what_the_settings_say_of_a_provider_stands() {
        let own = r#"{"providers":{"openai":{"base_url":"http://127.0.0.1:1/v1"}}}"#;
        let settings = merged(Settings::parse(own.as_bytes()).unwrap(), of_environment(|_| Some("key".to_owned())).0);
        assert_eq!(settings.providers["openai"].base_url.as_deref(), Some("http://127.0.0.1:1/v1"));
        assert!(settings.providers.contains_key(ECHO_PROVIDER));
    }
}
