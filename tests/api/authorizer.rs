//! The authorizer: over HTTP, with the ten seconds that its answers are kept for, and called as API Gateway calls it.

use authorizer::{App, Refusal, authorize};
use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerRequest;
use gateway_core::token::{KeyType, Token};
use gateway_lambda::Clock;
use gateway_store::{KeyChange, NewKey, Store, Tables, random};
use http::Method;
use modelswitch::{Data, Engine};
use serde_json::{Value, json};
use support::{Answer, Client, Folder, MODEL, START, TestGateway, new_key, refusals};

const TTL_MS: u64 = 10_000;
const WRONG_TYPE: &str = r#"{"error":{"message":"This API key is of the wrong type for this route: /v1 takes proxy keys (ms-), /api takes billing keys (mk-).","type":"permission_error","code":"wrong_key_type"}}"#;
const DEACTIVATED: &str =
    r#"{"error":{"message":"This API key is deactivated.","type":"permission_error","code":"key_deactivated"}}"#;
const STAGE: &str = "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3/prod";

/// A request to every route that a key of this type opens, each as a client would send it.
fn requests(key_type: KeyType) -> Vec<(Method, &'static str, String)> {
    let request = |method, path, body: Value| (method, path, body.to_string());
    match key_type {
        KeyType::Proxy => vec![
            request(Method::GET, "/v1/models", Value::Null),
            request(Method::GET, "/v1/models/lab/chat", Value::Null),
            request(Method::GET, "/v1/auth/key", Value::Null),
            request(Method::GET, "/v1/key", Value::Null),
            request(Method::POST, "/v1/chat/completions", TestGateway::chat(MODEL)),
            request(Method::POST, "/v1/embeddings", json!({"model": "lab/embed", "input": "hi"})),
        ],
        KeyType::Billing => vec![
            request(Method::GET, "/api/balance", Value::Null),
            request(Method::GET, "/api/usage", Value::Null),
            request(Method::GET, "/api/usage/stats", Value::Null),
            request(Method::GET, "/api/usage/export", Value::Null),
            request(Method::GET, "/api/transactions", Value::Null),
            request(Method::GET, "/api/keys", Value::Null),
            request(Method::POST, "/api/keys", json!({"name": "x"})),
            request(Method::GET, "/api/keys/1", Value::Null),
            request(Method::PUT, "/api/keys/1", json!({"name": "x"})),
            request(Method::PATCH, "/api/keys/1", json!({"name": "x"})),
            request(Method::POST, "/api/keys/1/rotate", json!({})),
            request(Method::DELETE, "/api/keys/1", Value::Null),
        ],
    }
}

/// The answers of every route of the type.
async fn everywhere(client: &Client, key_type: KeyType) -> Vec<(&'static str, Answer)> {
    let mut answers = Vec::new();
    for (method, path, body) in requests(key_type) {
        answers.push((path, client.send(method, path, &body).await));
    }
    answers
}

/// A key whose token is not among the tokens any more, although its key is as good as ever: what a function sees of it
/// comes from the authorizer's kept answer. It was kept now, when the first route of its type was called.
async fn replaced(gateway: &TestGateway, key_type: KeyType) -> Client {
    let (id, client) = gateway.key(key_type, |_| ()).await;
    let (method, path, body) = requests(key_type).swap_remove(0);
    assert_eq!(client.send(method, path, &body).await.status, 200);
    let (token, now) = (Token::from_random(key_type, random().unwrap()), gateway.clock().now());
    gateway.store().key_rotate(&gateway.account, id, &token, now, now, None).await.unwrap();
    client
}

fn event(token: &str, method_arn: &str) -> ApiGatewayCustomAuthorizerRequest {
    let mut event = ApiGatewayCustomAuthorizerRequest::default();
    event.type_ = Some("TOKEN".to_owned());
    event.authorization_token = Some(format!("Bearer {token}"));
    event.method_arn = Some(method_arn.to_owned());
    event
}

/// The authorizer on the gateway's tables, and a key of its account with its token.
async fn direct(gateway: &TestGateway, key_type: KeyType, change: impl FnOnce(&mut NewKey)) -> (App, Token) {
    let mut new = new_key(key_type);
    change(&mut new);
    let token = Token::from_random(key_type, random().unwrap());
    gateway.store().key_create(&gateway.account, &new, &token, START, None).await.unwrap().unwrap();
    (App { store: gateway.store().clone(), clock: gateway.clock().clone() }, token)
}

#[tokio::test]
async fn an_answer_is_kept_for_ten_seconds_and_no_longer() {
    let gateway = TestGateway::start().await;
    let client = replaced(&gateway, KeyType::Proxy).await;
    for wait_ms in [0, 5_000, TTL_MS - 5_001] {
        gateway.clock().advance_ms(wait_ms);
        assert_eq!(client.get("/v1/models").await.status, 200, "kept");
    }
    gateway.clock().advance_ms(1);
    for wait_ms in [0, TTL_MS] {
        gateway.clock().advance_ms(wait_ms);
        let answer = client.get("/v1/models").await;
        assert_eq!((answer.status, answer.text.as_str()), (401, refusals::UNAUTHORIZED), "use does not prolong it");
    }
}

#[tokio::test]
async fn one_kept_answer_opens_every_route_of_the_key_s_type_and_no_other() {
    let gateway = TestGateway::start().await;
    for (key_type, other) in [(KeyType::Proxy, KeyType::Billing), (KeyType::Billing, KeyType::Proxy)] {
        let client = replaced(&gateway, key_type).await;
        for (path, answer) in everywhere(&client, other).await {
            assert_eq!((answer.status, answer.text.as_str()), (403, WRONG_TYPE), "{path}");
            assert_eq!(answer.header("content-type"), "application/json");
            assert!(!answer.header("x-request-id").is_empty());
        }
        for (path, answer) in everywhere(&client, key_type).await {
            assert!(answer.status < 300, "{path}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn what_a_kept_answer_lets_through_each_function_checks_itself() {
    let gateway = TestGateway::start().await;
    for key_type in [KeyType::Proxy, KeyType::Billing] {
        let kept = async |change: fn(&mut NewKey)| {
            let (id, client) = gateway.key(key_type, change).await;
            let (method, path, body) = requests(key_type).swap_remove(0);
            assert_eq!(client.send(method, path, &body).await.status, 200);
            (id, client)
        };
        let (id, off) = kept(|_| ()).await;
        let change = KeyChange { active: Some(false), ..KeyChange::default() };
        gateway.store().key_update(&gateway.account, id, &change, gateway.clock().now()).await.unwrap();
        for (path, answer) in everywhere(&off, key_type).await {
            assert_eq!((answer.status, answer.text.as_str()), (403, DEACTIVATED), "{path}");
        }
        let (id, deleted) = kept(|_| ()).await;
        assert!(gateway.store().key_delete(&gateway.account, id).await.unwrap());
        for (path, answer) in everywhere(&deleted, key_type).await {
            assert_eq!((answer.status, answer.text.as_str()), (401, refusals::UNAUTHORIZED), "{path}");
        }
        let (_, limited) =
            kept(|new| new.rate_limit = serde_json::from_str(r#"{"requests":1,"interval":"1d"}"#).unwrap()).await;
        for (path, answer) in everywhere(&limited, key_type).await {
            assert_eq!(answer.error(), (429, "rate_limit_exceeded".to_owned()), "{path}");
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1, "{path}");
        }
    }
    let mut expiring = Vec::new();
    for key_type in [KeyType::Proxy, KeyType::Billing] {
        let (_, client) = gateway.key(key_type, |new| new.expires_at = Some(START.plus_ms(1))).await;
        let (method, path, body) = requests(key_type).swap_remove(0);
        assert_eq!(client.send(method, path, &body).await.status, 200);
        expiring.push((key_type, client));
    }
    gateway.clock().advance_ms(1);
    for (key_type, client) in expiring {
        for (path, answer) in everywhere(&client, key_type).await {
            assert_eq!((answer.status, answer.text.as_str()), (401, refusals::UNAUTHORIZED), "{path}");
        }
    }
    assert_eq!(
        gateway.store().key(&gateway.account, gateway_core::ids::KeyId(1)).await.unwrap().unwrap().name,
        "First proxy key"
    );
}

#[tokio::test]
async fn a_refusal_is_not_kept_so_a_new_key_works_at_once() {
    let gateway = TestGateway::start().await;
    let token = Token::from_random(KeyType::Proxy, random().unwrap());
    let client = gateway.anonymous.with_token(Some(token.reveal()));
    assert_eq!(client.get("/v1/models").await.status, 401);
    let new = new_key(KeyType::Proxy);
    gateway.store().key_create(&gateway.account, &new, &token, START, None).await.unwrap().unwrap();
    assert_eq!(client.get("/v1/models").await.status, 200);
}

#[tokio::test]
async fn a_deactivated_key_s_answer_is_kept_no_longer_than_any() {
    let gateway = TestGateway::start().await;
    let (id, client) = gateway.key(KeyType::Proxy, |_| ()).await;
    let switch = async |on| {
        let change = KeyChange { active: Some(on), ..KeyChange::default() };
        gateway.store().key_update(&gateway.account, id, &change, gateway.clock().now()).await.unwrap();
    };
    switch(false).await;
    let answer = client.get("/v1/models").await;
    assert_eq!((answer.status, answer.text.as_str()), (403, DEACTIVATED));
    switch(true).await;
    gateway.clock().advance_ms(TTL_MS);
    assert_eq!(client.get("/v1/models").await.status, 200);
}

#[tokio::test]
async fn a_header_is_taken_as_the_page_writes_it_and_in_any_case_of_bearer() {
    let gateway = TestGateway::start().await;
    let (_, token) = direct(&gateway, KeyType::Proxy, |_| ()).await;
    let token = token.reveal();
    let ask = async |value: String| {
        Answer::of(gateway.anonymous.request(Method::GET, "/v1/models").header("authorization", value)).await
    };
    for good in ["Bearer ", "bearer ", "BEARER ", "Bearer   "] {
        assert_eq!(ask(format!("{good}{token}")).await.status, 200, "{good}");
    }
    let swapped = format!("mk-{}", &token[3..]);
    for bad in [
        token.to_owned(),
        format!("Token {token}"),
        format!("Basic {token}"),
        format!("Bearer{token}"),
        format!("Bearer {token}x"),
        format!("Bearer {}", &token[..40]),
        format!("Bearer {token} {token}"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Bearer {swapped}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
    ] {
        let answer = ask(bad.clone()).await;
        assert_eq!((answer.status, answer.text.as_str()), (401, refusals::UNAUTHORIZED), "{bad}");
    }
    let cookie =
        gateway.anonymous.request(Method::GET, "/v1/models").header("cookie", format!("authorization={token}"));
    assert_eq!(Answer::of(cookie).await.status, 401);
    let query = gateway.anonymous.get(&format!("/v1/models?authorization=Bearer%20{token}")).await;
    assert_eq!(query.status, 401, "a token in an address would stand in logs");
}

#[tokio::test]
async fn the_policy_is_safe_to_keep_and_its_context_holds_ids_and_a_refusal_s_words_alone() {
    let gateway = TestGateway::start().await;
    let proxy = ["GET/v1/*", "POST/v1/*"].as_slice();
    let billing = ["DELETE/api/*", "GET/api/*", "PATCH/api/*", "POST/api/*", "PUT/api/*"].as_slice();
    for (key_type, key, routes) in [(KeyType::Proxy, "3", proxy), (KeyType::Billing, "4", billing)] {
        let resources: Vec<_> = routes.iter().map(|route| format!("{STAGE}/{route}")).collect();
        let (app, token) = direct(&gateway, key_type, |_| ()).await;
        // Whichever route asks first: the policy is the same.
        for route in ["GET/v1/models", "POST/v1/chat/completions", "GET/api/balance", "DELETE/api/keys/1", "GET/"] {
            let answer = authorize(&app, event(token.reveal(), &format!("{STAGE}/{route}"))).await.unwrap();
            let answer = serde_json::to_value(answer).unwrap();
            assert_eq!(answer["principalId"], format!("{}/{key}", gateway.account));
            assert_eq!(
                answer["policyDocument"],
                json!({"Version": "2012-10-17", "Statement": [
                    {"Action": ["execute-api:Invoke"], "Effect": "Allow", "Resource": resources},
                ]})
            );
            assert_eq!(
                answer["context"],
                json!({
                    "account": gateway.account.as_str(), "key": key, "code": "wrong_key_type",
                    "message": "This API key is of the wrong type for this route: /v1 takes proxy keys (ms-), /api takes billing keys (mk-).",
                })
            );
            assert!(!answer.to_string().contains(&token.reveal()[3..]));
        }
    }
}

#[tokio::test]
async fn the_policy_of_a_deactivated_key_denies_its_routes_and_says_why() {
    let gateway = TestGateway::start().await;
    let (app, token) = direct(&gateway, KeyType::Proxy, |_| ()).await;
    let change = KeyChange { active: Some(false), ..KeyChange::default() };
    gateway.store().key_update(&gateway.account, gateway_core::ids::KeyId(3), &change, START).await.unwrap();
    let answer = authorize(&app, event(token.reveal(), &format!("{STAGE}/GET/v1/models"))).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Deny");
    assert_eq!(
        answer["context"],
        json!({
            "account": gateway.account.as_str(), "key": "3", "code": "key_deactivated",
            "message": "This API key is deactivated.",
        })
    );
}

#[tokio::test]
async fn a_key_that_does_not_count_is_the_one_word_that_api_gateway_answers_401_to() {
    let gateway = TestGateway::start().await;
    let arn = format!("{STAGE}/GET/v1/models");
    let (app, expired) = direct(&gateway, KeyType::Proxy, |new| new.expires_at = Some(START.plus_ms(1))).await;
    assert!(authorize(&app, event(expired.reveal(), &arn)).await.is_ok());
    gateway.clock().advance_ms(1);
    let unknown = Token::from_random(KeyType::Proxy, random().unwrap());
    let malformed = format!("{}0", &unknown.reveal()[..40]);
    for token in [expired.reveal(), unknown.reveal(), malformed.as_str(), "", "ms-"] {
        let refusal = authorize(&app, event(token, &arn)).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unauthorized));
        assert_eq!(refusal.to_string(), "Unauthorized");
    }
    let mut without = event("", &arn);
    without.authorization_token = None;
    assert_eq!(authorize(&app, without).await.unwrap_err().to_string(), "Unauthorized");
}

#[tokio::test]
async fn a_database_failure_is_never_unauthorized_and_a_malformed_token_asks_no_database() {
    let engine = Engine::open(&Data::Ephemeral).unwrap();
    let store = Store::new(engine.client(), Tables::of_stack("nothing"));
    let app = App { store, clock: Clock::manual(START) };
    let token = Token::from_random(KeyType::Proxy, random().unwrap());
    let arn = format!("{STAGE}/GET/v1/models");
    let refusal = authorize(&app, event(token.reveal(), &arn)).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Failed(_)), "{refusal:?}");
    assert_eq!(refusal.to_string(), "the key could not be looked up");
    assert!(!format!("{refusal:?}").contains(&token.reveal()[3..]));
    let malformed = format!("{}{}", &token.reveal()[..40], if token.reveal().ends_with('0') { '1' } else { '0' });
    let refusal = authorize(&app, event(&malformed, &arn)).await.unwrap_err();
    assert_eq!(refusal.to_string(), "Unauthorized", "its checksum is wrong, so nothing is read");
}

#[tokio::test]
async fn an_event_that_names_no_api_is_never_unauthorized() {
    let gateway = TestGateway::start().await;
    let (app, token) = direct(&gateway, KeyType::Proxy, |_| ()).await;
    for arn in ["", "arn:aws:execute-api:eu-central-1:123456789012:a1b2c3", "nonsense"] {
        let refusal = authorize(&app, event(token.reveal(), arn)).await.unwrap_err();
        assert_eq!(refusal.to_string(), "the event's method ARN is not one of a REST API", "{arn}");
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_looked_up_is_answered_500_and_that_is_not_kept() {
    let folder = Folder::new();
    let file = folder.path("data.db");
    let gateway = TestGateway::start_with(|options| options.data = Data::File(file.clone())).await;
    // Every token's item, damaged: what stands for any failure of the read.
    let client = Engine::beside(&file).unwrap().client();
    let table = Tables::of_stack("modelswitch").tokens;
    let items = client.scan().table_name(&table).send().await.unwrap().items.unwrap();
    assert_eq!(items.len(), 2);
    for item in &items {
        let mut damaged = item.clone();
        damaged.remove("account");
        client.put_item().table_name(&table).set_item(Some(damaged)).send().await.unwrap();
    }
    for (key, path) in
        [(&gateway.proxy, "/v1/models"), (&gateway.billing, "/api/balance"), (&gateway.proxy, "/api/keys")]
    {
        let answer = key.get(path).await;
        assert_eq!(answer.status, 500, "{}", answer.text);
        assert_eq!(
            answer.text,
            r#"{"error":{"message":"Internal error. The x-request-id header names this request in the logs.","type":"api_error","code":"internal_error"}}"#
        );
        assert!(!answer.header("x-request-id").is_empty());
    }
    for item in items {
        client.put_item().table_name(&table).set_item(Some(item)).send().await.unwrap();
    }
    assert_eq!(gateway.proxy.get("/v1/models").await.status, 200);
    assert_eq!(gateway.billing.get("/api/balance").await.status, 200);
}
