//! The ledger as an account sees it.

use serde::Serialize;

use crate::{
    csv,
    ids::RequestId,
    ledger::{Entry, EntryKind},
    moment::UnixMs,
    money::Nanos,
};

/// What an account sees of its ledger: not the entries that only keep late settlements out.
pub const SHOWN: [EntryKind; 4] = [EntryKind::Usage, EntryKind::Payment, EntryKind::Refund, EntryKind::Adjustment];

/// A change of the account's funds, as lists and exports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// The ledger entry's id.
    pub id: RequestId,
    /// What it adds to the funds; negative for usage and refunds.
    pub amount: Nanos,
    /// `usage`, `payment`, `refund` or `adjustment`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Words for people.
    pub description: String,
    /// When it happened.
    pub created_at: UnixMs,
}

impl From<Entry> for Transaction {
    fn from(entry: Entry) -> Self {
        let served = entry.served.map(|served| format!("{} (key {})", served.model, served.key));
        Self {
            created_at: entry.id.at(),
            id: entry.id,
            amount: entry.amount,
            kind: entry.kind.name(),
            description: entry.description.or(served).unwrap_or_default(),
        }
    }
}

impl Transaction {
    /// The first line of a CSV file of them.
    pub const CSV_HEADER: &'static str = "id,created_at,type,amount,description\n";

    /// Its line of a CSV file.
    pub fn csv(&self) -> String {
        let Self { id, amount, kind, description, created_at } = self;
        format!("{id},{created_at},{kind},{amount},{}\n", csv::field(description))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_spreadsheet_would_take_for_more_are_quoted() {
        let id = RequestId::first_at(UnixMs(1_795_426_200_000));
        let (amount, description) = (Nanos(-1900), "=1+1, \"x\"".to_owned());
        let line = Transaction { created_at: id.at(), id, amount, kind: "usage", description };
        let expected = ",2026-11-23T09:30:00.000Z,usage,-0.0000019,\"'=1+1, \"\"x\"\"\"\n";
        assert_eq!(line.csv().split_once(',').map(|(_, rest)| format!(",{rest}")).as_deref(), Some(expected));
    }
}
