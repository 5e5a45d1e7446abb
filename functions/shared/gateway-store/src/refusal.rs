//! What a client is told of an outcome that is not the one it hoped for.

use gateway_core::{
    error::{ApiError, ErrorCode},
    limits::RateStanding,
    money::Nanos,
};

use crate::{CountOutcome, HoldOutcome, KeyRecord, PlacedHold};

impl HoldOutcome {
    /// The hold that was placed for `amount`.
    ///
    /// # Errors
    /// 401, 402, 403 or 429, as the outcome was; 500 for a request that comes twice at a time or too late.
    pub fn placed(self, amount: Nanos) -> Result<PlacedHold, ApiError> {
        match self {
            Self::Held(hold) => Ok(hold),
            Self::InsufficientFunds { free, held } => Err(insufficient(amount, free, held)),
            Self::SpendLimitReached { .. } => Err(ApiError::new(
                ErrorCode::SpendLimitReached,
                "This API key's spend limit does not cover the request. Raise the limit or wait for its reset.",
            )),
            Self::RateLimited(rate) => Err(rate_limited(rate)),
            Self::ModelNotAllowed => Err(ApiError::new(
                ErrorCode::ModelNotAllowed,
                "This API key's list of models does not allow this model.",
            )),
            Self::KeyInactive => Err(deactivated()),
            Self::KeyGone => Err(ApiError::unauthorized()),
            Self::TooLate => Err(ApiError {
                cause: Some("the request began before the key's seal".to_owned()),
                ..ApiError::new(
                    ErrorCode::InternalError,
                    "The request waited too long before it was paid for. Nothing was charged: send it again.",
                )
            }),
            Self::AlreadyHeld => Err(ApiError::internal("the platform delivered one request twice at a time")),
        }
    }
}

impl CountOutcome {
    /// The key as it stands after it was counted.
    ///
    /// # Errors
    /// 401, 403 or 429, as the outcome was.
    pub fn counted(self) -> Result<(Box<KeyRecord>, RateStanding), ApiError> {
        match self {
            Self::Counted(key, rate) => Ok((key, rate)),
            Self::RateLimited(rate) => Err(rate_limited(rate)),
            Self::KeyInactive => Err(deactivated()),
            Self::KeyGone => Err(ApiError::unauthorized()),
        }
    }
}

/// What a deactivated key is told, here and by the authorizer.
pub const DEACTIVATED: &str = "This API key is deactivated.";

fn deactivated() -> ApiError {
    ApiError::new(ErrorCode::KeyDeactivated, DEACTIVATED)
}

fn rate_limited(rate: RateStanding) -> ApiError {
    let RateStanding { limit, reset_s, .. } = rate;
    let message = format!("Rate limit reached: {limit} requests per interval. Try again in {reset_s} s.");
    ApiError { rate: Some(rate), ..ApiError::new(ErrorCode::RateLimitExceeded, message).retry_after(reset_s) }
}

/// How long a client waits for funds that running requests hold before it asks again.
const IN_FLIGHT_RETRY_S: u64 = 5;

fn insufficient(amount: Nanos, free: Nanos, held: Nanos) -> ApiError {
    let there = if free < Nanos::ZERO {
        format!("the account owes {} USD, because payments were refunded", -free)
    } else {
        format!("{free} USD are free")
    };
    let message = format!(
        "Insufficient balance: this request needs {amount} USD and {there}. \
         Top up in Dashboard → Billing, or ask for less with a smaller max_tokens."
    );
    let error = ApiError::new(ErrorCode::InsufficientBalance, message);
    if free + held >= amount {
        ApiError { reason: Some("in_flight"), ..error.retry_after(IN_FLIGHT_RETRY_S) }
    } else {
        ApiError { reason: Some("balance"), ..error }
    }
}
