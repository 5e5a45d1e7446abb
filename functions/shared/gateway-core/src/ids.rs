//! Identifiers, each its own type so that none can stand in another's place.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::moment::UnixMs;

/// Crockford's base 32: digits and capitals without I, L, O, U. Sorts like the number it encodes.
const BASE32: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// `value` in exactly `N` characters of Crockford's base 32, most significant first.
fn base32<const N: usize>(mut value: u128) -> String {
    let mut out = [b'0'; N];
    for slot in out.iter_mut().rev() {
        *slot = BASE32[(value & 31) as usize];
        value >>= 5;
    }
    out.iter().map(|&byte| byte as char).collect()
}

/// An account: `acct_` and 16 characters of base 32 (80 random bits).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AccountId(String);

impl AccountId {
    /// A new account's id from 80 random bits.
    pub fn from_random(random: [u8; 10]) -> Self {
        let bits = random.iter().fold(0u128, |bits, &byte| bits << 8 | u128::from(byte));
        Self(format!("acct_{}", base32::<16>(bits)))
    }

    /// The id if `text` has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let tail = text.strip_prefix("acct_")?;
        (tail.len() == 16 && tail.bytes().all(|byte| BASE32.contains(&byte))).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AccountId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not an account id (acct_ and 16 characters)"))
    }
}

impl std::str::FromStr for AccountId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key of an account, counting from 1 and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyId(pub u32);

impl KeyId {
    /// The id if `text` is a whole number of at least 1, in digits alone.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&id| digits && id > 0).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A request, and the ledger entry it leaves: a ULID, 26 characters that sort by time.
///
/// It is made from the platform's own request id, so that one event delivered twice has one id and is paid for once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RequestId(String);

impl RequestId {
    /// The id of what happens at `at`, told apart from its millisecond's others by 80 bits.
    pub fn new(at: UnixMs, bits: [u8; 10]) -> Self {
        let low = bits.iter().fold(0u128, |low, &byte| low << 8 | u128::from(byte));
        Self(base32::<26>(u128::from(at.0 & 0xFFFF_FFFF_FFFF) << 80 | low))
    }

    /// The id of the request that the platform calls `platform_id` and received at `at`.
    pub fn of_platform(at: UnixMs, platform_id: &str) -> Self {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(platform_id.as_bytes());
        let mut bits = [0; 10];
        bits.copy_from_slice(&hash[..10]);
        Self::new(at, bits)
    }

    /// The smallest id of the millisecond `at`: a lower bound for ids made then or later.
    pub fn first_at(at: UnixMs) -> Self {
        Self::new(at, [0; 10])
    }

    /// The largest id of the millisecond `at`: an upper bound for ids made then or earlier.
    pub fn last_at(at: UnixMs) -> Self {
        Self::new(at, [0xFF; 10])
    }

    /// The id if `text` has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 26 && text.starts_with(|c| c <= '7') && text.bytes().all(|byte| BASE32.contains(&byte)))
            .then(|| Self(text.to_owned()))
    }

    /// When it was made.
    pub fn at(&self) -> UnixMs {
        let digit = |byte: u8| BASE32.iter().position(|&known| known == byte).unwrap_or(0) as u64;
        UnixMs(self.0.bytes().take(10).fold(0, |ms, byte| ms << 5 | digit(byte)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RequestId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a request id (26 characters)"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_sort_by_time_and_give_it_back() {
        let early = RequestId::new(UnixMs(1_790_000_000_000), [255; 10]);
        let late = RequestId::new(UnixMs(1_790_000_000_001), [0; 10]);
        assert!(early < late);
        assert_eq!(late.at(), UnixMs(1_790_000_000_001));
        assert_eq!(RequestId::parse(late.as_str()), Some(late));
    }

    #[test]
    fn one_platform_request_has_one_id() {
        let at = UnixMs(1_790_000_000_000);
        assert_eq!(RequestId::of_platform(at, "a"), RequestId::of_platform(at, "a"));
        assert_ne!(RequestId::of_platform(at, "a"), RequestId::of_platform(at, "b"));
    }

    #[test]
    fn ids_of_another_form_are_refused() {
        for text in ["", "acct_", "acct_0123456789ABCDEI", "acct_0123456789ABCDEFG", "user_0123456789ABCDEF"] {
            assert_eq!(AccountId::parse(text), None, "{text}");
        }
        assert!(AccountId::parse("acct_0123456789ABCDEF").is_some());
        assert_eq!(RequestId::parse("81J00000000000000000000000"), None, "over 48 bits of time");
        assert_eq!(KeyId::parse("0"), None);
        assert_eq!(KeyId::parse("-1"), None);
        assert_eq!(KeyId::parse("+1"), None);
    }
}
