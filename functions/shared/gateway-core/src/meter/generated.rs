//! The text of an answer, for the count of a provider that gives none.

use std::fmt;

use memchr::memchr;

/// How much of the text is kept, in bytes as they stand in JSON. What is longer is counted in proportion.
const KEPT_BYTES: usize = 64 * 1024;

/// What was generated: how long it is, and its beginning.
///
/// The texts of an answer are kept, not its frames: these are a hundred times longer, and keeping them would keep the
/// network's buffers. Nothing is parsed or unescaped before somebody asks.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Generated {
    bytes: u64,
    /// Inside of JSON strings, one behind the other.
    kept: Vec<u8>,
}

impl Generated {
    /// Its length in bytes, as it stands in JSON.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many tokens it is, where `count` is how many a text is.
    pub fn tokens(&self, count: &mut dyn FnMut(&str) -> u64) -> u64 {
        let kept = self.kept.len() as u64;
        if kept == 0 {
            return 0;
        }
        let json = String::from_utf8_lossy(&self.kept);
        // Half a pair of surrogates, or anything else that is no JSON, is counted as it stands.
        let text = serde_json::from_str::<String>(&format!("\"{json}\"")).unwrap_or_else(|_| json.into_owned());
        let tokens = u128::from(count(&text)) * u128::from(self.bytes);
        u64::try_from(tokens.div_ceil(u128::from(kept))).unwrap_or(u64::MAX)
    }

    /// Adds the inside of a JSON string.
    pub(super) fn add(&mut self, text: &[u8]) {
        self.bytes += text.len() as u64;
        // A text is kept whole or not at all, so that no escape is cut.
        if self.kept.len() + text.len() <= KEPT_BYTES {
            self.kept.extend_from_slice(text);
        } else if self.kept.is_empty() {
            self.kept.extend_from_slice(beginning(text));
        }
    }
}

/// As much of one long text as is kept, cut where no character and no escape is.
fn beginning(text: &[u8]) -> &[u8] {
    let (mut at, mut end) = (0, KEPT_BYTES.min(text.len()));
    while let Some(backslash) = memchr(b'\\', &text[at..end]) {
        let start = at + backslash;
        at = start + escape_length(&text[start..]);
        if at > end {
            return &text[..start];
        }
    }
    while text.get(end).is_some_and(|next| next & 0xC0 == 0x80) {
        end -= 1;
    }
    &text[..end]
}

/// The length of the escape that `text` begins with: of a pair of surrogates, that of both.
fn escape_length(text: &[u8]) -> usize {
    match text {
        [_, b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..] => 12,
        [_, b'u', ..] => 6,
        _ => 2,
    }
}

impl fmt::Debug for Generated {
    /// The length alone: the text is a model's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generated({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Generated {
        let mut generated = Generated::default();
        texts.iter().for_each(|text| generated.add(text.as_bytes()));
        generated
    }

    #[test]
    fn the_texts_are_joined_and_unescaped_before_they_are_counted() {
        let mut seen = String::new();
        let generated = of(&[r"h\u00e9l", r"lo \ud83d", r"\ude00", r#"\n\"x\""#]);
        let tokens = generated.tokens(&mut |text| {
            text.clone_into(&mut seen);
            7
        });
        assert_eq!((tokens, seen.as_str()), (7, "héllo 😀\n\"x\""));
        assert_eq!(generated.bytes(), 30);
        assert_eq!(of(&[r"a \ud83d"]).tokens(&mut |text| text.len() as u64), 8, "as it stands");
        assert_eq!(of(&[]).tokens(&mut |_| 7), 0);
    }

    #[test]
    fn what_is_longer_than_what_is_kept_is_counted_in_proportion() {
        let count = &mut |text: &str| text.len() as u64 / 4;
        let word = "x".repeat(1024);
        assert_eq!(of(&vec![word.as_str(); 64]).tokens(count), 16 * 1024);
        assert_eq!(of(&vec![word.as_str(); 640]).tokens(count), 160 * 1024);
        for text in ["x", "é", r"\\", r"\u00e9", r"\ud83d\ude00"] {
            for before in 0..16 {
                let long = format!("{}{}", "x".repeat(before), text.repeat(1024 * 1024 / text.len()));
                let generated = of(&[&long]);
                let whole: String = serde_json::from_str(&format!("\"{long}\"")).unwrap();
                let tokens = generated.tokens(&mut |text| {
                    assert!(whole.starts_with(text), "{text:.20}");
                    text.chars().count() as u64
                });
                let right = whole.chars().count() as u64;
                assert!(tokens.abs_diff(right) <= right / 100, "{tokens} {right}");
            }
        }
    }

    #[test]
    fn debug_shows_no_text() {
        assert_eq!(format!("{:?}", of(&["secret"])), "Generated(6 bytes)");
    }
}
