//! `GET /api/usage/stats`: sums over the ledger, in all, by model, and by day, model or key.
//!
//! Whole days are read as the rollup's totals, as far as they go. The rest is read from the ledger: what is newer, and what
//! of the first and the last day lies in the range. Together they are every request once, whatever runs meanwhile.

use std::collections::BTreeMap;

use gateway_core::{error::ApiError, ids::RequestId, moment::UnixMs, money::Nanos};
use gateway_lambda::{Caller, Request, Response};
use gateway_store::{Filter, Rollup, UsageGroup, UsageSums};
use serde::Serialize;

use crate::{App, Entries};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageStats {
    stats: Totals,
    by_model: Vec<ModelSums>,
    series: Vec<GroupSums>,
}

/// All sums.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    total_requests: u64,
    total_prompt_tokens: u64,
    total_completion_tokens: u64,
    total_spent: Nanos,
}

#[derive(Serialize)]
struct ModelSums {
    model: String,
    #[serde(flatten)]
    sums: Flat,
}

#[derive(Serialize)]
struct GroupSums {
    group: String,
    #[serde(flatten)]
    sums: Flat,
}

/// A group's sums, under the names of a single request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Flat {
    requests: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    spent: Nanos,
}

impl From<UsageSums> for Totals {
    fn from(sums: UsageSums) -> Self {
        Self {
            total_requests: sums.requests,
            total_prompt_tokens: sums.input_tokens,
            total_completion_tokens: sums.output_tokens,
            total_spent: sums.spent,
        }
    }
}

impl From<UsageSums> for Flat {
    fn from(sums: UsageSums) -> Self {
        Self {
            requests: sums.requests,
            prompt_tokens: sums.input_tokens,
            completion_tokens: sums.output_tokens,
            spent: sums.spent,
        }
    }
}

/// What a series is grouped by.
#[derive(Clone, Copy)]
enum GroupBy {
    Day,
    Model,
    Key,
}

impl GroupBy {
    fn of(request: &Request) -> Result<Self, ApiError> {
        match request.query("groupBy") {
            None | Some("day") => Ok(Self::Day),
            Some("model") => Ok(Self::Model),
            Some("key") => Ok(Self::Key),
            Some(_) => Err(ApiError::invalid("groupBy", "'groupBy' must be day, model or key")),
        }
    }

    /// The group's place among the others, and its name. Keys sort as numbers.
    fn group(self, of: &UsageGroup) -> (u32, String) {
        match self {
            Self::Day => (0, of.day.clone()),
            Self::Model => (0, of.model.clone()),
            Self::Key => (of.key.0, of.key.to_string()),
        }
    }
}

/// The sums as they grow.
struct Stats {
    group_by: GroupBy,
    all: UsageSums,
    models: BTreeMap<String, UsageSums>,
    groups: BTreeMap<(u32, String), UsageSums>,
}

impl Stats {
    fn add(&mut self, group: &UsageGroup, sums: UsageSums) {
        self.all += sums;
        *self.models.entry(group.model.clone()).or_default() += sums;
        *self.groups.entry(self.group_by.group(group)).or_default() += sums;
    }
}

const DAY_MS: u64 = 86_400_000;

/// The whole days of a range: from a midnight, and up to one if the range has an end.
#[derive(Debug, PartialEq, Eq)]
struct WholeDays {
    start: UnixMs,
    end: Option<UnixMs>,
}

impl WholeDays {
    /// Those of the filter's range, if it has any.
    fn of(filter: &Filter) -> Option<Self> {
        let start = filter.from.as_ref().map_or(0, |from| from.at().0.next_multiple_of(DAY_MS));
        let end = filter.to.as_ref().map(|to| (to.at().0 + 1) / DAY_MS * DAY_MS);
        end.is_none_or(|end| start < end).then_some(Self { start: UnixMs(start), end: end.map(UnixMs) })
    }

    fn last_day(&self) -> Option<String> {
        self.end.map(|end| UnixMs(end.0 - 1).day())
    }

    /// What of the filter's range is in the ledger alone, or may be: before the first midnight, and from where the totals
    /// end.
    fn rest(&self, filter: &Filter, watermark: &RequestId) -> Vec<Filter> {
        let start = RequestId::first_at(self.start);
        let before = filter.from.as_ref().filter(|from| **from < start).map(|from| {
            let to = RequestId::last_at(UnixMs(self.start.0 - 1));
            Filter { from: Some(from.clone()), to: Some(to), ..filter.clone() }
        });
        let end = self.end.map(RequestId::first_at);
        let totals_end = watermark.max(&start);
        let from = end.as_ref().map_or(totals_end, |end| totals_end.min(end));
        let after = filter.to.as_ref().is_none_or(|to| from <= to);
        let after = after.then(|| Filter { from: Some(from.clone()), ..filter.clone() });
        before.into_iter().chain(after).collect()
    }
}

pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    filter: Filter,
    request: &Request,
) -> Result<Response, ApiError> {
    let group_by = GroupBy::of(request)?;
    let mut stats = Stats { group_by, all: UsageSums::default(), models: BTreeMap::new(), groups: BTreeMap::new() };
    let (rollup, rest) = match WholeDays::of(&filter) {
        Some(days) => {
            let (first, last) = (days.start.day(), days.last_day());
            let rollup = app.store.rollup_totals(&caller.account, Some(&first), last.as_deref()).await?;
            let rest = days.rest(&filter, &rollup.watermark);
            (rollup, rest)
        }
        None => (Rollup::none(), vec![filter.clone()]),
    };
    let wanted = |group: &UsageGroup| {
        filter.model.as_ref().is_none_or(|model| *model == group.model) && filter.key.is_none_or(|key| key == group.key)
    };
    for (group, total) in rollup.totals.iter().filter(|(group, _)| wanted(group)) {
        stats.add(group, total.sums);
    }
    for filter in &rest {
        let mut entries = Entries::new(&app.store, &caller.account, filter);
        while let Some(page) = entries.next().await? {
            for (entry, served) in page.iter().filter(|(entry, served)| !rollup.counts(&entry.id, served)) {
                stats.add(&UsageGroup::of(&entry.id, served), UsageSums::of(served, -entry.amount));
            }
        }
    }
    let Stats { all, models, groups, .. } = stats;
    let by_model = models.into_iter().map(|(model, sums)| ModelSums { model, sums: sums.into() }).collect();
    let series = groups.into_iter().map(|((_, group), sums)| GroupSums { group, sums: sums.into() }).collect();
    Ok(Response::json(200, &UsageStats { stats: all.into(), by_model, series }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMs {
        UnixMs::parse_rfc3339(text).unwrap()
    }

    fn range(from: Option<&str>, to: Option<&str>) -> Filter {
        let from = from.map(|from| RequestId::first_at(at(from)));
        Filter { from, to: to.map(|to| RequestId::last_at(at(to))), ..Filter::default() }
    }

    /// The whole days, then what is read from the ledger when the watermark is there, as hours.
    fn split(filter: &Filter, watermark: &str) -> Option<Vec<String>> {
        let days = WholeDays::of(filter)?;
        let hour = |at: UnixMs| at.to_string()[..13].to_owned();
        let rest = days.rest(filter, &RequestId::first_at(at(watermark))).into_iter();
        let rest = rest.map(|part| (part.from.unwrap().at(), part.to.map(|to| hour(to.at().plus_ms(1)))));
        let rest = rest.map(|(from, to)| format!("{} to {}", hour(from), to.unwrap_or_default()));
        let whole = format!("{} to {}", days.start.day(), days.last_day().unwrap_or_default());
        Some([whole].into_iter().chain(rest).collect())
    }

    const MORNING: &str = "2026-11-23T09:00:00.000Z";
    const NOON: &str = "2026-11-25T12:00:00.000Z";

    #[test]
    fn a_range_is_whole_days_of_totals_and_the_rest_of_the_ledger() {
        let parts = |filter: Filter, watermark: &str| split(&filter, watermark).unwrap();
        // Without an end, today is a whole day: the totals have all of it up to the watermark.
        assert_eq!(parts(range(None, None), NOON), ["1970-01-01 to ", "2026-11-25T12 to "]);
        let first = "2026-11-23T09 to 2026-11-24T00";
        assert_eq!(parts(range(Some(MORNING), None), NOON), ["2026-11-24 to ", first, "2026-11-25T12 to "]);
        let both = || range(Some(MORNING), Some("2026-11-25T07:59:59.999Z"));
        let days = "2026-11-24 to 2026-11-24";
        assert_eq!(parts(both(), NOON), [days, first, "2026-11-25T00 to 2026-11-25T08"]);
        assert_eq!(parts(both(), "2026-11-24T05:00:00Z"), [days, first, "2026-11-24T05 to 2026-11-25T08"]);
        assert_eq!(parts(both(), "2026-11-20"), [days, first, "2026-11-24T00 to 2026-11-25T08"]);
        let whole = || range(Some("2026-11-23"), Some("2026-11-24T23:59:59.999Z"));
        assert_eq!(parts(whole(), NOON), ["2026-11-23 to 2026-11-24"], "all of it is in totals");
    }

    #[test]
    fn a_range_without_a_whole_day_has_no_totals() {
        for (from, to) in [
            (MORNING, "2026-11-23T23:59:59.999Z"),
            ("2026-11-23", "2026-11-23T23:59:59.998Z"),
            ("2026-11-23T00:00:00.001Z", "2026-11-24T23:59:59.998Z"),
        ] {
            assert_eq!(WholeDays::of(&range(Some(from), Some(to))), None, "{from} {to}");
        }
        assert_eq!(WholeDays::of(&range(None, Some("1970-01-01T12:00:00Z"))), None);
    }
}
