//! The lists: what they say of each key, and how long they get.

use gateway_core::{
    money::Nanos,
    token::{KeyType, Token},
};
use support::{TestGateway, new_key};

use super::{BILLING_KEYS, DAY_MS, KEYS, PAGES, made, newest, with};

/// The cells of each row of a page's table, without their markup.
fn rows(text: &str) -> Vec<Vec<String>> {
    let Some((_, body)) = text.split_once("<tbody>") else { return Vec::new() };
    let body = body.split_once("</tbody>").unwrap().0;
    let bare = |cell: &str| {
        let parts = cell.replace("<br>", "; ");
        parts.split('<').map(|part| part.rsplit('>').next().unwrap()).collect::<String>().trim().to_owned()
    };
    let cells = |row: &str| row.split("</t").filter(|cell| cell.contains("<t")).map(bare).collect();
    body.split("<tr>").skip(1).map(cells).collect()
}

#[tokio::test]
async fn a_list_says_of_each_key_what_it_is_and_no_more() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let client =
        made(&gateway, &browser, KEYS, &with(&[("name", "ci"), ("limit", "5"), ("expires", "2027-01-31")])).await;
    let key = newest(&gateway).await;
    let list = browser.get(KEYS).await;
    let shown = rows(&list.text);
    let prefix = format!("{}…", key.prefix);
    let row = ["ci", &prefix, "Active", "2026-11-23 09:30 UTC", "Never", "0.00 of 5.00 USD in total", ""];
    assert_eq!(shown[0], row, "{}", list.text);
    assert_eq!(shown.len(), 2, "the billing key is on its own page");
    assert_eq!(client.post("/v1/chat/completions", &TestGateway::chat(support::MODEL)).await.status, 200);
    gateway.idle_books().await;
    let spent = newest(&gateway).await.allowance.spent;
    assert!(spent > Nanos::ZERO);
    let row = &rows(&browser.get(KEYS).await.text)[0];
    assert_eq!(row[4], "2026-11-23 09:30 UTC");
    assert_eq!(row[5], format!("{spent} of 5.00 USD in total"));
    let billing = browser.get(BILLING_KEYS).await;
    assert!(!billing.text.contains("Spent"), "{}", billing.text);
    assert_eq!(rows(&billing.text).len(), 1);
}

#[tokio::test]
async fn a_status_tells_what_a_request_meets() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let status = async || rows(&browser.get(KEYS).await.text)[0][2].clone();
    let client =
        made(&gateway, &browser, KEYS, &with(&[("limit", "0"), ("reset", "daily"), ("expires", "2026-11-24")])).await;
    assert_eq!(status().await, "Limit reached");
    assert_eq!(client.post("/v1/chat/completions", &TestGateway::chat(support::MODEL)).await.status, 403);
    let path = format!("{KEYS}/{}", newest(&gateway).await.id);
    let page = browser.get(&path).await;
    browser.submit(&page, &format!("{path}/deactivate"), &[]).await;
    assert_eq!(status().await, "Deactivated");
    gateway.clock().advance_ms(2 * DAY_MS);
    assert_eq!(status().await, "Expired");
}

#[tokio::test]
async fn hints_name_what_is_a_greater_risk_than_it_has_to_be() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let hints = async |page: &str| rows(&browser.get(page).await.text)[0].last().unwrap().clone();
    let careful = [("limit", "5"), ("expires", "2027-12-31")];
    made(&gateway, &browser, KEYS, &with(&careful)).await;
    assert_eq!(hints(KEYS).await, "");
    let client = made(&gateway, &browser, KEYS, &with(&[])).await;
    assert_eq!(hints(KEYS).await, "Set a spend limit; Set an expiry date");
    made(&gateway, &browser, BILLING_KEYS, &with(&[])).await;
    assert_eq!(hints(BILLING_KEYS).await, "Set an expiry date", "a billing key spends nothing");
    gateway.clock().advance_ms(7 * DAY_MS - 1);
    assert_eq!(hints(KEYS).await, "Set a spend limit; Set an expiry date");
    gateway.clock().advance_ms(1);
    assert_eq!(hints(KEYS).await, "Never used: still needed?; Set a spend limit; Set an expiry date");
    assert_eq!(client.get("/v1/auth/key").await.status, 200);
    assert_eq!(hints(KEYS).await, "Set a spend limit; Set an expiry date");
    gateway.clock().advance_ms(90 * DAY_MS);
    let browser = gateway.signed_in().await;
    let row = |text: &str| rows(text)[0].last().unwrap().clone();
    assert_eq!(
        row(&browser.get(KEYS).await.text),
        "Not used for 90 days: still needed?; Set a spend limit; Set an expiry date"
    );
    let path = format!("{KEYS}/4");
    let page = browser.get(&path).await;
    assert!(page.text.contains("Not used for 90 days: still needed?"), "{}", page.text);
    browser.submit(&page, &format!("{path}/deactivate"), &[]).await;
    assert_eq!(row(&browser.get(KEYS).await.text), "", "what opens nothing is no risk");
}

#[tokio::test]
async fn a_list_without_keys_says_so_and_leads_to_a_new_one() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for (root, id) in [(KEYS, 1), (BILLING_KEYS, 2)] {
        browser.fill(&format!("{root}/{id}/delete"), &[]).await;
        let page = browser.get(root).await;
        assert!(page.text.contains("yet.") && !page.text.contains("<table"), "{}", page.text);
        assert!(page.text.contains(&format!("href=\"{root}/new\"")), "{}", page.text);
    }
}

#[tokio::test]
async fn a_long_list_is_paged_and_searched_and_has_every_key_once() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let at = gateway.clock().now();
    for key_type in [KeyType::Proxy, KeyType::Billing] {
        for n in 0..119 {
            let token = Token::from_random(key_type, gateway_store::random().unwrap());
            let mut new = new_key(key_type);
            new.name = format!("Team {n:03}");
            gateway.store().key_create(&gateway.account, &new, &token, at, None).await.unwrap().unwrap();
        }
    }
    for (root, ..) in PAGES {
        let (mut next, mut names, mut pages) = (Some(root.to_owned()), Vec::new(), 0);
        while let Some(path) = next {
            let page = browser.get(&path).await;
            assert!(page.text.len() < 60_000, "{} bytes", page.text.len());
            names.extend(rows(&page.text).into_iter().map(|row| row[0].clone()));
            let older = page.text.split("<a href=\"").find(|link| link.contains("\">Older keys"));
            next = older.map(|link| link.split('"').next().unwrap().replace("&#38;", "&"));
            pages += 1;
        }
        assert_eq!((names.len(), pages), (120, 3), "{root}");
        assert_eq!((names[0].as_str(), names[118].as_str()), ("Team 118", "Team 000"));
        let found = browser.open_with(root, &[("search", "tEAM 11")]).await;
        assert_eq!(rows(&found.text).len(), 9, "{}", found.text);
        assert!(found.text.contains("9 of 120 keys"), "{}", found.text);
        let prefix = gateway.standing().await.keys.iter().rfind(|key| key.name == "Team 042").unwrap().prefix.clone();
        let found = browser.open_with(KEYS, &[("search", &prefix)]).await;
        assert!(found.status == 200, "{}", found.text);
        let none = browser.open_with(root, &[("search", "<b>nobody")]).await;
        assert!(none.text.contains("No keys match your search.") && !none.text.contains("<b>"), "{}", none.text);
        for odd in ["0", "-1", "99999999999999999999", "x", "7"] {
            let page = browser.open_with(root, &[("page", odd)]).await;
            assert!(page.status == 200 && !rows(&page.text).is_empty(), "{odd}");
        }
    }
}
