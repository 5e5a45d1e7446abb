//! How a request is paid for: hold, ask, settle or release. The one crate that joins the books and the providers.
//!
//! Every function that sells something goes through here, so that the order of the writes is decided once: nothing is
//! asked of a provider before its price is held, and no answer ends before it is charged.

mod tokenizer;

use std::sync::Arc;

use gateway_core::{
    catalogue::{Endpoint, ModelKind},
    error::ApiError,
    meter::{Due, StreamEnd, StreamMeter},
    money::Nanos,
    offer::{self, Offer, Order},
    routing,
    usage::{Metered, Usage},
};
use gateway_lambda::{Clock, Deadline, Record, Request, Response, StartError, WarmUp, caught};
use gateway_store::{Configuration, HoldOutcome, HoldRequest, PlacedHold, Secrets, Store, StoreError, Tables};
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
    /// The app in AWS, and what its first request needs: the settings and the credentials, read at the same time.
    ///
    /// # Errors
    /// The TLS stack can't be set up.
    pub async fn start(tables: Tables, provider_secret: String) -> Result<(Self, WarmUp), StartError> {
        let store = Store::connect(tables).await;
        let secrets = Secrets::new(provider_secret);
        let source: Source = Arc::new(move || {
            let secrets = secrets.clone();
            Box::pin(async move { secrets.credentials().await.map_err(|error| error.to_string()) })
        });
        let (credentials, configuration) = (Credentials::from_source(source), Configuration::stored(store.clone()));
        let (settings, keys) = (configuration.clone(), credentials.clone());
        let warm_up = WarmUp::of(async move { settings.catalogue(Clock::system().now()).await });
        let warm_up = warm_up.and(async move { keys.load().await });
        let upstream = Upstream::new(Timeouts::default(), credentials);
        Ok((Self { store, upstream, configuration }, warm_up))
    }

    /// Who can serve the request, in order.
    ///
    /// # Errors
    /// 404 for an unknown model, 400 for one of another kind, 503 if nobody serves any of them; 500 if the settings can't be
    /// read.
    pub async fn plan(&self, request: &Request, kind: ModelKind, models: &[String]) -> Result<Vec<Endpoint>, ApiError> {
        routing::plan(&*self.configuration.catalogue(request.at).await?, kind, models)
    }

    /// Sets aside the most that `order` can cost at any of the endpoints, for as long as it may run, and returns what was
    /// offered to each. What the account or the key can't pay whole is offered as far as the funds go: its tokens are
    /// counted, its answer is cut, and endpoints that are too dear are left out.
    ///
    /// # Errors
    /// 401, 402, 403 or 429; 500 if the database does not answer.
    pub async fn hold(
        &self,
        request: &Request,
        endpoints: Vec<Endpoint>,
        order: Arc<dyn Order>,
        runs_ms: u64,
    ) -> Result<(Held, Vec<Offer>), ApiError> {
        let caller = request.caller()?;
        // All of them, whatever is left out later: a key's list of models does not depend on its funds.
        let models: Vec<_> = endpoints.iter().map(|endpoint| endpoint.model.names()).collect();
        let wanted = HoldRequest {
            account: &caller.account,
            key: caller.key,
            id: &request.id,
            models: &models,
            amount: Nanos::ZERO,
            at: request.at,
            expires: request.at.plus_ms(runs_ms + SETTLE_MS),
        };
        let whole = offer::offers(endpoints, &*order);
        let (hold, offers) = self.place(wanted, whole, &order).await?;
        request.record.counted(hold.rate);
        let (store, record, deadline) = (self.store.clone(), request.record.clone(), request.deadline.clone());
        Ok((Held { store, hold, order, record, deadline }, offers))
    }

    /// One write in nearly every case. Only what that refuses for want of funds is looked at again.
    async fn place(
        &self,
        wanted: HoldRequest<'_>,
        whole: Vec<Offer>,
        order: &Arc<dyn Order>,
    ) -> Result<(PlacedHold, Vec<Offer>), ApiError> {
        let place = async |offers: &[Offer]| {
            let amount = offer::most(offers);
            self.store.hold_place(&HoldRequest { amount, ..wanted.clone() }).await
        };
        let mut outcome = place(&whole).await?;
        let Some(funds) = Funds::of(&outcome) else {
            return Ok((outcome.placed(offer::most(&whole))?, whole));
        };
        // Not even an input of nothing: nothing is gained by counting.
        let nothing: Vec<_> = whole.iter().map(|offer| offer.clone().with_input(0)).collect();
        if funds.in_time < offer::least(&nothing) {
            return Err(refused(outcome, offer::least(&whole)));
        }
        let counted = tokenizer::counted(whole, order).await;
        for _ in 0..TRIES {
            let Some(funds) = Funds::of(&outcome) else { break };
            let offers = offer::within(&counted, funds.now);
            if offers.is_empty() {
                break;
            }
            outcome = place(&offers).await?;
            if let HoldOutcome::Held(hold) = outcome {
                return Ok((hold, offers));
            }
        }
        Err(refused(outcome, offer::least(&counted)))
    }
}

/// How often a hold is made smaller when the funds are others than they were a moment ago.
const TRIES: usize = 4;

/// What a request that was refused for want of funds may spend.
struct Funds {
    /// At once.
    now: Nanos,
    /// When running requests have given back what they hold.
    in_time: Nanos,
}

impl Funds {
    /// None if the outcome is another.
    fn of(outcome: &HoldOutcome) -> Option<Self> {
        match *outcome {
            HoldOutcome::InsufficientFunds { free, held } => Some(Self { now: free, in_time: free + held }),
            HoldOutcome::SpendLimitReached { left } => Some(Self { now: left, in_time: left }),
            _ => None,
        }
    }
}

/// The refusal of a request that needs `least`.
fn refused(outcome: HoldOutcome, least: Nanos) -> ApiError {
    match outcome.placed(least) {
        Err(error) => error,
        Ok(_) => ApiError::internal("a hold that was placed was taken for a refusal"),
    }
}

/// How long after a function's timeout a hold waits: nobody settles it any more then.
const SETTLE_MS: u64 = 60_000;

/// Funds held for a request that no provider has answered yet.
#[must_use = "a hold that nobody ends keeps funds until it expires"]
pub struct Held {
    store: Store,
    hold: PlacedHold,
    order: Arc<dyn Order>,
    record: Record,
    deadline: Deadline,
}

impl Held {
    /// Goes on with what a provider answers, or gives the funds back. One that is still silent when the request runs out of
    /// time is cut off.
    ///
    /// # Errors
    /// The providers' failure.
    pub async fn answered<T>(
        self,
        asked: impl Future<Output = Result<(&Offer, T), UpstreamError>>,
    ) -> Result<(Bill, T), ApiError> {
        let outcome = tokio::select! {
            biased;
            outcome = asked => outcome,
            () = self.deadline.near() => Err(UpstreamError::OutOfTime),
        };
        match outcome {
            Ok((offer, answer)) => {
                self.record.served_by(&offer.endpoint.model.id, &offer.endpoint.provider.name);
                let unsettled = Unsettled(Some(self.record.clone()));
                Ok((Bill { held: self, offer: offer.clone(), unsettled }, answer))
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
    offer: Offer,
    unsettled: Unsettled,
}

/// Says in the request's record that it was served and not charged, unless it is taken back: whatever ends a bill, an error,
/// a panic or the deadline, the operator hears of it. The hold's expiry sees to the books.
struct Unsettled(Option<Record>);

impl Drop for Unsettled {
    fn drop(&mut self) {
        if let Some(record) = &self.0 {
            record.unsettled();
        }
    }
}

impl Bill {
    /// Charges what is due and returns the cost.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn settle(mut self, end: StreamEnd) -> Result<Nanos, StoreError> {
        let metered = self.metered(end).await;
        let Held { store, hold, record, .. } = &self.held;
        let cost = store.hold_finish(hold, &self.offer.endpoint, metered, record.elapsed_ms()).await?;
        self.unsettled.0 = None;
        if let Some(metered) = metered {
            record.charged(metered, cost);
        }
        Ok(cost)
    }

    /// The provider's count or, where it gave none, ours: never more than what was offered, and so held.
    async fn metered(&self, end: StreamEnd) -> Option<Metered> {
        match end.due() {
            Due::Nothing => None,
            Due::Counted(usage) => Some(Metered { usage, estimated: false }),
            Due::Partly(counted) => {
                // Some count all along, some say a word at the beginning.
                let about = tokenizer::estimated(&self.offer, &self.held.order, end.generated).await;
                let usage = Usage { output: counted.output.max(about.output), ..counted };
                Some(Metered { usage, estimated: true })
            }
            Due::Uncounted => {
                let usage = tokenizer::estimated(&self.offer, &self.held.order, end.generated).await;
                Some(Metered { usage, estimated: true })
            }
        }
    }

    /// Forwards the provider's stream as it comes. It is charged at its end, and only then does the client's stream end.
    pub fn stream(self, stream: ProviderStream, include_usage: bool, choices: u64) -> Response {
        let (prices, markup) = (self.offer.endpoint.prices.clone(), self.offer.endpoint.model.markup);
        let meter = StreamMeter::new(include_usage, choices, prices, markup);
        let deadline = self.held.deadline.clone();
        let cut = async move { deadline.near().await };
        let relay = relay(stream, meter, cut, move |end, failure| self.end(end, failure));
        // The task holds the request's record, so the host counts the request as running until it is settled.
        Response::events(relay.frames)
    }

    async fn end(self, end: StreamEnd, failure: Option<UpstreamError>) {
        let record = self.held.record.clone();
        if let Some(failure) = failure {
            record.failed(&failure.into());
        }
        match caught(self.settle(end)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => record.failed(&error.into()),
            Err(panic) => record.failed(&ApiError::internal(panic.to_string())),
        }
    }
}
