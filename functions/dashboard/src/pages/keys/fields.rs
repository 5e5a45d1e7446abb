//! The form of a key: what it says as text, so that it can be shown again, and what is wrong with it.

use std::collections::{BTreeSet, HashMap};

use form_urlencoded::Serializer;
use gateway_core::{
    key_rules::{self, MOST_MODELS, MOST_NAME_CHARS, NameProblem},
    limits::{Interval, RateLimit},
    moment::{Reset, UnixMs},
    money::Nanos,
};
use gateway_store::{KeyChange, KeyRecord, NewKey};

use super::Page;
use crate::{answer::Failure, problem::Problem, visit::Visit};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The windows of a rate limit that people choose from.
const INTERVALS: [(&str, &str); 5] =
    [("1s", "second"), ("10s", "10 seconds"), ("1m", "minute"), ("1h", "hour"), ("1d", "day")];
/// When a spend limit starts afresh, to choose from.
const RESETS: [(&str, &str); 4] =
    [("", "Never"), ("daily", "Every day"), ("weekly", "Every Monday"), ("monthly", "Every month")];

const LISTED_AND_ALL: &str = "You listed models but allowed all of them. Choose “Only these”, or empty the list.";

/// What the form says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) name: String,
    /// A day, or nothing.
    pub(super) expires: String,
    pub(super) limit: String,
    pub(super) reset: String,
    pub(super) requests: String,
    pub(super) interval: String,
    /// Whether only some models are allowed, which are these, one a line.
    pub(super) only: bool,
    pub(super) models: String,
}

/// The fields that are plain text, by their names in the form.
const TEXTS: [&str; 7] = ["name", "expires", "limit", "reset", "requests", "interval", "models"];

fn wrong<T>(field: &'static str, text: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::at(field, text))
}

/// An entry of a list to choose from.
pub(super) struct Choice<'a> {
    pub(super) value: &'a str,
    pub(super) label: &'a str,
    pub(super) chosen: bool,
}

impl Fields {
    /// A key that may do everything.
    pub(super) fn fresh() -> Self {
        let RateLimit { requests, interval } = RateLimit::default();
        Self {
            name: String::new(),
            expires: String::new(),
            limit: String::new(),
            reset: String::new(),
            requests: requests.to_string(),
            interval: interval.to_string(),
            only: false,
            models: String::new(),
        }
    }

    /// The key as it is.
    pub(super) fn of_key(record: &KeyRecord) -> Self {
        let allowance = &record.allowance;
        let models = allowance.models.iter().flatten().cloned().collect::<Vec<_>>().join("\n");
        Self {
            name: record.name.clone(),
            expires: allowance.expires_at.map(UnixMs::day).unwrap_or_default(),
            limit: allowance.spend_limit.map(|limit| limit.to_string()).unwrap_or_default(),
            reset: allowance.reset.map_or_else(String::new, |reset| reset.name().to_owned()),
            requests: allowance.rate_limit.requests.to_string(),
            interval: allowance.rate_limit.interval.to_string(),
            only: allowance.models.is_some(),
            models,
        }
    }

    /// The form that was sent.
    pub(super) fn of_form(visit: &Visit<'_>) -> Self {
        Self::from_texts(|name| visit.form.text(name))
    }

    fn from_texts<'t>(text: impl Fn(&str) -> &'t str) -> Self {
        // Browsers send a line's end as two characters.
        let text = |name: &str| text(name).trim().replace("\r\n", "\n");
        Self {
            name: text("name"),
            expires: text("expires"),
            limit: text("limit"),
            reset: text("reset"),
            requests: text("requests"),
            interval: text("interval"),
            only: text("allow") == "only",
            models: text("models"),
        }
    }

    /// All fields in one line, for the form to bring along.
    pub(super) fn written(&self) -> String {
        let texts = [&self.name, &self.expires, &self.limit, &self.reset, &self.requests, &self.interval, &self.models];
        let mut line = Serializer::new(String::new());
        line.extend_pairs(TEXTS.into_iter().zip(texts));
        line.append_pair("allow", if self.only { "only" } else { "all" }).finish()
    }

    /// What was sent, but whatever is still as the form showed it stays as it is `now`: a form that is older than another
    /// change, of a limit say, takes nothing of it back.
    pub(super) fn over(self, visit: &Visit<'_>, now: &Self) -> Self {
        let line = visit.form.text("shown").as_bytes();
        if line.is_empty() {
            return self;
        }
        let fields: HashMap<String, String> = form_urlencoded::parse(line).into_owned().collect();
        let shown = Self::from_texts(|name| fields.get(name).map_or("", String::as_str));
        let kept = |sent: String, shown: &str, now: &str| if sent == shown { now.to_owned() } else { sent };
        let is_list_kept = (self.only, &self.models) == (shown.only, &shown.models);
        let (only, models) = if is_list_kept { (now.only, now.models.clone()) } else { (self.only, self.models) };
        Self {
            name: kept(self.name, &shown.name, &now.name),
            expires: kept(self.expires, &shown.expires, &now.expires),
            limit: kept(self.limit, &shown.limit, &now.limit),
            reset: kept(self.reset, &shown.reset, &now.reset),
            requests: kept(self.requests, &shown.requests, &now.requests),
            interval: kept(self.interval, &shown.interval, &now.interval),
            only,
            models,
        }
    }

    /// The windows to choose from; one that is set otherwise is among them.
    pub(super) fn intervals(&self) -> Vec<Choice<'_>> {
        let own = self.interval.as_str();
        let is_known = INTERVALS.iter().any(|(value, _)| *value == own);
        let other = (!is_known && Interval::parse(own).is_some()).then_some((own, own));
        let choice = |(value, label)| Choice { value, label, chosen: value == own };
        other.into_iter().chain(INTERVALS).map(choice).collect()
    }

    /// When a spend limit may start afresh.
    pub(super) fn resets(&self) -> Vec<Choice<'_>> {
        RESETS.map(|(value, label)| Choice { value, label, chosen: value == self.reset }).into()
    }

    /// The key that the form asks for, which is `before` as yet. A model that nobody has heard of is a slip of the pen, but
    /// the catalogue may have lost one that the key has.
    pub(super) async fn read(
        &self,
        visit: &Visit<'_>,
        page: &Page,
        before: Option<&KeyRecord>,
    ) -> Result<Result<NewKey, Problem>, Failure> {
        let read = self.checked(page, before, visit.request.at);
        let Ok(NewKey { models: Some(models), .. }) = &read else { return Ok(read) };
        let known = before.and_then(|record| record.allowance.models.clone()).unwrap_or_default();
        let catalogue = visit.app.configuration.catalogue(visit.request.at).await?;
        let mut new = models.difference(&known);
        Ok(match new.find(|id| catalogue.model(id).is_none()) {
            Some(unknown) => wrong("models", format!("There is no model {unknown}. The Models page lists all IDs.")),
            None => read,
        })
    }

    fn checked(&self, page: &Page, before: Option<&KeyRecord>, at: UnixMs) -> Result<NewKey, Problem> {
        let name = key_rules::name(&self.name).or_else(|problem| match problem {
            NameProblem::Empty => wrong("name", "Give the key a name."),
            NameProblem::NotPrintable => {
                wrong("name", format!("Use at most {MOST_NAME_CHARS} characters, all on one line."))
            }
        })?;
        let expires_at = self.expiry(before, at)?;
        let rate_limit = self.rate_limit()?;
        let mut new = NewKey {
            name,
            key_type: page.key_type,
            expires_at,
            spend_limit: None,
            reset: None,
            rate_limit,
            models: None,
        };
        if page.is_api() {
            new.spend_limit = self.spend_limit()?;
            new.reset = Reset::parse(&self.reset);
            new.models = self.allowed(before)?;
        }
        Ok(new)
    }

    /// The last moment of the day. An expiry within that day, as another way may have set it, stays as it is.
    fn expiry(&self, before: Option<&KeyRecord>, at: UnixMs) -> Result<Option<UnixMs>, Problem> {
        if self.expires.is_empty() {
            return Ok(None);
        }
        let kept = before.and_then(|record| record.allowance.expires_at);
        if let Some(kept) = kept.filter(|kept| kept.day() == self.expires) {
            return Ok(Some(kept));
        }
        let day = Some(&self.expires).filter(|text| text.len() == 10).and_then(|text| UnixMs::parse_rfc3339(text));
        let Some(day) = day else { return wrong("expires", "Enter the expiry date like 2027-01-31.") };
        match key_rules::expiry(day.plus_ms(DAY_MS - 1), at) {
            Some(expires) => Ok(Some(expires)),
            None => wrong("expires", "That date has passed. Choose today or a later date."),
        }
    }

    fn spend_limit(&self) -> Result<Option<Nanos>, Problem> {
        if self.limit.is_empty() {
            return Ok(None);
        }
        Nanos::parse_usd(&self.limit)
            .map(Some)
            .or_else(|_| wrong("limit", "Enter the spend limit in USD, like 25 or 12.50, or leave it empty."))
    }

    fn rate_limit(&self) -> Result<RateLimit, Problem> {
        let requests = self.requests.parse().ok().filter(|requests| *requests > 0);
        let Some(requests) = requests else {
            return wrong("requests", format!("Enter a whole number from 1 to {}.", u32::MAX));
        };
        match Interval::parse(&self.interval) {
            Some(interval) => Ok(RateLimit { requests, interval }),
            None => wrong("interval", "Choose a period for the rate limit."),
        }
    }

    fn allowed(&self, before: Option<&KeyRecord>) -> Result<Option<BTreeSet<String>>, Problem> {
        let words = self.models.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        let models: BTreeSet<String> = words.map(str::to_owned).collect();
        let is_as_it_was = before.is_some_and(|record| record.allowance.models.as_ref() == Some(&models));
        if !self.only {
            // A list that nobody touched is one that is to go; what was typed is meant, and all would be more than that.
            return if models.is_empty() || is_as_it_was { Ok(None) } else { wrong("models", LISTED_AND_ALL) };
        }
        if models.is_empty() && !is_as_it_was {
            return wrong("models", "List at least one model, or allow all models.");
        }
        if !key_rules::may_list(&models) {
            return wrong("models", format!("List at most {MOST_MODELS} models."));
        }
        Ok(Some(models))
    }
}

/// What of a key the form changes, which is as `now`; a billing key's has nothing to say of limits and models.
pub(super) fn change(page: &Page, new: NewKey, sent: &Fields, now: &Fields) -> KeyChange {
    let is_api = page.is_api();
    let rate_differs = (&sent.requests, &sent.interval) != (&now.requests, &now.interval);
    let list_differs = (sent.only, &sent.models) != (now.only, &now.models);
    KeyChange {
        name: (sent.name != now.name).then_some(new.name),
        active: None,
        expires_at: (sent.expires != now.expires).then_some(new.expires_at),
        spend_limit: (is_api && sent.limit != now.limit).then_some(new.spend_limit),
        reset: (is_api && sent.reset != now.reset).then_some(new.reset),
        rate_limit: rate_differs.then_some(new.rate_limit),
        models: (is_api && list_differs).then_some(new.models),
    }
}
