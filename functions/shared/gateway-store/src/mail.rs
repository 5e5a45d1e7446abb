//! Emails, sent by SES.
//!
//! An email can't be taken back and nobody knows its id before it is sent, so it is asked for once: the SDK's own retries
//! are off, because a reply that was lost may be that of an email which went.

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_sdk_sesv2::{
    Client,
    config::Builder,
    error::{DisplayErrorContext, SdkError},
    types::{Body, Content, Destination, EmailContent, Message},
};
use gateway_core::people::Email;

use crate::aws;

/// Who sends emails, if anybody does.
#[derive(Debug, Clone)]
pub struct Mailer(Option<Sender>);

#[derive(Debug, Clone)]
struct Sender {
    client: Client,
    from: String,
}

/// What became of an email.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mailed {
    /// It is on its way.
    Sent,
    /// Emails are not set up here.
    NotHere,
    /// It was not sent, and why. That names no address.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

impl Mailer {
    /// Nobody.
    pub fn nobody() -> Self {
        Self(None)
    }

    /// SES, with this address as the sender's.
    pub async fn connect(from: String) -> Self {
        Self::new(&aws::of_function().await, from)
    }

    /// The same, reached so.
    pub fn new(config: &SdkConfig, from: String) -> Self {
        let config = Builder::from(config).retry_config(RetryConfig::disabled()).build();
        Self(Some(Sender { client: Client::from_conf(config), from }))
    }

    /// Asks for an email of plain text, once.
    pub async fn mail(&self, to: &Email, subject: &str, text: &str) -> Mailed {
        let Some(Sender { client, from }) = &self.0 else { return Mailed::NotHere };
        let content = |text: &str| Content::builder().data(text).charset("UTF-8").build();
        let (Ok(subject), Ok(text)) = (content(subject), content(text)) else {
            return Mailed::Refused("the email can't be written".to_owned());
        };
        let message = Message::builder().subject(subject).body(Body::builder().text(text).build()).build();
        let email = client.send_email().from_email_address(from);
        let email = email.destination(Destination::builder().to_addresses(to.as_str()).build());
        match email.content(EmailContent::builder().simple(message).build()).send().await {
            Ok(_) => Mailed::Sent,
            Err(SdkError::ServiceError(error)) if error.raw().status().is_client_error() => {
                // SES's words may quote the address.
                Mailed::Refused(error.err().meta().code().unwrap_or("without a reason").to_owned())
            }
            Err(error @ SdkError::ConstructionFailure(_)) => Mailed::Refused(DisplayErrorContext(error).to_string()),
            Err(SdkError::ServiceError(error)) => Mailed::Unknown(format!("status {}", error.raw().status().as_u16())),
            Err(error) => Mailed::Unknown(DisplayErrorContext(error).to_string()),
        }
    }
}
