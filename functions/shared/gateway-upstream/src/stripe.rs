//! Stripe, as far as it is asked for something: a page on which a customer pays.
//!
//! Plain HTTP: a form, a pinned version of the API, a bearer. Each order carries an idempotency key, so asking twice makes
//! one page, and an answer that did not arrive may be asked for again. Nothing here may log or show the secret key, and
//! nothing that Stripe says in words reaches a client.

use std::sync::Arc;

use gateway_core::{ids::AccountId, payment::CURRENCY};
use reqwest::{Response, StatusCode, header};
use serde::Deserialize;
use tokio::time::{Duration, sleep, timeout};
use url::form_urlencoded::Serializer;

use crate::{
    client::{self, LazyClient},
    error::UpstreamError,
};

/// Where Stripe answers.
pub const API: &str = "https://api.stripe.com";

/// An attempt's time, of which there may be two: both fit into what API Gateway waits for an answer.
pub const ATTEMPT_MS: u64 = 12_000;

/// The version of the API that this code was written for. Webhooks have their endpoint's own.
const VERSION: &str = "2026-10-28.endive";
/// Its name where a provider's stands.
const STRIPE: &str = "Stripe";
/// What the customer reads that he buys.
const PRODUCT: &str = "Prepaid credit";

const CONNECT_MS: u64 = 3_000;
/// An order is sent again once.
const ATTEMPTS: u32 = 2;
/// Stripe's own libraries wait as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Stripe's client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Stripe {
    url: String,
    attempt: Duration,
    client: Arc<LazyClient>,
}

/// What is to be paid, and where the customer goes from there.
#[derive(Debug, Clone, Copy)]
pub struct CheckoutOrder<'a> {
    /// Who is credited.
    pub account: &'a AccountId,
    /// How much, in cents.
    pub cents: i64,
    /// Where to, when it is paid.
    pub success_url: &'a str,
    /// Where to, when the customer turns back.
    pub cancel_url: &'a str,
}

/// The page that was made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CheckoutSession {
    /// Stripe's id of it.
    pub id: String,
    /// Where it is.
    pub url: String,
}

/// Why an attempt failed, and whether another may do better.
struct Failure {
    error: UpstreamError,
    again: bool,
}

impl Stripe {
    /// Stripe at this URL, which is [`API`] but in tests. An attempt takes this long at the most, and there may be two, half
    /// a second apart.
    pub fn new(url: &str, attempt_ms: u64) -> Self {
        let url = format!("{}/v1/checkout/sessions", url.trim_end_matches('/'));
        Self { url, attempt: Duration::from_millis(attempt_ms), client: Arc::new(LazyClient::new(CONNECT_MS, true)) }
    }

    /// Makes a Checkout Session, one for each idempotency key.
    ///
    /// # Errors
    /// Stripe did not make one, or did not answer in time.
    pub async fn checkout(
        &self,
        secret_key: &str,
        idempotency_key: &str,
        order: CheckoutOrder<'_>,
    ) -> Result<CheckoutSession, UpstreamError> {
        let cents = order.cents.to_string();
        let fields = fields(&order, &cents);
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut attempt = 1;
        loop {
            let asked = timeout(self.attempt, self.ask(secret_key, idempotency_key, &form));
            let late = |_| {
                let error = UpstreamError::TimedOut { provider: STRIPE.to_owned(), what: "no answer came" };
                Err(Failure { error, again: true })
            };
            match asked.await.unwrap_or_else(late) {
                Ok(session) => return Ok(session),
                Err(Failure { error, again }) if !again || attempt == ATTEMPTS => return Err(error),
                Err(Failure { error, .. }) => tracing::warn!(%error, "asked again"),
            }
            attempt += 1;
            sleep(PAUSE).await;
        }
    }

    async fn ask(&self, secret_key: &str, idempotency_key: &str, form: &str) -> Result<CheckoutSession, Failure> {
        let broken = |error: reqwest::Error| failed(client::describe(&error), true);
        let request = self.client.client().map_err(broken)?.post(&self.url).bearer_auth(secret_key);
        let request = request.header("stripe-version", VERSION).header("idempotency-key", idempotency_key);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.to_owned());
        let response = request.send().await.map_err(broken)?;
        let (status, again) = (response.status(), may_ask_again(&response));
        let body = response.bytes().await.map_err(broken)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| failed("its answer has no id and url".to_owned(), false));
        }
        let said: Said = serde_json::from_slice(&body).unwrap_or_default();
        Err(Failure { error: refusal(status, &said.error), again })
    }
}

fn failed(what: String, again: bool) -> Failure {
    Failure { error: UpstreamError::Failed { provider: STRIPE.to_owned(), what }, again }
}

/// Whether the same may be asked again: Stripe says it in a header, or a conflict with ourselves or a failure does.
fn may_ask_again(response: &Response) -> bool {
    match response.headers().get("stripe-should-retry").map(|value| value.as_bytes()) {
        Some(b"true") => true,
        Some(b"false") => false,
        _ => {
            let status = response.status();
            status.is_server_error() || [StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
        }
    }
}

/// What Stripe says of an error beside its words.
#[derive(Default, Deserialize)]
struct Said {
    error: Names,
}

#[derive(Default, Deserialize)]
struct Names {
    code: Option<String>,
    param: Option<String>,
}

/// What a status other than 2xx means. The order is ours, so it is never the client who is at fault.
fn refusal(status: StatusCode, said: &Names) -> UpstreamError {
    let (provider, status) = (STRIPE.to_owned(), status.as_u16());
    // Names alone: what could be words, or a key that it quotes, stays out of the log.
    let is_code = |code: &&String| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let code = said.code.as_ref().filter(is_code);
    let param = said.param.as_deref().and_then(|param| FIELDS.into_iter().find(|known| *known == param));
    tracing::error!(status, code, param, "Stripe refuses");
    match status {
        401 | 403 => UpstreamError::CredentialRefused { provider, status },
        // 409: another request with our idempotency key is not over yet.
        409 | 429 | 503 => UpstreamError::Overloaded { provider, status, retry_after_s: Some(1) },
        400..=499 => UpstreamError::OrderRefused { provider, status },
        _ => UpstreamError::Failed { provider, what: format!("status {status}") },
    }
}

/// The fields of an order.
const FIELDS: [&str; 11] = [
    "mode",
    "client_reference_id",
    // Of the session: who is credited.
    "metadata[account]",
    // Of the payment, which its charges copy: that a refund is ours.
    "payment_intent_data[metadata][account]",
    "line_items[0][quantity]",
    "line_items[0][price_data][currency]",
    "line_items[0][price_data][unit_amount]",
    "line_items[0][price_data][product_data][name]",
    // The books are in dollars: nobody is to be shown, or pay, another currency.
    "adaptive_pricing[enabled]",
    "success_url",
    "cancel_url",
];

/// The order as Stripe wants it written.
fn fields<'a>(order: &CheckoutOrder<'a>, cents: &'a str) -> impl Iterator<Item = (&'static str, &'a str)> {
    let CheckoutOrder { account, success_url, cancel_url, .. } = *order;
    let account = account.as_str();
    let values =
        ["payment", account, account, account, "1", CURRENCY, cents, PRODUCT, "false", success_url, cancel_url];
    FIELDS.into_iter().zip(values)
}

#[cfg(test)]
mod tests {
    use gateway_core::error::ApiError;

    use super::*;
    use crate::scripted::{Scripted, Then, Turn};

    const KEY: &str = "sk_test_marked";
    const SESSION: &str = r#"{"id":"cs_1","object":"checkout.session","url":"https://checkout.stripe.com/c/cs_1"}"#;

    fn answer(status: u16, body: &str) -> Turn {
        Turn::answer(status, "content-type: application/json\r\n", body)
    }

    /// What comes of an order, and all requests that were sent for it.
    async fn asked(turns: impl IntoIterator<Item = Turn>) -> (Result<CheckoutSession, UpstreamError>, Vec<String>) {
        let server = Scripted::turns(turns).await;
        let url = server.endpoint.provider.base_url.trim_end_matches("/v1").to_owned();
        let account = AccountId::parse("acct_0123456789ABCDEF").unwrap();
        let (success_url, cancel_url) = ("https://a.example/?x=1&checkout=success", "https://a.example/?x=1");
        let order = CheckoutOrder { account: &account, cents: 2050, success_url, cancel_url };
        let outcome = Stripe::new(&url, 1_000).checkout(KEY, "once", order).await;
        (outcome, server.requests())
    }

    async fn told(turns: impl IntoIterator<Item = Turn>) -> (u16, usize, String) {
        let (outcome, requests) = asked(turns).await;
        let error = ApiError::from(outcome.unwrap_err());
        let text = format!("{}: {}", error.message, error.cause.unwrap_or_default());
        assert!(!text.contains(KEY), "{text}");
        (error.code.status(), requests.len(), text)
    }

    #[tokio::test]
    async fn an_order_is_a_form_with_a_bearer_a_version_and_an_idempotency_key() {
        let (session, requests) = asked([answer(200, SESSION)]).await;
        let url = "https://checkout.stripe.com/c/cs_1".to_owned();
        assert_eq!(session.unwrap(), CheckoutSession { id: "cs_1".to_owned(), url });
        let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/checkout/sessions HTTP/1.1\r\n"), "{head}");
        for line in [
            "authorization: Bearer sk_test_marked",
            "stripe-version: 2026-10-28.endive",
            "idempotency-key: once",
            "content-type: application/x-www-form-urlencoded",
        ] {
            assert!(head.lines().any(|sent| sent == line), "{line}: {head}");
        }
        let sent: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let field = |name: &str| sent.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        for (name, value) in [
            ("mode", "payment"),
            ("client_reference_id", "acct_0123456789ABCDEF"),
            ("metadata[account]", "acct_0123456789ABCDEF"),
            ("payment_intent_data[metadata][account]", "acct_0123456789ABCDEF"),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", "2050"),
            ("adaptive_pricing[enabled]", "false"),
            ("success_url", "https://a.example/?x=1&checkout=success"),
            ("cancel_url", "https://a.example/?x=1"),
        ] {
            assert_eq!(field(name), value, "{name}");
        }
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_asked_for_again_once_with_the_same_key() {
        let hangs = || Turn(String::new(), Then::Hang);
        let closes = || Turn(String::new(), Then::Close);
        for first in [hangs(), closes(), answer(409, "{}"), answer(429, "{}"), answer(500, "{}"), answer(503, "{}")] {
            let (session, requests) = asked([first.clone(), answer(200, SESSION)]).await;
            assert_eq!(session.unwrap().id, "cs_1", "{first:?}");
            assert_eq!(requests.len(), 2, "{first:?}");
            let without_order = |request: &String| {
                let mut lines: Vec<_> = request.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(without_order(&requests[0]), without_order(&requests[1]));
        }
        assert_eq!(told([hangs(), hangs(), answer(200, SESSION)]).await.0, 504);
        assert_eq!(told([closes(), closes(), answer(200, SESSION)]).await.0, 502);
        let conflict = told([answer(409, "{}"), answer(409, "{}"), answer(200, SESSION)]).await;
        assert_eq!((conflict.0, conflict.1), (503, 2));
    }

    #[tokio::test]
    async fn stripe_says_itself_what_may_be_asked_again() {
        let says = |status, again: &str| Turn::answer(status, &format!("stripe-should-retry: {again}\r\n"), "{}");
        assert_eq!(told([says(500, "false"), answer(200, SESSION)]).await.1, 1);
        assert_eq!(asked([says(400, "true"), answer(200, SESSION)]).await.0.unwrap().id, "cs_1");
    }

    #[tokio::test]
    async fn a_refusal_is_never_the_client_s_and_none_of_stripe_s_words_reach_him() {
        let says = r#"{"error":{"type":"invalid_request_error","code":"amount_too_large","param":"line_items[0][price_data]",
            "message":"marked words and sk_test_marked"}}"#;
        for status in [400, 401, 402, 403, 404] {
            let (told, requests, text) = told([answer(status, says), answer(200, SESSION)]).await;
            assert_eq!((told, requests), (502, 1), "{text}");
            assert!(!text.contains("marked") && !text.contains("line_items"), "{text}");
            assert!(asked([answer(status, says)]).await.0.unwrap_err().is_ours(), "{status}");
        }
        assert!(told([answer(400, says)]).await.2.contains("status 400"));
    }

    #[tokio::test]
    async fn an_answer_that_is_no_session_is_a_failure() {
        assert!(!asked([answer(500, "{}"), answer(500, "{}")]).await.0.unwrap_err().is_ours());
        for body in ["", "[]", r#"{"id":"cs_1"}"#, r#"{"id":"cs_1","url":null}"#, "<html>"] {
            assert_eq!(told([answer(200, body)]).await.0, 502, "{body}");
        }
    }
}
