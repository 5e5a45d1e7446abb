//! Finds the route of a path, as API Gateway does.
//!
//! A literal segment goes before a `{parameter}`, that before a `{greedy+}` rest; what leads nowhere is tried again one
//! step up. A method's own route goes before `ANY`. It knows nothing of what routes lead to.

use std::collections::HashMap;

use http::Method;
use percent_encoding::percent_decode_str;

/// Routes to values of `T`.
#[derive(Debug)]
pub struct Router<T> {
    root: Node<T>,
}

/// A route that was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'a, T> {
    /// The path's template.
    pub resource: &'a str,
    /// The template's parameters, decoded.
    pub parameters: HashMap<String, String>,
    /// What the route leads to.
    pub target: &'a T,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<String, Node<T>>,
    parameter: Option<(String, Box<Node<T>>)>,
    /// What takes all that is left of the path.
    greedy: Option<(String, Resource<T>)>,
    resource: Option<Resource<T>>,
}

#[derive(Debug)]
struct Resource<T> {
    template: String,
    methods: HashMap<Method, T>,
    any: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), parameter: None, greedy: None, resource: None }
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Router<T> {
    /// Adds a route; no method is every method.
    ///
    /// # Errors
    /// A route that is there already, or a template that API Gateway would refuse.
    pub fn add(&mut self, method: Option<Method>, template: &str, target: T) -> Result<(), String> {
        let mut node = &mut self.root;
        let mut segments = segments(template).peekable();
        let resource = loop {
            let Some(segment) = segments.next() else { break &mut node.resource };
            match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                None => node = node.literals.entry(segment.to_owned()).or_default(),
                Some(name) => match name.strip_suffix('+') {
                    Some(_) if segments.peek().is_some() => {
                        return Err(format!("{template}: nothing may follow {segment}"));
                    }
                    Some(name) => {
                        let (known, resource) =
                            node.greedy.get_or_insert_with(|| (name.to_owned(), Resource::at(template)));
                        same_name(template, known, name)?;
                        return resource.add(method, target);
                    }
                    None => {
                        let (known, child) = node.parameter.get_or_insert_with(|| (name.to_owned(), Box::default()));
                        same_name(template, known, name)?;
                        node = child;
                    }
                },
            }
        };
        resource.get_or_insert_with(|| Resource::at(template)).add(method, target)
    }

    /// The route that answers `method` on `path`.
    pub fn find(&self, method: &Method, path: &str) -> Option<Found<'_, T>> {
        let segments: Vec<&str> = segments(path).collect();
        let mut parameters = Vec::new();
        let resource = self.root.find(&segments, &mut parameters)?;
        let target = resource.methods.get(method).or(resource.any.as_ref())?;
        let parameters = parameters
            .into_iter()
            .map(|(name, raw)| (name.to_owned(), percent_decode_str(&raw).decode_utf8_lossy().into_owned()))
            .collect();
        Some(Found { resource: &resource.template, parameters, target })
    }
}

impl<T> Node<T> {
    fn find<'a>(&'a self, segments: &[&str], parameters: &mut Vec<(&'a str, String)>) -> Option<&'a Resource<T>> {
        let Some((first, rest)) = segments.split_first() else { return self.resource.as_ref() };
        if let Some(found) = self.literals.get(*first).and_then(|node| node.find(rest, parameters)) {
            return Some(found);
        }
        if first.is_empty() {
            // An empty segment is nothing that a parameter could stand for.
            return None;
        }
        if let Some((name, node)) = &self.parameter {
            parameters.push((name, (*first).to_owned()));
            if let Some(found) = node.find(rest, parameters) {
                return Some(found);
            }
            parameters.pop();
        }
        let (name, resource) = self.greedy.as_ref()?;
        parameters.push((name, segments.join("/")));
        Some(resource)
    }
}

impl<T> Resource<T> {
    fn at(template: &str) -> Self {
        Self { template: template.to_owned(), methods: HashMap::new(), any: None }
    }

    fn add(&mut self, method: Option<Method>, target: T) -> Result<(), String> {
        let name = method.as_ref().map_or("ANY", Method::as_str).to_owned();
        let taken = match method {
            Some(method) => self.methods.insert(method, target).is_some(),
            None => self.any.replace(target).is_some(),
        };
        if taken { Err(format!("two routes for {name} {}", self.template)) } else { Ok(()) }
    }
}

/// `/v1/models` is `v1`, `models`; `/` has none.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split('/').filter(move |_| !path.is_empty())
}

/// API Gateway has one parameter per place, so it has one name.
fn same_name(template: &str, known: &str, name: &str) -> Result<(), String> {
    if known == name { Ok(()) } else { Err(format!("{template}: another route calls {{{name}}} {{{known}}}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> Router<&'static str> {
        let mut router = Router::default();
        for (method, template, target) in [
            (Some(Method::GET), "/v1/models", "list"),
            (Some(Method::GET), "/v1/models/{id+}", "model"),
            (None, "/v1/models", "models any"),
            (Some(Method::GET), "/api/keys/{id}", "key"),
            (Some(Method::POST), "/api/keys/{id}/rotate", "rotate"),
            (Some(Method::GET), "/api/keys/all", "all"),
            (None, "/", "root"),
            (None, "/{proxy+}", "unknown"),
        ] {
            router.add(method, template, target).unwrap();
        }
        router
    }

    fn target(method: Method, path: &str) -> Option<&'static str> {
        router().find(&method, path).map(|found| *found.target)
    }

    #[test]
    fn literal_beats_parameter_beats_greedy() {
        assert_eq!(target(Method::GET, "/v1/models"), Some("list"));
        assert_eq!(target(Method::GET, "/api/keys/all"), Some("all"));
        assert_eq!(target(Method::GET, "/api/keys/3"), Some("key"));
        assert_eq!(target(Method::POST, "/api/keys/all/rotate"), Some("rotate"), "a literal that leads nowhere");
        assert_eq!(target(Method::GET, "/api/keys/3/other"), Some("unknown"));
        assert_eq!(target(Method::GET, "/v1"), Some("unknown"), "a folder of routes is no route");
        assert_eq!(target(Method::GET, "/"), Some("root"));
    }

    #[test]
    fn a_method_s_own_route_beats_any() {
        assert_eq!(target(Method::POST, "/v1/models"), Some("models any"));
        assert_eq!(target(Method::DELETE, "/api/keys/3"), None, "the path is known, the method is not");
    }

    #[test]
    fn empty_segments_match_nothing_but_the_rest() {
        assert_eq!(target(Method::GET, "/v1/models/"), Some("unknown"));
        assert_eq!(target(Method::GET, "/api/keys/"), Some("unknown"));
        assert_eq!(target(Method::GET, "//v1/models"), None);
    }

    #[test]
    fn parameters_are_decoded_and_greedy_ones_keep_slashes() {
        let router = router();
        let found = router.find(&Method::GET, "/v1/models/groq/llama%203").unwrap();
        assert_eq!(found.resource, "/v1/models/{id+}");
        assert_eq!(found.parameters["id"], "groq/llama 3");
        let found = router.find(&Method::GET, "/api/keys/a%2Fb").unwrap();
        assert_eq!(found.parameters["id"], "a/b");
    }

    #[test]
    fn routes_that_api_gateway_would_refuse_are_refused() {
        let mut router = router();
        assert_eq!(router.add(None, "/", "again").unwrap_err(), "two routes for ANY /");
        assert!(router.add(None, "/api/keys/{name}", "x").unwrap_err().contains("another route calls {name} {id}"));
        assert!(router.add(None, "/{rest+}/more", "x").unwrap_err().contains("nothing may follow"));
    }
}
