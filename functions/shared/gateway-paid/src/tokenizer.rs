//! How many tokens a text is, for requests that would not be paid for otherwise and for answers that nobody counted.
//!
//! A vocabulary is loaded when it is first needed, never at start: it takes tens of milliseconds, and nearly every
//! request does without. Counting is done off the runtime's own threads.

use std::sync::Arc;

use gateway_core::{
    catalogue::Vocabulary,
    meter::Generated,
    offer::{Offer, Order},
    usage::Usage,
};
use tokio::task::spawn_blocking;

/// The offers with their inputs counted, text by text.
pub(crate) async fn counted(offers: Vec<Offer>, order: &Arc<dyn Order>) -> Vec<Offer> {
    let mut vocabularies: Vec<_> = offers.iter().map(|offer| Vocabulary::of(&offer.endpoint.model)).collect();
    let of_offer = vocabularies.clone();
    vocabularies.sort_unstable();
    vocabularies.dedup();
    let order = order.clone();
    let count = move || {
        let input = |vocabulary| order.input_counted(vocabulary, &mut |text| at_most(vocabulary, text));
        vocabularies.into_iter().map(|vocabulary| (vocabulary, input(vocabulary))).collect::<Vec<_>>()
    };
    let counts = off_runtime(count).await.unwrap_or_default();
    let input = |vocabulary| counts.iter().find(|(of, _)| *of == vocabulary).map_or(u64::MAX, |(_, input)| *input);
    offers.into_iter().zip(of_offer).map(|(offer, vocabulary)| offer.with_input(input(vocabulary))).collect()
}

/// About what was used of `offer`, and never more than that.
pub(crate) async fn estimated(offer: &Offer, order: &Arc<dyn Order>, generated: Generated) -> Usage {
    let vocabulary = Vocabulary::of(&offer.endpoint.model).unwrap_or(Vocabulary::O200k);
    let order = order.clone();
    let count = move || {
        let mut tokens = |text: &str| tokens(vocabulary, text);
        (order.input_estimated(&mut tokens), generated.tokens(&mut tokens))
    };
    // What cannot be counted is what was held: a request that was served is not free.
    let (input, output) = off_runtime(count).await.unwrap_or((u64::MAX, u64::MAX));
    Usage { input: input.min(offer.input), output: output.min(offer.output()), ..Usage::default() }
}

/// The most tokens that `text` can be: its count, or its bytes for a vocabulary that nobody here knows.
fn at_most(vocabulary: Option<Vocabulary>, text: &str) -> u64 {
    vocabulary.map_or(text.len() as u64, |vocabulary| tokens(vocabulary, text))
}

fn tokens(vocabulary: Vocabulary, text: &str) -> u64 {
    let name = match vocabulary {
        Vocabulary::O200k => "o200k_base",
        Vocabulary::Cl100k => "cl100k_base",
    };
    // Both are built in. Were one not, the bytes are a bound too.
    tiktoken::get_encoding(name).map_or(text.len(), |encoding| encoding.count(text)) as u64
}

/// Runs what takes long, and is awaited before anything ends. Nothing if it panicked.
async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    spawn_blocking(work).await.inspect_err(|error| tracing::error!(%error, "tokens were not counted")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_openai_s_own_library() {
        // As its documentation and cookbook have them.
        for (text, o200k, cl100k) in [
            ("", 0, 0),
            ("hello world", 2, 2),
            ("tiktoken is great!", 6, 6),
            ("antidisestablishmentarianism", 6, 6),
            ("2 + 2 = 4", 7, 7),
            ("お誕生日おめでとう", 8, 9),
            ("<|endoftext|>", 7, 7),
        ] {
            assert_eq!(tokens(Vocabulary::O200k, text), o200k, "{text}");
            assert_eq!(tokens(Vocabulary::Cl100k, text), cl100k, "{text}");
        }
    }

    #[test]
    fn a_text_is_never_more_tokens_than_bytes_and_a_long_one_is_counted_all_the_same() {
        let word = "x".repeat(1_000_000);
        for text in [word.as_str(), &" ".repeat(100_000), &"😀".repeat(10_000), "ﷺ", "\u{0}", "𒐫"] {
            for vocabulary in [Vocabulary::O200k, Vocabulary::Cl100k] {
                let count = tokens(vocabulary, text);
                assert!((1..=text.len() as u64).contains(&count), "{count}");
            }
            assert_eq!(at_most(None, text), text.len() as u64);
        }
    }
}
