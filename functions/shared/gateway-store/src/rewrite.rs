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
    /// Nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.removes.is_empty()
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

    /// Adds to a number, whatever it is by then.
    pub(crate) fn add(&mut self, attribute: &'static str, difference: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(difference));
        self.sets.push(format!("{name} = {name} + {value}"));
    }

    pub(crate) fn expect(&mut self, attribute: &'static str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.conditions.push(format!("{name} = {value}"));
    }

    pub(crate) fn expect_none(&mut self, attribute: &'static str) {
        let name = self.name(attribute);
        self.conditions.push(format!("attribute_not_exists({name})"));
    }

    pub(crate) fn expect_or_none(&mut self, attribute: &'static str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.expect(attribute, value),
            None => self.expect_none(attribute),
        }
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

    /// The update, of an item that is as expected.
    pub(crate) fn update(&self, update: UpdateBuilder) -> UpdateBuilder {
        let part = |keyword: &str, parts: &[String], by: &str| {
            if parts.is_empty() { String::new() } else { format!("{keyword} {} ", parts.join(by)) }
        };
        let expression = part("SET", &self.sets, ", ") + &part("REMOVE", &self.removes, ", ");
        let update =
            update.update_expression(expression.trim_end()).condition_expression(self.conditions.join(" AND "));
        let update = self
            .names
            .iter()
            .fold(update, |update, (name, attribute)| update.expression_attribute_names(name, *attribute));
        self.values.iter().fold(update, |update, (name, value)| update.expression_attribute_values(name, value.clone()))
    }
}
