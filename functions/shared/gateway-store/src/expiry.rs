//! The sweep: ends the holds of requests whose process died, on keys that no request comes to any more. A busy key's are
//! ended in passing by its next request; without the sweep an idle key's would keep their funds until the account runs
//! short.
//!
//! It reads the whole accounts table, eventually consistent, and writes only for a hold that is past its time. A read of
//! 100,000 keys of a kilobyte is 100 MB, or 12,500 read units: $0.0016 a sweep at $0.125 a million, $13.50 a month for one
//! every five minutes. The filter does not make the read cheaper, it spares the network what has no hold. An image that is
//! a second old does no harm: a hold that has ended since is not there to be ended again.

use gateway_core::{moment::UnixMs, money::Nanos};

use crate::{
    Store, StoreError,
    attributes::{ACCOUNT, ACTIVE, AVAILABLE, Attributes, HOLDS, ITEM, Item, flag, number, text},
    key_record::{KEY_ITEMS, KeyRecord},
};

/// Items looked at at a time: about as many as DynamoDB looks at at the most. The embedded engine, unless it is told, looks
/// at all that are left for each page.
const PAGE: i32 = 1_000;

/// The holds of a key's item that were past their time and were ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Those whose request is in the ledger: charged what its entry says.
    pub charged: u64,
    /// Those given back whole.
    pub released: u64,
}

/// What a sweep found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Keys' items that hold something, or have idle funds that their key can't use.
    pub items: u64,
    /// Holds that were past their time and were ended.
    pub expired: Expired,
    /// Items of deactivated and deleted keys whose idle funds went back to the balance.
    pub returned: u64,
    /// Items that could not be swept; the log says why.
    pub failed: u64,
}

impl Store {
    /// Ends every hold of every account that is past its time at `at`, and returns to the balances what a process that
    /// died left in the allowances of deactivated and deleted keys. An item that fails does not keep it from the others.
    /// Two sweeps at a time do what one does.
    ///
    /// # Errors
    /// The table can't be read.
    pub async fn holds_sweep(&self, at: UnixMs) -> Result<Swept, StoreError> {
        let scan = self.client.scan().table_name(&self.tables.accounts).limit(PAGE);
        let scan = scan
            .filter_expression(
                "begins_with(#i, :keys) AND (size(#holds) > :zero OR (#active = :false AND #avail > :zero))",
            )
            .expression_attribute_names("#i", ITEM)
            .expression_attribute_names("#holds", HOLDS)
            .expression_attribute_names("#active", ACTIVE)
            .expression_attribute_names("#avail", AVAILABLE)
            .expression_attribute_values(":keys", text(KEY_ITEMS))
            .expression_attribute_values(":false", flag(false))
            .expression_attribute_values(":zero", number(0));
        let mut found = scan.into_paginator().items().send();
        let mut swept = Swept::default();
        while let Some(item) = found.next().await {
            let item = item.map_err(|error| StoreError::of("holds_sweep", error))?;
            swept.items += 1;
            if let Err(error) = self.item_sweep(&item, at, &mut swept).await {
                swept.failed += 1;
                let account = Item(&item).text(ACCOUNT);
                tracing::error!(account, item = Item(&item).text(ITEM), %error, "a key's item was not swept");
            }
        }
        Ok(swept)
    }

    async fn item_sweep(&self, item: &Attributes, at: UnixMs, swept: &mut Swept) -> Result<(), StoreError> {
        let record = KeyRecord::of(item)?;
        let Expired { charged, released } = self.expire_in_passing(&record, at).await?;
        swept.expired.charged += charged;
        swept.expired.released += released;
        // What a hold that ends gives back to such a key goes on to the balance at once; this is what lay there before.
        if record.allowance.stranded() > Nanos::ZERO {
            self.allowance_return(&record.account, record.id).await?;
            swept.returned += 1;
        }
        Ok(())
    }
}
