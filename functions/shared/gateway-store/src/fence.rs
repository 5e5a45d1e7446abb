//! The fence: below which request id an account's usage is final, so that it may be summed up for good.
//!
//! A usage entry is written while a hold of its id is in its key's item, and never otherwise:
//!
//! - only [`Store::hold_settle`] writes one, and only of a hold that was placed;
//! - a hold leaves its item in three ways. It is settled or expires: then an entry of its id is in the ledger before, and
//!   a second entry of that id is refused. Or it is released: then its request failed, and nobody settles it any more.
//!
//! So an id is final when its request's hold was never placed and can't be any more, or is gone. Both are read from the
//! lanes' items. Placing a hold has the condition that the lane is not *sealed* after the request began, and the id says
//! when that was. To move the fence to a moment, every lane is sealed to it; the smallest id among the holds that the
//! lanes have then is what still runs. Below the moment and below every such id, nothing can be added. A lane that is not
//! sealed so far bounds the fence by the seal it has.
//!
//! Lanes come and go meanwhile. A new one begins with the seal that its key's first lane has at that moment: so the first
//! lanes are sealed first, and whatever lane a reading after that does not have is sealed as far. A lane that is folded
//! moves its holds to the first, and no hold ever moves elsewhere: so what one reading misses, because it read the first
//! lane before the move and the other one after it, the next reading finds, and the lanes are read twice.
//!
//! No seal is needed by a key that can place no hold: a billing key, and a deleted one, which stays deleted. A key made
//! after its account's keys were read has no seal yet, but nobody could send its token before: its requests began after
//! this reading, and the fence lies [`SLACK_MS`] before it. This is all that the argument asks of clocks, that two of
//! them differ by less than that. (That a key was idle for long says nothing: a request may be on its way to it.)

use gateway_core::{
    ids::{AccountId, RequestId},
    moment::UnixMs,
    token::KeyType,
};

use crate::{
    KeyRecord, Store, StoreError,
    attributes::{HOLDS, SEALED, number},
    holds::Written,
    key_record::Lane,
};

/// How far the fence stays behind the present: longer than a request takes from its arrival to its hold, or it is refused.
const SLACK_MS: u64 = 60_000;
/// A fence costs a write for each lane of the account. It moves on after so long for each, so that no account, however
/// many keys it has, costs more than a write each second.
const PACE_MS: u64 = 1000;

/// Below every request id.
pub(crate) fn earliest() -> RequestId {
    RequestId::first_at(UnixMs(0))
}

impl Store {
    /// The id below which no usage entry will ever be added to the account's ledger. Moves the fence on if it is time.
    ///
    /// # Errors
    /// The database did not answer.
    pub(crate) async fn usage_fence(&self, account: &AccountId, now: UnixMs) -> Result<RequestId, StoreError> {
        let to = UnixMs(now.0.saturating_sub(SLACK_MS));
        let lanes = self.lanes(account).await?;
        let open = || lanes.iter().filter(|lane| takes_holds(lane));
        let last = open().map(|lane| lane.sealed).max().unwrap_or_default();
        let due = to >= open().fold(last, |next, _| next.plus_ms(PACE_MS));
        if due {
            for first in open().filter(|lane| lane.lane == 0 && lane.sealed < to) {
                self.lane_seal(account, first.place(), to).await?;
            }
        }
        let mut fence = RequestId::first_at(to);
        for _ in 0..2 {
            for mut lane in self.lanes(account).await? {
                if takes_holds(&lane) {
                    if due && lane.sealed < to {
                        // One that is folded meanwhile can place no hold, and what it held is elsewhere.
                        let Some(sealed) = self.lane_seal(account, lane.place(), to).await? else { continue };
                        lane = *sealed;
                    }
                    fence = fence.min(RequestId::first_at(lane.sealed));
                }
                if let Some(oldest) = lane.allowance.holds.into_keys().next() {
                    fence = fence.min(oldest);
                }
            }
        }
        Ok(fence)
    }

    /// Every lane of every key of the account.
    async fn lanes(&self, account: &AccountId) -> Result<Vec<KeyRecord>, StoreError> {
        Ok(self.account_standing(account).await?.map_or_else(Vec::new, |standing| standing.lanes))
    }

    /// Seals the lane to `to`, or leaves a later seal. The lane after it, none if there is none.
    async fn lane_seal(
        &self,
        account: &AccountId,
        lane: Lane,
        to: UnixMs,
    ) -> Result<Option<Box<KeyRecord>>, StoreError> {
        let update = self
            .lane_update(account, lane)
            .update_expression("SET #sealed = :to")
            .condition_expression("attribute_exists(#holds) AND (attribute_not_exists(#sealed) OR #sealed < :to)")
            .expression_attribute_names("#sealed", SEALED)
            .expression_attribute_names("#holds", HOLDS)
            .expression_attribute_values(":to", number(to.0));
        Ok(match self.returned(update).await? {
            Written::Yes(record) => Some(record),
            Written::No(record) => record,
        })
    }
}

fn takes_holds(key: &KeyRecord) -> bool {
    key.key_type == KeyType::Proxy && !key.allowance.deleted
}
