//! What a browser carries in a cookie, and a link in its path: 256 random bits.

use std::fmt;

use sha2::{Digest, Sha256};

const BYTES: usize = 32;

/// 256 random bits that only their holder has; written as 64 hexadecimal digits. What is stored is their hash, and what
/// else has to be secret in the same browser is derived from them. It has no `Display`, and its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; BYTES]);

impl Secret {
    /// A new one from the operating system's random source.
    pub fn from_random(random: [u8; BYTES]) -> Self {
        Self(random)
    }

    /// The one that `text` writes, in the one way there is.
    pub fn parse(text: &str) -> Option<Self> {
        read_hex(text).map(Self)
    }

    /// The secret in full, for its holder.
    pub fn reveal(&self) -> String {
        hex(&self.0)
    }

    /// What is stored of it: its SHA-256 in hexadecimal digits.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.0))
    }

    /// Another secret, one for each purpose, from which nobody gets back to this one.
    pub fn derive(&self, purpose: &str) -> Self {
        Self(Sha256::new().chain_update(purpose).chain_update([0]).chain_update(self.0).finalize().into())
    }

    /// The secret for a page that is compressed, hidden behind `pad`, so that it is written in another way each time: what
    /// compresses with a guess at it (the BREACH attack) is a guess at one page's pad.
    pub fn masked(&self, pad: [u8; BYTES]) -> String {
        let mut hidden = pad;
        hidden.iter_mut().zip(self.0).for_each(|(byte, own)| *byte ^= own);
        hex(&pad) + &hex(&hidden)
    }

    /// Whether `text` is this secret, masked with whatever pad. Takes as long for every guess.
    pub fn is_masked_in(&self, text: &str) -> bool {
        let halves = text.split_at_checked(2 * BYTES);
        let Some((pad, hidden)) = halves.and_then(|(pad, hidden)| read_hex(pad).zip(read_hex(hidden))) else {
            return false;
        };
        let differences = pad.iter().zip(hidden).zip(self.0).map(|((pad, hidden), own)| pad ^ hidden ^ own);
        differences.fold(0, |all, difference| all | difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_hex(text: &str) -> Option<[u8; BYTES]> {
    let digits = text.as_bytes();
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if digits.len() != 2 * BYTES || !digits.iter().all(is_digit) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_secret_is_read_back_and_found_behind_every_pad(bytes: [u8; 32], pad: [u8; 32], other: [u8; 32]) {
            let secret = Secret::from_random(bytes);
            prop_assert_eq!(Secret::parse(&secret.reveal()), Some(secret.clone()));
            prop_assert!(secret.is_masked_in(&secret.masked(pad)));
            prop_assert_eq!(Secret::from_random(other).is_masked_in(&secret.masked(pad)), bytes == other);
            prop_assert!(!secret.masked(pad).contains(&secret.reveal()) || pad == [0; 32]);
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let text = "0f".repeat(32);
        for wrong in
            ["", "0f", &text.to_uppercase(), &text[1..], &format!("{text}0"), &"+f".repeat(32), &"ü".repeat(32)]
        {
            assert_eq!(Secret::parse(wrong), None, "{wrong}");
            assert!(!Secret::from_random([15; 32]).is_masked_in(wrong));
        }
    }

    #[test]
    fn each_purpose_has_its_own_and_none_shows_the_secret() {
        let secret = Secret::from_random([7; 32]);
        assert_ne!(secret.derive("a"), secret.derive("b"));
        assert_ne!(secret.derive("a").reveal(), secret.reveal());
        assert_ne!(secret.hash(), secret.reveal());
        assert!(!format!("{secret:?}").contains("07"));
    }
}
