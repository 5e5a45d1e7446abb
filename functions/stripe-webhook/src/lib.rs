//! `POST /webhooks/stripe`: what Stripe says has happened to payments. It asks no authorizer: the signature says who speaks.
//!
//! 200 tells Stripe not to send the event again, so it is said when the event is booked, or never will be. Whatever else is
//! said, Stripe sends it again, for three days.

use gateway_core::{
    error::{ApiError, ErrorCode},
    moment::UnixMs,
    payment::{
        self, Booking, Event, Meaning, Origin,
        signature::{self, Unsigned},
    },
};
use gateway_lambda::{METRICS, Request, Response};
use gateway_store::{Booked, PaymentSecrets, Store};
use serde::Serialize;

/// What the function reaches.
#[derive(Clone)]
pub struct App {
    /// The accounts and the ledger.
    pub store: Store,
    /// What webhooks are signed with.
    pub secrets: PaymentSecrets,
}

/// So long after a dispute of a payment that is not known, the payment may still be on its way. Later it is somebody else's,
/// who takes payments with the same Stripe account: a dispute does not say whose it is.
const ON_ITS_WAY_MS: u64 = 60 * 60 * 1000;

#[derive(Serialize)]
struct Received {
    received: bool,
}

/// POST /webhooks/stripe
///
/// # Errors
/// 400 for a signature that is not right; 503 where there is no secret to check it with; 500 if the event could not be booked
/// now.
pub async fn handle(app: &App, request: Request) -> Result<Response, ApiError> {
    let secrets = app.secrets.current(request.at).await?;
    let header = request.header("stripe-signature").unwrap_or_default();
    signature::verify(header, &request.body, secrets.webhook_secrets()?, request.at).map_err(refused)?;
    let event = payment::read(&request.body).map_err(unreadable)?;
    let Event { id, kind, meaning } = &event;
    match meaning {
        Meaning::Book(booking) => book(app, &request, id, booking).await?,
        Meaning::Nothing(why) => tracing::info!(event = id, kind, why, "nothing to book"),
        Meaning::Unbookable(why) => unbookable(id, why),
        Meaning::RefundFailed { payment, refund } => match app.store.payment(payment).await? {
            Some(known) => {
                let account = known.account.as_str();
                unbookable(id, &format!("{refund} failed: what {account} gave back of {payment} is with you again"));
            }
            None => tracing::info!(event = id, payment, "nothing to book: somebody else's refund"),
        },
    }
    Ok(Response::json(200, &Received { received: true }))
}

async fn book(app: &App, request: &Request, event: &str, booking: &Booking) -> Result<(), ApiError> {
    let (payment, entry) = (booking.payment.as_str(), booking.entry.as_str());
    match app.store.payment_book(booking).await? {
        Booked::Now => tracing::info!(event, payment, entry, what = booking.description(), "booked"),
        Booked::Before => tracing::info!(event, payment, "booked before"),
        Booked::NoAccount => unbookable(event, "there is no such account here"),
        Booked::NoPayment if may_come(app, booking, request.at).await? => {
            return Err(ApiError::internal(format!("{event}: the payment {payment} is not known yet")));
        }
        Booked::NoPayment => tracing::info!(event, payment, "nothing to book: somebody else's payment"),
    }
    Ok(())
}

/// Whether the payment that something happened to is one of ours, whose own event is on its way. An account that is not here
/// is another stack's, with the same Stripe account: what is never booked must not be sent again for days.
async fn may_come(app: &App, booking: &Booking, now: UnixMs) -> Result<bool, ApiError> {
    Ok(match &booking.origin {
        Origin::Ours(account) => app.store.account(account).await?.is_some(),
        Origin::Others => false,
        Origin::Unsaid => now < booking.entry.at().plus_ms(ON_ITS_WAY_MS),
    })
}

/// Money has come or gone that is in no account's books. Sent again it would be no better: this is for the operator.
fn unbookable(event: &str, why: &str) {
    tracing::error!(target: METRICS, payments_unbooked = 1, event, why, "a payment could not be booked");
}

/// The parser's own message could quote the customer.
fn unreadable(error: serde_json::Error) -> ApiError {
    let (line, column) = (error.line(), error.column());
    ApiError::internal(format!("an event is not of its type's form (line {line}, column {column} of it or its object)"))
}

fn refused(why: Unsigned) -> ApiError {
    let message = "The Stripe-Signature header is not a signature of this body, by a secret of this webhook's, of now";
    let (param, cause) = (Some("Stripe-Signature".to_owned()), Some(why.to_string()));
    ApiError { param, cause, ..ApiError::new(ErrorCode::InvalidParameter, message) }
}
