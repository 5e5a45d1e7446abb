//! template.yaml as these tests see it: the functions, their routes and what they are given. Nothing is substituted: a
//! reference stays `{"Ref": "Name"}`.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

use crate::tree;

/// Who answers where no other function does, and asks no authorizer.
pub(crate) const UNKNOWN_ROUTE: &str = "unknown-route";

/// Whose routes ask no authorizer: all but the first find out themselves who comes.
pub(crate) const OPEN: [&str; 3] = [UNKNOWN_ROUTE, "stripe-webhook", "dashboard"];

/// The template as JSON.
pub(crate) struct Template(Value);

/// One function.
pub(crate) struct Function {
    /// Its folder's name, from `CodeUri`.
    pub(crate) name: String,
    pub(crate) logical_id: String,
    /// The resource: `Metadata`, `Properties`.
    pub(crate) resource: Value,
}

/// One route of a function.
#[derive(Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) function: String,
    /// `GET`, or `ANY`.
    pub(crate) method: String,
    /// `/v1/models/{id+}`.
    pub(crate) path: String,
    /// Whether the authorizer is asked.
    pub(crate) authorized: bool,
    pub(crate) streamed: bool,
    pub(crate) timeout_ms: Option<u64>,
}

impl Route {
    /// `GET /v1/models`.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

impl Template {
    pub(crate) fn load() -> Self {
        let text = tree::read("template.yaml");
        Self(json(&Yaml::load_from_str(&text).unwrap()[0]))
    }

    /// The properties of the resource with this logical id.
    pub(crate) fn properties(&self, logical_id: &str) -> &Value {
        let properties = &self.0["Resources"][logical_id]["Properties"];
        assert!(properties.is_object(), "the template has no resource {logical_id}");
        properties
    }

    /// `Parameters`, `Resources` and so on.
    pub(crate) fn section(&self, name: &str) -> &Value {
        let section = &self.0[name];
        assert!(section.is_object(), "the template has no {name}");
        section
    }

    /// The resources of this type: their logical ids and properties.
    pub(crate) fn resources(&self, kind: &str) -> Vec<(&String, &Value)> {
        let resources = self.section("Resources").as_object().unwrap().iter();
        let found: Vec<_> = resources.filter(|(_, resource)| resource["Type"] == kind).collect();
        assert!(!found.is_empty(), "the template has no {kind}");
        found.into_iter().map(|(name, resource)| (name, &resource["Properties"])).collect()
    }

    /// What every function has.
    pub(crate) fn globals(&self) -> &Value {
        &self.section("Globals")["Function"]
    }

    pub(crate) fn api(&self) -> &Value {
        self.properties("Api")
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let resources = self.0["Resources"].as_object().unwrap().iter();
        let functions = resources.filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
        let function = |(logical_id, resource): (&String, &Value)| {
            let folder = resource["Properties"]["CodeUri"].as_str().unwrap();
            let name = folder.strip_prefix("functions/").and_then(|rest| rest.strip_suffix('/'));
            let name = name.unwrap_or_else(|| panic!("{logical_id}: CodeUri {folder} is not functions/<name>/"));
            Function { name: name.to_owned(), logical_id: logical_id.clone(), resource: resource.clone() }
        };
        functions.map(function).collect()
    }

    /// What a function's own role lets it do: the statements of its one policy.
    pub(crate) fn statements(&self, function: &Function) -> &Vec<Value> {
        let role = self.properties(&format!("{}Role", function.logical_id.strip_suffix("Function").unwrap()));
        let policies = role["Policies"].as_array().unwrap();
        assert_eq!(policies.len(), 1, "{}: one policy says it all", function.name);
        policies[0]["PolicyDocument"]["Statement"].as_array().unwrap()
    }

    pub(crate) fn routes(&self) -> Vec<Route> {
        self.functions().iter().flat_map(Function::routes).collect()
    }
}

impl Function {
    pub(crate) fn properties(&self) -> &Value {
        &self.resource["Properties"]
    }

    /// The events of this type, by name.
    fn events(&self, kind: &str) -> impl Iterator<Item = (&String, &Value)> {
        let events = self.properties()["Events"].as_object().into_iter().flatten();
        events.filter(move |(_, event)| event["Type"] == kind)
    }

    pub(crate) fn routes(&self) -> Vec<Route> {
        self.events("Api").map(|(name, event)| self.route(name, event)).collect()
    }

    /// What invokes it otherwise: an event's type, `DynamoDB` or `Schedule`, and its properties.
    pub(crate) fn triggers(&self) -> Vec<(&str, &Value)> {
        let events = self.properties()["Events"].as_object().into_iter().flatten();
        let events = events.filter(|(_, event)| event["Type"] != "Api");
        events.map(|(_, event)| (event["Type"].as_str().unwrap(), &event["Properties"])).collect()
    }

    /// Whether it runs by the clock.
    pub(crate) fn is_scheduled(&self) -> bool {
        self.events("Schedule").next().is_some()
    }

    fn route(&self, name: &str, event: &Value) -> Route {
        let properties = &event["Properties"];
        let text = |field: &str| {
            let value = properties[field].as_str();
            value.unwrap_or_else(|| panic!("{}: the event {name} has no {field}", self.logical_id)).to_owned()
        };
        assert_eq!(properties["RestApiId"]["Ref"], "Api", "{}: the event {name}", self.logical_id);
        Route {
            function: self.name.clone(),
            method: text("Method"),
            path: text("Path"),
            authorized: properties["Auth"]["Authorizer"] != "NONE",
            streamed: properties["ResponseTransferMode"] == "RESPONSE_STREAM",
            timeout_ms: properties["TimeoutInMillis"].as_u64(),
        }
    }
}

/// YAML as JSON; `!Ref Name` becomes `{"Ref": "Name"}`.
fn json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Tagged(tag, node) => Value::Object(Map::from_iter([(tag.suffix.clone(), json(node))])),
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(pairs) => {
            Value::Object(pairs.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), json(value))).collect())
        }
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        other => panic!("template.yaml: {other:?} is of no use in a template"),
    }
}
