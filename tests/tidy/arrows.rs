//! Dependencies point one way: function -> gateway-paid -> gateway-{lambda, upstream, store} -> gateway-core -> nothing of
//! ours; gateway-tls stands below gateway-{upstream, store}.

use std::collections::BTreeSet;

use crate::tree::{self, Package};

const CORE: &str = "gateway-core";
/// It joins the books and the providers, so it stands above both.
const PAID: &str = "gateway-paid";
/// Whom we trust on the network: for the two that speak TLS.
const TLS: &str = "gateway-tls";
const MIDDLE: [&str; 3] = ["gateway-lambda", "gateway-store", "gateway-upstream"];

/// What would bring time, chance, the network or AWS into the rules.
const NOT_IN_CORE: [&str; 9] =
    ["tokio", "hyper", "reqwest", "http", "getrandom", "rand", "aws", "lambda", "tracing-subscriber"];

/// What of ours the package may depend on; nothing said: anything but the tests.
fn allowed(package: &Package) -> Option<BTreeSet<&'static str>> {
    let mut allowed = BTreeSet::from([CORE]);
    match package.name.as_str() {
        CORE | TLS => allowed.clear(),
        "gateway-store" | "gateway-upstream" => allowed.extend([TLS]),
        // It sees tokens: no client that could carry one out, and no catalogue to load.
        "authorizer" => allowed.extend(MIDDLE.into_iter().filter(|name| *name != "gateway-upstream")),
        // The process that hosts every function, and the tests.
        "modelswitch" | "tests" => return None,
        PAID => allowed.extend(MIDDLE),
        _ if package.folder.starts_with("functions/shared/") => {}
        _ => allowed.extend(MIDDLE.into_iter().chain([PAID])),
    }
    Some(allowed)
}

#[test]
fn no_package_depends_on_another_of_ours_but_along_the_arrows() {
    let packages = tree::packages();
    let ours: BTreeSet<_> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in &packages {
        for dependency in package.dependencies.iter().map(String::as_str).filter(|name| ours.contains(name)) {
            let may = allowed(package).map_or(dependency != "tests", |allowed| allowed.contains(dependency));
            assert!(may, "{} must not depend on {dependency}", package.name);
        }
    }
}

#[test]
fn the_rules_do_no_input_or_output() {
    let packages = tree::packages();
    let core = packages.iter().find(|package| package.name == CORE).unwrap();
    for dependency in &core.dependencies {
        let family = dependency.split(['-', '_']).next().unwrap();
        assert!(
            !NOT_IN_CORE.contains(&dependency.as_str()) && !NOT_IN_CORE.contains(&family),
            "{CORE} must not depend on {dependency}"
        );
    }
}

#[test]
fn only_the_store_speaks_to_aws_and_only_upstream_to_providers() {
    let packages = tree::packages();
    let functions = tree::functions();
    for package in packages.iter().filter(|package| functions.contains(&package.name)) {
        for dependency in &package.dependencies {
            assert!(
                !dependency.starts_with("aws-") && !["reqwest", "hyper"].contains(&dependency.as_str()),
                "{} must not depend on {dependency}",
                package.name
            );
        }
    }
}

#[test]
fn every_function_is_run_by_gateway_lambda_which_takes_many_events_at_once_and_ends_none_before_its_work() {
    let packages = tree::packages();
    for name in tree::functions() {
        let package = packages.iter().find(|package| package.name == name).unwrap();
        for runtime in ["lambda_http", "lambda_runtime"] {
            assert!(!package.dependencies.contains(runtime), "{name} must not depend on {runtime}");
        }
        let main = tree::read(format!("{}/src/main.rs", package.folder));
        assert_eq!(main.matches("gateway_lambda::run_").count(), 1, "{name}'s main");
    }
    let runs = tree::code("functions/shared/gateway-lambda/src");
    let (concurrent, whole) = (".run_concurrent()", "let whole = WholeInvocations { ");
    assert!(runs.contains(concurrent) && !runs.contains(".run()"));
    assert_eq!(runs.matches(concurrent).count(), runs.matches(whole).count());
    assert_eq!(runs.matches(concurrent).count(), runs.matches(".layer(whole).run_concurrent()").count());
}
