//! `GET /v1/models` and `GET /v1/models/{id}`: what can be asked for here, and what it costs.

use gateway_core::{
    catalogue::{Model, ModelKind, ShownPricing},
    error::{ApiError, ErrorCode},
    moment::UnixMs,
};
use gateway_lambda::{Request, Response};
use gateway_store::{Configuration, Store};
use serde::Serialize;

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts.
    pub store: Store,
    /// The catalogue.
    pub configuration: Configuration,
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Listed>,
}

/// OpenAI's shape first, what else there is to know behind it.
#[derive(Serialize)]
struct Listed {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: String,
    name: String,
    context_length: Option<u32>,
    max_output_tokens: Option<u32>,
    pricing: Option<ShownPricing>,
    architecture: Architecture,
    supported_parameters: Vec<String>,
}

#[derive(Serialize)]
struct Architecture {
    input_modalities: Vec<String>,
    output_modalities: Vec<String>,
}

/// OpenAI's clients expect a date of creation. Catalogues have none, so every model was made when this product was.
const CREATED: u64 = 1_790_000_000;

impl From<Model> for Listed {
    fn from(model: Model) -> Self {
        let pricing = model.shown_pricing();
        Self {
            id: model.id,
            object: "model",
            created: CREATED,
            owned_by: model.provider,
            name: model.name,
            context_length: model.context_length,
            max_output_tokens: model.max_output_tokens.filter(|_| model.kind != ModelKind::Embedding),
            pricing,
            architecture: Architecture {
                input_modalities: model.input_modalities,
                output_modalities: model.output_modalities,
            },
            supported_parameters: model.supported_parameters,
        }
    }
}

/// GET /v1/models and GET /v1/models/{id}
///
/// # Errors
/// 404 for an unknown model; 401, 403 and 429 of the key; 500.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let caller = request.caller()?;
    let (_, rate) = app.store.key_count(&caller.account, caller.key, request.at).await?.counted()?;
    request.record.counted(rate);
    match request.path_parameters.get("id") {
        Some(id) => one(app, id, request.at).await,
        None => all(app, request.at).await,
    }
}

async fn all(app: &App, at: UnixMs) -> Result<Response, ApiError> {
    let data = app.configuration.catalogue(at).await?.models().into_iter().map(Listed::from).collect();
    Ok(Response::json(200, &List { object: "list", data }))
}

async fn one(app: &App, id: &str, at: UnixMs) -> Result<Response, ApiError> {
    let catalogue = app.configuration.catalogue(at).await?;
    let model = catalogue.model(id).filter(|model| catalogue.serves(model)).ok_or_else(|| ApiError {
        param: Some("model".to_owned()),
        ..ApiError::new(ErrorCode::ModelNotFound, format!("The model `{id}` does not exist."))
    })?;
    Ok(Response::json(200, &Listed::from(model)))
}
