//! Payments: what Stripe's events say, and what of it is booked. Amounts come from these events alone, never from a client.
//!
//! A payment is known by its payment intent. What a Checkout Session of ours was paid is credited to the account that its
//! metadata names; what of it goes back is taken from that account again, though it may be spent by then:
//!
//! | event | booked |
//! |---|---|
//! | `checkout.session.completed`, if it is paid; `checkout.session.async_payment_succeeded` | `payment`, the session's total |
//! | `charge.refunded` | `refund`, what was refunded in all, less what was booked of that |
//! | `charge.dispute.funds_withdrawn`, `charge.dispute.funds_reinstated` | `adjustment`, what is disputed: taken, given again |
//!
//! A refund that fails later (`refund.failed`: the card is closed, say) brings the money back to the operator, who has to
//! decide what becomes of it: nothing is booked, the operator is told.
//!
//! A dispute is an adjustment because it is one in Stripe's own books, and may end either way. Stripe sends an event more
//! than once and in any order, and sometimes two events of the same thing: that each is booked once is the store's part.

mod description;
pub mod signature;
mod top_up;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    ids::{AccountId, RequestId},
    moment::UnixMs,
    money::Nanos,
};

pub use description::Described;
pub use top_up::{CHECKOUT_MARK, LEAST_TOP_UP, MOST_TOP_UP, top_up_cents};

/// The only currency of the books, as Stripe writes it.
pub const CURRENCY: &str = "usd";

/// What happened to a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// The payment: its payment intent.
    pub payment: String,
    /// The ledger entry's id, which says when it happened.
    pub entry: RequestId,
    /// What happened.
    pub change: Change,
    /// Whose it is by what the event says.
    pub origin: Origin,
}

/// Whose a payment is by what an event says. It matters where the payment is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The mark of this account is on it: its own event is yet to come, if the account is here.
    Ours(AccountId),
    /// Our mark is not where it would be: somebody takes payments with the same Stripe account.
    Others,
    /// The event does not say.
    Unsaid,
}

/// What happened to a payment. Amounts are positive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It came.
    Paid {
        /// Who is credited.
        account: AccountId,
        /// How much.
        amount: Nanos,
    },
    /// So much of it went back, in all so far.
    Refunded {
        /// All refunds together.
        all: Nanos,
    },
    /// A bank took it back.
    Withdrawn {
        /// The dispute.
        dispute: String,
        /// How much.
        amount: Nanos,
    },
    /// A bank gave it again: the dispute was decided for us.
    Reinstated {
        /// The dispute.
        dispute: String,
        /// How much.
        amount: Nanos,
    },
}

/// An event of Stripe's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Its type, `charge.refunded`.
    pub kind: String,
    /// What it means for the books.
    pub meaning: Meaning,
}

/// What an event means for the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Money has moved.
    Book(Booking),
    /// Nothing, and why.
    Nothing(&'static str),
    /// Money of ours has moved that the books can't hold, and why.
    Unbookable(String),
    /// Money that was booked as refunded has come back, if this payment is one of ours.
    RefundFailed {
        /// The payment: its payment intent.
        payment: String,
        /// The refund.
        refund: String,
    },
}

/// Reads an event whose signature is right.
///
/// # Errors
/// It is not an event, or one of those that are booked and not of its form. What the error says may quote it.
pub fn read(body: &[u8]) -> Result<Event, serde_json::Error> {
    let raw: RawEvent<'_> = serde_json::from_slice(body)?;
    let (object, at) = (raw.data.object.get(), UnixMs(raw.created.saturating_mul(1000)));
    let meaning = match raw.kind.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            serde_json::from_str::<Session>(object)?.meaning(at)
        }
        "charge.refunded" => serde_json::from_str::<Charge>(object)?.meaning(at),
        "charge.dispute.funds_withdrawn" => serde_json::from_str::<Dispute>(object)?.meaning(at, false),
        "charge.dispute.funds_reinstated" => serde_json::from_str::<Dispute>(object)?.meaning(at, true),
        "refund.failed" => serde_json::from_str::<Refund>(object)?.meaning(),
        _ => Meaning::Nothing("another kind of event"),
    };
    Ok(Event { id: raw.id, kind: raw.kind, meaning })
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    /// Seconds since 1970.
    created: u64,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Metadata {
    account: Option<String>,
}

/// The account that our own call put there. Whoever else takes payments with the same Stripe account may have put
/// something there too, but hardly of that form.
fn account_of(metadata: Option<Metadata>) -> Option<AccountId> {
    AccountId::parse(&metadata?.account?)
}

/// The amount, if there is one and the books can hold it.
fn amount(cents: Option<i64>, currency: Option<&str>) -> Result<Nanos, Meaning> {
    let shown = currency.unwrap_or("no currency");
    if currency != Some(CURRENCY) {
        return Err(Meaning::Unbookable(format!("an amount in {shown}, not in {CURRENCY}")));
    }
    let amount = cents.filter(|cents| *cents > 0).and_then(Nanos::cents);
    amount.ok_or_else(|| Meaning::Unbookable(format!("an amount of {cents:?} cents")))
}

#[derive(Deserialize)]
struct Session {
    id: String,
    payment_status: String,
    amount_total: Option<i64>,
    currency: Option<String>,
    payment_intent: Option<String>,
    metadata: Option<Metadata>,
}

impl Session {
    fn meaning(self, at: UnixMs) -> Meaning {
        let Some(account) = account_of(self.metadata) else { return Meaning::Nothing("a session that is not ours") };
        if self.payment_status != "paid" {
            return Meaning::Nothing("a session that is not paid yet");
        }
        match amount(self.amount_total, self.currency.as_deref()) {
            Ok(amount) => Meaning::Book(Booking {
                entry: RequestId::of_platform(at, &self.id),
                // Every session that was paid has one; nothing could be refunded without.
                payment: self.payment_intent.unwrap_or(self.id),
                origin: Origin::Ours(account.clone()),
                change: Change::Paid { account, amount },
            }),
            Err(meaning) => meaning,
        }
    }
}

#[derive(Deserialize)]
struct Charge {
    /// In all so far.
    amount_refunded: i64,
    currency: String,
    payment_intent: Option<String>,
    /// Stripe copies the payment intent's.
    metadata: Option<Metadata>,
}

impl Charge {
    fn meaning(self, at: UnixMs) -> Meaning {
        let Some(payment) = self.payment_intent else { return Meaning::Nothing("a charge without a payment intent") };
        let origin = account_of(self.metadata).map_or(Origin::Others, Origin::Ours);
        match amount(Some(self.amount_refunded), Some(&self.currency)) {
            Ok(all) => Meaning::Book(Booking {
                entry: RequestId::of_platform(at, &format!("{payment} refunded {}", self.amount_refunded)),
                payment,
                change: Change::Refunded { all },
                origin,
            }),
            Err(_) if origin == Origin::Others => Meaning::Nothing("a charge that is not ours"),
            Err(meaning) => meaning,
        }
    }
}

#[derive(Deserialize)]
struct Refund {
    id: String,
    payment_intent: Option<String>,
}

impl Refund {
    fn meaning(self) -> Meaning {
        let Some(payment) = self.payment_intent else { return Meaning::Nothing("a refund without a payment intent") };
        Meaning::RefundFailed { payment, refund: self.id }
    }
}

#[derive(Deserialize)]
struct Dispute {
    id: String,
    amount: i64,
    currency: String,
    payment_intent: Option<String>,
}

impl Dispute {
    /// A dispute says nothing of whose payment it is about: the payment does, if it is one of ours.
    fn meaning(self, at: UnixMs, reinstated: bool) -> Meaning {
        let Some(payment) = self.payment_intent else { return Meaning::Nothing("a dispute without a payment intent") };
        let Ok(amount) = amount(Some(self.amount), Some(&self.currency)) else {
            // Ours are of the books' currency.
            return Meaning::Nothing("a dispute of no amount in dollars");
        };
        let word = if reinstated { "reinstated" } else { "withdrawn" };
        let entry = RequestId::of_platform(at, &format!("{} {word}", self.id));
        let dispute = self.id;
        let change =
            if reinstated { Change::Reinstated { dispute, amount } } else { Change::Withdrawn { dispute, amount } };
        Meaning::Book(Booking { payment, entry, change, origin: Origin::Unsaid })
    }
}

#[cfg(test)]
mod tests;
