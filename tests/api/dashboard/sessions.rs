//! Who is signed in, for how long, and how it ends.

use gateway_core::people::{Email, SESSION_IDLE_MS, SESSION_MS};
use modelswitch::Data;
use support::{Answer, Browser, Folder, TestGateway};

use super::{SECURITY, SIGN_IN};

const COOKIE: &str = "ms_session";
const OWNER: &str = "owner@localhost";
const PASSWORD: &str = "a few words in a row";

/// Sets the owner's first password.
async fn set_password(browser: &Browser) {
    let answer = browser.fill(SECURITY, &[("password", PASSWORD)]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dashboard/security?notice=password"));
}

async fn sign_in(browser: &Browser, password: &str) -> Answer {
    browser.fill(SIGN_IN, &[("email", OWNER), ("password", password)]).await
}

#[tokio::test]
async fn the_overview_shows_the_account_s_money_and_where_everything_is() {
    let gateway = TestGateway::with_credit("12.5").await;
    let browser = gateway.signed_in().await;
    let page = browser.get("/dashboard").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<dd>12.50 USD</dd>"), "{}", page.text);
    for (path, label) in [
        ("/dashboard/keys", "API Keys"),
        ("/dashboard/billing-keys", "Billing Keys"),
        ("/dashboard/billing", "Billing"),
        ("/dashboard/usage", "Usage"),
        ("/dashboard/models", "Models"),
        ("/dashboard/quick-start", "Quick start"),
    ] {
        assert!(page.text.contains(&format!("<a href=\"{path}\">{label}</a>")), "{label}");
    }
    assert!(page.text.contains("<a href=\"/dashboard\" aria-current=\"page\">Overview</a>"), "{}", page.text);
    for landmark in ["<html lang=\"en\">", "<main id=\"main\"", "<nav aria-label=", "<a class=\"skip\" href=\"#main\">"]
    {
        assert!(page.text.contains(landmark), "{landmark}");
    }
}

#[tokio::test]
async fn a_session_is_made_anew_at_sign_in_whatever_the_browser_brought() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    set_password(&browser).await;
    let planted = "ab".repeat(32);
    let victim = gateway.browser();
    victim.bring(COOKIE, &planted);
    assert_eq!(sign_in(&victim, PASSWORD).await.status, 303);
    assert_ne!(victim.cookie(COOKIE).unwrap(), planted);
    let attacker = gateway.browser();
    attacker.bring(COOKIE, &planted);
    assert_eq!(attacker.user().await, None, "what was planted is worth nothing");
    // A live session is none any more for whoever knew it, once its browser signs in again.
    let known = victim.cookie(COOKIE).unwrap();
    let page = victim.get(SECURITY).await;
    let again = victim.submit(&page, SIGN_IN, &[("email", OWNER), ("password", PASSWORD)]).await;
    assert_eq!(again.status, 303, "{}", again.text);
    attacker.bring(COOKIE, &known);
    assert_eq!((attacker.user().await, victim.user().await.as_deref()), (None, Some(OWNER)));
}

#[tokio::test]
async fn a_form_s_token_ends_with_its_session() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let before = browser.get(SECURITY).await;
    browser.submit(&before, "/dashboard/sign-out", &[]).await;
    let answer = browser.submit(&before, SIGN_IN, &[("email", OWNER), ("password", "x")]).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
}

#[tokio::test]
async fn cookies_are_for_no_script_and_no_other_site() {
    let gateway = TestGateway::start().await;
    let link = gateway.gateway.first_account.as_ref().unwrap().sign_in_link.clone();
    let browser = gateway.browser();
    let page = browser.get(&link).await;
    let visitor = page.header("set-cookie").to_owned();
    assert!(visitor.starts_with("ms_visitor=") && visitor.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{visitor}");
    let path = link.strip_prefix(&gateway.gateway.url).unwrap();
    let answer = browser.submit(&page, path, &[]).await;
    let all: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    let session = all.iter().find(|line| line.starts_with("ms_session=")).unwrap();
    assert!(session.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"), "{session}");
}

#[tokio::test]
async fn signing_out_ends_the_session_for_whoever_has_its_cookie() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let thief = gateway.browser();
    thief.bring(COOKIE, &browser.cookie(COOKIE).unwrap());
    assert_eq!(thief.user().await.as_deref(), Some(OWNER));
    let answer = browser.submit(&browser.get(SECURITY).await, "/dashboard/sign-out", &[]).await;
    assert_eq!((answer.status, answer.header("location")), (303, SIGN_IN));
    assert_eq!((browser.cookie(COOKIE), thief.user().await), (None, None));
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_session_and_so_does_another_password() {
    let gateway = TestGateway::start().await;
    let first = gateway.signed_in().await;
    set_password(&first).await;
    let second = gateway.browser();
    assert_eq!(sign_in(&second, PASSWORD).await.status, 303);
    let answer = first.submit(&first.get(SECURITY).await, "/dashboard/sign-out/everywhere", &[]).await;
    assert_eq!(answer.header("location"), "/dashboard/sign-in?notice=everywhere");
    assert_eq!((first.user().await, second.user().await), (None, None));
    assert_eq!(sign_in(&first, PASSWORD).await.status, 303);
    assert_eq!(sign_in(&second, PASSWORD).await.status, 303);
    let wrong = first.fill(SECURITY, &[("current", "not that one"), ("password", "quite another one")]).await;
    assert!(wrong.status == 422 && wrong.text.contains("Your current password is wrong."), "{}", wrong.text);
    let changed = first.fill(SECURITY, &[("current", PASSWORD), ("password", "quite another one")]).await;
    assert_eq!(changed.status, 303, "{}", changed.text);
    assert_eq!((first.user().await.as_deref(), second.user().await), (Some(OWNER), None));
    assert_eq!(sign_in(&second, PASSWORD).await.status, 422);
    assert_eq!(sign_in(&second, "quite another one").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_a_week_after_its_last_use_and_a_month_after_its_first() {
    let gateway = TestGateway::start().await;
    let idle = gateway.signed_in().await;
    gateway.clock().advance_ms(SESSION_IDLE_MS - 1);
    assert_eq!(idle.user().await.as_deref(), Some(OWNER), "its use is written down");
    gateway.clock().advance_ms(SESSION_IDLE_MS - 1);
    assert_eq!(idle.user().await.as_deref(), Some(OWNER));
    gateway.clock().advance_ms(SESSION_IDLE_MS);
    assert_eq!(idle.user().await, None);
    assert_eq!(idle.cookie(COOKIE), None, "the browser is told to forget it");
    let link = super::links::reset(&gateway, OWNER).await;
    let busy = gateway.browser();
    assert_eq!(busy.fill(&link, &[("password", PASSWORD)]).await.status, 303);
    for _ in 0..5 {
        assert_eq!(busy.user().await.as_deref(), Some(OWNER));
        gateway.clock().advance_ms(SESSION_MS / 5);
    }
    assert_eq!(busy.user().await, None);
}

#[tokio::test]
async fn a_user_who_is_removed_is_signed_out_at_once_and_no_session_of_theirs_is_the_next_one_s() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let email = Email::parse(OWNER).unwrap();
    let user = gateway.store().user(&email).await.unwrap().unwrap();
    assert!(gateway.store().user_remove(&email).await.unwrap());
    let old = browser.cookie(COOKIE).unwrap();
    assert_eq!(browser.user().await, None);
    gateway.clock().advance_ms(1);
    let next = gateway_core::people::User::new(email, user.account, user.role, gateway.clock().now());
    assert!(gateway.store().user_create(&next).await.unwrap());
    browser.bring(COOKIE, &old);
    assert_eq!(browser.user().await, None);
}

#[tokio::test]
async fn signing_in_leads_to_a_page_of_ours_and_nowhere_else() {
    let gateway = TestGateway::start().await;
    set_password(&gateway.signed_in().await).await;
    for (next, led) in [
        ("/security", "/dashboard/security"),
        ("/keys?sort=name&page=2", "/dashboard/keys?sort=name&page=2"),
        ("/", "/dashboard"),
        ("", "/dashboard"),
        ("https://evil.example/", "/dashboard"),
        ("//evil.example/", "/dashboard//evil.example"),
        ("/\\evil.example", "/dashboard"),
        ("javascript:alert(1)", "/dashboard"),
        ("/a\r\nset-cookie: x=y", "/dashboard"),
        ("/@evil.example", "/dashboard"),
    ] {
        let browser = gateway.browser();
        let answer = browser.fill(SIGN_IN, &[("email", OWNER), ("password", PASSWORD), ("next", next)]).await;
        assert_eq!((answer.status, answer.header("location")), (303, led), "{next:?}");
        assert_eq!(
            answer.headers.get_all("set-cookie").iter().filter(|line| line.to_str().unwrap().starts_with("x=")).count(),
            0
        );
        let again = browser.open_with(SIGN_IN, &[("next", next)]).await;
        assert_eq!((again.status, again.header("location")), (303, led), "who is signed in goes on at once: {next:?}");
    }
}

#[tokio::test]
async fn what_people_write_is_shown_as_text() {
    let gateway = TestGateway::start().await;
    for evil in ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' autofocus onfocus='x"] {
        let browser = gateway.browser();
        let page = browser.fill(SIGN_IN, &[("email", evil), ("password", evil), ("next", evil)]).await;
        assert_eq!(page.status, 422, "{evil}");
        assert!(
            !page.text.contains("<script>alert") && !page.text.contains("<img") && !page.text.contains("' autofocus"),
            "{}",
            page.text
        );
        let query = browser.open_with(SIGN_IN, &[("next", evil), ("notice", evil)]).await;
        assert!(!query.text.contains("alert(1)") && !query.text.contains("onfocus"), "{}", query.text);
    }
    // An address may hold a quote and an ampersand, and is shown on pages and in errors.
    let email = "o'brien&sons@example.com";
    let link = super::links::invitation(&gateway, email).await;
    let browser = gateway.browser();
    let page = browser.get(&link).await;
    assert!(page.text.contains("o&#39;brien&#38;sons@example.com"), "{}", page.text);
    assert_eq!(browser.submit(&page, &link, &[("password", PASSWORD)]).await.status, 303);
    assert_eq!(browser.user().await.as_deref(), Some("o&#39;brien&#38;sons@example.com"));
}

#[tokio::test]
async fn neither_a_password_nor_a_cookie_nor_a_link_is_stored() {
    let folder = Folder::new();
    let gateway = TestGateway::start_with(|options| options.data = Data::File(folder.path("data.db"))).await;
    let browser = gateway.signed_in().await;
    set_password(&browser).await;
    let link = super::links::reset(&gateway, OWNER).await;
    let first = gateway.gateway.first_account.as_ref().unwrap().sign_in_link.clone();
    let contents = folder.contents();
    assert!(contents.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "the password's hash is there");
    let secrets = [PASSWORD.to_owned(), browser.cookie(COOKIE).unwrap(), last(&link), last(&first)];
    for secret in secrets {
        assert!(!contents.contains(&secret), "{secret} is stored");
    }
}

fn last(link: &str) -> String {
    link.rsplit('/').next().unwrap().to_owned()
}
