//! `GET /api/usage/stats`: sums over the ledger, in all, by model, and by day, model or key.

use std::collections::BTreeMap;

use gateway_core::{error::ApiError, money::Nanos};
use gateway_lambda::{Caller, Request, Response};
use gateway_store::{Filter, UsageGroup, UsageSums};
use serde::Serialize;

use crate::App;

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

pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    filter: Filter,
    request: &Request,
) -> Result<Response, ApiError> {
    let group_by = GroupBy::of(request)?;
    let (mut stats, mut models, mut groups) = (UsageSums::default(), BTreeMap::new(), BTreeMap::new());
    for (group, sums) in app.store.usage_sums(&caller.account, &filter).await? {
        stats += sums;
        *groups.entry(group_by.group(&group)).or_insert_with(UsageSums::default) += sums;
        *models.entry(group.model).or_insert_with(UsageSums::default) += sums;
    }
    let by_model = models.into_iter().map(|(model, sums)| ModelSums { model, sums: sums.into() }).collect();
    let series = groups.into_iter().map(|((_, group), sums)| GroupSums { group, sums: sums.into() }).collect();
    Ok(Response::json(200, &UsageStats { stats: stats.into(), by_model, series }))
}
