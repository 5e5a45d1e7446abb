//! `/dashboard/models`: what can be asked for here, and what it costs.

use askama::Template;
use form_urlencoded::Serializer;
use gateway_core::{
    catalogue::{Catalogue, Model, ModelKind},
    money::{PerMillion, Picos},
    pricing::Rates,
};

use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    visit::Visit,
    written::Count,
};

const PATH: &str = "/models";
/// Models a page.
const ROWS: usize = 100;

/// What a million tokens cost, in USD.
struct Price {
    input: PerMillion,
    /// Where that differs from fresh input.
    cached: Option<PerMillion>,
    output: PerMillion,
}

struct Row {
    id: String,
    name: String,
    provider: String,
    kind: &'static str,
    context: Option<Count>,
    price: Option<Price>,
    /// The prices of a request whose input is over so many tokens.
    long: Vec<(Count, Price)>,
    served: bool,
}

#[derive(Template)]
#[template(path = "models.html")]
struct Models<'a> {
    frame: Frame<'a>,
    search: &'a str,
    kind: Option<ModelKind>,
    all: bool,
    served: usize,
    known: usize,
    found: usize,
    rows: Vec<Row>,
    /// The number of the first row, from 1.
    first: usize,
    previous: Option<String>,
    next: Option<String>,
}

impl Row {
    fn of(catalogue: &Catalogue, model: Model) -> Self {
        let served = catalogue.serves(&model);
        let shown = |price: Picos| PerMillion(model.markup.shown(price));
        let price = |rates: &Rates| Price {
            input: shown(rates.input),
            cached: (rates.cache_read != rates.input).then(|| shown(rates.cache_read)),
            output: shown(rates.output),
        };
        let long = model.prices.iter().flat_map(|prices| &prices.tiers);
        Self {
            kind: match model.kind {
                ModelKind::Chat => "Chat",
                ModelKind::Embedding => "Embeddings",
                ModelKind::Any => "Chat or embeddings",
            },
            context: model.context_length.map(|tokens| Count(u64::from(tokens))),
            price: model.prices.as_ref().map(|prices| price(&prices.base)),
            long: long.map(|(over, rates)| (Count(*over), price(rates))).collect(),
            served,
            id: model.id,
            name: model.name,
            provider: model.provider,
        }
    }
}

/// Whether all words of the search are somewhere in what a model is called.
fn matches(model: &Model, words: &[String]) -> bool {
    let text = format!("{} {} {}", model.id, model.name, model.provider).to_lowercase();
    words.iter().all(|word| text.contains(word))
}

/// GET /models
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let catalogue = visit.app.configuration.catalogue(visit.request.at).await?;
    let search = visit.request.query("q").unwrap_or_default();
    let kind = match visit.request.query("kind") {
        Some("chat") => Some(ModelKind::Chat),
        Some("embedding") => Some(ModelKind::Embedding),
        _ => None,
    };
    let all = visit.request.query("show") == Some("all");
    let words: Vec<_> = search.split_whitespace().map(str::to_lowercase).collect();
    let models = catalogue.known();
    let (known, served) = (models.len(), models.iter().filter(|model| catalogue.serves(model)).count());
    let wanted = |model: &Model| {
        (all || catalogue.serves(model)) && kind.is_none_or(|kind| model.kind.does(kind)) && matches(model, &words)
    };
    let found: Vec<_> = models.into_iter().filter(wanted).collect();
    let pages = found.len().div_ceil(ROWS).max(1);
    let page = visit.request.query("page").and_then(|page| page.parse().ok()).unwrap_or(1).clamp(1, pages);
    let at = |page: usize| {
        let mut query = Serializer::new(String::new());
        for name in ["q", "kind", "show"] {
            query.extend_pairs(visit.request.query(name).map(|value| (name, value)));
        }
        visit.site.at(&format!("{PATH}?{}", query.append_pair("page", &page.to_string()).finish()))
    };
    let first = (page - 1) * ROWS;
    Answer::page(&Models {
        frame: visit.frame("Models", PATH),
        search,
        kind,
        all,
        served,
        known,
        found: found.len(),
        rows: found.into_iter().skip(first).take(ROWS).map(|model| Row::of(&catalogue, model)).collect(),
        first: first + 1,
        previous: (page > 1).then(|| at(page - 1)),
        next: (page < pages).then(|| at(page + 1)),
    })
}
