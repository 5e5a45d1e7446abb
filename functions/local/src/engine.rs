//! The embedded database: an engine that speaks DynamoDB's protocol, in this process, on a file or in memory.
//!
//! The SDK's client stays the real one: it serialises requests and parses answers as it does on AWS, and only the wire
//! between them is left out. So the store's expressions run here as they run there. It must never know what is stored.

use std::{
    fmt,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_sdk_dynamodb::{
    Client, Config,
    config::{
        BehaviorVersion, IdentityCache, Region, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};
use aws_smithy_runtime_api::{
    client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    client::orchestrator::{HttpRequest, HttpResponse},
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{feed::Feed, template::Table};

/// Where the data live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// In memory, gone with the process.
    Ephemeral,
    /// In this file, which outlives the process.
    File(PathBuf),
}

/// Why the data could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another gateway serves from the same file.
    #[error(
        "{path} is in use by another gateway. Stop that one, or choose another file with --data PATH or --ephemeral"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be made, read or locked.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is there, but is no database of ours.
    #[error("{path} can't be opened as a database: {reason}")]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        reason: String,
    },
}

/// An open database. Clones are the same one.
#[derive(Clone)]
pub struct Engine {
    database: Database,
    /// What was put into streamed tables through this engine.
    pub feed: Feed,
    /// Held as long as the engine lives: the operating system frees it even if the process is killed.
    _lock: Option<Arc<File>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Opens the data for a gateway, which must be the only one on its file: rate windows and balances would stay right,
    /// but whoever starts two by mistake wants to be told. The operator's commands use [`Engine::beside`].
    pub fn open(data: &Data) -> Result<Self, OpenError> {
        match data {
            Data::Ephemeral => {
                let database = Database::memory().map_err(|error| not_a_database(Path::new("memory"), &error))?;
                Ok(Self { database, feed: Feed::default(), _lock: None })
            }
            Data::File(path) => {
                make_parent(path)?;
                let lock = lock(path)?;
                Ok(Self { _lock: Some(Arc::new(lock)), ..Self::beside(path)? })
            }
        }
    }

    /// Opens a file whether or not a gateway serves from it. Every write of the engine is one immediate SQLite
    /// transaction, in write-ahead mode, that waits for another process's to end: two processes are as safe as two threads.
    pub fn beside(path: &Path) -> Result<Self, OpenError> {
        make_parent(path)?;
        let database = Database::new(&path.to_string_lossy()).map_err(|error| not_a_database(path, &error))?;
        // Named for what it ends, but what counts is the mode it sets: `synchronous = NORMAL`. With a write-ahead log
        // nothing acknowledged is lost when the process is killed; only a power cut can take the last moments, and no
        // write waits for the disk.
        database.disable_bulk_loading().map_err(|error| not_a_database(path, &error))?;
        Ok(Self { database, feed: Feed::default(), _lock: None })
    }

    /// Makes the table, if it is not there yet.
    ///
    /// # Errors
    /// The engine refuses the definition.
    pub fn create_table(&self, table: &Table) -> Result<(), String> {
        let wrong = |failure: Failure| format!("table {}: {}", table.name, failure.answer().1);
        self.feed.follow(table);
        match self.run("CreateTable", table.definition.to_string().as_bytes()) {
            Err(Failure::Engine(DynoxideError::ResourceInUseException(_))) => return Ok(()),
            made => made.map_err(wrong)?,
        };
        if let Some(expiry) = &table.time_to_live {
            self.run("UpdateTimeToLive", expiry.to_string().as_bytes()).map_err(wrong)?;
        }
        Ok(())
    }

    /// Removes items whose time to live is over, as DynamoDB does in its own time. Nothing relies on it.
    pub fn sweep(&self) {
        if let Err(error) = self.database.sweep_ttl() {
            tracing::warn!(%error, "expired items could not be swept");
        }
    }

    /// The SDK's client, on this engine.
    pub fn client(&self) -> Client {
        let connector = SharedHttpConnector::new(self.clone());
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("local"))
            .endpoint_url("http://localhost")
            .http_client(http_client_fn(move |_, _| connector.clone()))
            // Nothing here can be forged, be slow or fail for a moment: no signature, no retry, no timer.
            .allow_no_auth()
            .auth_scheme_preference([aws_smithy_runtime_api::client::auth::AuthSchemeId::from("noAuth")])
            .identity_cache(IdentityCache::no_cache())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Client::from_conf(config)
    }

    /// One operation: its name, its request as JSON; its answer as JSON.
    fn run(&self, operation: &str, body: &[u8]) -> Result<String, Failure> {
        let db = &self.database;
        match operation {
            "GetItem" => call(body, |request| db.get_item(request)),
            "PutItem" => call(body, |request| db.put_item(request)),
            "UpdateItem" => call(body, |request| db.update_item(request)),
            "DeleteItem" => call(body, |request| db.delete_item(request)),
            "Query" => call(body, |request| db.query(request)),
            "Scan" => call(body, |request| db.scan(request)),
            "TransactWriteItems" => call(body, |request| db.transact_write_items(request)),
            "TransactGetItems" => call(body, |request| db.transact_get_items(request)),
            "BatchGetItem" => call(body, |request| db.batch_get_item(request)),
            "BatchWriteItem" => call(body, |request| db.batch_write_item(request)),
            "CreateTable" => call(body, |request| db.create_table(request)),
            "DescribeTable" => call(body, |request| db.describe_table(request)),
            "UpdateTimeToLive" => call(body, |request| db.update_time_to_live(request)),
            _ => Err(Failure::UnknownOperation),
        }
    }
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let (status, body) = match self.run(operation, body) {
            Ok(answer) => {
                match operation {
                    "PutItem" => self.feed.put(body),
                    "TransactWriteItems" => self.feed.transaction(body),
                    _ => {}
                }
                (http::StatusCode::OK, answer)
            }
            Err(failure) => failure.answer(),
        };
        HttpConnectorFuture::ready(Ok(HttpResponse::new(StatusCode::from(status), SdkBody::from(body))))
    }
}

/// Why an operation gave no answer of its own.
enum Failure {
    /// The request is not of the operation's form.
    Malformed(serde_json::Error),
    /// The engine refuses or fails.
    Engine(DynoxideError),
    /// The answer can't be written.
    Unwritable(serde_json::Error),
    /// No such operation here.
    UnknownOperation,
}

impl Failure {
    /// Status and body, as DynamoDB has them.
    fn answer(self) -> (http::StatusCode, String) {
        let error = |kind: &str, message: String| {
            serde_json::json!({"__type": format!("com.amazon.coral.service#{kind}"), "message": message}).to_string()
        };
        match self {
            Self::Engine(failure) => (
                http::StatusCode::from_u16(failure.status_code()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR),
                failure.to_json(),
            ),
            Self::Malformed(reason) => {
                // The engine's own checks of a request's form come with its parsing, behind a mark.
                let reason = reason.to_string();
                let (kind, message) = match reason.split_once("VALIDATION:") {
                    Some((_, message)) => ("ValidationException", message.to_owned()),
                    None => ("SerializationException", reason),
                };
                (http::StatusCode::BAD_REQUEST, error(kind, message))
            }
            Self::Unwritable(reason) => {
                (http::StatusCode::INTERNAL_SERVER_ERROR, error("InternalServerError", reason.to_string()))
            }
            Self::UnknownOperation => {
                (http::StatusCode::BAD_REQUEST, error("UnknownOperationException", String::new()))
            }
        }
    }
}

fn call<Request: DeserializeOwned, Answer: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Request) -> dynoxide::Result<Answer>,
) -> Result<String, Failure> {
    let request = serde_json::from_slice(body).map_err(Failure::Malformed)?;
    let answer = operation(request).map_err(Failure::Engine)?;
    serde_json::to_string(&answer).map_err(Failure::Unwritable)
}

fn make_parent(path: &Path) -> Result<(), OpenError> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => {
            std::fs::create_dir_all(parent).map_err(|source| OpenError::Io { path: parent.to_owned(), source })
        }
        None => Ok(()),
    }
}

/// Takes the file's lock, which is a file of its own beside it: SQLite has its own locks on the data.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let io = |source| OpenError::Io { path: lock_path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn not_a_database(path: &Path, error: &DynoxideError) -> OpenError {
    // The engine goes on to advise what its own users might have done.
    let reason = error.to_string();
    let reason = reason.split_once(". ").map_or(reason.as_str(), |(first, _)| first).to_owned();
    OpenError::NotADatabase { path: path.to_owned(), reason }
}
