//! What is wrong with a form, and how its page shows it at the fields that are at fault.

use std::fmt;

use askama::filters::HtmlSafe;

/// What is wrong with a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The names of the fields that are at fault; the first has the focus. None if it is no field's fault.
    fields: Vec<&'static str>,
    pub(crate) text: String,
}

impl Problem {
    /// One of this field.
    pub(crate) fn at(field: &'static str, text: impl Into<String>) -> Self {
        Self::among([field], text)
    }

    /// One that is in one of these fields, or in all of them.
    pub(crate) fn among(fields: impl Into<Vec<&'static str>>, text: impl Into<String>) -> Self {
        Self { fields: fields.into(), text: text.into() }
    }

    /// One that no field is to blame for.
    pub(crate) fn of_none(text: impl Into<String>) -> Self {
        Self::among([], text)
    }

    pub(crate) fn is_at(&self, field: &str) -> bool {
        self.fields.contains(&field)
    }
}

/// A field's attributes: the hint that describes it, and, if it is at fault, that it is and what is wrong.
pub(crate) struct Marks {
    /// The id of the hint; empty if there is none.
    hint: &'static str,
    at_fault: bool,
    focus: bool,
}

impl Marks {
    pub(crate) fn of(problem: Option<&Problem>, field: &str, hint: &'static str) -> Self {
        let at_fault = problem.is_some_and(|problem| problem.is_at(field));
        let focus = problem.is_some_and(|problem| problem.fields.first().is_some_and(|first| *first == field));
        Self { hint, at_fault, focus }
    }
}

/// Our own words alone.
impl HtmlSafe for Marks {}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.hint, self.at_fault) {
            ("", false) => {}
            ("", true) => f.write_str(" aria-describedby=\"problem\"")?,
            (hint, false) => write!(f, " aria-describedby=\"{hint}\"")?,
            (hint, true) => write!(f, " aria-describedby=\"{hint} problem\"")?,
        }
        f.write_str(if self.at_fault { " aria-invalid=\"true\"" } else { "" })?;
        f.write_str(if self.focus { " autofocus" } else { "" })
    }
}
