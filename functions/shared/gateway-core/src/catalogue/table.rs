//! The generated file, searched where it lies: a look-up reads about eight lines and parses one.

use super::{Model, ModelKind};
use crate::{
    money::Picos,
    pricing::{Markup, Prices, Rates},
};

/// Made by `catalogue-import`; its header says what the columns are.
const FILE: &str = include_str!("models.tsv");

/// The model of this id, without markup.
pub(super) fn find(id: &str) -> Option<Model> {
    parse(line(FILE, id)?)
}

/// Every model's id and provider, sorted by id.
pub(super) fn ids() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = FILE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (id, rest) = line.split_once('\t')?;
        Some((id, rest.split_once('\t')?.0))
    })
}

/// The line whose first field is `id`, in a file whose lines are sorted by it. Comments sort before every id.
fn line<'a>(file: &'a str, id: &str) -> Option<&'a str> {
    let mut rest = file;
    while !rest.is_empty() {
        // Any byte near the middle will do: lines are looked for from there in both directions.
        let middle = rest.floor_char_boundary(rest.len() / 2);
        let start = rest[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = rest[middle..].find('\n').map_or(rest.len(), |at| middle + at);
        let line = &rest[start..end];
        match line.split('\t').next().unwrap_or_default().cmp(id) {
            std::cmp::Ordering::Equal => return Some(line),
            std::cmp::Ordering::Less => rest = rest.get(end + 1..).unwrap_or_default(),
            std::cmp::Ordering::Greater => rest = &rest[..start],
        }
    }
    None
}

fn parse(line: &str) -> Option<Model> {
    let mut fields = line.split('\t');
    let mut field = || fields.next();
    let list = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    let (id, provider, upstream_id, name) = (field()?, field()?, field()?, field()?);
    let kind = if field()? == "embedding" { ModelKind::Embedding } else { ModelKind::Chat };
    Some(Model {
        id: id.to_owned(),
        name: name.to_owned(),
        provider: provider.to_owned(),
        upstream_id: upstream_id.to_owned(),
        kind,
        context_length: number(field()?)?,
        max_output_tokens: number(field()?)?,
        input_modalities: list(field()?),
        output_modalities: list(field()?),
        supported_parameters: list(field()?),
        prices: Some(prices(field()?, field()?)?),
        markup: Markup::default(),
    })
}

fn prices(base: &str, tiers: &str) -> Option<Prices> {
    let tiers = tiers.split(';').filter(|tier| !tier.is_empty()).map(|tier| {
        let (over, tier) = tier.split_once(':')?;
        Some((over.parse().ok()?, rates(tier)?))
    });
    Some(Prices { base: rates(base)?, tiers: tiers.collect::<Option<_>>()? })
}

fn rates(text: &str) -> Option<Rates> {
    let mut prices = text.split(',').map(|price| price.parse().ok().map(Picos));
    let mut next = || prices.next().flatten();
    Some(Rates {
        input: next()?,
        cache_read: next()?,
        cache_write_5m: next()?,
        cache_write_1h: next()?,
        output: next()?,
        input_audio: next()?,
        output_audio: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_file_is_found_and_read() {
        let all: Vec<_> = ids().collect();
        assert!(all.len() > 100);
        assert!(all.is_sorted(), "a look-up relies on it");
        for (id, provider) in all {
            let model = find(id).unwrap();
            assert_eq!((model.id.as_str(), model.provider.as_str()), (id, provider));
            assert!(model.prices.is_some() && !model.name.is_empty() && !model.input_modalities.is_empty(), "{id}");
            assert!(super::super::BuiltInProvider::named(provider).is_some(), "{provider}");
        }
        for id in ["", "#", "a", "gpt-4", "gpt-4o-", "zzz", "gpt-4o\t", "# Prices: genai-prices"] {
            assert_eq!(find(id), None, "{id}");
        }
    }

    #[test]
    fn a_line_is_found_wherever_it_stands() {
        for file in ["# é\na\t1\nb\t2\nc\té\nd\t4\n", "a\t1\nb\t2\nc\té\nd\t4", "a\t1\nb\nbb\nc\té\nd\t4\nx\n"] {
            for (id, expected) in [("a", "a\t1"), ("c", "c\té"), ("d", "d\t4")] {
                assert_eq!(line(file, id), Some(expected));
            }
            assert_eq!(line(file, "ab"), None);
            assert_eq!(line(file, "e"), None);
        }
    }

    #[test]
    fn well_known_prices_are_exact() {
        // USD per million tokens: input, cached input, output.
        for (id, input, cache_read, output) in [
            ("gpt-4o", "2.50", "1.25", "10.00"),
            ("gpt-4o-2024-08-06", "2.50", "1.25", "10.00"),
            ("gpt-4o-mini", "0.15", "0.075", "0.60"),
            ("gpt-4.1", "2.00", "0.50", "8.00"),
            ("gpt-4.1-mini", "0.40", "0.10", "1.60"),
            ("gpt-5", "1.25", "0.125", "10.00"),
            ("gpt-5-mini", "0.25", "0.025", "2.00"),
            ("gpt-5-nano", "0.05", "0.005", "0.40"),
            ("o3", "2.00", "0.50", "8.00"),
            ("text-embedding-3-small", "0.02", "0.02", "0"),
            ("text-embedding-3-large", "0.13", "0.13", "0"),
            ("text-embedding-ada-002", "0.10", "0.10", "0"),
            ("groq/llama-3.3-70b-versatile", "0.59", "0.59", "0.79"),
            ("groq/openai/gpt-oss-120b", "0.15", "0.075", "0.60"),
            ("modelswitch/echo", "0.10", "0.10", "0.40"),
        ] {
            let base = find(id).unwrap().prices.unwrap().base;
            let picos = |text| Picos::parse_usd_per_million(text).unwrap();
            assert_eq!(
                (base.input, base.cache_read, base.output),
                (picos(input), picos(cache_read), picos(output)),
                "{id}"
            );
        }
        let audio = find("gpt-audio").unwrap().prices.unwrap().base;
        assert_eq!((audio.input_audio, audio.output_audio), (Picos(32_000_000), Picos(64_000_000)));
        let long = find("gpt-5.4").unwrap().prices.unwrap();
        assert_eq!(long.tiers.len(), 1);
        assert_eq!((long.tiers[0].0, long.tiers[0].1.output), (272_000, Picos(22_500_000)));
    }
}
