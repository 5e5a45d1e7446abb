//! From the data's price lists to the gateway's prices: exact, or refused with the reason.

use std::collections::BTreeSet;

use gateway_core::{
    money::Picos,
    pricing::{Prices, Rates},
};
use serde_json::value::RawValue;

use crate::data::{PriceList, Tiered};

/// What OpenAI's tools cost. They exist on `/v1/responses` alone, so no chat request can run up such a charge.
const TOOL_CHARGES: [&str; 2] = ["web_searches_kcount", "storage_searches_kcount"];

/// What of a list the gateway can charge.
const CHARGED: [&str; 8] = [
    "input_mtok",
    "output_mtok",
    "cache_read_mtok",
    "cache_write_mtok",
    "cache_write_5m_mtok",
    "cache_write_1h_mtok",
    "input_audio_mtok",
    "output_audio_mtok",
];

/// The prices of a model, of which `lists` may hold at different hours: then the dearest of each.
pub fn prices(lists: &[PriceList], embedding: bool) -> Result<Prices, String> {
    let all: Vec<Prices> = lists.iter().map(|list| prices_of(list, embedding)).collect::<Result<_, _>>()?;
    match &all[..] {
        [] => Err("has no price".to_owned()),
        [only] => Ok(only.clone()),
        [first, rest @ ..] if all.iter().all(|prices| prices.tiers.is_empty()) => Ok(Prices {
            base: rest.iter().fold(first.base, |dearest, prices| dearest_of(dearest, prices.base)),
            tiers: Vec::new(),
        }),
        _ => Err("has tiers and prices by the hour".to_owned()),
    }
}

fn dearest_of(a: Rates, b: Rates) -> Rates {
    Rates {
        input: a.input.max(b.input),
        cache_read: a.cache_read.max(b.cache_read),
        cache_write_5m: a.cache_write_5m.max(b.cache_write_5m),
        cache_write_1h: a.cache_write_1h.max(b.cache_write_1h),
        output: a.output.max(b.output),
        input_audio: a.input_audio.max(b.input_audio),
        output_audio: a.output_audio.max(b.output_audio),
    }
}

fn prices_of(list: &PriceList, embedding: bool) -> Result<Prices, String> {
    let known = |key: &str| CHARGED.contains(&key) || TOOL_CHARGES.contains(&key);
    if let Some(other) = list.keys().find(|key| !known(key)) {
        return Err(format!("is charged by `{other}`, which the gateway does not count"));
    }
    let mut starts = BTreeSet::new();
    for value in list.values() {
        starts.extend(tiered(value)?.tiers.iter().map(|tier| tier.start));
    }
    let tiers = starts.into_iter().map(|start| Ok((start, rates(list, Some(start), embedding)?)));
    Ok(Prices { base: rates(list, None, embedding)?, tiers: tiers.collect::<Result<_, String>>()? })
}

/// The rates of the tier that begins at `start`, or of no tier.
fn rates(list: &PriceList, start: Option<u64>, embedding: bool) -> Result<Rates, String> {
    let rate = |key: &str| -> Result<Option<Picos>, String> {
        let Some(value) = list.get(key) else { return Ok(None) };
        let tiered = tiered(value)?;
        // Of the tiers at or below `start` the highest holds, in whatever order they are written.
        let tiers = tiered.tiers.iter().filter(|tier| start.is_some_and(|start| tier.start <= start));
        let price = tiers.max_by_key(|tier| tier.start).map_or(&tiered.base, |tier| &tier.price);
        picos(price.get()).map(Some)
    };
    // What a list does not name is charged as what contains it, here and at the provider.
    let input = rate("input_mtok")?.ok_or("has no input price")?;
    let output = match rate("output_mtok")? {
        None if embedding => Picos(0),
        other => other.ok_or("has no output price")?,
    };
    let cache_write = rate("cache_write_mtok")?.unwrap_or(input);
    Ok(Rates {
        input,
        cache_read: rate("cache_read_mtok")?.unwrap_or(input),
        cache_write_5m: rate("cache_write_5m_mtok")?.unwrap_or(cache_write),
        cache_write_1h: rate("cache_write_1h_mtok")?.unwrap_or(cache_write),
        output,
        input_audio: rate("input_audio_mtok")?.unwrap_or(input),
        output_audio: rate("output_audio_mtok")?.unwrap_or(output),
    })
}

fn tiered(value: &RawValue) -> Result<Tiered, String> {
    if value.get().starts_with('{') {
        serde_json::from_str(value.get()).map_err(|error| format!("has a price that cannot be read: {error}"))
    } else {
        Ok(Tiered { base: value.to_owned(), tiers: Vec::new() })
    }
}

/// A JSON number of USD per million tokens, digit by digit.
pub fn picos(number: &str) -> Result<Picos, String> {
    let wrong = || format!("has the price {number}, which is not a whole number of pico-USD per token");
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i32 = exponent.trim_start_matches('+').parse().map_err(|_| wrong())?;
    let plain = shifted(mantissa, exponent).ok_or_else(wrong)?;
    Picos::parse_usd_per_million(&plain).map_err(|_| wrong())
}

/// `mantissa` × 10^`exponent` without an exponent.
fn shifted(mantissa: &str, exponent: i32) -> Option<String> {
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    // No price is this large or this small; the bound keeps the padding short.
    if !(-30..=30).contains(&point) {
        return None;
    }
    let before = usize::try_from(-point).unwrap_or(0);
    let digits = format!("{}{whole}{fraction}", "0".repeat(before));
    let point = usize::try_from(point).unwrap_or(0);
    let digits = format!("{digits:0<point$}");
    let (whole, fraction) = digits.split_at(point);
    Some(format!("{}.{}", if whole.is_empty() { "0" } else { whole }, if fraction.is_empty() { "0" } else { fraction }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_digit_by_digit() {
        for (number, expected) in [
            ("2.5", 2_500_000),
            ("0.003625", 3_625),
            ("5e-05", 50),
            ("1.5E+2", 150_000_000),
            ("1e-6", 1),
            ("0", 0),
            ("150", 150_000_000),
            ("12.50e0", 12_500_000),
        ] {
            assert_eq!(picos(number), Ok(Picos(expected)), "{number}");
        }
        for number in ["0.13999999999999999", "1e-7", "-1", "1e99", "1e-99", "null", "\"1\"", "1e"] {
            assert!(picos(number).is_err(), "{number}");
        }
    }

    fn list(json: &str) -> PriceList {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_the_gateway_does_not_count_is_refused() {
        let error = prices(&[list(r#"{"input_mtok":1,"output_mtok":1,"requests_kcount":12}"#)], false).unwrap_err();
        assert!(error.contains("requests_kcount"), "{error}");
        assert!(prices(&[list(r#"{"input_mtok":1}"#)], false).is_err(), "chat without an output price");
        assert!(prices(&[list(r#"{"input_mtok":1}"#)], true).is_ok());
        assert!(prices(&[list("{}")], true).is_err());
    }

    #[test]
    fn of_prices_by_the_hour_the_dearest_holds() {
        let cheap = r#"{"input_mtok":1,"cache_read_mtok":0.1,"output_mtok":9}"#;
        let dear = r#"{"input_mtok":2,"cache_read_mtok":0.2,"output_mtok":4}"#;
        let base = prices(&[list(cheap), list(dear)], false).unwrap().base;
        assert_eq!((base.input, base.cache_read, base.output), (Picos(2_000_000), Picos(200_000), Picos(9_000_000)));
    }

    #[test]
    fn tiers_of_different_starts_are_merged() {
        let tiered = r#"{"input_mtok":{"base":1,"tiers":[{"start":200,"price":3},{"start":100,"price":2}]},
            "output_mtok":{"base":5,"tiers":[{"start":150,"price":6}]}}"#;
        let prices = prices(&[list(tiered)], false).unwrap();
        let seen: Vec<_> = prices.tiers.iter().map(|(start, rates)| (*start, rates.input.0, rates.output.0)).collect();
        assert_eq!(seen, [(100, 2_000_000, 5_000_000), (150, 2_000_000, 6_000_000), (200, 3_000_000, 6_000_000)]);
    }
}
