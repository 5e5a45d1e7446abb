//! What is booked of payments, and an account that owes: the expressions, on whichever database is chosen.

use gateway_core::{
    ids::{AccountId, RequestId},
    ledger::{Entry, EntryKind},
    limits::{Interval, RateLimit},
    money::Nanos,
    payment::{Booking, Change, Origin},
};
use gateway_store::{Booked, KeyChange, Payment, SettleOutcome, random};
use support::on_database;

use crate::{
    conformance::{Bench, KEY, OTHER},
    model::Placed,
    world::{DURATION_MS, START, endpoint, metered},
};

impl Bench {
    async fn book(&self, payment: &str, change: Change) -> Booked {
        let entry = RequestId::new(START, random().unwrap());
        let booking = Booking { payment: payment.to_owned(), entry, change, origin: Origin::Unsaid };
        let booked = self.store.payment_book(&booking).await.unwrap();
        if booked == Booked::Now {
            assert_eq!(self.store.payment_book(&booking).await.unwrap(), Booked::Before, "booked twice: {booking:?}");
        }
        booked
    }

    async fn pay(&self, payment: &str, amount: i64) -> Booked {
        self.book(payment, Change::Paid { account: self.account.clone(), amount: Nanos(amount) }).await
    }

    async fn refund(&self, payment: &str, all: i64) -> Booked {
        self.book(payment, Change::Refunded { all: Nanos(all) }).await
    }

    /// Amounts of the entries of this kind, in no order.
    async fn amounts(&self, kind: EntryKind) -> Vec<i64> {
        let mut entries = self.books().await.entries;
        entries.retain(|entry: &Entry| entry.kind == kind);
        let mut amounts: Vec<_> = entries.iter().map(|entry| entry.amount.0).collect();
        amounts.sort_unstable();
        amounts
    }

    async fn owes(&self, free: i64, held: i64) {
        let refused = Placed::InsufficientFunds { free: Nanos(free), held: Nanos(held) };
        for key in [KEY, OTHER] {
            assert_eq!(self.told(key, 1, START).await, refused, "{key:?}");
        }
        self.books().await.check_debt().unwrap();
    }
}

#[test]
fn a_payment_is_credited_once_however_often_and_by_whatever_event_it_comes() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        assert_eq!(bench.pay("pi_1", 70).await, Booked::Now);
        assert_eq!(bench.pay("pi_1", 70).await, Booked::Before, "by an event of its own");
        assert_eq!(bench.pay("pi_2", 70).await, Booked::Now);
        assert_eq!((bench.funds().await, bench.amounts(EntryKind::Payment).await), ((1_140, 0), vec![70, 70, 1_000]));
        let account = bench.account.clone();
        let (withdrawn, reinstated) = (Vec::new(), Vec::new());
        let known = Payment { account, paid: Nanos(70), refunded: Nanos::ZERO, withdrawn, reinstated };
        assert_eq!(bench.store.payment("pi_1").await.unwrap(), Some(known));
        let nobody = Change::Paid { account: AccountId::from_random([7; 10]), amount: Nanos(70) };
        assert_eq!(bench.book("pi_3", nobody).await, Booked::NoAccount);
        assert_eq!(bench.store.payment("pi_3").await.unwrap(), None);
        assert_eq!(bench.books().await.standing.account.paid_in, Nanos(1_140));
    });
}

#[test]
fn refunds_that_come_in_any_order_take_what_went_back_and_no_more() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        assert_eq!(bench.refund("pi_1", 10).await, Booked::NoPayment);
        bench.pay("pi_1", 500).await;
        for (all, booked, free) in [
            (10, Booked::Now, 1_490),
            (300, Booked::Now, 1_200),
            (200, Booked::Before, 1_200),
            (300, Booked::Before, 1_200),
            (500, Booked::Now, 1_000),
        ] {
            assert_eq!((bench.refund("pi_1", all).await, bench.funds().await.0), (booked, free), "{all}");
        }
        assert_eq!(bench.amounts(EntryKind::Refund).await, [-290, -200, -10]);
        assert_eq!(bench.store.payment("pi_1").await.unwrap().unwrap().refunded, Nanos(500));
        assert_eq!(bench.books().await.standing.account.paid_in, Nanos(1_500), "what was ever paid in");
    });
}

#[test]
fn a_dispute_takes_once_and_gives_once_in_either_order() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let withdrawn = |dispute: &str| Change::Withdrawn { dispute: dispute.to_owned(), amount: Nanos(300) };
        let reinstated = |dispute: &str| Change::Reinstated { dispute: dispute.to_owned(), amount: Nanos(300) };
        assert_eq!(bench.book("pi_1", withdrawn("dp_1")).await, Booked::NoPayment);
        bench.pay("pi_1", 500).await;
        for (change, booked, free) in [
            (withdrawn("dp_1"), Booked::Now, 1_200),
            (withdrawn("dp_1"), Booked::Before, 1_200),
            (reinstated("dp_2"), Booked::Now, 1_500),
            (reinstated("dp_1"), Booked::Now, 1_800),
            (reinstated("dp_1"), Booked::Before, 1_800),
            (withdrawn("dp_2"), Booked::Now, 1_500),
        ] {
            assert_eq!((bench.book("pi_1", change.clone()).await, bench.funds().await.0), (booked, free), "{change:?}");
        }
        assert_eq!(bench.amounts(EntryKind::Adjustment).await, [-300, -300, 300, 300]);
    });
}

#[test]
fn an_account_that_owes_holds_nothing_wherever_its_funds_are_until_it_has_paid() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        bench.pay("pi_1", 500).await;
        // 400 spent, 300 held by one key and 100 by the other; 700 lie idle in allowances and the balance.
        let spent = bench.hold(KEY, 900, START).await;
        bench.settle(&spent, KEY, 400).await;
        let (running, other) = (bench.hold(KEY, 300, START).await, bench.hold(OTHER, 100, START).await);
        assert_eq!(bench.funds().await, (700, 400));
        assert_eq!(bench.refund("pi_1", 500).await, Booked::Now);
        assert_eq!(bench.funds().await, (200, 400), "all of it was there");
        assert_eq!(bench.told(OTHER, 200, START).await, Placed::Held, "and what is left can be used");
        let took = Change::Withdrawn { dispute: "dp_1".to_owned(), amount: Nanos(500) };
        assert_eq!(bench.book("pi_1", took).await, Booked::Now);
        bench.owes(-500, 600).await;
        assert_eq!(bench.told(KEY, 0, START).await, Placed::Held, "what costs nothing needs no funds");
        // What runs is served and charged; what it gives back is owed.
        assert_eq!(bench.settle(&running, KEY, 50).await, SettleOutcome::Charged);
        bench.owes(-250, 300).await;
        // A cost over a hold finds nothing either.
        let metered = Some(metered(Nanos(5_000)));
        assert_eq!(bench.store.hold_finish(&other, &endpoint(), metered, DURATION_MS).await.unwrap(), Nanos(100));
        bench.owes(-250, 200).await;
        bench.pay("pi_2", 250).await;
        bench.owes(0, 200).await;
        bench.pay("pi_3", 1).await;
        assert_eq!(bench.told(OTHER, 2, START).await, Placed::InsufficientFunds { free: Nanos(1), held: Nanos(200) });
        assert_eq!(bench.told(KEY, 1, START).await, Placed::Held);
        assert_eq!(bench.funds().await, (0, 201));
    });
}

#[test]
fn keys_that_are_made_spread_or_switched_off_while_the_account_owes_find_nothing() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        let rate_limit = Some(RateLimit { requests: 900, interval: Interval { seconds: 1 } });
        let fast = KeyChange { rate_limit, ..KeyChange::default() };
        bench.change(KEY, fast.clone(), START).await;
        bench.pay("pi_1", 1_000).await;
        let mut running = Vec::new();
        for _ in 0..8 {
            running.push(bench.hold(KEY, 100, START).await);
        }
        let slow = bench.hold(OTHER, 200, START).await;
        assert_eq!(bench.refund("pi_1", 1_000).await, Booked::Now);
        let took = Change::Withdrawn { dispute: "dp_1".to_owned(), amount: Nanos(1_000) };
        assert_eq!(bench.book("pi_1", took).await, Booked::Now);
        bench.owes(-1_000, 1_000).await;
        bench.store.hold_release(&running.pop().unwrap()).await;
        // Folded, its holds move; opened, another's lanes are new.
        let limited = KeyChange { spend_limit: Some(Some(Nanos(5_000))), ..KeyChange::default() };
        bench.change(KEY, limited, START).await;
        bench.change(OTHER, fast, START).await;
        bench.store.hold_release(&slow).await;
        bench.owes(-700, 700).await;
        for hold in &running {
            bench.store.hold_release(hold).await;
        }
        bench.change(KEY, KeyChange { active: Some(false), ..KeyChange::default() }, START).await;
        let standing = bench.books().await.standing;
        assert_eq!(
            standing.keys[0].allowance.available,
            Nanos::ZERO,
            "a key switched off keeps nothing of what is owed"
        );
        bench.change(KEY, KeyChange { active: Some(true), ..KeyChange::default() }, START).await;
        bench.owes(0, 0).await;
    });
}

#[test]
fn a_hold_that_finds_its_lane_owing_costs_a_refill_once() {
    on_database(async |database| {
        let bench = Bench::open(database).await;
        bench.pay("pi_1", 100).await;
        let idle = bench.hold(KEY, 1_050, START).await;
        bench.store.hold_release(&idle).await;
        assert_eq!(bench.refund("pi_1", 100).await, Booked::Now);
        assert_eq!(bench.books().await.standing.account.balance, Nanos(-50), "the rest lies in the allowance");
        bench.calls();
        let hold = bench.hold(KEY, 1, START).await;
        let calls: Vec<_> = bench.calls();
        let expected = [("GetItem", 1), ("TransactWriteItems", 2), ("UpdateItem", 2)];
        assert_eq!(calls, expected.map(|(operation, calls)| (operation.to_owned(), calls)));
        bench.settle(&hold, KEY, 1).await;
        bench.calls();
        bench.settle(&bench.hold(KEY, 1, START).await, KEY, 1).await;
        assert_eq!(bench.calls(), [("PutItem".to_owned(), 1), ("UpdateItem".to_owned(), 2)]);
    });
}
