//! Passwords: the rules for new ones. How they are hashed is the dashboard's.

use std::fmt;

use super::Email;

/// No password is shorter: NIST SP 800-63B asks for 8 where there is more than the password, and for length instead of
/// rules about capitals and digits.
pub const LEAST_PASSWORD_CHARS: usize = 10;
/// Nobody types more, and what is hashed must have an end.
pub const MOST_PASSWORD_CHARS: usize = 256;

/// What lists of leaked passwords begin with, of those that are long enough: no guess at many users misses them.
const COMMON: [&str; 24] = [
    "1234567890",
    "12345678910",
    "0123456789",
    "0987654321",
    "123456789a",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "qwertyuiop",
    "qwerty12345",
    "qwerty123456",
    "asdfghjkl1",
    "abcd123456",
    "password12",
    "password123",
    "password1234",
    "passw0rd123",
    "iloveyou12",
    "letmein123",
    "welcome123",
    "administrator",
    "changeme123",
    "sunshine123",
    "football123",
];

/// What somebody typed as a password. Neither `Debug` nor anything else shows it.
#[derive(Clone)]
pub struct Password(String);

/// Why a new password can't be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordProblem {
    /// Under [`LEAST_PASSWORD_CHARS`].
    TooShort,
    /// Over [`MOST_PASSWORD_CHARS`].
    TooLong,
    /// Everybody's first guess: the address itself, one character over and over, or one of the commonest.
    Guessable,
}

impl Password {
    /// What was typed where a password is asked for that may be right or wrong.
    pub fn typed(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A new password for the user of this address.
    ///
    /// # Errors
    /// Which rule it does not keep.
    pub fn new(text: impl Into<String>, email: &Email) -> Result<Self, PasswordProblem> {
        let text = text.into();
        match text.chars().count() {
            ..LEAST_PASSWORD_CHARS => Err(PasswordProblem::TooShort),
            LEAST_PASSWORD_CHARS..=MOST_PASSWORD_CHARS if is_guessable(&text, email) => Err(PasswordProblem::Guessable),
            LEAST_PASSWORD_CHARS..=MOST_PASSWORD_CHARS => Ok(Self(text)),
            _ => Err(PasswordProblem::TooLong),
        }
    }

    /// Whether it is longer than any password is, so that hashing it would be work for nothing.
    pub fn is_too_long(&self) -> bool {
        self.0.chars().count() > MOST_PASSWORD_CHARS
    }

    /// What is hashed.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn is_guessable(text: &str, email: &Email) -> bool {
    let small = text.to_lowercase();
    let first = small.chars().next();
    COMMON.contains(&small.as_str())
        || small == email.as_str()
        || Some(small.as_str()) == email.as_str().split('@').next()
        || small.chars().all(|c| Some(c) == first)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A password's hash with its salt and parameters, in the PHC string format. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<PasswordProblem> {
        Password::new(text, &Email::parse("adalovelace@example.com").unwrap()).err()
    }

    #[test]
    fn length_is_what_counts() {
        assert_eq!(problem("ninechars"), Some(PasswordProblem::TooShort));
        assert_eq!(problem("ten chars!"), None);
        assert_eq!(problem("zehn Größe"), None, "characters, not bytes");
        assert_eq!(problem(&"ab".repeat(128)), None);
        assert_eq!(problem(&"ab".repeat(129)), Some(PasswordProblem::TooLong));
        assert!(Password::typed("x".repeat(257)).is_too_long() && !Password::typed("x".repeat(256)).is_too_long());
    }

    #[test]
    fn everybody_s_first_guess_is_refused() {
        for text in ["Password123", "aaaaaaaaaaaa", "adalovelace@example.com", "AdaLovelace", "qwertyuiop"] {
            assert_eq!(problem(text), Some(PasswordProblem::Guessable), "{text}");
        }
    }

    #[test]
    fn debug_hides_passwords_and_hashes() {
        let shown = format!("{:?} {:?}", Password::typed("marked"), PasswordHash("marked".to_owned()));
        assert!(!shown.contains("marked"), "{shown}");
    }
}
