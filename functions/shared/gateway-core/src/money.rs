//! Money as integers: prices in pico-USD per unit, amounts in nano-USD. No float is ever made of either.

use std::{borrow::Cow, fmt, iter::Sum, ops};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

const NANOS_PER_USD: i64 = 1_000_000_000;
const NANOS_PER_CENT: i64 = NANOS_PER_USD / 100;

/// An amount of money in nano-USD (1e-9 USD). In JSON a number in USD with 2 to 9 decimals, `1500.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub i64);

/// A price in pico-USD (1e-12 USD) per unit, usually a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Picos(pub i64);

/// Text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount: write digits and at most {1} decimals, such as 12.50")]
pub struct NotAnAmount(String, usize);

impl NotAnAmount {
    /// The error for `text`, which may have `decimals` decimals.
    pub(crate) fn of(text: &str, decimals: usize) -> Self {
        Self(text.chars().take(40).collect(), decimals)
    }
}

/// `text` as a whole number of 10^-`decimals`. No sign, no exponent, no more decimals than that but zeros.
fn parse_decimal(text: &str, decimals: usize) -> Result<i64, NotAnAmount> {
    let wrong = || NotAnAmount::of(text, decimals);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > decimals {
        return Err(wrong());
    }
    format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| wrong())
}

/// `amount` × 10^-`decimals`, with at least `least` decimals and no zeros behind those.
fn write_decimal(f: &mut fmt::Formatter<'_>, amount: i64, decimals: usize, least: usize) -> fmt::Result {
    let sign = if amount < 0 { "-" } else { "" };
    let digits = format!("{:0>1$}", amount.unsigned_abs(), decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let kept = fraction.trim_end_matches('0').len().max(least);
    let fraction = &fraction[..kept];
    if fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
}

impl Nanos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole dollars.
    pub const fn usd(dollars: i64) -> Self {
        Self(dollars * NANOS_PER_USD)
    }

    /// Cents; none if they are more than an amount can be.
    pub fn cents(cents: i64) -> Option<Self> {
        cents.checked_mul(NANOS_PER_CENT).map(Self)
    }

    /// The amount in cents, if it is a whole number of them.
    pub fn whole_cents(self) -> Option<i64> {
        (self.0 % NANOS_PER_CENT == 0).then_some(self.0 / NANOS_PER_CENT)
    }

    /// The amount written in USD, `12.5`.
    pub fn parse_usd(text: &str) -> Result<Self, NotAnAmount> {
        parse_decimal(text, 9).map(Self)
    }
}

impl Picos {
    /// The price written in USD per unit, `0.00000015`.
    pub fn parse_usd_per_unit(text: &str) -> Result<Self, NotAnAmount> {
        parse_decimal(text, 12).map(Self)
    }

    /// The price written in USD per million units, `0.15`.
    pub fn parse_usd_per_million(text: &str) -> Result<Self, NotAnAmount> {
        parse_decimal(text, 6).map(Self)
    }
}

/// A price as people read it: USD per million units, with at least two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerMillion(pub Picos);

impl fmt::Display for PerMillion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0.0, 6, 2)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, 9, 2)
    }
}

impl fmt::Display for Picos {
    /// USD per unit, as the models' list shows it: `0.00000015`, `0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, 12, 0)
    }
}

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nanos {
    /// A JSON number, or a string that holds one. It is read digit by digit, so 0.1 is 0.1.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse_usd(&without_exponent(raw.get().trim_matches('"'))).map_err(de::Error::custom)
    }
}

/// `1e-06`, as Python writes small numbers, without its exponent: `0.000001`. Whatever else there is stays as it is.
fn without_exponent(text: &str) -> Cow<'_, str> {
    const MOST_SHIFT: i32 = 30;
    let shifted = || {
        let (digits, exponent) = text.split_once(['e', 'E'])?;
        let exponent: i32 = exponent.parse().ok().filter(|shift| (-MOST_SHIFT..=MOST_SHIFT).contains(shift))?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        // As many zeros on either side as the point can move.
        let zeros = "0".repeat(MOST_SHIFT.unsigned_abs() as usize);
        let point = i32::try_from(zeros.len() + whole.len()).ok()? + exponent;
        let all = format!("{zeros}{whole}{fraction}{zeros}");
        let (whole, fraction) = all.split_at_checked(usize::try_from(point).ok()?)?;
        Some(format!("{whole}.{fraction}"))
    };
    shifted().map_or(Cow::Borrowed(text), Cow::Owned)
}

impl ops::Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl ops::Sub for Nanos {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl ops::AddAssign for Nanos {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl ops::Neg for Nanos {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, |sum, amount| sum + amount)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_written_with_2_to_9_decimals() {
        for (nanos, text) in [
            (0, "0.00"),
            (1_500_500_000_000, "1500.50"),
            (1, "0.000000001"),
            (-20_000_000, "-0.02"),
            (123_456_789, "0.123456789"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(Nanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000000001", "1,5", "99999999999", "NaN", "1 "] {
            assert!(Nanos::parse_usd(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tenth_of_a_dollar_in_json_is_exact() {
        assert_eq!(serde_json::from_str::<Nanos>("0.1").unwrap(), Nanos(100_000_000));
        assert_eq!(serde_json::from_str::<Nanos>("\"0.1\"").unwrap(), Nanos(100_000_000));
        assert_eq!(serde_json::to_string(&[Nanos(100_000_000)]).unwrap(), "[0.10]");
    }

    #[test]
    fn an_amount_in_json_may_have_an_exponent() {
        let read = |text: &str| serde_json::from_str::<Nanos>(text).ok();
        assert_eq!(read("1e-06"), Some(Nanos(1000)));
        assert_eq!(read("1.5E+2"), Some(Nanos::usd(150)));
        assert_eq!(read("12.5e-1"), Some(Nanos(1_250_000_000)));
        for wrong in ["1e-10", "-1e-06", "1e99", "1e10", "1e999999999999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn cents_are_whole_and_what_is_less_is_none() {
        assert_eq!(Nanos::cents(2050), Some(Nanos(20_500_000_000)));
        assert_eq!(Nanos::cents(i64::MAX), None);
        assert_eq!(Nanos(20_500_000_000).whole_cents(), Some(2050));
        assert_eq!(Nanos(20_500_000_001).whole_cents(), None);
    }

    #[test]
    fn prices_are_read_per_unit_and_per_million() {
        assert_eq!(Picos::parse_usd_per_million("0.15"), Picos::parse_usd_per_unit("0.00000015"));
        assert_eq!(Picos(150_000).to_string(), "0.00000015");
        assert_eq!(Picos(0).to_string(), "0");
        assert_eq!(PerMillion(Picos(150_000)).to_string(), "0.15");
        assert_eq!(PerMillion(Picos(2_500_000)).to_string(), "2.50");
        assert_eq!(PerMillion(Picos(27_775)).to_string(), "0.027775");
    }

    proptest! {
        #[test]
        fn a_written_amount_is_read_back(nanos in 0..i64::MAX) {
            prop_assert_eq!(Nanos::parse_usd(&Nanos(nanos).to_string()), Ok(Nanos(nanos)));
        }
    }
}
