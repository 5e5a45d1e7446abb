//! What can be set of a stack, and what holds for every resource whatever is set.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{template::Template, tree};

/// Collects the names that a part of the template takes from elsewhere in it, by `!Ref`, `!Sub`, `!GetAtt` or a condition.
fn used(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| used(item, names)),
        Value::Object(fields) => {
            for (name, value) in fields {
                let found = match (name.as_str(), value) {
                    ("Ref" | "GetAtt" | "Condition", Value::String(target)) => vec![target.as_str()],
                    ("Sub", Value::String(text)) => {
                        text.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
                    }
                    ("If", Value::Array(arms)) => arms[0].as_str().into_iter().collect(),
                    _ => vec![],
                };
                names.extend(found.into_iter().map(|name| name.split('.').next().unwrap().to_owned()));
                used(value, names);
            }
        }
        _ => {}
    }
}

/// The names that these sections of the template use.
fn used_in(template: &Template, sections: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    sections.iter().for_each(|section| used(template.section(section), &mut names));
    names
}

fn names(section: &Value) -> BTreeSet<String> {
    section.as_object().unwrap().keys().cloned().collect()
}

fn allowed(parameter: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    parameter["AllowedValues"].as_array().into_iter().flatten().map(text).collect()
}

#[test]
fn every_parameter_and_every_condition_is_used() {
    let template = Template::load();
    let in_resources = used_in(&template, &["Globals", "Resources", "Outputs"]);
    let anywhere = &in_resources | &used_in(&template, &["Conditions"]);
    let unused: Vec<_> = names(template.section("Parameters")).difference(&anywhere).cloned().collect();
    assert!(unused.is_empty(), "nothing uses the parameters {unused:?}");
    let unused: Vec<_> = names(template.section("Conditions")).difference(&anywhere).cloned().collect();
    assert!(unused.is_empty(), "nothing uses the conditions {unused:?}");
}

#[test]
fn every_parameter_is_described_bounded_and_in_one_group() {
    let template = Template::load();
    let parameters = template.section("Parameters").as_object().unwrap();
    for (name, parameter) in parameters {
        assert!(parameter["Description"].as_str().is_some_and(|words| words.len() > 20), "{name}: what is it?");
        let bounded = ["AllowedValues", "AllowedPattern", "MinValue"].iter().any(|bound| !parameter[bound].is_null());
        assert!(bounded, "{name} takes anything");
        assert!(!parameter["Default"].is_null(), "{name}: a stack must need no parameter");
    }
    let groups = &template.section("Metadata")["AWS::CloudFormation::Interface"]["ParameterGroups"];
    let groups = groups.as_array().unwrap().iter().flat_map(|group| group["Parameters"].as_array().unwrap());
    let mut grouped: Vec<_> = groups.map(|name| name.as_str().unwrap().to_owned()).collect();
    grouped.sort();
    assert_eq!(grouped, parameters.keys().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
}

#[test]
fn every_rollout_says_whether_it_is_gradual() {
    let template = Template::load();
    let rollouts = template.section("Mappings")["Rollouts"].as_object().unwrap();
    let gradual = |(name, entry): (&String, &Value)| (name.clone(), entry["Gradual"].as_bool().unwrap());
    let rollouts: BTreeMap<_, _> = rollouts.iter().map(gradual).collect();
    let allowed = allowed(&template.section("Parameters")["Rollout"]);
    assert_eq!(rollouts, allowed.into_iter().map(|name| (name.clone(), name != "AllAtOnce")).collect());
}

#[test]
fn samconfig_sets_parameters_that_are_there_to_what_they_may_be() {
    let template = Template::load();
    let config = tree::read("samconfig.toml");
    let overrides = config.lines().filter(|line| line.contains("parameter_overrides"));
    let settings: Vec<_> = overrides.flat_map(|line| line.split('"')).filter_map(|part| part.split_once('=')).collect();
    let settings: Vec<_> = settings.into_iter().filter(|(name, _)| !name.trim().contains(' ')).collect();
    assert!(settings.iter().any(|(name, _)| *name == "DeletionProtection"), "{settings:?}");
    for (name, value) in settings.into_iter().filter(|(name, _)| *name != "parameter_overrides ") {
        let parameter = &template.section("Parameters")[name];
        assert!(parameter.is_object(), "samconfig.toml: there is no parameter {name}");
        let allowed = allowed(parameter);
        assert!(allowed.is_empty() || allowed.contains(value), "samconfig.toml: {name} can't be {value}");
    }
}

#[test]
fn sam_asks_cargo_what_has_to_be_built_again() {
    // SAM's own cache goes by a function's folder, so it would not see a change of functions/shared.
    let config = tree::read("samconfig.toml");
    assert!(
        !config.lines().any(|line| line.starts_with("cached") || line.starts_with("incremental")),
        "samconfig.toml"
    );
}

#[test]
fn every_function_is_called_by_its_alias_and_so_is_the_authorizer() {
    let template = Template::load();
    let globals = template.globals();
    assert_eq!(globals["AutoPublishAlias"], "live");
    // Without it a change of memory or environment alone would publish nothing, and so never go live.
    assert_eq!(globals["AutoPublishAliasAllProperties"], true);
    for function in template.functions() {
        for own in ["AutoPublishAlias", "AutoPublishAliasAllProperties", "DeploymentPreference"] {
            assert!(function.properties()[own].is_null(), "{}: {own} is the same for all", function.name);
        }
    }
    let authorizer = &template.api()["Auth"]["Authorizers"]["KeyAuthorizer"];
    assert_eq!(authorizer["FunctionArn"]["Ref"], "AuthorizerFunction.Alias");
}

#[test]
fn what_a_stack_remembers_outlives_it() {
    let template = Template::load();
    let tables = template.resources("AWS::DynamoDB::Table");
    for (table, properties) in &tables {
        assert_eq!(properties["BillingMode"], "PAY_PER_REQUEST", "{table}");
        assert_eq!(properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true, "{table}");
        assert_eq!(properties["DeletionProtectionEnabled"]["Ref"], "DeletionProtection", "{table}");
        assert_eq!(template.section("Outputs")[format!("{table}Name")]["Value"]["Ref"], table.as_str());
    }
    let secrets = template.resources("AWS::SecretsManager::Secret");
    for (kept, _) in tables.into_iter().chain(secrets) {
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            assert_eq!(template.section("Resources")[kept][policy], "Retain", "{kept}: {policy}");
        }
    }
}

#[test]
fn every_log_group_is_emptied_in_time() {
    let template = Template::load();
    for (group, properties) in template.resources("AWS::Logs::LogGroup") {
        assert_eq!(properties["RetentionInDays"]["Ref"], "LogRetentionDays", "{group}");
    }
}

#[test]
fn an_access_log_line_is_json_without_a_token() {
    let template = Template::load();
    let setting = &template.api()["AccessLogSetting"]["If"];
    let format = setting[1]["Format"].as_str().unwrap();
    let line: BTreeMap<String, String> = serde_json::from_str(format).unwrap();
    for value in line.values() {
        assert!(value.starts_with("$context."), "{value}");
        // `path` holds what the client wrote, `apiKey` and `principalId` name the key.
        let told = ["$context.path", "$context.identity.apiKey", "$context.authorizer.principalId"];
        assert!(!told.contains(&value.as_str()), "{value} may hold what is not for a log");
    }
}

#[test]
fn names_are_found_wherever_the_template_may_use_one() {
    let value = json!({
        "A": {"Ref": "One"}, "B": [{"Sub": "x-${Two}-${Three.Arn}"}], "Condition": "Four",
        "C": {"If": ["Five", {"GetAtt": "Six.Arn"}, {"Not": [{"Condition": "Seven"}]}]},
    });
    let mut names = BTreeSet::new();
    used(&value, &mut names);
    let expected = ["Five", "Four", "One", "Seven", "Six", "Three", "Two"];
    assert_eq!(names, expected.into_iter().map(str::to_owned).collect());
}
