//! What a request may cost at the most, and what it did cost. Integers throughout, rounded up once at the end.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::{
    money::{Nanos, NotAnAmount, Picos},
    usage::Usage,
};

const PICOS_PER_NANO: i128 = 1000;

/// Prices per token of each bucket of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Fresh input.
    pub input: Picos,
    /// Input read from the cache.
    pub cache_read: Picos,
    /// Input written to the cache for five minutes.
    pub cache_write_5m: Picos,
    /// Input written to the cache for an hour.
    pub cache_write_1h: Picos,
    /// Output.
    pub output: Picos,
    /// Audio input.
    pub input_audio: Picos,
    /// Audio output.
    pub output_audio: Picos,
}

impl Rates {
    fn dearest_input(&self) -> Picos {
        [self.cache_read, self.cache_write_5m, self.cache_write_1h, self.input_audio]
            .into_iter()
            .fold(self.input, Picos::max)
    }

    fn dearest_output(&self) -> Picos {
        self.output.max(self.output_audio)
    }
}

/// A model's rates: the usual ones, and those of requests with a long input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prices {
    /// Where no tier applies.
    pub base: Rates,
    /// Each applies to the whole request when all its input is over so many tokens; ascending.
    pub tiers: Vec<(u64, Rates)>,
}

impl Prices {
    fn rates(&self, all_input: u64) -> &Rates {
        self.tiers.iter().rev().find(|(over, _)| all_input > *over).map_or(&self.base, |(_, rates)| rates)
    }

    /// The rates that can apply to a request of at most so much input.
    fn rates_up_to(&self, all_input: u64) -> impl Iterator<Item = &Rates> {
        let reached = self.tiers.iter().filter(move |(over, _)| all_input > *over);
        std::iter::once(&self.base).chain(reached.map(|(_, rates)| rates))
    }

    /// The dearest rates of an input and an output token that can apply to a request of at most so much input.
    fn dearest(&self, all_input: u64) -> (Picos, Picos) {
        let most = |rate: fn(&Rates) -> Picos| self.rates_up_to(all_input).map(rate).max().unwrap_or_default();
        (most(Rates::dearest_input), most(Rates::dearest_output))
    }
}

/// What the operator adds to the provider's price: a percentage with up to 4 decimals, kept as millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Markup {
    millionths: i64,
}

impl Markup {
    const ONE: i128 = 1_000_000;

    /// The markup written in percent, `12.5`.
    pub fn parse_percent(text: &str) -> Result<Self, NotAnAmount> {
        // A percent with 4 decimals counts millionths, as a price per million counts picos with 6: 100 times fewer.
        Picos::parse_usd_per_million(text)
            .ok()
            .filter(|parsed| parsed.0 % 100 == 0)
            .map(|parsed| Self { millionths: parsed.0 / 100 })
            .ok_or_else(|| NotAnAmount::of(text, 4))
    }

    fn numerator(self) -> i128 {
        Self::ONE + i128::from(self.millionths)
    }

    /// `price` with the markup, rounded up to a whole pico-USD: for showing, never for charging.
    pub fn shown(self, price: Picos) -> Picos {
        Picos(saturate(div_up(i128::from(price.0) * self.numerator(), Self::ONE)))
    }
}

impl Serialize for Markup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (whole, fraction) = (self.millionths / 10_000, self.millionths % 10_000);
        serializer.collect_str(&format_args!("{whole}.{fraction:04}"))
    }
}

impl<'de> Deserialize<'de> for Markup {
    /// A JSON number of percent, or a string that holds one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse_percent(raw.get().trim_matches('"')).map_err(de::Error::custom)
    }
}

/// What `usage` costs, rounded up once to a nano-USD.
pub fn cost(prices: &Prices, markup: Markup, usage: &Usage) -> Nanos {
    let rates = prices.rates(usage.all_input());
    let buckets = [
        (usage.input, rates.input),
        (usage.cache_read, rates.cache_read),
        (usage.cache_write_5m, rates.cache_write_5m),
        (usage.cache_write_1h, rates.cache_write_1h),
        (usage.output, rates.output),
        (usage.input_audio, rates.input_audio),
        (usage.output_audio, rates.output_audio),
    ];
    let picos = buckets.iter().fold(0i128, |sum, (tokens, price)| sum.saturating_add(times(*tokens, *price)));
    to_nanos(picos, markup)
}

/// The most that `input` and `output` tokens can cost, at the dearest rate that can apply to either.
pub fn worst_case(prices: &Prices, markup: Markup, input: u64, output: u64) -> Nanos {
    let (input_price, output_price) = prices.dearest(input);
    to_nanos(times(input, input_price).saturating_add(times(output, output_price)), markup)
}

/// The most output tokens with which the worst case of `input` tokens is within `budget`; none if no output is.
pub fn affordable_output(prices: &Prices, markup: Markup, input: u64, budget: Nanos) -> Option<u64> {
    let (input_price, output_price) = prices.dearest(input);
    let picos = i128::from(budget.0).saturating_mul(PICOS_PER_NANO * Markup::ONE).div_euclid(markup.numerator());
    let left = picos.checked_sub(times(input, input_price)).filter(|left| *left >= 0)?;
    match i128::from(output_price.0) {
        0 => Some(u64::MAX),
        price => u64::try_from(left / price).ok().or(Some(u64::MAX)),
    }
}

fn times(tokens: u64, price: Picos) -> i128 {
    i128::from(tokens).saturating_mul(i128::from(price.0))
}

fn to_nanos(picos: i128, markup: Markup) -> Nanos {
    let marked_up = picos.saturating_mul(markup.numerator());
    Nanos(saturate(div_up(marked_up, PICOS_PER_NANO * Markup::ONE)))
}

fn div_up(amount: i128, by: i128) -> i128 {
    amount.div_euclid(by) + i128::from(amount.rem_euclid(by) > 0)
}

fn saturate(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prices() -> Prices {
        let base = Rates {
            input: Picos(150_000),
            cache_read: Picos(75_000),
            cache_write_5m: Picos(187_500),
            cache_write_1h: Picos(300_000),
            output: Picos(600_000),
            input_audio: Picos(10_000_000),
            output_audio: Picos(20_000_000),
        };
        Prices { tiers: vec![(200_000, Rates { input: Picos(300_000), output: Picos(900_000), ..base })], base }
    }

    fn usages() -> impl Strategy<Value = Usage> {
        (0u64..300_000, 0u64..300_000, 0u64..9_000, 0u64..9_000, 0u64..200_000, 0u64..9_000, 0u64..9_000).prop_map(
            |(input, cache_read, cache_write_5m, cache_write_1h, output, input_audio, output_audio)| Usage {
                input,
                cache_read,
                cache_write_5m,
                cache_write_1h,
                output,
                input_audio,
                output_audio,
            },
        )
    }

    #[test]
    fn a_tiny_request_is_rounded_up_once() {
        // 1 × 0.15 $/M + 1 × 0.60 $/M = 0.75 µUSD = 750 nanos exactly; with a price of 1 pico, one nano.
        let one = Usage { input: 1, output: 1, ..Usage::default() };
        assert_eq!(cost(&prices(), Markup::default(), &one), Nanos(750));
        let cheap = Prices { base: Rates { input: Picos(1), output: Picos(1), ..Rates::default() }, tiers: vec![] };
        assert_eq!(cost(&cheap, Markup::default(), &one), Nanos(1));
        assert_eq!(cost(&cheap, Markup::default(), &Usage::default()), Nanos(0));
    }

    #[test]
    fn markup_is_exact_to_a_ten_thousandth_of_a_percent() {
        let million = Usage { input: 100_000, ..Usage::default() };
        let markup = Markup::parse_percent("12.5").unwrap();
        assert_eq!(cost(&prices(), markup, &million), Nanos(16_875_000));
        assert_eq!(markup.shown(Picos(150_000)), Picos(168_750));
        assert!(Markup::parse_percent("0.00001").is_err());
        assert!(Markup::parse_percent("-5").is_err());
    }

    #[test]
    fn a_long_input_is_charged_at_its_tier_as_a_whole() {
        let at = Usage { input: 200_000, ..Usage::default() };
        let over = Usage { input: 200_001, ..Usage::default() };
        assert_eq!(cost(&prices(), Markup::default(), &at), Nanos(30_000_000));
        assert_eq!(cost(&prices(), Markup::default(), &over), Nanos(60_000_300));
    }

    #[test]
    fn a_tier_that_the_input_cannot_reach_is_not_held_for() {
        let at = |input| worst_case(&prices(), Markup::default(), input, 100);
        assert_eq!(at(200_000).0, 200_000 * 10_000 + 100 * 20_000);
        let dear = Rates { input: Picos(20_000_000), ..Rates::default() };
        let tiered = Prices { tiers: vec![(200_000, dear)], ..prices() };
        assert_eq!(worst_case(&tiered, Markup::default(), 200_000, 0), Nanos(200_000 * 10_000));
        assert_eq!(worst_case(&tiered, Markup::default(), 200_001, 0), Nanos(200_001 * 20_000));
        assert_eq!(affordable_output(&Prices::default(), Markup::default(), 9, Nanos::ZERO), Some(u64::MAX), "free");
    }

    proptest! {
        #[test]
        fn cost_grows_with_every_bucket(usage in usages(), more in usages()) {
            let sum = Usage {
                input: usage.input + more.input,
                cache_read: usage.cache_read + more.cache_read,
                cache_write_5m: usage.cache_write_5m + more.cache_write_5m,
                cache_write_1h: usage.cache_write_1h + more.cache_write_1h,
                output: usage.output + more.output,
                input_audio: usage.input_audio + more.input_audio,
                output_audio: usage.output_audio + more.output_audio,
            };
            let markup = Markup::default();
            prop_assert!(cost(&prices(), markup, &sum) >= cost(&prices(), markup, &usage));
        }

        #[test]
        fn the_worst_case_covers_every_cost(usage in usages(), percent in 0u32..500) {
            let markup = Markup::parse_percent(&percent.to_string()).unwrap();
            let worst = worst_case(&prices(), markup, usage.all_input(), usage.all_output());
            prop_assert!(cost(&prices(), markup, &usage) <= worst);
        }

        #[test]
        fn the_worst_case_grows_with_input_and_output(
            input in 0u64..500_000, more in 0u64..500_000, output in 0u64..200_000, longer in 0u64..200_000,
        ) {
            let at = |input, output| worst_case(&prices(), Markup::default(), input, output);
            prop_assert!(at(input, output) <= at(input + more, output + longer));
        }

        #[test]
        fn what_is_affordable_fits_and_one_token_more_does_not(
            input in 0u64..300_000, budget in 0i64..2_000_000_000, percent in 0u32..500,
        ) {
            let markup = Markup::parse_percent(&percent.to_string()).unwrap();
            let at = |output| worst_case(&prices(), markup, input, output);
            match affordable_output(&prices(), markup, input, Nanos(budget)) {
                Some(most) => prop_assert!(at(most) <= Nanos(budget) && at(most + 1) > Nanos(budget)),
                None => prop_assert!(at(0) > Nanos(budget)),
            }
        }
    }
}
