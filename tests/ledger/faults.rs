//! The faults themselves: each does to the database and to the SDK what it says.

use std::time::Duration;

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Put, TransactWriteItem},
};
use gateway_core::moment::UnixMs;
use support::{
    Database, Environment,
    faults::{Fate, Lost, Refused, Retries},
    on_database,
};

const AT: UnixMs = UnixMs(1_790_000_000_000);

/// How many accounts there are.
async fn accounts(database: &Database) -> usize {
    database.reader().account_list().await.unwrap().len()
}

/// Makes an account while the first `times` calls meet `fate`. Whether it was told that there is one, and after how many
/// calls.
async fn make(environment: &Environment, times: usize, fate: Fate) -> (bool, usize) {
    environment.wire.script(move |call| if call.number < times { fate } else { Fate::Done });
    let made = environment.store.account_create("test", AT).await;
    (made.is_ok(), environment.wire.called())
}

#[test]
fn what_is_refused_is_not_done() {
    on_database(async |database| {
        use Refused::*;
        for refused in [Throughput, Throttled, Conflict, Internal, Unreachable, TimedOut] {
            let environment = database.environment(Retries::Off);
            assert_eq!(make(&environment, 1, Fate::Refused(refused)).await, (false, 1), "{refused:?}");
            assert_eq!(accounts(database).await, 0, "{refused:?}");
        }
    });
}

#[test]
fn a_lost_reply_is_of_a_call_that_was_done() {
    on_database(async |database| {
        for (n, lost) in [Lost::Internal, Lost::TimedOut].into_iter().enumerate() {
            let environment = database.environment(Retries::Off);
            assert_eq!(make(&environment, 1, Fate::ReplyLost(lost)).await, (false, 1), "{lost:?}");
            assert_eq!(accounts(database).await, n + 1, "{lost:?}");
        }
    });
}

#[test]
fn the_sdk_tries_three_times_what_may_be_tried_again() {
    on_database(async |database| {
        use Refused::*;
        for refused in [Throughput, Throttled, Internal, Unreachable, TimedOut] {
            let environment = database.environment(Retries::Standard);
            assert_eq!(make(&environment, 2, Fate::Refused(refused)).await, (true, 3), "{refused:?}");
        }
        for lost in [Lost::Internal, Lost::TimedOut] {
            let environment = database.environment(Retries::Standard);
            // The second attempt finds the account that the first has made.
            assert_eq!(make(&environment, 1, Fate::ReplyLost(lost)).await, (false, 2), "{lost:?}");
        }
    });
}

#[test]
fn a_plain_write_that_meets_a_transaction_is_told_so_and_a_read_is_not() {
    on_database(async |database| {
        let Environment { store, wire } = database.environment(Retries::Off);
        wire.script(|_| Fate::Refused(Refused::Conflict));
        let refused = store.account_create("test", AT).await.unwrap_err();
        assert!(refused.detail.contains("TransactionConflictException"), "{refused}");
        assert_eq!(store.account_list().await.unwrap().len(), 0);
    });
}

#[test]
fn a_call_delivered_twice_is_done_twice() {
    on_database(async |database| {
        let environment = database.environment(Retries::Off);
        // The second delivery finds the first's account, and its answer is the one that arrives.
        assert_eq!(make(&environment, 1, Fate::DoneTwice).await, (false, 1));
        assert_eq!(accounts(database).await, 1);
    });
}

#[test]
fn after_a_crash_nothing_is_done_and_nobody_answers() {
    on_database(async |database| {
        let Environment { store, wire } = database.environment(Retries::Standard);
        wire.script(|call| if call.number == 1 { Fate::Crash } else { Fate::Done });
        for died in [false, true, true] {
            let made = wire.unless_it_crashes(store.account_create("test", AT)).await;
            assert_eq!((made.is_none(), wire.has_crashed()), (died, died));
        }
        assert_eq!(accounts(database).await, 1);
        let other = database.environment(Retries::Off);
        assert!(other.store.account_create("test", AT).await.is_ok());
    });
}

#[test]
fn calls_and_their_capacity_are_counted_by_operation_and_table() {
    on_database(async |database| {
        let Environment { store, wire } = database.environment(Retries::Standard);
        wire.meter_capacity();
        wire.latency(Duration::from_millis(5));
        let account = store.account_create("test", AT).await.unwrap();
        store.account(&account.id).await.unwrap();
        store.account(&account.id).await.unwrap();
        let counts = wire.take_counts();
        let count = |operation: &str| counts[&(operation.to_owned(), database.tables.accounts.clone())];
        assert_eq!((count("PutItem").calls, count("PutItem").units), (1, 1.0));
        assert_eq!((count("GetItem").calls, count("GetItem").units), (2, 2.0));
        assert!(wire.take_counts().is_empty());
    });
}

#[test]
fn a_pause_stops_every_wire_but_not_the_reader() {
    on_database(async |database| {
        let Environment { store, .. } = database.environment(Retries::Off);
        let paused = database.wire().pause().await;
        let made = store.account_create("test", AT);
        tokio::pin!(made);
        tokio::select! {
            biased;
            _ = &mut made => panic!("it went through a pause"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        assert_eq!(accounts(database).await, 0);
        drop(paused);
        made.await.unwrap();
        assert_eq!(accounts(database).await, 1);
    });
}

#[test]
fn a_transaction_in_another_s_way_is_cancelled_with_a_reason_for_each_part() {
    on_database(async |database| {
        let wire = database.wire().beside();
        wire.script(|_| Fate::Refused(Refused::Conflict));
        let client = database.client_on(&wire, Retries::Off);
        let put = |item: &str| {
            let put = Put::builder().table_name(&database.tables.accounts);
            let put = put.item("account", AttributeValue::S("a".to_owned()));
            let put = put.item("item", AttributeValue::S(item.to_owned())).build().unwrap();
            TransactWriteItem::builder().put(put).build()
        };
        let sent = client.transact_write_items().transact_items(put("1")).transact_items(put("2")).send().await;
        let error = sent.unwrap_err().into_service_error();
        let TransactWriteItemsError::TransactionCanceledException(canceled) = error else { panic!("{error:?}") };
        let codes: Vec<_> = canceled.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect();
        assert_eq!(codes, ["TransactionConflict", "None"]);
    });
}
