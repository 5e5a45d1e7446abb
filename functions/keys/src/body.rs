//! The bodies of `/api/keys`.

use std::collections::BTreeSet;

use gateway_core::{
    error::{ApiError, ErrorCode},
    key_rules::{self, DEFAULT_GRACE_S, MOST_GRACE_S, MOST_MODELS, MOST_NAME_CHARS, NameProblem},
    limits::RateLimit,
    moment::{Reset, UnixMs},
    money::Nanos,
    token::KeyType,
};
use gateway_lambda::{Fields, Request};
use gateway_store::{KeyChange, NewKey};

const SETTABLE: [&str; 7] =
    ["name", "active", "expires_at", "spend_limit", "spend_limit_reset", "rate_limit", "models"];

/// The body of a `POST /api/keys`.
pub(crate) fn new_key(request: &Request) -> Result<NewKey, ApiError> {
    let change = change(request)?;
    if change.active == Some(false) {
        return Err(ApiError::invalid("active", "A new key is active: make it, then deactivate it"));
    }
    Ok(NewKey {
        name: change.name.ok_or_else(|| ApiError::missing("name"))?,
        key_type: KeyType::Proxy,
        expires_at: change.expires_at.flatten(),
        spend_limit: change.spend_limit.flatten(),
        reset: change.reset.flatten(),
        rate_limit: change.rate_limit.unwrap_or_default(),
        models: change.models.flatten(),
    })
}

/// The body of a `PUT` or `PATCH /api/keys/{id}`: what is absent stays, null takes away.
pub(crate) fn change(request: &Request) -> Result<KeyChange, ApiError> {
    let fields = Fields::of(request, &SETTABLE)?;
    let name = fields.value::<String>("name", "a string")?.map(|name| checked_name(&name)).transpose()?;
    let expires_at = fields.change::<String>("expires_at", "an RFC 3339 time or null")?;
    let expires_at = expires_at.map(|text| text.map(|text| future(&text, request.at)).transpose()).transpose()?;
    let models = fields.change::<BTreeSet<String>>("models", "an array of model ids or null")?;
    if !models.iter().flatten().all(key_rules::may_list) {
        return Err(ApiError::invalid("models", format!("'models' takes at most {MOST_MODELS} model ids, none empty")));
    }
    let rate_limit =
        fields.change("rate_limit", "like {\"requests\":1000,\"interval\":\"10s\"}, from 1s to 1d, or null")?;
    Ok(KeyChange {
        name,
        active: fields.value("active", "true or false")?,
        expires_at,
        spend_limit: fields.change::<Nanos>("spend_limit", "an amount in USD with at most 9 decimals, or null")?,
        reset: fields.change::<Reset>("spend_limit_reset", "daily, weekly, monthly or null")?,
        rate_limit: rate_limit.map(Option::<RateLimit>::unwrap_or_default),
        models,
    })
}

/// The grace period that the body of a rotation asks for.
pub(crate) fn grace_ms(request: &Request) -> Result<u64, ApiError> {
    let what = format!("a whole number of seconds from 0 to {MOST_GRACE_S}");
    let seconds: Option<u64> = Fields::of(request, &["grace_seconds"])?.value("grace_seconds", &what)?;
    key_rules::grace_ms(seconds.unwrap_or(DEFAULT_GRACE_S))
        .ok_or_else(|| ApiError::invalid("grace_seconds", format!("'grace_seconds' must be {what}")))
}

fn checked_name(name: &str) -> Result<String, ApiError> {
    key_rules::name(name).map_err(|problem| match problem {
        NameProblem::Empty => {
            ApiError { param: Some("name".into()), ..ApiError::new(ErrorCode::InvalidParameter, "'name' is empty") }
        }
        NameProblem::NotPrintable => {
            ApiError::invalid("name", format!("'name' takes at most {MOST_NAME_CHARS} printable characters"))
        }
    })
}

fn future(text: &str, at: UnixMs) -> Result<UnixMs, ApiError> {
    let wrong = |what: &str| ApiError::invalid("expires_at", format!("'expires_at' must {what}"));
    let expires =
        UnixMs::parse_rfc3339(text).ok_or_else(|| wrong("be an RFC 3339 time, 2026-11-23T09:30:00Z, or null"))?;
    key_rules::expiry(expires, at).ok_or_else(|| wrong("lie in the future"))
}
