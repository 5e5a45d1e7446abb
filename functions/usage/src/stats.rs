//! `GET /api/usage/stats`: sums over the ledger, in all, by model, and by day, model or key.

use std::collections::BTreeMap;

use gateway_core::{
    error::ApiError,
    ledger::{Entry, Served},
    money::Nanos,
};
use gateway_lambda::{Caller, Request, Response};
use gateway_store::Filter;
use serde::Serialize;

use crate::{App, Entries};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageStats {
    stats: Sums,
    by_model: Vec<ModelSums>,
    series: Vec<GroupSums>,
}

#[derive(Serialize, Default, Clone, Copy)]
#[serde(rename_all = "camelCase")]
struct Sums {
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

impl Sums {
    fn add(&mut self, entry: &Entry, served: &Served) {
        self.total_requests += 1;
        self.total_prompt_tokens += served.metered.usage.all_input();
        self.total_completion_tokens += served.metered.usage.all_output();
        self.total_spent += -entry.amount;
    }
}

impl From<Sums> for Flat {
    fn from(sums: Sums) -> Self {
        Self {
            requests: sums.total_requests,
            prompt_tokens: sums.total_prompt_tokens,
            completion_tokens: sums.total_completion_tokens,
            spent: sums.total_spent,
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
    fn group(self, entry: &Entry, served: &Served) -> (u32, String) {
        match self {
            Self::Day => (0, entry.id.at().day()),
            Self::Model => (0, served.model.clone()),
            Self::Key => (served.key.0, served.key.to_string()),
        }
    }
}

pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    filter: Filter,
    request: &Request,
) -> Result<Response, ApiError> {
    let group_by = GroupBy::of(request)?;
    let mut stats = Sums::default();
    let mut models: BTreeMap<String, Sums> = BTreeMap::new();
    let mut groups: BTreeMap<(u32, String), Sums> = BTreeMap::new();
    let mut entries = Entries::new(&app.store, &caller.account, &filter);
    while let Some(page) = entries.next().await? {
        for (entry, served) in &page {
            stats.add(entry, served);
            models.entry(served.model.clone()).or_default().add(entry, served);
            groups.entry(group_by.group(entry, served)).or_default().add(entry, served);
        }
    }
    let by_model = models.into_iter().map(|(model, sums)| ModelSums { model, sums: sums.into() }).collect();
    let series = groups.into_iter().map(|((_, group), sums)| GroupSums { group, sums: sums.into() }).collect();
    Ok(Response::json(200, &UsageStats { stats, by_model, series }))
}
