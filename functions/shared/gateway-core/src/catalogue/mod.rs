//! The models that clients can ask for: what they cost, what they can do and who serves them here.
//!
//! What the gateway knows by itself is a sorted text file made by `catalogue-import`. It is part of the binary and is
//! searched where it lies: nothing of it is read before a model is asked for. The operator's settings come on top.
//! A model without a price is known and never served.

mod check;
mod provider;
mod shown;
mod table;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::{
    provider::{BUILT_IN_PROVIDERS, BuiltInProvider, Dialect, ECHO_PROVIDER, OUTPUT_LIMITS, OutputLimits, Provider},
    shown::ShownPricing,
    vocabulary::Vocabulary,
};
use crate::{
    pricing::{Markup, Prices},
    settings::{ModelSettings, Settings, SettingsError},
};

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Answers messages.
    Chat,
    /// Turns text into vectors.
    Embedding,
    /// Either, or nobody here knows: a server of the operator's own answers for itself.
    Any,
}

impl ModelKind {
    /// Whether a model of this kind may be asked for `wanted`.
    pub fn does(self, wanted: Self) -> bool {
        self == wanted || self == Self::Any
    }
}

/// A model at the provider that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What clients call it.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Who serves it.
    pub provider: String,
    /// What the provider calls it.
    pub upstream_id: String,
    /// What it does.
    pub kind: ModelKind,
    /// How many tokens it reads and writes at the most, where that is known.
    pub context_length: Option<u32>,
    /// How many tokens it writes at the most, where that is known.
    pub max_output_tokens: Option<u32>,
    /// What it reads: `text`, `image`, `audio`, `file`.
    pub input_modalities: Vec<String>,
    /// What it makes: `text`, `audio`, `embeddings`.
    pub output_modalities: Vec<String>,
    /// The request parameters that it is known to honour.
    pub supported_parameters: Vec<String>,
    /// What the provider charges; without it the model is not served.
    pub prices: Option<Prices>,
    /// What the operator adds.
    pub markup: Markup,
}

impl Model {
    /// Every name that a client may have for it: its id, and that behind its provider's.
    pub fn names(&self) -> Vec<String> {
        let long = format!("{}/{}", self.provider, self.id);
        let has_it = self.id.strip_prefix(&self.provider).is_some_and(|rest| rest.starts_with('/'));
        if has_it { vec![self.id.clone()] } else { vec![self.id.clone(), long] }
    }
}

/// A model at a provider that serves it, at a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The model.
    pub model: Model,
    /// What it costs.
    pub prices: Prices,
    /// Who serves it.
    pub provider: Provider,
}

impl AsRef<Self> for Endpoint {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Every model that can be asked for.
#[derive(Debug, Clone)]
pub struct Catalogue {
    markup: Markup,
    providers: BTreeMap<String, Provider>,
    /// Of a provider that serves some of its models alone: which.
    only: BTreeMap<String, BTreeSet<String>>,
    models: BTreeMap<String, ModelSettings>,
}

impl Catalogue {
    /// The catalogue under these settings, if they make sense.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let mut providers = BTreeMap::new();
        for (name, provider) in &settings.providers {
            providers.insert(name.clone(), check::provider(name, provider)?);
        }
        let models = check::by_canonical_id(settings.models)?;
        for id in models.keys() {
            check::model(id, &models, &providers)?;
        }
        let mut catalogue = Self { markup: settings.markup_percent, providers, only: BTreeMap::new(), models };
        for (name, provider) in settings.providers {
            let Some(ids) = provider.models else { continue };
            let ids = ids.iter().map(|id| catalogue.canonical_of(&name, id)).collect::<Result<_, _>>()?;
            catalogue.only.insert(name, ids);
        }
        Ok(catalogue)
    }

    /// The id of a model that a provider's list names, if it is one of that provider's.
    fn canonical_of(&self, provider: &str, id: &str) -> Result<String, SettingsError> {
        let model = self.model(id).or_else(|| self.model(&format!("{provider}/{id}")));
        let model = model.filter(|model| model.provider == provider).map(|model| self.target(&model.id).to_owned());
        let problem = || format!("`{provider}` has no model `{id}`: take it out, or add it to `models`");
        model.ok_or_else(|| SettingsError::new(format!("providers.{provider}.models"), problem()))
    }

    /// The model of this id, served or not. `provider/id` names it too.
    pub fn model(&self, id: &str) -> Option<Model> {
        self.exact(id).or_else(|| {
            let (provider, bare) = id.split_once('/')?;
            self.exact(bare).filter(|model| model.provider == provider)
        })
    }

    fn exact(&self, id: &str) -> Option<Model> {
        let target = self.target(id);
        let settings = self.models.get(target);
        let base = table::find(target)
            .filter(|base| settings.and_then(|own| own.provider.as_ref()).is_none_or(|own| *own == base.provider));
        let mut model = match (settings, base) {
            (None, base) => base?,
            (Some(settings), Some(base)) => changed(base, settings),
            (Some(settings), None) => changed(blank(target, settings), settings),
        };
        // An alias's own markup comes first, then its model's, then the overall one.
        let own_markup = |id: &str| self.models.get(id).and_then(|settings| settings.markup_percent);
        model.markup = own_markup(id).or_else(|| own_markup(target)).unwrap_or(self.markup);
        id.clone_into(&mut model.id);
        Some(model)
    }

    /// The model that `id` is an alias of, or `id`.
    fn target<'a>(&'a self, id: &'a str) -> &'a str {
        self.models.get(id).and_then(|settings| settings.alias_of.as_deref()).unwrap_or(id)
    }

    /// Whether somebody serves the model here: its provider is configured, it is enabled and it has a price.
    pub fn serves(&self, model: &Model) -> bool {
        let target = self.target(&model.id);
        let enabled = |id: &str| self.models.get(id).is_none_or(|settings| settings.enabled != Some(false));
        model.prices.is_some()
            && self.providers.contains_key(&model.provider)
            && self.only.get(&model.provider).is_none_or(|only| only.contains(target))
            && enabled(&model.id)
            && enabled(target)
    }

    /// The model with all it takes to call it, if it is served.
    pub fn endpoint(&self, model: Model) -> Option<Endpoint> {
        let prices = self.serves(&model).then(|| model.prices.clone())??;
        let provider = self.providers.get(&model.provider)?.clone();
        Some(Endpoint { model, prices, provider })
    }

    /// Every model that is served, sorted by id.
    pub fn models(&self) -> Vec<Model> {
        let known = table::ids().filter(|(_, provider)| self.providers.contains_key(*provider)).map(|(id, _)| id);
        let ids: BTreeSet<&str> = known.chain(self.models.keys().map(String::as_str)).collect();
        ids.into_iter().filter_map(|id| self.exact(id)).filter(|model| self.serves(model)).collect()
    }

    /// Every model that is known, served or not, sorted by id.
    pub fn known(&self) -> Vec<Model> {
        let ids: BTreeSet<&str> =
            table::ids().map(|(id, _)| id).chain(self.models.keys().map(String::as_str)).collect();
        ids.into_iter().filter_map(|id| self.exact(id)).collect()
    }

    /// The configured provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.get(name)
    }
}

/// A model that the catalogue knows nothing of.
fn blank(id: &str, settings: &ModelSettings) -> Model {
    let provider = settings.provider.clone().unwrap_or_default();
    let bare = id.strip_prefix(provider.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(id);
    let makes = if settings.kind == Some(ModelKind::Embedding) { "embeddings" } else { "text" };
    Model {
        id: id.to_owned(),
        name: id.to_owned(),
        upstream_id: bare.to_owned(),
        provider,
        kind: ModelKind::Chat,
        context_length: None,
        max_output_tokens: None,
        input_modalities: vec!["text".to_owned()],
        output_modalities: vec![makes.to_owned()],
        supported_parameters: Vec::new(),
        prices: None,
        markup: Markup::default(),
    }
}

/// The model with what the operator says of it.
fn changed(model: Model, settings: &ModelSettings) -> Model {
    Model {
        name: settings.name.clone().unwrap_or(model.name),
        upstream_id: settings.upstream_id.clone().unwrap_or(model.upstream_id),
        kind: settings.kind.unwrap_or(model.kind),
        context_length: settings.context_length.or(model.context_length),
        max_output_tokens: settings.max_output_tokens.or(model.max_output_tokens),
        prices: settings.price.as_ref().map(check::prices).or(model.prices),
        ..model
    }
}

#[cfg(test)]
mod tests;
