//! The `authorizer` function's process.

use authorizer::App;
use aws_lambda_events::apigw::ApiGatewayCustomAuthorizerRequest;
use gateway_core::token::TokenHash;
use gateway_lambda::{Clock, StartError, WarmUp};
use gateway_store::{Store, Tables};

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables { tokens: gateway_lambda::required("TOKENS_TABLE")?, ..Tables::default() };
    let store = Store::connect(tables).await;
    // Nobody's: what is wanted is the connection.
    let warm = store.clone();
    let warm_up = WarmUp::of(async move { warm.key_lookup(&TokenHash([0; 32])).await });
    let app = App { store, clock: Clock::system() };
    gateway_lambda::run_authorizer("authorizer", warm_up, move |event: ApiGatewayCustomAuthorizerRequest| {
        let app = app.clone();
        async move { authorizer::authorize(&app, event).await }
    })
    .await
}
