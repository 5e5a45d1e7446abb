//! The `chat-completions` function's process.

use chat_completions::App;
use gateway_lambda::StartError;
use gateway_store::Tables;

#[tokio::main]
async fn main() -> Result<(), StartError> {
    gateway_lambda::logs_to_stdout();
    let tables = Tables {
        accounts: gateway_lambda::required("ACCOUNTS_TABLE")?,
        ledger: gateway_lambda::required("LEDGER_TABLE")?,
        ..Tables::default()
    };
    let (app, warm_up) = App::start(tables, gateway_lambda::required("PROVIDER_SECRET")?).await?;
    gateway_lambda::run_streaming("chat-completions", warm_up, move |request| {
        let app = app.clone();
        async move { chat_completions::handle(&app, request).await }
    })
    .await
}
