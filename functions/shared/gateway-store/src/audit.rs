//! An account read for its audit: its funds, its ledger, and whether the two belong together although requests run.
//!
//! What is exact, and why. The funds are the account's item and its keys' lanes, read at one moment (`TransactGetItems`, up
//! to 100 items). The ledger is read between two such reads.
//!
//! - **At rest**: both reads found the same funds. A request that was charged in between would have raised what its key
//!   spent, which never falls; one that came and went without a charge left no entry. A request that runs, whose entry was
//!   written in between, has its hold in both reads: the entry and the hold are then taken together, or neither is. So the
//!   ledger that was read is that of these funds, to the nano-dollar.
//! - **Not at rest**, after [`TRIES`] reads of the ledger: the funds of one moment are compared with all that came in, if
//!   the reads of the ledger before and after that moment found the same payments and adjustments. Requests only move
//!   funds between balance, allowances, holds and what is spent, so this is exact as well; what it can't see is whether
//!   each charge has its entry.
//! - Each item by itself, such as what is left of a key's limit, is exact at any moment.
//!
//! - The **totals** of its usage are sums of what is final, and each says up to which entry it counts: whatever runs, they
//!   are compared exactly with the entries that are read after them.
//!
//! An account of more lanes than a transaction reads has its items read one page after another. At rest that is as good but
//! for a move of funds and its exact reversal during both reads. What is in memory is the account's
//! keys, holds and sums, however long its ledger is.

use aws_sdk_dynamodb::types::{Get, TransactGetItem};
use gateway_core::{
    audit::{self, Difference, Funds, LaneFunds, LedgerSums, Line, Notice},
    ids::{AccountId, KeyId, RequestId},
    ledger::EntryKind,
    money::Nanos,
};

use crate::{
    Account, KeyRecord, Store, StoreError,
    accounts::account_of,
    attributes::{ACCOUNT, ACCOUNT_ITEM, AMOUNT, Attributes, ENTRY, HOLD, ITEM, Item, KEY, KIND, UNPAID, text},
    backoff::backoff,
    transaction::built,
};

/// How often the ledger is read while its account does not rest.
const TRIES: usize = 4;
/// How often a read of one moment is tried while requests write what it reads.
const SNAPSHOT_TRIES: u32 = 10;
/// Entries read at a time: about as many as DynamoDB gives at the most. The embedded engine, unless it is told, looks at
/// all that are left for each page.
const PAGE: i32 = 4_000;
/// What one transaction reads at the most.
const MOST_ITEMS: usize = 100;

/// What the audit of an account found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The account's funds.
    pub funds: Funds,
    /// Its ledger, summed up.
    pub sums: LedgerSums,
    /// Where what is stored is not what it must be.
    pub differences: Vec<Difference>,
    /// What is no difference, but should be known.
    pub notices: Vec<Notice>,
    /// None if the funds were compared with the ledger; else requests ran all the time, and this was compared.
    pub busy: Option<Busy>,
}

/// What of an account that never rested was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// Its funds with all that came in, and each item by itself.
    Conservation,
    /// Each item by itself: money came in as well, or the account has too many lanes to read at one moment.
    Items,
}

/// An account's funds, and whether they are those of one moment.
#[derive(Clone)]
struct Snapshot {
    funds: Funds,
    atomic: bool,
}

impl Store {
    /// Audits the account. None if there is none. `each` is called for every ledger entry that is read, so that a long
    /// read can be watched.
    ///
    /// # Errors
    /// The database did not answer, or an item or entry is not readable at all.
    pub async fn audit(&self, account: &AccountId, mut each: impl FnMut()) -> Result<Option<Audit>, StoreError> {
        let Some(mut before) = self.audit_snapshot(account).await? else { return Ok(None) };
        let mut earlier: Option<LedgerSums> = None;
        // The last funds of one moment about which nothing came in, compared with all that had.
        let mut conserved: Option<Vec<Difference>> = None;
        for _ in 0..TRIES {
            let sums = self.audit_ledger(account, &before.funds, &mut each).await?;
            let Some(after) = self.audit_snapshot(account).await? else { return Ok(None) };
            if after.funds == before.funds {
                let differences = audit::compare(&before.funds, &sums);
                return Ok(Some(Audit::of(before.funds, sums, differences, None)));
            }
            if before.atomic && earlier.is_some_and(|earlier| earlier.credits == sums.credits) {
                conserved = Some(audit::compare_conservation(&before.funds, sums.credits));
            }
            (before, earlier) = (after, Some(sums));
        }
        let mut differences = audit::compare_items(&before.funds);
        let busy = if conserved.is_some() { Busy::Conservation } else { Busy::Items };
        differences.extend(conserved.unwrap_or_default());
        Ok(Some(Audit::of(before.funds, earlier.unwrap_or_default(), differences, Some(busy))))
    }

    /// The account's funds, of one moment if that can be read.
    async fn audit_snapshot(&self, account: &AccountId) -> Result<Option<Snapshot>, StoreError> {
        for attempt in 0..SNAPSHOT_TRIES {
            let Some(seen) = self.account_standing(account).await? else { return Ok(None) };
            if seen.lanes.len() >= MOST_ITEMS {
                return Ok(Some(Snapshot { funds: funds_of(&seen.account, &seen.lanes), atomic: false }));
            }
            let items = seen.lanes.iter().map(|lane| lane.place().item());
            let items = std::iter::once(ACCOUNT_ITEM.to_owned()).chain(items).collect();
            if let Some((now, lanes)) = self.audit_moment(account, items).await?
                && now.last_key == seen.account.last_key
                && has_every_lane(&lanes)
            {
                return Ok(Some(Snapshot { funds: funds_of(&now, &lanes), atomic: true }));
            }
            backoff(attempt).await;
        }
        let seen = self.account_standing(account).await?;
        Ok(seen.map(|seen| Snapshot { funds: funds_of(&seen.account, &seen.lanes), atomic: false }))
    }

    /// The account and the lanes in these items at one moment; none if something wrote one of them meanwhile.
    async fn audit_moment(
        &self,
        account: &AccountId,
        items: Vec<String>,
    ) -> Result<Option<(Account, Vec<KeyRecord>)>, StoreError> {
        const OPERATION: &str = "audit_moment";
        let item = |item: String| {
            let get = Get::builder().table_name(&self.tables.accounts);
            let get = get.key(ACCOUNT, text(account.as_str())).key(ITEM, text(item)).build();
            Ok(TransactGetItem::builder().get(built(OPERATION, get)?).build())
        };
        let items = items.into_iter().map(item).collect::<Result<_, _>>()?;
        let read = match self.client.transact_get_items().set_transact_items(Some(items)).send().await {
            Ok(read) => read,
            Err(error) => {
                let canceled = error.as_service_error().is_some_and(|error| error.is_transaction_canceled_exception());
                return if canceled { Ok(None) } else { Err(StoreError::of(OPERATION, error)) };
            }
        };
        let (mut account, mut lanes) = (None, Vec::new());
        for item in read.responses.unwrap_or_default().into_iter().filter_map(|response| response.item) {
            match Item(&item).text(ITEM) {
                Some(ACCOUNT_ITEM) => account = account_of(&item),
                _ => lanes.push(KeyRecord::of(&item)?),
            }
        }
        Ok(account.map(|account| (account, lanes)))
    }

    /// The whole ledger of the account that has these funds, summed up as it is read.
    async fn audit_ledger(
        &self,
        account: &AccountId,
        funds: &Funds,
        each: &mut impl FnMut(),
    ) -> Result<LedgerSums, StoreError> {
        const OPERATION: &str = "audit_ledger";
        let query = self.client.query().table_name(&self.tables.ledger).limit(PAGE).consistent_read(true);
        let query =
            query.key_condition_expression("#a = :a").projection_expression("#e, #kind, #amount, #hold, #key, #unpaid");
        let names = [
            ("#a", ACCOUNT),
            ("#e", ENTRY),
            ("#kind", KIND),
            ("#amount", AMOUNT),
            ("#hold", HOLD),
            ("#key", KEY),
            ("#unpaid", UNPAID),
        ];
        let query =
            names.into_iter().fold(query, |query, (name, attribute)| query.expression_attribute_names(name, attribute));
        let query = query.expression_attribute_values(":a", text(account.as_str()));
        let mut items = query.into_paginator().items().send();
        let mut sums = LedgerSums::new(funds);
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| StoreError::of(OPERATION, error))?;
            let line = line_of(&item).ok_or_else(|| {
                let entry = Item(&item).text(ENTRY).unwrap_or("?");
                StoreError::new(OPERATION, format!("entry {entry} of account {account} is not readable"))
            })?;
            sums.add(line);
            each();
        }
        Ok(sums)
    }
}

impl Audit {
    fn of(funds: Funds, sums: LedgerSums, differences: Vec<Difference>, busy: Option<Busy>) -> Self {
        let notices = audit::notices(&funds, &sums);
        Self { funds, sums, differences, notices, busy }
    }
}

/// Whether no lane was opened since it was known which items there are; a key says in its first lane how many it has.
fn has_every_lane(lanes: &[KeyRecord]) -> bool {
    lanes.chunk_by(|a, b| a.id == b.id).all(|key| {
        let opened = key.first().map_or(0, |first| first.allowance.lanes);
        usize::try_from(opened).is_ok_and(|opened| key.len() >= opened)
    })
}

fn funds_of(account: &Account, lanes: &[KeyRecord]) -> Funds {
    let lanes = lanes.iter().map(|lane| ((lane.id, lane.lane), LaneFunds::from(&lane.allowance)));
    Funds { balance: account.balance, paid_in: account.paid_in, lanes: lanes.collect() }
}

/// What the audit needs of an entry. An amount that is not there is no amount of nothing.
fn line_of(attributes: &Attributes) -> Option<Line> {
    let item = Item(attributes);
    Some(Line {
        id: RequestId::parse(item.text(ENTRY)?)?,
        kind: EntryKind::parse(item.text(KIND)?)?,
        amount: Nanos(item.number(AMOUNT)?),
        hold: item.number(HOLD),
        key: item.number(KEY).map(KeyId),
        unpaid: item.nanos(UNPAID),
    })
}
