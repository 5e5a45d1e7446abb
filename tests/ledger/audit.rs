//! The expressions of the sweep and of the audit, on whichever database is chosen.

use aws_sdk_dynamodb::types::AttributeValue;
use gateway_core::{
    audit::What,
    ids::{AccountId, KeyId, RequestId},
    ledger::EntryKind,
    money::Nanos,
    token::{KeyType, Token},
};
use gateway_store::{Credit, HoldRequest, PlacedHold, Store, Swept, random};
use support::{START, faults::Retries, new_key, on_database};

const KEY: KeyId = KeyId(1);

/// An account of five dollars with a key.
async fn account(store: &Store) -> AccountId {
    let account = store.account_create("audited", START).await.unwrap().id;
    let id = RequestId::new(START, random().unwrap());
    let credit = Credit { id, kind: EntryKind::Payment, amount: Nanos::usd(5), description: "paid".to_owned() };
    assert!(store.account_credit(&account, &credit).await.unwrap());
    let token = Token::from_random(KeyType::Proxy, random().unwrap());
    assert!(store.key_create(&account, &new_key(KeyType::Proxy), &token, START, None).await.unwrap().is_some());
    account
}

async fn hold(store: &Store, account: &AccountId) -> PlacedHold {
    let id = RequestId::new(START, random().unwrap());
    let (models, amount, expires) = (&[vec!["model".to_owned()]], Nanos::usd(1), START.plus_ms(60_000));
    let wanted = HoldRequest { account, key: KEY, id: &id, models, amount, at: START, expires };
    store.hold_place(&wanted).await.unwrap().placed(amount).unwrap()
}

async fn agrees(store: &Store, account: &AccountId) {
    let audit = store.audit(account, || ()).await.unwrap().unwrap();
    assert_eq!((audit.busy, audit.differences), (None, vec![]));
}

#[test]
fn the_sweep_ends_what_is_past_its_time_and_the_audit_agrees_before_and_after() {
    on_database(async |database| {
        let store = database.environment(Retries::Standard).store;
        let account = account(&store).await;
        agrees(&store, &account).await;
        let _dead = hold(&store, &account).await;
        agrees(&store, &account).await;
        assert_eq!(store.holds_sweep(START).await.unwrap(), Swept { items: 1, ..Swept::default() });
        let swept = store.holds_sweep(START.plus_ms(60_000)).await.unwrap();
        assert_eq!((swept.items, swept.expired.released, swept.returned, swept.failed), (1, 1, 0, 0));
        agrees(&store, &account).await;
        assert_eq!(store.holds_sweep(START.plus_ms(60_000)).await.unwrap(), Swept::default());
    });
}

#[test]
fn the_audit_finds_what_no_request_can_have_done() {
    on_database(async |database| {
        let store = database.environment(Retries::Standard).store;
        let account = account(&store).await;
        let client = database.client();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let update = client.update_item().table_name(&database.tables.accounts);
        let update = update.key("account", text(account.as_str())).key("item", text("account"));
        let update = update
            .update_expression("ADD balance :one")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        update.send().await.unwrap();
        let audit = store.audit(&account, || ()).await.unwrap().unwrap();
        let whats: Vec<_> = audit.differences.into_iter().map(|difference| difference.what).collect();
        assert_eq!(whats, [What::Funds]);
    });
}
