//! The `usage-rollup` function's process.

use gateway_lambda::{Clock, StartError};
use gateway_store::{Store, Tables};
use lambda_runtime::{LambdaEvent, service_fn};
use usage_rollup::{App, StreamEvent};

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        ledger: gateway_lambda::required("LEDGER_TABLE")?,
        usage: gateway_lambda::required("USAGE_TABLE")?,
        ..Tables::default()
    };
    let app = App { store: Store::connect(tables).await, clock: Clock::system() };
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<StreamEvent>| {
        let app = app.clone();
        async move { Ok::<_, StartError>(usage_rollup::handle(&app, event.payload).await) }
    }))
    .await
}
