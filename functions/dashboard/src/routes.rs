//! Every route of the dashboard, in one table.

use std::{future::Future, iter::successors, pin::Pin};

use http::Method;

use crate::{
    answer::{Answer, Failure},
    assets,
    pages::{
        billing, invitation, keys, link, models, openid, overview, quick_start, receipt, reset, security, sign_in,
        sign_out, sign_up, top_up, transactions, usage,
    },
    visit::Visit,
};

/// Who may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, and nobody asks who it is.
    Asset,
    /// Anybody.
    Anyone,
    /// Who is signed in.
    User,
    /// Who is signed in and owns the account: what concerns money. A billing key pays, and makes keys without limits.
    Owner,
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// A method on a path, and what answers there.
pub struct Route {
    /// `GET`, or `POST` for whatever changes something.
    pub method: Method,
    /// Behind `/dashboard`; one part in braces stands for any. Of two that match the first in the table answers.
    pub path: &'static str,
    /// Who may come.
    pub access: Access,
    pub(crate) handler: for<'a> fn(&'a Visit<'a>) -> Outcome<'a>,
}

/// The routes. A `POST` gets to its page only with the token of the page that its form was on.
pub static ROUTES: &[Route] = &[
    Route { method: Method::GET, path: "/", access: Access::User, handler: |v| Box::pin(overview::show(v)) },
    Route { method: Method::GET, path: "/keys", access: Access::User, handler: |v| Box::pin(keys::list::show(v)) },
    Route {
        method: Method::GET,
        path: "/keys/new",
        access: Access::User,
        handler: |v| Box::pin(keys::create::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/keys/new",
        access: Access::User,
        handler: |v| Box::pin(keys::create::submit(v)),
    },
    Route {
        method: Method::GET,
        path: "/keys/{id}",
        access: Access::User,
        handler: |v| Box::pin(keys::settings::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/keys/{id}",
        access: Access::User,
        handler: |v| Box::pin(keys::settings::submit(v)),
    },
    Route {
        method: Method::POST,
        path: "/keys/{id}/deactivate",
        access: Access::User,
        handler: |v| Box::pin(keys::settings::deactivate(v)),
    },
    Route {
        method: Method::POST,
        path: "/keys/{id}/activate",
        access: Access::User,
        handler: |v| Box::pin(keys::settings::activate(v)),
    },
    Route {
        method: Method::GET,
        path: "/keys/{id}/rotate",
        access: Access::User,
        handler: |v| Box::pin(keys::rotate::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/keys/{id}/rotate",
        access: Access::User,
        handler: |v| Box::pin(keys::rotate::submit(v)),
    },
    Route {
        method: Method::GET,
        path: "/keys/{id}/delete",
        access: Access::User,
        handler: |v| Box::pin(keys::delete::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/keys/{id}/delete",
        access: Access::User,
        handler: |v| Box::pin(keys::delete::submit(v)),
    },
    Route {
        method: Method::GET,
        path: "/billing-keys",
        access: Access::User,
        handler: |v| Box::pin(keys::list::show(v)),
    },
    Route {
        method: Method::GET,
        path: "/billing-keys/new",
        access: Access::Owner,
        handler: |v| Box::pin(keys::create::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/billing-keys/new",
        access: Access::Owner,
        handler: |v| Box::pin(keys::create::submit(v)),
    },
    Route {
        method: Method::GET,
        path: "/billing-keys/{id}",
        access: Access::Owner,
        handler: |v| Box::pin(keys::settings::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/billing-keys/{id}",
        access: Access::Owner,
        handler: |v| Box::pin(keys::settings::submit(v)),
    },
    Route {
        method: Method::POST,
        path: "/billing-keys/{id}/deactivate",
        access: Access::Owner,
        handler: |v| Box::pin(keys::settings::deactivate(v)),
    },
    Route {
        method: Method::POST,
        path: "/billing-keys/{id}/activate",
        access: Access::Owner,
        handler: |v| Box::pin(keys::settings::activate(v)),
    },
    Route {
        method: Method::GET,
        path: "/billing-keys/{id}/rotate",
        access: Access::Owner,
        handler: |v| Box::pin(keys::rotate::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/billing-keys/{id}/rotate",
        access: Access::Owner,
        handler: |v| Box::pin(keys::rotate::submit(v)),
    },
    Route {
        method: Method::GET,
        path: "/billing-keys/{id}/delete",
        access: Access::Owner,
        handler: |v| Box::pin(keys::delete::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/billing-keys/{id}/delete",
        access: Access::Owner,
        handler: |v| Box::pin(keys::delete::submit(v)),
    },
    Route {
        method: Method::GET,
        path: "/assets/{name}",
        access: Access::Asset,
        handler: |v| Box::pin(assets::show(v)),
    },
    Route { method: Method::GET, path: "/sign-in", access: Access::Anyone, handler: |v| Box::pin(sign_in::show(v)) },
    Route { method: Method::POST, path: "/sign-in", access: Access::Anyone, handler: |v| Box::pin(sign_in::submit(v)) },
    Route { method: Method::GET, path: "/sign-up", access: Access::Anyone, handler: |v| Box::pin(sign_up::show(v)) },
    Route { method: Method::POST, path: "/sign-up", access: Access::Anyone, handler: |v| Box::pin(sign_up::submit(v)) },
    Route {
        method: Method::GET,
        path: "/invitation/{secret}",
        access: Access::Anyone,
        handler: |v| Box::pin(invitation::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/invitation/{secret}",
        access: Access::Anyone,
        handler: |v| Box::pin(invitation::submit(v)),
    },
    Route {
        method: Method::GET,
        path: "/reset/{secret}",
        access: Access::Anyone,
        handler: |v| Box::pin(reset::show(v)),
    },
    Route {
        method: Method::POST,
        path: "/reset/{secret}",
        access: Access::Anyone,
        handler: |v| Box::pin(reset::submit(v)),
    },
    Route { method: Method::GET, path: "/link/{secret}", access: Access::Anyone, handler: |v| Box::pin(link::show(v)) },
    Route {
        method: Method::POST,
        path: "/link/{secret}",
        access: Access::Anyone,
        handler: |v| Box::pin(link::submit(v)),
    },
    Route { method: Method::GET, path: "/openid", access: Access::Anyone, handler: |v| Box::pin(openid::begin(v)) },
    Route {
        method: Method::GET,
        path: "/openid/return",
        access: Access::Anyone,
        handler: |v| Box::pin(openid::end(v)),
    },
    Route { method: Method::GET, path: "/billing", access: Access::User, handler: |v| Box::pin(billing::show(v)) },
    Route { method: Method::POST, path: "/billing", access: Access::Owner, handler: |v| Box::pin(billing::submit(v)) },
    Route {
        method: Method::POST,
        path: "/billing/top-up",
        access: Access::Owner,
        handler: |v| Box::pin(top_up::submit(v)),
    },
    Route {
        method: Method::GET,
        path: "/billing/transactions.csv",
        access: Access::User,
        handler: |v| Box::pin(transactions::show(v)),
    },
    Route {
        method: Method::GET,
        path: "/billing/receipts/{entry}",
        access: Access::User,
        handler: |v| Box::pin(receipt::show(v)),
    },
    Route { method: Method::GET, path: "/usage", access: Access::User, handler: |v| Box::pin(usage::show(v)) },
    Route {
        method: Method::GET,
        path: "/usage/requests.csv",
        access: Access::User,
        handler: |v| Box::pin(usage::download(v)),
    },
    Route { method: Method::GET, path: "/models", access: Access::User, handler: |v| Box::pin(models::show(v)) },
    Route {
        method: Method::GET,
        path: "/quick-start",
        access: Access::User,
        handler: |v| Box::pin(quick_start::show(v)),
    },
    Route { method: Method::GET, path: "/security", access: Access::User, handler: |v| Box::pin(security::show(v)) },
    Route { method: Method::POST, path: "/security", access: Access::User, handler: |v| Box::pin(security::submit(v)) },
    Route { method: Method::POST, path: "/sign-out", access: Access::User, handler: |v| Box::pin(sign_out::submit(v)) },
    Route {
        method: Method::POST,
        path: "/sign-out/everywhere",
        access: Access::User,
        handler: |v| Box::pin(sign_out::everywhere(v)),
    },
];

/// The route of a path behind `/dashboard`, and what stands for its braces.
pub(crate) fn find(method: &Method, path: &str) -> Result<(&'static Route, String), Failure> {
    let matching = || ROUTES.iter().filter_map(|route| Some((route, parameter(route.path, path)?)));
    if let Some(found) = matching().find(|(route, _)| route.method == *method) {
        return Ok(found);
    }
    let other = matching().next().map(|(route, _)| route.method.as_str().to_owned());
    Err(other.map_or(Failure::NotFound, Failure::MethodNotAllowed))
}

/// The path of the nearest page: there, or above.
pub(crate) fn page_at_or_above(path: &str) -> &str {
    let mut paths = successors(Some(path), |path| Some(path.rsplit_once('/')?.0));
    paths.find(|path| find(&Method::GET, path).is_ok()).unwrap_or("/")
}

/// What stands for the braces of a template in a path; nothing if it has none; none if it is another path's.
fn parameter(template: &str, path: &str) -> Option<String> {
    let braces = template.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?.1)));
    let Some((before, after)) = braces else { return (template == path).then(String::new) };
    let part = path.strip_prefix(before)?.strip_suffix(after)?;
    (!part.is_empty() && !part.contains('/')).then(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Option<(&'static str, String)> {
        find(&method, path).ok().map(|(route, parameter)| (route.path, parameter))
    }

    #[test]
    fn a_path_has_its_route_and_nothing_like_it() {
        assert_eq!(found(Method::GET, "/"), Some(("/", String::new())));
        assert_eq!(found(Method::GET, "/reset/abc"), Some(("/reset/{secret}", "abc".to_owned())));
        for path in ["/reset/", "/reset/a/b", "/reset", "/security/", "//", "/SIGN-IN", "/assets/../sign-in"] {
            assert_eq!(found(Method::GET, path), None, "{path}");
        }
    }

    #[test]
    fn a_form_without_a_page_of_its_own_stands_on_the_one_above() {
        for (path, page) in [
            ("/", "/"),
            ("/security", "/security"),
            ("/billing/top-up", "/billing"),
            ("/keys/12/deactivate", "/keys/12"),
            ("/sign-out", "/"),
            ("/sign-out/everywhere", "/"),
        ] {
            assert_eq!(page_at_or_above(path), page, "{path}");
        }
    }

    #[test]
    fn the_part_in_braces_may_stand_anywhere() {
        for (path, part) in [
            ("/keys/12/rotate", Some("12")),
            ("/keys/new/rotate", Some("new")),
            ("/keys//rotate", None),
            ("/keys/rotate", None),
            ("/keys/1/2/rotate", None),
            ("/keys/12/rotate/", None),
            ("/keys/12", None),
        ] {
            assert_eq!(parameter("/keys/{id}/rotate", path).as_deref(), part, "{path}");
        }
    }

    #[test]
    fn no_route_is_named_twice() {
        for (at, route) in ROUTES.iter().enumerate() {
            let same = |other: &&Route| other.method == route.method && other.path == route.path;
            assert!(!ROUTES[..at].iter().any(|other| same(&other)), "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn whatever_changes_something_is_a_post() {
        assert!(ROUTES.iter().all(|route| [Method::GET, Method::POST].contains(&route.method)));
        assert!(matches!(find(&Method::GET, "/sign-out"), Err(Failure::MethodNotAllowed(allow)) if allow == "POST"));
    }
}
