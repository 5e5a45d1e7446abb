//! The stored settings, as a deployed function follows them.

use gateway_core::settings::Settings;
use gateway_store::Configuration;
use support::TestGateway;

fn settings(json: &str) -> Settings {
    Settings::parse(json.as_bytes()).unwrap()
}

#[tokio::test]
async fn stored_settings_hold_within_a_minute_and_broken_ones_never() {
    let gateway = TestGateway::start().await;
    let (store, start) = (gateway.store(), gateway.clock().now());
    let configuration = Configuration::stored(store.clone(), start).await.unwrap();
    let served = async |after_ms: u64| configuration.catalogue(start.plus_ms(after_ms)).await.models().len();
    assert_eq!(served(0).await, 0, "without settings nothing is served");
    store.settings_put(&settings(r#"{"providers":{"modelswitch":{}}}"#)).await.unwrap();
    assert_eq!(served(59_999).await, 0);
    assert_eq!(served(60_000).await, 1);
    // An alias of nothing is no catalogue: the one there is stays, and the next read tries again.
    store.settings_put(&settings(r#"{"models":{"a":{"alias_of":"nothing"}}}"#)).await.unwrap();
    assert_eq!(served(120_000).await, 1);
    assert!(Configuration::stored(store.clone(), start).await.is_err(), "a process does not start on it");
    store
        .settings_put(&settings(r#"{"providers":{"modelswitch":{}},"models":{"a":{"alias_of":"modelswitch/echo"}}}"#))
        .await
        .unwrap();
    assert_eq!(served(180_000).await, 2);
}
