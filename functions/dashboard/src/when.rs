//! A moment as pages show it: to the minute, in UTC, and exactly for machines.

use std::fmt;

use askama::filters::HtmlSafe;
use gateway_core::moment::UnixMs;

/// `<time datetime="2026-11-23T09:30:00.000Z">2026-11-23 09:30 UTC</time>`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When(pub(crate) UnixMs);

/// Digits and our own element.
impl HtmlSafe for When {}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.to_string();
        let (day, time) = (exact.get(..10).unwrap_or_default(), exact.get(11..16).unwrap_or_default());
        write!(f, "<time datetime=\"{exact}\">{day} {time} UTC</time>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_to_the_minute_and_kept_exactly() {
        let shown = When(UnixMs(1_795_426_205_678)).to_string();
        assert_eq!(shown, "<time datetime=\"2026-11-23T09:30:05.678Z\">2026-11-23 09:30 UTC</time>");
    }
}
