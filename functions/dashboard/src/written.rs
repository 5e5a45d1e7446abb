//! Numbers and times as people read them.

use std::{borrow::Borrow, fmt};

use askama::filters::HtmlSafe;
use gateway_core::moment::UnixMs;

/// A count: `1,234,567`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

impl Count {
    /// This count; a template has a reference to it in one place and its value in another.
    pub(crate) fn of(count: impl Borrow<u64>) -> Self {
        Self(*count.borrow())
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.char_indices() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A moment, to the minute for people and exactly for machines:
/// `<time datetime="2026-11-23T09:30:00.000Z">2026-11-23 09:30 UTC</time>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When(pub(crate) UnixMs);

/// Digits and our own element.
impl HtmlSafe for When {}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<time datetime=\"{}\">{}</time>", self.0, self.0.minute())
    }
}

/// How long something took: `340 ms`, `1.2 s`, `2 min 5 s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration(pub(crate) u64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ 0..1_000 => write!(f, "{ms} ms"),
            ms @ 1_000..60_000 => write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100),
            ms => write!(f, "{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        }
    }
}

/// A day of a year that is known: `2026-11-23` as `23 Nov`.
pub(crate) fn day_and_month(day: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |range| day.get(range).and_then(|part: &str| part.parse::<usize>().ok()).unwrap_or(0);
    let month = part(5..7).checked_sub(1).and_then(|month| MONTHS.get(month));
    month.map_or_else(|| day.to_owned(), |month| format!("{} {month}", part(8..10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas_at_the_thousands() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Count(count).to_string(), text);
        }
        assert_eq!(Count(u64::MAX).to_string(), "18,446,744,073,709,551,615");
    }

    #[test]
    fn times_and_durations_are_short() {
        let shown = "<time datetime=\"2026-11-23T09:30:05.678Z\">2026-11-23 09:30 UTC</time>";
        assert_eq!(When(UnixMs(1_795_426_205_678)).to_string(), shown);
        for (ms, text) in [(0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (59_999, "59.9 s"), (125_000, "2 min 5 s")] {
            assert_eq!(Duration(ms).to_string(), text);
        }
    }

    #[test]
    fn a_day_is_named_by_its_month() {
        assert_eq!(day_and_month("2026-11-03"), "3 Nov");
        assert_eq!(day_and_month("2026-01-31"), "31 Jan");
        assert_eq!(day_and_month("soon"), "soon");
    }
}
