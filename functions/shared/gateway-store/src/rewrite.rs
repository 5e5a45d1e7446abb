//! An update expression put together attribute by attribute.

use aws_sdk_dynamodb::types::{AttributeValue, builders::UpdateBuilder};

/// Attributes to set, to remove, and to find as they were.
#[derive(Default)]
pub(crate) struct Rewrite {
    sets: Vec<String>,
    removes: Vec<String>,
    conditions: Vec<String>,
    names: Vec<(String, &'static str)>,
    values: Vec<(String, AttributeValue)>,
}

impl Rewrite {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn set(&mut self, attribute: &'static str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.sets.push(format!("{name} = {value}"));
    }

    pub(crate) fn set_or_remove(&mut self, attribute: &'static str, value: Option<AttributeValue>) {
        if let Some(value) = value {
            self.set(attribute, value);
        } else {
            let name = self.name(attribute);
            self.removes.push(name);
        }
    }

    pub(crate) fn expect(&mut self, attribute: &'static str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.conditions.push(format!("{name} = {value}"));
    }

    fn name(&mut self, attribute: &'static str) -> String {
        if let Some((name, _)) = self.names.iter().find(|(_, known)| *known == attribute) {
            return name.clone();
        }
        let name = format!("#n{}", self.names.len());
        self.names.push((name.clone(), attribute));
        name
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let name = format!(":v{}", self.values.len());
        self.values.push((name.clone(), value));
        name
    }

    /// The update, on an item that exists and is as expected.
    pub(crate) fn update(&self, update: UpdateBuilder, exists: &'static str) -> UpdateBuilder {
        let mut expression = format!("SET {}", self.sets.join(", "));
        if !self.removes.is_empty() {
            expression.push_str(&format!(" REMOVE {}", self.removes.join(", ")));
        }
        let mut conditions = vec!["attribute_exists(#exists)".to_owned()];
        conditions.extend(self.conditions.iter().cloned());
        let update = update.update_expression(expression).condition_expression(conditions.join(" AND "));
        let update = update.expression_attribute_names("#exists", exists);
        let update = self
            .names
            .iter()
            .fold(update, |update, (name, attribute)| update.expression_attribute_names(name, *attribute));
        self.values.iter().fold(update, |update, (name, value)| update.expression_attribute_values(name, value.clone()))
    }
}
