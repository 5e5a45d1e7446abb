//! Changes of one key at the same time.

use http::Method;
use serde_json::json;
use support::TestGateway;

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_all_stay() {
    let gateway = TestGateway::start().await;
    for round in 0..10 {
        let id = gateway.billing.post("/api/keys", &json!({"name": "before"})).await.json()["id"].clone();
        let path = format!("/api/keys/{id}");
        let changes = [
            json!({"name": "after"}),
            json!({"active": false}),
            json!({"spend_limit": 5}),
            json!({"rate_limit": {"requests": 7, "interval": "1m"}}),
            json!({"models": ["a"]}),
            json!({"expires_at": "2027-01-01T00:00:00Z"}),
        ];
        let mut requests = tokio::task::JoinSet::new();
        for change in changes {
            let (client, path) = (gateway.billing.clone(), path.clone());
            requests.spawn(async move { client.send(Method::PATCH, &path, &change.to_string()).await.status });
        }
        assert!(requests.join_all().await.iter().all(|status| *status == 200), "round {round}");
        let key = gateway.billing.get(&path).await.json();
        assert_eq!(
            [&key["name"], &key["active"], &key["spendLimit"], &key["rateLimit"]["requests"], &key["models"]],
            [&json!("after"), &json!(false), &json!(5.0), &json!(7), &json!(["a"])],
            "round {round}"
        );
        assert_eq!(key["expiresAt"], "2027-01-01T00:00:00.000Z", "round {round}");
    }
}
