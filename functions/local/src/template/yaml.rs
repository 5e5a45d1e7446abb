//! CloudFormation's YAML as JSON: parameters take their defaults, and the stack's name is put in.
//!
//! What only AWS can know stays as CloudFormation's own long form, `{"Ref": "AccountsTable"}`.

use std::collections::HashMap;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

/// The document in `text`, for a stack of this name.
pub(super) fn read(text: &str, stack_name: &str) -> Result<Value, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| error.to_string())?;
    let [document] = documents.as_slice() else {
        return Err(format!("it holds {} YAML documents instead of one", documents.len()));
    };
    let bare = Reader { known: HashMap::new() }.value(document)?;
    let mut known: HashMap<String, Value> = bare
        .get("Parameters")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, parameter)| Some((name.clone(), parameter.get("Default")?.clone())))
        .collect();
    known.insert("AWS::StackName".to_owned(), Value::from(stack_name));
    Reader { known }.value(document)
}

/// Reads nodes, given what names stand for.
struct Reader {
    known: HashMap<String, Value>,
}

impl Reader {
    fn value(&self, node: &Yaml<'_>) -> Result<Value, String> {
        match node {
            Yaml::Value(scalar) => Ok(scalar_value(scalar)),
            Yaml::Sequence(items) => items.iter().map(|item| self.value(item)).collect(),
            Yaml::Mapping(fields) => {
                let mut object = Map::new();
                for (key, value) in fields {
                    let key = match self.value(key)? {
                        Value::String(key) => key,
                        other => other.to_string(),
                    };
                    object.insert(key, self.value(value)?);
                }
                Ok(Value::Object(object))
            }
            Yaml::Tagged(tag, inner) => self.function(&tag.suffix, self.value(inner)?),
            Yaml::Alias(_) | Yaml::BadValue | Yaml::Representation(..) => {
                Err("it holds YAML of no known form".to_owned())
            }
        }
    }

    /// `!Ref`, `!Sub` and the other short forms.
    fn function(&self, name: &str, argument: Value) -> Result<Value, String> {
        match (name, &argument) {
            ("Ref", Value::String(target)) => {
                Ok(self.known.get(target).cloned().unwrap_or_else(|| json!({"Ref": target})))
            }
            ("Sub", Value::String(text)) => Ok(self.substituted(text)),
            ("Ref" | "Sub", _) if !argument.is_array() => Err(format!("!{name} wants a text, not {argument}")),
            _ => Ok(json!({format!("Fn::{name}"): argument})),
        }
    }

    /// `text` with each known `${Name}` replaced; if one is left, the whole stays a `Fn::Sub`.
    fn substituted(&self, text: &str) -> Value {
        let mut out = text.to_owned();
        for (name, value) in &self.known {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            out = out.replace(&format!("${{{name}}}"), &plain);
        }
        if out.contains("${") { json!({"Fn::Sub": out}) } else { Value::String(out) }
    }
}

fn scalar_value(scalar: &Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => Value::from(*value),
        Scalar::Integer(value) => Value::from(*value),
        Scalar::FloatingPoint(value) => Value::from(value.into_inner()),
        Scalar::String(text) => Value::from(text.as_ref()),
    }
}
