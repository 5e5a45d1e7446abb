//! The template's routes, and the rule that each has its tests:
//!
//! tests/api/<function>.rs (dashes as underscores) holds the tests of a function's routes. Every route, written as the
//! string literal `"POST /v1/chat/completions"`, must stand in the body of
//!
//! - a test whose name begins with `unauthorized_` (401),
//! - a test whose name begins with `forbidden_` (403),
//! - a test whose name begins with the name of any other 4xx (`REFUSALS` below).
//!
//! all at the top level of the file. A route that asks no authorizer (`"ANY /{proxy+}"`) needs the last one only. A
//! literal counts as well where it stands in a `const` of the same file that the test's body names, so that one test can
//! go through a list of routes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    template::{OPEN, Route, Template, UNKNOWN_ROUTE},
    tree,
};

/// How the names of tests about a 4xx other than 401 and 403 begin.
const REFUSALS: [&str; 7] = [
    "bad_request_",
    "payment_required_",
    "not_found_",
    "method_not_allowed_",
    "conflict_",
    "too_large_",
    "rate_limited_",
];

/// How long API Gateway lets a stream run, and Lambda a function.
const STREAM_TIMEOUT_MS: u64 = 900_000;

/// The top-level items that begin with `keyword`, by name, each with its text up to `end`.
fn items<'a>(source: &'a str, keyword: &str, end: &str) -> Vec<(&'a str, &'a str)> {
    let mut items = Vec::new();
    for (start, _) in source.match_indices(keyword) {
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        // `async` or `pub` may stand before it; what is indented is inside another item, and comments are no items.
        if source[line_start..].starts_with([' ', '/']) {
            continue;
        }
        let text = &source[start + keyword.len()..];
        let name = &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())];
        items.push((name, &text[..text.find(end).unwrap_or(text.len())]));
    }
    items
}

/// For each test of a file, by name: its text, with that of the constants that it names.
fn tests(source: &str) -> BTreeMap<&str, String> {
    let constants = items(source, "const ", ";\n");
    let mut tests = BTreeMap::new();
    for (name, body) in items(source, "fn ", "\n}") {
        let mut text = body.to_owned();
        for (constant, value) in &constants {
            if body.contains(constant) {
                text.push_str(value);
            }
        }
        tests.insert(name, text);
    }
    tests
}

/// What of the rule the file does not keep for this route.
fn missing<'a>(route: &Route, tests: &BTreeMap<&str, String>) -> Vec<&'a str> {
    let literal = format!("\"{}\"", route.name());
    let has = |beginnings: &[&str]| {
        tests.iter().any(|(name, body)| {
            beginnings.iter().any(|beginning| name.starts_with(beginning)) && body.contains(&literal)
        })
    };
    let mut missing = Vec::new();
    if route.authorized && !has(&["unauthorized_"]) {
        missing.push("unauthorized_…");
    }
    if route.authorized && !has(&["forbidden_"]) {
        missing.push("forbidden_…");
    }
    if !has(&REFUSALS) {
        missing.push("another 4xx");
    }
    missing
}

#[test]
fn every_route_has_its_401_403_and_4xx_tests() {
    let mut faults = Vec::new();
    for function in Template::load().functions() {
        let file = format!("tests/api/{}.rs", function.name.replace('-', "_"));
        let source = std::fs::read_to_string(tree::root().join(&file)).unwrap_or_default();
        if source.is_empty() {
            faults.push(format!("{file} is missing"));
            continue;
        }
        let tests = tests(&source);
        for route in function.routes() {
            faults.extend(missing(&route, &tests).into_iter().map(|what| format!("{file}: {}: {what}", route.name())));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_rule_sees_literals_in_bodies_and_in_named_constants_only() {
    let source = r#"
const ROUTES: [&str; 1] = ["GET /b"];
const MORE: &[&str] =
    &["GET /c"];
#[tokio::test]
async fn unauthorized_without_a_key() {
    call("GET /a", ROUTES).await;
}
#[test]
fn bad_request_for_a_wrong_limit() {
    for route in MORE {}
}
"#;
    let tests = tests(source);
    let route = |path: &str, authorized| Route {
        function: String::new(),
        method: "GET".to_owned(),
        path: path.to_owned(),
        authorized,
        streamed: false,
        timeout_ms: None,
    };
    assert_eq!(missing(&route("/a", true), &tests), ["forbidden_…", "another 4xx"]);
    assert_eq!(missing(&route("/b", false), &tests), ["another 4xx"]);
    assert_eq!(missing(&route("/c", false), &tests), [""; 0]);
    assert_eq!(missing(&route("/d", true), &tests).len(), 3);
}

#[test]
fn every_function_but_the_authorizer_has_a_route_or_another_trigger() {
    for function in Template::load().functions() {
        let called = !function.routes().is_empty() || !function.triggers().is_empty();
        assert_eq!(called, function.name != "authorizer", "nothing calls {}", function.name);
    }
}

#[test]
fn no_route_is_named_twice() {
    let mut seen = BTreeSet::new();
    for route in Template::load().routes() {
        assert!(seen.insert(route.name()), "{} is named twice", route.name());
    }
}

#[test]
fn every_route_asks_the_authorizer_but_those_that_are_open() {
    for route in Template::load().routes() {
        assert_eq!(route.authorized, !OPEN.contains(&route.function.as_str()), "{}", route.name());
        if route.authorized {
            assert!(
                route.path.starts_with("/v1/") || route.path.starts_with("/api/"),
                "{}: no key opens it",
                route.name()
            );
        }
    }
}

#[test]
fn unknown_route_has_what_is_left_of_every_path() {
    let routes = Template::load().routes();
    let (rest, known): (Vec<_>, Vec<_>) = routes.iter().partition(|route| route.function == UNKNOWN_ROUTE);
    let mut paths: BTreeSet<_> = known.iter().map(|route| route.path.as_str()).collect();
    paths.extend(["/", "/{proxy+}"]);
    assert_eq!(rest.iter().map(|route| route.path.as_str()).collect::<BTreeSet<_>>(), paths);
    assert!(rest.iter().all(|route| route.method == "ANY"));
    assert!(
        known.iter().all(|route| route.method != "ANY"),
        "an ANY would take the wrong methods away from unknown-route"
    );
}

#[test]
fn what_streams_streams_everywhere_and_has_the_time_for_it() {
    let template = Template::load();
    for function in template.functions() {
        let routes = function.routes();
        let streams = routes.iter().any(|route| route.streamed);
        for route in &routes {
            assert_eq!(route.streamed, streams, "{}: all of a function's routes stream, or none", route.name());
            assert_eq!(route.timeout_ms, streams.then_some(STREAM_TIMEOUT_MS), "{}", route.name());
        }
        let timeout_s = function.properties()["Timeout"].as_u64();
        let triggered = !function.triggers().is_empty();
        let has_time = streams || triggered;
        assert_eq!(timeout_s, has_time.then_some(STREAM_TIMEOUT_MS / 1000), "{}", function.name);
        let run = match routes.is_empty() {
            false if streams => "run_streaming",
            false => "run_buffered",
            true if triggered => "run_events",
            true => continue,
        };
        let main = tree::read(format!("functions/{}/src/main.rs", function.name));
        assert!(main.contains(run), "functions/{}/src/main.rs does not call {run}", function.name);
    }
}

#[test]
fn a_wrong_method_is_told_the_template_s_own() {
    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for route in Template::load().routes().into_iter().filter(|route| route.function != UNKNOWN_ROUTE) {
        methods.entry(route.path).or_default().insert(route.method);
    }
    let told: BTreeMap<_, BTreeSet<_>> = unknown_route::ROUTES
        .iter()
        .map(|(path, methods)| ((*path).to_owned(), methods.split(", ").map(str::to_owned).collect()))
        .collect();
    assert_eq!(told, methods);
}
