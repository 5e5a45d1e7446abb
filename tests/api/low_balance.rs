//! `low-balance`: who is told that a balance is low, how often, and what is sent. SES is a stand-in behind the SDK's client.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use gateway_core::{
    ids::AccountId,
    ledger::EntryKind,
    low_balance::{LowBalance, NOTICE_PAUSE_MS},
    money::Nanos,
};
use gateway_lambda::{BatchResponse, StreamEvent};
use gateway_store::Mailer;
use low_balance::{App, handle};
use serde_json::{Value, json};
use support::{Folder, MODEL, Reply, TestGateway, chat_answer};
use tokio::sync::Semaphore;

const SENDER: &str = "billing@gateway.example";
const PAGE: &str = "https://gateway.example/dashboard/billing";

/// SES, and what it was asked to send. It takes everything, but where it was given another answer: a status, or none for a
/// connection that breaks.
#[derive(Debug, Clone, Default)]
struct Ses {
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    answers: Arc<Mutex<VecDeque<Option<u16>>>>,
}

impl HttpConnector for Ses {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        self.asked.lock().unwrap().push((format!("{} {}", request.method(), request.uri()), body));
        HttpConnectorFuture::ready(match self.answers.lock().unwrap().pop_front() {
            None => Ok(answer(200, r#"{"MessageId":"1"}"#)),
            Some(Some(status)) => Ok(answer(status, r#"{"__type":"MessageRejected","message":"marked@b.example"}"#)),
            Some(None) => Err(ConnectorError::io("the connection broke".into())),
        })
    }
}

fn answer(status: u16, body: &str) -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    response.headers_mut().insert("content-type", "application/json");
    response
}

impl Ses {
    fn will(&self, answer: Option<u16>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    /// The emails so far: to whom, what about, what.
    fn sent(&self) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let asked = self.asked.lock().unwrap();
        let sent = asked.iter().map(|(line, body)| {
            assert_eq!(line, "POST https://email.us-east-1.amazonaws.com/v2/email/outbound-emails");
            assert_eq!(body["FromEmailAddress"], SENDER);
            let [to] = body["Destination"]["ToAddresses"].as_array().unwrap().as_slice() else { panic!("{body}") };
            let simple = &body["Content"]["Simple"];
            (text(to), text(&simple["Subject"]["Data"]), text(&simple["Body"]["Text"]["Data"]))
        });
        sent.collect()
    }

    fn mailer(&self) -> Mailer {
        let connector = SharedHttpConnector::new(self.clone());
        let credentials = Credentials::new("key", "secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Mailer::new(&config, SENDER.to_owned())
    }
}

/// A gateway whose account wants to be told below 5 USD, of which it has 6.
struct Scene {
    gateway: TestGateway,
    ses: Ses,
    app: App,
}

impl Scene {
    async fn new() -> Self {
        let (gateway, ses) = (TestGateway::with_credit("6").await, Ses::default());
        let (store, clock) = (gateway.store().clone(), gateway.clock().clone());
        let app = App { store, mailer: ses.mailer(), billing_page: PAGE.to_owned(), clock };
        let scene = Self { gateway, ses, app };
        scene.wants("5", Some("ada@b.example")).await;
        scene
    }

    async fn wants(&self, threshold: &str, email: Option<&str>) {
        let low = LowBalance::read(threshold, email.unwrap_or_default()).unwrap();
        assert!(self.gateway.store().low_balance_set(&self.gateway.account, low.as_ref()).await.unwrap());
    }

    /// Adds to the balance, or takes from it, and tells the function so.
    async fn book(&self, cents: i64) {
        let (id, kind) =
            (gateway_core::ids::RequestId::new(self.now(), gateway_store::random().unwrap()), EntryKind::Adjustment);
        let amount = Nanos::cents(cents).unwrap();
        let credit = gateway_store::Credit { id, kind, amount, description: String::new() };
        assert!(self.gateway.store().account_credit(&self.gateway.account, &credit).await.unwrap());
        self.look().await;
    }

    fn now(&self) -> gateway_core::moment::UnixMs {
        self.gateway.clock().now()
    }

    async fn look(&self) {
        assert_eq!(handle(&self.app, batch(&[self.gateway.account.as_str()])).await, BatchResponse::default());
    }

    async fn is_told(&self) -> bool {
        self.gateway.standing().await.account.low_balance_told
    }
}

fn batch(accounts: &[&str]) -> StreamEvent {
    let record = |(n, account): (usize, &&str)| json!({"dynamodb": {"Keys": {"account": {"S": account}}, "SequenceNumber": n.to_string()}});
    let records: Vec<_> = accounts.iter().enumerate().map(record).collect();
    serde_json::from_value(json!({"Records": records})).unwrap()
}

#[tokio::test]
async fn a_fall_is_told_once_and_the_next_one_again() {
    let scene = Scene::new().await;
    scene.look().await;
    scene.book(-100).await;
    assert!(scene.ses.sent().is_empty(), "5 is not below 5");
    scene.book(-1).await;
    let [(to, subject, text)] = scene.ses.sent().try_into().unwrap();
    assert_eq!((to.as_str(), subject.as_str()), ("ada@b.example", "Your ModelSwitch balance is below 5.00 USD"));
    for part in ["My account", scene.gateway.account.as_str(), "is 4.99 USD", PAGE] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for _ in 0..3 {
        scene.gateway.clock().advance_ms(NOTICE_PAUSE_MS);
        scene.book(-1).await;
    }
    assert_eq!(scene.ses.sent().len(), 1, "the same fall");
    scene.book(100).await;
    assert!(!scene.is_told().await);
    scene.book(-100).await;
    assert_eq!(scene.ses.sent().len(), 2);
}

#[tokio::test]
async fn nobody_is_written_to_twice_in_an_hour_however_often_the_balance_falls_or_the_settings_change() {
    let scene = Scene::new().await;
    scene.book(-200).await;
    for n in 0..5 {
        scene.book(200).await;
        scene.wants("5", Some(&format!("victim{n}@b.example"))).await;
        scene.book(-200).await;
    }
    assert_eq!(scene.ses.sent().len(), 1);
    scene.gateway.clock().advance_ms(NOTICE_PAUSE_MS - 1);
    scene.look().await;
    assert_eq!(scene.ses.sent().len(), 1);
    scene.gateway.clock().advance_ms(1);
    scene.look().await;
    assert_eq!(scene.ses.sent().len(), 2, "it is still low then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_see_the_same_fall_one_writes() {
    let scene = Scene::new().await;
    let id = gateway_core::ids::RequestId::new(scene.now(), [1; 10]);
    let (kind, amount) = (EntryKind::Adjustment, Nanos::usd(-2));
    let credit = gateway_store::Credit { id, kind, amount, description: String::new() };
    assert!(scene.gateway.store().account_credit(&scene.gateway.account, &credit).await.unwrap());
    let mut looks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (app, account) = (scene.app.clone(), scene.gateway.account.clone());
        looks.spawn(async move { handle(&app, batch(&[account.as_str(), account.as_str()])).await });
    }
    assert!(looks.join_all().await.iter().all(|response| *response == BatchResponse::default()));
    assert_eq!(scene.ses.sent().len(), 1);
}

#[tokio::test]
async fn what_running_requests_hold_makes_no_balance_low() {
    let scene = Scene::new().await;
    scene.wants("6", Some("ada@b.example")).await;
    let standing = scene.gateway.standing().await;
    assert_eq!(standing.balance(), Nanos::usd(6));
    // Of a request that runs while the function looks, only what it cost is gone.
    let go_on = Arc::new(Semaphore::new(0));
    let reply = Reply::Json(200, chat_answer("hello", 9, 3));
    scene.gateway.provider.will(Reply::Once(go_on.clone(), Box::new(reply)));
    let body = TestGateway::chat(MODEL);
    let (answer, ()) = tokio::join!(scene.gateway.proxy.post("/v1/chat/completions", &body), async {
        while scene.gateway.provider.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(scene.gateway.standing().await.available() < Nanos::usd(6));
        scene.look().await;
        go_on.add_permits(1);
    });
    assert_eq!(answer.status, 200);
    assert!(scene.ses.sent().is_empty());
    scene.gateway.gateway.idle().await;
    scene.look().await;
    assert_eq!(scene.ses.sent().len(), 1);
}

#[tokio::test]
async fn what_ses_refuses_is_tried_again_after_the_pause_and_what_may_be_sent_is_not() {
    let scene = Scene::new().await;
    scene.ses.will(Some(400));
    scene.book(-200).await;
    assert!(!scene.is_told().await);
    scene.look().await;
    assert_eq!(scene.ses.sent().len(), 1, "the pause");
    scene.gateway.clock().advance_ms(NOTICE_PAUSE_MS);
    scene.look().await;
    assert_eq!((scene.ses.sent().len(), scene.is_told().await), (2, true));
    for lost in [Some(500), None] {
        scene.book(200).await;
        scene.gateway.clock().advance_ms(NOTICE_PAUSE_MS);
        let before = scene.ses.sent().len();
        scene.ses.will(lost);
        scene.book(-200).await;
        scene.gateway.clock().advance_ms(NOTICE_PAUSE_MS);
        scene.look().await;
        assert_eq!((scene.ses.sent().len(), scene.is_told().await), (before + 1, true), "{lost:?}");
    }
}

#[tokio::test]
async fn without_an_address_or_a_threshold_nobody_is_written_to() {
    let scene = Scene::new().await;
    scene.wants("5", None).await;
    scene.book(-200).await;
    assert!(scene.ses.sent().is_empty() && scene.is_told().await);
    scene.wants("", None).await;
    scene.gateway.clock().advance_ms(NOTICE_PAUSE_MS);
    scene.book(-200).await;
    assert!(scene.ses.sent().is_empty() && !scene.is_told().await);
}

#[tokio::test]
async fn a_record_that_names_no_account_comes_again_and_one_of_no_account_s_does_not() {
    let scene = Scene::new().await;
    let nobody = AccountId::from_random([9; 10]);
    let response = handle(&scene.app, batch(&[nobody.as_str(), "nobody"])).await;
    assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#);
    for file in
        [include_str!("../../events/low-balance/booked.json"), include_str!("../../events/low-balance/no-account.json")]
    {
        let event: StreamEvent = serde_json::from_str(file).unwrap();
        assert!(handle(&scene.app, event).await.batch_item_failures.len() <= 1);
    }
}

#[tokio::test]
async fn the_local_gateway_looks_after_every_booking_and_sends_nothing() {
    let scene = Scene::new().await;
    scene.wants("6", Some("ada@b.example")).await;
    assert_eq!(scene.gateway.proxy.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await.status, 200);
    scene.gateway.gateway.idle().await;
    scene.gateway.gateway.rollup().await;
    assert!(scene.is_told().await);
    scene.gateway.credit("1", EntryKind::Payment).await;
    scene.gateway.gateway.rollup().await;
    assert!(!scene.is_told().await && scene.ses.sent().is_empty());
}

#[tokio::test]
async fn where_a_folder_is_named_the_local_gateway_writes_each_email_into_it() {
    let folder = Folder::new();
    let mail = folder.path("not/there/yet");
    let gateway = TestGateway::start_with(|options| options.mail = Some(mail.clone())).await;
    let low = LowBalance::read("1000", "ada@b.example").unwrap();
    assert!(gateway.store().low_balance_set(&gateway.account, low.as_ref()).await.unwrap());
    for _ in 0..2 {
        gateway.credit("1", EntryKind::Payment).await;
        gateway.gateway.rollup().await;
    }
    let written: Vec<_> = std::fs::read_dir(&mail).unwrap().map(|file| file.unwrap().path()).collect();
    let [email] = written.as_slice() else { panic!("{written:?}") };
    let email = std::fs::read_to_string(email).unwrap();
    let (head, text) = email.split_once("\n\n").unwrap();
    assert!(head.contains("\nTo: ada@b.example\nSubject: Your ModelSwitch balance is below 1000.00 USD\n"), "{head}");
    let page = format!("{}/dashboard/billing", gateway.gateway.url);
    assert!(text.contains("My account") && text.contains(&page), "{text}");
}
