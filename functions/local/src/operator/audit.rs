//! `modelswitch audit`

use gateway_core::{
    audit::{Difference, Notice},
    ids::{AccountId, KeyId, RequestId},
    money::Nanos,
};
use gateway_store::{Audit, Busy};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Problem, Report, Session};
use crate::cli::AuditArgs;

/// How many entries go by between two looks of the progress bar.
const WATCHED: u64 = 1000;

/// What was found in all accounts.
#[derive(Default)]
struct Total {
    accounts: u64,
    entries: u64,
    credits: Nanos,
    charged: Nanos,
    left: Nanos,
    differences: Vec<(AccountId, Difference)>,
    notices: Vec<(AccountId, Notice)>,
    busy: Vec<(AccountId, Busy)>,
}

pub(super) async fn run(session: &Session, arguments: AuditArgs) -> Result<Report, Problem> {
    let accounts = match &arguments.account {
        Some(account) => vec![account.clone()],
        None => session.store.account_list().await?.into_iter().map(|account| account.id).collect(),
    };
    let (mut total, progress) = (Total::default(), progress(accounts.len()));
    for account in accounts {
        let mut read: u64 = 0;
        let mut each = || {
            read += 1;
            if read.is_multiple_of(WATCHED) {
                progress.set_message(read.to_string());
            }
        };
        let found = session.store.audit(&account, &mut each).await?;
        let mut found = found.ok_or_else(|| Problem::no_account(&account))?;
        found.differences.extend(session.store.rollup_audit(&account, &mut each).await?);
        total.add(&account, found);
        progress.inc(1);
    }
    progress.finish_and_clear();
    total.report()
}

/// A bar on standard error, if that is a terminal.
fn progress(accounts: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} accounts; entries read of this one: {msg}");
    let bar = ProgressBar::new(u64::try_from(accounts).unwrap_or(u64::MAX)).with_message("0");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

impl Total {
    fn add(&mut self, account: &AccountId, audit: Audit) {
        let Audit { funds, sums, differences, notices, busy } = audit;
        self.accounts += 1;
        self.entries += sums.entries;
        self.credits += sums.credits.amount;
        self.charged += sums.credits.amount - sums.amount;
        self.left += funds.left();
        self.differences.extend(differences.into_iter().map(|difference| (account.clone(), difference)));
        self.notices.extend(notices.into_iter().map(|notice| (account.clone(), notice)));
        self.busy.extend(busy.map(|busy| (account.clone(), busy)));
    }

    fn report(&self) -> Result<Report, Problem> {
        let difference = |(account, it): &(AccountId, Difference)| {
            format!("{account}  {}: expected {} USD, found {} USD", it.what, it.expected, it.found)
        };
        let mut lines: Vec<_> = self.differences.iter().map(difference).collect();
        lines.extend(self.notices.iter().map(|(account, notice)| format!("{account}  notice: {notice}")));
        let counted = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let verdict = match u64::try_from(self.differences.len()).unwrap_or(u64::MAX) {
            0 => "they agree".to_owned(),
            differences => counted(differences, "difference", "differences"),
        };
        lines.push(format!(
            "{}, {}: {} USD in, {} USD charged, {} USD left: {verdict}",
            counted(self.accounts, "account", "accounts"),
            counted(self.entries, "ledger entry", "ledger entries"),
            self.credits,
            self.charged,
            self.left,
        ));
        let view = TotalView {
            accounts: self.accounts,
            entries: self.entries,
            credits: self.credits,
            charged: self.charged,
            left: self.left,
            differences: self.differences.iter().map(DifferenceView::of).collect(),
            notices: self.notices.iter().map(|(account, notice)| NoticeView::of(account, notice)).collect(),
            busy: self.busy.iter().map(|(account, _)| account).collect(),
        };
        Ok(Report {
            failed: !self.differences.is_empty(),
            warnings: self.busy.iter().map(|(account, busy)| warning(account, *busy)).collect(),
            ..Report::new(&view, lines.join("\n"))?
        })
    }
}

/// What is said of an account that never rested.
fn warning(account: &AccountId, busy: Busy) -> String {
    let compared = match busy {
        Busy::Conservation => "its funds were compared with what came in, and each key with itself",
        Busy::Items => "each key was compared with itself alone",
    };
    format!("{account} was not compared with its ledger, because requests run all the time; {compared}")
}

/// The audit for scripts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TotalView<'a> {
    accounts: u64,
    entries: u64,
    credits: Nanos,
    charged: Nanos,
    left: Nanos,
    differences: Vec<DifferenceView<'a>>,
    notices: Vec<NoticeView<'a>>,
    busy: Vec<&'a AccountId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DifferenceView<'a> {
    account: &'a AccountId,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a RequestId>,
    expected: Nanos,
    found: Nanos,
}

impl<'a> DifferenceView<'a> {
    fn of((account, difference): &'a (AccountId, Difference)) -> Self {
        let Difference { what, expected, found } = difference;
        let (key, entry) = (what.key(), what.entry());
        Self { account, what: what.name(), key, entry, expected: *expected, found: *found }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NoticeView<'a> {
    account: &'a AccountId,
    notice: String,
}

impl<'a> NoticeView<'a> {
    fn of(account: &'a AccountId, notice: &Notice) -> Self {
        Self { account, notice: notice.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::audit::{Funds, LedgerSums, What};

    use super::*;

    fn total(differences: Vec<Difference>, busy: Option<Busy>) -> Total {
        let funds = Funds { balance: Nanos::usd(3), paid_in: Nanos::ZERO, lanes: std::collections::BTreeMap::new() };
        let mut sums = LedgerSums::new(&funds);
        sums.entries = 1;
        let notices = vec![Notice::Unpaid(Nanos(5))];
        let mut total = Total::default();
        total.add(&AccountId::from_random([0; 10]), Audit { funds, sums, differences, notices, busy });
        total
    }

    #[test]
    fn an_account_that_never_rested_is_a_warning_and_no_failure() {
        for busy in [Busy::Conservation, Busy::Items] {
            let report = total(Vec::new(), Some(busy)).report().unwrap();
            assert!(!report.failed);
            let [line] = report.warnings.as_slice() else { panic!("{:?}", report.warnings) };
            assert!(line.starts_with("acct_0000000000000000 was not compared with its ledger"), "{line}");
            assert!(report.json.contains(r#""busy":["acct_0000000000000000"]"#), "{}", report.json);
        }
    }

    #[test]
    fn every_difference_and_notice_is_a_line_of_its_account() {
        let differs = Difference { what: What::Spent(KeyId(3)), expected: Nanos(7), found: Nanos(8) };
        let report = total(vec![differs], None).report().unwrap();
        assert!(report.failed && report.warnings.is_empty());
        let lines: Vec<_> = report.text.lines().collect();
        assert_eq!(
            lines,
            [
                "acct_0000000000000000  spent by key 3, by its usage: expected 0.000000007 USD, found 0.000000008 USD",
                "acct_0000000000000000  notice: 0.000000005 USD stayed unpaid that providers billed beyond what requests can cost",
                "1 account, 1 ledger entry: 0.00 USD in, 0.00 USD charged, 3.00 USD left: 1 difference",
            ]
        );
    }
}
