//! Links of the operator's: each works once, for a day, for what it was made for.

use gateway_core::people::{Email, LINK_MS, LinkKind, Role};
use support::TestGateway;

use super::SIGN_IN;

const ADA: &str = "ada@example.com";
const PASSWORD: &str = "a few words in a row";

/// The path of a fresh invitation to the first account.
pub(super) async fn invitation(gateway: &TestGateway, email: &str) -> String {
    gateway.link(LinkKind::Invitation, email).await
}

/// The path of a fresh reset link.
pub(super) async fn reset(gateway: &TestGateway, email: &str) -> String {
    gateway.link(LinkKind::Reset, email).await
}

#[tokio::test]
async fn an_invitation_makes_its_user_once() {
    let gateway = TestGateway::start().await;
    let path = invitation(&gateway, ADA).await;
    let browser = gateway.browser();
    for _ in 0..3 {
        let page = browser.get(&path).await;
        assert!(page.status == 200 && page.text.contains(ADA), "looking at it does not use it: {}", page.text);
    }
    let page = browser.get(&path).await;
    assert_eq!(browser.submit(&page, &path, &[("password", PASSWORD)]).await.status, 303);
    assert_eq!(browser.user().await.as_deref(), Some(ADA));
    let user = gateway.store().user(&Email::parse(ADA).unwrap()).await.unwrap().unwrap();
    assert_eq!((user.account, user.role, user.verified), (gateway.account.clone(), Role::Member, true));
    let replayed = gateway.browser();
    let gone = replayed.get(&path).await;
    assert!(gone.status == 404 && gone.text.contains("This link no longer works"), "{}", gone.text);
    let page = replayed.get(SIGN_IN).await;
    let hashed = gateway.gateway.passwords.hashed();
    assert_eq!(replayed.submit(&page, &path, &[("password", "quite another one")]).await.status, 404);
    assert_eq!(gateway.gateway.passwords.hashed(), hashed, "nothing is hashed for a link that is none");
    let answer = replayed.fill(SIGN_IN, &[("email", ADA), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303, "the first one's password stays");
}

#[tokio::test]
async fn of_many_uses_at_once_one_does() {
    let gateway = TestGateway::start().await;
    for path in [invitation(&gateway, ADA).await, reset(&gateway, ADA).await, gateway.link(LinkKind::SignIn, ADA).await]
    {
        let uses = (0..6).map(|_| async {
            let browser = gateway.browser();
            let page = browser.get(SIGN_IN).await;
            browser.submit(&page, &path, &[("password", PASSWORD)]).await.status
        });
        let statuses = futures_util::future::join_all(uses).await;
        assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1, "{path}: {statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 5, "{path}: {statuses:?}");
    }
}

#[tokio::test]
async fn a_link_is_worth_nothing_after_a_day() {
    let gateway = TestGateway::start().await;
    for kind in LinkKind::ALL {
        let path = gateway.link(kind, "owner@localhost").await;
        gateway.clock().advance_ms(LINK_MS - 1);
        let browser = gateway.browser();
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{kind:?}");
        gateway.clock().advance_ms(1);
        assert_eq!(browser.submit(&page, &path, &[("password", PASSWORD)]).await.status, 404, "{kind:?}");
        assert_eq!(browser.user().await, None, "{kind:?}");
    }
}

#[tokio::test]
async fn a_link_does_what_it_was_made_for_and_nothing_else() {
    let gateway = TestGateway::start().await;
    for kind in LinkKind::ALL {
        let path = gateway.link(kind, "owner@localhost").await;
        for other in LinkKind::ALL.into_iter().filter(|other| *other != kind) {
            let path = path.replace(kind.name(), other.name());
            let browser = gateway.browser();
            let page = browser.get(SIGN_IN).await;
            assert_eq!(browser.get(&path).await.status, 404, "{kind:?} as {other:?}");
            assert_eq!(
                browser.submit(&page, &path, &[("password", PASSWORD)]).await.status,
                404,
                "{kind:?} as {other:?}"
            );
        }
        assert_eq!(gateway.browser().get(&path).await.status, 200, "{kind:?}");
    }
}

#[tokio::test]
async fn a_reset_signs_out_every_browser_and_sets_the_password() {
    let gateway = TestGateway::start().await;
    let before = gateway.signed_in().await;
    let path = reset(&gateway, "owner@localhost").await;
    let browser = gateway.browser();
    assert_eq!(browser.fill(&path, &[("password", PASSWORD)]).await.status, 303);
    assert_eq!(browser.user().await.as_deref(), Some("owner@localhost"));
    assert_eq!(before.user().await, None);
    let answer = gateway.browser().fill(SIGN_IN, &[("email", "owner@localhost"), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303);
}

#[tokio::test]
async fn an_invitation_of_a_user_makes_no_second_one_and_a_removed_user_has_no_links() {
    let gateway = TestGateway::start().await;
    let path = invitation(&gateway, "owner@localhost").await;
    let page = gateway.browser().fill(&path, &[("password", PASSWORD)]).await;
    assert!(page.status == 422 && page.text.contains("Sign in instead"), "{}", page.text);
    let email = Email::parse(ADA).unwrap();
    let paths = [invitation(&gateway, ADA).await, reset(&gateway, ADA).await];
    assert!(gateway.store().user_remove(&email).await.unwrap(), "an invitation is taken back");
    for path in paths {
        assert_eq!(gateway.browser().get(&path).await.status, 404);
    }
    assert!(!gateway.store().user_remove(&email).await.unwrap());
}

#[tokio::test]
async fn the_printed_link_signs_in_once() {
    let gateway = TestGateway::start().await;
    let browser = gateway.browser();
    let link = &gateway.gateway.first_account.as_ref().unwrap().sign_in_link;
    let path = link.strip_prefix(&gateway.gateway.url).unwrap();
    assert_eq!(browser.fill(path, &[]).await.status, 303);
    assert_eq!(browser.user().await.as_deref(), Some("owner@localhost"));
    assert_eq!(gateway.browser().get(link).await.status, 404);
}
