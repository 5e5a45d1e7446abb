//! Metrics: a log line of the target [`METRICS`] is one in CloudWatch's embedded metric format as well, so a metric costs
//! no call and no second line. In AWS alone: the local gateway writes its lines itself.
//!
//! What CloudWatch counts are the sets below and nothing else. Every combination of a metric with its dimensions' values
//! costs $0.30 a month, so a dimension's values are bounded: the stack, its functions, the catalogue's models, the error
//! table's codes. Nothing that a client writes becomes one.

use std::fmt::{self, Write};

use lambda_http::tracing::{
    self, Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::{
        fmt::{
            self as lines, FmtContext, FormatEvent, FormatFields, MakeWriter,
            format::{Format, Json, JsonFields, Writer},
        },
        registry::LookupSpan,
    },
};

use crate::Clock;

/// The target of the lines that hold metrics.
pub const METRICS: &str = "metrics";

/// CloudWatch's namespace.
pub const NAMESPACE: &str = "ModelSwitch";

/// The dimension that every metric has.
pub const STACK: &str = "stack";

/// A metric: its field, and its unit. It is there when the field is in the line and has a number.
pub type Metric = (&'static str, &'static str);

/// What distinguishes metrics beside the stack, if anything, and the metrics.
pub const SETS: [(Option<&str>, &[Metric]); 4] = [
    // What somebody should look at. Written only where it is not 0: a metric without data costs nothing.
    (
        None,
        &[
            ("settlement_failures", "Count"),
            ("costs_over_hold", "Count"),
            ("holds_expired", "Count"),
            ("provider_errors", "Count"),
            ("payments_unbooked", "Count"),
            ("notices_unsent", "Count"),
        ],
    ),
    (
        Some("function"),
        &[("requests", "Count"), ("duration_ms", "Milliseconds"), ("time_to_first_byte_ms", "Milliseconds")],
    ),
    // nano-USD: a sum is exact up to 9 million USD. What is owed is in the ledger.
    (Some("model"), &[("cost_nanos", "None"), ("input_tokens", "Count"), ("output_tokens", "Count")]),
    (Some("error"), &[("errors", "Count")]),
];

/// Sends lines to `writer` as JSON with the fields at the top, from `level` on; those with metrics for this stack.
pub(crate) fn subscriber<W>(stack: String, level: LevelFilter, clock: Clock, writer: W) -> impl Subscriber
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let json = lines::format().json().flatten_event(true).with_target(false).without_time();
    let format = Lines { stack: serde_json::Value::from(stack).to_string(), clock, json };
    tracing::subscriber::fmt()
        .fmt_fields(JsonFields::new())
        .event_format(format)
        .with_max_level(level)
        .with_writer(writer)
        .finish()
}

/// Lines as JSON.
struct Lines {
    /// The stack's name, as JSON.
    stack: String,
    clock: Clock,
    json: Format<Json, ()>,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut found = Found::default();
        if event.metadata().target() == METRICS {
            event.record(&mut found);
        }
        let directives = found.directives()?;
        if directives.is_empty() {
            return self.json.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.json.format_event(context, Writer::new(&mut line), event)?;
        let (at, stack) = (self.clock.now().0, &self.stack);
        let fields = line.strip_prefix('{').unwrap_or(&line);
        write!(writer, r#"{{"_aws":{{"Timestamp":{at},"CloudWatchMetrics":[{directives}]}},"{STACK}":{stack},{fields}"#)
    }
}

/// The fields that a line has: numbers, and what can distinguish metrics.
#[derive(Default)]
struct Found(Vec<&'static str>);

impl Found {
    fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// What CloudWatch is told of the line: each set's metrics that are in it.
    fn directives(&self) -> Result<String, fmt::Error> {
        let mut directives = String::new();
        for (dimension, metrics) in SETS {
            let mut list = String::new();
            for (name, unit) in metrics.iter().filter(|(name, _)| self.has(name)) {
                let comma = if list.is_empty() { "" } else { "," };
                write!(list, r#"{comma}{{"Name":"{name}","Unit":"{unit}"}}"#)?;
            }
            if list.is_empty() || dimension.is_some_and(|name| !self.has(name)) {
                continue;
            }
            let comma = if directives.is_empty() { "" } else { "," };
            let more = dimension.map(|name| format!(r#","{name}""#)).unwrap_or_default();
            write!(
                directives,
                r#"{comma}{{"Namespace":"{NAMESPACE}","Dimensions":[["{STACK}"{more}]],"Metrics":[{list}]}}"#
            )?;
        }
        Ok(directives)
    }
}

impl Visit for Found {
    fn record_u64(&mut self, field: &Field, _: u64) {
        self.0.push(field.name());
    }

    fn record_i64(&mut self, field: &Field, _: i64) {
        self.0.push(field.name());
    }

    fn record_str(&mut self, field: &Field, _: &str) {
        self.0.push(field.name());
    }

    // What is only written for people is no metric.
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests;
