//! Where a stack in AWS answers, by its own outputs.

use aws_sdk_cloudformation::{Client, types::Output};

use super::Problem;

/// The outputs that say so: the custom domain's, or else API Gateway's own address.
const OUTPUTS: [&str; 2] = ["CustomDomainUrl", "ApiUrl"];

/// The address, `https://gateway.example`.
pub(super) async fn url(stack: &str) -> Result<String, Problem> {
    let client = Client::new(&gateway_store::aws::of_operator().await);
    let described = client.describe_stacks().stack_name(stack).send().await;
    let described = described.map_err(|error| {
        let words = error.into_service_error().to_string();
        Problem::Database(format!("CloudFormation does not describe the stack {stack}: {words}"))
    })?;
    let outputs = described.stacks().first().map(|stack| stack.outputs()).unwrap_or_default();
    url_of(outputs).ok_or_else(|| Problem::new(format!("the stack {stack} does not say where it answers: add --url")))
}

fn url_of(outputs: &[Output]) -> Option<String> {
    let value = |name: &str| outputs.iter().find(|output| output.output_key() == Some(name))?.output_value();
    OUTPUTS.iter().find_map(|name| value(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(key: &str, value: &str) -> Output {
        Output::builder().output_key(key).output_value(value).build()
    }

    #[test]
    fn a_custom_domain_goes_before_api_gateway_s_own_address() {
        let own = output("ApiUrl", "https://abc.execute-api.us-east-1.amazonaws.com/live");
        let custom = output("CustomDomainUrl", "https://gateway.example");
        assert_eq!(url_of(std::slice::from_ref(&own)).as_deref(), own.output_value());
        assert_eq!(url_of(&[own, custom]).as_deref(), Some("https://gateway.example"));
        assert_eq!(url_of(&[output("LedgerTableName", "x")]), None);
    }
}
