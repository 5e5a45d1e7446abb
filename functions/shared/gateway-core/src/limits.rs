//! Rate limits: so many requests per window of so many milliseconds, windows aligned to 1970.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::moment::UnixMs;

/// The number of requests that a key may make per window. In JSON `{"requests":1000,"interval":"10s"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per window, at least 1.
    #[serde(deserialize_with = "at_least_one")]
    pub requests: u32,
    /// The window's length.
    pub interval: Interval,
}

impl Default for RateLimit {
    /// 1000 requests per 10 seconds.
    fn default() -> Self {
        Self { requests: 1000, interval: Interval { seconds: 10 } }
    }
}

/// A window's length: from a second to a day, whole seconds. Written `10s`, `5m`, `1h` or `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Its length in seconds.
    pub seconds: u32,
}

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Interval {
    /// The interval if `text` is a whole number of `s`, `m`, `h` or `d` from 1s to 1d.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, unit_seconds) = UNITS.into_iter().find(|&(unit, _)| text.ends_with(unit))?;
        let count: u32 = text[..text.len() - 1].parse().ok()?;
        let seconds = count.checked_mul(unit_seconds)?;
        (1..=86_400).contains(&seconds).then_some(Self { seconds })
    }

    /// The start of the window that holds `at`, in seconds since 1970.
    pub fn window(self, at: UnixMs) -> u64 {
        at.seconds() - at.seconds() % u64::from(self.seconds)
    }

    /// Whole seconds, at least 1, from `at` to the next window.
    pub fn seconds_left(self, at: UnixMs) -> u64 {
        let end_ms = (self.window(at) + u64::from(self.seconds)) * 1000;
        end_ms.saturating_sub(at.0).div_ceil(1000).max(1)
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Days and hours read worse than the seconds and minutes that people think in, but for whole ones.
        let (unit, seconds) =
            UNITS.into_iter().find(|&(_, unit)| self.seconds.is_multiple_of(unit)).unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.seconds / seconds)
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not an interval: write 10s, 5m, 1h or 1d")))
    }
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(de::Error::custom("requests must be at least 1")),
        requests => Ok(requests),
    }
}

/// Where a key stands in its rate window after a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateStanding {
    /// Requests per window.
    pub limit: u32,
    /// How many are left in this one.
    pub remaining: u32,
    /// Seconds until the next one.
    pub reset_s: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_written() {
        for text in ["1s", "10s", "5m", "1h", "1d", "90s"] {
            assert_eq!(Interval::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Interval::parse("60s").unwrap().to_string(), "1m");
        for wrong in ["", "s", "0s", "-1s", "10", "25h", "1w", "1.5s", "ß"] {
            assert_eq!(Interval::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn windows_are_aligned_and_the_wait_is_at_least_a_second() {
        let interval = Interval { seconds: 10 };
        assert_eq!(interval.window(UnixMs(1_790_000_009_999)), 1_790_000_000);
        assert_eq!(interval.seconds_left(UnixMs(1_790_000_000_000)), 10);
        assert_eq!(interval.seconds_left(UnixMs(1_790_000_009_999)), 1);
    }
}
