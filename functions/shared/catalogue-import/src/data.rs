//! The shape of `genai-prices`' data, as far as it is read. Numbers stay the text they are: no price becomes a float.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A provider and its models.
#[derive(Deserialize)]
pub struct Provider {
    /// Its name in the data.
    pub id: String,
    /// Its models.
    pub models: Vec<Model>,
}

/// Models that share a price.
#[derive(Deserialize)]
pub struct Model {
    /// Their name in the data.
    pub id: String,
    /// Their name for people.
    pub name: Option<String>,
    /// Which ids it stands for.
    #[serde(rename = "match")]
    pub rule: Rule,
    /// Tokens.
    pub context_window: Option<u32>,
    /// No longer served.
    #[serde(default)]
    pub deprecated: bool,
    prices: Box<RawValue>,
}

/// Which ids a model stands for. Case does not matter.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// This id.
    Equals(String),
    /// Ids that begin so.
    StartsWith(String),
    /// Ids that end so.
    EndsWith(String),
    /// Ids that hold this.
    Contains(String),
    /// Ids of this form. Not read: the table names ids that another rule covers.
    Regex(String),
    /// Any of these.
    Or(Vec<Rule>),
    /// All of these.
    And(Vec<Rule>),
}

impl Rule {
    /// Whether it names exactly this id.
    pub fn names(&self, id: &str) -> bool {
        match self {
            Self::Equals(text) => text.eq_ignore_ascii_case(id),
            Self::Or(rules) => rules.iter().any(|rule| rule.names(id)),
            _ => false,
        }
    }

    /// Whether it covers the id, named or not.
    pub fn covers(&self, id: &str) -> bool {
        let id = &id.to_ascii_lowercase();
        match self {
            Self::Equals(_) => self.names(id),
            Self::StartsWith(text) => id.starts_with(&text.to_ascii_lowercase()),
            Self::EndsWith(text) => id.ends_with(&text.to_ascii_lowercase()),
            Self::Contains(text) => id.contains(&text.to_ascii_lowercase()),
            Self::Regex(_) => false,
            Self::Or(rules) => rules.iter().any(|rule| rule.covers(id)),
            Self::And(rules) => rules.iter().all(|rule| rule.covers(id)),
        }
    }
}

/// Prices by what is counted: `input_mtok` and the like, in USD.
pub type PriceList = BTreeMap<String, Box<RawValue>>;

/// A price list and when it holds.
#[derive(Deserialize)]
struct Conditional {
    #[serde(default)]
    constraint: Constraint,
    prices: PriceList,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Constraint {
    start_date: Option<String>,
    start_time: Option<String>,
    #[serde(rename = "end_time")]
    _end_time: Option<String>,
    #[serde(rename = "type")]
    _kind: Option<String>,
}

/// A price that grows with the input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiered {
    /// Where no tier applies.
    pub base: Box<RawValue>,
    /// The tiers.
    pub tiers: Vec<Tier>,
}

/// A tier of a price.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// It applies to inputs of more tokens than this.
    pub start: u64,
    /// The price.
    pub price: Box<RawValue>,
}

impl Model {
    /// The price lists that hold at some hour of `date`: one, or one more for each time of day with its own prices.
    pub fn price_lists(&self, date: &str) -> Result<Vec<PriceList>, serde_json::Error> {
        if self.prices.get().starts_with('{') {
            return Ok(vec![serde_json::from_str(self.prices.get())?]);
        }
        let mut lists: Vec<PriceList> = Vec::new();
        // The last entry that applies holds, so a later date takes the place of all before it.
        for entry in serde_json::from_str::<Vec<Conditional>>(self.prices.get())? {
            match (&entry.constraint.start_date, &entry.constraint.start_time) {
                (Some(start), _) if start.as_str() > date => {}
                (_, Some(_)) => lists.push(entry.prices),
                (_, None) => lists = vec![entry.prices],
            }
        }
        Ok(lists)
    }
}
