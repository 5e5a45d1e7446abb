//! What the authorizer and the store's writes cost: the real SDK, on the embedded database, in memory and in a file.

use std::time::Duration;

use authorizer::authorize;
use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerRequest;
use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::Served,
    limits::{Interval, RateLimit},
    money::Nanos,
    token::{KeyType, Token},
    usage::{Metered, Usage},
};
use gateway_lambda::Clock;
use gateway_store::{HoldOutcome, HoldRequest, NewKey, PlacedHold, Store, random};
use modelswitch::{Data, Gateway, Options};

use crate::{now, process::fresh_file, sample::median};

const ROUNDS: usize = 20;
const CALLS: u32 = 200;

/// What is timed, in the order of [`Books::round`].
const STEPS: [&str; 4] = [
    "look a key up: GetItem",
    "authorizer, whole: checksum, hash, that GetItem, policy",
    "place a hold: UpdateItem",
    "settle it: PutItem of the ledger entry, UpdateItem",
];

/// Measures and prints the table.
pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let file = fresh_file("store.db");
        let books = [Books::open(Data::Ephemeral).await, Books::open(Data::File(file)).await];
        let mut samples: [[Vec<f64>; STEPS.len()]; 2] = Default::default();
        for n in 0..=ROUNDS {
            for (books, samples) in books.iter().zip(&mut samples) {
                let times = books.round().await;
                if n > 0 {
                    samples.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
                }
            }
        }
        println!("| one call through the SDK | in memory | in a file |");
        println!("|---|--:|--:|");
        let [memory, file] = samples;
        for ((step, memory), file) in STEPS.iter().zip(memory).zip(file) {
            println!("| {step} | {:.0} µs | {:.0} µs |", median(memory), median(file));
        }
        for books in books {
            books.gateway.stop(Duration::from_secs(1)).await;
        }
        fresh_file("store.db");
    });
}

/// An account of its own, and a key that no limit stops.
struct Books {
    gateway: Gateway,
    account: AccountId,
    key: KeyId,
    token: Token,
}

impl Books {
    async fn open(data: Data) -> Self {
        let options = Options { data, free_credit: Nanos::usd(1000), ..Options::default() };
        let gateway = Gateway::start(options).await.unwrap();
        let account = gateway.first_account.as_ref().unwrap().id.clone();
        let token = Token::from_random(KeyType::Proxy, random().unwrap());
        let new = NewKey {
            name: "bench".to_owned(),
            key_type: KeyType::Proxy,
            expires_at: None,
            spend_limit: None,
            reset: None,
            rate_limit: RateLimit { requests: 4_000_000, interval: Interval { seconds: 86_400 } },
            models: None,
        };
        let made = gateway.store.key_create(&account, &new, &token, gateway.clock.now(), None).await;
        let key = made.unwrap().unwrap().id;
        Self { gateway, account, key, token }
    }

    /// Microseconds for each of [`STEPS`].
    async fn round(&self) -> [f64; STEPS.len()] {
        let (store, clock) = (&self.gateway.store, &self.gateway.clock);
        let hash = self.token.hash();
        let began = now();
        for _ in 0..CALLS {
            assert!(store.key_lookup(&hash).await.unwrap().is_some());
        }
        let looked_up = began.elapsed();

        let app = authorizer::App { store: store.clone(), clock: clock.clone() };
        let began = now();
        for _ in 0..CALLS {
            authorize(&app, self.event()).await.unwrap();
        }
        let authorized = began.elapsed();

        let (mut placed, mut settled) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..CALLS {
            let began = now();
            let hold = self.place(store, clock).await;
            placed += began.elapsed();
            let served = Served {
                key: self.key,
                model: "bench/chat".to_owned(),
                provider: "bench".to_owned(),
                metered: Metered { usage: Usage { input: 12, output: 200, ..Usage::default() }, estimated: false },
                unpaid: Nanos::ZERO,
                duration_ms: None,
            };
            let began = now();
            store.hold_settle(&hold, Nanos(81_200), served).await.unwrap();
            settled += began.elapsed();
        }
        [looked_up, authorized, placed, settled].map(|time| time.as_secs_f64() * 1e6 / f64::from(CALLS))
    }

    fn event(&self) -> ApiGatewayCustomAuthorizerRequest {
        let mut event = ApiGatewayCustomAuthorizerRequest::default();
        event.authorization_token = Some(format!("Bearer {}", self.token.reveal()));
        event.method_arn =
            Some("arn:aws:execute-api:us-east-1:123456789012:local/live/POST/v1/chat/completions".to_owned());
        event
    }

    async fn place(&self, store: &Store, clock: &Clock) -> PlacedHold {
        let at = clock.now();
        let id = RequestId::new(at, random().unwrap());
        let wanted = HoldRequest {
            account: &self.account,
            key: self.key,
            id: &id,
            models: &[vec!["bench/chat".to_owned()]],
            amount: Nanos(500_000),
            at,
            expires: at.plus_ms(60_000),
        };
        match store.hold_place(&wanted).await.unwrap() {
            HoldOutcome::Held(hold) => hold,
            refused => panic!("{refused:?}"),
        }
    }
}
