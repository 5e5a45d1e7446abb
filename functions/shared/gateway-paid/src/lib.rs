//! How a request is paid for: hold, ask, settle or release. The one crate that joins the books and the providers.
//!
//! Every function that sells something goes through here, so that the order of the writes is decided once: nothing is
//! asked of a provider before its price is held, and no answer ends before it is charged.

use std::sync::Arc;

use gateway_core::{
    catalogue::{Endpoint, ModelKind},
    error::ApiError,
    meter::StreamMeter,
    money::Nanos,
    routing,
    usage::Metered,
};
use gateway_lambda::{Clock, Record, Request, Response, StartError};
use gateway_store::{Configuration, HoldRequest, PlacedHold, Secrets, Store, StoreError, Tables};
use gateway_upstream::{Credentials, ProviderStream, Source, Timeouts, Upstream, UpstreamError, relay};

/// What a function that sells something reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts and the ledger.
    pub store: Store,
    /// The providers.
    pub upstream: Upstream,
    /// The catalogue.
    pub configuration: Configuration,
}

impl App {
    /// The app in AWS. The settings and the credentials are read now, at the same time: both also open a connection.
    ///
    /// # Errors
    /// A service does not answer, or what it holds is not valid.
    pub async fn start(tables: Tables, provider_secret: String) -> Result<Self, StartError> {
        let secrets = async {
            let secrets = Secrets::connect(provider_secret).await;
            let source: Source = Arc::new(move || {
                let secrets = secrets.clone();
                Box::pin(async move { secrets.credentials().await.map_err(|error| error.to_string()) })
            });
            Credentials::load(source).await
        };
        let settings = async {
            let store = Store::connect(tables).await;
            Configuration::stored(store.clone(), Clock::system().now())
                .await
                .map(|configuration| (store, configuration))
        };
        let (credentials, settings) = tokio::join!(secrets, settings);
        let (store, configuration) = settings?;
        Ok(Self { store, upstream: Upstream::new(Timeouts::default(), credentials?)?, configuration })
    }

    /// Who can serve the request, in order.
    ///
    /// # Errors
    /// 404 for an unknown model, 400 for one of another kind, 503 if nobody serves any of them.
    pub async fn plan(&self, request: &Request, kind: ModelKind, models: &[String]) -> Result<Vec<Endpoint>, ApiError> {
        routing::plan(&*self.configuration.catalogue(request.at).await, kind, models)
    }

    /// Sets `amount`, the most that the request can cost at any endpoint, aside for as long as it may run.
    ///
    /// # Errors
    /// 401, 402, 403 or 429; 500 if the database does not answer.
    pub async fn hold(
        &self,
        request: &Request,
        endpoints: &[Endpoint],
        amount: Nanos,
        runs_ms: u64,
    ) -> Result<Held, ApiError> {
        let caller = request.caller()?;
        let models: Vec<_> = endpoints.iter().map(|endpoint| endpoint.model.names()).collect();
        let wanted = HoldRequest {
            account: &caller.account,
            key: caller.key,
            id: &request.id,
            models: &models,
            amount,
            at: request.at,
            expires: request.at.plus_ms(runs_ms + SETTLE_MS),
        };
        let hold = self.store.hold_place(&wanted).await?.placed(amount)?;
        request.record.counted(hold.rate);
        Ok(Held { store: self.store.clone(), hold, record: request.record.clone() })
    }
}

/// How long after a function's timeout a hold waits: nobody settles it any more then.
const SETTLE_MS: u64 = 60_000;

/// Funds held for a request that no provider has answered yet.
#[must_use = "a hold that nobody ends keeps funds until it expires"]
pub struct Held {
    store: Store,
    hold: PlacedHold,
    record: Record,
}

impl Held {
    /// Goes on with what a provider answered, or gives the funds back.
    ///
    /// # Errors
    /// The providers' failure.
    pub async fn answered<T>(self, outcome: Result<(&Endpoint, T), UpstreamError>) -> Result<(Bill, T), ApiError> {
        match outcome {
            Ok((endpoint, answer)) => {
                self.record.served_by(&endpoint.model.id, &endpoint.provider.name);
                Ok((Bill { held: self, endpoint: endpoint.clone() }, answer))
            }
            Err(error) => {
                self.store.hold_release(&self.hold).await;
                Err(error.into())
            }
        }
    }
}

/// A request that a provider has answered, or begun to, and that is not charged yet.
#[must_use = "an answer that is not settled is not paid for"]
pub struct Bill {
    held: Held,
    endpoint: Endpoint,
}

impl Bill {
    /// Charges what was metered and returns the cost. Nothing metered, nothing charged.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn settle(&self, metered: Option<Metered>) -> Result<Nanos, StoreError> {
        let Held { store, hold, record } = &self.held;
        let cost = store.hold_finish(hold, &self.endpoint, metered).await?;
        if let Some(metered) = metered {
            record.charged(metered, cost);
        }
        Ok(cost)
    }

    /// Forwards the provider's stream as it comes. It is charged at its end, and only then does the client's stream end.
    pub fn stream(self, stream: ProviderStream, include_usage: bool, choices: u64, text_bytes: u64) -> Response {
        let (prices, markup) = (self.endpoint.prices.clone(), self.endpoint.model.markup);
        let meter = StreamMeter::new(include_usage, choices, prices, markup);
        let relay = relay(stream, meter, move |end| self.end(end.metered(text_bytes), end.error));
        // The task holds the request's record, so the host counts the request as running until it is settled.
        Response::events(relay.frames)
    }

    async fn end(self, metered: Option<Metered>, failure: Option<String>) {
        if let Some(why) = failure {
            self.held.record.failed(&UpstreamError::mid_stream(why).into());
        }
        if let Err(error) = self.settle(metered).await {
            self.held.record.failed(&error.into());
        }
    }
}
