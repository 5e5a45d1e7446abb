//! Bars over days, as shapes that a template draws. Integers throughout: lengths are tenths of a pixel, so that the bars of a
//! whole year still have a width; what is written stays the exact amount.

use crate::written::day_and_month;

/// The drawing's size, and the frame that the bars stand in. Its left side depends on what is written there.
const WIDTH: u64 = 7200;
const HEIGHT: u64 = 2300;
const TOP: u64 = 150;
const BASE: u64 = 1980;
const RIGHT: u64 = 6950;
/// Where a day's name is written, and how far a text stands from what it names.
const DAYS_AT: u64 = 2180;
const GAP: u64 = 90;
/// What a character is given, which is more than digits take.
const CHARACTER: u64 = 90;
/// A bar alone is no wider.
const WIDEST: u64 = 480;
/// A bar of something is no lower, however much more the others are.
const LOWEST: u64 = 10;
/// Lines across, above the lowest, at the most; and days that are named.
const MOST_STEPS: u64 = 5;
const MOST_NAMED: usize = 8;

/// One part of every bar: a value a day.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// What the legend calls it.
    pub(crate) name: String,
    /// A value for each day.
    pub(crate) values: Vec<u64>,
}

/// A text at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) x: u64,
    pub(crate) y: u64,
    pub(crate) text: String,
}

/// A series, drawn.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) name: String,
    /// Which colour: its place among the series.
    pub(crate) color: usize,
    /// An SVG path of rectangles, one for each day that has any.
    pub(crate) path: String,
}

/// A chart.
#[derive(Debug)]
pub(crate) struct Chart {
    /// Tells its parts from other charts' on the page.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What somebody who does not see it is told.
    pub(crate) description: String,
    /// What stands at the left: lines across, each with its value.
    pub(crate) lines: Vec<Label>,
    /// The lines' ends.
    pub(crate) left: u64,
    /// Days' names.
    pub(crate) days: Vec<Label>,
    /// From the bottom to the top.
    pub(crate) series: Vec<Drawn>,
}

impl Chart {
    pub(crate) const WIDTH: u64 = WIDTH;
    pub(crate) const HEIGHT: u64 = HEIGHT;
    pub(crate) const RIGHT: u64 = RIGHT;

    /// Bars of these series, stacked, over these days (`2026-11-23`); a value reads as `written` has it.
    pub(crate) fn new(
        (id, title): (&'static str, &'static str),
        days: &[String],
        series: Vec<Series>,
        written: impl Fn(u64) -> String,
    ) -> Self {
        let sums: Vec<u64> = (0..days.len()).map(|day| sum(&series, day)).collect();
        let most = sums.iter().copied().max().unwrap_or(0);
        let scale = Scale::up_to(most);
        let lines = scale.lines().map(|value| Label { x: 0, y: BASE - scale.height(value), text: written(value) });
        let mut lines: Vec<_> = lines.collect();
        let longest = lines.iter().map(|line| line.text.chars().count()).max().unwrap_or(0);
        let left = CHARACTER * u64::try_from(longest).unwrap_or(0) + 2 * GAP;
        lines.iter_mut().for_each(|line| line.x = left - GAP);
        let slots = Slots { left, count: days.len() };
        let step = days.len().div_ceil(MOST_NAMED).max(1);
        let named = days.iter().enumerate().step_by(step);
        let named = named.map(|(day, name)| Label { x: slots.middle(day), y: DAYS_AT, text: day_and_month(name) });
        let description = description(days, &sums, &written);
        Self { id, title, description, lines, left, days: named.collect(), series: drawn(series, &sums, slots, scale) }
    }

    /// Where a line's text stands beside it.
    pub(crate) fn beside(line: &Label) -> u64 {
        line.y + 48
    }
}

fn sum(series: &[Series], day: usize) -> u64 {
    series.iter().filter_map(|series| series.values.get(day)).fold(0, |sum, value| sum.saturating_add(*value))
}

/// The series' bars, each upon those before it.
fn drawn(series: Vec<Series>, sums: &[u64], slots: Slots, scale: Scale) -> Vec<Drawn> {
    // What the series so far come to, a day.
    let mut below = vec![0_u64; sums.len()];
    let one = |(color, Series { name, values }): (usize, Series)| {
        let mut path = String::new();
        for (day, value) in values.into_iter().enumerate().filter(|(_, value)| *value > 0) {
            let Some((below, total)) = below.get_mut(day).zip(sums.get(day)) else { continue };
            let height = scale.height(*total).max(LOWEST);
            let bottom = part(*below, *total, height);
            *below = below.saturating_add(value);
            let top = part(*below, *total, height);
            if top > bottom {
                let (x, width) = slots.bar(day);
                path += &format!("M{x} {}h{width}v{}h-{width}z", BASE - top, top - bottom);
            }
        }
        Drawn { name, color, path }
    };
    series.into_iter().enumerate().map(one).collect()
}

/// `value` of `total`, as so much of `whole`.
fn part(value: u64, total: u64, whole: u64) -> u64 {
    let part = u128::from(value) * u128::from(whole) / u128::from(total.max(1));
    u64::try_from(part).unwrap_or(whole)
}

/// Where days stand: beside each other, from the left.
#[derive(Clone, Copy)]
struct Slots {
    left: u64,
    count: usize,
}

impl Slots {
    /// Where a day's place begins; that of the one after the last is where all end.
    fn start(self, day: usize) -> u64 {
        let (day, count) = (u64::try_from(day).unwrap_or(0), u64::try_from(self.count).unwrap_or(1).max(1));
        self.left + (RIGHT - self.left) * day / count
    }

    fn middle(self, day: usize) -> u64 {
        u64::midpoint(self.start(day), self.start(day + 1))
    }

    /// A day's bar: its left side and its width.
    fn bar(self, day: usize) -> (u64, u64) {
        let width = ((self.start(day + 1) - self.start(day)) * 4 / 5).clamp(1, WIDEST);
        (self.middle(day) - width / 2, width)
    }
}

/// What a height stands for.
#[derive(Clone, Copy)]
struct Scale {
    /// From one line to the next: 1, 2 or 5 with zeros.
    step: u64,
    /// How many steps there are.
    steps: u64,
}

impl Scale {
    /// The finest on which so much has place.
    fn up_to(most: u64) -> Self {
        let powers = (0..=19).map(|zeros| 10_u64.saturating_pow(zeros));
        let steps = powers.flat_map(|power| [1, 2, 5].map(|digit| power.saturating_mul(digit)));
        let step = steps.into_iter().find(|step| step.saturating_mul(MOST_STEPS) >= most).unwrap_or(u64::MAX);
        Self { step, steps: most.div_ceil(step) }
    }

    /// The lines' values.
    fn lines(self) -> impl Iterator<Item = u64> {
        (0..=self.steps).map(move |line| self.step.saturating_mul(line))
    }

    fn height(self, value: u64) -> u64 {
        let top = u128::from(self.step) * u128::from(self.steps.max(1));
        u64::try_from(u128::from(value) * u128::from(BASE - TOP) / top).unwrap_or(BASE - TOP).min(BASE - TOP)
    }
}

/// What the bars show, in words.
fn description(days: &[String], sums: &[u64], written: &impl Fn(u64) -> String) -> String {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return "No days.".to_owned() };
    let highest = days.iter().zip(sums).rev().max_by_key(|(_, sum)| **sum).filter(|(_, sum)| **sum > 0);
    let highest = highest.map(|(day, sum)| format!(" The highest is {} on {day}.", written(*sum)));
    let highest = highest.unwrap_or_else(|| " No activity on these days.".to_owned());
    format!("One bar per day from {first} to {last}.{highest}")
}

#[cfg(test)]
mod tests {
    use gateway_core::moment::UnixMs;

    use super::*;

    /// A rectangle: left, top, width, height.
    type Bar = (u64, u64, u64, u64);

    fn days(count: u64) -> Vec<String> {
        (0..count).map(|day| UnixMs((20_000 + day) * 86_400_000).day()).collect()
    }

    fn chart(series: &[&[u64]]) -> Chart {
        let count = series.iter().map(|values| values.len()).max().unwrap_or(0);
        let named = |values: &&[u64]| Series { name: "a".to_owned(), values: values.to_vec() };
        let series = series.iter().map(named).collect();
        Chart::new(("test", "Test"), &days(u64::try_from(count).unwrap()), series, |value| value.to_string())
    }

    fn bars(drawn: &Drawn) -> Vec<Bar> {
        let bar = |text: &str| {
            let numbers: Vec<u64> =
                text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
            let [x, y, width, height, back] = numbers.as_slice() else { panic!("{text}") };
            assert_eq!((width, text.ends_with('z')), (back, true));
            (*x, *y, *width, *height)
        };
        drawn.path.split('M').skip(1).map(bar).collect()
    }

    /// All lie in the frame, left to right, none upon another.
    fn stand_apart(bars: &[Bar], left: u64) {
        let mut end = left;
        for (x, y, width, height) in bars {
            assert!(*x >= end && *width >= 1 && *height >= 1, "{bars:?}");
            assert!(*y >= TOP && y + height == BASE, "{bars:?}");
            end = x + width;
        }
        assert!(end <= RIGHT, "{bars:?}");
    }

    #[test]
    fn bars_of_a_day_a_month_and_a_year_stand_apart_and_are_as_high_as_their_values() {
        for count in [1, 2, 31, 366] {
            let values: Vec<u64> = (1..=count).collect();
            let chart = chart(&[&values]);
            let bars = bars(&chart.series[0]);
            assert_eq!(bars.len(), values.len());
            stand_apart(&bars, chart.left);
            assert!(bars.is_sorted_by_key(|bar| bar.3), "{count}");
            assert!(bars.iter().all(|bar| bar.2 <= WIDEST), "{count}");
            assert!((1..=MOST_NAMED).contains(&chart.days.len()), "{count}");
        }
        let (two, four) = (chart(&[&[50, 100]]), chart(&[&[25, 50, 75, 100]]));
        let heights = |chart: &Chart| bars(&chart.series[0]).iter().map(|bar| bar.3).collect::<Vec<_>>();
        assert_eq!(heights(&two), [(BASE - TOP) / 2, BASE - TOP]);
        assert_eq!(heights(&four), [457, 915, 1372, 1830]);
    }

    #[test]
    fn a_day_without_requests_has_no_bar_and_one_with_little_has_one_beside_a_huge_one() {
        let chart = chart(&[&[0, 1, 0, 1_000_000_000_000]]);
        let bars = bars(&chart.series[0]);
        stand_apart(&bars, chart.left);
        assert_eq!(bars.iter().map(|bar| bar.3).collect::<Vec<_>>(), [LOWEST, BASE - TOP]);
        assert_eq!(
            chart.description,
            "One bar per day from 2024-10-04 to 2024-10-07. The highest is 1000000000000 on 2024-10-07."
        );
    }

    #[test]
    fn parts_of_a_bar_touch_and_are_as_high_together_as_their_sum() {
        let chart = chart(&[&[1, 0, 7], &[1, 3, 0], &[1, 0, 1]]);
        let parts: Vec<_> = chart.series.iter().map(bars).collect();
        let whole = bars(&super::tests::chart(&[&[3, 3, 8]]).series[0]);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
        for (x, top, width, height) in whole {
            let mut of_day: Vec<_> = parts.iter().flatten().filter(|bar| bar.0 == x).collect();
            of_day.sort_by_key(|bar| std::cmp::Reverse(bar.1));
            let mut at = BASE;
            for (_, part_top, part_width, part_height) in of_day {
                assert_eq!((part_top + part_height, *part_width), (at, width));
                at = *part_top;
            }
            assert_eq!((at, BASE - at), (top, height));
        }
    }

    #[test]
    fn nothing_at_all_has_a_base_line_and_no_bars() {
        let none = chart(&[&[0, 0, 0]]);
        assert_eq!(none.series[0].path, "");
        assert_eq!(none.lines.iter().map(|line| (line.text.as_str(), line.y)).collect::<Vec<_>>(), [("0", BASE)]);
        assert!(none.description.ends_with("No activity on these days."));
        let empty = chart(&[]);
        assert!(empty.days.is_empty() && empty.series.is_empty());
    }

    #[test]
    fn lines_are_round_numbers_few_and_reach_the_highest_bar() {
        let lines = |most: u64| {
            let scale = Scale::up_to(most);
            let lines: Vec<u64> = scale.lines().collect();
            assert!(lines.len() <= 6 && *lines.last().unwrap() >= most, "{most}: {lines:?}");
            assert_eq!(scale.height(*lines.last().unwrap()), if most == 0 { 0 } else { BASE - TOP }, "{most}");
            lines
        };
        assert_eq!(lines(1), [0, 1]);
        assert_eq!(lines(5), [0, 1, 2, 3, 4, 5]);
        assert_eq!(lines(6), [0, 2, 4, 6]);
        assert_eq!(lines(23), [0, 5, 10, 15, 20, 25]);
        assert_eq!(lines(100_000_000), [0, 20_000_000, 40_000_000, 60_000_000, 80_000_000, 100_000_000]);
        lines(0);
        lines(u64::MAX / 2);
    }

    #[test]
    fn the_largest_values_there_are_overflow_nothing() {
        let chart = chart(&[&[u64::MAX, 1], &[u64::MAX, u64::MAX]]);
        let bars: Vec<_> = chart.series.iter().map(bars).collect();
        assert!(bars.iter().flatten().all(|bar| bar.1 >= TOP && bar.1 + bar.3 <= BASE));
    }
}
