//! Between the SDK and a database: what a busy database, a rotten network and a dying process do, as a test says.
//!
//! A [`Wire`] is one execution environment's connection. It stands where the SDK has its HTTP connector, so the SDK's own
//! retries work above it and the real engine below it. It knows DynamoDB's protocol and nothing of what is stored.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client, Config,
    config::retry::{RetryConfig, RetryPartition},
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream, retry::ErrorKind};
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockWriteGuard, watch};

/// A call that the SDK makes; each of its attempts is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// How many calls the wire carried since its script was set: 0 for the first.
    pub number: usize,
    /// `UpdateItem`.
    pub operation: String,
    /// The tables it names, each once, sorted.
    pub tables: Vec<String>,
}

impl Call {
    /// Whether it changes items.
    pub fn writes(&self) -> bool {
        ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"]
            .contains(&self.operation.as_str())
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is done and answered.
    Done,
    /// It is not done.
    Refused(Refused),
    /// It is done, but its answer does not arrive.
    ReplyLost(Lost),
    /// It is delivered twice; the second's answer arrives.
    DoneTwice,
    /// The process dies: this call is not done, and no later one of its wire is. None is ever answered.
    Crash,
}

/// Why a call is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The partition is too busy.
    Throughput,
    /// The control plane says so too.
    Throttled,
    /// A transaction is on the item. DynamoDB says this to plain writes as well, which no emulator does. Reads, which never
    /// hear it, are done.
    Conflict,
    /// The service failed.
    Internal,
    /// The connection broke before the request went out.
    Unreachable,
    /// No answer came in time, and the request never arrived.
    TimedOut,
}

/// What arrives instead of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// A failure of the service.
    Internal,
    /// Nothing in time.
    TimedOut,
}

/// Whether the SDK tries a failed call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// Never.
    Off,
    /// Three attempts, as on AWS.
    Standard,
}

/// Calls of one operation on the same tables, and the capacity they used as far as the wire asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Count {
    /// Attempts, answered or not.
    pub calls: usize,
    /// Read or write units.
    pub units: f64,
}

/// Calls by operation and tables, `("UpdateItem", "modelswitch-accounts")`; a transaction's tables joined by `+`.
pub type Counts = BTreeMap<(String, String), Count>;

type Script = Box<dyn FnMut(&Call) -> Fate + Send>;
type Delays = Box<dyn FnMut() -> (Duration, Duration) + Send>;

/// One execution environment's connection to a database. Clones are the same one.
#[derive(Clone)]
pub struct Wire(Arc<Ends>);

struct Ends {
    database: SharedHttpConnector,
    /// Each call passes it while it is at the database; shared by all wires to it.
    gate: Arc<RwLock<()>>,
    state: Mutex<State>,
    crashed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    script: Option<Script>,
    delays: Option<Delays>,
    called: usize,
    metered: bool,
    counts: Counts,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    /// A wire to this database, on which nothing goes wrong yet.
    pub fn to(database: impl HttpConnector + 'static) -> Self {
        Self::between(SharedHttpConnector::new(database), Arc::default())
    }

    /// Another environment's wire to the same database: it has its own script, and outlives this one's crash.
    pub fn beside(&self) -> Self {
        Self::between(self.0.database.clone(), self.0.gate.clone())
    }

    /// A wire to the same database that a pause does not stop.
    pub fn past_the_gate(&self) -> Self {
        Self::between(self.0.database.clone(), Arc::default())
    }

    fn between(database: SharedHttpConnector, gate: Arc<RwLock<()>>) -> Self {
        Self(Arc::new(Ends { database, gate, state: Mutex::default(), crashed: watch::Sender::new(false) }))
    }

    /// The SDK's client on this wire, otherwise as `base` is set.
    pub fn client(&self, base: &Config, retries: Retries) -> Client {
        let connector = SharedHttpConnector::new(self.clone());
        let retry = match retries {
            Retries::Off => RetryConfig::disabled(),
            // Sooner than on AWS: where time does not stand still, nobody wants to wait for faults that are made up.
            Retries::Standard => RetryConfig::standard().with_initial_backoff(Duration::from_millis(10)),
        };
        let config = base.to_builder().http_client(http_client_fn(move |_, _| connector.clone())).retry_config(retry);
        // The SDK's allowance of retries is kept per name in the process: tests that run beside each other share none.
        let name = format!("wire-{:p}", Arc::as_ptr(&self.0));
        Client::from_conf(config.retry_partition(RetryPartition::new(name)).build())
    }

    /// From now on `script` decides what becomes of each call, counted from 0 again.
    pub fn script(&self, script: impl FnMut(&Call) -> Fate + Send + 'static) {
        let mut state = self.state();
        state.script = Some(Box::new(script));
        state.called = 0;
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        self.state().script = None;
    }

    /// Calls made since the script was set.
    pub fn called(&self) -> usize {
        self.state().called
    }

    /// Each call waits this long before it reaches the database.
    pub fn latency(&self, latency: Duration) {
        self.delays(move || (latency, Duration::ZERO));
    }

    /// Each call waits as `delays` says, before it reaches the database and before its answer comes back.
    pub fn delays(&self, delays: impl FnMut() -> (Duration, Duration) + Send + 'static) {
        self.state().delays = Some(Box::new(delays));
    }

    /// Asks for each call's capacity from now on. The request is changed after it was signed, so not on real AWS.
    pub fn meter_capacity(&self) {
        self.state().metered = true;
    }

    /// What was called since the last time this was asked.
    pub fn take_counts(&self) -> Counts {
        std::mem::take(&mut self.state().counts)
    }

    /// The operation's result; none if the process dies in its midst.
    pub async fn unless_it_crashes<T>(&self, operation: impl Future<Output = T>) -> Option<T> {
        let mut crashed = self.0.crashed.subscribe();
        tokio::select! {
            biased;
            _ = crashed.wait_for(|crashed| *crashed) => None,
            done = operation => Some(done),
        }
    }

    /// Whether the process died.
    pub fn has_crashed(&self) -> bool {
        *self.0.crashed.borrow()
    }

    /// Kills the process.
    pub fn crash(&self) {
        self.0.crashed.send_replace(true);
    }

    /// While this is held no call is at the database, on whatever wire. Read past the wires meanwhile.
    pub async fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.gate.write().await
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the call and decides what becomes of it, and how long it waits before and after.
    fn decide(&self, seen: &Seen) -> (Fate, Duration, Duration) {
        let mut state = self.state();
        let call = Call { number: state.called, operation: seen.operation.clone(), tables: seen.tables.clone() };
        state.called += 1;
        state.counts.entry(seen.name()).or_default().calls += 1;
        let fate = state.script.as_mut().map_or(Fate::Done, |script| script(&call));
        let (before, after) = state.delays.as_mut().map_or((Duration::ZERO, Duration::ZERO), |delays| delays());
        let heard = !matches!(fate, Fate::Refused(Refused::Conflict)) || call.writes();
        (if heard { fate } else { Fate::Done }, before, after)
    }

    async fn carry(self, mut request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let seen = Seen::of(&request);
        let (fate, before, after) = self.decide(&seen);
        wait(before).await;
        if fate == Fate::Crash {
            self.crash();
        }
        if self.has_crashed() {
            return std::future::pending().await;
        }
        if self.state().metered {
            seen.ask_for_capacity(&mut request);
        }
        let answer = match fate {
            Fate::Refused(reason) => reason.answer(&seen),
            Fate::Done | Fate::Crash => self.execute(&seen, request).await,
            Fate::ReplyLost(lost) => {
                self.execute(&seen, request).await?;
                lost.answer()
            }
            Fate::DoneTwice => {
                if let Some(copy) = request.try_clone() {
                    self.execute(&seen, copy).await?;
                }
                self.execute(&seen, request).await
            }
        };
        wait(after).await;
        if self.has_crashed() { std::future::pending().await } else { answer }
    }

    async fn execute(&self, seen: &Seen, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let answered = {
            let _passed = self.0.gate.read().await;
            self.0.database.call(request).await?
        };
        if !self.state().metered {
            return Ok(answered);
        }
        let mut answered = answered;
        let body = ByteStream::new(answered.take_body()).collect().await;
        let body = body.map_err(|error| ConnectorError::io(error.into()))?.into_bytes();
        self.state().counts.entry(seen.name()).or_default().units += units(&body);
        *answered.body_mut() = SdkBody::from(body);
        Ok(answered)
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().carry(request))
    }
}

async fn wait(time: Duration) {
    if time > Duration::ZERO {
        tokio::time::sleep(time).await;
    }
}

/// What of a request decides its fate.
struct Seen {
    operation: String,
    tables: Vec<String>,
    request: Value,
}

impl Seen {
    fn of(request: &HttpRequest) -> Self {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let request: Value = serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        let own = request["TableName"].as_str().map(str::to_owned);
        let parts = request["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
        let parts =
            parts.flat_map(|part| part.values()).filter_map(|part| part["TableName"].as_str().map(str::to_owned));
        let batch = request["RequestItems"].as_object().into_iter().flat_map(|tables| tables.keys().cloned());
        let mut tables: Vec<_> = own.into_iter().chain(parts).chain(batch).collect();
        tables.sort();
        tables.dedup();
        Self { operation, tables, request }
    }

    fn name(&self) -> (String, String) {
        (self.operation.clone(), self.tables.join("+"))
    }

    fn ask_for_capacity(&self, request: &mut HttpRequest) {
        let takes_items = ["Item", "Query", "Scan"].iter().any(|part| self.operation.contains(part));
        let Value::Object(mut asked) = self.request.clone() else { return };
        if !takes_items {
            return;
        }
        asked.insert("ReturnConsumedCapacity".to_owned(), Value::from("TOTAL"));
        let body = Value::Object(asked).to_string();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
    }
}

/// The units that an answer says were used.
fn units(answer: &[u8]) -> f64 {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let used = &answer["ConsumedCapacity"];
    let each = used.as_array().map_or(std::slice::from_ref(used), Vec::as_slice);
    each.iter().filter_map(|used| used["CapacityUnits"].as_f64()).sum()
}

impl Refused {
    fn answer(self, seen: &Seen) -> Result<HttpResponse, ConnectorError> {
        match self {
            Self::Throughput => {
                answer(400, "ProvisionedThroughputExceededException", json!({"message": "Exceeded the throughput."}))
            }
            Self::Throttled => answer(400, "ThrottlingException", json!({"message": "Rate exceeded."})),
            Self::Conflict if seen.operation == "TransactWriteItems" => {
                let items = seen.request["TransactItems"].as_array().map_or(1, Vec::len);
                let mut reasons = vec![json!({"Code": "None"}); items];
                reasons[0] = json!({"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"});
                answer(
                    400,
                    "TransactionCanceledException",
                    json!({"Message": "Transaction cancelled", "CancellationReasons": reasons}),
                )
            }
            Self::Conflict => {
                answer(400, "TransactionConflictException", json!({"message": "Transaction is ongoing for the item"}))
            }
            Self::Internal => internal(),
            Self::Unreachable => Err(ConnectorError::io("the connection was reset".into())),
            Self::TimedOut => Err(ConnectorError::timeout("the request never arrived".into())),
        }
    }
}

impl Lost {
    fn answer(self) -> Result<HttpResponse, ConnectorError> {
        match self {
            Self::Internal => internal(),
            // What the SDK makes of its own attempt timeout.
            Self::TimedOut => {
                Err(ConnectorError::other("no answer came in time".into(), Some(ErrorKind::TransientError)))
            }
        }
    }
}

fn internal() -> Result<HttpResponse, ConnectorError> {
    answer(500, "InternalServerError", json!({"message": "Internal server error"}))
}

fn answer(status: u16, kind: &str, mut body: Value) -> Result<HttpResponse, ConnectorError> {
    body["__type"] = Value::from(format!("com.amazonaws.dynamodb.v20120810#{kind}"));
    let status = StatusCode::try_from(status).map_err(|error| ConnectorError::user(error.into()))?;
    Ok(HttpResponse::new(status, SdkBody::from(body.to_string())))
}
