//! The database that the books' tests run on: one of two engines, or DynamoDB itself.
//!
//! `LEDGER_DATABASE` chooses: unset, the embedded engine in memory; `http://…`, whatever answers there, such as Amazon's
//! DynamoDB Local; `aws`, DynamoDB itself, with the environment's region and credentials. Each database has tables of its
//! own, made as template.yaml defines them, whose names begin with `LEDGER_TABLES` (`ledger-test`) and a random number.

use std::{future::Future, time::Duration};

use aws_sdk_dynamodb::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
    types::TableStatus,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use aws_smithy_types::body::SdkBody;
use gateway_store::{Store, Tables, random};
use modelswitch::{Data, Engine, Template};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::faults::{Retries, Wire};

/// Fresh tables on the engine that the environment chooses.
pub struct Database {
    /// How the SDK is set, but for its connector and its retries.
    base: Config,
    wire: Wire,
    /// The names of its tables.
    pub tables: Tables,
    embedded: bool,
}

/// An execution environment: its own store, which knows what it has seen, on its own wire.
pub struct Environment {
    /// What a function of ours would use.
    pub store: Store,
    /// What goes wrong under it.
    pub wire: Wire,
}

/// A fresh database and the runtime that its clients live in. Its tables are gone when it is dropped.
///
/// On the embedded engine time stands still until all tasks wait for it, so that backoffs and delays take none.
pub struct Running {
    runtime: Runtime,
    /// The database.
    pub database: Database,
}

impl Running {
    /// Makes the tables.
    pub fn start() -> Self {
        let chosen = gateway_lambda::environment("LEDGER_DATABASE");
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(chosen.is_none()).build().unwrap();
        let database = runtime.block_on(Database::open(chosen.as_deref()));
        Self { runtime, database }
    }

    /// What `task` comes to.
    pub fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        self.runtime.block_on(task)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.block_on(self.database.delete());
    }
}

/// Runs `test` on a fresh database.
pub fn on_database(test: impl AsyncFnOnce(&Database)) {
    let running = Running::start();
    running.block_on(test(&running.database));
}

impl Database {
    async fn open(chosen: Option<&str>) -> Self {
        let (base, connector) = match chosen {
            None => {
                let engine = Engine::open(&Data::Ephemeral).unwrap();
                (engine.client().config().clone(), SharedHttpConnector::new(engine))
            }
            Some(chosen) => (remote(chosen).await, network()),
        };
        let prefix = gateway_lambda::environment("LEDGER_TABLES").unwrap_or_else(|| "ledger-test".to_owned());
        let prefix = format!("{prefix}-{:016x}", u64::from_be_bytes(random().unwrap()));
        let wire = Wire::to(connector);
        let database = Self { base, wire, tables: Tables::of_stack(&prefix), embedded: chosen.is_none() };
        database.create(&prefix).await;
        database
    }

    /// Whether it is the engine in this process.
    pub fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// An execution environment that has just started.
    pub fn environment(&self, retries: Retries) -> Environment {
        let wire = self.wire.beside();
        Environment { store: Store::new(self.client_on(&wire, retries), self.tables.clone()), wire }
    }

    /// The SDK's client on this wire.
    pub fn client_on(&self, wire: &Wire, retries: Retries) -> Client {
        wire.client(&self.base, retries)
    }

    /// A client that nothing goes wrong with and that a pause does not stop.
    pub fn client(&self) -> Client {
        self.client_on(&self.wire.past_the_gate(), Retries::Standard)
    }

    /// The store behind [`Self::client`].
    pub fn reader(&self) -> Store {
        Store::new(self.client(), self.tables.clone())
    }

    /// The wire that all environments' are beside: pausing it pauses them all.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Makes the template's tables.
    async fn create(&self, prefix: &str) {
        let client = self.client();
        let template = Template::load(None).unwrap();
        let mut names = Vec::new();
        for table in template.tables {
            let name = table.name.replacen(modelswitch::STACK_NAME, prefix, 1);
            let mut definition = table.definition;
            definition["TableName"] = Value::from(name.as_str());
            let create = client.create_table().table_name(&name).customize();
            create.mutate_request(move |request| replace_body(request, &definition)).send().await.unwrap();
            names.push((name, table.time_to_live));
        }
        for (name, time_to_live) in names {
            while !self.is_active(&client, &name).await {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            if let Some(mut time_to_live) = time_to_live {
                time_to_live["TableName"] = Value::from(name.as_str());
                let update = client.update_time_to_live().table_name(&name).customize();
                update.mutate_request(move |request| replace_body(request, &time_to_live)).send().await.unwrap();
            }
        }
    }

    async fn is_active(&self, client: &Client, table: &str) -> bool {
        let described = client.describe_table().table_name(table).send().await.unwrap();
        described.table.and_then(|table| table.table_status) == Some(TableStatus::Active)
    }

    /// Deletes the tables, where they would outlive the process.
    async fn delete(&self) {
        if self.embedded {
            return;
        }
        let client = self.client();
        let Tables { accounts, tokens, ledger, usage, people } = &self.tables;
        for table in [accounts, tokens, ledger, usage, people] {
            client.delete_table().table_name(table).send().await.unwrap();
        }
    }
}

/// The definition as it is written, whatever parts of it the SDK's own type has names for.
fn replace_body(request: &mut HttpRequest, body: &Value) {
    let body = body.to_string();
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = SdkBody::from(body);
}

async fn remote(chosen: &str) -> Config {
    let shared = aws_config::defaults(BehaviorVersion::v2026_01_12());
    let shared = match chosen {
        "aws" => shared,
        endpoint => {
            let nobody = Credentials::new("local", "local", None, None, "tests");
            shared.endpoint_url(endpoint).region(Region::from_static("us-east-1")).credentials_provider(nobody)
        }
    };
    (&shared.load().await).into()
}

fn network() -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(Duration::from_secs(5)).build();
    aws_smithy_http_client::default_connector(&settings, None).unwrap()
}
