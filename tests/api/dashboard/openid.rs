//! Signing in at an OpenID provider: who is let in, and what of the provider is not believed.

use gateway_core::people::Email;
use gateway_upstream::OpenIdSettings;
use modelswitch::Options;
use serde_json::{Value, json};
use support::{
    Answer, Browser, START, TestGateway,
    openid::{CLIENT_ID, OpenIdProvider, Signature},
};

use super::{SIGN_IN, links};

const ADA: &str = "ada@example.com";
const PASSWORD: &str = "a few words in a row";
const BEGIN: &str = "/dashboard/openid";

/// A gateway and its provider, which knows ada@example.com.
struct Scene {
    gateway: TestGateway,
    provider: OpenIdProvider,
}

impl Scene {
    async fn start(change: impl FnOnce(&mut Options)) -> Self {
        let provider = OpenIdProvider::start(START).await;
        let settings = OpenIdSettings { issuer: provider.issuer.clone(), client_id: CLIENT_ID.to_owned() };
        let secret = provider.secret.clone();
        let gateway = TestGateway::start_with(|options| {
            options.openid = Some((settings, Some(secret)));
            change(options);
        });
        Self { gateway: gateway.await, provider }
    }

    /// A scene where ada@example.com is a user who was invited and has no password.
    async fn with_ada() -> Self {
        let scene = Self::start(|_| ()).await;
        let link = links::invitation(&scene.gateway, ADA).await;
        let answer = scene.gateway.browser().fill(&link, &[("with", "openid")]).await;
        assert_eq!(answer.header("location"), "/dashboard/sign-in?notice=invited", "{}", answer.text);
        scene
    }

    /// The browser goes to the provider, signs in there and comes back.
    async fn sign_in(&self, browser: &Browser) -> Answer {
        let back = self.go(browser).await;
        browser.get(&back).await
    }

    /// The same up to the address that the provider sends the browser back to.
    async fn go(&self, browser: &Browser) -> String {
        let answer = browser.get(BEGIN).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        self.provider.sign_in(answer.header("location"))
    }

    async fn refuses(&self, why: &str, change: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.provider.claims(change);
        self.refuses_now(why).await;
    }

    async fn refuses_now(&self, why: &str) {
        let browser = self.gateway.browser();
        let answer = self.sign_in(&browser).await;
        assert_eq!(answer.status, 403, "{why}: {}", answer.text);
        assert!(answer.text.contains("You are not signed in"), "{why}");
        assert_eq!((browser.user().await, browser.cookie("ms_openid")), (None, None), "{why}");
    }
}

#[tokio::test]
async fn who_was_invited_signs_in_at_the_provider_and_goes_on_to_the_page() {
    let scene = Scene::with_ada().await;
    let browser = scene.gateway.browser();
    let page = browser.get(&format!("{SIGN_IN}?next=%2Fsecurity")).await;
    assert!(page.text.contains("href=\"/dashboard/openid?next=%2Fsecurity\""), "{}", page.text);
    let answer = browser.get("/dashboard/openid?next=%2Fsecurity").await;
    let kept = browser.cookie("ms_openid").unwrap();
    let url = answer.header("location").to_owned();
    assert!(!url.contains(&kept[..64]), "the browser's secret stays in the browser");
    let answer = browser.get(&scene.provider.sign_in(&url)).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dashboard/security"), "{}", answer.text);
    assert_eq!(browser.user().await.as_deref(), Some(ADA));
    assert_eq!(browser.cookie("ms_openid"), None);
    assert!(!browser.get("/dashboard").await.text.contains("no password yet"), "the provider is a way in");
    let user = scene.gateway.store().user(&Email::parse(ADA).unwrap()).await.unwrap().unwrap();
    assert_eq!(user.subject, Some(format!("{} subject 1", scene.provider.issuer)));
    let found = scene.provider.seen().iter().filter(|seen| seen.path.ends_with("openid-configuration")).count();
    scene.sign_in(&scene.gateway.browser()).await;
    let later = scene.provider.seen().iter().filter(|seen| seen.path.ends_with("openid-configuration")).count();
    assert_eq!((found, later), (1, 1), "what is known of the provider is kept");
}

#[tokio::test]
async fn no_id_token_is_believed_that_is_not_the_provider_s_own_for_us_for_this_flow_and_of_now() {
    let scene = Scene::with_ada().await;
    scene.refuses("another flow's nonce", |claims| claims["nonce"] = json!("another")).await;
    scene.refuses("no nonce", |claims| drop(claims.as_object_mut().unwrap().remove("nonce"))).await;
    scene.refuses("another client's", |claims| claims["aud"] = json!("another")).await;
    scene.refuses("for another party", |claims| claims["azp"] = json!("another")).await;
    scene.refuses("another issuer's", |claims| claims["iss"] = json!("https://evil.example")).await;
    scene.refuses("expired", |claims| claims["exp"] = json!(START.seconds() - 61)).await;
    scene.refuses("made long ago", |claims| claims["iat"] = json!(START.seconds() - 700)).await;
    scene.refuses("made in the future", |claims| claims["iat"] = json!(START.seconds() + 100)).await;
    scene.refuses("of nobody", |claims| claims["sub"] = json!("")).await;
    scene.refuses("an address that is not verified", |claims| claims["email_verified"] = json!(false)).await;
    scene
        .refuses("an address of which nothing is said", |claims| {
            claims.as_object_mut().unwrap().remove("email_verified");
        })
        .await;
    scene.refuses("no address", |claims| drop(claims.as_object_mut().unwrap().remove("email"))).await;
    scene.refuses("no address that could be one", |claims| claims["email"] = json!("ada")).await;
    scene.provider.claims(|_| ());
    for (why, signature) in [
        ("signed by somebody else", Signature::Foreign),
        ("signed with what everybody knows", Signature::Shared),
        ("not signed", Signature::None),
    ] {
        scene.provider.signs(signature);
        scene.refuses_now(why).await;
    }
    scene.provider.signs(Signature::Right);
    scene.provider.claims(|claims| claims["email_verified"] = json!("true"));
    assert_eq!(scene.sign_in(&scene.gateway.browser()).await.status, 303, "nothing else was wrong");
}

#[tokio::test]
async fn an_address_that_the_id_token_leaves_out_is_asked_for_and_believed_of_the_same_person_alone() {
    let told = |sub: &str, verified: bool| json!({"sub": sub, "email": ADA, "email_verified": verified});
    for (userinfo, status) in
        [(told("subject 1", true), 303), (told("subject 2", true), 403), (told("subject 1", false), 403)]
    {
        let scene = Scene::with_ada().await;
        scene.provider.tells(userinfo);
        scene.provider.claims(|claims| {
            claims.as_object_mut().unwrap().remove("email");
            claims.as_object_mut().unwrap().remove("email_verified");
        });
        assert_eq!(scene.sign_in(&scene.gateway.browser()).await.status, status);
    }
}

#[tokio::test]
async fn an_answer_is_taken_once_in_the_browser_that_asked_and_within_its_time() {
    let scene = Scene::with_ada().await;
    let (victim, attacker) = (scene.gateway.browser(), scene.gateway.browser());
    let attackers = scene.go(&attacker).await;
    assert_eq!(victim.get(&attackers).await.status, 403, "a browser that asked for nothing");
    scene.go(&victim).await;
    assert_eq!(victim.get(&attackers).await.status, 403, "a browser that asked for something else");
    let own = scene.go(&victim).await;
    assert_eq!(victim.get(&own).await.status, 303);
    assert_eq!(victim.get(&own).await.status, 403, "the flow is over");
    let replayed = scene.go(&attacker).await;
    let kept = attacker.cookie("ms_openid").unwrap();
    assert_eq!(attacker.get(&replayed).await.status, 303);
    attacker.bring("ms_openid", &kept);
    assert_eq!(attacker.get(&replayed).await.status, 403, "the provider takes a code once");
    let refused = scene.go(&victim).await.replace("code=", "error=access_denied&x=");
    assert_eq!(victim.get(&refused).await.status, 403);
}

#[tokio::test]
async fn whom_nobody_knows_here_is_let_in_only_where_everybody_is() {
    let scene = Scene::start(|_| ()).await;
    scene.refuses_now("no user").await;
    let scene = Scene::start(|options| options.sign_up = true).await;
    let browser = scene.gateway.browser();
    assert_eq!(scene.sign_in(&browser).await.status, 303);
    assert_eq!(browser.user().await.as_deref(), Some(ADA));
    assert!(browser.get("/dashboard").await.text.contains("<dd>0.00 USD</dd>"));
    let user = scene.gateway.store().user(&Email::parse(ADA).unwrap()).await.unwrap().unwrap();
    assert!(user.verified && user.account != scene.gateway.account);
}

#[tokio::test]
async fn an_address_that_somebody_signed_up_with_is_not_joined_to_its_owner_at_the_provider() {
    let scene = Scene::start(|options| options.sign_up = true).await;
    let squatter = scene.gateway.browser();
    let answer = squatter.fill("/dashboard/sign-up", &[("email", ADA), ("password", PASSWORD)]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    scene.refuses_now("nobody vouched for the address").await;
    // The operator does, by a link that the squatter does not have; and every session of the squatter's is over.
    let owner = scene.gateway.browser();
    let link = links::reset(&scene.gateway, ADA).await;
    assert_eq!(owner.fill(&link, &[("password", "quite another one")]).await.status, 303);
    assert_eq!(squatter.user().await, None);
    assert_eq!(scene.sign_in(&scene.gateway.browser()).await.status, 303);
}

#[tokio::test]
async fn an_address_that_the_provider_gave_to_somebody_else_is_not_the_user_s() {
    let scene = Scene::with_ada().await;
    assert_eq!(scene.sign_in(&scene.gateway.browser()).await.status, 303);
    scene.refuses("another subject with the same address", |claims| claims["sub"] = json!("subject 2")).await;
}

#[tokio::test]
async fn keys_that_the_provider_changed_are_fetched_again_but_not_all_the_time() {
    let scene = Scene::with_ada().await;
    assert_eq!(scene.sign_in(&scene.gateway.browser()).await.status, 303);
    scene.provider.rotate();
    scene.refuses_now("known for less than a minute").await;
    scene.gateway.clock().advance_ms(60_000);
    scene.provider.advance_ms(60_000);
    assert_eq!(scene.sign_in(&scene.gateway.browser()).await.status, 303);
    let fetched = scene.provider.seen().iter().filter(|seen| seen.path.ends_with("/keys")).count();
    assert_eq!(fetched, 2);
}

#[tokio::test]
async fn a_provider_that_does_not_know_us_or_is_none_is_a_page_and_no_error() {
    let provider = OpenIdProvider::start(START).await;
    let settings =
        |issuer: String| Some((OpenIdSettings { issuer, client_id: CLIENT_ID.to_owned() }, Some("wrong".into())));
    let known = settings(provider.issuer.clone());
    let gateway = TestGateway::start_with(|options| options.openid = known).await;
    let scene = Scene { gateway, provider };
    scene.refuses_now("a wrong secret").await;
    let other = settings(format!("{}/other", scene.provider.issuer));
    let gateway = TestGateway::start_with(|options| options.openid = other).await;
    let answer = gateway.browser().get(BEGIN).await;
    assert!(answer.status == 403 && answer.text.contains("Try again in a minute"), "{}", answer.text);
    let without = TestGateway::start().await;
    for path in [BEGIN, "/dashboard/openid/return?code=x&state=y"] {
        assert_eq!(without.browser().get(path).await.status, 404);
    }
}
