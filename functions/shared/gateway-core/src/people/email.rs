//! Email addresses, as a browser's form field takes them.

use std::fmt;

/// An email address in small letters: two spellings of one address are one user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

/// What SMTP carries.
const MOST_CHARS: usize = 254;
const MOST_LOCAL_CHARS: usize = 64;
const MOST_LABEL_CHARS: usize = 63;

impl Email {
    /// The address, if `text` is one by the rule that HTML has for `<input type=email>`; spaces around it don't count.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@')?;
        let is_local = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
        let is_label = |label: &str| {
            (1..=MOST_LABEL_CHARS).contains(&label.len())
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let fits = text.len() <= MOST_CHARS && (1..=MOST_LOCAL_CHARS).contains(&local.len());
        (fits && local.chars().all(is_local) && domain.split('.').all(is_label))
            .then(|| Self(text.to_ascii_lowercase()))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_one_user_however_it_is_written() {
        assert_eq!(Email::parse(" Ada.Lovelace+x@Example.COM ").unwrap().as_str(), "ada.lovelace+x@example.com");
        assert!(Email::parse("owner@localhost").is_some());
        assert!(Email::parse("<b>'@example.com").is_none());
        assert!(Email::parse("o'brien@example.com").is_some());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("a@{}example.com", "b.".repeat(150));
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "a",
            "a b@c",
            "a@b c",
            "a@-b",
            "a@b-",
            "a@b..c",
            "a@@b",
            "a@b\r\nx: y",
            "ä@b",
            &long,
            &longer,
        ] {
            assert_eq!(Email::parse(text), None, "{text}");
        }
    }
}
