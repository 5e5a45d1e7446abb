//! What stands in for SES on this machine: each email is a file in a folder, and nobody is sent anything.
//!
//! The SDK's client stays the real one, as the database's does: only the wire behind it is left out. So a file is here when
//! and only when SES would have been asked, once.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use gateway_store::Mailer;
use serde_json::Value;

const SENDER: &str = "modelswitch@localhost";

/// Who writes emails into this folder, which is made if it is not there.
///
/// # Errors
/// Why there can be no such folder.
pub(crate) fn mailer(folder: &Path) -> Result<Mailer, String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let connector = SharedHttpConnector::new(Post(folder.to_owned()));
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("local"))
        // The client signs what it sends; nobody looks at it.
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "local")))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    Ok(Mailer::new(&config, SENDER.to_owned()))
}

/// Takes what SES is asked to send.
#[derive(Debug)]
struct Post(PathBuf);

impl HttpConnector for Post {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let answer = || HttpResponse::new(StatusCode::from(http::StatusCode::OK), SdkBody::from("{}"));
        let written = write(&self.0, request.body().bytes().unwrap_or_default());
        HttpConnectorFuture::ready(written.map(|()| answer()).map_err(|error| ConnectorError::io(error.into())))
    }
}

/// Writes the email of a `SendEmail` as mail programs read it, under the next number that is free.
fn write(folder: &Path, request: &[u8]) -> io::Result<()> {
    let email: Value = serde_json::from_slice(request)?;
    let part = |pointer| email.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (from, to) = (part("/FromEmailAddress"), part("/Destination/ToAddresses/0"));
    let (subject, text) = (part("/Content/Simple/Subject/Data"), part("/Content/Simple/Body/Text/Data"));
    let kind = "text/plain; charset=utf-8";
    next_file(folder)?
        .write_all(format!("From: {from}\nTo: {to}\nSubject: {subject}\nContent-Type: {kind}\n\n{text}").as_bytes())
}

fn next_file(folder: &Path) -> io::Result<File> {
    let free = (1_u32..).map(|number| File::create_new(folder.join(format!("{number:04}.eml"))));
    let taken =
        |made: &io::Result<File>| made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists);
    free.into_iter().find(|made| !taken(made)).unwrap_or_else(|| Err(io::ErrorKind::StorageFull.into()))
}
