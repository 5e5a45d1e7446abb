//! What an answer says it used, and what that costs, written beside it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{money::Nanos, usage::Usage};

/// A `usage` object as the providers of OpenAI's dialect write it. A count is text here, so that one of an odd type
/// does not hide the others.
#[derive(Deserialize)]
struct OpenAiUsage<'a> {
    #[serde(borrow)]
    prompt_tokens: Count<'a>,
    #[serde(borrow)]
    completion_tokens: Count<'a>,
    #[serde(borrow)]
    total_tokens: Count<'a>,
    #[serde(borrow)]
    prompt_cache_hit_tokens: Count<'a>,
    #[serde(borrow)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    completion_tokens_details: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Count<'a>,
    #[serde(borrow)]
    cache_write_tokens: Count<'a>,
    #[serde(borrow)]
    audio_tokens: Count<'a>,
}

type Count<'a> = Option<&'a RawValue>;

fn count(raw: Count<'_>) -> Option<u64> {
    let text = raw?.get();
    // Some write 12.0.
    text.split('.').next()?.parse().ok()
}

fn details(raw: Option<&RawValue>) -> Details<'_> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// The buckets of a `usage` object (JSON). Nothing if it counts nothing at all.
///
/// The convention: `prompt_tokens` counts cached and audio input inside (OpenAI; DeepSeek as `prompt_cache_hit_tokens`;
/// OpenRouter with cache writes as `cache_write_tokens`), `completion_tokens` reasoning and audio. xAI leaves reasoning
/// out of `completion_tokens` and counts it in `total_tokens`: what the total has over both is output too.
pub fn usage_of_openai(usage: &str) -> Option<Usage> {
    let usage: OpenAiUsage<'_> = serde_json::from_str(usage).ok()?;
    let (prompt, completion, total) =
        (count(usage.prompt_tokens), count(usage.completion_tokens), count(usage.total_tokens));
    let all_input = prompt.or_else(|| Some(total?.saturating_sub(completion.unwrap_or(0)))).or(completion.map(|_| 0))?;
    let reasoned = total.unwrap_or(0).saturating_sub(all_input);
    let all_output = completion.unwrap_or(0).max(reasoned);

    let prompt_details = details(usage.prompt_tokens_details);
    let cached = count(prompt_details.cached_tokens).max(count(usage.prompt_cache_hit_tokens));
    let mut input = all_input;
    let cache_read = take(&mut input, cached);
    let cache_write_5m = take(&mut input, count(prompt_details.cache_write_tokens));
    let input_audio = take(&mut input, count(prompt_details.audio_tokens));

    let mut output = all_output;
    let output_audio = take(&mut output, count(details(usage.completion_tokens_details).audio_tokens));
    Some(Usage { input, cache_read, cache_write_5m, cache_write_1h: 0, output, input_audio, output_audio })
}

/// Takes `part` out of `whole`, and never more than there is.
fn take(whole: &mut u64, part: Option<u64>) -> u64 {
    let part = part.unwrap_or(0).min(*whole);
    *whole -= part;
    part
}

/// The answer with `cost` in its `usage`. All else, and an answer without usage, byte for byte.
pub fn answer_with_cost(body: &[u8], cost: Nanos) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    let usage = serde_json::from_slice::<Answer<'_>>(body).ok().and_then(|answer| answer.usage);
    usage.map_or_else(|| body.to_vec(), |usage| splice(body, usage.get(), &usage_with_cost(usage.get(), cost)))
}

/// The `usage` object with `cost` at its end, or in the place of the provider's own.
pub(crate) fn usage_with_cost(usage: &str, cost: Nanos) -> String {
    #[derive(Deserialize)]
    struct Costed<'a> {
        #[serde(borrow)]
        cost: &'a RawValue,
    }
    let cost = cost.to_string();
    if let Ok(Costed { cost: theirs }) = serde_json::from_str(usage) {
        return String::from_utf8(splice(usage.as_bytes(), theirs.get(), &cost)).unwrap_or_default();
    }
    let Some(fields) = usage.strip_suffix('}').map(str::trim_end) else { return usage.to_owned() };
    let comma = if fields == "{" { "" } else { "," };
    format!("{fields}{comma}\"cost\":{cost}{}", &usage[fields.len()..])
}

/// `text` with `new` in the place of `part`, which is a slice of it.
pub(crate) fn splice(text: &[u8], part: &str, new: &str) -> Vec<u8> {
    let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
    let end = (start + part.len()).min(text.len());
    [&text[..start], new.as_bytes(), &text[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn usage(input: u64, cache_read: u64, output: u64) -> Usage {
        Usage { input, cache_read, output, cache_write_5m: 0, cache_write_1h: 0, input_audio: 0, output_audio: 0 }
    }

    /// Shapes as the providers' own documentation and answers have them.
    const SHAPES: &[(&str, &str, Usage)] = &[
        (
            "openai",
            r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":128,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
            usage(86, 1920, 300),
        ),
        (
            "openai audio",
            r#"{"prompt_tokens":110,"completion_tokens":80,"total_tokens":190,"prompt_tokens_details":{"cached_tokens":10,"audio_tokens":60},"completion_tokens_details":{"audio_tokens":50}}"#,
            Usage { input_audio: 60, output_audio: 50, ..usage(40, 10, 30) },
        ),
        ("openai embeddings", r#"{"prompt_tokens":8,"total_tokens":8}"#, usage(8, 0, 0)),
        (
            "groq",
            r#"{"queue_time":0.037493756,"prompt_tokens":18,"prompt_time":0.000680594,"completion_tokens":556,"completion_time":0.463333333,"total_tokens":574,"total_time":0.464013927,"prompt_tokens_details":{"cached_tokens":8}}"#,
            usage(10, 8, 556),
        ),
        (
            "deepseek",
            r#"{"prompt_tokens":50,"completion_tokens":12,"total_tokens":62,"prompt_tokens_details":{"cached_tokens":32},"prompt_cache_hit_tokens":32,"prompt_cache_miss_tokens":18}"#,
            usage(18, 32, 12),
        ),
        (
            "deepseek, old",
            r#"{"prompt_tokens":50,"completion_tokens":12,"prompt_cache_hit_tokens":32}"#,
            usage(18, 32, 12),
        ),
        (
            "mistral",
            r#"{"prompt_tokens":16,"total_tokens":50,"completion_tokens":34,"prompt_audio_seconds":{},"num_cached_tokens":null}"#,
            usage(16, 0, 34),
        ),
        (
            "together",
            r#"{"prompt_tokens":21,"completion_tokens":5,"total_tokens":26,"cached_tokens":0}"#,
            usage(21, 0, 5),
        ),
        (
            "xai: reasoning beside the completion",
            r#"{"prompt_tokens":10120,"completion_tokens":1499,"total_tokens":14428,"prompt_tokens_details":{"text_tokens":10120,"audio_tokens":0,"image_tokens":0,"cached_tokens":128},"completion_tokens_details":{"reasoning_tokens":2809,"audio_tokens":0}}"#,
            usage(9992, 128, 4308),
        ),
        (
            "openrouter",
            r#"{"completion_tokens":2,"cost":0.95,"prompt_tokens":194,"prompt_tokens_details":{"cached_tokens":50,"cache_write_tokens":100,"audio_tokens":0},"total_tokens":196}"#,
            Usage { cache_write_5m: 100, ..usage(44, 50, 2) },
        ),
        (
            "llama.cpp",
            r#"{"completion_tokens":16,"prompt_tokens":31,"total_tokens":47,"prompt_tokens_details":{"cached_tokens":30}}"#,
            usage(1, 30, 16),
        ),
        ("ollama", r#"{"prompt_tokens":26,"completion_tokens":298,"total_tokens":324}"#, usage(26, 0, 298)),
        (
            "vllm",
            r#"{"prompt_tokens":7,"total_tokens":9,"completion_tokens":2,"prompt_tokens_details":null}"#,
            usage(7, 0, 2),
        ),
        ("zero is zero", r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#, usage(0, 0, 0)),
        ("only a total", r#"{"total_tokens":5}"#, usage(5, 0, 0)),
        ("with a point", r#"{"prompt_tokens":5.0,"completion_tokens":null}"#, usage(5, 0, 0)),
        (
            "more cached than there is",
            r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":9,"audio_tokens":9}}"#,
            usage(0, 5, 1),
        ),
        ("odd details", r#"{"prompt_tokens":5,"completion_tokens":"?","prompt_tokens_details":[]}"#, usage(5, 0, 0)),
    ];

    #[test]
    fn every_provider_s_counts_become_buckets_that_do_not_overlap() {
        for (provider, json, expected) in SHAPES {
            assert_eq!(usage_of_openai(json), Some(*expected), "{provider}");
        }
    }

    #[test]
    fn no_count_at_all_is_no_usage() {
        for json in ["{}", "[]", "null", r#"{"prompt_tokens":null}"#, r#"{"cost":1}"#] {
            assert_eq!(usage_of_openai(json), None, "{json}");
        }
    }

    #[test]
    fn the_cost_stands_at_the_end_of_usage_and_nothing_else_changes() {
        for (body, expected) in [
            (r#"{ "usage":{"a":1.0} , "id":"\u00e9"}"#, r#"{ "usage":{"a":1.0,"cost":0.0000015} , "id":"\u00e9"}"#),
            ("{\"usage\":{\n \"a\":1\n}}", "{\"usage\":{\n \"a\":1,\"cost\":0.0000015\n}}"),
            (r#"{"usage":{}}"#, r#"{"usage":{"cost":0.0000015}}"#),
            (r#"{"usage":{"cost":0.95,"b":1}}"#, r#"{"usage":{"cost":0.0000015,"b":1}}"#),
            (r#"{"usage":{"cost":null}}"#, r#"{"usage":{"cost":0.0000015}}"#),
            (r#"{"usage":null}"#, r#"{"usage":null}"#),
            (r#"{"x":{"usage":{}}}"#, r#"{"x":{"usage":{}}}"#),
            ("no JSON", "no JSON"),
        ] {
            let answer = answer_with_cost(body.as_bytes(), Nanos(1_500));
            assert_eq!(String::from_utf8(answer).unwrap(), expected, "{body}");
        }
    }
}
