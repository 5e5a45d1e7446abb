//! Whether a webhook comes from Stripe: the `Stripe-Signature` header, `t=1795426200,v1=5257a8…,v1=…`.
//!
//! A `v1` is the HMAC-SHA256, in hexadecimal, of the time, a dot and the body as it was sent. There are several while a
//! secret is rotated, at Stripe and here; one that is right is enough. Other schemes (`v0`) are ignored, or a weaker one
//! would do. This code never makes a signature.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::moment::UnixMs;

/// How far the time of a signature may be from ours, either way: whoever recorded a webhook can't send it again later.
pub const TOLERANCE_S: u64 = 300;

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// No time, or no signature of the scheme.
    #[error("the header has no time or no v1 signature")]
    Malformed,
    /// None of the signatures is by one of the secrets.
    #[error("no signature is right")]
    Wrong,
    /// Right, but not of now.
    #[error("the signature is too old, or its time is yet to come")]
    NotNow,
}

/// Checks that one of `secrets` signed `body`, and that it did so now.
///
/// # Errors
/// Says why it is not believed. How long that takes tells nothing of a signature that would be right.
pub fn verify<S: AsRef<str>>(header: &str, body: &[u8], secrets: &[S], now: UnixMs) -> Result<(), Unsigned> {
    let values =
        |name: &'static str| header.split(',').filter_map(move |part| part.split_once('=').filter(|it| it.0 == name));
    let time = values("t").next().map(|(_, time)| time).filter(|time| is_number(time)).ok_or(Unsigned::Malformed)?;
    let seconds: u64 = time.parse().map_err(|_| Unsigned::Malformed)?;
    let mut signatures = values("v1").map(|(_, signature)| signature).peekable();
    signatures.peek().ok_or(Unsigned::Malformed)?;
    // Anybody can sign with a secret of nothing.
    let secrets: Vec<_> = secrets.iter().map(AsRef::as_ref).filter(|secret| !secret.is_empty()).collect();
    let right = |signature: [u8; 32]| secrets.iter().any(|secret| signed(secret, time, body, &signature));
    if !signatures.filter_map(bytes_of).any(right) {
        return Err(Unsigned::Wrong);
    }
    if seconds.abs_diff(now.seconds()) > TOLERANCE_S { Err(Unsigned::NotNow) } else { Ok(()) }
}

/// Digits alone, and no zero before them: Stripe's own libraries read the time as a number and write it again.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0')
}

fn signed(secret: &str, time: &str, body: &[u8], signature: &[u8; 32]) -> bool {
    // A key of any length will do.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    // In constant time.
    mac.chain_update(time).chain_update(".").chain_update(body).verify_slice(signature).is_ok()
}

/// The bytes that these 64 small hexadecimal digits write.
fn bytes_of(signature: &str) -> Option<[u8; 32]> {
    let digit = |byte: &u8| (*byte as char).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let digits = signature.bytes().map(|byte| digit(&byte)).collect::<Option<Vec<_>>>()?;
    let bytes: Vec<_> = digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect();
    bytes.try_into().ok().filter(|_| digits.len() == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_795_426_200_000);
    const BODY: &[u8] = br#"{"id":"evt_1","name":"\u00fc"}"#;
    const SECRET: &str = "whsec_test_secret";
    /// What Stripe's SDK for Python (16.1.0) makes of the three.
    const SIGNATURE: &str = "552477b25309167349688ad9c0acdda46c0274aa99f8b935d052e076afd33f94";

    fn verified(header: &str, secrets: &[&str]) -> Result<(), Unsigned> {
        verify(header, BODY, secrets, NOW)
    }

    fn header(signature: &str) -> String {
        format!("t=1795426200,v1={signature}")
    }

    #[test]
    fn a_signature_of_stripe_s_own_sdk_is_right() {
        assert_eq!(verified(&header(SIGNATURE), &[SECRET]), Ok(()));
    }

    #[test]
    fn what_was_changed_on_the_way_is_not_believed() {
        assert_eq!(verify(&header(SIGNATURE), &[BODY, b" "].concat(), &[SECRET], NOW), Err(Unsigned::Wrong));
        assert_eq!(verified(&format!("t=1795426201,v1={SIGNATURE}"), &[SECRET]), Err(Unsigned::Wrong));
        assert_eq!(verified(&header(SIGNATURE), &["whsec_other"]), Err(Unsigned::Wrong));
        for at in 0..SIGNATURE.len() {
            let other = if &SIGNATURE[at..=at] == "0" { "1" } else { "0" };
            let changed = format!("{}{other}{}", &SIGNATURE[..at], &SIGNATURE[at + 1..]);
            assert_eq!(verified(&header(&changed), &[SECRET]), Err(Unsigned::Wrong), "{changed}");
        }
    }

    #[test]
    fn one_right_signature_among_many_is_enough_and_only_of_the_scheme() {
        let wrong = "0".repeat(64);
        for header in [
            format!("t=1795426200,v1={wrong},v1={SIGNATURE}"),
            format!("t=1795426200,v1={SIGNATURE},v1={wrong},v0={wrong}"),
            format!("v1={SIGNATURE},v2=x,t=1795426200"),
        ] {
            assert_eq!(verified(&header, &[SECRET]), Ok(()), "{header}");
        }
        assert_eq!(verified(&format!("t=1795426200,v0={SIGNATURE}"), &[SECRET]), Err(Unsigned::Malformed));
        assert_eq!(verified(&format!("t=1795426200,v0={SIGNATURE},v1={wrong}"), &[SECRET]), Err(Unsigned::Wrong));
    }

    #[test]
    fn while_a_secret_is_rotated_both_count_and_an_empty_one_never() {
        assert_eq!(verified(&header(SIGNATURE), &["whsec_new", SECRET]), Ok(()));
        assert_eq!(verified(&header(SIGNATURE), &[]), Err(Unsigned::Wrong));
        let mac = Hmac::<Sha256>::new_from_slice(b"").unwrap();
        let by_nobody = mac.chain_update("1795426200.").chain_update(BODY).finalize().into_bytes();
        let by_nobody: String = by_nobody.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(verified(&header(&by_nobody), &[""]), Err(Unsigned::Wrong));
    }

    #[test]
    fn a_right_signature_counts_for_five_minutes_either_way() {
        let at = |seconds: i64| {
            let now = UnixMs(NOW.0.checked_add_signed(seconds * 1000).unwrap());
            verify(&header(SIGNATURE), BODY, &[SECRET], now)
        };
        assert_eq!((at(300), at(-300)), (Ok(()), Ok(())));
        assert_eq!((at(301), at(-301)), (Err(Unsigned::NotNow), Err(Unsigned::NotNow)));
    }

    #[test]
    fn what_is_no_such_header_is_refused() {
        for header in ["", "t=1795426200", "v1", &format!("v1={SIGNATURE}"), &format!("t=,v1={SIGNATURE}")] {
            assert_eq!(verified(header, &[SECRET]), Err(Unsigned::Malformed), "{header}");
        }
        for time in ["+1795426200", "01795426200", "1795426200.0", " 1795426200", "99999999999999999999", "t"] {
            let header = format!("t={time},v1={SIGNATURE}");
            assert_eq!(verified(&header, &[SECRET]), Err(Unsigned::Malformed), "{header}");
        }
        let upper = SIGNATURE.to_uppercase();
        for signature in
            ["", "00", upper.as_str(), &format!("{SIGNATURE}0"), &format!("{SIGNATURE}00"), &"ü".repeat(32)]
        {
            assert_eq!(verified(&header(signature), &[SECRET]), Err(Unsigned::Wrong), "{signature}");
        }
    }
}
