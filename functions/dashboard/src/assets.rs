//! The style sheet, htmx and our own script: compiled in, under names with their contents' hash, so that browsers keep them for ever.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::{
    answer::{Answer, Failure},
    visit::Visit,
};

const CSS: (&str, &str, &str) = ("dashboard", "css", include_str!("../assets/dashboard.css"));
const HTMX: (&str, &str, &str) = ("htmx", "js", include_str!("../assets/htmx.min.js"));
const SCRIPT: (&str, &str, &str) = ("dashboard", "js", include_str!("../assets/dashboard.js"));

const CSS_TYPE: &str = "text/css; charset=utf-8";
const SCRIPT_TYPE: &str = "text/javascript; charset=utf-8";

/// A file, and what browsers know it by.
struct Asset {
    /// `dashboard.`, `.css`: the hash stands between them.
    ends: (String, String),
    name: String,
    content_type: &'static str,
    text: &'static str,
}

static ASSETS: LazyLock<[Asset; 3]> =
    LazyLock::new(|| [asset(CSS, CSS_TYPE), asset(HTMX, SCRIPT_TYPE), asset(SCRIPT, SCRIPT_TYPE)]);

fn asset((stem, extension, text): (&str, &str, &'static str), content_type: &'static str) -> Asset {
    let hash: String = Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let ends = (format!("{stem}."), format!(".{extension}"));
    Asset { name: format!("{}{hash}{}", ends.0, ends.1), ends, content_type, text }
}

/// The style sheet's name.
pub(crate) fn css() -> &'static str {
    &ASSETS[0].name
}

/// htmx's name.
pub(crate) fn htmx() -> &'static str {
    &ASSETS[1].name
}

/// Our own script's name.
pub(crate) fn script() -> &'static str {
    &ASSETS[2].name
}

/// GET /assets/{name}
///
/// While a new version goes live, its pages may ask the old one for a file, and the other way round: they get the one there
/// is, which no browser keeps under that name.
pub(crate) async fn show(visit: &Visit<'_>) -> Result<Answer, Failure> {
    let name = &visit.parameter;
    let is_it = |asset: &&Asset| name.starts_with(&asset.ends.0) && name.ends_with(&asset.ends.1);
    let asset = ASSETS.iter().find(is_it).ok_or(Failure::NotFound)?;
    Ok(Answer::asset(asset.content_type, asset.text, asset.name == *name))
}
