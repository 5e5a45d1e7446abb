//! `/dashboard`: what holds on every page. Each of its routes is asked, by the table that the function itself goes by.

mod billing;
mod keys;
mod links;
mod models;
mod openid;
mod overview;
mod passwords;
mod place;
mod problems;
mod quick_start;
mod sessions;
mod usage;

use dashboard::routes::{Access, ROUTES, Route};
use gateway_core::{ledger::EntryKind, money::Nanos, people::LinkKind};
use http::Method;
use support::{Answer, Browser, TestGateway};

/// The template's routes: what is behind them is the function's own table.
const IN_TEMPLATE: [&str; 3] = ["GET /dashboard", "GET /dashboard/{proxy+}", "POST /dashboard/{proxy+}"];
const SECURITY: &str = "/dashboard/security";
const SIGN_IN: &str = "/dashboard/sign-in";

/// What owners alone may do, in full: a route that is no longer among them has to be taken out here too.
const FOR_OWNERS: [&str; 12] = [
    "POST /billing",
    "POST /billing/top-up",
    "GET /billing-keys/new",
    "POST /billing-keys/new",
    "GET /billing-keys/{id}",
    "POST /billing-keys/{id}",
    "POST /billing-keys/{id}/deactivate",
    "POST /billing-keys/{id}/activate",
    "GET /billing-keys/{id}/rotate",
    "POST /billing-keys/{id}/rotate",
    "GET /billing-keys/{id}/delete",
    "POST /billing-keys/{id}/delete",
];

/// The path of a route, with something for its braces.
fn path(route: &Route) -> String {
    let path = route.path.replace("{secret}", &"0".repeat(64)).replace("{name}", "dashboard.0000000000000000.css");
    let path = path.replace("{entry}", &"0".repeat(26));
    // The first account's first keys.
    let path = path.replace("/billing-keys/{id}", "/billing-keys/2").replace("{id}", "1");
    format!("/dashboard{}", path.strip_suffix('/').unwrap_or(&path))
}

fn routes(method: Method) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| route.method == method)
}

/// The page that a form stands on.
fn page_of(path: &str) -> &str {
    let own = ["/deactivate", "/activate", "/top-up", "/sign-out/everywhere", "/sign-out"];
    own.into_iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path)
}

/// A browser that may be on the route's page, and a page there with the token of its forms.
async fn guest(gateway: &TestGateway, route: &Route) -> (Browser, Answer) {
    let (browser, page) = match route.access {
        Access::User | Access::Owner => (gateway.signed_in().await, SECURITY),
        Access::Anyone | Access::Asset => (gateway.browser(), SIGN_IN),
    };
    let page = browser.get(page).await;
    assert_eq!(page.status, 200, "{}", page.text);
    (browser, page)
}

fn token(page: &Answer) -> String {
    let after = page.text.split_once("name=\"csrf\" value=\"").unwrap().1;
    after.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn too_large_is_what_no_browser_sends() {
    let gateway = TestGateway::start().await;
    for route in IN_TEMPLATE {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{proxy+}", "sign-in");
        let request = gateway.browser().request(method.parse().unwrap(), &path).header("x-long", "x".repeat(11_000));
        assert_eq!(Answer::of(request).await.error(), (413, "request_too_large".to_owned()), "{route}");
    }
}

#[tokio::test]
async fn not_found_is_a_page_for_people() {
    let gateway = TestGateway::start().await;
    for browser in [gateway.browser(), gateway.signed_in().await] {
        for path in ["/dashboard/nowhere", "/dashboard/sign-in/", "/dashboard/%3Cscript%3E", "/dashboard/reset/a/b"] {
            let answer = browser.get(path).await;
            assert_eq!((answer.status, answer.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
            assert!(answer.text.contains("<h1>Page not found</h1>"), "{path}: {}", answer.text);
            let on = if browser.cookie("ms_session").is_some() { ">Back to the overview</a>" } else { ">Sign in</a>" };
            assert!(answer.text.contains(on), "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn method_not_allowed_names_the_one_that_is() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let answer = browser.get("/dashboard/sign-out").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    assert_eq!(browser.user().await.as_deref(), Some("owner@localhost"), "a link signs nobody out");
    let deleted = Answer::of(browser.request(Method::DELETE, SECURITY)).await;
    assert_eq!((deleted.status, deleted.header("allow")), (405, "GET, POST"));
}

#[tokio::test]
async fn a_stranger_gets_none_of_a_user_s_pages_and_is_brought_back_after_signing_in() {
    let gateway = TestGateway::start().await;
    let mut seen = 0;
    for route in ROUTES.iter().filter(|route| ![Access::Anyone, Access::Asset].contains(&route.access)) {
        let (browser, path) = (gateway.browser(), path(route));
        let page = browser.get(SIGN_IN).await;
        if route.method == Method::POST {
            let answer = browser.submit(&page, &path, &[]).await;
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.text.contains("You are signed out"), "{path}");
            let page = page_of(&path).trim_start_matches("/dashboard").replace('/', "%2F");
            let next = if page.is_empty() { page } else { format!("?next={page}") };
            assert!(answer.text.contains(&format!("href=\"{SIGN_IN}{next}\">Sign in</a>")), "{}", answer.text);
            let by_script = browser.send(browser.form(&path, &[]).header("hx-request", "true")).await;
            assert_eq!(by_script.header("hx-redirect"), format!("{SIGN_IN}{next}"), "{path}");
        } else {
            let answer = browser.get(&format!("{path}?day=2026-11-23")).await;
            let next = format!("{}%3Fday%3D2026-11-23", path.replacen("/dashboard", "", 1).replace('/', "%2F"));
            let next = if next.starts_with("%2F") { next } else { format!("%2F{next}") };
            assert_eq!((answer.status, answer.text.as_str()), (303, ""), "{path}");
            assert_eq!(answer.header("location"), format!("{SIGN_IN}?next={next}"));
            let by_script = browser.send(browser.request(Method::GET, &path).header("hx-request", "true")).await;
            let next = next.trim_end_matches("%3Fday%3D2026-11-23");
            let sign_in = if next == "%2F" { SIGN_IN.to_owned() } else { format!("{SIGN_IN}?next={next}") };
            assert_eq!((by_script.status, by_script.header("hx-redirect")), (401, sign_in.as_str()), "{path}");
        }
        seen += 1;
    }
    assert!(seen >= 5, "the table has users' pages");
}

#[tokio::test]
async fn no_form_is_taken_but_from_its_own_page_in_its_own_browser() {
    let gateway = TestGateway::start().await;
    for route in routes(Method::POST) {
        let path = path(route);
        let (browser, page) = guest(&gateway, route).await;
        let (_, elsewhere) = guest(&gateway, route).await;
        let (own, foreign) = (token(&page), token(&elsewhere));
        let user = browser.user().await;
        let with = |token: &str| browser.form(&path, &[("csrf", token), ("password", "a long enough one")]);
        let refused = [
            ("no token", browser.form(&path, &[("password", "a long enough one")])),
            ("no token that could be one", with("nonsense")),
            ("a wrong token", with(&"0".repeat(128))),
            ("another browser's token", with(&foreign)),
            ("a token cut short", with(&own[..127])),
            ("another browser's token in the header", with(&own).header("x-csrf-token", &foreign)),
        ];
        let from = |origin: &str, site: &'static str| (site, browser.form_from(&path, &[("csrf", &own)], origin, site));
        let url = &gateway.gateway.url;
        let foreign_pages = [
            from("https://evil.example", "same-origin"),
            from("null", "same-origin"),
            from(url, "cross-site"),
            from(url, "same-site"),
        ];
        for (why, request) in refused.into_iter().chain(foreign_pages) {
            let answer = browser.send(request).await;
            assert_eq!(answer.status, 403, "{path}: {why}: {}", answer.text);
            assert!(answer.text.contains("That form can&#39;t be accepted"), "{path}: {why}");
            let again = format!("href=\"{}\">Open the page again</a>", page_of(&path));
            assert!(answer.text.contains(&again) || page_of(&path) == "/dashboard", "{path}: {}", answer.text);
            assert_eq!(browser.user().await, user, "{path}: {why}");
        }
        // Nothing was wrong but the token: with the page's own it gets further, in the field or, from htmx, in the header.
        let by_script = browser.form(&path, &[]).header("x-csrf-token", token(&page));
        assert_ne!(Answer::of(by_script).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn a_token_is_written_in_another_way_each_time() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let (one, two) = (token(&browser.get(SECURITY).await), token(&browser.get(SECURITY).await));
    assert!(one != two && one.len() == 128, "compression tells nothing of it");
    let answer = browser.send(browser.form("/dashboard/sign-out", &[("csrf", &one)])).await;
    assert_eq!(answer.status, 303, "the older one is as good");
}

/// What every answer carries.
fn check_headers(answer: &Answer, what: &str) {
    let policy = answer.header("content-security-policy");
    for part in
        ["default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        assert!(policy.split("; ").any(|known| known == part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{what}: {name}");
    }
    assert!(!answer.header("x-request-id").is_empty(), "{what}");
    assert!(answer.headers.get("strict-transport-security").is_none(), "{what}: this machine has no https");
}

#[tokio::test]
async fn what_is_another_account_s_is_not_there_on_any_route_that_takes_an_id() {
    let gateway = TestGateway::start().await;
    let (other, keys) = keys::stranger(&gateway).await;
    let entry = billing::entry_of(&gateway, &other, EntryKind::Payment, Nanos::usd(1), "a payment").await;
    let browser = gateway.signed_in().await;
    let (page, before) = (browser.get(SECURITY).await, gateway.standing().await);
    // Whoever comes without a session is let in by the secret that these have instead of an id.
    let users = ROUTES.iter().filter(|route| [Access::User, Access::Owner].contains(&route.access));
    for route in users.filter(|route| route.path.contains('{')) {
        // Of the stranger's four keys the first two have the same numbers as ours.
        let id = if route.path.starts_with("/billing-keys/") { "4" } else { "3" };
        let path = format!("/dashboard{}", route.path.replace("{id}", id).replace("{entry}", entry.as_str()));
        assert!(!path.contains('{'), "{path}: what is another account's there?");
        let answer = match route.method == Method::POST {
            true => browser.submit(&page, &path, &[("name", "stolen"), ("grace", "0")]).await,
            false => browser.get(&path).await,
        };
        assert_eq!(answer.status, 404, "{} {path}: {}", route.method, answer.text);
    }
    assert_eq!(gateway.standing().await, before);
    assert_eq!(gateway.store().account_standing(&other).await.unwrap().unwrap().keys, keys);
}

#[tokio::test]
async fn what_concerns_money_is_for_owners() {
    let gateway = TestGateway::start().await;
    let invitation = gateway.link(LinkKind::Invitation, "member@example.com").await;
    let member = gateway.browser();
    let password = [("password", "correct horse battery")];
    assert_eq!(member.fill(&invitation, &password).await.status, 303);
    let named = |name: &str| ROUTES.iter().find(|route| format!("{} {}", route.method, route.path) == name);
    let owners = ROUTES.iter().filter(|route| route.access == Access::Owner);
    let named: Vec<_> =
        FOR_OWNERS.iter().map(|name| named(name).unwrap_or_else(|| panic!("{name} is no route"))).collect();
    assert_eq!(named.len(), owners.count(), "one is for owners that is not in the list, or the other way round");
    for route in named {
        let page = member.get(SECURITY).await;
        let answer = match route.method == Method::POST {
            true => member.submit(&page, &path(route), &[]).await,
            false => member.get(&path(route)).await,
        };
        assert_eq!(answer.status, 403, "{} {}", route.method, route.path);
        assert!(answer.text.contains("Only an owner can do that"));
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_no_page_is_kept_or_has_anything_inline() {
    let gateway = TestGateway::start().await;
    for route in ROUTES {
        for browser in [gateway.browser(), gateway.signed_in().await] {
            let page = browser.get(SIGN_IN).await;
            let answer = match route.method == Method::POST {
                true => browser.submit(&page, &path(route), &[("email", "<b>")]).await,
                false => browser.get(&path(route)).await,
            };
            let what = format!("{} {}: {}", route.method, route.path, answer.status);
            check_headers(&answer, &what);
            assert_eq!(answer.header("cache-control"), "no-store", "{what}");
            if route.access != Access::Asset {
                let text = answer.text.to_lowercase();
                for word in ["<style", " style=", "<script>", " onclick=", " onload=", "javascript:"] {
                    assert!(!text.contains(word), "{what}: {word}");
                }
                assert!(
                    !text.contains("http://") || text.contains("http://www.w3.org/2000/svg"),
                    "{what}: another origin"
                );
            }
        }
    }
    for path in ["/dashboard/nowhere", "/dashboard/sign-out"] {
        check_headers(&gateway.browser().get(path).await, path);
    }
    let forged = gateway.browser().send(gateway.browser().form(SIGN_IN, &[])).await;
    check_headers(&forged, "a forged form");
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_their_contents_name_and_no_longer_under_another() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    let page = browser.get("/dashboard").await;
    let names: Vec<_> = page.text.split('"').filter(|part| part.starts_with("/dashboard/assets/")).collect();
    let [css, htmx, script] = names.as_slice() else { panic!("{names:?}") };
    let in_script = "text/javascript; charset=utf-8";
    for (name, content_type) in [(css, "text/css; charset=utf-8"), (htmx, in_script), (script, in_script)] {
        let asset = gateway.browser().get(name).await;
        assert_eq!((asset.status, asset.header("content-type")), (200, content_type));
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
        assert!(asset.headers.get("set-cookie").is_none(), "what is kept for everybody is nobody's");
        check_headers(&asset, name);
        // A page of the version before asks for another name: it gets what there is, and asks again next time.
        let (stem, _) = name.split_once('.').unwrap();
        let other = format!("{stem}.0123456789abcdef.{}", name.rsplit('.').next().unwrap());
        let asset = browser.get(&other).await;
        assert_eq!((asset.status, asset.header("cache-control")), (200, "no-store"), "{other}");
    }
    assert_eq!(browser.get("/dashboard/assets/secrets.txt").await.status, 404);
}

#[tokio::test]
async fn a_page_with_all_that_it_needs_is_under_60_kb_on_the_wire_and_small_where_compressed() {
    let gateway = TestGateway::start().await;
    let browser = gateway.signed_in().await;
    for path in [
        "/dashboard",
        "/dashboard/keys",
        "/dashboard/keys/1",
        "/dashboard/keys/new",
        "/dashboard/billing-keys",
        "/dashboard/billing",
        "/dashboard/usage",
        "/dashboard/models",
        "/dashboard/quick-start",
        SECURITY,
    ] {
        let page = browser.get(path).await;
        let assets = page.text.split('"').filter(|part| part.starts_with("/dashboard/assets/")).map(str::to_owned);
        let (mut plain, mut packed) = (0, 0);
        for part in assets.chain([path.to_owned()]) {
            let whole = browser.get(&part).await;
            let request = browser.request(Method::GET, &part).header("accept-encoding", "gzip");
            let compressed = request.send().await.unwrap();
            assert_eq!(compressed.headers()["content-encoding"], "gzip", "{part}");
            plain += whole.text.len();
            packed += compressed.bytes().await.unwrap().len();
        }
        println!("{path}: {plain} bytes, {packed} compressed");
        assert!(plain < 60_000 && packed < 25_000, "{path}: {plain} bytes, {packed} compressed");
    }
}

#[tokio::test]
async fn what_is_small_or_streams_is_not_compressed_nor_what_is_sent_to_who_does_not_take_it() {
    let gateway = TestGateway::start().await;
    let coding = async |client: &support::Client, path: &str, accepts: &str| {
        let answer = client.request(Method::GET, path).header("accept-encoding", accepts).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.headers().get("content-encoding").map(|coding| coding.to_str().unwrap().to_owned())
    };
    assert_eq!(coding(&gateway.billing, "/api/balance", "gzip").await, None, "small");
    assert_eq!(coding(&gateway.billing, "/api/usage/export", "gzip").await, None, "streams");
    assert_eq!(coding(&gateway.anonymous, SIGN_IN, "identity").await, None);
    assert_eq!(coding(&gateway.anonymous, SIGN_IN, "deflate, gzip").await.as_deref(), Some("gzip"));
}
