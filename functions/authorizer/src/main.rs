//! The `authorizer` function's process.

use authorizer::App;
use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerRequest;
use gateway_lambda::{Clock, StartError};
use gateway_store::{Store, Tables};
use lambda_runtime::{LambdaEvent, service_fn};

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables { tokens: gateway_lambda::required("TOKENS_TABLE")?, ..Tables::default() };
    let app = App { store: Store::connect(tables).await, clock: Clock::system() };
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<ApiGatewayCustomAuthorizerRequest>| {
        let app = app.clone();
        // The runtime sends this text as the error's message, and API Gateway reads it.
        async move { authorizer::authorize(&app, event.payload).await.map_err(|refusal| refusal.to_string()) }
    }))
    .await
}
