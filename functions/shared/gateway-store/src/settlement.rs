//! The end of a hold: settled, released or expired. Single-item writes, any of which may be repeated for ever.

use gateway_core::{
    catalogue::Endpoint,
    ids::{AccountId, KeyId},
    ledger::{Allowance, Entry, EntryKind, Served},
    moment::UnixMs,
    money::Nanos,
    pricing,
    usage::Metered,
};

use crate::{
    PlacedHold, Store, StoreError,
    attributes::{AVAILABLE, HOLDS, LIMIT_LEFT, SPENT, WINDOWS, nanos},
    holds::{TRIES, Written},
    refill::RefillOutcome,
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
    /// charged.
    ///
    /// # Errors
    /// The database did not answer. What was not charged then is released when the hold expires.
    pub async fn hold_finish(
        &self,
        hold: &PlacedHold,
        endpoint: &Endpoint,
        metered: Option<Metered>,
    ) -> Result<Nanos, StoreError> {
        let Some(metered) = metered else {
            self.hold_release(hold).await;
            return Ok(Nanos::ZERO);
        };
        let cost = pricing::cost(&endpoint.prices, endpoint.model.markup, &metered.usage);
        let hold = if cost > hold.amount { &self.hold_extend(hold, cost).await? } else { hold };
        let charged = cost.min(hold.amount);
        let (model, provider) = (endpoint.model.id.clone(), endpoint.provider.name.clone());
        let served = Served { key: hold.key, model, provider, metered, unpaid: cost - charged };
        self.hold_settle(hold, charged, served).await.map(|_| charged)
    }

    /// Makes a hold cover `cost`, which the provider bills although it is more than a request can cost (its bug or ours).
    /// What neither the key's limit nor the account's free funds cover is not held: no balance and no limit is passed,
    /// and the entry says what stayed unpaid.
    async fn hold_extend(&self, hold: &PlacedHold, cost: Nanos) -> Result<PlacedHold, StoreError> {
        tracing::error!(
            request_id = hold.id.as_str(),
            cost_nanos = cost.0,
            held_nanos = hold.amount.0,
            "cost over hold"
        );
        let mut more = cost - hold.amount;
        for _ in 0..TRIES {
            let update = self.key_update_item(&hold.account, hold.key);
            let update = update
                .update_expression("SET #holds.#id[0] = :amount, #avail = #avail - :more, #left = #left - :more")
                .condition_expression("#holds.#id[0] = :before AND #avail >= :more AND #left >= :more")
                .expression_attribute_names("#holds", HOLDS)
                .expression_attribute_names("#id", hold.id.as_str())
                .expression_attribute_names("#avail", AVAILABLE)
                .expression_attribute_names("#left", LIMIT_LEFT)
                .expression_attribute_values(":before", nanos(hold.amount))
                .expression_attribute_values(":amount", nanos(hold.amount + more))
                .expression_attribute_values(":more", nanos(more));
            let record = match self.returned(update).await? {
                Written::Yes(_) => return Ok(PlacedHold { amount: hold.amount + more, ..hold.clone() }),
                Written::No(None) => return Ok(hold.clone()),
                Written::No(Some(record)) => record,
            };
            let allowance = &record.allowance;
            match allowance.holds.get(&hold.id) {
                // Extended before, and the reply was lost; or ended by somebody else.
                Some(there) if there.amount != hold.amount => {
                    return Ok(PlacedHold { amount: there.amount, ..hold.clone() });
                }
                None => return Ok(hold.clone()),
                Some(_) => {}
            }
            more = more.min(allowance.limit_left.max(Nanos::ZERO));
            let missing = more - allowance.available;
            if missing > Nanos::ZERO
                && let RefillOutcome::Insufficient(standing) =
                    self.refill(&hold.account, hold.key, missing, more).await?
            {
                more = more.min(standing.available());
            }
        }
        Err(StoreError::new("hold_extend", "the key's item changed under every try"))
    }

    /// Charges a request: the ledger entry first, which is the commit point, then the allowance.
    ///
    /// # Errors
    /// The database did not answer. Call it again, for as long as the hold has not expired.
    pub async fn hold_settle(
        &self,
        hold: &PlacedHold,
        cost: Nanos,
        served: Served,
    ) -> Result<SettleOutcome, StoreError> {
        let entry = Entry {
            account: hold.account.clone(),
            id: hold.id.clone(),
            kind: EntryKind::Usage,
            amount: -cost,
            served: Some(served),
            description: None,
        };
        let there = self.ledger_append(&entry).await?;
        let charged = there.as_ref().map_or(cost, |there| -there.amount);
        self.hold_end(hold, charged).await?;
        Ok(match there.map(|there| there.kind) {
            None => SettleOutcome::Charged,
            Some(EntryKind::Expired) => SettleOutcome::Expired,
            Some(_) => SettleOutcome::AlreadyCharged,
        })
    }

    /// Gives a hold's funds back: the request failed and costs nothing. If the database does not answer, the hold is
    /// released when it expires, so there is nothing more that a caller could do.
    pub async fn hold_release(&self, hold: &PlacedHold) {
        if let Err(error) = self.hold_end(hold, Nanos::ZERO).await {
            tracing::error!(request_id = hold.id.as_str(), %error, "a hold was not released and waits for its expiry");
        }
    }

    /// Removes the hold and gives back what of it was not charged. Nothing happens if it is not there any more.
    async fn hold_end(&self, hold: &PlacedHold, charged: Nanos) -> Result<(), StoreError> {
        let back = hold.amount - charged;
        let mut removed = "REMOVE #holds.#id".to_owned();
        let mut update = self.key_update_item(&hold.account, hold.key);
        for (n, window) in hold.stale_windows.iter().enumerate() {
            removed.push_str(&format!(", #windows.#w{n}"));
            update = update.expression_attribute_names(format!("#w{n}"), window.to_string());
        }
        if !hold.stale_windows.is_empty() {
            update = update.expression_attribute_names("#windows", WINDOWS);
        }
        let set = "SET #avail = #avail + :back, #left = #left + :back, #spent = #spent + :charged";
        let update = update
            .update_expression(format!("{set} {removed}"))
            .condition_expression("attribute_exists(#holds.#id)")
            .expression_attribute_names("#holds", HOLDS)
            .expression_attribute_names("#id", hold.id.as_str())
            .expression_attribute_names("#avail", AVAILABLE)
            .expression_attribute_names("#left", LIMIT_LEFT)
            .expression_attribute_names("#spent", SPENT)
            .expression_attribute_values(":back", nanos(back))
            .expression_attribute_values(":charged", nanos(charged));
        self.returned(update).await.map(|_| ())
    }

    /// Ends the holds of requests whose process died: charged if their entry is in the ledger, released if not.
    pub(crate) async fn expire_in_passing(
        &self,
        account: &AccountId,
        key: KeyId,
        allowance: &Allowance,
        at: UnixMs,
    ) -> Result<(), StoreError> {
        for expired in allowance.holds.values().filter(|hold| hold.expires <= at) {
            let entry = Entry {
                account: account.clone(),
                id: expired.id.clone(),
                kind: EntryKind::Expired,
                amount: Nanos::ZERO,
                served: None,
                description: None,
            };
            let charged = self.ledger_append(&entry).await?.map_or(Nanos::ZERO, |there| -there.amount);
            let hold = PlacedHold {
                account: account.clone(),
                key,
                id: expired.id.clone(),
                amount: expired.amount,
                stale_windows: Vec::new(),
                rate: allowance.rate_standing(at),
            };
            self.hold_end(&hold, charged).await?;
        }
        Ok(())
    }
}
