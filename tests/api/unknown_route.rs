//! What no route serves.

use http::Method;
use support::TestGateway;

#[tokio::test]
async fn not_found_for_an_unknown_path_with_any_method_and_key() {
    for route in ["ANY /{proxy+}", "ANY /"] {
        let path = route.trim_start_matches("ANY ").replace("{proxy+}", "v2/nothing");
        let gateway = TestGateway::start().await;
        for client in [&gateway.anonymous, &gateway.proxy, &gateway.billing] {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let answer = client.send(method.clone(), &path, "").await;
                assert_eq!(answer.error(), (404, "unknown_url".to_owned()), "{method} {path}");
                assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
                assert!(answer.json()["error"]["message"].as_str().unwrap().contains(&path));
            }
        }
    }
}

#[tokio::test]
async fn not_found_for_routes_of_the_api_that_are_not_there_yet() {
    let gateway = TestGateway::start().await;
    for path in ["/v1", "/v1/completions", "/api", "/api/payments/1", "/webhooks", "/v1/chat", "/v1/chat/completions/x"]
    {
        assert_eq!(
            gateway.proxy.send(Method::POST, path, "{}").await.error(),
            (404, "unknown_url".to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn method_not_allowed_where_the_path_exists() {
    let routes = [
        "ANY /v1/chat/completions",
        "ANY /v1/embeddings",
        "ANY /v1/models",
        "ANY /v1/models/{id+}",
        "ANY /v1/auth/key",
        "ANY /v1/key",
        "ANY /api/balance",
        "ANY /api/usage",
        "ANY /api/usage/stats",
        "ANY /api/usage/export",
        "ANY /api/transactions",
        "ANY /api/keys",
        "ANY /api/keys/{id}",
        "ANY /api/keys/{id}/rotate",
        "ANY /api/payments",
        "ANY /webhooks/stripe",
        "ANY /dashboard",
        "ANY /dashboard/{proxy+}",
    ];
    let gateway = TestGateway::start().await;
    for route in routes {
        let path = route.trim_start_matches("ANY ").replace("{id+}", "lab/chat").replace("{id}", "1");
        let path = path.replace("{proxy+}", "sign-in");
        let answer = gateway.anonymous.send(Method::OPTIONS, &path, "").await;
        assert_eq!(answer.error(), (405, "method_not_allowed".to_owned()), "{path}");
        assert!(!answer.header("allow").is_empty(), "{path}");
    }
    assert_eq!(gateway.proxy.get("/v1/chat/completions").await.status, 405);
    assert_eq!(gateway.proxy.send(Method::POST, "/v1/models", "{}").await.status, 405);
}
