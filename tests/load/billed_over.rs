//! A provider bills more than a request can cost, and its hold can't be made to cover the bill.

use gateway_core::{
    catalogue::Catalogue,
    ids::{KeyId, RequestId},
    ledger::EntryKind,
    moment::UnixMs,
    money::Nanos,
    settings::Settings,
    token::{KeyType, Token},
    usage::{Metered, Usage},
};
use gateway_store::{Credit, HoldRequest};
use support::{
    faults::{Fate, Refused, Retries},
    new_key, on_database,
};

use crate::books::{funds_are_true, ledger, ledger_adds_up};

const AT: UnixMs = UnixMs(1_790_000_000_000);

#[test]
fn a_hold_that_can_not_be_extended_is_charged_as_it_is() {
    on_database(async |database| {
        let environment = database.environment(Retries::Off);
        let store = &environment.store;
        let account = store.account_create("test", AT).await.unwrap().id;
        let id = || RequestId::new(AT, gateway_store::random().unwrap());
        let credit = Credit { id: id(), kind: EntryKind::Payment, amount: Nanos::usd(1), description: String::new() };
        assert!(store.account_credit(&account, &credit).await.unwrap());
        let token = Token::from_random(KeyType::Proxy, gateway_store::random().unwrap());
        store.key_create(&account, &new_key(KeyType::Proxy), &token, AT, None).await.unwrap();
        let (id, amount) = (id(), Nanos(1_000));
        let wanted = HoldRequest {
            account: &account,
            key: KeyId(1),
            id: &id,
            models: &[vec!["openai/gpt-4o-mini".to_owned()]],
            amount,
            at: AT,
            expires: AT.plus_ms(960_000),
        };
        let hold = store.hold_place(&wanted).await.unwrap().placed(amount).unwrap();
        let catalogue = Catalogue::new(Settings::parse(br#"{"providers":{"openai":{}}}"#).unwrap()).unwrap();
        let endpoint = catalogue.endpoint(catalogue.model("openai/gpt-4o-mini").unwrap()).unwrap();
        let metered = Metered { usage: Usage { output: 1_000_000, ..Usage::default() }, estimated: false };
        // Transactions are on the key's item until the request is in the ledger.
        let mut charged = false;
        environment.wire.script(move |call| {
            charged |= call.operation == "PutItem";
            if charged || call.operation != "UpdateItem" { Fate::Done } else { Fate::Refused(Refused::Conflict) }
        });
        assert_eq!(store.hold_finish(&hold, &endpoint, Some(metered), 5).await.unwrap(), amount);
        environment.wire.heal();
        let (standing, entries) =
            (store.account_standing(&account).await.unwrap().unwrap(), ledger(store, &account).await);
        assert_eq!(funds_are_true(&standing, Nanos::ZERO, &[].into()), Nanos::usd(1) - amount);
        ledger_adds_up(&standing, &entries);
        let served = entries.iter().find_map(|entry| entry.served.as_ref()).unwrap();
        assert!(served.unpaid > Nanos::ZERO, "{served:?}");
    });
}
