//! Signing in and up with a password: what it costs to guess, and what a guess tells.

use gateway_core::people::{Email, Role, User};
use support::{Answer, Browser, TestGateway};

use super::{SIGN_IN, links};

const ADA: &str = "ada@example.com";
const PASSWORD: &str = "a few words in a row";
const WINDOW_MS: u64 = 15 * 60_000;

/// A gateway with a user who has a password.
async fn with_ada() -> TestGateway {
    let gateway = TestGateway::start().await;
    let link = links::invitation(&gateway, ADA).await;
    let answer = gateway.browser().fill(&link, &[("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    gateway
}

async fn guess(browser: &Browser, email: &str, password: &str) -> Answer {
    browser.fill(SIGN_IN, &[("email", email), ("password", password)]).await
}

#[tokio::test]
async fn a_wrong_guess_says_and_costs_the_same_whether_there_is_a_user_or_not() {
    let gateway = with_ada().await;
    let account = gateway.account.clone();
    let without =
        User::new(Email::parse("nopassword@example.com").unwrap(), account, Role::Member, gateway.clock().now());
    assert!(gateway.store().user_create(&without).await.unwrap());
    let mut pages = Vec::new();
    for email in [ADA, "nobody@example.com", "nopassword@example.com"] {
        let (browser, before) = (gateway.browser(), gateway.gateway.passwords.hashed());
        let page = guess(&browser, email, "not that one").await;
        assert_eq!(page.status, 422);
        assert_eq!(gateway.gateway.passwords.hashed() - before, 1, "{email}");
        let shown = page.text.replace(email, "EMAIL");
        pages.push(shown.split("value=\"").filter(|part| part.find('"') != Some(128)).collect::<String>());
    }
    assert!(pages[0].contains("The email address or password is wrong."), "{}", pages[0]);
    assert!(pages[0] == pages[1] && pages[1] == pages[2], "{pages:#?}");
    let too_long = guess(&gateway.browser(), ADA, &"x".repeat(257)).await;
    assert_eq!(too_long.status, 422);
    assert_eq!(guess(&gateway.browser(), "ADA@Example.com ", PASSWORD).await.status, 303);
}

#[tokio::test]
async fn after_ten_wrong_guesses_at_an_address_none_is_looked_at_until_the_window_is_over() {
    let gateway = with_ada().await;
    let browser = gateway.browser();
    for _ in 0..10 {
        assert_eq!(guess(&browser, ADA, "not that one").await.status, 422);
    }
    let before = gateway.gateway.passwords.hashed();
    for password in ["not that one", PASSWORD] {
        let answer = guess(&gateway.browser(), ADA, password).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, "900"), "{}", answer.text);
        assert!(answer.text.contains("Try again in 15 minutes, at 09:45 UTC."), "{}", answer.text);
    }
    assert_eq!(gateway.gateway.passwords.hashed(), before, "refused before it is hashed");
    assert_eq!(guess(&browser, "bob@example.com", "x").await.status, 422, "another address is another count");
    gateway.clock().advance_ms(WINDOW_MS);
    assert_eq!(guess(&browser, ADA, PASSWORD).await.status, 303);
}

#[tokio::test]
async fn guesses_from_elsewhere_keep_nobody_out_of_a_browser_that_is_known() {
    let gateway = with_ada().await;
    let known = gateway.browser();
    assert_eq!(guess(&known, ADA, PASSWORD).await.status, 303);
    let signed_in = gateway.browser();
    assert_eq!(guess(&signed_in, ADA, PASSWORD).await.status, 303);
    for _ in 0..10 {
        assert_eq!(guess(&gateway.browser(), ADA, "not that one").await.status, 422);
    }
    assert_eq!(guess(&gateway.browser(), ADA, PASSWORD).await.status, 429);
    let page = known.get(super::SECURITY).await;
    known.submit(&page, "/dashboard/sign-out", &[]).await;
    assert_eq!(guess(&known, ADA, PASSWORD).await.status, 303);
    let change = [("current", PASSWORD), ("password", "quite another one")];
    assert_eq!(signed_in.fill(super::SECURITY, &change).await.status, 303, "who is signed in can change it");
    let page = known.get(SIGN_IN).await;
    assert_eq!(known.user().await, None, "that ended the other session");
    for _ in 0..10 {
        let fields = [("email", ADA), ("password", PASSWORD)];
        assert_eq!(known.submit(&page, SIGN_IN, &fields).await.status, 422);
    }
    let fields = [("email", ADA), ("password", "quite another one")];
    assert_eq!(known.submit(&page, SIGN_IN, &fields).await.status, 429, "a known browser has no more guesses");
    assert_eq!(guess(&known, "bob@example.com", "x").await.status, 422, "and is none for another address");
}

#[tokio::test]
async fn right_passwords_are_not_counted() {
    let gateway = with_ada().await;
    for _ in 0..12 {
        assert_eq!(guess(&gateway.browser(), ADA, PASSWORD).await.status, 303);
    }
}

#[tokio::test]
async fn guesses_at_once_are_no_more_than_guesses_one_after_the_other() {
    let gateway = with_ada().await;
    let before = gateway.gateway.passwords.hashed();
    let guesses = (0..25).map(|_| async { guess(&gateway.browser(), ADA, "not that one").await.status });
    let statuses = futures_util::future::join_all(guesses).await;
    assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 10, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 15);
    assert_eq!(gateway.gateway.passwords.hashed() - before, 10);
}

#[tokio::test]
async fn one_client_has_fifty_guesses_at_whatever_addresses() {
    let gateway = TestGateway::start().await;
    let browser = gateway.browser();
    let page = browser.get(SIGN_IN).await;
    for n in 0..50 {
        let email = format!("user{n}@example.com");
        assert_eq!(browser.submit(&page, SIGN_IN, &[("email", &email), ("password", "x")]).await.status, 422);
    }
    assert_eq!(browser.submit(&page, SIGN_IN, &[("email", ADA), ("password", "x")]).await.status, 429);
}

#[tokio::test]
async fn the_current_password_can_t_be_guessed_at_either() {
    let gateway = with_ada().await;
    let browser = gateway.browser();
    assert_eq!(guess(&browser, ADA, PASSWORD).await.status, 303);
    let page = browser.get(super::SECURITY).await;
    let mut change = Vec::new();
    for _ in 0..11 {
        let fields = [("current", "not that one"), ("password", "quite another one")];
        change.push(browser.submit(&page, super::SECURITY, &fields).await.status);
    }
    assert_eq!((change[9], change[10]), (422, 429));
}

#[tokio::test]
async fn a_password_that_everybody_guesses_is_refused_with_what_to_do() {
    let gateway = TestGateway::start().await;
    let link = links::invitation(&gateway, ADA).await;
    let before = gateway.gateway.passwords.hashed();
    let (long, browser) = ("x".repeat(257), gateway.browser());
    for (password, words) in [
        ("", "Use at least 10 characters."),
        ("ninechars", "Use at least 10 characters."),
        (long.as_str(), "at most 256 characters"),
        ("password123", "That password is too easy to guess"),
        (ADA, "That password is too easy to guess"),
    ] {
        let page = browser.fill(&link, &[("password", password)]).await;
        assert_eq!(page.status, 422, "{password}");
        assert!(page.text.contains(words) && page.text.contains("role=\"alert\""), "{password}: {}", page.text);
        assert!(password.is_empty() || password == ADA || !page.text.contains(password), "a password is shown");
    }
    assert_eq!(gateway.gateway.passwords.hashed(), before);
}

#[tokio::test]
async fn nobody_signs_up_where_the_operator_does_not_let_everybody_in() {
    let gateway = TestGateway::start().await;
    let browser = gateway.browser();
    let page = browser.get(SIGN_IN).await;
    assert!(!page.text.contains("/sign-up"), "{}", page.text);
    assert_eq!(browser.get("/dashboard/sign-up").await.status, 404);
    let answer = browser.submit(&page, "/dashboard/sign-up", &[("email", ADA), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 404);
    assert_eq!(gateway.store().user(&Email::parse(ADA).unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn who_signs_up_owns_a_new_account_without_funds() {
    let gateway = TestGateway::start_with(|options| options.sign_up = true).await;
    let browser = gateway.browser();
    assert!(browser.get(SIGN_IN).await.text.contains("/dashboard/sign-up"));
    let answer = browser.fill("/dashboard/sign-up", &[("email", "Ada@Example.com"), ("password", PASSWORD)]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dashboard"), "{}", answer.text);
    let overview = browser.get("/dashboard").await;
    assert!(overview.text.contains("<dd>0.00 USD</dd>"), "{}", overview.text);
    let user = gateway.store().user(&Email::parse(ADA).unwrap()).await.unwrap().unwrap();
    assert_eq!((user.role, user.verified), (Role::Owner, false));
    assert_ne!(user.account, gateway.account);
    let again =
        gateway.browser().fill("/dashboard/sign-up", &[("email", ADA), ("password", "quite another one")]).await;
    assert!(again.status == 422 && again.text.contains("Sign in instead"), "{}", again.text);
    assert_eq!(guess(&gateway.browser(), ADA, PASSWORD).await.status, 303, "the first one's password stays");
    assert_eq!(gateway.store().account_list().await.unwrap().len(), 2, "no account is left without an owner");
}

#[tokio::test]
async fn one_client_makes_ten_accounts_an_hour_at_the_most() {
    let gateway = TestGateway::start_with(|options| options.sign_up = true).await;
    let browser = gateway.browser();
    let page = browser.get("/dashboard/sign-up").await;
    let mut statuses = Vec::new();
    for n in 0..11 {
        let fields =
            [("email", &*format!("user{n}@example.com")), ("password", PASSWORD), ("csrf", &super::token(&page))];
        statuses.push(Answer::of(browser.form("/dashboard/sign-up", &fields)).await.status);
    }
    assert_eq!((statuses[9], statuses[10]), (303, 429), "{statuses:?}");
}
