//! The tables: called as the operator's command line calls them, with the attributes that the store writes.

use std::collections::{BTreeMap, BTreeSet};

use gateway_store::Tables;

use crate::{template::Template, tree};

/// Where what is written expires. The others are kept for good: the ledger is the books.
const EXPIRING: [&str; 3] = ["AccountsTable", "PeopleTable", "TokensTable"];

/// The values of the store's constants for attributes' names, by the constants' names.
fn attributes() -> BTreeMap<String, String> {
    let code = tree::read("functions/shared/gateway-store/src/attributes.rs");
    let constants = code.lines().filter_map(|line| line.strip_prefix("pub(crate) const ")?.split_once(": &str = "));
    constants.map(|(name, value)| (name.to_owned(), value.trim_matches(['"', ';']).to_owned())).collect()
}

#[test]
fn every_table_is_called_as_the_operator_s_command_line_calls_it() {
    let Tables { accounts, tokens, ledger, usage, people } = Tables::of_stack("${AWS::StackName}");
    let mut called = vec![("AccountsTable", accounts), ("TokensTable", tokens), ("LedgerTable", ledger)];
    called.extend([("UsageTable", usage), ("PeopleTable", people)]);
    let template = Template::load();
    let tables = template.resources("AWS::DynamoDB::Table").into_iter();
    let tables: BTreeMap<_, _> = tables.map(|(id, table)| (id.as_str(), table["TableName"]["Sub"].as_str())).collect();
    assert_eq!(tables, called.iter().map(|(id, name)| (*id, Some(name.as_str()))).collect());
}

#[test]
fn every_attribute_that_a_table_knows_is_one_of_the_store_s() {
    let written: BTreeSet<_> = attributes().into_values().collect();
    for (table, properties) in Template::load().resources("AWS::DynamoDB::Table") {
        for attribute in properties["AttributeDefinitions"].as_array().unwrap() {
            let name = attribute["AttributeName"].as_str().unwrap();
            assert!(written.contains(name), "{table}: the store writes no {name}");
        }
    }
}

#[test]
fn what_expires_does_so_by_the_store_s_own_attribute_and_the_books_never_do() {
    let ttl = &attributes()["TTL"];
    for (table, properties) in Template::load().resources("AWS::DynamoDB::Table") {
        let expires = properties["TimeToLiveSpecification"]["AttributeName"].as_str();
        assert_eq!(expires, EXPIRING.contains(&table.as_str()).then_some(ttl.as_str()), "{table}");
    }
}
