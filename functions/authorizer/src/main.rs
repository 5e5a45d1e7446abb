//! The `authorizer` function's process.

use authorizer::App;
use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerRequest;
use gateway_core::token::TokenHash;
use gateway_lambda::{Clock, StartError, warm_up};
use gateway_store::{Store, Tables};

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables { tokens: gateway_lambda::required("TOKENS_TABLE")?, ..Tables::default() };
    let store = Store::connect(tables).await;
    // Nobody's: what is wanted is the connection.
    warm_up(store.key_lookup(&TokenHash([0; 32]))).await;
    let app = App { store, clock: Clock::system() };
    gateway_lambda::run_authorizer("authorizer", move |event: ApiGatewayCustomAuthorizerRequest| {
        let app = app.clone();
        async move { authorizer::authorize(&app, event).await }
    })
    .await
}
