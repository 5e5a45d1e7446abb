//! Moments, spans and calendar periods, all UTC. The clock itself is not here: moments come in as arguments.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Milliseconds since 1970-01-01T00:00:00Z. In JSON: RFC 3339 text, `2026-11-23T09:30:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// This moment and `ms` milliseconds more.
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    fn utc(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The moment written in RFC 3339, or a date alone (its first moment, UTC).
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
        let nanos = OffsetDateTime::parse(&full, &Rfc3339).ok()?.unix_timestamp_nanos();
        u64::try_from(nanos / 1_000_000).ok().map(Self)
    }

    /// The UTC day, `2026-11-23`.
    pub fn day(self) -> String {
        self.utc().date().to_string()
    }

    /// The minute for people, `2026-11-23 09:30 UTC`.
    pub fn minute(self) -> String {
        let utc = self.utc();
        format!("{} {:02}:{:02} UTC", utc.date(), utc.hour(), utc.minute())
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = self.utc();
        let (date, hour, minute, second) = (utc.date(), utc.hour(), utc.minute(), utc.second());
        write!(f, "{date}T{hour:02}:{minute:02}:{second:02}.{:03}Z", utc.millisecond())
    }
}

impl Serialize for UnixMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How often a spend limit starts afresh, at midnight UTC (weekly: Monday's; monthly: the first's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// Every day.
    Daily,
    /// Every Monday.
    Weekly,
    /// Every first of the month.
    Monthly,
}

impl Reset {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Daily, Self::Weekly, Self::Monthly].into_iter().find(|reset| reset.name() == name)
    }

    /// The first day of the period that holds `at`, `2026-11-23`.
    pub fn period(self, at: UnixMs) -> String {
        let date = at.utc().date();
        let first = match self {
            Self::Daily => date,
            Self::Weekly => date - time::Duration::days(i64::from(date.weekday().number_days_from_monday())),
            Self::Monthly => date.replace_day(1).unwrap_or(date),
        };
        first.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMs {
        UnixMs::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn moments_are_read_and_written_as_rfc3339() {
        assert_eq!(at("2026-11-23T09:30:00.5Z").to_string(), "2026-11-23T09:30:00.500Z");
        assert_eq!(at("2026-11-23T09:30:00+02:00").to_string(), "2026-11-23T07:30:00.000Z");
        assert_eq!(at("2026-11-23").to_string(), "2026-11-23T00:00:00.000Z");
        assert_eq!(at("2026-11-23T09:05:59.999Z").minute(), "2026-11-23 09:05 UTC");
        for wrong in ["", "tomorrow", "2026-13-01", "1969-12-31", "2026-11-23T25:00:00Z"] {
            assert_eq!(UnixMs::parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn periods_start_at_midnight_utc() {
        let sunday_night = at("2026-11-29T23:59:59.999Z");
        assert_eq!(Reset::Daily.period(sunday_night), "2026-11-29");
        assert_eq!(Reset::Weekly.period(sunday_night), "2026-11-23");
        assert_eq!(Reset::Weekly.period(sunday_night.plus_ms(1)), "2026-11-30");
        assert_eq!(Reset::Monthly.period(sunday_night), "2026-11-01");
    }
}
