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

/// How much text of a request is counted; what is over it goes by its bytes. A byte takes some nanoseconds in prose, but
/// one to two microseconds in a word without end, and nobody pays for a request that is refused.
const MAX_COUNTED_BYTES: usize = 512 * 1024;

/// The offers with their inputs counted, text by text.
pub(crate) async fn counted(offers: Vec<Offer>, order: &Arc<dyn Order>) -> Vec<Offer> {
    let mut vocabularies: Vec<_> = offers.iter().map(|offer| Vocabulary::of(&offer.endpoint.model)).collect();
    let of_offer = vocabularies.clone();
    vocabularies.sort_unstable();
    vocabularies.dedup();
    let order = order.clone();
    let count = move || {
        let input = |vocabulary: Option<Vocabulary>| {
            let mut counter = vocabulary.map(Counter::new);
            order.input_counted(vocabulary, &mut |text| at_most(counter.as_mut(), text))
        };
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
        let about = |text: &str, counter: &mut Counter| {
            let (tokens, rest) = counter.count(text);
            tokens + rest.div_ceil(4)
        };
        let (mut sent, mut received) = (Counter::new(vocabulary), Counter::new(vocabulary));
        let input = order.input_estimated(&mut |text| about(text, &mut sent));
        (input, generated.tokens(&mut |text| about(text, &mut received)))
    };
    // What cannot be counted is what was held: a request that was served is not free.
    let (input, output) = off_runtime(count).await.unwrap_or((u64::MAX, u64::MAX));
    Usage { input: input.min(offer.input), output: output.min(offer.output()), ..Usage::default() }
}

/// The most tokens that `text` can be: its count, or its bytes for a vocabulary that nobody here knows.
fn at_most(counter: Option<&mut Counter>, text: &str) -> u64 {
    let (tokens, rest) = counter.map_or((0, text.len() as u64), |counter| counter.count(text));
    tokens + rest
}

/// Counts texts until it has counted enough.
struct Counter {
    vocabulary: Vocabulary,
    bytes_left: usize,
}

impl Counter {
    fn new(vocabulary: Vocabulary) -> Self {
        Self { vocabulary, bytes_left: MAX_COUNTED_BYTES }
    }

    /// The tokens of the text's beginning, and the bytes of its rest.
    fn count(&mut self, text: &str) -> (u64, u64) {
        let (beginning, rest) = text.split_at(cut(text, self.bytes_left));
        self.bytes_left -= beginning.len();
        (tokens(self.vocabulary, beginning), rest.len() as u64)
    }
}

/// Where to cut `text` so that at most so many bytes come before and no token spans the cut: all of it, or after a line
/// feed before a letter or digit, which no tokenizer here ever takes together.
fn cut(text: &str, most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    let bytes = text.as_bytes();
    let between = |at: &usize| bytes[at - 1] == b'\n' && bytes[*at].is_ascii_alphanumeric();
    (1..=most).rev().find(between).unwrap_or(0)
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
        let word = "x".repeat(100_000);
        for text in [word.as_str(), &" ".repeat(10_000), &"😀".repeat(1_000), "ﷺ", "\u{0}", "𒐫"] {
            for vocabulary in [Vocabulary::O200k, Vocabulary::Cl100k] {
                let count = tokens(vocabulary, text);
                assert!((1..=text.len() as u64).contains(&count), "{count}");
            }
            assert_eq!(at_most(None, text), text.len() as u64);
        }
    }

    #[test]
    fn what_is_too_long_to_count_goes_by_its_bytes_and_never_under_its_count() {
        let (line, lines) = ("A line of some words,\n", MAX_COUNTED_BYTES / 22 + 1_000);
        let text = line.repeat(lines);
        let count = |text: &str| Counter::new(Vocabulary::O200k).count(text);
        let (counted, rest) = count(&text);
        assert_eq!((tokens(Vocabulary::O200k, line), counted), (6, 6 * (MAX_COUNTED_BYTES as u64 / 22)));
        assert_eq!(rest, text.len() as u64 - counted / 6 * 22);
        assert!(counted + rest >= tokens(Vocabulary::O200k, &text));
        assert_eq!(count(&"é".repeat(MAX_COUNTED_BYTES)), (0, 2 * MAX_COUNTED_BYTES as u64), "no place to cut");
        let mut counter = Counter::new(Vocabulary::O200k);
        assert_eq!(counter.count(&text[..MAX_COUNTED_BYTES - 10]).1, 0);
        assert_eq!(counter.count("eleven byte"), (0, 11), "all texts of a request together");
        assert_eq!(counter.count("ten bytes."), (3, 0));
    }
}
