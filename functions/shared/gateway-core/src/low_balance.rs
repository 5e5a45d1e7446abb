//! When an account is told that its balance is low.
//!
//! What counts is the balance with what running requests hold: a hold comes back but for what its request cost, so the
//! balance alone would fall below and rise again with every request.

use crate::{money::Nanos, people::Email};

/// Nobody waits for more.
pub const MOST_THRESHOLD: Nanos = Nanos::usd(1_000_000);
/// An account is sent no second email so soon, whatever happens: what is sent goes to an address that nobody has proven to
/// be theirs.
pub const NOTICE_PAUSE_MS: u64 = 60 * 60 * 1000;

/// What an account wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowBalance {
    /// Below this the balance is low.
    pub threshold: Nanos,
    /// Who is written to; nobody: a banner in the dashboard is all.
    pub email: Option<Email>,
}

/// What is wrong with what somebody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowBalanceProblem {
    /// The threshold is no amount above 0 and up to [`MOST_THRESHOLD`].
    Threshold,
    /// The address is none.
    Email,
    /// An address without a threshold.
    NoThreshold,
}

impl LowBalance {
    /// What the two fields of a form say; none if both are empty.
    ///
    /// # Errors
    /// Which field is wrong.
    pub fn read(threshold: &str, email: &str) -> Result<Option<Self>, LowBalanceProblem> {
        let (threshold, email) = (threshold.trim(), email.trim());
        if threshold.is_empty() {
            return if email.is_empty() { Ok(None) } else { Err(LowBalanceProblem::NoThreshold) };
        }
        let threshold = Nanos::parse_usd(threshold).ok().filter(|it| (Nanos(1)..=MOST_THRESHOLD).contains(it));
        let threshold = threshold.ok_or(LowBalanceProblem::Threshold)?;
        let parsed = Email::parse(email);
        if parsed.is_none() && !email.is_empty() {
            return Err(LowBalanceProblem::Email);
        }
        Ok(Some(Self { threshold, email: parsed }))
    }

    /// Whether this balance is low.
    pub fn is_low(&self, balance: Nanos) -> bool {
        balance < self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_may_stand_alone_and_an_address_may_not() {
        let read = |threshold, email| LowBalance::read(threshold, email);
        assert_eq!(read(" ", ""), Ok(None));
        let low = read("5", "").unwrap().unwrap();
        assert_eq!((low.threshold, low.email), (Nanos::usd(5), None));
        let low = read(" 0.5 ", " Ada@Example.com ").unwrap().unwrap();
        assert_eq!(low.email.unwrap().as_str(), "ada@example.com");
        assert_eq!(read("", "a@b.example"), Err(LowBalanceProblem::NoThreshold));
        for wrong in ["0", "-1", "1000000.01", "5 USD", "5,00", "1e3"] {
            assert_eq!(read(wrong, ""), Err(LowBalanceProblem::Threshold), "{wrong}");
        }
        for wrong in ["a", "a@b\r\nbcc: c@d", "a@b, c@d"] {
            assert_eq!(read("5", wrong), Err(LowBalanceProblem::Email), "{wrong}");
        }
    }

    #[test]
    fn a_balance_is_low_below_the_threshold_and_not_at_it() {
        let low = LowBalance { threshold: Nanos::usd(5), email: None };
        assert!(low.is_low(Nanos(4_999_999_999)) && low.is_low(Nanos::usd(-1)) && !low.is_low(Nanos::usd(5)));
    }
}
