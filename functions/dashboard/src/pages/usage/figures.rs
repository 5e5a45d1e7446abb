//! What the usage page says of a range: sums, charts, and the tables behind them. Nothing here is rounded but lengths.

use std::collections::BTreeMap;

use gateway_core::{ids::KeyId, money::Nanos};
use gateway_store::{UsageGroup, UsageSums};

use crate::{
    chart::{Chart, Series},
    written::Count,
};

/// There are so many colours: models beyond share the last one.
const COLORS: usize = 6;
/// Rows of a table of models or keys at the most; the last one sums up the others.
const MOST_ROWS: usize = 50;
/// What the bar beside the most expensive row is long.
const WHOLE: i128 = 1000;

/// Requests together, as a row shows them.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) sums: UsageSums,
    /// Its cost, as a part of the highest one's: thousandths.
    pub(super) share: i128,
}

/// A day as a row shows it.
pub(super) struct Day {
    pub(super) day: String,
    pub(super) sums: UsageSums,
    /// The cost of each series of the chart.
    pub(super) costs: Vec<Nanos>,
}

/// Everything that is said of a range.
pub(super) struct Figures {
    pub(super) all: UsageSums,
    pub(super) cost: Chart,
    pub(super) requests: Chart,
    pub(super) tokens: Chart,
    /// The days that had requests, the last one first.
    pub(super) days: Vec<Day>,
    pub(super) models: Vec<Row>,
    pub(super) keys: Vec<Row>,
}

impl Figures {
    /// The figures of these sums, which are all of these days.
    pub(super) fn of(
        sums: &BTreeMap<UsageGroup, UsageSums>,
        days: &[String],
        key_name: impl Fn(KeyId) -> String,
    ) -> Self {
        let mut all = UsageSums::default();
        let mut by_model: BTreeMap<&str, UsageSums> = BTreeMap::new();
        let mut by_key: BTreeMap<KeyId, UsageSums> = BTreeMap::new();
        let mut by_day: BTreeMap<&str, UsageSums> = BTreeMap::new();
        for (UsageGroup { day, key, model }, sums) in sums {
            all += *sums;
            *by_model.entry(model).or_default() += *sums;
            *by_key.entry(*key).or_default() += *sums;
            *by_day.entry(day).or_default() += *sums;
        }
        let models = ranked(by_model.into_iter().map(|(model, sums)| (model.to_owned(), sums)).collect());
        let keys = ranked(by_key.into_iter().map(|(key, sums)| (key_name(key), sums)).collect());
        let costs = costs(sums, days, &models);
        let of_days = |value: fn(&UsageSums) -> u64| {
            days.iter().map(|day| by_day.get(day.as_str()).map_or(0, value)).collect::<Vec<_>>()
        };
        let series = |name: &str, values| Series { name: name.to_owned(), values };
        let counted = |count: u64| Count(count).to_string();
        let requests = vec![series("Requests", of_days(|sums| sums.requests))];
        let tokens = vec![
            series("Input tokens", of_days(|sums| sums.input_tokens)),
            series("Output tokens", of_days(|sums| sums.output_tokens)),
        ];
        let row = |(at, day): (usize, &String)| {
            let sums = *by_day.get(day.as_str())?;
            let costs = costs.iter().map(|series| nanos(series.values.get(at).copied().unwrap_or(0))).collect();
            Some(Day { day: day.clone(), sums, costs })
        };
        let rows = days.iter().enumerate().filter_map(row).rev().collect();
        Self {
            all,
            cost: Chart::new(("cost", "Cost per day in USD"), days, costs, |value| nanos(value).to_string()),
            requests: Chart::new(("requests-a-day", "Requests per day"), days, requests, counted),
            tokens: Chart::new(("tokens", "Tokens per day"), days, tokens, counted),
            days: rows,
            models: limited(models, "models"),
            keys: limited(keys, "keys"),
        }
    }
}

fn nanos(amount: u64) -> Nanos {
    Nanos(i64::try_from(amount).unwrap_or(i64::MAX))
}

/// The most expensive first.
fn ranked(mut groups: Vec<(String, UsageSums)>) -> Vec<(String, UsageSums)> {
    groups.sort_by(|(a_name, a), (b_name, b)| {
        (b.spent, b.requests).cmp(&(a.spent, a.requests)).then_with(|| a_name.cmp(b_name))
    });
    groups
}

/// The cost a day of the most expensive models, and of the others together.
fn costs(sums: &BTreeMap<UsageGroup, UsageSums>, days: &[String], models: &[(String, UsageSums)]) -> Vec<Series> {
    let own = if models.len() > COLORS { COLORS - 1 } else { models.len() };
    let place: BTreeMap<&str, usize> = models.iter().take(own).map(|(name, _)| name.as_str()).zip(0..).collect();
    let at: BTreeMap<&str, usize> = days.iter().map(String::as_str).zip(0..).collect();
    let names = models.iter().take(own).map(|(name, _)| name.clone());
    let names = names.chain((models.len() > own).then(|| "Other models".to_owned()));
    let mut series: Vec<_> = names.map(|name| Series { name, values: vec![0; days.len()] }).collect();
    for (UsageGroup { day, model, .. }, sums) in sums {
        let place = place.get(model.as_str()).copied().unwrap_or(own);
        let value =
            at.get(day.as_str()).and_then(|day| series.get_mut(place).and_then(|series| series.values.get_mut(*day)));
        if let Some(value) = value {
            *value = value.saturating_add(u64::try_from(sums.spent.0).unwrap_or(0));
        }
    }
    series
}

/// The rows of a table; what is too much for it in one.
fn limited(groups: Vec<(String, UsageSums)>, what: &str) -> Vec<Row> {
    let most = groups.first().map_or(0, |(_, sums)| sums.spent.0).max(1);
    let own = if groups.len() > MOST_ROWS { MOST_ROWS - 1 } else { groups.len() };
    let others = groups.len() - own;
    let mut rest = UsageSums::default();
    groups.iter().skip(own).for_each(|(_, sums)| rest += *sums);
    let rest = (others > 0).then(|| (format!("{others} other {what}"), rest));
    let row = |(name, sums): (String, UsageSums)| {
        let share = (i128::from(sums.spent.0.max(0)) * WHOLE / i128::from(most)).min(WHOLE);
        Row { name, sums, share }
    };
    groups.into_iter().take(own).chain(rest).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(groups: &[(&str, u32, &str, i64)]) -> BTreeMap<UsageGroup, UsageSums> {
        let group = |(day, key, model, spent): &(&str, u32, &str, i64)| {
            let group = UsageGroup { day: (*day).to_owned(), key: KeyId(*key), model: (*model).to_owned() };
            let sums =
                UsageSums { requests: 1, input_tokens: 2, output_tokens: 3, cached_tokens: 0, spent: Nanos(*spent) };
            (group, sums)
        };
        groups.iter().map(group).collect()
    }

    fn names(rows: &[Row]) -> Vec<(&str, i64, i128)> {
        rows.iter().map(|row| (row.name.as_str(), row.sums.spent.0, row.share)).collect()
    }

    const DAYS: [&str; 3] = ["2026-11-21", "2026-11-22", "2026-11-23"];

    fn figures(groups: &[(&str, u32, &str, i64)]) -> Figures {
        Figures::of(&sums(groups), &DAYS.map(str::to_owned), |key| format!("key {key}"))
    }

    #[test]
    fn every_request_is_in_each_of_the_sums_once() {
        let figures =
            figures(&[(DAYS[0], 1, "a", 10), (DAYS[0], 2, "b", 30), (DAYS[2], 1, "b", 5), (DAYS[2], 2, "c", 0)]);
        assert_eq!((figures.all.requests, figures.all.spent), (4, Nanos(45)));
        assert_eq!(names(&figures.models), [("b", 35, 1000), ("a", 10, 285), ("c", 0, 0)]);
        assert_eq!(names(&figures.keys), [("key 2", 30, 1000), ("key 1", 15, 500)]);
        let days: Vec<_> = figures.days.iter().map(|day| (day.day.as_str(), day.costs.clone())).collect();
        let expected = [(DAYS[2], vec![Nanos(5), Nanos(0), Nanos(0)]), (DAYS[0], vec![Nanos(30), Nanos(10), Nanos(0)])];
        assert_eq!(days, expected, "the day without requests is left out");
        assert!(figures.days.iter().all(|day| day.costs.iter().copied().sum::<Nanos>() == day.sums.spent));
    }

    #[test]
    fn many_models_and_keys_are_summed_up_and_nothing_of_them_is_lost() {
        let named: Vec<String> = (100..160).map(|n| format!("model-{n}")).collect();
        let groups: Vec<_> = (1_u32..).zip(&named).map(|(n, name)| (DAYS[1], n, name.as_str(), i64::from(n))).collect();
        let figures = figures(&groups);
        for (rows, last) in [(&figures.models, "11 other models"), (&figures.keys, "11 other keys")] {
            assert_eq!((rows.len(), rows.last().unwrap().name.as_str()), (MOST_ROWS, last));
            assert_eq!(rows.iter().map(|row| row.sums.spent).sum::<Nanos>(), Nanos(60 * 61 / 2));
        }
        let series: Vec<_> = figures.cost.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(series, ["model-159", "model-158", "model-157", "model-156", "model-155", "Other models"]);
        assert_eq!(figures.days[0].costs.iter().copied().sum::<Nanos>(), figures.all.spent);
    }
}
