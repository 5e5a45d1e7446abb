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
    /// Ends a hold: charges what was metered at the endpoint's prices, or gives all back if nothing was. Returns the cost.
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
        let (model, provider) = (endpoint.model.id.clone(), endpoint.provider.name.clone());
        self.hold_settle(hold, cost, Served { key: hold.key, model, provider, metered }).await.map(|_| cost)
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
        for _ in 0..TRIES {
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
                .condition_expression("attribute_exists(#holds.#id) AND #avail >= :short")
                .expression_attribute_names("#holds", HOLDS)
                .expression_attribute_names("#id", hold.id.as_str())
                .expression_attribute_names("#avail", AVAILABLE)
                .expression_attribute_names("#left", LIMIT_LEFT)
                .expression_attribute_names("#spent", SPENT)
                .expression_attribute_values(":back", nanos(back))
                .expression_attribute_values(":charged", nanos(charged))
                .expression_attribute_values(":short", nanos((-back).max(Nanos::ZERO)));
            let record = match self.returned(update).await? {
                Written::Yes(_) | Written::No(None) => return Ok(()),
                Written::No(Some(record)) if !record.allowance.holds.contains_key(&hold.id) => return Ok(()),
                Written::No(Some(record)) => record,
            };
            // The provider billed more than was held, and the allowance can't cover the difference by itself.
            let missing = -back - record.allowance.available;
            tracing::error!(
                request_id = hold.id.as_str(),
                missing_nanos = missing.0,
                "a request cost more than its hold"
            );
            if let RefillOutcome::Insufficient(_) = self.refill(&hold.account, hold.key, missing, -back).await? {
                return Err(StoreError::new("hold_end", "the account can't cover what was charged beyond the hold"));
            }
        }
        Err(StoreError::new("hold_end", "the key's item changed under every try"))
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
