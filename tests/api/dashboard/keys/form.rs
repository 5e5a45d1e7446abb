//! The forms: what is wrong is said, what is typed stays, and what is not touched is not changed.

use std::collections::BTreeSet;

use gateway_core::{moment::UnixMs, token::KeyType};
use http::Method;
use serde_json::json;
use support::{Answer, TestGateway};

use super::{BILLING_KEYS, FIELDS, KEYS, api, made, newest, tokens, with};

const HTML: &str = "<img src=x onerror=alert(1)>\"'&";
const ESCAPED: &str = "&#60;img src=x onerror=alert(1)&#62;&#34;&#39;&#38;";

#[tokio::test]
async fn what_is_wrong_with_a_form_is_said_at_its_field_and_nothing_is_made_or_changed() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    made(&gateway, &browser, KEYS, &with(&[])).await;
    let before = newest(&gateway).await;
    let long = "é".repeat(101);
    let many = (0..51).map(|n| format!("m{n}")).collect::<Vec<_>>().join("\n");
    let cases = [
        ("name", "", "Give the key a name."),
        ("name", " \t ", "Give the key a name."),
        ("name", &long, "at most 100 characters"),
        ("name", "a\nb", "at most 100 characters"),
        ("expires", "2026-11-22", "That date has passed."),
        ("expires", "tomorrow", "like 2027-01-31"),
        ("expires", "2027-02-30", "like 2027-01-31"),
        ("expires", "2027-01-31T10:00:00Z", "like 2027-01-31"),
        ("limit", "-1", "Enter the spend limit in USD"),
        ("limit", "a few", "Enter the spend limit in USD"),
        ("limit", "1e3", "Enter the spend limit in USD"),
        ("limit", "99999999999", "Enter the spend limit in USD"),
        ("requests", "0", "Enter a whole number from 1 to 4294967295."),
        ("requests", "4294967296", "Enter a whole number from 1 to 4294967295."),
        ("requests", "", "Enter a whole number from 1 to 4294967295."),
        ("interval", "2d", "Choose a period for the rate limit."),
        ("interval", "", "Choose a period for the rate limit."),
        ("models", "", "List at least one model"),
        ("models", " , \n", "List at least one model"),
        ("models", &many, "at most 50 models"),
        ("models", "lab/chat gpt-4o-minj", "There is no model gpt-4o-minj."),
    ];
    for path in [format!("{KEYS}/new"), format!("{KEYS}/{}", before.id)] {
        for (field, value, says) in cases {
            let allow = if field == "models" { "only" } else { "all" };
            let answer = browser.fill(&path, &with(&[(field, value), ("allow", allow)])).await;
            let what = format!("{path} {field}={value}: {}", answer.text);
            assert_eq!((answer.status, tokens(&answer.text).len()), (422, 0), "{what}");
            let problem = answer.text.split_once("role=\"alert\">").unwrap().1.split_once("</p>").unwrap().0;
            assert!(problem.contains(says), "{what}");
            let named = answer.text.split('<').find(|tag| tag.contains("aria-invalid")).unwrap();
            assert!(named.contains(&format!("name=\"{field}\"")) && named.contains("problem\""), "{what}");
        }
    }
    assert_eq!(newest(&gateway).await, before);
}

#[tokio::test]
async fn what_was_typed_is_there_again_and_can_be_sent_once_it_is_right() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let path = format!("{KEYS}/new");
    let typed =
        with(&[("name", "nightly"), ("limit", "5"), ("reset", "weekly"), ("interval", "1h"), ("requests", "0")]);
    let wrong = browser.fill(&path, &typed).await;
    for kept in ["value=\"nightly\"", "value=\"5\"", "value=\"weekly\" selected", "value=\"1h\" selected"] {
        assert!(wrong.text.contains(kept), "{kept}: {}", wrong.text);
    }
    let right = browser.submit(&wrong, &path, &with(&[("name", "nightly")])).await;
    assert_eq!((right.status, tokens(&right.text).len()), (200, 1), "{}", right.text);
}

#[tokio::test]
async fn models_that_are_listed_while_all_are_allowed_make_no_key_that_may_use_all() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let says = "You listed models but allowed all of them.";
    let typed = with(&[("allow", "all"), ("models", "lab/chat")]);
    let before = newest(&gateway).await;
    let answer = browser.fill(&format!("{KEYS}/new"), &typed).await;
    assert!(answer.status == 422 && answer.text.contains(says), "{}", answer.text);
    assert!(answer.text.contains("lab/chat</textarea>"), "what was typed stays: {}", answer.text);
    assert_eq!(newest(&gateway).await, before);
    made(&gateway, &browser, KEYS, &with(&[("allow", "only"), ("models", "lab/chat")])).await;
    let path = format!("{KEYS}/{}", newest(&gateway).await.id);
    let other = browser.fill(&path, &with(&[("allow", "all"), ("models", "lab/chat lab/small")])).await;
    assert!(other.status == 422 && other.text.contains(says), "{}", other.text);
    // The list as it is stands in the form: who then allows all means that.
    assert_eq!(browser.fill(&path, &typed).await.status, 303);
    assert_eq!(newest(&gateway).await.allowance.models, None);
}

#[tokio::test]
async fn html_in_what_people_write_is_shown_as_they_wrote_it() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for root in [KEYS, BILLING_KEYS] {
        let shown = browser.fill(&format!("{root}/new"), &with(&[("name", HTML)])).await;
        let path = format!("{root}/{}", newest(&gateway).await.id);
        let mut pages = vec![shown];
        for place in [root.to_owned(), path.clone(), format!("{path}/rotate"), format!("{path}/delete")] {
            pages.push(browser.get(&place).await);
        }
        pages.push(browser.fill(&path, &with(&[("name", HTML), ("requests", "0")])).await);
        pages.push(browser.fill(&format!("{path}/rotate"), &[("grace", "")]).await);
        for page in pages {
            assert!(page.text.contains(ESCAPED) && !page.text.contains("<img"), "{}", page.text);
        }
    }
    for field in ["expires", "limit", "requests", "models"] {
        let answer = browser.fill(&format!("{KEYS}/new"), &with(&[(field, HTML), ("allow", "only")])).await;
        assert_eq!(answer.status, 422);
        assert!(answer.text.contains("&#60;img") && !answer.text.contains("<img"), "{field}: {}", answer.text);
    }
    let odd = browser.fill(&format!("{KEYS}/new"), &with(&[("interval", HTML), ("reset", HTML)])).await;
    assert!(odd.status == 422 && !odd.text.contains("<img"), "{}", odd.text);
}

#[tokio::test]
async fn settings_are_changed_one_by_one_and_the_rest_stays() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    made(&gateway, &browser, KEYS, &with(&[("limit", "5"), ("reset", "daily"), ("expires", "2027-01-31")])).await;
    let first = newest(&gateway).await;
    let path = format!("{KEYS}/{}", first.id);
    let mut fields = with(&[("limit", "5"), ("reset", "daily"), ("expires", "2027-01-31")]);
    let saved = browser.fill(&path, &fields).await;
    assert_eq!((saved.status, saved.header("location")), (303, format!("{path}?notice=saved").as_str()));
    assert_eq!(newest(&gateway).await, first, "the form as it is changes nothing");
    let mut changed = async |name: &str, value: &'static str| {
        fields.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value;
        assert_eq!(browser.fill(&path, &fields).await.status, 303);
        newest(&gateway).await
    };
    assert_eq!(changed("name", "renamed").await.name, "renamed");
    assert_eq!(changed("limit", "").await.allowance.spend_limit, None);
    assert_eq!(changed("reset", "").await.allowance.reset, None);
    assert_eq!(changed("expires", "").await.allowance.expires_at, None);
    let last = changed("interval", "1d").await;
    assert_eq!(last.allowance.rate_limit.interval.to_string(), "1d");
    assert_eq!((last.prefix, last.created_at), (first.prefix, first.created_at));
}

#[tokio::test]
async fn what_another_way_has_set_and_the_form_cannot_say_stays_as_it_is() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let noon = UnixMs::parse_rfc3339("2026-12-31T12:00:00Z");
    // An expiry at noon; a list that allows nothing; a model that the catalogue has lost; a window of its own.
    for models in [BTreeSet::new(), BTreeSet::from(["gone/model".to_owned()])] {
        let list = models.iter().cloned().collect::<Vec<_>>().join("\n");
        gateway
            .key(KeyType::Proxy, |new| {
                new.expires_at = noon;
                new.models = Some(models);
                new.rate_limit.interval.seconds = 90;
            })
            .await;
        let before = newest(&gateway).await;
        let path = format!("{KEYS}/{}", before.id);
        let page = browser.get(&path).await;
        for shown in
            ["value=\"2026-12-31\"", "value=\"90s\" selected", "value=\"only\" checked", "2026-12-31 12:00 UTC"]
        {
            assert!(page.text.contains(shown), "{shown}: {}", page.text);
        }
        let fields = with(&[
            ("name", "renamed"),
            ("expires", "2026-12-31"),
            ("interval", "90s"),
            ("allow", "only"),
            ("models", &list),
        ]);
        assert_eq!(browser.submit(&page, &path, &fields).await.status, 303);
        let after = newest(&gateway).await;
        assert_eq!((after.name.as_str(), after.allowance), ("renamed", before.allowance));
    }
}

#[tokio::test]
async fn an_expired_key_can_be_renamed_and_given_a_later_day() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let client = made(&gateway, &browser, KEYS, &with(&[("expires", "2026-11-23")])).await;
    let path = format!("{KEYS}/{}", newest(&gateway).await.id);
    gateway.clock().advance_ms(super::DAY_MS);
    assert_eq!(client.get("/v1/auth/key").await.status, 401);
    assert!(browser.get(&path).await.text.contains("<dd>Expired</dd>"));
    assert_eq!(browser.fill(&path, &with(&[("name", "old"), ("expires", "2026-11-23")])).await.status, 303);
    assert_eq!(browser.fill(&path, &with(&[("expires", "2026-11-30")])).await.status, 303);
    gateway.clock().advance_ms(super::CACHED_MS);
    assert_eq!(client.get("/v1/auth/key").await.status, 200);
}

#[tokio::test]
async fn a_form_without_its_page_s_own_token_in_a_field_makes_no_key() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let before = newest(&gateway).await.id;
    let page = browser.get(KEYS).await;
    for (path, fields) in [(format!("{KEYS}/new"), FIELDS.to_vec()), (format!("{KEYS}/1/rotate"), vec![("grace", "0")])]
    {
        let request = browser.form(&path, &fields).header("x-csrf-token", super::super::token(&page));
        let answer = browser.send(request).await;
        assert_eq!(answer.status, 400, "what tells it from the same form sent again is not there: {}", answer.text);
    }
    assert_eq!(newest(&gateway).await.id, before);
}

#[tokio::test]
async fn an_older_form_takes_nothing_back_that_it_does_not_change() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let limited = with(&[("limit", "50"), ("allow", "only"), ("models", "gpt-4o-mini\nlab/chat")]);
    made(&gateway, &browser, KEYS, &limited).await;
    let id = newest(&gateway).await.id;
    let path = format!("{KEYS}/{id}");
    let shown = |page: &Answer| {
        let line = page.text.split("name=\"shown\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        line.replace("&#38;", "&")
    };
    let older = browser.get(&path).await;
    let stopped = json!({"spend_limit": 1, "models": ["lab/chat"], "rate_limit": {"requests": 5, "interval": "1m"}});
    assert_eq!(gateway.billing.send(Method::PUT, &format!("/api/keys/{id}"), &stopped.to_string()).await.status, 200);
    let as_shown = shown(&older);
    // As a browser sends it: a list's lines end with two characters.
    let changed =
        with(&[("name", "renamed"), ("limit", "50.00"), ("allow", "only"), ("models", "gpt-4o-mini\r\nlab/chat")]);
    let sent = [changed.as_slice(), &[("shown", as_shown.as_str())]].concat();
    assert_eq!(browser.submit(&older, &path, &sent).await.status, 303);
    let key = api(&gateway, id).await;
    assert_eq!((&key["name"], &key["spendLimit"]), (&json!("renamed"), &json!(1.0)), "{key}");
    assert_eq!((&key["models"], &key["rateLimit"]["requests"]), (&json!(["lab/chat"]), &json!(5)), "{key}");
    // What it does change it changes, and a field that is wrong keeps what was typed.
    let wrong = [with(&[("limit", "much")]).as_slice(), &[("shown", as_shown.as_str())]].concat();
    let page = browser.submit(&older, &path, &wrong).await;
    assert!(page.status == 422 && page.text.contains("value=\"much\""), "{}", page.text);
    let lower = with(&[("limit", "2"), ("allow", "all"), ("models", "")]);
    let lower = [lower.as_slice(), &[("shown", as_shown.as_str())]].concat();
    assert_eq!(browser.submit(&older, &path, &lower).await.status, 303);
    let key = api(&gateway, id).await;
    assert_eq!(
        (&key["spendLimit"], &key["models"], &key["rateLimit"]["requests"]),
        (&json!(2.0), &json!(null), &json!(5))
    );
}
