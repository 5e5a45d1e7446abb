//! Reads template.yaml: what API Gateway is told there is what the local gateway does.
//!
//! It reads and checks form alone; whether a route's function is linked into this binary is for the composition to say.
//! Nothing that the template does not say is invented here.

mod yaml;

use std::{collections::BTreeMap, path::Path, time::Duration};

use http::Method;
use regex_lite::Regex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// The stack's name, of which the template makes the tables' names.
pub const STACK_NAME: &str = "modelswitch";

/// Lambda's timeout where nothing is said, in seconds.
const LAMBDA_TIMEOUT_S: u64 = 3;

/// The template of this version, for a binary that runs far from the checkout.
const EMBEDDED: &str = include_str!("../../../template.yaml");

/// What the template says, as far as it matters here.
#[derive(Debug)]
pub struct Template {
    /// Every route of the API.
    pub routes: Vec<Route>,
    /// How long each function may run, by its folder.
    pub timeouts: BTreeMap<String, Duration>,
    /// What runs by the clock.
    pub schedules: Vec<Schedule>,
    /// Who is asked before a route.
    pub authorizer: Authorizer,
    /// What API Gateway answers by itself, by type.
    pub gateway_responses: BTreeMap<String, GatewayResponse>,
    /// The tables.
    pub tables: Vec<Table>,
    /// From how many bytes on API Gateway compresses an answer, for a client that takes it so; none: never.
    pub least_compressed: Option<u64>,
}

/// A method on a path, and who answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method; none is every one that has no route of its own on this path.
    pub method: Option<Method>,
    /// The path's template, `/v1/models/{id+}`.
    pub path: String,
    /// The folder of the function that answers.
    pub function: String,
    /// Whether the authorizer is asked first.
    pub authorized: bool,
    /// Whether the answer is passed on as it comes.
    pub streamed: bool,
}

/// A function that runs by the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its folder.
    pub function: String,
    /// How often.
    pub every: Duration,
}

/// A TOKEN authorizer.
#[derive(Debug)]
pub struct Authorizer {
    /// The folder of its function.
    pub function: String,
    /// The header that holds the token.
    pub header: String,
    /// What that header must match before anybody is asked.
    pub validation: Option<Regex>,
    /// How long an answer is kept. 0: not at all.
    pub ttl_ms: u64,
}

/// An answer that no function gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayResponse {
    /// The HTTP status; none is the type's own.
    pub status: Option<u16>,
    /// Headers: names, and values as the template has them: `'text'` or `context.…`.
    pub headers: Vec<(String, String)>,
    /// The JSON body with its `$context.…` placeholders.
    pub body: String,
}

/// A table: its definition in the words that DynamoDB's `CreateTable` takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The body of `CreateTable`.
    pub definition: Value,
    /// The body of `UpdateTimeToLive`, if its items expire.
    pub time_to_live: Option<Value>,
    /// Whether what is put into it is told to a function.
    pub streamed: bool,
}

/// The template can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct TemplateError {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Template {
    /// The template in `path`; without one, that in the current folder; without that, the one in this binary.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(path: Option<&Path>) -> Result<Self, TemplateError> {
        let here = Path::new("template.yaml");
        let (file, text) = match path.or_else(|| here.is_file().then_some(here)) {
            Some(path) => {
                let file = path.display().to_string();
                let text = std::fs::read_to_string(path)
                    .map_err(|error| TemplateError { file: file.clone(), problem: error.to_string() })?;
                (file, text)
            }
            None => ("the built-in template.yaml".to_owned(), EMBEDDED.to_owned()),
        };
        Self::parse(&text).map_err(|problem| match path {
            Some(_) => TemplateError { file, problem },
            // Whoever did not ask for this file may not even know of it.
            None => TemplateError { file, problem: format!("{problem} (--template FILE names another)") },
        })
    }

    /// The template written in `text`.
    fn parse(text: &str) -> Result<Self, String> {
        let document = yaml::read(text, STACK_NAME)?;
        if document.get("Resources").is_none() {
            return Err("it is no CloudFormation template: it has no Resources".to_owned());
        }
        let document: Document = at("", document)?;
        let resources = &document.resources;
        let (mut routes, mut schedules, mut timeouts) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (id, function) in of_type::<FunctionProperties>(resources, "AWS::Serverless::Function")? {
            let timeout_s = function.timeout.or(document.globals.function.timeout).unwrap_or(LAMBDA_TIMEOUT_S);
            timeouts.insert(function.folder(), Duration::from_secs(timeout_s));
            for (event, trigger) in &function.events {
                let place = format!("Resources.{id}.Properties.Events.{event}.Properties");
                let (folder, properties) = (function.folder(), trigger.properties.clone());
                match trigger.kind.as_str() {
                    "Api" => routes.push(route(&folder, at(&place, properties)?, &place)?),
                    "Schedule" => schedules.push(schedule(folder, &at(&place, properties)?, &place)?),
                    _ => {}
                }
            }
        }
        let mut apis = of_type::<ApiProperties>(resources, "AWS::Serverless::Api")?;
        let (id, api) = match (apis.pop(), apis.len()) {
            (Some(api), 0) => api,
            _ => return Err("it must hold exactly one resource of type AWS::Serverless::Api".to_owned()),
        };
        let authorizer = authorizer(&id, &api.auth, resources)?;
        let gateway_responses =
            api.gateway_responses.into_iter().map(|(kind, response)| (kind, response.read())).collect();
        let tables = of_type::<Value>(resources, "AWS::DynamoDB::Table")?
            .into_iter()
            .map(|(id, properties)| table(&id, properties))
            .collect::<Result<_, _>>()?;
        let least_compressed = api.minimum_compression_size;
        Ok(Self { routes, timeouts, schedules, authorizer, gateway_responses, tables, least_compressed })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default)]
    globals: Globals,
    resources: BTreeMap<String, Resource>,
}

/// What holds for every function that says nothing else.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Globals {
    #[serde(default)]
    function: FunctionGlobals,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct FunctionGlobals {
    timeout: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Resource {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    properties: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionProperties {
    code_uri: String,
    timeout: Option<u64>,
    #[serde(default)]
    events: BTreeMap<String, Trigger>,
}

impl FunctionProperties {
    /// `functions/models/` is the function `models`.
    fn folder(&self) -> String {
        self.code_uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Trigger {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    properties: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiEvent {
    path: String,
    method: String,
    #[serde(default)]
    auth: EventAuth,
    response_transfer_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScheduleEvent {
    schedule: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct EventAuth {
    authorizer: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiProperties {
    auth: ApiAuth,
    #[serde(default)]
    gateway_responses: BTreeMap<String, ResponseProperties>,
    minimum_compression_size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ApiAuth {
    default_authorizer: String,
    authorizers: BTreeMap<String, AuthorizerProperties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AuthorizerProperties {
    function_arn: GetAtt,
    #[serde(default)]
    identity: Identity,
}

/// `!GetAtt AuthorizerFunction.Arn`, or `!Ref AuthorizerFunction.Alias`.
#[derive(Deserialize)]
struct GetAtt {
    #[serde(rename = "Fn::GetAtt", alias = "Ref")]
    attribute: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    header: Option<String>,
    validation_expression: Option<String>,
    reauthorize_every: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseProperties {
    status_code: Option<u16>,
    #[serde(default)]
    response_parameters: ResponseParameters,
    #[serde(default)]
    response_templates: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct ResponseParameters {
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl ResponseProperties {
    fn read(mut self) -> GatewayResponse {
        // What API Gateway sends where the template has no body of its own.
        let own = || r#"{"message":$context.error.messageString}"#.to_owned();
        GatewayResponse {
            status: self.status_code,
            headers: self.response_parameters.headers.into_iter().collect(),
            body: self.response_templates.remove("application/json").unwrap_or_else(own),
        }
    }
}

/// `value`, found at `place`, as a `T`; the error names the place.
fn at<T: DeserializeOwned>(place: &str, value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = [place, &inner].into_iter().filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>();
        format!("{}: {}", path.join("."), error.into_inner())
    })
}

/// The resources of this type: their ids and properties.
fn of_type<T: DeserializeOwned>(
    resources: &BTreeMap<String, Resource>,
    kind: &str,
) -> Result<Vec<(String, T)>, String> {
    resources
        .iter()
        .filter(|(_, resource)| resource.kind == kind)
        .map(|(id, resource)| Ok((id.clone(), at(&format!("Resources.{id}.Properties"), resource.properties.clone())?)))
        .collect()
}

fn route(function: &str, event: ApiEvent, place: &str) -> Result<Route, String> {
    let method = match event.method.to_ascii_uppercase().as_str() {
        "ANY" => None,
        name => Some(name.parse().map_err(|_| format!("{place}.Method: `{name}` is no HTTP method"))?),
    };
    if !event.path.starts_with('/') {
        return Err(format!("{place}.Path: `{}` must begin with a slash", event.path));
    }
    let authorized = event.auth.authorizer.as_deref() != Some("NONE");
    let streamed = event.response_transfer_mode.as_deref() == Some("RESPONSE_STREAM");
    Ok(Route { method, path: event.path, function: function.to_owned(), authorized, streamed })
}

/// `rate(5 minutes)`; a cron expression would need a calendar, and nothing here runs by one.
fn schedule(function: String, event: &ScheduleEvent, place: &str) -> Result<Schedule, String> {
    let rate = event.schedule.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')'));
    let read = || {
        let (count, unit) = rate?.split_once(' ')?;
        let seconds = match unit.trim_end_matches('s') {
            "minute" => 60,
            "hour" => 3600,
            "day" => 86_400,
            _ => return None,
        };
        count.parse::<u64>().ok()?.checked_mul(seconds).filter(|&seconds| seconds > 0)
    };
    let every = read().map(Duration::from_secs);
    let every = every.ok_or_else(|| format!("{place}.Schedule: `{}` is no rate(N minutes)", event.schedule))?;
    Ok(Schedule { function, every })
}

fn authorizer(api: &str, auth: &ApiAuth, resources: &BTreeMap<String, Resource>) -> Result<Authorizer, String> {
    let name = &auth.default_authorizer;
    let place = format!("Resources.{api}.Properties.Auth");
    let properties = auth
        .authorizers
        .get(name)
        .ok_or_else(|| format!("{place}.DefaultAuthorizer: `{name}` is not one of {place}.Authorizers"))?;
    let place = format!("{place}.Authorizers.{name}");
    let id = properties.function_arn.attribute.split('.').next().unwrap_or_default();
    let function = of_type::<FunctionProperties>(resources, "AWS::Serverless::Function")?
        .into_iter()
        .find_map(|(known, function)| (known == id).then(|| function.folder()))
        .ok_or_else(|| format!("{place}.FunctionArn: there is no function `{id}`"))?;
    let identity = &properties.identity;
    let validation = identity
        .validation_expression
        .as_deref()
        // API Gateway wants the whole header to match.
        .map(|pattern| Regex::new(&format!("^(?:{pattern})$")))
        .transpose()
        .map_err(|error| format!("{place}.Identity.ValidationExpression: {error}"))?;
    let header = identity.header.clone().unwrap_or_else(|| "Authorization".to_owned());
    // 300 seconds is what API Gateway does where nothing is said.
    let ttl_ms = identity.reauthorize_every.unwrap_or(300) * 1000;
    Ok(Authorizer { function, header, validation, ttl_ms })
}

fn table(id: &str, properties: Value) -> Result<Table, String> {
    let name = properties
        .get("TableName")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("Resources.{id}.Properties.TableName: it must be there, and a text"))?
        .to_owned();
    // Not its stream: the embedded engine searches all of a stream's records at every write. `engine::Feed` does for one.
    let definition: serde_json::Map<String, Value> = ["TableName", "BillingMode", "AttributeDefinitions", "KeySchema"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), properties.get(key)?.clone())))
        .collect();
    let time_to_live = properties
        .get("TimeToLiveSpecification")
        .map(|expiry| serde_json::json!({"TableName": name, "TimeToLiveSpecification": expiry}));
    let streamed = properties.get("StreamSpecification").is_some();
    Ok(Table { name, definition: Value::Object(definition), time_to_live, streamed })
}

#[cfg(test)]
mod tests;
