//! Commands, at random: what clients, operators, the platform and the clock do to one account, and what goes wrong.

use gateway_core::{
    limits::{Interval, RateLimit},
    moment::Reset,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use support::faults::{Fate, Lost, Refused};

/// Execution environments.
pub(crate) const ENVIRONMENTS: usize = 3;
/// A key is chosen among so many at the most, all the account ever had.
const KEYS: usize = 5;

/// What is done, by whom, and what goes wrong.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) act: Act,
    /// Who does it.
    pub(crate) environment: usize,
    /// How far that one's clock is behind.
    pub(crate) behind_ms: u64,
    pub(crate) faults: Vec<Fault>,
}

/// The calls from `from` on, `calls` of them, meet `fate`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) from: usize,
    pub(crate) calls: usize,
    pub(crate) fate: Fate,
}

/// Keys, requests and holds are numbers: keys among all there were, requests and holds counted back from the newest.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Credit {
        amount: i64,
        payment: bool,
    },
    CreditAgain {
        credit: usize,
    },
    /// A payment comes.
    Pay {
        amount: i64,
    },
    /// What was booked of a payment comes again, or one before it late.
    BookAgain {
        booking: usize,
    },
    /// So many percent of a payment went back, in all: perhaps less than before, perhaps more than is left.
    Refund {
        payment: usize,
        percent: i64,
    },
    /// A bank takes a part of a payment back, or gives it again.
    Dispute {
        payment: usize,
        percent: i64,
        won: bool,
    },
    Place {
        key: usize,
        amount: i64,
        lasts_s: u64,
    },
    PlaceAgain {
        request: usize,
        amount: i64,
    },
    /// Costs so many percent of what is held: over 100, and the hold is extended first.
    Finish {
        hold: usize,
        percent: i64,
    },
    /// The charge alone, as a caller does who tries again.
    Settle {
        hold: usize,
        percent: i64,
    },
    Release {
        hold: usize,
    },
    Count {
        key: usize,
    },
    Create {
        limit: Option<i64>,
        reset: Option<Reset>,
        rate: RateLimit,
    },
    Limit {
        key: usize,
        limit: Option<i64>,
    },
    Reset {
        key: usize,
        reset: Option<Reset>,
    },
    Rate {
        key: usize,
        rate: RateLimit,
    },
    Switch {
        key: usize,
        active: bool,
    },
    Delete {
        key: usize,
    },
    /// What the scheduled function does.
    Sweep,
    Wait(Wait),
}

/// How long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Ms(u64),
    /// Until this long before the next midnight, or after it.
    Midnight {
        before_ms: u64,
    },
    Midnights(u64),
}

fn key() -> impl Strategy<Value = usize> {
    0..KEYS
}

/// Small enough for funds and limits to run out in every corner.
fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 1..400_i64, 2 => 400..3_000_i64, 1 => Just(0_i64)]
}

fn limit() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 4 => (0..3_000_i64).prop_map(Some)]
}

fn reset() -> impl Strategy<Value = Option<Reset>> {
    option::of(select(vec![Reset::Daily, Reset::Weekly, Reset::Monthly]))
}

fn rate() -> impl Strategy<Value = RateLimit> {
    let interval = select(vec![1, 10, 60, 3_600]).prop_map(|seconds| Interval { seconds });
    let slow = (prop_oneof![1 => 1..4_u32, 4 => 4..50_u32], interval);
    // So fast that the store keeps the key in several items.
    let fast = (251..1_500_u32, Just(Interval { seconds: 1 }));
    prop_oneof![3 => slow.boxed(), 1 => fast.boxed()].prop_map(|(requests, interval)| RateLimit { requests, interval })
}

fn wait() -> impl Strategy<Value = Wait> {
    prop_oneof![
        4 => (1..2_000_u64).prop_map(Wait::Ms),
        3 => (2_000..70_000_u64).prop_map(Wait::Ms),
        2 => (70_000..4_000_000_u64).prop_map(Wait::Ms),
        2 => (0..3_000_u64).prop_map(|before_ms| Wait::Midnight { before_ms }),
        1 => (1..40_u64).prop_map(Wait::Midnights),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let hold = || 0..8_usize;
    // Longer than any clock is behind.
    let lasts = select(vec![8_u64, 30, 90, 960]);
    prop_oneof![
        5 => (1..6_000_i64, any::<bool>()).prop_map(|(amount, payment)| Act::Credit { amount, payment }),
        1 => (0..3_usize).prop_map(|credit| Act::CreditAgain { credit }),
        3 => (1..6_000_i64).prop_map(|amount| Act::Pay { amount }),
        1 => (0..6_usize).prop_map(|booking| Act::BookAgain { booking }),
        3 => (0..4_usize, 1..=100_i64).prop_map(|(payment, percent)| Act::Refund { payment, percent }),
        1 => (0..4_usize, 1..=100_i64, any::<bool>())
            .prop_map(|(payment, percent, won)| Act::Dispute { payment, percent, won }),
        32 => (key(), amount(), lasts).prop_map(|(key, amount, lasts_s)| Act::Place { key, amount, lasts_s }),
        4 => (hold(), amount()).prop_map(|(request, amount)| Act::PlaceAgain { request, amount }),
        14 => (hold(), 0..=100_i64).prop_map(|(hold, percent)| Act::Finish { hold, percent }),
        4 => (hold(), 101..600_i64).prop_map(|(hold, percent)| Act::Finish { hold, percent }),
        5 => (hold(), 0..=100_i64).prop_map(|(hold, percent)| Act::Settle { hold, percent }),
        6 => hold().prop_map(|hold| Act::Release { hold }),
        3 => key().prop_map(|key| Act::Count { key }),
        2 => (limit(), reset(), rate()).prop_map(|(limit, reset, rate)| Act::Create { limit, reset, rate }),
        4 => (key(), limit()).prop_map(|(key, limit)| Act::Limit { key, limit }),
        3 => (key(), reset()).prop_map(|(key, reset)| Act::Reset { key, reset }),
        2 => (key(), rate()).prop_map(|(key, rate)| Act::Rate { key, rate }),
        4 => (key(), prop::bool::weighted(0.7)).prop_map(|(key, active)| Act::Switch { key, active }),
        1 => key().prop_map(|key| Act::Delete { key }),
        2 => Just(Act::Sweep),
        12 => wait().prop_map(Act::Wait),
    ]
}

fn refused() -> impl Strategy<Value = Refused> {
    use Refused::*;
    select(vec![Throughput, Throttled, Conflict, Internal, Unreachable, TimedOut])
}

pub(crate) fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        5 => refused().prop_map(Fate::Refused),
        4 => select(vec![Lost::Internal, Lost::TimedOut]).prop_map(Fate::ReplyLost),
        2 => Just(Fate::DoneTwice),
        3 => Just(Fate::Crash),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let calls = prop_oneof![15 => 1..3_usize, 1 => Just(35_usize)];
    (0..9_usize, calls, fate()).prop_map(|(from, calls, fate)| Fault { from, calls, fate })
}

/// Any command.
pub(crate) fn command() -> impl Strategy<Value = Command> {
    let behind = prop_oneof![5 => Just(0_u64), 1 => 1..5_000_u64];
    let faults = prop_oneof![3 => Just(Vec::new()), 1 => vec(fault(), 1..3)];
    (act(), 0..ENVIRONMENTS, behind, faults).prop_map(|(act, environment, behind_ms, faults)| Command {
        act,
        environment,
        behind_ms,
        faults,
    })
}
