//! `POST /v1/chat/completions`, whole and streaming.

use std::sync::Arc;

use gateway_core::{
    catalogue::ModelKind,
    error::ApiError,
    meter,
    offer::Offer,
    wire::{self, ChatRequest},
};
use gateway_lambda::{Request, Response};

pub use gateway_paid::App;

/// The provider's path below its base URL.
const PATH: &str = "chat/completions";
/// The function's timeout in template.yaml.
const TIMEOUT_MS: u64 = 900_000;

/// POST /v1/chat/completions
///
/// # Errors
/// Any row of the error table that a handler can answer. Nothing is charged or held then.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let chat = Arc::new(ChatRequest::parse(&request.body)?);
    let endpoints = app.plan(&request, ModelKind::Chat, &chat.models()).await?;
    let (held, offers) = app.hold(&request, endpoints, chat.clone(), TIMEOUT_MS).await?;
    let body = |offer: &Offer| chat.for_endpoint(&offer.endpoint, offer.told);
    if chat.stream {
        let begun = app.upstream.stream(&request.id, &offers, PATH, body);
        let (bill, stream) = held.answered(begun).await?;
        Ok(bill.stream(stream, chat.include_usage, chat.choices))
    } else {
        let answer = app.upstream.answer(&request.id, &offers, PATH, body);
        let (bill, answer) = held.answered(answer).await?;
        let cost = bill.settle(meter::answer_end(&answer)).await?;
        Ok(Response::json_bytes(200, wire::answer_with_cost(&answer, cost)))
    }
}
