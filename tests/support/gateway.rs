//! A gateway in this process: fresh tables in memory, a free port, a clock that stands still, two scripted providers.

use std::collections::HashMap;

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::EntryKind,
    limits::RateLimit,
    moment::UnixMs,
    money::Nanos,
    people::{Email, Link, LinkKind, Role, Secret},
    settings::Settings,
    token::{KeyType, Token},
};
use gateway_lambda::Clock;
use gateway_store::{Credit, Filter, NewKey, Standing, Store, random};
use gateway_upstream::Timeouts;
use modelswitch::{Data, Gateway, Options};
use serde_json::{Value, json};

use crate::{Browser, Client, Provider};

/// Where the clock stands when a gateway starts: 2026-11-23T09:30:00Z.
pub const START: UnixMs = UnixMs(1_795_426_200_000);

/// The chat model of the first provider: 0.10 USD per million input tokens, 0.40 per million output tokens.
pub const MODEL: &str = "lab/chat";

/// A running gateway and all that surrounds it.
pub struct TestGateway {
    /// The gateway.
    pub gateway: Gateway,
    /// The provider of `lab/chat`, `lab/embed` and `lab/small`.
    pub provider: Provider,
    /// The provider of `spare/chat`.
    pub spare: Provider,
    /// The credential that `provider` is sent.
    pub credential: String,
    /// The account that the keys below belong to.
    pub account: AccountId,
    /// A client with a proxy key.
    pub proxy: Client,
    /// A client with a billing key.
    pub billing: Client,
    /// A client without a key.
    pub anonymous: Client,
}

fn settings(lab: &str, spare: &str) -> Settings {
    let price = json!({"input": "0.10", "output": "0.40"});
    let chat = |provider: &str, most: u32| {
        json!({
            "provider": provider, "upstream_id": "upstream-chat", "kind": "chat", "context_length": 128_000,
            "max_output_tokens": most, "price": price,
        })
    };
    let settings = json!({
        "providers": {
            "modelswitch": {},
            "lab": {"base_url": lab, "credential": "lab", "headers": {"x-team": "gateway-tests"}},
            "spare": {"base_url": spare},
        },
        "models": {
            "lab/chat": chat("lab", 16_384),
            "lab/small": chat("lab", 100),
            "lab/embed": {"provider": "lab", "upstream_id": "upstream-embed", "kind": "embedding",
                "context_length": 8192, "price": {"input": "0.02", "output": "0"}},
            "lab/unpriced": {"provider": "lab", "upstream_id": "x", "kind": "chat"},
            "spare/chat": chat("spare", 16_384),
        },
    });
    Settings::parse(settings.to_string().as_bytes()).unwrap()
}

impl TestGateway {
    /// A gateway whose account has 5 USD.
    pub async fn start() -> Self {
        Self::with_credit("5").await
    }

    /// A gateway whose account has so many USD.
    pub async fn with_credit(usd: &str) -> Self {
        let credit = Nanos::parse_usd(usd).unwrap();
        Self::start_with(|options| options.free_credit = credit).await
    }

    /// A gateway whose options the test changes.
    pub async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let (provider, spare) = (Provider::start().await, Provider::start().await);
        let credential = made_up("cred-");
        let mut options = Options {
            port: 0,
            data: Data::Ephemeral,
            settings: Some(settings(&provider.base_url, &spare.base_url)),
            credentials: HashMap::from([("lab".to_owned(), credential.clone())]),
            clock: Clock::manual(START),
            free_credit: Nanos::usd(5),
            rollup_pause: None,
            timeouts: Timeouts { connect_ms: 1500, first_byte_ms: 1500, answer_ms: 1500, idle_ms: 1500 },
            ..Options::default()
        };
        change(&mut options);
        let gateway = Gateway::start(options).await.unwrap();
        let first = gateway.first_account.as_ref().unwrap();
        let account = first.id.clone();
        let anonymous = Client::new(&gateway.url, None);
        let proxy = anonymous.with_token(Some(first.proxy_key.reveal()));
        let billing = anonymous.with_token(Some(first.billing_key.reveal()));
        Self { gateway, provider, spare, credential, account, proxy, billing, anonymous }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.gateway.store
    }

    /// The clock, to be moved.
    pub fn clock(&self) -> &Clock {
        &self.gateway.clock
    }

    /// A new key of the account, changed as the test likes before it is made.
    pub async fn key(&self, key_type: KeyType, change: impl FnOnce(&mut NewKey)) -> (KeyId, Client) {
        let mut new = new_key(key_type);
        change(&mut new);
        let token = Token::from_random(key_type, random().unwrap());
        let now = self.clock().now();
        let key = self.store().key_create(&self.account, &new, &token, now, None).await.unwrap().unwrap();
        (key.id, self.anonymous.with_token(Some(token.reveal())))
    }

    /// A browser that has never been here.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.gateway.url)
    }

    /// A browser that is signed in as the first account's owner, by a link like the one that the first start prints.
    pub async fn signed_in(&self) -> Browser {
        let path = self.link(LinkKind::SignIn, "owner@localhost").await;
        let browser = self.browser();
        let answer = browser.fill(&path, &[]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/dashboard"), "{}", answer.text);
        browser
    }

    /// The path of a fresh link for this address, to the first account.
    pub async fn link(&self, kind: LinkKind, email: &str) -> String {
        let (secret, email) = (Secret::from_random(random().unwrap()), Email::parse(email).unwrap());
        let (account, created_at) = (self.account.clone(), self.clock().now());
        let link = Link { kind, email, account, role: Role::Member, created_at };
        self.store().link_create(&secret, &link).await.unwrap();
        kind.url("/dashboard", &secret)
    }

    /// Adds to the account's funds.
    pub async fn credit(&self, usd: &str, kind: EntryKind) {
        let id = RequestId::new(self.clock().now(), random().unwrap());
        let amount = Nanos::parse_usd(usd).unwrap();
        let credit = Credit { id, kind, amount, description: "test".to_owned() };
        assert!(self.store().account_credit(&self.account, &credit).await.unwrap());
    }

    /// The account as it stands.
    pub async fn standing(&self) -> Standing {
        self.store().account_standing(&self.account).await.unwrap().unwrap()
    }

    /// All that was charged, by the ledger.
    pub async fn charged(&self) -> Nanos {
        let filter = Filter { kinds: vec![EntryKind::Usage], ..Filter::default() };
        let page = self.store().ledger_page(&self.account, &filter, None, 0, 10_000).await.unwrap();
        page.entries.iter().map(|entry| -entry.amount).sum()
    }

    /// Waits for every request to be settled, then checks that the books balance and that so much was charged.
    pub async fn books_balance(&self, charged: Nanos) {
        self.idle_books().await;
        assert_eq!(self.charged().await, charged, "charged");
    }

    /// Waits for every request to be settled, then checks that the books balance: nothing is held, and the ledger's
    /// entries add up to what is there.
    pub async fn idle_books(&self) {
        self.gateway.idle().await;
        let standing = self.standing().await;
        assert_eq!(standing.held(), Nanos::ZERO, "held");
        let all = Filter::default();
        let entries = self.store().ledger_page(&self.account, &all, None, 0, 10_000).await.unwrap().entries;
        assert_eq!(entries.iter().map(|entry| entry.amount).sum::<Nanos>(), standing.balance(), "ledger and funds");
    }

    /// A chat request's body.
    pub fn chat(model: &str) -> Value {
        json!({"model": model, "messages": [{"role": "user", "content": "Hello there"}]})
    }
}

/// A key to be made that may do everything.
pub fn new_key(key_type: KeyType) -> NewKey {
    NewKey {
        name: "test".to_owned(),
        key_type,
        expires_at: None,
        spend_limit: None,
        reset: None,
        rate_limit: RateLimit::default(),
        models: None,
    }
}

/// Something like a secret that is nowhere but in this run.
pub(crate) fn made_up(prefix: &str) -> String {
    let bytes: [u8; 12] = random().unwrap();
    format!("{prefix}{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
