//! How AWS is reached. A function's environment has all that it needs, so it links no reader of profiles, no STS and no
//! instance metadata: that is a tenth of the authorizer's binary. The operator's machine may need any of them.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, SdkConfig,
    ecs::EcsCredentialsProvider,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    meta::{credentials::CredentialsProviderChain, region::ProvideRegion},
    provider_config::ProviderConfig,
    retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;

use crate::https;

/// The SDK's defaults do not change under us.
fn behaviour() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(10))
        .build()
}

/// Region, credentials and `AWS_ENDPOINT_URL` as Lambda sets them: the credentials in variables, or where they must be
/// renewed while a process lives, behind the address that `AWS_CONTAINER_CREDENTIALS_FULL_URI` names.
pub(crate) async fn of_function() -> SdkConfig {
    let client = https::client();
    let container = ProviderConfig::default().with_http_client(client.clone());
    let credentials = CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("container", EcsCredentialsProvider::builder().configure(&container).build());
    let mut config = SdkConfig::builder()
        .behavior_version(behaviour())
        .http_client(client)
        .region(EnvironmentVariableRegionProvider::new().region().await)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts());
    config.set_endpoint_url(endpoint_url());
    config.build()
}

/// As the AWS command line finds them.
pub async fn of_operator() -> SdkConfig {
    aws_config::defaults(behaviour()).http_client(https::client()).timeout_config(timeouts()).load().await
}

#[expect(clippy::disallowed_methods, reason = "a client is made once, at start-up")]
fn endpoint_url() -> Option<String> {
    std::env::var("AWS_ENDPOINT_URL").ok().filter(|url| !url.is_empty())
}
