//! `GET /api/usage`, `/api/usage/stats` and `/api/usage/export`.

use gateway_core::{
    ids::{KeyId, RequestId},
    ledger::{EntryKind, Served},
    money::Nanos,
    token::KeyType,
    usage::{Metered, Usage},
};
use gateway_store::HoldRequest;
use http::Method;
use serde_json::{Value, json};
use support::{Answer, Client, MODEL, Reply, TestGateway, chat_answer, chat_stream, refusals};

const ROUTES: [&str; 3] = ["GET /api/usage", "GET /api/usage/stats", "GET /api/usage/export"];
const LIST: &str = "/api/usage";
const STATS: &str = "/api/usage/stats";
const EXPORT: &str = "/api/usage/export";
const CHAT: &str = "/v1/chat/completions";
const COLUMNS: &str = "id,created_at,model,provider,key_id,prompt_tokens,completion_tokens,cached_tokens,charged_amount,\
    status,duration_ms\n";
const DAY_MS: u64 = 86_400_000;

/// One request that is served and used so much. Its id.
async fn served(gateway: &TestGateway, client: &Client, model: &str, input: u64, output: u64) -> String {
    gateway.provider.will(Reply::Json(200, chat_answer("x", input, output)));
    let answer = client.post(CHAT, &TestGateway::chat(model)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.header("x-request-id").to_owned()
}

/// Four requests: two models, two keys, three days (the 23rd, 24th and 25th). Their ids, oldest first.
async fn four(gateway: &TestGateway) -> Vec<String> {
    let (key, other) = gateway.key(KeyType::Proxy, |_| ()).await;
    assert_eq!(key, KeyId(3));
    let mut ids = vec![served(gateway, &gateway.proxy, MODEL, 10, 1).await];
    gateway.clock().advance_ms(DAY_MS);
    ids.push(served(gateway, &other, MODEL, 20, 2).await);
    gateway.clock().advance_ms(1000);
    ids.push(served(gateway, &gateway.proxy, "lab/small", 30, 3).await);
    gateway.clock().advance_ms(DAY_MS);
    ids.push(served(gateway, &gateway.proxy, MODEL, 40, 4).await);
    ids
}

/// A CSV file without its last column, which says of every request how long it took.
fn without_durations(csv: &str) -> String {
    let (header, rows) = csv.split_once('\n').unwrap();
    let without = |row: &str| {
        let (row, duration) = row.rsplit_once(',').unwrap();
        assert!(duration.parse::<u64>().is_ok(), "{row}: {duration}");
        format!("{row}\n")
    };
    format!("{header}\n{}", rows.lines().map(without).collect::<String>())
}

fn ids(page: &Value) -> Vec<String> {
    page["usage"].as_array().unwrap().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

/// So many requests, a second apart, written to the books without a provider: 3 tokens in, 1 out, 700 nanos each.
async fn many(gateway: &TestGateway, count: u64) {
    for n in 0..count {
        let at = gateway.clock().now().plus_ms(n * 1000);
        let id = RequestId::new(at, gateway_store::random().unwrap());
        let amount = Nanos(1000);
        let wanted = HoldRequest {
            account: &gateway.account,
            key: KeyId(1),
            id: &id,
            models: &[vec![MODEL.to_owned()]],
            amount,
            at,
            expires: at.plus_ms(1000),
        };
        let hold = gateway.store().hold_place(&wanted).await.unwrap().placed(amount).unwrap();
        let metered = Metered { usage: Usage { input: 3, output: 1, ..Usage::default() }, estimated: false };
        let served = Served {
            key: KeyId(1),
            model: MODEL.to_owned(),
            provider: "lab".to_owned(),
            metered,
            unpaid: Nanos::ZERO,
            duration_ms: None,
        };
        gateway.store().hold_settle(&hold, Nanos(700), served).await.unwrap();
    }
    gateway.clock().advance_ms(count * 1000);
}

#[tokio::test]
async fn unauthorized_without_a_key_that_counts() {
    refusals::unauthorized(&ROUTES).await;
}

#[tokio::test]
async fn forbidden_with_a_key_that_is_off_or_of_the_wrong_type() {
    refusals::forbidden(&ROUTES).await;
}

#[tokio::test]
async fn rate_limited_after_the_last_request_of_a_window() {
    for route in ROUTES {
        refusals::rate_limited(route, "").await;
    }
}

#[tokio::test]
async fn bad_request_for_a_filter_that_cannot_be() {
    let gateway = TestGateway::start().await;
    for route in ROUTES {
        let path = route.trim_start_matches("GET ");
        for (query, param) in [
            ("from=yesterday", "from"),
            ("from=2026-13-01", "from"),
            ("from=1795426200", "from"),
            ("to=2026-11-23T09:30", "to"),
            ("to=1969-12-31", "to"),
            ("from=2026-11-24&to=2026-11-23", "to"),
            ("from=2026-11-23T09:30:00.001Z&to=2026-11-23T09:30:00Z", "to"),
            ("keyId=0", "keyId"),
            ("keyId=one", "keyId"),
            ("keyId=-1", "keyId"),
        ] {
            let answer = gateway.billing.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{path}?{query}: {}", answer.text);
            assert_eq!(answer.json()["error"]["param"], param, "{path}?{query}");
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
}

#[tokio::test]
async fn bad_request_for_a_page_a_group_or_a_format_that_cannot_be() {
    let gateway = TestGateway::start().await;
    let id = served(&gateway, &gateway.proxy, MODEL, 1, 1).await;
    for (path, param) in [
        ("/api/usage?limit=0".to_owned(), "limit"),
        ("/api/usage?limit=51".to_owned(), "limit"),
        ("/api/usage?limit=ten".to_owned(), "limit"),
        ("/api/usage?offset=-1".to_owned(), "offset"),
        ("/api/usage?offset=1.5".to_owned(), "offset"),
        ("/api/usage?cursor=x".to_owned(), "cursor"),
        (format!("/api/usage?cursor={}", id.to_lowercase()), "cursor"),
        (format!("/api/usage?from=2026-11-24&cursor={id}"), "cursor"),
        (format!("/api/usage?to=2026-11-22&cursor={id}"), "cursor"),
        ("/api/usage/stats?groupBy=hour".to_owned(), "groupBy"),
        ("/api/usage/stats?groupBy=Day".to_owned(), "groupBy"),
        ("/api/usage/export?format=json".to_owned(), "format"),
        ("/api/usage/export?format=CSV".to_owned(), "format"),
    ] {
        let answer = gateway.billing.get(&path).await;
        assert_eq!(answer.error(), (400, "invalid_parameter".to_owned()), "{path}: {}", answer.text);
        assert_eq!(answer.json()["error"]["param"], param, "{path}");
    }
}

#[tokio::test]
async fn a_request_has_the_documented_fields_in_order_and_its_own_id() {
    let gateway = TestGateway::start().await;
    assert_eq!(gateway.billing.get(LIST).await.text, r#"{"usage":[],"nextCursor":null}"#);
    gateway.clock().advance_ms(250);
    let id = served(&gateway, &gateway.proxy, MODEL, 11, 2).await;
    let answer = gateway.billing.get(LIST).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(
        answer.text,
        format!(
            r#"{{"usage":[{{"id":"{id}","model":"lab/chat","provider":"lab","keyId":1,"promptTokens":11,"completionTokens":2,"cachedTokens":0,"chargedAmount":0.0000019,"status":"completed","createdAt":"2026-11-23T09:30:00.250Z"}}],"nextCursor":null}}"#
        )
    );
}

#[tokio::test]
async fn cached_tokens_are_part_of_the_prompt_and_charged_at_their_own_price_to_the_nano_dollar() {
    let gateway = TestGateway::start_with(|options| {
        let model = r#"{"provider":"lab","upstream_id":"x","kind":"chat","context_length":8192,"max_output_tokens":100,
            "price":{"input":"0.100001","cache_read":"0.033333","output":"0.400007"}}"#;
        let models = &mut options.settings.as_mut().unwrap().models;
        models.insert("lab/cached".to_owned(), serde_json::from_str(model).unwrap());
    })
    .await;
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107, "prompt_tokens_details": {"cached_tokens": 64}});
    let mut body: Value = serde_json::from_str(&chat_answer("x", 0, 0)).unwrap();
    body["usage"] = usage.clone();
    gateway.provider.will(Reply::Json(200, body.to_string()));
    assert_eq!(gateway.proxy.post(CHAT, &TestGateway::chat("lab/cached")).await.status, 200);
    let mut pieces = chat_stream(&["x"], 0, 0);
    pieces[2] = format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": [], "usage": usage}));
    gateway.provider.will(Reply::Stream(pieces));
    let mut streamed = TestGateway::chat("lab/cached");
    streamed["stream"] = true.into();
    assert_eq!(gateway.proxy.post(CHAT, &streamed).await.status, 200);
    // 36 × 100001 + 64 × 33333 + 7 × 400007 = 8533397 pico-dollars, rounded up once.
    let text = gateway.billing.get(LIST).await.text;
    let line =
        r#""promptTokens":100,"completionTokens":7,"cachedTokens":64,"chargedAmount":0.000008534,"status":"completed""#;
    assert_eq!(text.matches(line).count(), 2, "{text}");
    let stats = gateway.billing.get(STATS).await.text;
    assert!(
        stats.contains(r#""totalPromptTokens":200,"totalCompletionTokens":14,"totalSpent":0.000017068"#),
        "{stats}"
    );
    let csv = without_durations(&gateway.billing.get(EXPORT).await.text);
    assert_eq!(csv.matches(",lab/cached,lab,1,100,7,64,0.000008534,completed\n").count(), 2, "{csv}");
    gateway.books_balance(Nanos(2 * 8534)).await;
}

#[tokio::test]
async fn what_the_provider_did_not_count_is_marked_as_estimated() {
    let gateway = TestGateway::start().await;
    let mut body: Value = serde_json::from_str(&chat_answer("eight by", 0, 0)).unwrap();
    body.as_object_mut().unwrap().remove("usage");
    gateway.provider.will(Reply::Json(200, body.to_string()));
    assert_eq!(gateway.proxy.post(CHAT, &TestGateway::chat(MODEL)).await.status, 200);
    let line = gateway.billing.get(LIST).await.json()["usage"][0].clone();
    assert_eq!((&line["status"], &line["completionTokens"]), (&json!("estimated"), &json!(2)), "{line}");
    assert!(line["promptTokens"].as_u64().unwrap() > 0);
    gateway.idle_books().await;
}

#[tokio::test]
async fn only_what_was_served_to_this_account_is_listed() {
    let gateway = TestGateway::start().await;
    gateway.credit("1", EntryKind::Payment).await;
    gateway.provider.will(Reply::Json(400, r#"{"error":{"message":"no"}}"#.to_owned()));
    assert_eq!(gateway.proxy.post(CHAT, &TestGateway::chat(MODEL)).await.status, 400);
    let embedding = json!({"model": "lab/embed", "input": "hi"});
    assert_eq!(gateway.proxy.post("/v1/embeddings", &embedding).await.status, 200);
    let list = gateway.billing.get(LIST).await.json();
    assert_eq!(ids(&list).len(), 1, "no payment, no failure: {list}");
    assert_eq!((&list["usage"][0]["model"], &list["usage"][0]["completionTokens"]), (&json!("lab/embed"), &json!(0)));
    let now = gateway.clock().now();
    let stranger = gateway.store().account_create("Stranger", now).await.unwrap().id;
    let mut own = gateway;
    own.account = stranger;
    let (_, theirs) = own.key(KeyType::Billing, |_| ()).await;
    assert_eq!(theirs.get(LIST).await.text, r#"{"usage":[],"nextCursor":null}"#);
    assert_eq!(theirs.get(EXPORT).await.text, COLUMNS);
    assert_eq!(theirs.get(STATS).await.json()["stats"]["totalRequests"], 0);
}

#[tokio::test]
async fn filters_by_time_model_and_key_hold_everywhere() {
    let gateway = TestGateway::start().await;
    let all = four(&gateway).await;
    for (query, expected) in [
        ("", &[3, 2, 1, 0][..]),
        ("from=&to=&model=&keyId=", &[3, 2, 1, 0]),
        ("from=2026-11-24", &[3, 2, 1]),
        ("to=2026-11-24", &[2, 1, 0]),
        ("from=2026-11-24&to=2026-11-24", &[2, 1]),
        ("from=2026-11-24T09:30:00Z&to=2026-11-24T09:30:00.000Z", &[1]),
        ("from=2026-11-24T09:30:00.001Z&to=2026-11-24T09:30:00.999Z", &[]),
        ("from=2026-11-24T10:30:01%2B01:00&to=2026-11-25T09:30:00Z", &[2]),
        ("to=9999-12-31", &[3, 2, 1, 0]),
        ("from=2026-12-01", &[]),
        ("model=lab/small", &[2]),
        ("model=lab%2Fchat", &[3, 1, 0]),
        ("model=nothing", &[]),
        ("keyId=3", &[1]),
        ("keyId=1", &[3, 2, 0]),
        ("keyId=99", &[]),
        ("keyId=1&model=lab/chat&from=2026-11-24", &[3]),
    ] {
        let expected: Vec<_> = expected.iter().map(|&n: &usize| all[n].clone()).collect();
        let list = gateway.billing.get(&format!("{LIST}?{query}")).await.json();
        assert_eq!(ids(&list), expected, "{query}");
        assert_eq!(list["nextCursor"], Value::Null, "{query}");
        let csv = gateway.billing.get(&format!("{EXPORT}?{query}")).await.text;
        let exported: Vec<_> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect();
        assert_eq!(exported, expected, "{query}");
        let stats = gateway.billing.get(&format!("{STATS}?{query}")).await.json();
        assert_eq!(stats["stats"]["totalRequests"], expected.len(), "{query}");
    }
}

#[tokio::test]
async fn pages_by_cursor_and_by_offset_give_each_once_newest_first() {
    let gateway = TestGateway::start().await;
    four(&gateway).await;
    for filter in ["", "&model=lab/chat", "&keyId=1&from=2026-11-23&to=2026-11-25"] {
        let whole = ids(&gateway.billing.get(&format!("{LIST}?{filter}")).await.json());
        for limit in 1..=4 {
            let (mut by_cursor, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = gateway.billing.get(&format!("{LIST}?limit={limit}{cursor}{filter}")).await.json();
                assert!(ids(&page).len() <= limit);
                by_cursor.extend(ids(&page));
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(by_cursor, whole, "limit={limit}{filter}");
            let mut by_offset = Vec::new();
            for offset in (0..whole.len() + limit).step_by(limit) {
                let page = gateway.billing.get(&format!("{LIST}?limit={limit}&offset={offset}{filter}")).await.json();
                by_offset.extend(ids(&page));
            }
            assert_eq!(by_offset, whole, "limit={limit}{filter}");
        }
    }
}

#[tokio::test]
async fn a_cursor_keeps_its_place_while_new_requests_come() {
    let gateway = TestGateway::start().await;
    let all = four(&gateway).await;
    let first = gateway.billing.get("/api/usage?limit=2").await.json();
    gateway.clock().advance_ms(1);
    let newest = served(&gateway, &gateway.proxy, MODEL, 1, 1).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = gateway.billing.get(&format!("/api/usage?limit=2&cursor={cursor}")).await.json();
    assert_eq!((ids(&second), &second["nextCursor"]), (vec![all[1].clone(), all[0].clone()], &Value::Null));
    let skipped = gateway.billing.get(&format!("/api/usage?limit=2&offset=1&cursor={cursor}")).await.json();
    assert_eq!(ids(&skipped), [all[0].clone()], "an offset counts from the cursor");
    assert_eq!(ids(&gateway.billing.get("/api/usage?limit=1").await.json()), [newest]);
}

#[tokio::test]
async fn stats_are_the_sums_in_all_by_model_and_by_day_model_or_key() {
    let gateway = TestGateway::start().await;
    assert_eq!(
        gateway.billing.get(STATS).await.text,
        r#"{"stats":{"totalRequests":0,"totalPromptTokens":0,"totalCompletionTokens":0,"totalSpent":0.00},"byModel":[],"series":[]}"#
    );
    four(&gateway).await;
    let sums = r#"{"stats":{"totalRequests":4,"totalPromptTokens":100,"totalCompletionTokens":10,"totalSpent":0.000014},"byModel":[{"model":"lab/chat","requests":3,"promptTokens":70,"completionTokens":7,"spent":0.0000098},{"model":"lab/small","requests":1,"promptTokens":30,"completionTokens":3,"spent":0.0000042}],"series":"#;
    let days = r#"[{"group":"2026-11-23","requests":1,"promptTokens":10,"completionTokens":1,"spent":0.0000014},{"group":"2026-11-24","requests":2,"promptTokens":50,"completionTokens":5,"spent":0.000007},{"group":"2026-11-25","requests":1,"promptTokens":40,"completionTokens":4,"spent":0.0000056}]}"#;
    let models = r#"[{"group":"lab/chat","requests":3,"promptTokens":70,"completionTokens":7,"spent":0.0000098},{"group":"lab/small","requests":1,"promptTokens":30,"completionTokens":3,"spent":0.0000042}]}"#;
    let keys = r#"[{"group":"1","requests":3,"promptTokens":80,"completionTokens":8,"spent":0.0000112},{"group":"3","requests":1,"promptTokens":20,"completionTokens":2,"spent":0.0000028}]}"#;
    for (query, series) in [("", days), ("?groupBy=day", days), ("?groupBy=model", models), ("?groupBy=key", keys)] {
        let answer = gateway.billing.get(&format!("{STATS}{query}")).await;
        assert_eq!((answer.status, answer.text), (200, format!("{sums}{series}")), "{query}");
    }
    gateway.books_balance(Nanos(14_000)).await;
}

#[tokio::test]
async fn the_export_is_csv_with_a_header_line_and_a_line_for_each_request() {
    let gateway = TestGateway::start().await;
    let all = four(&gateway).await;
    let expected = format!(
        "{COLUMNS}{},2026-11-25T09:30:01.000Z,lab/chat,lab,1,40,4,0,0.0000056,completed\n\
         {},2026-11-24T09:30:01.000Z,lab/small,lab,1,30,3,0,0.0000042,completed\n\
         {},2026-11-24T09:30:00.000Z,lab/chat,lab,3,20,2,0,0.0000028,completed\n\
         {},2026-11-23T09:30:00.000Z,lab/chat,lab,1,10,1,0,0.0000014,completed\n",
        all[3], all[2], all[1], all[0]
    );
    for query in ["", "?format=csv", "?format="] {
        let answer = gateway.billing.get(&format!("{EXPORT}{query}")).await;
        assert_eq!((answer.status, without_durations(&answer.text)), (200, expected.clone()), "{query}");
        assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
        assert_eq!(answer.header("content-disposition"), "attachment; filename=\"usage.csv\"");
        assert!(!answer.header("x-request-id").is_empty());
    }
    let empty = gateway.billing.get("/api/usage/export?model=nothing").await;
    assert_eq!((empty.status, empty.text.as_str()), (200, COLUMNS));
}

#[tokio::test]
async fn stats_and_a_streamed_export_hold_every_request_however_many() {
    let gateway = TestGateway::start().await;
    // More than a list gives and more than is read at a time.
    many(&gateway, 520).await;
    let response = gateway.billing.request(Method::GET, EXPORT).send().await.unwrap();
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    assert!(response.headers().get("content-length").is_none());
    let text = response.text().await.unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    assert_eq!(header, COLUMNS.trim_end());
    let lines: Vec<_> = rows.lines().collect();
    assert_eq!(lines.len(), 520);
    assert!(lines.is_sorted_by(|newer, older| newer > older), "newest first, each once");
    assert!(
        lines.iter().all(|line| line.ends_with(",lab/chat,lab,1,3,1,0,0.0000007,completed,")),
        "how long is not known"
    );
    let stats = gateway.billing.get(STATS).await.json();
    assert_eq!(stats["stats"]["totalRequests"], 520);
    assert_eq!(stats["stats"]["totalPromptTokens"], 1_560);
    assert_eq!(stats["stats"]["totalSpent"].to_string(), "0.000364");
    let page = gateway.billing.get(LIST).await.json();
    assert_eq!(ids(&page).len(), 50, "the default and the most");
    assert!(page["nextCursor"].is_string());
    let last = gateway.billing.get("/api/usage?offset=519&limit=50").await.json();
    assert_eq!((ids(&last).len(), &last["nextCursor"]), (1, &Value::Null));
    gateway.books_balance(Nanos(520 * 700)).await;
}

#[tokio::test]
async fn an_export_whose_client_leaves_ends() {
    let gateway = TestGateway::start().await;
    many(&gateway, 520).await;
    let response = gateway.billing.request(Method::GET, EXPORT).send().await.unwrap();
    drop(response);
    gateway.gateway.idle().await;
    assert_eq!(Answer::of(gateway.billing.request(Method::GET, LIST)).await.status, 200);
}
