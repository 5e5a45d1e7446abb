//! Where events/ comes from: every file is made here, out of the event that the local gateway makes of such a request, so
//! none can fall behind the routes or the events' form.
//!
//! `UPDATE_EVENTS=1 cargo test -p tests --test tidy event_files` writes them; without it they are compared. They name an
//! account and keys that exist nowhere: whoever invokes a function with them puts in their own, as tests/deploy does.

use std::collections::{BTreeMap, HashMap};

use gateway_core::moment::UnixMs;
use http::Request;
use modelswitch::event::{self, Platform};
use serde_json::{Value, json};

use crate::tree;

const ACCOUNT: &str = "acct_0123456789ABCDEF";
const OTHER_ACCOUNT: &str = "acct_0123456789ABCDEG";
/// Made with the account: key 1 opens /v1, key 2 opens /api.
const PROXY: Option<&str> = Some("1");
const BILLING: Option<&str> = Some("2");
/// A key that no account has.
const UNKNOWN: Option<&str> = Some("4000000000");
/// No token, and of no token's form.
const PLACEHOLDER: &str = "Bearer ms-PUT-A-KEY-HERE";
/// 2026-09-21T14:13:20Z.
const AT: UnixMs = UnixMs(1_790_000_000_000);
const HOST: &str = "abcdefghij.execute-api.us-east-1.amazonaws.com";

const CHAT: &str = "/v1/chat/completions";
const EMBEDDINGS: &str = "/v1/embeddings";
const MODEL: &str = "/v1/models/{id+}";
const KEYS: &str = "/api/keys";
const KEY: &str = "/api/keys/{id}";
const PAYMENTS: &str = "/api/payments";
const WEBHOOK: &str = "/webhooks/stripe";
/// A signature of [`PAID`], at the events' time, with the secret `whsec_example`.
const SIGNATURE: &str = "t=1790000000,v1=bee5abebad884f233ce6a388f81775abb0d12fb33cfd0c4dab2fe20704b543cd";
const PAID: &str = r#"{"id":"evt_example","object":"event","api_version":"2026-10-28.endive","created":1790000000,"livemode":false,
"type":"checkout.session.completed","data":{"object":{"id":"cs_test_example","object":"checkout.session","mode":"payment",
"created":1789999940,"status":"complete","payment_status":"paid","amount_total":2500,"currency":"usd",
"payment_intent":"pi_example","client_reference_id":"acct_0123456789ABCDEF","metadata":{"account":"acct_0123456789ABCDEF"}}}}"#;

/// (events/ file, what is in it)
type File = (String, Value);

/// The event of a request: `route` is a method and the path's template, `parameter` what stands for its braces.
fn request(file: &str, route: (&str, &str), parameter: &str, query: &str, key: Option<&str>, body: &str) -> File {
    let (method, resource) = route;
    let name = resource.split(['{', '}', '+']).nth(1);
    let path = match name {
        Some(_) => format!("{}{parameter}{}", until(resource, '{'), resource.rsplit('}').next().unwrap()),
        None => resource.to_owned(),
    };
    let mut sent = Request::builder().method(method).uri(format!("{path}{query}"));
    for (name, value) in [("accept", "*/*"), ("authorization", PLACEHOLDER), ("user-agent", "curl/8.9.1")] {
        sent = sent.header(name, value);
    }
    if !body.is_empty() {
        sent = sent.header("content-type", "application/json");
    }
    if [("POST", KEYS), ("POST", PAYMENTS)].contains(&(method, resource)) {
        sent = sent.header("idempotency-key", "example-1");
    }
    let (parts, ()) = sent.body(()).unwrap().into_parts();
    let parameters: HashMap<_, _> = name.map(|name| (name.to_owned(), parameter.to_owned())).into_iter().collect();
    let fields = key.map(|key| BTreeMap::from([("account", ACCOUNT), ("key", key)].map(owned)));
    let principal = key.map(|key| format!("{ACCOUNT}/{key}"));
    let caller = principal.as_deref().zip(fields.as_ref());
    let platform = Platform { request_id: &request_id(file), at: AT, address: HOST, resource };
    let event = event::proxy_event(&parts, body.as_bytes().to_vec(), parameters, caller, platform);
    (file.to_owned(), as_sent(serde_json::to_value(event).unwrap()))
}

/// The event of a webhook of Stripe's, with this signature.
fn webhook(file: &str, signature: &str) -> File {
    let sent = Request::post(WEBHOOK).header("accept", "*/*; q=0.5, application/xml");
    let sent = sent.header("content-type", "application/json; charset=utf-8").header("stripe-signature", signature);
    let (parts, ()) = sent.header("user-agent", "Stripe/1.0").body(()).unwrap().into_parts();
    let platform = Platform { request_id: &request_id(file), at: AT, address: HOST, resource: WEBHOOK };
    let event = event::proxy_event(&parts, PAID.as_bytes().to_vec(), HashMap::new(), None, platform);
    (file.to_owned(), as_sent(serde_json::to_value(event).unwrap()))
}

/// An id of the file's own: a function takes two events with one id for one request that was delivered twice.
fn request_id(file: &str) -> String {
    let number = file.bytes().fold(0_u64, |number, byte| (number * 31 + u64::from(byte)) % 1_000_000_000_000);
    format!("00000000-0000-4000-8000-{number:012}")
}

fn until(text: &str, end: char) -> &str {
    text.split(end).next().unwrap()
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// API Gateway sends null where there is none: no query, no parameters, no authorizer's context.
fn as_sent(value: Value) -> Value {
    match value {
        Value::Object(fields) if fields.is_empty() => Value::Null,
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, as_sent(value))).collect(),
        value => value,
    }
}

fn token(file: &str, authorization: &str, route: (&str, &str)) -> File {
    let arn = event::method_arn(&route.0.parse().unwrap(), route.1);
    (file.to_owned(), serde_json::to_value(event::token_event(authorization, &arn)).unwrap())
}

/// A batch of the ledger's stream, one record for each account.
fn stream(file: &str, accounts: &[&str]) -> File {
    let records = accounts.iter().zip(0..).map(|(account, number): (_, u64)| {
        let (account, entry) = (json!({"S": account}), json!({"S": format!("01M83VVDBR000000000000000{number}")}));
        let usage = [11, 0, 0, 0, 2, 0, 0].map(|tokens| json!({"N": tokens.to_string()}));
        let image = json!({
            "account": account, "entry": entry, "kind": {"S": "usage"}, "amount": {"N": "-1900"}, "key": {"N": "1"},
            "model": {"S": "gpt-4o-mini"}, "provider": {"S": "openai"}, "usage": {"L": usage},
        });
        json!({
            "eventID": format!("{number:032x}"), "eventName": "INSERT", "eventVersion": "1.1",
            "eventSource": "aws:dynamodb", "awsRegion": "us-east-1",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/modelswitch-ledger/stream/2026-09-21T14:00:00.000",
            "dynamodb": {
                "ApproximateCreationDateTime": AT.0 / 1000, "Keys": {"account": account, "entry": entry}, "NewImage": image,
                "SequenceNumber": format!("1111{number:020}"), "SizeBytes": 214,
                "StreamViewType": "NEW_IMAGE",
            },
        })
    });
    (file.to_owned(), json!({"Records": records.collect::<Vec<_>>()}))
}

fn schedule(file: &str, rule: &str) -> File {
    let rule = format!("arn:aws:events:us-east-1:123456789012:rule/modelswitch-{rule}");
    let event = json!({
        "version": "0", "id": "00000000-0000-4000-8000-000000000001", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "123456789012", "time": "2026-09-21T14:13:20Z", "region": "us-east-1",
        "resources": [rule], "detail": {},
    });
    (file.to_owned(), event)
}

/// The routes that proxy keys open.
fn for_proxy_keys() -> Vec<File> {
    let chat = |more: &str| {
        format!(r#"{{"model":"modelswitch/echo","messages":[{{"role":"user","content":"Hello!"}}]{more}}}"#)
    };
    let streamed = chat(r#","stream":true,"stream_options":{"include_usage":true}"#);
    let unknown_model = chat("").replace("modelswitch/echo", "no-such-model");
    let broken = r#"{"model":"modelswitch/echo","messages":["#;
    let embedding = r#"{"model":"text-embedding-3-small","input":"Hello!","encoding_format":"float"}"#;
    vec![
        request("chat-completions/answer", ("POST", CHAT), "", "", PROXY, &chat("")),
        request("chat-completions/stream", ("POST", CHAT), "", "", PROXY, &streamed),
        request("chat-completions/broken-json", ("POST", CHAT), "", "", PROXY, broken),
        request("chat-completions/unknown-model", ("POST", CHAT), "", "", PROXY, &unknown_model),
        request("embeddings/answer", ("POST", EMBEDDINGS), "", "", PROXY, embedding),
        request(
            "embeddings/missing-input",
            ("POST", EMBEDDINGS),
            "",
            "",
            PROXY,
            r#"{"model":"text-embedding-3-small"}"#,
        ),
        request("models/list", ("GET", "/v1/models"), "", "", PROXY, ""),
        request("models/show", ("GET", MODEL), "modelswitch/echo", "", PROXY, ""),
        request("models/unknown-model", ("GET", MODEL), "no-such-model", "", PROXY, ""),
        request("auth-key/show", ("GET", "/v1/auth/key"), "", "", PROXY, ""),
        request("auth-key/show-alias", ("GET", "/v1/key"), "", "", PROXY, ""),
        request("auth-key/unknown-key", ("GET", "/v1/auth/key"), "", "", UNKNOWN, ""),
    ]
}

/// The routes that billing keys open.
fn for_billing_keys() -> Vec<File> {
    let change = r#"{"name":"Staging","spend_limit":25,"spend_limit_reset":"monthly"}"#;
    let payment = r#"{"amount":25,"return_url":"https://app.example/billing"}"#;
    vec![
        request("balance/show", ("GET", "/api/balance"), "", "", BILLING, ""),
        request("balance/unknown-key", ("GET", "/api/balance"), "", "", UNKNOWN, ""),
        request("usage/list", ("GET", "/api/usage"), "", "?limit=2&offset=0", BILLING, ""),
        request("usage/bad-limit", ("GET", "/api/usage"), "", "?limit=51", BILLING, ""),
        request("usage/stats", ("GET", "/api/usage/stats"), "", "?groupBy=model", BILLING, ""),
        request("usage/export", ("GET", "/api/usage/export"), "", "?format=csv", BILLING, ""),
        request("transactions/list", ("GET", "/api/transactions"), "", "?limit=2&offset=0", BILLING, ""),
        request("transactions/bad-limit", ("GET", "/api/transactions"), "", "?limit=0", BILLING, ""),
        request("keys/list", ("GET", KEYS), "", "", BILLING, ""),
        request("keys/create", ("POST", KEYS), "", "", BILLING, r#"{"name":"Production"}"#),
        request("keys/missing-name", ("POST", KEYS), "", "", BILLING, "{}"),
        request("keys/show", ("GET", KEY), "1", "", BILLING, ""),
        request("keys/unknown-key", ("GET", KEY), UNKNOWN.unwrap(), "", BILLING, ""),
        request("keys/change", ("PUT", KEY), "1", "", BILLING, change),
        request("keys/change-alias", ("PATCH", KEY), "1", "", BILLING, r#"{"active":false}"#),
        request("keys/rotate", ("POST", "/api/keys/{id}/rotate"), "1", "", BILLING, r#"{"grace_seconds":0}"#),
        request("keys/delete", ("DELETE", KEY), "1", "", BILLING, ""),
        request("payments/create", ("POST", PAYMENTS), "", "", BILLING, payment),
        request("payments/bad-amount", ("POST", PAYMENTS), "", "", BILLING, &payment.replace("25", "0.5")),
    ]
}

/// What needs no key, or is no request.
fn others() -> Vec<File> {
    vec![
        token("authorizer/proxy-key", PLACEHOLDER, ("POST", CHAT)),
        token("authorizer/malformed-key", "Bearer ms-not-a-key", ("POST", CHAT)),
        token("authorizer/no-scheme", "mk-not-a-key", ("GET", "/api/balance")),
        request("dashboard/sign-in", ("GET", "/dashboard/{proxy+}"), "sign-in", "", None, ""),
        request("dashboard/signed-out", ("GET", "/dashboard"), "", "", None, ""),
        request("dashboard/forged-form", ("POST", "/dashboard/{proxy+}"), "sign-in", "", None, "email=a%40b.example"),
        request("unknown-route/unknown-path", ("GET", "/{proxy+}"), "v2/chat/completions", "", None, ""),
        request("unknown-route/wrong-method", ("DELETE", CHAT), "", "", None, ""),
        webhook("stripe-webhook/paid", SIGNATURE),
        webhook("stripe-webhook/bad-signature", "t=1790000000,v1=0000"),
        stream("usage-rollup/served", &[ACCOUNT, OTHER_ACCOUNT, ACCOUNT]),
        stream("usage-rollup/no-account", &[ACCOUNT, "nobody"]),
        stream("low-balance/booked", &[ACCOUNT, OTHER_ACCOUNT, ACCOUNT]),
        stream("low-balance/no-account", &[ACCOUNT, "nobody"]),
        schedule("hold-expirer/scheduled", "HoldExpirerFunctionSweep-EXAMPLE"),
    ]
}

#[test]
fn every_event_is_as_it_is_made_here() {
    let update = gateway_lambda::environment("UPDATE_EVENTS").is_some();
    let mut there: Vec<_> = tree::files("events").iter().map(|path| path.display().to_string()).collect();
    for (name, event) in [for_proxy_keys(), for_billing_keys(), others()].concat() {
        let file = format!("events/{name}.json");
        let text = format!("{}\n", serde_json::to_string_pretty(&event).unwrap());
        if update {
            let path = tree::root().join(&file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(tree::read(&file), text, "{file}: UPDATE_EVENTS=1 writes it");
        there.retain(|known| *known != file);
    }
    assert!(there.is_empty(), "nothing makes {there:?}");
}
