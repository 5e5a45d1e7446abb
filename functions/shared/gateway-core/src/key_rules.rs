//! What people may set of a key, in whatever way they say it: names, models, expiry, the grace of a rotation.

use std::collections::BTreeSet;

use crate::moment::UnixMs;

/// A name has no more characters.
pub const MOST_NAME_CHARS: usize = 100;
/// An allow list names no more models.
pub const MOST_MODELS: usize = 50;
/// What a rotated token's grace is where nobody says.
pub const DEFAULT_GRACE_S: u64 = 24 * 60 * 60;
/// A rotated token works no longer.
pub const MOST_GRACE_S: u64 = 30 * 24 * 60 * 60;

/// Why a text is no key's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameProblem {
    /// It has nothing to read.
    Empty,
    /// It is longer than [`MOST_NAME_CHARS`], or has what can't be printed.
    NotPrintable,
}

/// The name that `text` is, without the space around it.
///
/// # Errors
/// It is no name.
pub fn name(text: &str) -> Result<String, NameProblem> {
    let name = text.trim();
    match name.chars().count() {
        0 => Err(NameProblem::Empty),
        1..=MOST_NAME_CHARS if !name.chars().any(char::is_control) => Ok(name.to_owned()),
        _ => Err(NameProblem::NotPrintable),
    }
}

/// Whether an allow list may be so: not too long, and no id in it empty.
pub fn may_list(models: &BTreeSet<String>) -> bool {
    models.len() <= MOST_MODELS && !models.iter().any(String::is_empty)
}

/// The expiry, if a key may be given it at `at`: it lies in the future.
pub fn expiry(expires: UnixMs, at: UnixMs) -> Option<UnixMs> {
    (expires > at).then_some(expires)
}

/// The grace of so many seconds, in milliseconds; none if it is too long.
pub fn grace_ms(seconds: u64) -> Option<u64> {
    (seconds <= MOST_GRACE_S).then(|| seconds * 1000)
}

/// Until when the old token of a key that expires so works, which is rotated at `at`: it never outlives its key.
pub fn grace_end(at: UnixMs, grace_ms: u64, expires: Option<UnixMs>) -> UnixMs {
    let end = at.plus_ms(grace_ms);
    expires.map_or(end, |expires| expires.min(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_be_read_in_one_line() {
        assert_eq!(name("  Büro, 3. Stock "), Ok("Büro, 3. Stock".to_owned()));
        assert_eq!(name(&"é".repeat(100)), Ok("é".repeat(100)));
        assert_eq!((name(""), name(" \t")), (Err(NameProblem::Empty), Err(NameProblem::Empty)));
        for wrong in ["a\nb", "a\u{7f}", &"é".repeat(101)] {
            assert_eq!(name(wrong), Err(NameProblem::NotPrintable), "{wrong}");
        }
    }

    #[test]
    fn an_allow_list_has_up_to_50_ids_none_empty() {
        let list = |count: usize| (0..count).map(|n| format!("m{n}")).collect::<BTreeSet<_>>();
        assert!(may_list(&list(0)) && may_list(&list(50)) && !may_list(&list(51)));
        assert!(!may_list(&BTreeSet::from([String::new()])));
    }

    #[test]
    fn a_grace_ends_in_30_days_and_with_its_key_at_the_latest() {
        let at = UnixMs(1_000);
        assert_eq!((grace_ms(0), grace_ms(MOST_GRACE_S + 1), grace_ms(u64::MAX)), (Some(0), None, None));
        assert_eq!(grace_ms(MOST_GRACE_S), Some(30 * 24 * 60 * 60 * 1000));
        assert_eq!(grace_end(at, 500, None), UnixMs(1_500));
        assert_eq!(grace_end(at, 500, Some(UnixMs(1_400))), UnixMs(1_400));
        assert_eq!((expiry(at, at), expiry(UnixMs(1_001), at)), (None, Some(UnixMs(1_001))));
    }
}
