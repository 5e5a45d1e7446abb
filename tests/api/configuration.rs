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
    let configuration = Configuration::stored(store.clone());
    let served = async |after_ms: u64| configuration.catalogue(start.plus_ms(after_ms)).await.unwrap().models().len();
    assert_eq!(served(0).await, 0, "without settings nothing is served");
    store.settings_put(&settings(r#"{"providers":{"modelswitch":{}}}"#)).await.unwrap();
    assert_eq!(served(59_999).await, 0);
    assert_eq!(served(60_000).await, 1);
    // An alias of nothing is no catalogue: the one there is stays, and the next read tries again.
    store.settings_put(&settings(r#"{"models":{"a":{"alias_of":"nothing"}}}"#)).await.unwrap();
    assert_eq!(served(120_000).await, 1);
    let started_on_it = Configuration::stored(store.clone());
    assert!(started_on_it.catalogue(start).await.is_err(), "no request is served by it");
    store
        .settings_put(&settings(r#"{"providers":{"modelswitch":{}},"models":{"a":{"alias_of":"modelswitch/echo"}}}"#))
        .await
        .unwrap();
    assert_eq!(served(180_000).await, 2);
    assert_eq!(
        started_on_it.catalogue(start).await.unwrap().models().len(),
        2,
        "read again as soon as it is asked for"
    );
}
