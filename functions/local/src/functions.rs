//! Every function of the template, linked into this process: the code that Lambda runs, called as Lambda calls it.

use aws_lambda_events::event::apigw::{ApiGatewayCustomAuthorizerRequest, ApiGatewayCustomAuthorizerResponse};
use gateway_lambda::{Body, Host, answer, caught};
use gateway_store::{Configuration, PaymentSecrets, Store};
use gateway_upstream::{Upstream, stripe::Stripe};

/// The folder of the function that is asked before all others.
pub const AUTHORIZER: &str = "authorizer";

/// A function behind a route. The authorizer is asked otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `GET /v1/models`.
    Models,
    /// `GET /v1/auth/key`.
    AuthKey,
    /// `GET /api/balance`.
    Balance,
    /// `GET /api/usage` and below.
    Usage,
    /// `GET /api/transactions`.
    Transactions,
    /// `/api/keys`.
    Keys,
    /// `POST /api/payments`.
    Payments,
    /// `POST /webhooks/stripe`.
    StripeWebhook,
    /// `/dashboard` and below.
    Dashboard,
    /// What no route serves.
    UnknownRoute,
}

impl Function {
    const ALL: [Self; 12] = [
        Self::ChatCompletions,
        Self::Embeddings,
        Self::Models,
        Self::AuthKey,
        Self::Balance,
        Self::Usage,
        Self::Transactions,
        Self::Keys,
        Self::Payments,
        Self::StripeWebhook,
        Self::Dashboard,
        Self::UnknownRoute,
    ];

    /// Its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat-completions",
            Self::Embeddings => "embeddings",
            Self::Models => "models",
            Self::AuthKey => "auth-key",
            Self::Balance => "balance",
            Self::Usage => "usage",
            Self::Transactions => "transactions",
            Self::Keys => "keys",
            Self::Payments => "payments",
            Self::StripeWebhook => "stripe-webhook",
            Self::Dashboard => "dashboard",
            Self::UnknownRoute => "unknown-route",
        }
    }

    /// The one in this folder.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }
}

/// A function that runs by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduled {
    /// Ends the holds that are past their time.
    HoldExpirer,
}

impl Scheduled {
    /// The one in this folder.
    pub fn named(name: &str) -> Option<Self> {
        (name == "hold-expirer").then_some(Self::HoldExpirer)
    }
}

/// What all functions of this process reach.
#[derive(Clone)]
pub struct Functions {
    /// The database.
    pub store: Store,
    /// The catalogue.
    pub configuration: Configuration,
    /// The providers.
    pub upstream: Upstream,
    /// Who takes payments.
    pub stripe: Stripe,
    /// What Stripe knows us by, and we Stripe.
    pub payment_secrets: PaymentSecrets,
    /// The dashboard, with what it keeps between requests.
    pub dashboard: dashboard::App,
}

impl Functions {
    /// The answer of a function to an event.
    pub async fn invoke(&self, host: &Host, function: Function, event: lambda_http::Request) -> http::Response<Body> {
        let Self { store, configuration, upstream, stripe, payment_secrets: secrets, dashboard } = self.clone();
        let name = function.name();
        match function {
            Function::ChatCompletions => {
                let app = chat_completions::App { store, upstream, configuration };
                answer(host, name, event, |request| chat_completions::handle(&app, request)).await
            }
            Function::Embeddings => {
                let app = embeddings::App { store, upstream, configuration };
                answer(host, name, event, |request| embeddings::handle(&app, request)).await
            }
            Function::Models => {
                let app = models::App { store, configuration };
                answer(host, name, event, |request| models::handle(&app, request)).await
            }
            Function::AuthKey => {
                let app = auth_key::App { store };
                answer(host, name, event, |request| auth_key::handle(&app, request)).await
            }
            Function::Balance => {
                let app = balance::App { store };
                answer(host, name, event, |request| balance::handle(&app, request)).await
            }
            Function::Usage => {
                let app = usage::App { store };
                answer(host, name, event, |request| usage::handle(&app, request)).await
            }
            Function::Transactions => {
                let app = transactions::App { store };
                answer(host, name, event, |request| transactions::handle(&app, request)).await
            }
            Function::Keys => {
                let app = keys::App { store };
                answer(host, name, event, |request| keys::handle(&app, request)).await
            }
            Function::Payments => {
                let app = payments::App { store, stripe, secrets };
                answer(host, name, event, |request| payments::handle(&app, request)).await
            }
            Function::StripeWebhook => {
                let app = stripe_webhook::App { store, secrets };
                answer(host, name, event, |request| stripe_webhook::handle(&app, request)).await
            }
            Function::Dashboard => answer(host, name, event, |request| dashboard::handle(&dashboard, request)).await,
            Function::UnknownRoute => {
                answer(host, name, event, |request| unknown_route::handle(&unknown_route::App, request)).await
            }
        }
    }

    /// Runs a function as its schedule's event does. Whatever fails, the log has it and the next run tries again.
    pub async fn run_scheduled(&self, host: &Host, function: Scheduled) {
        let outcome = match function {
            Scheduled::HoldExpirer => {
                let app = hold_expirer::App { store: self.store.clone() };
                caught(hold_expirer::handle(&app, host.clock.now())).await
            }
        };
        match outcome {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(?function, %error, "a scheduled function failed"),
            Err(error) => tracing::error!(?function, %error, "a scheduled function failed"),
        }
    }

    /// The authorizer's answer, or its error's message, which is all that API Gateway gets of one.
    ///
    /// # Errors
    /// `Unauthorized`, or whatever else went wrong.
    pub async fn authorize(
        &self,
        host: &Host,
        event: ApiGatewayCustomAuthorizerRequest,
    ) -> Result<ApiGatewayCustomAuthorizerResponse, String> {
        let app = authorizer::App { store: self.store.clone(), clock: host.clock.clone() };
        let authorized = caught(authorizer::authorize(&app, event)).await.map_err(|panic| panic.to_string())?;
        authorized.map_err(|refusal| refusal.to_string())
    }
}
