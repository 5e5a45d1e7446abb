//! An HTTP request as the REST proxy event that API Gateway makes of it.
//!
//! It builds AWS's own struct, the one a Lambda function parses out of the event's JSON, and lets AWS's own code turn it
//! into the request that a function sees. So a function can't tell where it runs.

use std::{collections::BTreeMap, collections::HashMap};

use aws_lambda_events::{
    event::apigw::{
        ApiGatewayCustomAuthorizerRequest, ApiGatewayProxyRequest, ApiGatewayProxyRequestContext,
        ApiGatewayRequestAuthorizer, ApiGatewayRequestIdentity,
    },
    query_map::QueryMap,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use gateway_core::moment::UnixMs;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};

const ACCOUNT: &str = "123456789012";
const API_ID: &str = "local";
const STAGE: &str = "live";

/// What Lambda takes: 6 MB of JSON, with all that stands around the body.
const MOST_EVENT_BYTES: usize = 6 * 1024 * 1024;
/// What the event holds beside the body and the headers: the request context, the names.
const ENVELOPE_BYTES: usize = 4096;

/// What API Gateway knows of a request beyond what the client sent.
#[derive(Debug, Clone, Copy)]
pub struct Platform<'a> {
    /// Its own id of the request.
    pub request_id: &'a str,
    /// When it came.
    pub at: UnixMs,
    /// Where it came to, `127.0.0.1:8787`.
    pub address: &'a str,
    /// The route's template.
    pub resource: &'a str,
}

/// The event for a function.
pub fn proxy_event(
    parts: &Parts,
    body: Vec<u8>,
    path_parameters: HashMap<String, String>,
    caller: Option<(&str, &BTreeMap<String, String>)>,
    platform: Platform<'_>,
) -> ApiGatewayProxyRequest {
    let path = path_of(parts);
    let query: QueryMap = match parts.uri.query().unwrap_or_default().parse() {
        Ok(query) => query,
        Err(never) => match never {},
    };
    let multi_value_headers = headers(&parts.headers, platform.address);
    let mut event = ApiGatewayProxyRequest::default();
    event.resource = Some(platform.resource.to_owned());
    event.path = Some(path.to_owned());
    event.http_method = parts.method.clone();
    event.headers = last_values(&multi_value_headers);
    event.request_context = context(parts, &event.headers, caller, platform);
    event.multi_value_headers = multi_value_headers;
    event.query_string_parameters = query.clone();
    event.multi_value_query_string_parameters = query;
    event.path_parameters = path_parameters;
    if !body.is_empty() {
        event.body = Some(String::from_utf8(body).unwrap_or_else(|error| {
            event.is_base64_encoded = true;
            BASE64_STANDARD.encode(error.as_bytes())
        }));
    }
    event
}

/// The event for a TOKEN authorizer.
pub fn token_event(token: &str, method_arn: &str) -> ApiGatewayCustomAuthorizerRequest {
    let mut event = ApiGatewayCustomAuthorizerRequest::default();
    event.type_ = Some("TOKEN".to_owned());
    event.authorization_token = Some(token.to_owned());
    event.method_arn = Some(method_arn.to_owned());
    event
}

/// What policies are about: the API, its stage, the method and the path.
pub fn method_arn(method: &Method, path: &str) -> String {
    format!("arn:aws:execute-api:us-east-1:{ACCOUNT}:{API_ID}/{STAGE}/{method}{path}")
}

/// The path of a request. One to a proxy (`CONNECT host:port`) has none.
pub fn path_of(parts: &Parts) -> &str {
    Some(parts.uri.path()).filter(|path| path.starts_with('/')).unwrap_or("/")
}

/// Whether the event of this body would be more than Lambda takes.
pub fn is_too_large(body: &[u8]) -> bool {
    let room = MOST_EVENT_BYTES - ENVELOPE_BYTES;
    // No byte takes more than six in JSON, so most bodies need no look.
    if body.len() * 6 <= room {
        return false;
    }
    let written = match std::str::from_utf8(body) {
        Ok(_) => body.iter().map(|&byte| written_bytes(byte)).sum(),
        Err(_) => body.len().div_ceil(3) * 4,
    };
    written > room
}

/// How many bytes this byte of a text takes in JSON.
fn written_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// The client's headers, and those that API Gateway sets whatever the client says.
fn headers(sent: &HeaderMap, address: &str) -> HeaderMap {
    let mut headers = sent.clone();
    let known_host = |host: &HeaderValue| {
        let port = address.rsplit(':').next().unwrap_or_default();
        host.as_bytes() == address.as_bytes() || host.as_bytes() == format!("localhost:{port}").as_bytes()
    };
    // API Gateway answers to its own names alone, so whatever a function does with the host, it can't be a client's text.
    if !sent.get(header::HOST).is_some_and(known_host)
        && let Ok(host) = HeaderValue::from_str(address)
    {
        headers.insert(header::HOST, host);
    }
    headers.insert(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static("127.0.0.1"));
    headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("http"));
    headers
}

/// Each header once: the last of its values, as API Gateway has it.
fn last_values(headers: &HeaderMap) -> HeaderMap {
    if headers.len() == headers.keys_len() {
        return headers.clone();
    }
    let mut last = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        last.insert(name.clone(), value.clone());
    }
    last
}

fn context(
    parts: &Parts,
    headers: &HeaderMap,
    caller: Option<(&str, &BTreeMap<String, String>)>,
    platform: Platform<'_>,
) -> ApiGatewayProxyRequestContext {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
    let mut context = ApiGatewayProxyRequestContext::default();
    context.account_id = Some(ACCOUNT.to_owned());
    context.resource_id = Some("local".to_owned());
    context.stage = Some(STAGE.to_owned());
    context.domain_name = text(header::HOST);
    context.domain_prefix = Some(API_ID.to_owned());
    context.request_id = Some(platform.request_id.to_owned());
    context.protocol = Some("HTTP/1.1".to_owned());
    context.identity = ApiGatewayRequestIdentity::default();
    context.identity.source_ip = Some("127.0.0.1".to_owned());
    context.identity.user_agent = text(header::USER_AGENT);
    context.resource_path = Some(platform.resource.to_owned());
    // The stage is in the paths of API Gateway's own domain, and in none of a custom one, which this machine's address is
    // like.
    let stage = if is_own_domain(platform.address) { format!("/{STAGE}") } else { String::new() };
    context.path = Some(format!("{stage}{}", path_of(parts)));
    context.http_method = parts.method.clone();
    context.request_time = Some(request_time(platform.at));
    context.request_time_epoch = i64::try_from(platform.at.0).unwrap_or(i64::MAX);
    context.apiid = Some(API_ID.to_owned());
    if let Some((principal, fields)) = caller {
        let mut authorizer = ApiGatewayRequestAuthorizer::default();
        authorizer.fields =
            fields.iter().map(|(name, value)| (name.clone(), serde_json::Value::from(value.as_str()))).collect();
        authorizer.fields.insert("principalId".to_owned(), serde_json::Value::from(principal));
        context.authorizer = authorizer;
    }
    context
}

/// Whether this is the address that API Gateway gives every API.
fn is_own_domain(address: &str) -> bool {
    address.contains(".execute-api.")
}

/// `23/Nov/2026:09:30:00 +0000`.
fn request_time(at: UnixMs) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // 2026-11-23T09:30:00.000Z
    let text = at.to_string();
    let part = |from, to| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    format!("{}/{}/{}:{} +0000", part(8, 10), month.unwrap_or(&""), part(0, 4), part(11, 19))
}

#[cfg(test)]
mod tests {
    use lambda_http::{RequestExt, request::LambdaRequest};

    use super::*;

    const PLATFORM: Platform<'static> = Platform {
        request_id: "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
        at: UnixMs(1_795_426_200_123),
        address: "127.0.0.1:8787",
        resource: "/v1/models/{id+}",
    };

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn event(request: http::request::Builder, body: &[u8]) -> ApiGatewayProxyRequest {
        let fields = BTreeMap::from([("account".to_owned(), "acct_1".to_owned())]);
        let parameters = HashMap::from([("id".to_owned(), "groq/llama".to_owned())]);
        proxy_event(&parts(request), body.to_vec(), parameters, Some(("acct_1", &fields)), PLATFORM)
    }

    #[test]
    fn the_event_is_the_documented_json() {
        let request =
            http::Request::post("/v1/models/groq/llama?a=1&a=2&b=x%20y").header("x-two", "1").header("x-two", "2");
        let json = serde_json::to_value(event(request, b"{\"a\":1}")).unwrap();
        assert_eq!(json["resource"], "/v1/models/{id+}");
        assert_eq!(json["path"], "/v1/models/groq/llama");
        assert_eq!(json["httpMethod"], "POST");
        assert_eq!(json["headers"]["x-two"], "2");
        assert_eq!(json["headers"]["host"], "127.0.0.1:8787");
        assert_eq!(json["multiValueHeaders"]["x-two"], serde_json::json!(["1", "2"]));
        assert_eq!(json["multiValueQueryStringParameters"]["a"], serde_json::json!(["1", "2"]));
        assert_eq!(json["queryStringParameters"]["b"], "x y");
        assert_eq!(json["pathParameters"], serde_json::json!({"id": "groq/llama"}));
        assert_eq!(json["body"], "{\"a\":1}");
        assert_eq!(json["isBase64Encoded"], false);
        let context = &json["requestContext"];
        assert_eq!(context["requestId"], PLATFORM.request_id);
        assert_eq!(context["requestTime"], "23/Nov/2026:09:30:00 +0000");
        assert_eq!(context["requestTimeEpoch"], 1_795_426_200_123_u64);
        assert_eq!(context["resourcePath"], "/v1/models/{id+}");
        assert_eq!(context["path"], "/v1/models/groq/llama");
        assert_eq!(context["stage"], "live");
        assert_eq!(context["authorizer"]["account"], "acct_1");
        assert_eq!(context["authorizer"]["principalId"], "acct_1");
        assert_eq!(context["identity"]["sourceIp"], "127.0.0.1");
    }

    #[test]
    fn the_stage_is_in_the_paths_of_api_gateway_s_own_domain_alone() {
        let path = |address| {
            let platform = Platform { address, ..PLATFORM };
            let parts = parts(http::Request::get("/dashboard"));
            proxy_event(&parts, Vec::new(), HashMap::new(), None, platform).request_context.path
        };
        assert_eq!(path("abc.execute-api.us-east-1.amazonaws.com").as_deref(), Some("/live/dashboard"));
        assert_eq!(path("gateway.example").as_deref(), Some("/dashboard"));
    }

    #[test]
    fn a_function_sees_the_same_whether_the_event_went_through_json_or_not() {
        let build = || event(http::Request::post("/v1/models/x?q=%C3%BC").header("x-a", "b"), b"{}");
        let direct: lambda_http::Request = LambdaRequest::ApiGatewayV1(build()).into();
        let through = lambda_http::request::from_str(&serde_json::to_string(&build()).unwrap()).unwrap();
        assert_eq!(format!("{:?}", direct.headers()), format!("{:?}", through.headers()));
        assert_eq!(direct.uri(), through.uri());
        assert_eq!(direct.body(), through.body());
        assert_eq!(direct.raw_http_path(), through.raw_http_path());
        assert_eq!(direct.query_string_parameters().first("q"), Some("ü"));
        assert_eq!(through.query_string_parameters().first("q"), Some("ü"));
        assert_eq!(direct.path_parameters(), through.path_parameters());
        let context = |request: &lambda_http::Request| serde_json::to_value(request.request_context()).unwrap();
        assert_eq!(context(&direct), context(&through));
    }

    #[test]
    fn a_body_that_is_no_text_travels_as_base64() {
        let event = event(http::Request::post("/"), &[0xFF, 0x00]);
        assert!(event.is_base64_encoded);
        let request: lambda_http::Request = LambdaRequest::ApiGatewayV1(event).into();
        assert_eq!(request.body().as_ref(), &[0xFF, 0x00]);
    }

    #[test]
    fn no_host_header_can_break_the_event() {
        for host in ["", "a b", "999.1.1.1", "evil.example", "[::1", "\u{7f}x"] {
            let mut request = http::Request::get("/");
            if let Ok(value) = HeaderValue::from_bytes(host.as_bytes()) {
                request = request.header("host", value);
            }
            let event = event(request.header("x-forwarded-proto", "no scheme"), b"");
            assert_eq!(event.headers["host"], "127.0.0.1:8787");
            let request: lambda_http::Request = LambdaRequest::ApiGatewayV1(event).into();
            assert_eq!(request.uri().host(), Some("127.0.0.1"));
        }
        let local = event(http::Request::get("/").header("host", "localhost:8787"), b"");
        assert_eq!(local.headers["host"], "localhost:8787");
    }

    #[test]
    fn what_lambda_would_refuse_is_seen_by_its_size_in_json() {
        assert!(!is_too_large(&vec![b'a'; 6_000_000]));
        assert!(is_too_large(&vec![b'a'; 6_290_000]));
        assert!(is_too_large(&vec![b'"'; 3_200_000]), "a quote takes two bytes");
        assert!(!is_too_large(&vec![b'"'; 3_000_000]));
        assert!(is_too_large(&vec![0xFF; 4_800_000]), "base64 takes four bytes for three");
    }
}
