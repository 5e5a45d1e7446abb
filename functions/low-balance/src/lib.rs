//! Tells accounts that their balance is low, once for each fall, behind the ledger table's stream.
//!
//! Nothing changes a balance without an entry of the ledger, so the stream names every account whose balance may have
//! fallen, or risen again, and no other: an account that nobody uses costs nothing, and one that is used much one reading
//! of its funds a minute. A schedule would read every account, used or not.
//!
//! The stream only says which accounts to look at. A record that comes twice, late or out of order tells nobody twice: see
//! gateway-store's `low_balance.rs`.

use gateway_core::{ids::AccountId, low_balance::LowBalance, money::Nanos};
use gateway_lambda::{BatchResponse, Clock, METRICS, StreamEvent};
use gateway_store::{Account, Mailed, Mailer, Store, StoreError};

/// What the function reaches.
#[derive(Debug, Clone)]
pub struct App {
    /// The accounts.
    pub store: Store,
    /// Who sends emails.
    pub mailer: Mailer,
    /// The page that the email leads to.
    pub billing_page: String,
    /// The time.
    pub clock: Clock,
}

/// Looks at every account that the batch names. The first record of each account that could not be looked at is to come
/// again.
pub async fn handle(app: &App, event: StreamEvent) -> BatchResponse {
    let (accounts, mut response) = event.accounts();
    for (account, sequence_number) in accounts {
        if let Err(error) = look(app, &account).await {
            tracing::error!(account = account.as_str(), %error, "an account's balance could not be looked at");
            response.failed(sequence_number);
        }
    }
    response
}

async fn look(app: &App, id: &AccountId) -> Result<(), StoreError> {
    let Some(standing) = app.store.account_standing(id).await? else { return Ok(()) };
    let (account, told) = (&standing.account, standing.account.low_balance_told);
    let Some(low) = standing.low_balance() else {
        if told {
            app.store.low_balance_over(id).await?;
        }
        return Ok(());
    };
    let now = app.clock.now();
    // First: of all that see the same fall, the one that writes it down sends.
    if told || !app.store.low_balance_tell(id, low, now).await? {
        return Ok(());
    }
    match tell(app, account, low, standing.balance()).await {
        Mailed::Sent => tracing::info!(account = id.as_str(), "the balance is low, and an email says so"),
        Mailed::NotHere => tracing::info!(account = id.as_str(), "the balance is low, and nobody is written to"),
        Mailed::Refused(why) => {
            unsent(id, &why);
            app.store.low_balance_untell(id, now).await?;
        }
        // It may have been sent.
        Mailed::Unknown(why) => unsent(id, &why),
    }
    Ok(())
}

async fn tell(app: &App, account: &Account, low: &LowBalance, balance: Nanos) -> Mailed {
    let Some(email) = &low.email else { return Mailed::NotHere };
    let (threshold, name, id) = (low.threshold, &account.name, &account.id);
    let subject = format!("Your ModelSwitch balance is below {threshold} USD");
    let text = format!(
        "The balance of your account {name} ({id}) is {balance} USD, below the {threshold} USD that you want to be told \
         of.\n\nWhen nothing is left, requests are refused. Top up, or change when you are told:\n{}\n",
        app.billing_page
    );
    app.mailer.mail(email, &subject, &text).await
}

fn unsent(account: &AccountId, why: &str) {
    tracing::error!(target: METRICS, notices_unsent = 1, account = account.as_str(), why, "an email was not sent");
}
