//! What is known of a running request: its log line, written once when the last holder lets go.
//!
//! It has fields for ids, counts and names alone, so no token, prompt or credential can get into it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_core::{
    error::{ApiError, ErrorCode},
    ids::RequestId,
    limits::RateStanding,
    money::Nanos,
    usage::Metered,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{Caller, Elapsed, METRICS};

/// A request's record. Clones are the same record; the line is written when the last one is dropped, so a stream that
/// outlives its handler still writes one line, at its end.
#[derive(Clone)]
pub struct Record(Arc<Line>);

struct Line {
    id: RequestId,
    platform_id: String,
    function: &'static str,
    caller: Option<Caller>,
    elapsed: Elapsed,
    facts: Mutex<Facts>,
    _running: TaskTrackerToken,
}

#[derive(Default)]
struct Facts {
    status: u16,
    first_byte_ms: Option<u64>,
    model: Option<String>,
    provider: Option<String>,
    metered: Option<Metered>,
    cost: Option<Nanos>,
    unsettled: bool,
    late: bool,
    error: Option<ErrorCode>,
    cause: Option<String>,
    rate: Option<RateStanding>,
}

impl Facts {
    /// Whether the answer was a 5xx, and a provider's: those are not our failures.
    fn answered_for_a_provider(&self) -> bool {
        let codes = [ErrorCode::UpstreamError, ErrorCode::UpstreamOverloaded, ErrorCode::UpstreamTimeout];
        !self.late && self.error.is_some_and(|code| codes.contains(&code) && code.status() == self.status)
    }
}

impl Record {
    pub(crate) fn new(
        id: RequestId,
        platform_id: String,
        function: &'static str,
        caller: Option<Caller>,
        running: TaskTrackerToken,
    ) -> Self {
        let facts = Mutex::default();
        Self(Arc::new(Line { id, platform_id, function, caller, elapsed: Elapsed::start(), facts, _running: running }))
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who serves the request.
    pub fn served_by(&self, model: &str, provider: &str) {
        let mut facts = self.facts();
        facts.model = Some(model.to_owned());
        facts.provider = Some(provider.to_owned());
    }

    /// What it used and what that costs.
    pub fn charged(&self, metered: Metered, cost: Nanos) {
        let mut facts = self.facts();
        facts.metered = Some(metered);
        facts.cost = Some(cost);
    }

    /// What is due could not be charged: the books wait for the hold's expiry.
    pub fn unsettled(&self) {
        self.facts().unsettled = true;
    }

    /// Where the key stands in its rate window; the answer's headers say so.
    pub fn counted(&self, rate: RateStanding) {
        self.facts().rate = Some(rate);
    }

    /// What went wrong.
    pub fn failed(&self, error: &ApiError) {
        let mut facts = self.facts();
        facts.error = Some(error.code);
        facts.cause.clone_from(&error.cause);
        facts.rate = error.rate.or(facts.rate);
    }

    /// It took too long in our own hands. The error's code is one that providers' failures have too.
    pub(crate) fn late(&self) {
        self.facts().late = true;
    }

    pub(crate) fn rate(&self) -> Option<RateStanding> {
        self.facts().rate
    }

    pub(crate) fn id(&self) -> &RequestId {
        &self.0.id
    }

    pub(crate) fn answered(&self, status: u16) {
        self.facts().status = status;
    }

    /// Milliseconds since the request came.
    pub fn elapsed_ms(&self) -> u64 {
        self.0.elapsed.ms()
    }

    pub(crate) fn first_byte(&self) {
        let ms = self.0.elapsed.ms();
        self.facts().first_byte_ms.get_or_insert(ms);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let facts = self.facts.get_mut().unwrap_or_else(PoisonError::into_inner);
        let usage = facts.metered.map(|metered| metered.usage);
        let counted = |yes: bool| yes.then_some(1);
        tracing::info!(
            target: METRICS,
            requests = 1,
            errors = counted(facts.error.is_some()),
            provider_errors = counted(facts.answered_for_a_provider()),
            settlement_failures = counted(facts.unsettled),
            request_id = self.id.as_str(),
            platform_request_id = self.platform_id,
            function = self.function,
            account = self.caller.as_ref().map(|caller| caller.account.as_str()),
            key_id = self.caller.as_ref().map(|caller| caller.key.0),
            model = facts.model,
            provider = facts.provider,
            input_tokens = usage.map(|usage| usage.all_input()),
            output_tokens = usage.map(|usage| usage.all_output()),
            cost_nanos = facts.cost.map(|cost| cost.0),
            estimated = facts.metered.map(|metered| metered.estimated).filter(|&estimated| estimated),
            status = facts.status,
            time_to_first_byte_ms = facts.first_byte_ms,
            duration_ms = self.elapsed.ms(),
            error = facts.error.map(|code| code.row().2),
            cause = facts.cause,
            "request"
        );
    }
}
