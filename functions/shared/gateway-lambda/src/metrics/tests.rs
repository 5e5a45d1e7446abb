use std::{
    io,
    sync::{Arc, Mutex},
};

use gateway_core::moment::UnixMs;
use serde_json::{Value, json};

use super::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `writes` causes.
fn lines_of(writes: impl FnOnce()) -> Vec<Value> {
    let written = Written::default();
    let writer = written.clone();
    let clock = Clock::manual(UnixMs(1_700_000_000_000));
    let subscriber = subscriber("a \"b\"".to_owned(), LevelFilter::INFO, clock, move || writer.clone());
    ::tracing::subscriber::with_default(subscriber, writes);
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_of_the_target_is_in_the_embedded_metric_format() {
    let lines = lines_of(|| {
        let (model, error, first) = (Some("m"), None::<&str>, None::<u64>);
        ::tracing::info!(
            target: METRICS,
            requests = 1,
            function = "chat-completions",
            model,
            error,
            errors = error.map(|_| 1),
            cost_nanos = Some(5_i64),
            time_to_first_byte_ms = first,
            duration_ms = 7_u64,
            "request"
        );
    });
    let of = |dimension: &str, metrics: Value| json!({"Namespace": "ModelSwitch", "Dimensions": [["stack", dimension]], "Metrics": metrics});
    let requests = json!([{"Name": "requests", "Unit": "Count"}, {"Name": "duration_ms", "Unit": "Milliseconds"}]);
    let directives = json!([of("function", requests), of("model", json!([{"Name": "cost_nanos", "Unit": "None"}]))]);
    let expected = json!({
        "_aws": {"Timestamp": 1_700_000_000_000_u64, "CloudWatchMetrics": directives},
        "stack": "a \"b\"", "level": "INFO", "message": "request", "requests": 1, "function": "chat-completions",
        "model": "m", "cost_nanos": 5, "duration_ms": 7,
    });
    assert_eq!(lines, [expected]);
}

#[test]
fn every_metric_has_its_dimensions_at_the_top_of_the_line() {
    let lines = lines_of(|| {
        ::tracing::warn!(target: METRICS, settlement_failures = 1, errors = 1, error = "internal_error", "x");
    });
    for directive in lines[0]["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(lines[0][dimension.as_str().unwrap()].is_string(), "{dimension}");
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(lines[0][metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
    }
    assert_eq!(lines[0]["_aws"]["CloudWatchMetrics"].as_array().unwrap().len(), 2);
}

#[test]
fn a_line_of_another_target_or_without_a_metric_is_no_metric() {
    let lines = lines_of(|| {
        ::tracing::info!(requests = 1, function = "models", "not of the target");
        ::tracing::info!(target: METRICS, function = "models", "no metric");
        ::tracing::info!(target: METRICS, cost_nanos = 1, "no model: nothing tells which metric it is");
        ::tracing::debug!(target: METRICS, requests = 1, function = "models", "not asked for");
    });
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["_aws"].is_null() && line["stack"].is_null()), "{lines:?}");
}

/// The line of a request that `serves` knows of.
fn line_of(serves: impl FnOnce(&crate::Record)) -> Value {
    let mut lines = lines_of(|| {
        let token = tokio_util::task::TaskTracker::new().token();
        let id = gateway_core::ids::RequestId::of_platform(UnixMs(1_700_000_000_000), "p");
        serves(&crate::Record::new(id, "p".to_owned(), "chat-completions", None, token));
    });
    lines.remove(0)
}

#[test]
fn a_provider_s_failure_is_counted_as_one_only_where_the_client_got_a_5xx() {
    let failed = |status| {
        let error = gateway_core::error::ApiError::new(gateway_core::error::ErrorCode::UpstreamError, "x");
        let line = line_of(|record| {
            record.failed(&error);
            record.answered(status);
        });
        (line["errors"].clone(), line["error"].clone(), line["provider_errors"].clone())
    };
    assert_eq!(failed(502), (json!(1), json!("upstream_error"), json!(1)));
    assert_eq!(failed(200), (json!(1), json!("upstream_error"), Value::Null), "a stream that broke");
}

#[test]
fn a_request_that_hung_in_our_own_hands_is_no_provider_s_failure() {
    let line = line_of(|record| {
        record.late();
        record.failed(&crate::Deadline::error());
        record.answered(504);
    });
    assert_eq!((&line["error"], &line["errors"]), (&json!("upstream_timeout"), &json!(1)));
    assert_eq!(line["provider_errors"], Value::Null, "and so its 504 is counted as ours");
}

#[test]
fn a_request_that_could_not_be_charged_is_counted_and_one_that_went_well_is_no_error() {
    assert_eq!(line_of(crate::Record::unsettled)["settlement_failures"], 1);
    let well = line_of(|record| record.answered(200));
    assert_eq!(well["requests"], 1);
    assert!(["errors", "settlement_failures", "provider_errors"].iter().all(|name| well[name].is_null()), "{well}");
}
