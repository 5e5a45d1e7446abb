//! `POST /v1/embeddings`.

use std::sync::Arc;

use gateway_core::{
    catalogue::ModelKind,
    error::ApiError,
    meter,
    offer::Offer,
    wire::{self, EmbeddingsRequest},
};
use gateway_lambda::{Request, Response};

pub use gateway_paid::App;

/// The provider's path below its base URL.
const PATH: &str = "embeddings";
/// The function's timeout in template.yaml.
const TIMEOUT_MS: u64 = 29_000;

/// POST /v1/embeddings
///
/// # Errors
/// Any row of the error table that a handler can answer. Nothing is charged or held then.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let embeddings = Arc::new(EmbeddingsRequest::parse(&request.body)?);
    let models = std::slice::from_ref(&embeddings.model);
    let endpoints = app.plan(&request, ModelKind::Embedding, models).await?;
    let (held, offers) = app.hold(&request, endpoints, embeddings.clone(), TIMEOUT_MS).await?;
    let body = |offer: &Offer| embeddings.for_endpoint(&offer.endpoint);
    let answer = app.upstream.answer(&request.id, &offers, PATH, body);
    let (bill, answer) = held.answered(answer).await?;
    let cost = bill.settle(meter::answer_end(&answer)).await?;
    Ok(Response::json_bytes(200, wire::answer_with_cost(&answer, cost)))
}
