//! `modelswitch models list`

use gateway_core::{
    catalogue::{Catalogue, Model, ModelKind, ShownPricing},
    money::Picos,
    settings::Settings,
};
use serde::Serialize;

use super::{Problem, Report, Session, table::table};
use crate::start::merged;

/// The models that are served: in AWS by the stored settings, here also by what the environment enables.
pub(super) async fn list(session: &Session, settings_of_environment: Settings) -> Result<Report, Problem> {
    let stored = session.store.settings().await?;
    let settings = if session.local { merged(stored, settings_of_environment) } else { stored };
    let catalogue = Catalogue::new(settings).map_err(|error| Problem::new(error.to_string()))?;
    let models = catalogue.models();
    let views: Vec<_> = models.iter().map(ModelView::of).collect();
    let rows: Vec<_> = models.iter().map(row).collect();
    let columns = ["MODEL", "PROVIDER", "KIND", ">CONTEXT", ">IN USD/M", ">OUT USD/M"];
    let text = match rows.is_empty() {
        true => {
            "No model is served: name a provider in the settings; `modelswitch config set --help` shows how".to_owned()
        }
        false => table(&columns, &rows),
    };
    Report::new(&views, text)
}

/// A model for scripts.
#[derive(Serialize)]
struct ModelView<'a> {
    id: &'a str,
    name: &'a str,
    provider: &'a str,
    kind: ModelKind,
    context_length: Option<u32>,
    max_output_tokens: Option<u32>,
    pricing: Option<ShownPricing>,
}

impl<'a> ModelView<'a> {
    fn of(model: &'a Model) -> Self {
        Self {
            id: &model.id,
            name: &model.name,
            provider: &model.provider,
            kind: model.kind,
            context_length: model.context_length,
            max_output_tokens: model.max_output_tokens,
            pricing: model.shown_pricing(),
        }
    }
}

fn row(model: &Model) -> Vec<String> {
    let kind = match model.kind {
        ModelKind::Chat => "chat",
        ModelKind::Embedding => "embedding",
        ModelKind::Any => "any",
    };
    let rates = model.prices.as_ref().map(|prices| &prices.base);
    let shown =
        |price: Option<Picos>| price.map_or_else(|| "-".to_owned(), |price| per_million(model.markup.shown(price)));
    vec![
        model.id.clone(),
        model.provider.clone(),
        kind.to_owned(),
        model.context_length.map_or_else(|| "-".to_owned(), |tokens| tokens.to_string()),
        shown(rates.map(|rates| rates.input)),
        shown(rates.map(|rates| rates.output)),
    ]
}

/// Pico-USD per token are micro-USD per million: `150000` is `0.15`.
fn per_million(price: Picos) -> String {
    let digits = format!("{}.{:06}", price.0 / 1_000_000, price.0 % 1_000_000);
    let kept = digits.trim_end_matches('0').len();
    let least = digits.find('.').map_or(0, |dot| dot + 3);
    digits[..kept.max(least)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_shown_per_million() {
        for (picos, text) in
            [(150_000, "0.15"), (2_500_000, "2.50"), (0, "0.00"), (1, "0.000001"), (10_000_000, "10.00")]
        {
            assert_eq!(per_million(Picos(picos)), text);
        }
    }
}
