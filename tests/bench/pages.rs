//! What a page of the dashboard costs, warm, for an account with keys and usage: with the embedded database, and without,
//! where whatever it was asked before is answered from memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::{Client, Config, config::BehaviorVersion};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use dashboard::{App, Passwords};
use gateway_core::{catalogue::Catalogue, token::KeyType};
use gateway_lambda::{Host, answer};
use gateway_store::{Configuration, PaymentSecrets, PaymentsSecret, Store, Tables};
use gateway_upstream::stripe::{API, ATTEMPT_MS, Stripe};
use http::Request;
use http_body_util::BodyExt;
use lambda_http::request::LambdaRequest;
use modelswitch::{
    Data, Engine, STACK_NAME, echo,
    event::{self, Platform},
};
use support::TestGateway;

use crate::{
    now,
    process::fresh_file,
    sample::{Sample, median},
};

const ROUNDS: usize = 9;
const VISITS: usize = 50;
const KEYS: usize = 20;
/// Requests that are in the sums of days already, as all are after two minutes, and those since.
const SUMMED: usize = 500;
const SINCE: usize = 20;

const PAGES: [&str; 6] = ["", "keys", "billing", "usage", "models", "quick-start"];

/// Measures and prints the table.
pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let file = fresh_file("pages.db");
        let gateway = TestGateway::start_with(|options| options.data = Data::File(file.clone())).await;
        for _ in 0..KEYS {
            gateway.key(KeyType::Proxy, |_| {}).await;
        }
        for requests in [SUMMED, SINCE] {
            gateway.clock().advance_ms(120_000);
            gateway.gateway.rollup().await;
            for _ in 0..requests {
                let answer = gateway.proxy.post("/v1/chat/completions", &TestGateway::chat("lab/chat")).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
            }
        }
        let session = gateway.signed_in().await.cookie("ms_session").unwrap();
        let engine = SharedHttpConnector::new(Engine::beside(&file).unwrap());
        let remembered = Store::new(client(Remembering::new(engine.clone())), Tables::of_stack(STACK_NAME));
        let apps = [gateway.store().clone(), remembered].map(app);
        let mut samples: [[Vec<Sample>; 2]; PAGES.len()] = Default::default();
        let mut sizes = [0; PAGES.len()];
        for round in 0..=ROUNDS {
            for (at, page) in PAGES.iter().enumerate() {
                for (app, samples) in apps.iter().zip(&mut samples[at]) {
                    let mut times = Vec::with_capacity(VISITS);
                    let began = now();
                    for _ in 0..VISITS {
                        let began = now();
                        sizes[at] = visit(&gateway, app, page, &session).await;
                        times.push(began.elapsed());
                    }
                    if round > 0 {
                        samples.push(Sample::of(times, began.elapsed()));
                    }
                }
            }
        }
        println!(
            "| a page of the dashboard | with the embedded database, p50 | without a database, p50 | p99 | HTML |"
        );
        println!("|---|--:|--:|--:|--:|");
        for ((page, [with, without]), size) in PAGES.iter().zip(&samples).zip(sizes) {
            let of = |samples: &[Sample], percent| median(samples.iter().map(|sample| sample.percentile_ms(percent)));
            let (with, p50, p99) = (of(with, 50), of(without, 50), of(without, 99));
            println!("| `/dashboard/{page}` | {with:.2} ms | {p50:.2} ms | {p99:.2} ms | {} KB |", size / 1000);
        }
        println!();
        drop((apps, gateway));
        fresh_file("pages.db");
    });
}

fn app(store: Store) -> App {
    App {
        store,
        configuration: Configuration::fixed(Catalogue::new(echo()).unwrap()),
        stripe: Stripe::new(API, ATTEMPT_MS),
        payment_secrets: PaymentSecrets::fixed(PaymentsSecret::default()),
        passwords: Passwords::default(),
        emails: false,
        sign_up: false,
        openid: None,
    }
}

/// Has the function answer with this page, as Lambda does, and returns the size of its HTML.
async fn visit(gateway: &TestGateway, app: &App, page: &str, session: &str) -> usize {
    let path = format!("/dashboard/{page}");
    let request = Request::get(path.trim_end_matches('/')).header("cookie", format!("ms_session={session}"));
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let resource = if page.is_empty() { "/dashboard" } else { "/dashboard/{proxy+}" };
    let parameters = HashMap::from([("proxy".to_owned(), page.to_owned())]);
    let platform = Platform { request_id: "a", at: gateway.clock().now(), address: "127.0.0.1:8787", resource };
    let event = event::proxy_event(&parts, Vec::new(), parameters, None, platform);
    let event: lambda_http::Request = LambdaRequest::ApiGatewayV1(event).into();
    let host = Host::new(gateway.clock().clone());
    let answer = answer(&host, "dashboard", event, |request| dashboard::handle(app, request)).await;
    assert_eq!(answer.status(), 200, "{page}");
    answer.into_body().collect().await.unwrap().to_bytes().len()
}

fn client(connector: Remembering) -> Client {
    let connector = SharedHttpConnector::new(connector);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(aws_config::Region::from_static("local"))
        .endpoint_url("http://localhost")
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .allow_no_auth();
    Client::from_conf(config.build())
}

/// A database that is asked each question once.
#[derive(Debug, Clone)]
struct Remembering {
    engine: SharedHttpConnector,
    answers: Arc<Mutex<HashMap<Vec<u8>, Bytes>>>,
}

impl Remembering {
    fn new(engine: SharedHttpConnector) -> Self {
        Self { engine, answers: Arc::default() }
    }
}

impl HttpConnector for Remembering {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default().as_bytes();
            let question = [target, request.body().bytes().unwrap()].concat();
            let known = this.answers.lock().unwrap().get(&question).cloned();
            let answer = match known {
                Some(answer) => answer,
                None => {
                    let answered = this.engine.call(request).await?;
                    let answer = Bytes::copy_from_slice(answered.body().bytes().unwrap());
                    this.answers.lock().unwrap().insert(question, answer.clone());
                    answer
                }
            };
            Ok(HttpResponse::new(200.try_into().unwrap(), SdkBody::from(answer)))
        })
    }
}
