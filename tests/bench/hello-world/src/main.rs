//! The function that `cargo lambda new` makes, near enough: the least that any function on this runtime can cost.

use std::convert::Infallible;

use lambda_http::{Error, Request, run, service_fn, tracing};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(service_fn(|_: Request| async { Ok::<_, Infallible>("Hello, world!") })).await
}
