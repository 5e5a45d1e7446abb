//! `/dashboard/keys` and `/dashboard/billing-keys`: keys are made, changed and ended there.

mod form;
mod list;

use gateway_core::{
    ids::{AccountId, KeyId},
    token::{KeyType, Token},
};
use gateway_store::KeyRecord;
use serde_json::{Value, json};
use support::{Answer, Browser, Client, TestGateway, new_key};

const KEYS: &str = "/dashboard/keys";
const BILLING_KEYS: &str = "/dashboard/billing-keys";
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// What the authorizer remembers of a key.
const CACHED_MS: u64 = 10_000;
/// Each page, and a path that its keys open.
const PAGES: [(&str, &str, &str); 2] = [(KEYS, "ms-", "/v1/auth/key"), (BILLING_KEYS, "mk-", "/api/balance")];

/// The fields of a form as they stand on a new key's page, and a name.
const FIELDS: [(&str, &str); 8] = [
    ("name", "ci"),
    ("expires", ""),
    ("limit", ""),
    ("reset", ""),
    ("requests", "1000"),
    ("interval", "10s"),
    ("allow", "all"),
    ("models", ""),
];

/// The same with these instead.
fn with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = |name: &str| changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| *value);
    FIELDS.map(|(name, value)| (name, own(name).unwrap_or(value))).to_vec()
}

/// Every token in a text.
fn tokens(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| Token::parse(word).is_some()).map(str::to_owned).collect()
}

/// The one token that a page shows, as its dialog does.
fn shown(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let [token] = tokens(&answer.text).try_into().unwrap_or_else(|found| panic!("{found:?}: {}", answer.text));
    assert!(answer.text.contains(&format!("<code id=\"token\">{token}</code>")), "{}", answer.text);
    token
}

/// A client with the key that a form made.
async fn made(gateway: &TestGateway, browser: &Browser, page: &str, fields: &[(&str, &str)]) -> Client {
    let answer = browser.fill(&format!("{page}/new"), fields).await;
    gateway.anonymous.with_token(Some(&shown(&answer)))
}

/// The account's newest key, as it is kept.
async fn newest(gateway: &TestGateway) -> KeyRecord {
    gateway.standing().await.keys.pop().unwrap()
}

/// A key as the API shows it.
async fn api(gateway: &TestGateway, id: KeyId) -> Value {
    gateway.billing.get(&format!("/api/keys/{id}")).await.json()
}

/// Another account with keys of both kinds, of which the last ones have ids that the test's account has not.
pub(super) async fn stranger(gateway: &TestGateway) -> (AccountId, Vec<KeyRecord>) {
    let (store, now) = (gateway.store(), gateway.clock().now());
    let account = store.account_create("Stranger", now).await.unwrap().id;
    for key_type in [KeyType::Billing, KeyType::Proxy, KeyType::Proxy, KeyType::Billing] {
        let token = Token::from_random(key_type, gateway_store::random().unwrap());
        store.key_create(&account, &new_key(key_type), &token, now, None).await.unwrap().unwrap();
    }
    let keys = store.account_standing(&account).await.unwrap().unwrap().keys;
    (account, keys)
}

#[tokio::test]
async fn a_new_key_is_shown_in_the_answer_to_its_form_and_nowhere_else() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for (page, prefix, opens) in PAGES {
        let answer = browser.fill(&format!("{page}/new"), &with(&[])).await;
        let token = shown(&answer);
        assert!(token.starts_with(prefix) && answer.header("location").is_empty());
        assert!(answer.text.contains("<dialog open") && answer.text.contains("it cannot be retrieved"));
        assert!(answer.text.contains("data-copy=\"token\" hidden"), "where no script runs there is no dead button");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!format!("{:?}", answer.headers).contains(&token[8..]));
        assert_eq!(gateway.anonymous.with_token(Some(&token)).get(opens).await.status, 200);
        let id = newest(&gateway).await.id;
        for path in ["", "/new", &format!("/{id}"), &format!("/{id}/rotate"), &format!("/{id}/delete")] {
            let later = browser.get(&format!("{page}{path}")).await;
            assert!(later.status == 200 && tokens(&later.text).is_empty(), "{path}: {}", later.text);
        }
    }
}

#[tokio::test]
async fn a_form_sent_again_makes_no_second_key_and_shows_nothing() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for (page, ..) in PAGES {
        let path = format!("{page}/new");
        let form = browser.get(&path).await;
        shown(&browser.submit(&form, &path, &with(&[])).await);
        let id = newest(&gateway).await.id;
        for (wait_ms, name) in [(0, "ci"), (0, "another name"), (DAY_MS - 1, "ci")] {
            gateway.clock().advance_ms(wait_ms);
            let again = browser.submit(&form, &path, &with(&[("name", name)])).await;
            let settings = format!("{page}/{id}?notice=sent");
            assert_eq!((again.status, again.header("location")), (303, settings.as_str()), "{}", again.text);
            let said = browser.get(&settings).await;
            assert!(said.text.contains("That form was sent before") && tokens(&said.text).is_empty(), "{}", said.text);
        }
        assert_eq!(newest(&gateway).await.id, id);
        // Another page's form is another one.
        made(&gateway, &browser, page, &with(&[])).await;
        assert_eq!(newest(&gateway).await.id, KeyId(id.0 + 1));
    }
}

#[tokio::test]
async fn a_form_sent_twice_at_once_makes_one_key_and_shows_it_once() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let path = format!("{KEYS}/new");
    for _ in 0..5 {
        let before = newest(&gateway).await.id;
        let form = browser.get(&path).await;
        let send = || browser.submit(&form, &path, FIELDS.as_slice());
        let (one, two, three) = tokio::join!(send(), send(), send());
        let mut statuses = [one.status, two.status, three.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 303, 303]);
        assert_eq!(tokens(&[one.text, two.text, three.text].concat()).len(), 1);
        assert_eq!(newest(&gateway).await.id, KeyId(before.0 + 1));
    }
}

#[tokio::test]
async fn what_is_set_of_a_new_key_holds() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let fields = with(&[
        ("name", "  Büro & Café "),
        ("expires", "2027-01-31"),
        ("limit", "12.5"),
        ("reset", "monthly"),
        ("requests", "7"),
        ("interval", "1m"),
        ("allow", "only"),
        ("models", "lab/chat,\r\n gpt-4o-mini \n"),
    ]);
    let client = made(&gateway, &browser, KEYS, &fields).await;
    let key = api(&gateway, newest(&gateway).await.id).await;
    let set = json!({
        "name": "Büro & Café", "active": true, "expiresAt": "2027-01-31T23:59:59.999Z", "spendLimit": 12.5,
        "spendLimitReset": "monthly", "rateLimit": {"requests": 7, "interval": "1m"}, "models": ["gpt-4o-mini", "lab/chat"],
    });
    for (name, value) in set.as_object().unwrap() {
        assert_eq!(&key[name], value, "{name}: {key}");
    }
    let chat = async |model: &str| client.post("/v1/chat/completions", &TestGateway::chat(model)).await.status;
    assert_eq!((chat("lab/chat").await, chat("spare/chat").await), (200, 403));
    gateway.idle_books().await;
    // The last moment of that day, UTC.
    let until = 1_801_439_999_999 - gateway.clock().now().0;
    gateway.clock().advance_ms(until - 1);
    assert_eq!(client.get("/v1/auth/key").await.status, 200);
    gateway.clock().advance_ms(1);
    assert_eq!(client.get("/v1/auth/key").await.status, 401);
}

#[tokio::test]
async fn a_billing_key_has_neither_models_nor_a_spend_limit() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let page = browser.get(&format!("{BILLING_KEYS}/new")).await;
    for field in ["name=\"limit\"", "name=\"reset\"", "name=\"allow\"", "name=\"models\""] {
        assert!(!page.text.contains(field), "{field}");
    }
    let fields =
        with(&[("limit", "0"), ("reset", "daily"), ("allow", "only"), ("models", "lab/chat"), ("requests", "3")]);
    let client = made(&gateway, &browser, BILLING_KEYS, &fields).await;
    let key = newest(&gateway).await;
    let (rules, id) = (&key.allowance, key.id);
    assert_eq!(
        (key.key_type, rules.spend_limit, rules.reset, rules.rate_limit.requests),
        (KeyType::Billing, None, None, 3)
    );
    assert_eq!(rules.models, None);
    assert_eq!(client.get("/api/balance").await.status, 200);
    let path = format!("{BILLING_KEYS}/{id}");
    assert_eq!(browser.fill(&path, &with(&[("name", "renamed"), ("limit", "1")])).await.status, 303);
    let key = newest(&gateway).await;
    assert_eq!((key.name.as_str(), key.allowance.spend_limit), ("renamed", None));
}

#[tokio::test]
async fn a_deactivated_key_is_refused_until_it_is_activated_and_a_deleted_one_for_good() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for (page, _, opens) in PAGES {
        let client = made(&gateway, &browser, page, &with(&[])).await;
        let path = format!("{page}/{}", newest(&gateway).await.id);
        for (act, status, says) in [("deactivate", 403, "Deactivated"), ("activate", 200, "Active")] {
            let settings = browser.get(&path).await;
            assert!(settings.text.contains(&format!("action=\"{path}/{act}\"")), "{}", settings.text);
            let done = browser.submit(&settings, &format!("{path}/{act}"), &[]).await;
            assert_eq!((done.status, done.header("location")), (303, format!("{path}?notice={act}d").as_str()));
            gateway.clock().advance_ms(CACHED_MS);
            assert_eq!(client.get(opens).await.status, status, "{act}");
            let after = browser.get(done.header("location")).await;
            assert!(after.text.contains(&format!("<dd>{says}</dd>")), "{}", after.text);
            assert!(after.text.contains("role=\"status\""), "it is said that it is done");
        }
        let asked = browser.get(&format!("{path}/delete")).await;
        assert!(asked.text.contains("deleted for good"), "{}", asked.text);
        assert_eq!(client.get(opens).await.status, 200, "asking deletes nothing");
        let done = browser.submit(&asked, &format!("{path}/delete"), &[]).await;
        assert_eq!((done.status, done.header("location")), (303, format!("{page}?notice=deleted").as_str()));
        gateway.clock().advance_ms(CACHED_MS);
        assert_eq!(client.get(opens).await.status, 401);
        let list = browser.get(done.header("location")).await;
        assert!(
            list.text.contains("The key is deleted") && !list.text.contains(&format!("\"{path}\"")),
            "{}",
            list.text
        );
        assert_eq!(browser.get(&path).await.status, 404);
        assert_eq!(browser.submit(&asked, &format!("{path}/activate"), &[]).await.status, 404);
    }
}

#[tokio::test]
async fn a_rotated_key_s_old_value_works_for_as_long_as_is_chosen() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for (page, _, opens) in PAGES {
        for (grace, works_ms) in [("0", 0), ("3600", HOUR_MS), ("86400", DAY_MS)] {
            let old = made(&gateway, &browser, page, &with(&[])).await;
            let path = format!("{page}/{}/rotate", newest(&gateway).await.id);
            let answer = browser.fill(&path, &[("grace", grace)]).await;
            let new = gateway.anonymous.with_token(Some(&shown(&answer)));
            assert_eq!(answer.text.contains("The old key works until <time"), works_ms > 0, "{}", answer.text);
            assert_eq!(new.get(opens).await.status, 200);
            if works_ms > 0 {
                gateway.clock().advance_ms(works_ms - 1);
                assert_eq!(old.get(opens).await.status, 200, "{grace}");
            }
            gateway.clock().advance_ms(CACHED_MS);
            assert_eq!((old.get(opens).await.status, new.get(opens).await.status), (401, 200), "{grace}");
        }
    }
}

#[tokio::test]
async fn a_rotation_sent_again_rotates_once_and_a_key_rotated_too_often_says_so() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    made(&gateway, &browser, KEYS, &with(&[])).await;
    let settings = format!("{KEYS}/{}", newest(&gateway).await.id);
    let path = format!("{settings}/rotate");
    for wrong in ["", "soon", "-1", "2592001"] {
        let answer = browser.fill(&path, &[("grace", wrong)]).await;
        assert_eq!((answer.status, tokens(&answer.text).len()), (422, 0), "{wrong}: {}", answer.text);
        assert!(answer.text.contains("Choose when the old value stops working"), "{}", answer.text);
    }
    let form = browser.get(&path).await;
    shown(&browser.submit(&form, &path, &[("grace", "3600")]).await);
    let prefix = newest(&gateway).await.prefix;
    let again = browser.submit(&form, &path, &[("grace", "3600")]).await;
    assert_eq!((again.status, again.header("location")), (303, format!("{settings}?notice=sent").as_str()));
    assert_eq!(newest(&gateway).await.prefix, prefix);
    let mut answer = browser.fill(&path, &[("grace", "3600")]).await;
    for _ in 0..30 {
        answer = browser.fill(&path, &[("grace", "3600")]).await;
    }
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("This key was rotated too often"), "{}", answer.text);
}

#[tokio::test]
async fn another_account_s_key_and_one_of_the_other_kind_are_nowhere() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let (account, keys) = stranger(&gateway).await;
    let before = gateway.standing().await;
    let page = browser.get(KEYS).await;
    // Keys 3 and 4 are the stranger's; 2 is a billing key of ours, 1 a proxy key.
    let strange = ["3", "4", "0", "-1", "x", "+1", "1%20", "4294967296", "%2e%2e"];
    for (root, own, other) in [(KEYS, "1", "2"), (BILLING_KEYS, "2", "1")] {
        assert_eq!(browser.get(&format!("{root}/{own}")).await.status, 200);
        for id in strange.into_iter().chain([other]) {
            for path in ["", "/rotate", "/delete"] {
                let answer = browser.get(&format!("{root}/{id}{path}")).await;
                assert_eq!(answer.status, 404, "{root}/{id}{path}: {}", answer.text);
            }
            for path in ["", "/rotate", "/delete", "/deactivate", "/activate"] {
                let fields = [with(&[("name", "stolen")]), vec![("grace", "0")]].concat();
                let answer = browser.submit(&page, &format!("{root}/{id}{path}"), &fields).await;
                assert_eq!(answer.status, 404, "{root}/{id}{path}: {}", answer.text);
            }
        }
    }
    assert_eq!(gateway.standing().await, before);
    assert_eq!(gateway.store().account_standing(&account).await.unwrap().unwrap().keys, keys);
}
