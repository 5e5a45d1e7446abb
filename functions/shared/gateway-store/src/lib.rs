//! What is remembered: accounts, keys, holds and the ledger in DynamoDB; credentials in Secrets Manager. And, because all
//! that AWS does for us is asked for here, the emails that SES sends.
//!
//! Correctness lives in condition expressions, so there is no storage trait and no mock: tests run the same expressions
//! against a real engine. Expected outcomes are values; an error here means that the database did not answer.
//!
//! Five tables. `accounts`: an account's items, which are its balance and its keys with their allowances and holds; and
//! payments, each under its own id. `tokens`: what a token's hash stands for. `ledger`: what happened, one entry each, never
//! changed. `usage`: sums of the ledger's usage, which only spare reading it. `people`: who signs in to the dashboard.

mod accounts;
mod attributes;
mod audit;
pub mod aws;
mod backoff;
mod configuration;
mod expiry;
mod fence;
mod holds;
mod https;
mod idempotency;
mod kept;
mod key_record;
mod keys;
mod lanes;
mod ledger;
mod low_balance;
mod mail;
mod payments;
mod people;
mod refill;
mod refusal;
mod rewrite;
mod rollup;
mod secrets;
mod settlement;
mod tokens;
mod transaction;
mod usage;

use std::{fmt, sync::Arc};

use aws_sdk_dynamodb::{Client, error::DisplayErrorContext};
use gateway_core::error::ApiError;

pub use accounts::{Account, Credit, Standing};
pub use audit::{Audit, Busy};
pub use configuration::Configuration;
pub use expiry::{Expired, Swept};
pub use holds::{CountOutcome, HoldOutcome, HoldRequest, PlacedHold};
pub use idempotency::{Idempotency, IdempotencyKey};
pub use key_record::KeyRecord;
pub use keys::{KeyChange, NewKey, UpdateOutcome};
pub use ledger::{Filter, Page};
pub use mail::{Mailed, Mailer};
pub use payments::{Booked, Payment};
pub use people::{Accepted, Pending, SignedIn};
pub use refusal::DEACTIVATED;
pub use rollup::{Rollup, Total, UsageGroup, UsageSums};
pub use secrets::{PaymentSecrets, PaymentsSecret, Secrets};
pub use settlement::SettleOutcome;
pub use tokens::KeyLookup;
pub use usage::{ESTIMATED, UsageLine, UsagePage};

/// The tables' names. A function names only those that it reaches.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Balances, keys, allowances, holds.
    pub accounts: String,
    /// What a token's hash stands for.
    pub tokens: String,
    /// What happened.
    pub ledger: String,
    /// What requests used, in sums.
    pub usage: String,
    /// Who signs in to the dashboard.
    pub people: String,
}

impl Tables {
    /// The tables of the stack called `stack`.
    pub fn of_stack(stack: &str) -> Self {
        Self {
            accounts: format!("{stack}-accounts"),
            tokens: format!("{stack}-tokens"),
            ledger: format!("{stack}-ledger"),
            usage: format!("{stack}-usage"),
            people: format!("{stack}-people"),
        }
    }
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    tables: Arc<Tables>,
    rhythms: Arc<holds::Rhythms>,
}

impl Store {
    /// The store behind this client.
    pub fn new(client: Client, tables: Tables) -> Self {
        Self { client, tables: Arc::new(tables), rhythms: Arc::default() }
    }

    /// The store in AWS, or wherever `AWS_ENDPOINT_URL` points, for a function: with what Lambda puts into its environment.
    pub async fn connect(tables: Tables) -> Self {
        Self::new(Client::new(&aws::of_function().await), tables)
    }

    /// The same for the operator: with the region and the credentials that the AWS command line would use.
    pub async fn connect_as_operator(tables: Tables) -> Self {
        Self::new(Client::new(&aws::of_operator().await), tables)
    }
}

/// The database, or Secrets Manager, did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct StoreError {
    /// The operation that failed.
    pub operation: &'static str,
    /// Why, for the log. Holds no item and no secret.
    pub detail: String,
}

impl StoreError {
    fn of(operation: &'static str, error: impl std::error::Error) -> Self {
        Self { operation, detail: DisplayErrorContext(error).to_string() }
    }

    fn new(operation: &'static str, detail: impl fmt::Display) -> Self {
        Self { operation, detail: detail.to_string() }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(error.to_string())
    }
}

/// `N` bytes of the operating system's random source.
///
/// # Errors
/// The source does not answer.
pub fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::new("random", error))?;
    Ok(bytes)
}
