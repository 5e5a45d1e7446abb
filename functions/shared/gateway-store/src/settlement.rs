//! The end of a hold: settled, released or expired. Single-item writes, any of which may be repeated for ever.

use gateway_core::{
    catalogue::Endpoint,
    ledger::{Entry, EntryKind, Hold, Served},
    moment::UnixMs,
    money::Nanos,
    pricing,
    usage::Metered,
};

use crate::{
    PlacedHold, Store, StoreError,
    attributes::{AVAILABLE, HOLDS, LIMIT_LEFT, OWING, SPENT, WINDOWS, nanos},
    backoff::{backoff, steadfast},
    expiry::Expired,
    holds::{PATIENT_TRIES, TRIES, Written},
    key_record::{KeyRecord, Lane, hold_value},
    refill::{RefillOutcome, Shortage},
};

/// How settling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleOutcome {
    /// The request is charged.
    Charged,
    /// It had been charged before; nothing more is.
    AlreadyCharged,
    /// It had been given up as expired before; it is never charged.
    Expired,
}

impl Store {
    /// Ends a hold: charges what was metered at the endpoint's prices, or gives all back if nothing was. Returns what was
    /// charged. The entry says that the request took so many milliseconds.
    ///
    /// # Errors
    /// The database did not answer. What was not charged then is released when the hold expires.
    pub async fn hold_finish(
        &self,
        hold: &PlacedHold,
        endpoint: &Endpoint,
        metered: Option<Metered>,
        duration_ms: u64,
    ) -> Result<Nanos, StoreError> {
        let Some(metered) = metered else {
            self.hold_release(hold).await;
            return Ok(Nanos::ZERO);
        };
        let cost = pricing::cost(&endpoint.prices, endpoint.model.markup, &metered.usage);
        let hold = if cost > hold.hold.amount { &self.hold_covering(hold, cost).await } else { hold };
        let charged = cost.min(hold.hold.amount);
        let (model, provider) = (endpoint.model.id.clone(), endpoint.provider.name.clone());
        let served = Served {
            key: hold.lane.key,
            model,
            provider,
            metered,
            unpaid: cost - charged,
            duration_ms: Some(duration_ms),
        };
        Ok(match self.hold_settle(hold, charged, served).await? {
            SettleOutcome::Charged | SettleOutcome::AlreadyCharged => charged,
            SettleOutcome::Expired => Nanos::ZERO,
        })
    }

    /// The hold, extended to cover `cost`; as it is, if the database does not answer however often it is asked. What was
    /// served is charged in any case: better in part than not at all.
    async fn hold_covering(&self, placed: &PlacedHold, cost: Nanos) -> PlacedHold {
        let (request_id, held_nanos) = (placed.hold.id.as_str(), placed.hold.amount.0);
        // A line of this target is a metric (gateway-lambda).
        tracing::error!(target: "metrics", costs_over_hold = 1, request_id, cost_nanos = cost.0, held_nanos, "cost over hold");
        steadfast(|| self.hold_extend(placed, cost)).await.unwrap_or_else(|error| {
            tracing::error!(request_id, %error, "a hold stays as it was");
            placed.clone()
        })
    }

    /// Makes a hold cover `cost`, which the provider bills although it is more than a request can cost (its bug or ours).
    /// What neither the key's limit nor the account's free funds cover is not held: no balance and no limit is passed,
    /// and the entry says what stayed unpaid.
    async fn hold_extend(&self, placed: &PlacedHold, cost: Nanos) -> Result<PlacedHold, StoreError> {
        let PlacedHold { account, hold, .. } = placed;
        let mut lane = placed.lane;
        let of = |amount| PlacedHold { hold: Hold { amount, ..hold.clone() }, ..placed.clone() };
        let mut more = cost - hold.amount;
        for attempt in 0..TRIES {
            if attempt >= PATIENT_TRIES {
                backoff(attempt - PATIENT_TRIES).await;
            }
            let extended = of(hold.amount + more);
            let update = self.lane_update(account, lane);
            let update = update
                .update_expression("SET #holds.#id = :extended, #avail = #avail - :more, #left = #left - :more")
                .condition_expression(
                    "#holds.#id = :hold AND #avail >= :more AND #left >= :more AND attribute_not_exists(#owing)",
                )
                .expression_attribute_names("#owing", OWING)
                .expression_attribute_names("#holds", HOLDS)
                .expression_attribute_names("#id", hold.id.as_str())
                .expression_attribute_names("#avail", AVAILABLE)
                .expression_attribute_names("#left", LIMIT_LEFT)
                .expression_attribute_values(":hold", hold_value(hold))
                .expression_attribute_values(":extended", hold_value(&extended.hold))
                .expression_attribute_values(":more", nanos(more));
            let refused = match self.returned(update).await? {
                Written::Yes(_) => return Ok(extended),
                Written::No(refused) => refused,
            };
            let there = refused.as_ref().and_then(|record| record.allowance.holds.get(&hold.id));
            let Some((record, there)) = refused.as_ref().zip(there).filter(|(_, there)| there.stamp() == hold.stamp())
            else {
                // Folded into the first lane, or ended by somebody else.
                if lane.number == 0 {
                    return Ok(placed.clone());
                }
                lane.number = 0;
                continue;
            };
            if there.amount != hold.amount {
                // Extended before, and the reply was lost.
                return Ok(of(there.amount));
            }
            more = more.min(record.allowance.limit_left);
            let missing = record.allowance.missing(more);
            // The expiry, which lies ahead, would end what runs: the request's own time is all that is known here.
            let at = hold.id.at();
            if missing > Nanos::ZERO {
                self.owing_return(record).await?;
                let shortage = Shortage { missing, hold: more, last: None, at };
                if let RefillOutcome::Insufficient(standing) = self.refill(account, lane, shortage).await? {
                    more = more.min(standing.available());
                }
            }
            if more <= Nanos::ZERO {
                return Ok(placed.clone());
            }
        }
        tracing::error!(request_id = hold.id.as_str(), "the funds changed under every try to extend a hold");
        Ok(placed.clone())
    }

    /// Charges a request: the ledger entry first, which is the commit point, then the allowance.
    ///
    /// # Errors
    /// The database did not answer, however often it was asked. Call it again, for as long as the hold has not expired.
    pub async fn hold_settle(
        &self,
        placed: &PlacedHold,
        cost: Nanos,
        served: Served,
    ) -> Result<SettleOutcome, StoreError> {
        let entry = placed.entry(EntryKind::Usage, -cost, Some(served));
        let there = steadfast(|| self.ledger_append(&entry)).await?;
        let charged = there.as_ref().map_or(cost, |there| charged_for(&placed.hold, there));
        self.hold_ended(placed, charged).await;
        Ok(match there.map(|there| there.kind) {
            None => SettleOutcome::Charged,
            Some(EntryKind::Expired) => SettleOutcome::Expired,
            Some(_) => SettleOutcome::AlreadyCharged,
        })
    }

    /// Gives a hold's funds back: the request failed and costs nothing. If the database does not answer, the hold is
    /// released when it expires, so there is nothing more that a caller could do.
    pub async fn hold_release(&self, hold: &PlacedHold) {
        self.hold_ended(hold, Nanos::ZERO).await;
    }

    /// Ends a hold whose request is decided: its entry is in the ledger, or there is nothing to charge. That a database
    /// which does not answer leaves the hold changes nothing about it: whoever expires it comes to the same end.
    async fn hold_ended(&self, placed: &PlacedHold, charged: Nanos) {
        if let Err(error) = steadfast(|| self.hold_end(placed, charged)).await {
            tracing::error!(request_id = placed.hold.id.as_str(), %error, "a hold waits for its expiry");
        }
    }

    /// Removes the hold and gives back what of it was not charged. Nothing happens if it is not there any more.
    async fn hold_end(&self, placed: &PlacedHold, charged: Nanos) -> Result<(), StoreError> {
        let (mut hold, mut lane) = (placed.hold.clone(), placed.lane);
        for _ in 0..TRIES {
            let allowance = match self.hold_remove(placed, lane, &hold, charged).await? {
                Written::Yes(record) if record.allowance.stranded() > Nanos::ZERO => {
                    return self.allowance_return(&placed.account, lane.key).await;
                }
                Written::Yes(_) => return Ok(()),
                Written::No(refused) => refused.map(|record| record.allowance),
            };
            match allowance.as_ref().and_then(|allowance| allowance.holds.get(&hold.id)) {
                // Extended since it was read.
                Some(there) if there.stamp() == hold.stamp() => hold.amount = there.amount,
                // Ended before, unless it was folded into the first lane. What may stand here is of another delivery.
                _ if lane.number == 0 => return Ok(()),
                _ => lane.number = 0,
            }
        }
        Err(StoreError::new("hold_end", "the hold changed under every try"))
    }

    async fn hold_remove(
        &self,
        placed: &PlacedHold,
        lane: Lane,
        hold: &Hold,
        charged: Nanos,
    ) -> Result<Written, StoreError> {
        let mut removed = "REMOVE #holds.#id".to_owned();
        let mut update = self.lane_update(&placed.account, lane);
        for (n, window) in placed.stale_windows.iter().enumerate() {
            removed.push_str(&format!(", #windows.#w{n}"));
            update = update.expression_attribute_names(format!("#w{n}"), window.to_string());
        }
        if !placed.stale_windows.is_empty() {
            update = update.expression_attribute_names("#windows", WINDOWS);
        }
        let set = "SET #avail = #avail + :back, #left = #left + :back, #spent = #spent + :charged";
        let update = update
            .update_expression(format!("{set} {removed}"))
            .condition_expression("#holds.#id = :hold")
            .expression_attribute_names("#holds", HOLDS)
            .expression_attribute_names("#id", hold.id.as_str())
            .expression_attribute_names("#avail", AVAILABLE)
            .expression_attribute_names("#left", LIMIT_LEFT)
            .expression_attribute_names("#spent", SPENT)
            .expression_attribute_values(":hold", hold_value(hold))
            .expression_attribute_values(":back", nanos(hold.amount - charged))
            .expression_attribute_values(":charged", nanos(charged));
        self.returned(update).await
    }

    /// Ends the holds of requests whose process died: charged if their entry is in the ledger, released if not.
    pub(crate) async fn expire_in_passing(&self, record: &KeyRecord, at: UnixMs) -> Result<Expired, StoreError> {
        let mut expired = Expired::default();
        for hold in record.allowance.holds.values().filter(|hold| hold.expires <= at) {
            let (account, hold) = (record.account.clone(), hold.clone());
            let rate = record.allowance.rate_standing(at);
            let placed = PlacedHold { account, lane: record.place(), hold, stale_windows: Vec::new(), rate };
            let there = self.ledger_append(&placed.entry(EntryKind::Expired, Nanos::ZERO, None)).await?;
            let charged = there.map_or(Nanos::ZERO, |there| charged_for(&placed.hold, &there));
            self.hold_end(&placed, charged).await?;
            let (request_id, charged_nanos) = (placed.hold.id.as_str(), charged.0);
            // A line of this target is a metric (gateway-lambda).
            tracing::warn!(target: "metrics", holds_expired = 1, request_id, charged_nanos, "a hold expired: its process died");
            if charged > Nanos::ZERO {
                expired.charged += 1;
            } else {
                expired.released += 1;
            }
        }
        Ok(expired)
    }
}

impl PlacedHold {
    fn entry(&self, kind: EntryKind, amount: Nanos, served: Option<Served>) -> Entry {
        let (account, id, hold) = (self.account.clone(), self.hold.id.clone(), Some(self.hold.stamp()));
        Entry { account, id, kind, amount, hold, served, description: None }
    }
}

/// What the entry under a hold's request charges to this hold: nothing if it settled another one, that is if the platform
/// delivered the request twice.
fn charged_for(hold: &Hold, entry: &Entry) -> Nanos {
    if entry.hold == Some(hold.stamp()) { -entry.amount } else { Nanos::ZERO }
}
