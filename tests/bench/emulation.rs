//! What of DynamoDB the embedded engine lacks, as far as contention needs it: time, transactions in the way, full partitions.
//!
//! Every call takes as long as every other. While a transaction is on its items, every other write to one of them is
//! refused, a transaction's as `TransactionConflict`, a plain one's as `TransactionConflictException`; plain writes are
//! only put in order. That is what DynamoDB documents. For how long a transaction is on its items it does not say.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use crate::now;

/// How the database behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behaviour {
    /// From a call to its answer.
    pub(crate) call: Duration,
    /// The last part of that, in which a transaction is on its items.
    pub(crate) on_items: Duration,
    /// The most writes per second of an item, and of an account's ledger, whose entries go to one partition one after the
    /// other; none: no limit.
    pub(crate) writes_per_s: Option<u32>,
}

/// A database of this behaviour. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Emulated {
    engine: SharedHttpConnector,
    behaviour: Behaviour,
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for Emulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Emulated")
    }
}

#[derive(Default)]
struct State {
    conflicts: u64,
    /// The items that transactions are on.
    busy: HashSet<String>,
    /// Since when writes are counted, and how many there were, by item or ledger.
    written: HashMap<String, (Option<Instant>, u32)>,
}

/// Writes are counted per so much time.
const COUNTED: Duration = Duration::from_millis(100);

impl Emulated {
    pub(crate) fn new(engine: impl HttpConnector + 'static, behaviour: Behaviour) -> Self {
        Self { engine: SharedHttpConnector::new(engine), behaviour, state: Arc::default() }
    }

    /// Writes refused because of a transaction, since this was last asked.
    pub(crate) fn take_conflicts(&self) -> u64 {
        std::mem::take(&mut self.state().conflicts)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let Behaviour { call, on_items, .. } = self.behaviour;
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        if !["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"].iter().any(|write| target.ends_with(write)) {
            tokio::time::sleep(call).await;
            return self.engine.call(request).await;
        }
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap();
        if target.ends_with("TransactWriteItems") {
            tokio::time::sleep(call - on_items).await;
            let parts = body["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
            let items: Vec<String> = parts.flat_map(|part| part.values()).map(item).collect();
            if let Some(refused) = self.enter(&items) {
                tokio::time::sleep(on_items).await;
                return refused;
            }
            tokio::time::sleep(on_items).await;
            let answer = self.engine.call(request).await;
            let mut state = self.state();
            state.busy.retain(|item| !items.contains(item));
            return answer;
        }
        tokio::time::sleep(call).await;
        match self.meet(&item(&body), &body) {
            Some(refused) => refused,
            None => self.engine.call(request).await,
        }
    }

    /// Puts a transaction on its items, or refuses it.
    fn enter(&self, items: &[String]) -> Option<Result<HttpResponse, ConnectorError>> {
        let mut state = self.state();
        let codes: Vec<_> =
            items.iter().map(|item| if state.busy.contains(item) { "TransactionConflict" } else { "None" }).collect();
        if codes.contains(&"TransactionConflict") {
            state.conflicts += 1;
            let reasons: Vec<_> = codes.iter().map(|code| json!({"Code": code})).collect();
            let body = json!({"Message": "Transaction cancelled", "CancellationReasons": reasons});
            return Some(refusal("TransactionCanceledException", body));
        }
        state.busy.extend(items.iter().cloned());
        None
    }

    /// Refuses a plain write, if something is in its way.
    fn meet(&self, item: &str, body: &Value) -> Option<Result<HttpResponse, ConnectorError>> {
        let mut state = self.state();
        if state.busy.contains(item) {
            state.conflicts += 1;
            return Some(refusal("TransactionConflictException", json!({"message": "Transaction is ongoing"})));
        }
        let most = self.behaviour.writes_per_s? / 10;
        let partition = match body["Item"]["entry"].as_object() {
            Some(_) => body["Item"]["account"].to_string(),
            None => item.to_owned(),
        };
        let at = now();
        let (since, count) = state.written.entry(partition).or_default();
        if since.is_none_or(|since| at - since >= COUNTED) {
            (*since, *count) = (Some(at), 0);
        }
        *count += 1;
        (*count > most)
            .then(|| refusal("ProvisionedThroughputExceededException", json!({"message": "Exceeded the throughput."})))
    }
}

impl HttpConnector for Emulated {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().carry(request))
    }
}

/// The item that a write, or a part of a transaction, is about: its table and key.
fn item(write: &Value) -> String {
    let key = if write["Key"].is_object() { &write["Key"] } else { &write["Item"] };
    let sort = if key["entry"].is_object() { &key["entry"] } else { &key["item"] };
    format!("{} {} {sort}", write["TableName"], key["account"])
}

fn refusal(kind: &str, mut body: Value) -> Result<HttpResponse, ConnectorError> {
    body["__type"] = Value::from(format!("com.amazonaws.dynamodb.v20120810#{kind}"));
    let status = StatusCode::try_from(400).map_err(|error| ConnectorError::user(error.into()))?;
    Ok(HttpResponse::new(status, SdkBody::from(body.to_string())))
}
