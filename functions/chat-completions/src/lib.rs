//! `POST /v1/chat/completions`, whole and streaming.

use gateway_core::{
    catalogue::{Endpoint, ModelKind},
    error::ApiError,
    meter, routing,
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
    let chat = ChatRequest::parse(&request.body)?;
    let endpoints = app.plan(&request, ModelKind::Chat, &chat.models()).await?;
    let most = routing::hold(&endpoints, chat.input_bound(), chat.max_output_tokens, chat.choices);
    let held = app.hold(&request, &endpoints, most, TIMEOUT_MS).await?;
    let body = |endpoint: &Endpoint| chat.for_endpoint(endpoint);
    if chat.stream {
        let begun = app.upstream.stream(&request.id, &endpoints, PATH, body).await;
        let (bill, stream) = held.answered(begun).await?;
        Ok(bill.stream(stream, chat.include_usage, chat.choices, chat.text_bytes()))
    } else {
        let answer = app.upstream.answer(&request.id, &endpoints, PATH, body).await;
        let (bill, answer) = held.answered(answer).await?;
        let cost = bill.settle(meter::answer_end(&answer).metered(chat.text_bytes())).await?;
        Ok(Response::json_bytes(200, wire::answer_with_cost(&answer, cost)))
    }
}
