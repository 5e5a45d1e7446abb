//! A form as a browser sends it.

use std::collections::HashMap;

/// No form of ours is near it.
const MOST_BYTES: usize = 64 * 1024;

/// A form's fields. A field that is not there reads as an empty one, which is what a browser makes of it.
#[derive(Default)]
pub(crate) struct Form(HashMap<String, String>);

impl Form {
    /// The form in this body; none if it is too large to be one.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        (body.len() <= MOST_BYTES).then(|| Self(form_urlencoded::parse(body).into_owned().collect()))
    }

    /// A field's text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}
