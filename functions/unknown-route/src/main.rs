//! The `unknown-route` function's process.

use gateway_lambda::{StartError, WarmUp};
use unknown_route::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let app = App;
    gateway_lambda::run_buffered("unknown-route", WarmUp::default(), move |request| {
        let app = app.clone();
        async move { unknown_route::handle(&app, request).await }
    })
    .await
}
