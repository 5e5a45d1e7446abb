//! Where the dashboard is, as the browser sees it.

use gateway_lambda::Request;

/// What its paths begin with, behind the stage.
const ROOT: &str = "/dashboard";

/// The place that a request came to. Nothing of it is what a client wrote, but the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    /// `https://gateway.example`, as browsers write it in `Origin`.
    pub(crate) origin: String,
    /// Whether the browser came by https.
    pub(crate) secure: bool,
    /// The path of the dashboard's first page: `/dashboard`, or `/live/dashboard` at API Gateway's own address, where the
    /// stage is in the path.
    pub(crate) root: String,
    /// The path asked for behind that: `/`, `/sign-in`.
    pub(crate) path: String,
}

impl Site {
    pub(crate) fn of(request: &Request) -> Self {
        let (before, _) = request.full_path.split_once(ROOT).unwrap_or_default();
        let (_, path) = request.path.split_once(ROOT).unwrap_or_default();
        // Only this machine is reached without TLS: API Gateway has no other way.
        let name = request.host.split(':').next().unwrap_or_default();
        let secure = !matches!(name, "127.0.0.1" | "localhost");
        let scheme = if secure { "https" } else { "http" };
        Self {
            origin: format!("{scheme}://{}", request.host),
            secure,
            root: format!("{before}{ROOT}"),
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        }
    }

    /// Where the API's routes begin: `https://gateway.example`, with the stage where the address has it.
    pub(crate) fn base(&self) -> String {
        format!("{}{}", self.origin, self.root.strip_suffix(ROOT).unwrap_or_default())
    }

    /// The path of a page, as a link has it: `/` is the first one.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{}", self.root, path.strip_suffix('/').unwrap_or(path))
    }

    /// The whole address of a page.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{}", self.origin, self.at(path))
    }
}

/// The path of a page of ours to go on to, and its query, if `text` is one. It is only ever put behind the site's root, so it
/// leads nowhere else whatever it is; and it has no character that ends a header or a cookie.
pub(crate) fn own_path(text: &str) -> Option<&str> {
    const MOST_CHARS: usize = 512;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~?=&%+".contains(c);
    (text.starts_with('/') && text.len() <= MOST_CHARS && text.chars().all(is_plain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_lead_elsewhere_or_end_a_header_is_no_path() {
        for path in ["/", "/keys?sort=name&page=2", "/usage?from=2026-11-01"] {
            assert_eq!(own_path(path), Some(path));
        }
        for path in
            ["", "keys", "https://evil.example", "/\\evil.example", "/a\r\nset-cookie: x", "/a;b", "/a:b@c", "/ä"]
        {
            assert_eq!(own_path(path), None, "{path}");
        }
    }
}
