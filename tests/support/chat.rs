//! The chat function behind its authorizer, called as Lambda calls both, on a store whose calls are counted.
//!
//! No policy is cached, so every request is looked up. The built-in echo is the provider: it needs no socket, so time may
//! stand still, and a stream of it that nobody reads keeps its hold.

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequest, ApiGatewayProxyRequest};
use gateway_core::{
    catalogue::Catalogue,
    ids::{AccountId, RequestId},
    ledger::EntryKind,
    limits::RateLimit,
    moment::Reset,
    money::Nanos,
    settings::Settings,
    token::{KeyType, Token},
};
use gateway_lambda::{Body, Clock, Host, answer};
use gateway_store::{Configuration, Credit, NewKey, Store, random};
use gateway_upstream::{Credentials, Timeouts, Upstream};
use http_body_util::BodyExt;
use lambda_http::request::LambdaRequest;
use serde_json::{Value, json};

use crate::{
    database::Environment,
    faults::{Counts, Wire},
    gateway::START,
};

/// Between two requests.
const EVERY_MS: u64 = 20;
/// Words of the prompt, and so of the answer: more than a stream's channel holds, so an unread stream does not end.
const WORDS: usize = 100;

/// The function, and a key with everything set that a key can have, which is the largest item it can be.
pub struct ChatFunction {
    /// The key's account.
    pub account: AccountId,
    host: Host,
    authorizer: authorizer::App,
    app: chat_completions::App,
    wire: Wire,
    token: Token,
    event: ApiGatewayProxyRequest,
    begun: u64,
}

impl ChatFunction {
    /// The function in this environment. `reader` makes the account; `price` is that of a gateway's settings.
    pub async fn open(environment: Environment, reader: &Store, credit: Nanos, price: Value) -> Self {
        let Environment { store, wire } = environment;
        let settings = json!({"providers": {"modelswitch": {}}, "models": {"modelswitch/echo": {"price": price}}});
        let catalogue = Catalogue::new(Settings::parse(settings.to_string().as_bytes()).unwrap()).unwrap();
        let (account, token) = account(reader, credit).await;
        let clock = Clock::manual(START);
        wire.meter_capacity();
        Self {
            account,
            host: Host::new(clock.clone()),
            authorizer: authorizer::App { store: store.clone(), clock },
            app: chat_completions::App {
                store,
                upstream: Upstream::new(Timeouts::default(), Credentials::fixed([].into())),
                configuration: Configuration::fixed(catalogue),
            },
            wire,
            token,
            event: serde_json::from_str(include_str!("../../events/chat-completions/stream.json")).unwrap(),
            begun: 0,
        }
    }

    /// Sends a request. A stream is charged when it is read to its end, a whole answer already now.
    pub async fn begin(&mut self, stream: bool) -> http::Response<Body> {
        self.begun += 1;
        self.host.clock.advance_ms(EVERY_MS);
        let body = json!({
            "model": "modelswitch/echo", "stream": stream, "max_tokens": 1000,
            "messages": [{"role": "user", "content": "word ".repeat(WORDS)}],
        });
        let mut asked = ApiGatewayCustomAuthorizerRequest::default();
        asked.authorization_token = Some(format!("Bearer {}", self.token.reveal()));
        asked.method_arn = Some("arn:aws:execute-api:us-east-1:1:api/live/POST/v1/chat/completions".to_owned());
        let policy = authorizer::authorize(&self.authorizer, asked).await.unwrap();

        let mut event = self.event.clone();
        event.body = Some(body.to_string());
        let context = &mut event.request_context;
        context.request_id = Some(format!("request {}", self.begun));
        context.request_time_epoch = i64::try_from(self.host.clock.now().0).unwrap();
        context.authorizer.fields = serde_json::from_value(policy.context).unwrap();
        let event: lambda_http::Request = LambdaRequest::ApiGatewayV1(event).into();
        answer(&self.host, "chat-completions", event, |request| chat_completions::handle(&self.app, request)).await
    }

    /// Reads an answer to its end.
    pub async fn end(&self, answer: http::Response<Body>) -> String {
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// What was called since the last time this was asked.
    pub fn take_counts(&self) -> Counts {
        self.wire.take_counts()
    }
}

async fn account(store: &Store, credit: Nanos) -> (AccountId, Token) {
    let account = store.account_create("test", START).await.unwrap().id;
    let id = RequestId::new(START, random().unwrap());
    let credit = Credit { id, kind: EntryKind::Payment, amount: credit, description: "test".to_owned() };
    assert!(store.account_credit(&account, &credit).await.unwrap());
    let token = Token::from_random(KeyType::Proxy, random().unwrap());
    let new = NewKey {
        name: "production, checkout team".to_owned(),
        key_type: KeyType::Proxy,
        expires_at: Some(START.plus_ms(365 * 86_400_000)),
        spend_limit: Some(Nanos::usd(2500)),
        reset: Some(Reset::Monthly),
        rate_limit: RateLimit::default(),
        models: None,
    };
    store.key_create(&account, &new, &token, START, None).await.unwrap().unwrap();
    (account, token)
}
