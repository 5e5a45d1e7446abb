//! Whom we call: the providers, over HTTP, and the relay that forwards their streams; who knows people, by OpenID Connect;
//! and Stripe.
//!
//! This crate knows no account, key or price list of its own, and no HTTP status of ours: a failure is an
//! [`UpstreamError`], and one `From` makes an `ApiError` of it. It must never log or show a credential, a prompt or an
//! answer, and never call a provider twice for one request unless the first call provably reached nobody.

mod answer;
mod client;
mod credentials;
mod echo;
mod error;
mod openid;
mod relay;
pub mod stripe;

#[cfg(test)]
mod scripted;

pub use self::{
    answer::ProviderStream,
    client::{Timeouts, Upstream},
    credentials::{Credentials, Secrets, Source},
    error::UpstreamError,
    openid::{Flow, Identity, OpenId, OpenIdError, OpenIdSettings},
    relay::{Relay, relay},
};
