//! What every route with a key refuses, and how: the same everywhere, so it is checked by the same code everywhere.

use gateway_core::{limits::RateLimit, token::KeyType};
use gateway_store::KeyChange;
use http::Method;

use crate::{Answer, Client, TestGateway};

/// The 401 of the product's page, byte for byte.
pub const UNAUTHORIZED: &str = r#"{"error":{"message":"Missing or invalid Authorization header","type":"authentication_error","code":"invalid_api_key"}}"#;

/// A route's request, as far as a refusal needs it: `POST /v1/chat/completions`.
async fn call(client: &Client, route: &str) -> Answer {
    let (method, path) = route.split_once(' ').unwrap();
    let path = path.replace("{id+}", "lab/chat").replace("{id}", "1");
    client.send(Method::from_bytes(method.as_bytes()).unwrap(), &path, "{}").await
}

/// What type of key the route takes.
fn key_type(route: &str) -> KeyType {
    if route.contains(" /v1/") { KeyType::Proxy } else { KeyType::Billing }
}

/// No key, or one that is malformed, unknown, expired or deleted: the page's 401, byte for byte.
pub async fn unauthorized(routes: &[&str]) {
    let gateway = TestGateway::start().await;
    for route in routes {
        let key_type = key_type(route);
        let (_, expired) = gateway.key(key_type, |new| new.expires_at = Some(gateway.clock().now().plus_ms(1))).await;
        gateway.clock().advance_ms(1);
        let (deleted_id, deleted) = gateway.key(key_type, |_| ()).await;
        assert!(gateway.store().key_delete(&gateway.account, deleted_id).await.unwrap());
        let prefix = key_type.prefix();
        let mut bad = vec![
            ("no header", gateway.anonymous.clone()),
            ("not a token", gateway.anonymous.with_token(Some("nonsense"))),
            ("an empty token", gateway.anonymous.with_token(Some(prefix))),
            ("a wrong checksum", gateway.anonymous.with_token(Some(&format!("{prefix}{}", "a".repeat(38))))),
            ("expired", expired),
            ("deleted", deleted),
        ];
        let unknown = gateway_core::token::Token::from_random(key_type, [42; 32]);
        bad.push(("unknown", gateway.anonymous.with_token(Some(unknown.reveal()))));
        for (why, client) in bad {
            let answer = call(&client, route).await;
            assert_eq!((answer.status, answer.text.as_str()), (401, UNAUTHORIZED), "{route}: {why}");
            assert_eq!(answer.header("content-type"), "application/json", "{route}: {why}");
            assert!(!answer.header("x-request-id").is_empty(), "{route}: {why}");
        }
    }
}

/// A deactivated key, and a key of the wrong type: 403, each with its own code.
pub async fn forbidden(routes: &[&str]) {
    let gateway = TestGateway::start().await;
    for route in routes {
        let (id, off) = gateway.key(key_type(route), |_| ()).await;
        let change = KeyChange { active: Some(false), ..KeyChange::default() };
        gateway.store().key_update(&gateway.account, id, &change, gateway.clock().now()).await.unwrap();
        let answer = call(&off, route).await;
        assert_eq!(answer.error(), (403, "key_deactivated".to_owned()), "{route}");
        assert_eq!(answer.json()["error"]["type"], "permission_error");
        let wrong = if key_type(route) == KeyType::Proxy { &gateway.billing } else { &gateway.proxy };
        let answer = call(wrong, route).await;
        assert_eq!(answer.error(), (403, "wrong_key_type".to_owned()), "{route}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("wrong type"), "{route}");
    }
}

/// The request after the last of a window: 429 with Retry-After, and another try in the next window.
pub async fn rate_limited(route: &str, body: &str) {
    rate_limited_at(&TestGateway::start().await, route, body).await;
}

/// The same at this gateway.
pub async fn rate_limited_at(gateway: &TestGateway, route: &str, body: &str) {
    let limit: RateLimit = serde_json::from_str(r#"{"requests":1,"interval":"1m"}"#).unwrap();
    let (_, client) = gateway.key(key_type(route), |new| new.rate_limit = limit).await;
    let (method, path) = route.split_once(' ').unwrap();
    let send = || client.send(Method::from_bytes(method.as_bytes()).unwrap(), path, body);
    let first = send().await;
    assert!(first.status < 300, "{}", first.text);
    assert_eq!(first.header("x-ratelimit-limit-requests"), "1");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "0");
    assert_eq!(first.header("x-ratelimit-reset-requests"), "60s");
    let second = send().await;
    assert_eq!(second.error(), (429, "rate_limit_exceeded".to_owned()));
    assert_eq!(second.json()["error"]["type"], "rate_limit_error");
    assert_eq!(second.header("retry-after"), "60");
    assert_eq!(second.header("x-ratelimit-remaining-requests"), "0");
    gateway.clock().advance_ms(60_000);
    assert!(send().await.status < 300);
}
