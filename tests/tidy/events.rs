//! Every file of events/ is an event that API Gateway, or what else invokes its function, could have sent, and every route
//! has one.

use std::collections::BTreeSet;

use aws_lambda_events::apigw::{ApiGatewayCustomAuthorizerRequest, ApiGatewayProxyRequest};
use gateway_core::{
    ids::{AccountId, KeyId},
    moment::UnixMs,
    token::Token,
};
use serde_json::Value;

use crate::{
    template::{Function, Route, Template},
    tree,
};

/// The function whose events are those of an authorizer.
const AUTHORIZER: &str = "authorizer";

/// What of EventBridge's envelope a schedule's event always has.
const SCHEDULED: [(&str, &str); 3] = [("source", "aws.events"), ("detail-type", "Scheduled Event"), ("version", "0")];

/// Every event of the function, as (file, text).
fn events(function: &str) -> Vec<(String, String)> {
    let files = tree::files(&format!("events/{function}")).into_iter();
    files.map(|file| (file.display().to_string(), tree::read(&file))).collect()
}

fn behind_routes() -> impl Iterator<Item = Function> {
    Template::load().functions().into_iter().filter(|function| !function.routes().is_empty())
}

/// The route's path with the parameters put in.
fn path(event: &ApiGatewayProxyRequest) -> String {
    event.path_parameters.iter().fold(event.resource.clone().unwrap(), |path, (name, value)| {
        path.replace(&format!("{{{name}}}"), value).replace(&format!("{{{name}+}}"), value)
    })
}

/// Whether a filter's pattern lets a record pass: a list names what may stand there.
fn passes(pattern: &Value, record: &Value) -> bool {
    match pattern {
        Value::Object(fields) => fields.iter().all(|(name, pattern)| passes(pattern, &record[name])),
        Value::Array(allowed) => allowed.contains(record),
        _ => false,
    }
}

#[test]
fn every_event_is_one_of_a_route_of_its_function_and_agrees_with_itself() {
    for function in behind_routes() {
        let routes = function.routes();
        for (file, text) in events(&function.name) {
            let event: ApiGatewayProxyRequest =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            let (resource, context) = (event.resource.as_deref().unwrap(), &event.request_context);
            let taken = |route: &&Route| {
                route.path == resource && [event.http_method.as_str(), "ANY"].contains(&route.method.as_str())
            };
            let route = routes.iter().find(taken);
            let route =
                route.unwrap_or_else(|| panic!("{file}: {} {resource} is no route of its function", event.http_method));
            assert_eq!(event.path.as_deref(), Some(path(&event).as_str()), "{file}");
            assert_eq!(context.resource_path.as_deref(), Some(resource), "{file}");
            assert_eq!(context.http_method, event.http_method, "{file}");
            assert_eq!(context.path, event.path.as_ref().map(|path| format!("/live{path}")), "{file}");
            let field = |name: &str| context.authorizer.fields.get(name).and_then(|value| value.as_str());
            assert_eq!(field("account").and_then(AccountId::parse).is_some(), route.authorized, "{file}");
            assert_eq!(field("key").and_then(KeyId::parse).is_some(), route.authorized, "{file}");
        }
    }
}

#[test]
fn every_route_that_asks_the_authorizer_has_an_event() {
    for function in behind_routes() {
        let named = events(&function.name).into_iter().map(|(_, text)| {
            let event: ApiGatewayProxyRequest = serde_json::from_str(&text).unwrap();
            format!("{} {}", event.http_method, event.resource.unwrap())
        });
        let named: BTreeSet<_> = named.collect();
        for route in function.routes().into_iter().filter(|route| route.authorized) {
            assert!(named.contains(&route.name()), "events/{} has none for {}", function.name, route.name());
        }
    }
}

#[test]
fn every_event_of_a_stream_s_function_is_a_batch_that_its_filter_lets_pass() {
    for function in Template::load().functions() {
        for (_, stream) in function.triggers().into_iter().filter(|(kind, _)| *kind == "DynamoDB") {
            let [filter] = stream["FilterCriteria"]["Filters"].as_array().unwrap().as_slice() else { panic!() };
            let pattern: Value = serde_json::from_str(filter["Pattern"].as_str().unwrap()).unwrap();
            for (file, text) in events(&function.name) {
                let event: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
                let records = event["Records"].as_array().unwrap();
                assert!(!records.is_empty(), "{file}");
                for record in records {
                    assert_eq!(record["eventSource"], "aws:dynamodb", "{file}");
                    assert!(record["dynamodb"]["SequenceNumber"].is_string(), "{file}");
                    assert!(passes(&pattern, record), "{file}: {record}");
                }
            }
        }
    }
}

#[test]
fn every_event_of_a_schedule_is_one_of_eventbridge_s() {
    for function in Template::load().functions().into_iter().filter(Function::is_scheduled) {
        for (file, text) in events(&function.name) {
            let event: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            for (field, value) in SCHEDULED {
                assert_eq!(event[field], value, "{file}: {field}");
            }
            assert!(event["time"].as_str().and_then(UnixMs::parse_rfc3339).is_some(), "{file}: time");
            let rule = event["resources"][0].as_str().unwrap();
            assert!(rule.starts_with("arn:aws:events:") && rule.contains(&function.logical_id), "{file}: {rule}");
        }
    }
}

#[test]
fn the_authorizer_s_events_hold_no_token_that_could_be_one() {
    for (file, text) in events(AUTHORIZER) {
        let event: ApiGatewayCustomAuthorizerRequest =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(event.type_.as_deref(), Some("TOKEN"), "{file}");
        assert!(event.method_arn.unwrap().starts_with("arn:aws:execute-api:"), "{file}");
        assert_eq!(Token::from_authorization(&event.authorization_token.unwrap()), None, "{file}");
    }
}
