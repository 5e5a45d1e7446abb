//! `/dashboard`: what it asks its reader to do.

use gateway_core::{ids::KeyId, ledger::EntryKind, people::LinkKind, token::KeyType};
use support::TestGateway;

use super::SECURITY;

#[tokio::test]
async fn the_overview_says_what_is_missing() {
    let gateway = TestGateway::with_credit("0").await;
    let browser = gateway.signed_in().await;
    let page = browser.get("/dashboard").await.text;
    assert!(page.contains("Your balance is empty") && !page.contains("no active API key"), "{page}");
    gateway.credit("1", EntryKind::Payment).await;
    // A billing key is left, and two that open nothing.
    gateway.store().key_delete(&gateway.account, KeyId(1)).await.unwrap();
    let (expires, soon) = (gateway.clock().now().plus_ms(1000), gateway.clock().now().plus_ms(1001));
    gateway.key(KeyType::Proxy, |new| new.expires_at = Some(expires)).await;
    let (off, _) = gateway.key(KeyType::Proxy, |new| new.expires_at = Some(soon)).await;
    gateway.clock().advance_ms(1000);
    let page = browser.get("/dashboard").await.text;
    assert!(!page.contains("Your balance is empty") && !page.contains("no active API key"), "{page}");
    let switched = browser.get(&format!("/dashboard/keys/{off}")).await;
    browser.submit(&switched, &format!("/dashboard/keys/{off}/deactivate"), &[]).await;
    let page = browser.get("/dashboard").await.text;
    assert!(page.contains("no active API key"), "{page}");
}

#[tokio::test]
async fn who_could_not_sign_in_again_is_told_to_set_a_password_until_there_is_one() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let told = "You have no password yet. <a href=\"/dashboard/security\">Set one</a>";
    assert!(browser.get("/dashboard").await.text.contains(told));
    let set = browser.fill(SECURITY, &[("password", "a few words in a row")]).await;
    assert_eq!(set.status, 303, "{}", set.text);
    assert!(!browser.get("/dashboard").await.text.contains("no password yet"));
    let invitation = gateway.link(LinkKind::Invitation, "member@example.com").await;
    let member = gateway.browser();
    assert_eq!(member.fill(&invitation, &[("password", "a few words in a row")]).await.status, 303);
    assert!(!member.get("/dashboard").await.text.contains("no password yet"));
}
