//! What an account's requests used: the ones that are asked for, a page at a time, and their sums.
//!
//! In sums whole days are read as the rollup's totals, as far as they go. The rest is read from the ledger: what is newer,
//! and what of the first and the last day lies in the range. Together they are every request once, whatever runs meanwhile.

use std::collections::BTreeMap;

use gateway_core::{
    csv,
    error::ApiError,
    ids::{AccountId, KeyId, RequestId},
    ledger::{Entry, EntryKind, Served},
    moment::UnixMs,
    money::Nanos,
};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{Filter, Rollup, Store, StoreError, UsageGroup, UsageSums};

/// The status of a request whose tokens the provider did not count.
pub const ESTIMATED: &str = "estimated";

const DAY_MS: u64 = 86_400_000;
/// Requests that are read at a time where all of them are.
const ENTRIES_PER_READ: usize = 500;

impl Filter {
    /// The usage that a query's `from`, `to`, `model` and `keyId` ask for. A date alone as `to` means that day's end.
    ///
    /// # Errors
    /// 400 that names the parameter which is wrong.
    pub fn of_usage<'a>(parameter: impl Fn(&str) -> Option<&'a str>) -> Result<Self, ApiError> {
        let moment = |name: &str| {
            let read = |text: &str| {
                let wrong = || {
                    ApiError::invalid(
                        name,
                        format!("'{name}' must be a date or an RFC 3339 time, 2026-11-23T09:30:00Z"),
                    )
                };
                UnixMs::parse_rfc3339(text).map(|at| (at, text.len())).ok_or_else(wrong)
            };
            parameter(name).map(read).transpose()
        };
        const DATE_CHARS: usize = 10;
        let key = parameter("keyId").map(|text| {
            KeyId::parse(text).ok_or_else(|| ApiError::invalid("keyId", "'keyId' must be a key's id, a whole number"))
        });
        let from = moment("from")?.map(|(at, _)| RequestId::first_at(at));
        let to = moment("to")?
            .map(|(at, chars)| RequestId::last_at(if chars == DATE_CHARS { at.plus_ms(DAY_MS - 1) } else { at }));
        // The database takes no range that ends before it begins.
        if from.as_ref().zip(to.as_ref()).is_some_and(|(from, to)| to < from) {
            return Err(ApiError::invalid("to", "'to' must not lie before 'from'"));
        }
        let model = parameter("model").map(str::to_owned);
        Ok(Self { kinds: vec![EntryKind::Usage], from, to, model, key: key.transpose()? })
    }

    /// Whether an entry of this id lies in its range. The database takes no place to go on from that does not.
    pub fn spans(&self, id: &RequestId) -> bool {
        self.from.as_ref().is_none_or(|from| from <= id) && self.to.as_ref().is_none_or(|to| id <= to)
    }

    /// Whether it asks for requests of this model and key.
    pub fn takes(&self, group: &UsageGroup) -> bool {
        self.model.as_ref().is_none_or(|model| *model == group.model) && self.key.is_none_or(|key| key == group.key)
    }
}

/// One request, as lists and exports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageLine {
    /// The request.
    pub id: RequestId,
    /// The model, by the id that prices it.
    pub model: String,
    /// Who served it.
    pub provider: String,
    /// The key that paid.
    pub key_id: KeyId,
    /// All input tokens.
    pub prompt_tokens: u64,
    /// All output tokens.
    pub completion_tokens: u64,
    /// The input tokens that were read from a provider's cache.
    pub cached_tokens: u64,
    /// What was charged.
    pub charged_amount: Nanos,
    /// `completed`, or `estimated` where the provider sent no count.
    pub status: &'static str,
    /// When it began.
    pub created_at: UnixMs,
    /// Milliseconds from its arrival to its settlement, where that is known. In exports, and no part of the API's lists.
    #[serde(skip)]
    pub duration_ms: Option<u64>,
}

impl UsageLine {
    /// The first line of a CSV file of them.
    pub const CSV_HEADER: &'static str = "id,created_at,model,provider,key_id,prompt_tokens,completion_tokens,\
        cached_tokens,charged_amount,status,duration_ms\n";

    fn of(entry: Entry) -> Option<Self> {
        let Served { key, model, provider, metered, duration_ms, .. } = entry.served?;
        Some(Self {
            created_at: entry.id.at(),
            id: entry.id,
            model,
            provider,
            key_id: key,
            prompt_tokens: metered.usage.all_input(),
            completion_tokens: metered.usage.all_output(),
            cached_tokens: metered.usage.cache_read,
            charged_amount: -entry.amount,
            status: if metered.estimated { ESTIMATED } else { "completed" },
            duration_ms,
        })
    }

    /// Its line of a CSV file.
    pub fn csv(&self) -> String {
        let Self { id, model, provider, key_id, prompt_tokens, completion_tokens, cached_tokens, .. } = self;
        let Self { charged_amount, status, created_at, duration_ms, .. } = self;
        let (model, provider) = (csv::field(model), csv::field(provider));
        let duration_ms = duration_ms.map(|ms| ms.to_string()).unwrap_or_default();
        format!(
            "{id},{created_at},{model},{provider},{key_id},{prompt_tokens},{completion_tokens},{cached_tokens},\
             {charged_amount},{status},{duration_ms}\n"
        )
    }
}

/// Requests, newest first.
#[derive(Debug, Clone, Default)]
pub struct UsagePage {
    /// The requests.
    pub lines: Vec<UsageLine>,
    /// The last one given, if more may follow: the next page begins after it.
    pub next: Option<RequestId>,
}

impl Store {
    /// The newest `limit` requests that pass the filter, after `after` and the `offset` that follow it.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn usage_page(
        &self,
        account: &AccountId,
        filter: &Filter,
        after: Option<&RequestId>,
        offset: usize,
        limit: usize,
    ) -> Result<UsagePage, StoreError> {
        let page = self.ledger_page(account, filter, after, offset, limit).await?;
        Ok(UsagePage { lines: page.entries.into_iter().filter_map(UsageLine::of).collect(), next: page.next })
    }

    /// Sends the requests that pass the filter as a CSV file, in pieces: all of them, or those that `most_bytes` have been
    /// sent with. Whether it was all. That nobody takes a piece ends it.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn usage_csv<P: From<String>>(
        &self,
        account: &AccountId,
        filter: &Filter,
        most_bytes: usize,
        pieces: &mpsc::Sender<P>,
    ) -> Result<bool, StoreError> {
        let (mut text, mut after, mut sent) = (UsageLine::CSV_HEADER.to_owned(), None, 0);
        loop {
            let page = self.usage_page(account, filter, after.as_ref(), 0, ENTRIES_PER_READ).await?;
            text.extend(page.lines.iter().map(UsageLine::csv));
            after = page.next;
            sent += text.len();
            let taken = pieces.send(std::mem::take(&mut text).into()).await.is_ok();
            if !taken || after.is_none() || sent >= most_bytes {
                return Ok(after.is_none());
            }
        }
    }

    /// What the requests that pass the filter used, by day, key and model.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn usage_sums(
        &self,
        account: &AccountId,
        filter: &Filter,
    ) -> Result<BTreeMap<UsageGroup, UsageSums>, StoreError> {
        let (rollup, rest) = match WholeDays::of(filter) {
            Some(days) => {
                let (first, last) = (days.start.day(), days.last_day());
                let rollup = self.rollup_totals(account, Some(&first), last.as_deref()).await?;
                let rest = days.rest(filter, &rollup.watermark);
                (rollup, rest)
            }
            None => (Rollup::none(), vec![filter.clone()]),
        };
        let mut sums: BTreeMap<UsageGroup, UsageSums> = BTreeMap::new();
        for (group, total) in rollup.totals.iter().filter(|(group, _)| filter.takes(group)) {
            *sums.entry(group.clone()).or_default() += total.sums;
        }
        for filter in &rest {
            let mut after = None;
            loop {
                let page = self.ledger_page(account, filter, after.as_ref(), 0, ENTRIES_PER_READ).await?;
                for entry in &page.entries {
                    let Some(served) = entry.served.as_ref().filter(|served| !rollup.counts(&entry.id, served)) else {
                        continue;
                    };
                    *sums.entry(UsageGroup::of(&entry.id, served)).or_default() += UsageSums::of(served, -entry.amount);
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(sums)
    }
}

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
