//! What stands around every page: title, navigation, who is signed in.

use gateway_core::{money::Nanos, people::User};
use gateway_store::Standing;

use crate::{
    problem::{Marks, Problem},
    site::Site,
};

/// The pages, as the navigation has them.
const NAVIGATION: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/keys", "API Keys"),
    ("/billing-keys", "Billing Keys"),
    ("/billing", "Billing"),
    ("/usage", "Usage"),
    ("/models", "Models"),
    ("/quick-start", "Quick start"),
];

/// A link of the navigation.
pub(crate) struct Entry {
    pub(crate) href: String,
    pub(crate) label: &'static str,
    pub(crate) here: bool,
}

/// A balance that is below what the account wants to be told of.
pub(crate) struct Low {
    pub(crate) balance: Nanos,
    pub(crate) threshold: Nanos,
}

impl Low {
    pub(crate) fn of(standing: &Standing) -> Option<Self> {
        standing.low_balance().map(|low| Self { balance: standing.balance(), threshold: low.threshold })
    }
}

/// What `frame.html` shows around a page.
pub(crate) struct Frame<'a> {
    /// The page's title.
    pub(crate) title: &'a str,
    /// Who is signed in.
    pub(crate) user: Option<&'a User>,
    /// The token that every form of the page carries.
    pub(crate) csrf: String,
    /// The balance, while it is low.
    pub(crate) low_balance: Option<Low>,
    /// What is wrong with the page's form.
    pub(crate) problem: Option<&'a Problem>,
    pub(crate) css: String,
    pub(crate) htmx: String,
    pub(crate) script: String,
    site: &'a Site,
    here: &'a str,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(
        site: &'a Site,
        title: &'a str,
        here: &'a str,
        user: Option<&'a User>,
        csrf: String,
        low_balance: Option<Low>,
    ) -> Self {
        let asset = |name: &str| site.at(&format!("/assets/{name}"));
        let (css, htmx) = (asset(crate::assets::css()), asset(crate::assets::htmx()));
        let script = asset(crate::assets::script());
        Self { title, user, csrf, low_balance, problem: None, css, htmx, script, site, here }
    }

    /// The same around a page whose form has something wrong with it.
    pub(crate) fn with(self, problem: Option<&'a Problem>) -> Self {
        Self { problem, ..self }
    }

    /// The attributes of the field of this name, which this hint describes: `<input name="email"{{ frame.marks("email", "") }}>`.
    pub(crate) fn marks(&self, field: &str, hint: &'static str) -> Marks {
        Marks::of(self.problem, field, hint)
    }

    /// The path of a page: `{{ frame.at("/security") }}`.
    pub(crate) fn at(&self, path: &str) -> String {
        self.site.at(path)
    }

    /// The navigation.
    pub(crate) fn navigation(&self) -> Vec<Entry> {
        let entry = |(path, label): (&str, &'static str)| Entry { href: self.at(path), label, here: path == self.here };
        NAVIGATION.into_iter().map(entry).collect()
    }
}
