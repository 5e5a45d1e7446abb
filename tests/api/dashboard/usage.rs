//! `/dashboard/usage`: its figures are the ledger's, its filters are in the address, and it shows one account.

use gateway_core::{
    ids::{AccountId, KeyId, RequestId},
    ledger::{EntryKind, Served},
    moment::UnixMs,
    money::Nanos,
    token::KeyType,
    usage::{Metered, Usage},
};
use gateway_store::{Credit, Filter, HoldRequest, random};
use http::Method;
use support::{Answer, Browser, MODEL, TestGateway, new_key};
use tokio::sync::mpsc;

const PAGE: &str = "/dashboard/usage";
const CSV: &str = "/dashboard/usage/requests.csv";
const DAY_MS: u64 = 86_400_000;
const HTML: &str = "<img src=x onerror=alert(1)>\"'&amp;";
const ESCAPED: &str = "&#60;img src=x onerror=alert(1)&#62;&#34;&#39;&#38;amp;";

/// A request that began then and cost so many nanos: 3 tokens in, 1 out. Its id.
async fn spend(
    gateway: &TestGateway,
    (account, key): (&AccountId, KeyId),
    model: &str,
    at: UnixMs,
    nanos: i64,
) -> String {
    let metered = Metered { usage: Usage { input: 3, output: 1, ..Usage::default() }, estimated: false };
    spend_metered(gateway, (account, key), model, at, nanos, metered).await
}

/// The same of so much.
async fn spend_metered(
    gateway: &TestGateway,
    (account, key): (&AccountId, KeyId),
    model: &str,
    at: UnixMs,
    nanos: i64,
    metered: Metered,
) -> String {
    let id = RequestId::new(at, random().unwrap());
    let (models, amount, expires) = ([vec![model.to_owned()]], Nanos(nanos), at.plus_ms(1000));
    let wanted = HoldRequest { account, key, id: &id, models: &models, amount, at, expires };
    let hold = gateway.store().hold_place(&wanted).await.unwrap().placed(amount).unwrap();
    let (model, provider) = (model.to_owned(), "lab".to_owned());
    let served = Served { key, model, provider, metered, unpaid: Nanos::ZERO, duration_ms: None };
    gateway.store().hold_settle(&hold, amount, served).await.unwrap();
    id.to_string()
}

/// The page's text between two of its texts.
fn between<'a>(page: &'a Answer, from: &str, to: &str) -> &'a str {
    let rest = page.text.split_once(from).unwrap_or_else(|| panic!("{from}: {}", page.text)).1;
    rest.split_once(to).unwrap_or_else(|| panic!("{to}: {rest}")).0
}

/// The text of each cell of the rows of a table with this heading, without the tags.
fn rows(page: &Answer, heading: &str) -> Vec<Vec<String>> {
    let body = between(page, heading, "</section>").split_once("<tbody>").unwrap().1;
    let body = body.split_once("</tbody>").unwrap().0;
    let text = |cell: &str| {
        let parts = cell.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
        parts.collect::<String>()
    };
    let cells = |row: &str| {
        let cells = row.split("</td>").flat_map(|part| part.split("</th>")).map(text);
        cells.map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    };
    body.split("</tr>").map(cells).filter(|row: &Vec<String>| !row.is_empty()).collect()
}

const BY_MODEL: &str = "id=\"model-heading\"";
const BY_KEY: &str = "id=\"key-heading\"";
const BY_DAY: &str = "<summary>Cost per day as a table";
const REQUESTS: &str = "id=\"requests-heading\"";

/// Four requests of two models and two keys on the 21st and the 23rd, and one of the year before.
async fn five(gateway: &TestGateway) -> KeyId {
    let (other, _) = gateway.key(KeyType::Proxy, |new| new.name = HTML.to_owned()).await;
    let (account, now) = (&gateway.account, gateway.clock().now());
    let earlier = UnixMs(now.0 - 2 * DAY_MS);
    spend(gateway, (account, KeyId(1)), MODEL, UnixMs(now.0 - 400 * DAY_MS), 7).await;
    spend(gateway, (account, KeyId(1)), MODEL, earlier, 1_000_000_000).await;
    spend(gateway, (account, other), "lab/small", earlier.plus_ms(1), 1).await;
    spend(gateway, (account, KeyId(1)), MODEL, now, 20).await;
    spend(gateway, (account, other), HTML, now.plus_ms(1), 300).await;
    other
}

async fn shown(browser: &Browser, query: &[(&str, &str)]) -> Answer {
    let page = browser.open_with(PAGE, query).await;
    assert_eq!(page.status, 200, "{query:?}: {}", page.text);
    page
}

#[tokio::test]
async fn figures_are_exact_by_day_model_and_key_and_names_with_html_are_text() {
    let gateway = TestGateway::start().await;
    let other = five(&gateway).await;
    let page = gateway.signed_in().await.get(PAGE).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("<dt>Cost</dt><dd>1.000000321 USD</dd>"), "{}", page.text);
    assert!(
        page.text.contains("<dt>Requests</dt><dd>4</dd>") && page.text.contains("<dt>Input tokens</dt><dd>12</dd>")
    );
    assert_eq!(
        rows(&page, BY_MODEL),
        [
            [MODEL, "1.00000002 USD", "2", "6", "2"],
            [ESCAPED, "0.0000003 USD", "1", "3", "1"],
            ["lab/small", "0.000000001 USD", "1", "3", "1"],
        ]
    );
    let own = format!("{ESCAPED} (key {other})");
    let by_key = rows(&page, BY_KEY);
    assert!(by_key[0][0].ends_with(" (key 1)"), "{by_key:?}");
    assert_eq!(by_key[1], [own.as_str(), "0.000000301 USD", "2", "6", "2"]);
    let usd = |nanos: i64| format!("{} USD", Nanos(nanos));
    assert_eq!(
        rows(&page, BY_DAY),
        [
            ["2026-11-23".to_owned(), usd(320), usd(20), usd(300), usd(0)],
            ["2026-11-21".to_owned(), usd(1_000_000_001), usd(1_000_000_000), usd(0), usd(1)],
        ]
    );
    assert!(!page.text.contains("<img") && page.text.contains(&format!(">{own}</option>")), "{}", page.text);
}

#[tokio::test]
async fn charts_have_a_title_a_description_and_a_table_and_no_bar_where_nothing_was() {
    let gateway = TestGateway::start().await;
    five(&gateway).await;
    let page = gateway.signed_in().await.get(PAGE).await;
    // Of the 23rd's cost one of the two parts is too small for a tenth of a pixel.
    for (id, title, drawn) in
        [("cost", "Cost per day in USD", 3), ("requests-a-day", "Requests per day", 2), ("tokens", "Tokens per day", 4)]
    {
        let labelled = format!("role=\"img\" aria-labelledby=\"{id}-title {id}-description\"");
        assert!(page.text.contains(&labelled), "{id}");
        assert_eq!(between(&page, &format!("<title id=\"{id}-title\">"), "<"), title);
        let chart = between(&page, &format!("<title id=\"{id}-title\">"), "</svg>");
        let described = between(&page, &format!("<desc id=\"{id}-description\">"), "</desc>");
        assert!(described.starts_with("One bar per day from 2026-10-24 to 2026-11-23. The highest is "), "{described}");
        let bars = chart.split("class=\"color-").skip(1).flat_map(|path| path.matches('z')).count();
        assert_eq!(bars, drawn, "{chart}");
    }
    assert_eq!(page.text.matches("<details>").count(), 2);
}

#[tokio::test]
async fn filters_are_in_the_address_and_hold_for_everything_on_the_page() {
    let gateway = TestGateway::start().await;
    let other = five(&gateway).await.to_string();
    let browser = gateway.signed_in().await;
    let cost = |page: &Answer| between(page, "<dt>Cost</dt><dd>", " USD").to_owned();
    for (query, expected, requests) in [
        (vec![("model", MODEL)], "1.00000002", 2),
        (vec![("keyId", other.as_str())], "0.000000301", 2),
        (vec![("from", "2026-11-22")], "0.00000032", 2),
        (vec![("to", "2026-11-22")], "1.000000001", 2),
        (vec![("from", "2026-11-23"), ("to", "2026-11-23"), ("model", HTML), ("keyId", &other)], "0.0000003", 1),
        (vec![("from", "2025-10-01"), ("to", "2025-11-30")], "0.000000007", 1),
    ] {
        let page = shown(&browser, &query).await;
        assert_eq!((cost(&page).as_str(), rows(&page, REQUESTS).len()), (expected, requests), "{query:?}");
        for (name, value) in &query {
            let value = value.replace(HTML, ESCAPED);
            let kept = page.text.contains(&format!("value=\"{value}\" selected"))
                || page.text.contains(&format!("name=\"{name}\" type=\"date\" value=\"{value}\""));
            assert!(kept, "{name} {value}: {}", page.text);
        }
        let csv = between(&page, "<p><a href=\"", "\"").replace("&#38;", "&").replace("&amp;", "&");
        assert_eq!(browser.get(&csv).await.text.lines().count(), requests + 1, "{csv}");
    }
    // What nobody used is a choice all the same while the address names it.
    let page = shown(&browser, &[("model", "no/such"), ("keyId", "99")]).await;
    assert!(page.text.contains("No requests on these days") && page.text.contains(">Key 99</option>"));
    assert!(page.text.contains("value=\"no/such\" selected") && !page.text.contains("<figure>"));
}

#[tokio::test]
async fn a_filter_that_cannot_be_is_named_in_words_and_answered_with_the_form() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for (query, problem) in [
        ([("from", "yesterday"), ("to", "")], "Enter the start date like"),
        ([("from", "2026-11-01"), ("to", HTML)], "Enter the end date like"),
        ([("from", "2026-11-24"), ("to", "2026-11-23")], "The end date is before the start date"),
        ([("from", "2025-11-23"), ("to", "2026-11-24")], "Choose at most 366 days"),
        ([("from", "1970-01-01"), ("to", "9999-12-31")], "Choose at most 366 days"),
        ([("keyId", "one"), ("to", "")], "There is no such key"),
    ] {
        for path in [PAGE, CSV] {
            let page = browser.open_with(path, &query).await;
            assert_eq!(page.status, 422, "{query:?}");
            assert!(between(&page, "role=\"alert\">", "<").contains(problem), "{query:?}: {}", page.text);
            assert!(page.text.contains("<form class=\"filters\"") && !page.text.contains("<img"), "{query:?}");
        }
    }
    let page = browser.open_with(PAGE, &[("from", "soon"), ("model", "no/such"), ("keyId", "1")]).await;
    for kept in ["value=\"no/such\" selected", "value=\"1\" selected"] {
        assert!(page.status == 422 && page.text.contains(kept), "{kept}: {}", page.text);
    }
}

#[tokio::test]
async fn an_account_without_requests_is_told_so() {
    let gateway = TestGateway::start().await;
    let page = gateway.signed_in().await.get(PAGE).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("No requests on these days.") && page.text.contains("<dd>0.00 USD</dd>"));
    assert!(!page.text.contains("<figure>") && !page.text.contains("<table>"), "{}", page.text);
}

#[tokio::test]
async fn a_long_list_is_paged_and_every_request_is_on_one_page() {
    let gateway = TestGateway::start().await;
    let now = gateway.clock().now();
    let mut expected = Vec::new();
    for n in 0..60 {
        expected.push(spend(&gateway, (&gateway.account, KeyId(1)), MODEL, now.plus_ms(n), 1).await);
    }
    expected.reverse();
    let browser = gateway.signed_in().await;
    let (mut path, mut ids, mut pages) = (format!("{PAGE}?model={MODEL}"), Vec::new(), Vec::new());
    loop {
        let page = browser.get(&path).await;
        let lines = rows(&page, REQUESTS);
        pages.push(lines.len());
        ids.extend(lines.into_iter().map(|line| line.last().unwrap().clone()));
        assert_eq!(page.text.contains(">Newest</a>"), pages.len() > 1);
        let Some((before, _)) = page.text.split_once("#requests-heading\">Older</a>") else { break };
        path = before.rsplit_once("href=\"").unwrap().1.replace("&#38;", "&");
        assert!(path.contains("model=lab%2Fchat&cursor="), "the filter stays: {path}");
    }
    assert_eq!((pages, ids), (vec![25, 25, 10], expected));
    for cursor in ["x", "00000000000000000000000000", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"] {
        let page = shown(&browser, &[("cursor", cursor)]).await;
        assert_eq!(rows(&page, REQUESTS).len(), 25, "{cursor}: it begins at the newest");
    }
}

#[tokio::test]
async fn the_csv_is_the_api_s_and_one_that_does_not_hold_all_is_known_to_be_cut() {
    let gateway = TestGateway::start().await;
    five(&gateway).await;
    let csv = gateway.signed_in().await.get(&format!("{CSV}?from=2026-11-21")).await;
    assert_eq!((csv.status, csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"requests.csv\"");
    assert_eq!(csv.header("cache-control"), "no-store");
    assert_eq!(csv.text, gateway.billing.get("/api/usage/export?from=2026-11-21").await.text);
    let now = gateway.clock().now();
    for n in 0..600 {
        spend(&gateway, (&gateway.account, KeyId(1)), MODEL, now.plus_ms(10 + n), 1).await;
    }
    let filter = Filter { kinds: vec![EntryKind::Usage], ..Filter::default() };
    for (most_bytes, whole, lines) in [(1, false, 501), (usize::MAX, true, 606)] {
        let (sender, mut pieces) = mpsc::channel::<String>(8);
        assert_eq!(gateway.store().usage_csv(&gateway.account, &filter, most_bytes, &sender).await.unwrap(), whole);
        drop(sender);
        let mut text = String::new();
        while let Some(piece) = pieces.recv().await {
            text.push_str(&piece);
        }
        assert_eq!(text.lines().count(), lines);
    }
}

#[tokio::test]
async fn nothing_of_another_account_is_there() {
    let gateway = TestGateway::start().await;
    let now = gateway.clock().now();
    let foreign = gateway.store().account_create("Somebody else", now).await.unwrap().id;
    let credit = Credit {
        id: RequestId::new(now, random().unwrap()),
        kind: EntryKind::Payment,
        amount: Nanos::usd(1),
        description: "test".to_owned(),
    };
    assert!(gateway.store().account_credit(&foreign, &credit).await.unwrap());
    let token = gateway_core::token::Token::from_random(KeyType::Proxy, random().unwrap());
    let mut new = new_key(KeyType::Proxy);
    new.name = "their key".to_owned();
    let key = gateway.store().key_create(&foreign, &new, &token, now, None).await.unwrap().unwrap().id;
    let id = spend(&gateway, (&foreign, key), "their/model", now, 5).await;
    let browser = gateway.signed_in().await;
    let key = key.to_string();
    for query in [
        vec![],
        vec![("keyId", key.as_str())],
        vec![("model", "their/model")],
        vec![("cursor", id.as_str())],
        vec![("account", foreign.as_str())],
    ] {
        let page = shown(&browser, &query).await;
        assert!(page.text.contains("No requests on these days."), "{query:?}: {}", page.text);
        assert!(!page.text.contains(&format!("<code>{id}")) && !page.text.contains("their key"), "{query:?}");
        let csv = browser.open_with(CSV, &query).await;
        assert_eq!((csv.status, csv.text.lines().count()), (200, 1), "{query:?}: {}", csv.text);
    }
}

#[tokio::test]
async fn a_request_says_how_long_it_took_and_one_from_before_that_it_is_not_known() {
    let gateway = TestGateway::start().await;
    spend(&gateway, (&gateway.account, KeyId(1)), MODEL, UnixMs(gateway.clock().now().0 - 5), 5).await;
    let answer = gateway.proxy.post("/v1/chat/completions", &TestGateway::chat(MODEL)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let page = gateway.signed_in().await.get(PAGE).await;
    let lines = rows(&page, REQUESTS);
    let [served, before] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(served[0], "2026-11-23 09:30 UTC");
    assert!(page.text.contains("<time datetime=\"2026-11-23T09:30:00.000Z\">2026-11-23 09:30 UTC</time>"));
    assert_eq!(served.last().unwrap(), answer.header("x-request-id"));
    assert!(served[7].ends_with(" ms") || served[7].ends_with(" s"), "{served:?}");
    let hint = "the provider did not report how many tokens it used";
    assert!(!page.text.contains(hint), "none of them is estimated");
    let metered = Metered { usage: Usage { input: 3, output: 1, ..Usage::default() }, estimated: true };
    spend_metered(&gateway, (&gateway.account, KeyId(1)), MODEL, gateway.clock().now(), 5, metered).await;
    let page = gateway.signed_in().await.get(PAGE).await;
    assert!(page.text.contains("<td>Estimated</td>") && page.text.contains(hint), "{}", page.text);
    assert!(page.text.contains("<th scope=\"row\" class=\"whole\"><time"), "{}", page.text);
    assert_eq!((served[6].as_str(), before[7].as_str()), ("Completed", "Unknown"));
}

#[tokio::test]
async fn a_year_of_many_models_is_under_60_kb_on_the_wire() {
    let gateway = TestGateway::start().await;
    let now = gateway.clock().now();
    for day in (0..366).rev() {
        for model in [day, day + 1] {
            let model = format!("laboratory/model-of-a-long-name-{}", model % 8);
            let at = UnixMs(now.0 - day * DAY_MS);
            spend(&gateway, (&gateway.account, KeyId(1)), &model, at, i64::try_from(1 + day * 7919).unwrap()).await;
        }
    }
    let browser = gateway.signed_in().await;
    let path = format!("{PAGE}?from=2025-11-23");
    let page = browser.get(&path).await;
    assert_eq!((page.status, rows(&page, BY_DAY).len(), rows(&page, BY_MODEL).len()), (200, 366, 8));
    let assets = page.text.split('"').filter(|part| part.starts_with("/dashboard/assets/")).map(str::to_owned);
    let mut packed = 0;
    for part in assets.chain([path]) {
        let answer = browser.request(Method::GET, &part).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{part}");
        packed += answer.bytes().await.unwrap().len();
    }
    println!("{} bytes, {packed} compressed with all that it needs", page.text.len());
    assert!(packed < 60_000, "{packed} bytes");
}
