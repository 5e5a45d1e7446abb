use super::*;
use crate::moment::UnixMs;

const KEY: KeyId = KeyId(1);
const OTHER: KeyId = KeyId(2);

fn id(n: u8) -> RequestId {
    RequestId::new(UnixMs(1_790_000_000_000), [n; 10])
}

fn line(n: u8, kind: EntryKind, amount: i64, key: Option<KeyId>) -> Line {
    let hold = (kind == EntryKind::Usage || kind == EntryKind::Expired).then(|| hold(n, 0).1.stamp());
    Line { id: id(n), kind, amount: Nanos(amount), hold, key, unpaid: Nanos::ZERO }
}

fn hold(n: u8, amount: i64) -> (RequestId, Hold) {
    (id(n), Hold { id: id(n), amount: Nanos(amount), expires: UnixMs(1_790_000_960_000), nonce: 0 })
}

/// 1000 paid in and 500 given; key 1, whose limit is 200, has spent 30 of it and holds 20; key 2 has no limit and spent 7.
fn books() -> (Funds, Vec<Line>) {
    let limited = LaneFunds {
        spend_limit: Some(Nanos(200)),
        period_base: Nanos(10),
        spent: Nanos(40),
        limit_left: Nanos(150),
        available: Nanos(100),
        holds: BTreeMap::from([hold(9, 20)]),
    };
    let unlimited = LaneFunds {
        spend_limit: None,
        period_base: Nanos::ZERO,
        spent: Nanos(7),
        limit_left: UNLIMITED - Nanos(7),
        available: Nanos::ZERO,
        holds: BTreeMap::new(),
    };
    let lanes = BTreeMap::from([((KEY, 0), limited), ((OTHER, 0), unlimited)]);
    let funds = Funds { balance: Nanos(1333), paid_in: Nanos(1000), lanes };
    let lines = vec![
        line(1, EntryKind::Payment, 1000, None),
        line(2, EntryKind::Adjustment, 500, None),
        line(3, EntryKind::Usage, -10, Some(KEY)),
        line(4, EntryKind::Usage, -30, Some(KEY)),
        line(5, EntryKind::Expired, 0, None),
        line(6, EntryKind::Usage, -7, Some(OTHER)),
    ];
    (funds, lines)
}

fn sums(funds: &Funds, lines: &[Line]) -> LedgerSums {
    let mut sums = LedgerSums::new(funds);
    lines.iter().for_each(|line| sums.add(line.clone()));
    sums
}

/// What is found after a change of the funds or the ledger.
fn found(change: impl FnOnce(&mut Funds, &mut Vec<Line>)) -> Vec<(What, i64, i64)> {
    let (mut funds, mut lines) = books();
    change(&mut funds, &mut lines);
    let differences = compare(&funds, &sums(&funds, &lines)).into_iter();
    differences.map(|it| (it.what, it.expected.0, it.found.0)).collect()
}

fn key(funds: &mut Funds) -> &mut LaneFunds {
    funds.lanes.get_mut(&(KEY, 0)).unwrap()
}

#[test]
fn books_that_agree_have_no_difference_and_no_notice() {
    let (funds, lines) = books();
    let sums = sums(&funds, &lines);
    assert_eq!(compare(&funds, &sums), []);
    assert_eq!(compare_conservation(&funds, sums.credits), []);
    assert_eq!(notices(&funds, &sums), []);
    assert_eq!((sums.entries, sums.amount, sums.credits.amount), (6, Nanos(1453), Nanos(1500)));
}

#[test]
fn funds_that_are_not_the_ledger_s_sum_differ() {
    assert_eq!(found(|funds, _| funds.balance += Nanos(1)), [(What::Funds, 1453, 1454)]);
    assert_eq!(found(|funds, _| key(funds).available += Nanos(1)), [(What::Funds, 1453, 1454)]);
    let lost = found(|_, lines| drop(lines.remove(1)));
    assert_eq!(lost, [(What::Funds, 953, 1453)]);
}

#[test]
fn a_sum_paid_in_that_is_not_the_payments_differs() {
    assert_eq!(found(|funds, _| funds.paid_in = Nanos(999)), [(What::PaidIn, 1000, 999)]);
    let refunded = found(|funds, lines| {
        lines.push(line(7, EntryKind::Refund, -100, None));
        funds.balance = funds.balance - Nanos(100);
    });
    assert_eq!(refunded, [], "a refund takes funds and nothing of what was paid in");
}

#[test]
fn what_a_key_spent_that_is_not_its_usage_differs() {
    let more = found(|funds, _| {
        key(funds).spent += Nanos(5);
        key(funds).period_base += Nanos(5);
    });
    assert_eq!(more, [(What::Spent(KEY), 40, 45)]);
    let twice = found(|_, lines| lines.push(line(7, EntryKind::Usage, -30, Some(KEY))));
    assert_eq!(twice, [(What::Funds, 1423, 1453), (What::Spent(KEY), 70, 40)]);
    let none = found(|_, lines| lines.retain(|line| line.key != Some(OTHER)));
    assert_eq!(none, [(What::Funds, 1460, 1453), (What::Spent(OTHER), 0, 7)]);
}

#[test]
fn what_is_left_of_a_limit_is_the_limit_less_what_was_spent_and_is_held() {
    assert_eq!(found(|funds, _| key(funds).limit_left = Nanos(170)), [(What::LimitLeft(KEY), 150, 170)]);
    assert_eq!(found(|funds, _| key(funds).spend_limit = None).len(), 1);
    let other = UNLIMITED.0 - 7;
    let changed = found(|funds, _| funds.lanes.get_mut(&(OTHER, 0)).unwrap().limit_left = Nanos(0));
    assert_eq!(changed, [(What::LimitLeft(OTHER), other, 0)]);
}

#[test]
fn an_account_may_owe_what_went_back_and_no_more() {
    let (mut funds, mut lines) = books();
    lines.push(line(7, EntryKind::Refund, -1450, None));
    funds.balance = funds.balance - Nanos(1450);
    let sums = sums(&funds, &lines);
    assert_eq!((compare(&funds, &sums), compare_conservation(&funds, sums.credits)), (vec![], vec![]));
    assert_eq!(notices(&funds, &sums), [Notice::Owes(Nanos(17))], "100 of the 117 lie in an allowance");
    let further = found(|funds, lines| {
        lines.push(line(7, EntryKind::Adjustment, -5, None));
        funds.balance = Nanos(-6);
        key(funds).available += Nanos(1334);
    });
    assert_eq!(further, [(What::NegativeBalance, -5, -6)]);
    let wrong = found(|funds, lines| {
        lines.push(line(7, EntryKind::Refund, 5, None));
        funds.balance += Nanos(5);
    });
    assert_eq!(wrong, [(What::WrongEntry(id(7)), 0, 5)], "a refund takes");
}

#[test]
fn nothing_may_be_negative() {
    let moved = found(|funds, _| {
        key(funds).available += Nanos(1340);
        funds.balance = Nanos(-7);
    });
    assert_eq!(moved, [(What::NegativeBalance, 0, -7)]);
    let moved = found(|funds, _| {
        key(funds).available = Nanos(-1);
        funds.balance += Nanos(101);
    });
    assert_eq!(moved, [(What::NegativeAllowance(KEY), 0, -1)]);
}

#[test]
fn usage_of_a_key_that_does_not_exist_differs() {
    let missing = found(|funds, _| drop(funds.lanes.remove(&(OTHER, 0))));
    assert_eq!(missing, [(What::NoSuchKey(OTHER), 0, 7)]);
}

#[test]
fn an_entry_that_cannot_be_right_is_named() {
    let wrong = [
        line(7, EntryKind::Usage, 5, Some(KEY)),
        line(7, EntryKind::Usage, -5, None),
        line(7, EntryKind::Expired, -5, None),
        line(7, EntryKind::Payment, -5, None),
    ];
    for line in wrong {
        let amount = line.amount.0;
        let found = found(|_, lines| lines.push(line));
        assert!(found.contains(&(What::WrongEntry(id(7)), 0, amount)), "{found:?}");
    }
    let many = found(|_, lines| lines.extend((0..100).map(|n| line(n, EntryKind::Usage, -5, None))));
    assert_eq!(many.iter().filter(|(what, ..)| what.name() == "wrong_entry").count(), MOST_WRONG);
}

#[test]
fn a_hold_whose_entry_exists_counts_as_settled_by_it() {
    for kind in [EntryKind::Usage, EntryKind::Expired] {
        let (amount, of) = if kind == EntryKind::Usage { (-15, Some(KEY)) } else { (0, None) };
        assert_eq!(found(|_, lines| lines.push(line(9, kind, amount, of))), [], "{kind:?}");
    }
    let other = found(|_, lines| lines.push(line(9, EntryKind::Usage, -15, Some(OTHER))));
    assert_eq!(other, [(What::Spent(KEY), 40, 55), (What::Spent(OTHER), 22, 7)], "another key's entry settles nothing");
}

#[test]
fn a_hold_of_a_second_delivery_is_not_settled_by_the_first_one_s_entry() {
    let first = Line { hold: Some(1), ..line(9, EntryKind::Usage, -15, Some(KEY)) };
    let paid = found(|funds, lines| {
        lines.push(first);
        key(funds).spent += Nanos(15);
        key(funds).limit_left = key(funds).limit_left - Nanos(15);
        key(funds).available = key(funds).available - Nanos(15);
    });
    assert_eq!(paid, []);
}

#[test]
fn a_key_has_spent_what_all_its_lanes_have() {
    let (mut funds, mut lines) = books();
    let mut lane = funds.lanes[&(OTHER, 0)].clone();
    (lane.spent, lane.available, lane.limit_left) = (Nanos(3), Nanos(4), Nanos::ZERO);
    lane.holds.extend([hold(8, 20)]);
    funds.lanes.insert((OTHER, 1), lane);
    funds.balance = funds.balance - Nanos(27);
    lines.push(line(7, EntryKind::Usage, -3, Some(OTHER)));
    assert_eq!(compare(&funds, &sums(&funds, &lines)), []);
    lines.push(line(8, EntryKind::Usage, -11, Some(OTHER)));
    assert_eq!(compare(&funds, &sums(&funds, &lines)), [], "a lane's hold is settled as any is");
    funds.lanes.get_mut(&(OTHER, 1)).unwrap().available = Nanos(-1);
    let differences = compare(&funds, &sums(&funds, &lines));
    assert_eq!(differences[0].what, What::NegativeAllowance(OTHER));
}

#[test]
fn conservation_needs_no_entry_of_a_request() {
    let (mut funds, lines) = books();
    let credits = sums(&funds, &lines).credits;
    assert_eq!(credits.entries, 2);
    // A request is settled: the hold of 20 costs 15.
    key(&mut funds).holds.clear();
    key(&mut funds).spent += Nanos(15);
    key(&mut funds).available += Nanos(5);
    assert_eq!(compare_conservation(&funds, credits), []);
    funds.balance += Nanos(1);
    let difference = Difference { what: What::Conservation, expected: Nanos(1500), found: Nanos(1501) };
    assert_eq!(compare_conservation(&funds, credits), [difference]);
}

#[test]
fn unpaid_cost_and_a_lowered_limit_are_notices() {
    let (mut funds, mut lines) = books();
    lines[3].unpaid = Nanos(4);
    key(&mut funds).spend_limit = Some(Nanos(25));
    key(&mut funds).limit_left = Nanos(-25);
    let sums = sums(&funds, &lines);
    let over = Notice::OverLimit { key: KEY, limit: Nanos(25), spent: Nanos(30) };
    assert_eq!(notices(&funds, &sums), [Notice::Unpaid(Nanos(4)), over]);
    assert_eq!(compare(&funds, &sums), []);
}
