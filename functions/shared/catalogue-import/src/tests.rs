use std::time::{Duration, UNIX_EPOCH};

use gateway_core::{
    catalogue::Catalogue,
    pricing::{Markup, Prices, cost},
    settings::Settings,
    usage::Usage,
};
use genai_prices::{Calculator, PriceRequest, UsageKey};

use super::*;

#[test]
fn the_file_in_the_repository_is_what_the_pinned_data_gives() {
    let source = source::read().unwrap();
    let made = import(&source.data, &source.version).unwrap();
    let kept = std::fs::read_to_string(source::catalogue_file()).unwrap();
    assert!(made.file == kept, "the catalogue is not what its sources give: run `cargo run -p catalogue-import`");
    assert_eq!(import(&source.data, &source.version).unwrap().file, made.file, "twice the same bytes");
}

#[test]
fn every_line_of_the_table_is_a_model_with_a_price_of_its_own() {
    let source = source::read().unwrap();
    let made = import(&source.data, &source.version).unwrap();
    let lines = made.file.lines().filter(|line| !line.starts_with('#'));
    let mut ids: Vec<_> = lines.map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(ids.len(), known::all().unwrap().len() + 1, "the table's, and the echo: {:?}", made.report);
    ids.dedup();
    assert_eq!(ids.len(), known::all().unwrap().len() + 1, "two models have one id");
}

/// A few usages that touch every bucket, below and above every tier.
fn usages() -> Vec<Usage> {
    let one = |input, cache_read, cache_write_5m, cache_write_1h, output| Usage {
        input,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        output,
        ..Usage::default()
    };
    vec![
        one(1, 0, 0, 0, 0),
        one(0, 0, 0, 0, 1),
        one(1_000, 0, 0, 0, 500),
        one(1_000, 3_000, 0, 0, 20),
        one(100, 20, 3_000, 0, 7),
        one(100, 20, 0, 3_000, 7),
        one(272_000, 0, 0, 0, 1_000),
        one(272_001, 0, 0, 0, 1_000),
        one(10, 900_000, 5_000, 0, 100_000),
        Usage { input_audio: 700, output_audio: 300, ..one(100, 0, 0, 0, 50) },
    ]
}

/// What the data's own calculator makes of it. It takes totals and their parts.
fn oracle(request_usage: &genai_prices::Usage, provider: &str, model: &str) -> (f64, String) {
    // 02:00 UTC of the import's day: an hour at which providers with prices by the hour ask for more.
    let days = UNIX_EPOCH + Duration::from_secs(1_795_399_200);
    let request = PriceRequest::new(model, request_usage).with_provider_id(provider).with_timestamp(days);
    let answer = Calculator::bundled().calculate(&request).unwrap();
    (answer.total_price, answer.model_id)
}

#[test]
fn every_model_costs_what_the_data_s_own_calculator_says() {
    assert_eq!(DATE, "2026-11-23", "the oracle's time above is that day's");
    let providers: Vec<Provider> = serde_json::from_str(&source::read().unwrap().data).unwrap();
    let catalogue = Catalogue::new(Settings::default()).unwrap();
    let (found, _) = pair(&providers).unwrap();
    let mut compared = 0;
    for Found { known, model } in &found {
        let prices: Prices = price::prices(&model.price_lists(DATE).unwrap(), known.has("embedding")).unwrap();
        let kept = catalogue.model(&write::public_id(known)).unwrap();
        assert_eq!(kept.prices.as_ref(), Some(&prices), "{}", kept.id);
        for usage in usages() {
            let audio = usage.input_audio + usage.output_audio > 0;
            if (audio && !known.has("audio")) || (known.has("embedding") && usage.output > 0) {
                continue;
            }
            let theirs = genai_prices::Usage::from([
                (UsageKey::INPUT_TOKENS, usage.all_input() as f64),
                (UsageKey::CACHE_READ_TOKENS, usage.cache_read as f64),
                (UsageKey::CACHE_WRITE_TOKENS, (usage.cache_write_5m + usage.cache_write_1h) as f64),
                (UsageKey::CACHE_WRITE_1H_TOKENS, usage.cache_write_1h as f64),
                (UsageKey::INPUT_AUDIO_TOKENS, usage.input_audio as f64),
                (UsageKey::OUTPUT_TOKENS, usage.all_output() as f64),
                (UsageKey::OUTPUT_AUDIO_TOKENS, usage.output_audio as f64),
            ]);
            let (usd, model_id) = oracle(&theirs, data_name(known.provider).unwrap(), known.upstream_id);
            assert_eq!(model_id, model.id, "{}: another entry of the data", kept.id);
            let ours = cost(&prices, Markup::default(), &usage).0 as f64;
            // Ours is rounded up to a whole nano-dollar, theirs is a float.
            assert!((ours - usd * 1e9).abs() <= 1.0 + ours * 1e-9, "{}: {ours} nanos, {usd} USD, {usage:?}", kept.id);
            compared += 1;
        }
    }
    assert!(compared > 1_000, "{compared}");
}
