//! The fields of a body, each checked by name. Both `expires_at` and `expiresAt` are read.

use std::collections::BTreeMap;

use gateway_core::error::ApiError;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::Request;

/// A body's fields, by their names in snake case.
pub struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    /// The fields of a request's body.
    ///
    /// # Errors
    /// 400 for a body that is no JSON object, and for a field that is none of the `known`.
    pub fn of(request: &Request, known: &[&str]) -> Result<Self, ApiError> {
        let map: BTreeMap<String, Box<RawValue>> = request.json()?;
        let fields = map.into_iter().map(|(name, value)| {
            let snake = snake_case(&name);
            if known.contains(&snake.as_str()) {
                Ok((snake, value))
            } else {
                Err(ApiError::invalid(&name, format!("Unknown parameter: '{name}'")))
            }
        });
        fields.collect::<Result<_, _>>().map(Self)
    }

    fn raw(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The field, if it is there and not null.
    ///
    /// # Errors
    /// 400 that names the field and says `what` it must be.
    pub fn value<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, ApiError> {
        Ok(self.change(name, what)?.flatten())
    }

    /// The field, if it is there; the inner option is none for null.
    ///
    /// # Errors
    /// 400 that names the field and says `what` it must be.
    pub fn change<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<Option<T>>, ApiError> {
        let wrong = |_| ApiError::invalid(name, format!("'{name}' must be {what}"));
        self.raw(name).map(|raw| serde_json::from_str(raw.get()).map_err(wrong)).transpose()
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
