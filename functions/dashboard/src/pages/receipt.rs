//! `/dashboard/billing/receipts/{entry}`: what was paid, and what of it went back, to be printed.

use askama::Template;
use gateway_core::{ids::RequestId, ledger::EntryKind, money::Nanos, payment::Described, transaction::Transaction};
use gateway_store::Payment;

use crate::{
    answer::{Answer, Failure},
    frame::Frame,
    visit::Visit,
    written::When,
};

#[derive(Template)]
#[template(path = "receipt.html")]
struct Receipt<'a> {
    frame: Frame<'a>,
    title: &'a str,
    account: &'a str,
    account_id: &'a str,
    transaction: &'a Transaction,
    amount: Nanos,
    described: Option<Described<'a>>,
    /// The payment that the receipt is of, which says what went back since.
    payment: Option<Payment>,
}

/// What a receipt of the transaction is called; none if it has none.
pub(super) fn title(transaction: &Transaction) -> Option<&'static str> {
    let of_dispute = || Described::read(&transaction.description)?.dispute;
    match EntryKind::parse(transaction.kind)? {
        EntryKind::Payment => Some("Receipt"),
        EntryKind::Refund => Some("Refund"),
        EntryKind::Adjustment if transaction.amount < Nanos::ZERO => of_dispute().map(|_| "Payment disputed"),
        EntryKind::Adjustment => of_dispute().map(|_| "Dispute decided in your favour"),
        EntryKind::Usage | EntryKind::Expired => None,
    }
}

/// GET /billing/receipts/{entry}
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let account = &visit.standing()?.account;
    let entry = RequestId::parse(&visit.parameter).ok_or(Failure::NotFound)?;
    let entry = visit.app.store.ledger_entry(&account.id, &entry).await?.ok_or(Failure::NotFound)?;
    let transaction = Transaction::from(entry);
    let title = title(&transaction).ok_or(Failure::NotFound)?;
    let described = Described::read(&transaction.description);
    let payment = match described.filter(|_| transaction.kind == EntryKind::Payment.name()) {
        Some(described) => visit.app.store.payment(described.payment).await?,
        None => None,
    };
    Answer::page(&Receipt {
        frame: visit.frame(title, "/billing"),
        title,
        account: &account.name,
        account_id: account.id.as_str(),
        transaction: &transaction,
        // The title says which way it went.
        amount: transaction.amount.max(-transaction.amount),
        described,
        payment: payment.filter(|payment| payment.account == account.id),
    })
}
