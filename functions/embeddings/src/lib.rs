//! `POST /v1/embeddings`.

use gateway_core::{
    catalogue::{Endpoint, ModelKind},
    error::ApiError,
    meter, pricing,
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
    let embeddings = EmbeddingsRequest::parse(&request.body)?;
    let models = std::slice::from_ref(&embeddings.model);
    let endpoints = app.plan(&request, ModelKind::Embedding, models).await?;
    // No output, and no bound by the context: that is one input's, and a request may hold thousands.
    let at =
        |endpoint: &Endpoint| pricing::worst_case(&endpoint.prices, endpoint.model.markup, embeddings.input_bound(), 0);
    let most = endpoints.iter().map(at).max().unwrap_or_default();
    let held = app.hold(&request, &endpoints, most, TIMEOUT_MS).await?;
    let body = |endpoint: &Endpoint| embeddings.for_endpoint(endpoint);
    let answer = app.upstream.answer(&request.id, &endpoints, PATH, body).await;
    let (bill, answer) = held.answered(answer).await?;
    let cost = bill.settle(meter::answer_end(&answer).metered(embeddings.text_bytes())).await?;
    Ok(Response::json_bytes(200, wire::answer_with_cost(&answer, cost)))
}
