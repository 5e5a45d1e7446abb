//! Where the dashboard is: on this machine, at a domain of its own, and at API Gateway's address with the stage in the path.
//! The function is called with the events of each.

use std::collections::HashMap;

use dashboard::{App, Passwords};
use gateway_core::{catalogue::Catalogue, people::LinkKind, settings::Settings};
use gateway_lambda::{Host, answer};
use gateway_store::{Configuration, PaymentSecrets, PaymentsSecret};
use gateway_upstream::{
    Credentials, OpenId, OpenIdSettings,
    stripe::{API, ATTEMPT_MS, Stripe},
};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use lambda_http::request::LambdaRequest;
use modelswitch::event::{self, Platform};
use support::{
    START, TestGateway,
    openid::{CLIENT_ID, OpenIdProvider},
};

const DOMAIN: &str = "gateway.example";
const AWS: &str = "abcdefghij.execute-api.us-east-1.amazonaws.com";

/// The answer to a request that came to this address.
async fn send(gateway: &TestGateway, address: &str, request: Request<&str>) -> (Response<()>, String) {
    send_where(gateway, None, address, request).await
}

/// The same where people may sign in at this provider.
async fn send_where(
    gateway: &TestGateway,
    openid: Option<OpenId>,
    address: &str,
    request: Request<&str>,
) -> (Response<()>, String) {
    let (parts, body) = request.into_parts();
    let page = parts.uri.path().strip_prefix("/dashboard/").unwrap_or_default().to_owned();
    let resource = if page.is_empty() { "/dashboard" } else { "/dashboard/{proxy+}" };
    let parameters = HashMap::from([("proxy".to_owned(), page)]);
    let platform = Platform { request_id: "a", at: gateway.clock().now(), address, resource };
    let event = event::proxy_event(&parts, body.as_bytes().to_vec(), parameters, None, platform);
    let event: lambda_http::Request = LambdaRequest::ApiGatewayV1(event).into();
    let app = App {
        store: gateway.store().clone(),
        configuration: Configuration::fixed(Catalogue::new(Settings::default()).unwrap()),
        stripe: Stripe::new(API, ATTEMPT_MS),
        payment_secrets: PaymentSecrets::fixed(PaymentsSecret::default()),
        passwords: Passwords::default(),
        emails: false,
        sign_up: false,
        openid,
    };
    let host = Host::new(gateway.clock().clone());
    let answer = answer(&host, "dashboard", event, |request| dashboard::handle(&app, request)).await;
    let (parts, body) = answer.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (Response::from_parts(parts, ()), text)
}

fn get(path: &str) -> Request<&'static str> {
    Request::get(path).body("").unwrap()
}

#[tokio::test]
async fn over_https_cookies_belong_to_the_host_alone_and_the_browser_comes_by_nothing_else() {
    let gateway = TestGateway::start().await;
    for address in [DOMAIN, AWS] {
        let (answer, page) = send(&gateway, address, get("/dashboard/sign-in")).await;
        let visitor = cookie(&answer, "__Host-ms_visitor");
        assert_eq!(visitor.1, "; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
        let link = gateway.link(LinkKind::SignIn, "owner@localhost").await;
        let body = format!("csrf={}", token(&page));
        let request = Request::post(link).header("cookie", visitor.0).header("origin", format!("https://{address}"));
        let (answer, page) = send(&gateway, address, request.body(body.as_str()).unwrap()).await;
        assert_eq!(answer.status(), 303, "{page}");
        let session = cookie(&answer, "__Host-ms_session").1;
        assert_eq!(session, "; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=2592000");
        assert_eq!(cookie(&answer, "__Host-ms_visitor").1, "; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0");
    }
}

#[tokio::test]
async fn over_https_the_cookie_of_a_flow_at_the_openid_provider_belongs_to_the_host_alone_too() {
    let (gateway, provider) = (TestGateway::start().await, OpenIdProvider::start(START).await);
    let settings = OpenIdSettings { issuer: provider.issuer.clone(), client_id: CLIENT_ID.to_owned() };
    let openid = OpenId::new(settings, Credentials::fixed(HashMap::new())).unwrap();
    for address in [DOMAIN, AWS] {
        let (answer, page) = send_where(&gateway, Some(openid.clone()), address, get("/dashboard/openid")).await;
        assert_eq!(answer.status(), 303, "{page}");
        let kept = cookie(&answer, "__Host-ms_openid").1;
        assert_eq!(kept, "; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=600");
    }
}

/// The one cookie of this name that the answer sets: `name=value`, and all that is said of it.
fn cookie(answer: &Response<()>, name: &str) -> (String, String) {
    let lines = answer.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let found: Vec<_> = lines.filter(|line| line.split('=').next() == Some(name)).collect();
    let [line] = found.as_slice() else { panic!("{name}: {found:?} of {:?}", answer.headers()) };
    let (pair, attributes) = line.split_at(line.find(';').unwrap());
    (pair.to_owned(), attributes.to_owned())
}

/// The token of a page's forms.
fn token(page: &str) -> &str {
    page.split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap()
}

#[tokio::test]
async fn links_forms_and_redirects_have_the_stage_where_the_address_has_it() {
    let gateway = TestGateway::start().await;
    for (address, root) in [(DOMAIN, "/dashboard"), (AWS, "/live/dashboard")] {
        let (answer, page) = send(&gateway, address, get("/dashboard/sign-in")).await;
        assert_eq!(answer.status(), 200);
        assert!(page.contains(&format!("action=\"{root}/sign-in\"")), "{page}");
        assert!(page.contains(&format!("href=\"{root}/assets/dashboard.")), "{page}");
        let (answer, _) = send(&gateway, address, get("/dashboard/security")).await;
        assert_eq!(answer.headers()["location"], format!("{root}/sign-in?next=%2Fsecurity"));
    }
}

#[tokio::test]
async fn the_quick_start_s_base_url_has_the_stage_where_the_address_has_it() {
    let gateway = TestGateway::start().await;
    let session = gateway.signed_in().await.cookie("ms_session").unwrap();
    for (address, base) in [(DOMAIN, format!("https://{DOMAIN}/v1")), (AWS, format!("https://{AWS}/live/v1"))] {
        let request = Request::get("/dashboard/quick-start").header("cookie", format!("__Host-ms_session={session}"));
        let (answer, page) = send(&gateway, address, request.body("").unwrap()).await;
        assert_eq!(answer.status(), 200, "{page}");
        assert!(page.contains(&format!("<code id=\"base\">{base}</code>")), "{page}");
    }
}

#[tokio::test]
async fn a_form_comes_from_the_address_that_it_goes_to() {
    let gateway = TestGateway::start().await;
    for address in [DOMAIN, AWS] {
        let (answer, page) = send(&gateway, address, get("/dashboard/sign-in")).await;
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let body = format!("csrf={}&email=nobody%40example.com&password=x", token(&page));
        for (origin, status) in [
            (format!("https://{address}"), 422),
            (format!("http://{address}"), 403),
            ("https://evil.example".to_owned(), 403),
            (format!("https://{address}.evil.example"), 403),
        ] {
            let request = Request::builder().method(Method::POST).uri("/dashboard/sign-in");
            let request = request.header("cookie", &cookie).header("origin", &origin).body(body.as_str()).unwrap();
            let (answer, _) = send(&gateway, address, request).await;
            assert_eq!(answer.status(), status, "{origin}");
        }
        // The name without `__Host-` is one that another host of the domain could have set.
        let plain = cookie.trim_start_matches("__Host-");
        let request = Request::builder().method(Method::POST).uri("/dashboard/sign-in").header("cookie", plain);
        let (answer, _) = send(&gateway, address, request.body(body.as_str()).unwrap()).await;
        assert_eq!(answer.status(), 403);
    }
}

#[tokio::test]
async fn a_host_that_a_client_makes_up_is_nowhere_in_the_answer() {
    let gateway = TestGateway::start().await;
    let request = gateway.browser().request(Method::GET, "/dashboard/sign-in");
    let request = request.header("host", "evil.example").header("x-forwarded-host", "evil.example");
    let answer = support::Answer::of(request).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text.contains("evil") && !format!("{:?}", answer.headers).contains("evil"));
}
