//! The hold-expirer: what a request leaves whose process died, and what becomes of it when its time is over.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::FutureExt;
use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{EntryKind, Served},
    money::Nanos,
    usage::{Metered, Usage},
};
use gateway_lambda::Clock;
use gateway_store::{Filter, HoldRequest, PlacedHold, SettleOutcome, Standing, Store, Tables};
use hold_expirer::{App, Report};
use http::Method;
use modelswitch::{Data, Engine};
use support::{Folder, MODEL, Process, Provider, Reply, TestGateway, chat_stream, process};

const TEST: &str = "hold_expirer::the_gateway_as_a_process";
const KEY: KeyId = KeyId(1);
/// The longest that a function may run, and a minute.
const RUNS_MS: u64 = 960_000;

/// What a request of one dollar leaves in the books when its process dies before the provider answers.
async fn abandoned(gateway: &TestGateway, name: u8) -> PlacedHold {
    let at = gateway.clock().now();
    let id = RequestId::new(at, [name; 10]);
    let wanted = HoldRequest {
        account: &gateway.account,
        key: KEY,
        id: &id,
        models: &[vec![MODEL.to_owned()]],
        amount: Nanos::usd(1),
        at,
        expires: at.plus_ms(RUNS_MS),
    };
    gateway.store().hold_place(&wanted).await.unwrap().placed(wanted.amount).unwrap()
}

fn served() -> Served {
    let metered = Metered { usage: Usage { input: 10, ..Usage::default() }, estimated: false };
    Served {
        key: KEY,
        model: MODEL.to_owned(),
        provider: "lab".to_owned(),
        metered,
        unpaid: Nanos::ZERO,
        duration_ms: None,
    }
}

fn report(items: u64, charged: u64, released: u64) -> Report {
    Report { items, charged, released, returned: 0 }
}

#[test]
fn the_gateway_as_a_process() {
    process::run_if_asked();
}

#[tokio::test]
async fn a_hold_is_released_when_its_time_is_over_and_not_before() {
    let gateway = TestGateway::start().await;
    let _hold = abandoned(&gateway, 1).await;
    gateway.clock().advance_ms(RUNS_MS - 1000);
    assert_eq!(gateway.gateway.expire_holds().await.unwrap(), report(1, 0, 0));
    assert_eq!(gateway.standing().await.held(), Nanos::usd(1));
    gateway.clock().advance_ms(1000);
    assert_eq!(gateway.gateway.expire_holds().await.unwrap(), report(1, 0, 1));
    gateway.books_balance(Nanos::ZERO).await;
    assert_eq!(gateway.standing().await.available(), Nanos::usd(5));
}

#[tokio::test]
async fn a_second_sweep_changes_nothing() {
    let gateway = TestGateway::start().await;
    let (_one, _two) = (abandoned(&gateway, 1).await, abandoned(&gateway, 2).await);
    gateway.clock().advance_ms(RUNS_MS);
    assert_eq!(gateway.gateway.expire_holds().await.unwrap(), report(1, 0, 2));
    let before = gateway.standing().await;
    assert_eq!(gateway.gateway.expire_holds().await.unwrap(), report(0, 0, 0));
    assert_eq!(gateway.standing().await, before);
}

#[tokio::test]
async fn sweeps_at_the_same_time_do_what_one_does() {
    let gateway = TestGateway::start().await;
    for name in 0..5 {
        let _hold = abandoned(&gateway, name).await;
    }
    gateway.clock().advance_ms(RUNS_MS);
    let sweep = || gateway.gateway.expire_holds();
    let (one, two, three) = tokio::join!(sweep(), sweep(), sweep());
    assert!([one, two, three].into_iter().all(|sweep| sweep.is_ok()));
    gateway.books_balance(Nanos::ZERO).await;
    assert_eq!(gateway.standing().await.available(), Nanos::usd(5));
}

#[tokio::test]
async fn a_hold_whose_entry_is_in_the_ledger_is_charged_what_the_entry_says() {
    let folder = Folder::new();
    let data = folder.path("data.db");
    let gateway = TestGateway::start_with(|options| options.data = Data::File(data.clone())).await;
    let hold = abandoned(&gateway, 1).await;
    // The ledger's write is done and the allowance's is not, because there is no such table; and while it waits to try
    // again, it is dropped: what a process leaves that dies between the two.
    let tables = Tables { accounts: "nowhere".to_owned(), ..Tables::of_stack("modelswitch") };
    let dying = Store::new(Engine::beside(&data).unwrap().client(), tables);
    assert!(dying.hold_settle(&hold, Nanos(300), served()).now_or_never().is_none());
    assert_eq!(gateway.standing().await.held(), Nanos::usd(1));
    gateway.clock().advance_ms(RUNS_MS);
    assert_eq!(gateway.gateway.expire_holds().await.unwrap(), report(1, 1, 0));
    gateway.books_balance(Nanos(300)).await;
    assert_eq!(gateway.standing().await.keys[0].allowance.spent, Nanos(300));
}

#[tokio::test]
async fn a_settlement_after_the_expiry_charges_nothing() {
    let gateway = TestGateway::start().await;
    let hold = abandoned(&gateway, 1).await;
    gateway.clock().advance_ms(RUNS_MS);
    gateway.gateway.expire_holds().await.unwrap();
    let late = gateway.store().hold_settle(&hold, Nanos(300), served()).await.unwrap();
    assert_eq!(late, SettleOutcome::Expired);
    gateway.books_balance(Nanos::ZERO).await;
    assert_eq!(gateway.standing().await.keys[0].allowance.spent, Nanos::ZERO);
}

#[tokio::test]
async fn the_hold_of_a_second_delivery_is_released_although_the_first_was_charged() {
    let gateway = TestGateway::start().await;
    let first = abandoned(&gateway, 1).await;
    gateway.store().hold_settle(&first, Nanos(300), served()).await.unwrap();
    let _second = abandoned(&gateway, 1).await;
    gateway.clock().advance_ms(RUNS_MS);
    assert_eq!(gateway.gateway.expire_holds().await.unwrap(), report(1, 0, 1));
    gateway.books_balance(Nanos(300)).await;
    assert_eq!(gateway.standing().await.keys[0].allowance.spent, Nanos(300));
}

#[tokio::test]
async fn idle_funds_of_a_key_that_was_switched_off_go_back_to_the_balance() {
    let folder = Folder::new();
    let data = folder.path("data.db");
    let gateway = TestGateway::start_with(|options| options.data = Data::File(data.clone())).await;
    let hold = abandoned(&gateway, 1).await;
    gateway.store().hold_release(&hold).await;
    // A process that died after it switched the key off, and before it returned the funds.
    let client = Engine::beside(&data).unwrap().client();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let update = client.update_item().table_name("modelswitch-accounts").update_expression("SET active = :false");
    let update = update.key("account", text(gateway.account.as_str())).key("item", text("key#0000000001"));
    update.expression_attribute_values(":false", AttributeValue::Bool(false)).send().await.unwrap();
    assert!(gateway.standing().await.account.balance < Nanos::usd(5));
    let swept = gateway.gateway.expire_holds().await.unwrap();
    assert_eq!(swept, Report { items: 1, charged: 0, released: 0, returned: 1 });
    assert_eq!(gateway.standing().await.account.balance, Nanos::usd(5));
    assert_eq!(gateway.gateway.expire_holds().await.unwrap(), report(0, 0, 0));
}

#[tokio::test]
async fn a_key_that_cannot_be_swept_fails_the_invocation_and_no_other_key() {
    let folder = Folder::new();
    let data = folder.path("data.db");
    let gateway = TestGateway::start_with(|options| options.data = Data::File(data.clone())).await;
    let _hold = abandoned(&gateway, 1).await;
    gateway.clock().advance_ms(RUNS_MS);
    // The ledger does not answer, so no hold may end: whether it is charged can't be known.
    let tables = Tables { ledger: "nowhere".to_owned(), ..Tables::of_stack("modelswitch") };
    let app = App { store: Store::new(Engine::beside(&data).unwrap().client(), tables) };
    let failure = hold_expirer::handle(&app, gateway.clock().now()).await.unwrap_err();
    assert_eq!(failure.to_string(), "keys' items that could not be swept: 1");
    assert_eq!(gateway.standing().await.held(), Nanos::usd(1));
    assert_eq!(gateway.gateway.expire_holds().await.unwrap(), report(1, 0, 1));
}

// Waiting for the process blocks a thread, and the provider that it asks needs another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_process_was_killed_gets_its_funds_back() {
    let (folder, provider) = (Folder::new(), Provider::start().await);
    let data = folder.path("data.db");
    let server = format!("lab={}", provider.base_url);
    let arguments = ["--data", data.to_str().unwrap(), "--provider", &server, "--price", "lab=1,2"];
    let process = Process::start(TEST, &arguments, &HashMap::new());
    provider.will(Reply::HungStream(chat_stream(&["Hello"], 1, 1)[..1].to_vec()));
    let mut body = TestGateway::chat(MODEL);
    body["stream"] = true.into();
    let request = process.client("proxy_key").request(Method::POST, "/v1/chat/completions").body(body.to_string());
    let mut running = request.send().await.unwrap();
    assert!(running.chunk().await.unwrap().is_some(), "it runs");
    let account = AccountId::parse(process.ready["account_id"].as_str().unwrap()).unwrap();
    process.kill();
    let store = Store::new(Engine::beside(&data).unwrap().client(), Tables::of_stack("modelswitch"));
    let standing = async || -> Standing { store.account_standing(&account).await.unwrap().unwrap() };
    let held = standing().await.held();
    assert!(held > Nanos::ZERO, "the killed request holds funds");
    let (app, now) = (App { store: store.clone() }, Clock::system().now());
    assert_eq!(hold_expirer::handle(&app, now).await.unwrap(), report(1, 0, 0), "not before its time");
    assert_eq!(hold_expirer::handle(&app, now.plus_ms(RUNS_MS)).await.unwrap(), report(1, 0, 1));
    let after = standing().await;
    assert_eq!((after.held(), after.available()), (Nanos::ZERO, Nanos::usd(5)));
    let entries = store.ledger_page(&account, &Filter::default(), None, 0, 10).await.unwrap().entries;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Expired, EntryKind::Adjustment]);
}
