//! Keys as their holders see them: format, checksum, hash.
//!
//! A token is its type's prefix, 32 base62 characters of randomness (190 bits) and 6 base62 characters of CRC-32 over all
//! that precedes. What is stored is its SHA-256, never the token; what may be shown is its first 8 characters.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A token's form, for secret scanners and for the authorizer's validation expression.
pub const PATTERN: &str = "(ms|mk)-[0-9A-Za-z]{38}";

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 6;
const PREFIX_CHARS: usize = 8;

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// `ms-`: the models, `/v1/*`.
    Proxy,
    /// `mk-`: the account, `/api/*`.
    Billing,
}

impl KeyType {
    /// What its tokens begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Proxy => "ms-",
            Self::Billing => "mk-",
        }
    }

    /// Its name in the store and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Billing => "billing",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Proxy, Self::Billing].into_iter().find(|known| known.name() == name)
    }
}

/// A whole token, which only its holder should ever see. It has no `Display`, and its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new token from 32 bytes of the operating system's random source.
    pub fn from_random(key_type: KeyType, random: [u8; 32]) -> Self {
        let mut text = String::with_capacity(3 + RANDOM_CHARS + CHECKSUM_CHARS);
        text.push_str(key_type.prefix());
        let (mut high, mut low) = (word(&random[..16]), word(&random[16..]));
        for _ in 0..RANDOM_CHARS / 2 {
            // 16 characters take 95.3 of a word's 128 bits: what the modulus favours is under 2^-32.
            text.push(BASE62[(high % 62) as usize] as char);
            text.push(BASE62[(low % 62) as usize] as char);
            (high, low) = (high / 62, low / 62);
        }
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self(text)
    }

    /// The token if `text` has the form of one and its checksum holds. Costs no look-up.
    pub fn parse(text: &str) -> Option<Self> {
        let tail = text.strip_prefix("ms-").or_else(|| text.strip_prefix("mk-"))?;
        if tail.len() != RANDOM_CHARS + CHECKSUM_CHARS || !tail.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let (body, sum) = text.split_at(text.len() - CHECKSUM_CHARS);
        (checksum(body) == sum).then(|| Self(text.to_owned()))
    }

    /// The token that an `Authorization` header carries: `Bearer`, in any case, then the token.
    pub fn from_authorization(header: &str) -> Option<Self> {
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Self::parse(token.trim())).flatten()
    }

    /// What it opens.
    pub fn key_type(&self) -> KeyType {
        if self.0.starts_with(KeyType::Proxy.prefix()) { KeyType::Proxy } else { KeyType::Billing }
    }

    /// What is stored of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// What may be shown of it: its first 8 characters.
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX_CHARS]
    }

    /// The token in full, for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.prefix())
    }
}

/// The SHA-256 of a whole token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

fn word(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |word, &byte| word << 8 | u128::from(byte))
}

fn checksum(text: &str) -> String {
    let mut sum = crc32fast::hash(text.as_bytes());
    let mut out = [b'0'; CHECKSUM_CHARS];
    for slot in out.iter_mut().rev() {
        *slot = BASE62[(sum % 62) as usize];
        sum /= 62;
    }
    out.iter().map(|&byte| byte as char).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_made_token_is_read_back(random: [u8; 32], billing: bool) {
            let key_type = if billing { KeyType::Billing } else { KeyType::Proxy };
            let token = Token::from_random(key_type, random);
            prop_assert_eq!(Token::parse(token.reveal()), Some(token.clone()));
            prop_assert_eq!(token.key_type(), key_type);
            prop_assert_eq!(token.reveal().len(), 41);
        }

        #[test]
        fn one_wrong_character_is_refused(random: [u8; 32], at in 3usize..41, other in "[0-9A-Za-z]") {
            let token = Token::from_random(KeyType::Proxy, random);
            let mut text = token.reveal().to_owned();
            text.replace_range(at..=at, &other);
            prop_assume!(text != token.reveal());
            prop_assert_eq!(Token::parse(&text), None);
        }
    }

    #[test]
    fn the_bearer_scheme_may_be_written_in_any_case() {
        let token = Token::from_random(KeyType::Proxy, [7; 32]);
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(Token::from_authorization(&format!("{scheme} {}", token.reveal())), Some(token.clone()));
        }
        for wrong in [token.reveal().to_owned(), format!("Basic {}", token.reveal()), "Bearer ".to_owned()] {
            assert_eq!(Token::from_authorization(&wrong), None);
        }
    }

    #[test]
    fn debug_hides_the_token() {
        let token = Token::from_random(KeyType::Billing, [9; 32]);
        assert!(!format!("{token:?}").contains(&token.reveal()[8..]));
    }
}
