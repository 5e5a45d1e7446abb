//! The `models` function's process.

use gateway_lambda::{Clock, StartError, WarmUp};
use gateway_store::{Configuration, Store, Tables};
use models::App;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables { accounts: gateway_lambda::required("ACCOUNTS_TABLE")?, ..Tables::default() };
    let store = Store::connect(tables).await;
    let configuration = Configuration::stored(store.clone());
    let warm = configuration.clone();
    let warm_up = WarmUp::of(async move { warm.catalogue(Clock::system().now()).await });
    let app = App { store, configuration };
    gateway_lambda::run_buffered("models", warm_up, move |request| {
        let app = app.clone();
        async move { models::handle(&app, request).await }
    })
    .await
}
