//! A function gets exactly the variables that it reads, and reads exactly those of what its role lets it reach.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{template::Template, tree};

/// How the code reads a variable: `required("NAME")`, `environment("NAME")`.
const READS: [&str; 2] = ["required(\"", "environment(\""];

/// A variable, and what it names.
const VARIABLES: [(&str, &str); 8] = [
    ("ACCOUNTS_TABLE", "AccountsTable"),
    ("TOKENS_TABLE", "TokensTable"),
    ("LEDGER_TABLE", "LedgerTable"),
    ("USAGE_TABLE", "UsageTable"),
    ("PEOPLE_TABLE", "PeopleTable"),
    ("PROVIDER_SECRET", "ProviderSecret"),
    ("OPENID_SECRET", "OpenIdSecret"),
    ("PAYMENTS_SECRET", "PaymentsSecret"),
];

/// A variable that is a parameter of the stack.
const SETTINGS: [(&str, &str); 4] = [
    ("EMAIL_SENDER", "EmailSender"),
    ("SIGN_UP", "SignUp"),
    ("OPENID_ISSUER", "OpenIdIssuer"),
    ("OPENID_CLIENT_ID", "OpenIdClientId"),
];

/// A variable that is the address of a page, with the stack's own domain and without.
const PAGE: (&str, &str) = ("BILLING_PAGE", "/dashboard/billing");

/// The variables that the code under `folder` reads.
fn read(folder: &str) -> BTreeSet<String> {
    let code = tree::code(folder);
    let reads = READS.iter().flat_map(|read| code.split(read).skip(1));
    reads.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned()).collect()
}

fn given(properties: &Value) -> BTreeSet<String> {
    properties["Environment"]["Variables"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

#[test]
fn every_function_is_given_the_variables_that_it_reads_and_no_other() {
    let differs = |name: &str, given: BTreeSet<String>, read: BTreeSet<String>| {
        (given != read).then(|| format!("{name} is given {given:?} and reads {read:?}"))
    };
    let functions = Template::load().functions().into_iter();
    let faults: Vec<_> = functions
        .filter_map(|function| {
            let name = &function.name;
            differs(name, given(function.properties()), read(&format!("functions/{name}/src")))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_variable_names_what_it_says_and_what_the_function_s_role_reaches() {
    let template = Template::load();
    for function in template.functions() {
        let properties = function.properties();
        let policies = Value::from(template.statements(&function).clone()).to_string();
        for (variable, resource) in VARIABLES {
            let value = &properties["Environment"]["Variables"][variable];
            assert!(value.is_null() || value["Ref"] == resource, "{}: {variable}", function.name);
            let reaches =
                [format!("\"{resource}\""), format!("\"{resource}.Arn\"")].iter().any(|it| policies.contains(it));
            assert_eq!(reaches, !value.is_null(), "{}: {variable} and the role", function.name);
        }
        for (variable, parameter) in SETTINGS {
            let value = &properties["Environment"]["Variables"][variable];
            assert!(value.is_null() || value["Ref"] == parameter, "{}: {variable}", function.name);
        }
        let page = &properties["Environment"]["Variables"][PAGE.0];
        assert!(page.is_null() || page.to_string().matches(PAGE.1).count() == 2, "{}: {page}", function.name);
        let named = VARIABLES.iter().chain(&SETTINGS).chain([&PAGE]);
        let known: BTreeSet<_> = named.map(|(name, _)| (*name).to_owned()).collect();
        assert!(given(properties).is_subset(&known), "{}: a variable that this test does not know", function.name);
    }
}

#[test]
fn what_functions_share_reads_what_the_platform_sets_and_what_every_function_is_given() {
    let read = read("functions/shared").into_iter().filter(|name| !name.starts_with("AWS_")).collect();
    assert_eq!(given(Template::load().globals()), read, "functions/shared: what one function reads, its main.rs reads");
}
