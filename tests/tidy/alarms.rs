//! The metrics that the functions write and the alarms that watch them, both ways; and that an alarm is heard.

use std::collections::BTreeSet;

use gateway_lambda::{NAMESPACE, SETS, STACK};
use serde_json::{Value, json};

use crate::{template::Template, tree};

/// How a line with metrics begins: by the constant, or by its value where gateway-lambda can't be named.
const LINES: [&str; 2] = ["target: METRICS,", "target: \"metrics\","];

/// The alarm that says that something did not happen which happens in an idle stack too.
const RUNS_BY_ITSELF: &str = "SweepMissingAlarm";

fn alarms(template: &Template) -> Vec<(&String, &Value)> {
    template.resources("AWS::CloudWatch::Alarm")
}

/// What an alarm looks at: one metric of its own, or those of its `Metrics`.
fn watched(properties: &Value) -> Vec<&Value> {
    let list = properties["Metrics"].as_array().into_iter().flatten();
    let listed: Vec<_> =
        list.map(|metric| &metric["MetricStat"]["Metric"]).filter(|metric| !metric.is_null()).collect();
    if properties["MetricName"].is_null() { listed } else { vec![properties] }
}

/// What an alarm's query reads.
fn queries(properties: &Value) -> impl Iterator<Item = &str> {
    let list = properties["Metrics"].as_array().into_iter().flatten();
    list.filter_map(|metric| metric["Expression"]["Sub"].as_str())
}

/// The words of all lines with metrics: their fields are among them.
fn words() -> BTreeSet<String> {
    let code = tree::code("functions");
    let lines = LINES.iter().flat_map(|begins| code.split(begins).skip(1));
    let lines = lines.map(|rest| rest.split_once(");").map_or(rest, |(line, _)| line));
    lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')).map(str::to_owned).collect()
}

#[test]
fn every_metric_and_every_dimension_is_a_field_of_a_line() {
    let words = words();
    for (dimension, metrics) in SETS {
        let fields = metrics.iter().map(|(name, _)| *name).chain(dimension);
        let missing: Vec<_> = fields.filter(|field| !words.contains(*field)).collect();
        assert!(missing.is_empty(), "no line has {missing:?}");
    }
}

#[test]
fn every_metric_that_somebody_should_look_at_has_an_alarm_and_every_alarm_a_metric() {
    let template = Template::load();
    let mut unwatched: BTreeSet<_> =
        SETS.iter().filter(|(dimension, _)| dimension.is_none()).flat_map(|(_, metrics)| *metrics).collect();
    for (alarm, properties) in alarms(&template) {
        for metric in watched(properties).into_iter().filter(|metric| metric["Namespace"] == NAMESPACE) {
            let name = metric["MetricName"].as_str().unwrap();
            let dimensions = json!([{"Name": STACK, "Value": {"Ref": "AWS::StackName"}}]);
            assert_eq!(metric["Dimensions"], dimensions, "{alarm}: {name} has no other dimension");
            let known = SETS
                .iter()
                .any(|(dimension, metrics)| dimension.is_none() && metrics.iter().any(|(written, _)| *written == name));
            assert!(known, "{alarm}: no function writes {name} for the stack as a whole");
            unwatched.retain(|(written, _)| *written != name);
        }
    }
    assert!(unwatched.is_empty(), "no alarm watches {unwatched:?}");
}

#[test]
fn every_alarm_is_told_to_the_topic_and_says_what_is_wrong() {
    let template = Template::load();
    for (alarm, properties) in alarms(&template) {
        for actions in ["AlarmActions", "OKActions"] {
            assert_eq!(properties[actions], json!([{"Ref": "AlarmTopic"}]), "{alarm}: {actions}");
        }
        assert!(properties["AlarmDescription"].as_str().is_some_and(|words| words.len() > 20), "{alarm}");
        assert_eq!(template.section("Resources")[alarm]["Condition"], "WithAlarms", "{alarm}");
        let idle = if alarm == RUNS_BY_ITSELF { "breaching" } else { "notBreaching" };
        assert_eq!(properties["TreatMissingData"], idle, "{alarm}: an idle stack is no failing one");
    }
}

#[test]
fn an_alarm_that_names_a_function_names_one_that_is_there() {
    let template = Template::load();
    let functions = tree::functions();
    for (alarm, properties) in alarms(&template) {
        for metric in watched(properties).into_iter().filter(|metric| metric["Namespace"] == "AWS/Lambda") {
            let dimension = &metric["Dimensions"][0];
            assert_eq!(dimension["Name"], "FunctionName", "{alarm}");
            let name = dimension["Value"]["Sub"].as_str().unwrap().strip_prefix("${AWS::StackName}-").unwrap();
            assert!(functions.contains(name), "{alarm}: there is no function {name}");
        }
    }
}

#[test]
fn every_table_and_every_dead_letter_queue_is_watched() {
    let template = Template::load();
    let alarms = alarms(&template);
    for (table, _) in template.resources("AWS::DynamoDB::Table") {
        for metric in ["ThrottledRequests", "SystemErrors"] {
            let watches = |query: &str| query.contains(metric) && query.contains(&format!("'${{{table}}}'"));
            assert!(
                alarms.iter().any(|(_, alarm)| queries(alarm).any(watches)),
                "no alarm watches {metric} of {table}"
            );
        }
    }
    for (queue, _) in template.resources("AWS::SQS::Queue") {
        let name = json!({"GetAtt": format!("{queue}.QueueName")});
        let watches = |metric: &&Value| metric["Dimensions"][0]["Value"] == name;
        assert!(alarms.iter().any(|(_, alarm)| watched(alarm).iter().any(watches)), "no alarm watches {queue}");
    }
}

#[test]
fn a_new_version_is_taken_back_by_alarms_that_are_there() {
    let template = Template::load();
    let alarms: BTreeSet<_> = alarms(&template).into_iter().map(|(name, _)| name.as_str()).collect();
    let rollback = template.globals()["DeploymentPreference"]["Alarms"]["If"][1].as_array().unwrap();
    assert!(!rollback.is_empty());
    for alarm in rollback {
        assert!(alarms.contains(alarm["Ref"].as_str().unwrap()), "{alarm} is no alarm");
    }
}
