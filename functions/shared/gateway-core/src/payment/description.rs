//! What an entry of the ledger says in words of a payment, written and read again: the entries themselves hold no other
//! link to it.

use super::{Booking, Change};

/// What the words of a booked entry name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described<'a> {
    /// The payment: its payment intent.
    pub payment: &'a str,
    /// The dispute, if one moved the money.
    pub dispute: Option<&'a str>,
}

impl Booking {
    /// Words for people.
    pub fn description(&self) -> String {
        let payment = &self.payment;
        match &self.change {
            Change::Paid { .. } => format!("Payment {payment}"),
            Change::Refunded { .. } => format!("Refund of payment {payment}"),
            Change::Withdrawn { dispute, .. } => format!("Dispute {dispute} of payment {payment}: withdrawn"),
            Change::Reinstated { dispute, .. } => format!("Dispute {dispute} of payment {payment}: reinstated"),
        }
    }
}

impl<'a> Described<'a> {
    /// What [`Booking::description`] wrote; none of other words. An operator may have written the same ones: what they name
    /// counts only if the store knows it as this account's.
    pub fn read(text: &'a str) -> Option<Self> {
        let of_dispute = || {
            let (dispute, rest) = text.strip_prefix("Dispute ")?.split_once(" of payment ")?;
            let payment = rest.strip_suffix(": withdrawn").or(rest.strip_suffix(": reinstated"))?;
            Some(Self { payment, dispute: Some(dispute) })
        };
        let payment = text.strip_prefix("Payment ").or(text.strip_prefix("Refund of payment "));
        let described = payment.map(|payment| Self { payment, dispute: None }).or_else(of_dispute)?;
        let is_id =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_id(described.payment) && described.dispute.is_none_or(is_id)).then_some(described)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::RequestId, moment::UnixMs, money::Nanos, payment::Origin};

    fn read_again(change: Change) -> (String, Option<String>) {
        let entry = RequestId::first_at(UnixMs(0));
        let booking = Booking { payment: "pi_1".to_owned(), entry, change, origin: Origin::Unsaid };
        let text = booking.description();
        let described = Described::read(&text).unwrap();
        (described.payment.to_owned(), described.dispute.map(str::to_owned))
    }

    #[test]
    fn what_was_booked_is_read_out_of_its_words_again() {
        let (amount, account) = (Nanos::usd(5), crate::ids::AccountId::from_random([7; 10]));
        let dispute = || "dp_1".to_owned();
        let of = |dispute: Option<&str>| ("pi_1".to_owned(), dispute.map(str::to_owned));
        assert_eq!(read_again(Change::Paid { account, amount }), of(None));
        assert_eq!(read_again(Change::Refunded { all: amount }), of(None));
        assert_eq!(read_again(Change::Withdrawn { dispute: dispute(), amount }), of(Some("dp_1")));
        assert_eq!(read_again(Change::Reinstated { dispute: dispute(), amount }), of(Some("dp_1")));
    }

    #[test]
    fn other_words_name_nothing() {
        for text in
            ["", "Payment ", "Free credit", "Payment by bank, 7", "Refund of pi_1", "Dispute dp_1 of payment pi_1"]
        {
            assert_eq!(Described::read(text), None, "{text}");
        }
    }
}
