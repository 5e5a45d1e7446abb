//! What may be topped up at a time.

use crate::money::Nanos;

/// Of less, Stripe's fee (30 cents and 2.9 %) would be more than a third.
pub const LEAST_TOP_UP: Nanos = Nanos::usd(1);
/// A slip of the keyboard, or a billing key that was stolen, asks for no more at a time; and cards are good for as much.
pub const MOST_TOP_UP: Nanos = Nanos::usd(10_000);
/// The query parameter that tells the page that the customer comes back to how it went: `success`, `cancelled`. What was
/// paid, the account's balance tells.
pub const CHECKOUT_MARK: &str = "checkout";

/// The amount in cents, if it may be topped up: from [`LEAST_TOP_UP`] to [`MOST_TOP_UP`], in whole cents.
pub fn top_up_cents(amount: Nanos) -> Option<i64> {
    amount.whole_cents().filter(|_| (LEAST_TOP_UP..=MOST_TOP_UP).contains(&amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_cents_from_the_least_to_the_most_may_be_topped_up() {
        let cents = |text: &str| top_up_cents(Nanos::parse_usd(text).unwrap());
        assert_eq!([cents("1"), cents("20.50"), cents("10000")], [Some(100), Some(2050), Some(1_000_000)]);
        for text in ["0", "0.99", "10000.01", "5.001", "1.009"] {
            assert_eq!(cents(text), None, "{text}");
        }
    }
}
