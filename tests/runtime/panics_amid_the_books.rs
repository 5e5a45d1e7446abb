//! A panic at each of the calls that a request makes of the database: the client gets our answer, the books stay true, and
//! the process serves the next request.

use gateway_core::money::Nanos;
use gateway_store::Filter;
use serde_json::json;
use support::{
    ChatFunction, START,
    faults::{Fate, Retries, Wire},
    on_database,
};

/// Longer than a hold lasts.
const EXPIRED_MS: u64 = 2_000_000;

/// The `at`th call from now on panics, and no other.
fn panics_at(wire: &Wire, at: usize) {
    wire.script(move |call| {
        assert!(call.number != at, "the prompt");
        Fate::Done
    });
}

#[test]
fn a_panic_at_any_call_of_a_request_leaves_the_books_true_and_the_process_at_work() {
    on_database(async |database| {
        for stream in [false, true] {
            // The first is the authorizer's.
            for at in 1.. {
                let (environment, reader) = (database.environment(Retries::Off), database.reader());
                let wire = environment.wire.clone();
                let price = json!({"input": "2.50", "output": "10.00"});
                let mut chat = ChatFunction::open(environment, &reader, Nanos::usd(5), price).await;
                chat.begin(false).await;

                panics_at(&wire, at);
                let answer = chat.begin(stream).await;
                let status = answer.status();
                let text = chat.end(answer).await;
                if wire.called() <= at {
                    assert!(at >= 4, "a hold, an entry and the hold's end at least, not {} calls", at - 1);
                    break;
                }
                assert!(!text.contains("the prompt"), "{text}");
                if status == 200 {
                    assert!(stream && text.ends_with("data: [DONE]\n\n"), "what was sent was whole: {text}");
                } else {
                    assert!(status == 500 && text.contains(r#""code":"internal_error""#), "{status} {text}");
                }

                wire.heal();
                let next = chat.begin(stream).await;
                assert_eq!(next.status(), 200);
                chat.end(next).await;
                reader.holds_sweep(START.plus_ms(EXPIRED_MS)).await.unwrap();
                let standing = reader.account_standing(&chat.account).await.unwrap().unwrap();
                assert_eq!(standing.held(), Nanos::ZERO, "call {at}");
                let all = Filter::default();
                let entries = reader.ledger_page(&chat.account, &all, None, 0, 100).await.unwrap().entries;
                let sum: Nanos = entries.iter().map(|entry| entry.amount).sum();
                assert_eq!(sum, standing.balance(), "call {at}: ledger and funds");
            }
        }
    });
}
