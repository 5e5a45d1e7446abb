//! A browser, as far as the dashboard needs one: it keeps cookies, sends forms as browsers do, and follows nothing by
//! itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use http::{Method, header};

use crate::Answer;

/// A browser with its cookies.
pub struct Browser {
    http: reqwest::Client,
    url: String,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl Browser {
    /// A browser that has never been anywhere, of the site at `url`.
    pub fn new(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, url: url.to_owned(), cookies: Mutex::default() }
    }

    /// A request with its cookies, to be changed as the test likes. `path` may be a whole address.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let address = if path.starts_with('/') { format!("{}{path}", self.url) } else { path.to_owned() };
        let cookies = self.jar(|jar| jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>());
        let request = self.http.request(method, address);
        if cookies.is_empty() { request } else { request.header(header::COOKIE, cookies.join("; ")) }
    }

    /// Sends a request and keeps what it is told to.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = Answer::of(request).await;
        for line in answer.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.jar(|jar| match line.contains("Max-Age=0") {
                true => drop(jar.remove(name)),
                false => drop(jar.insert(name.to_owned(), value.to_owned())),
            });
        }
        answer
    }

    /// Opens a page.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Opens a page with this query.
    pub async fn open_with(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.get(&format!("{path}?{query}")).await
    }

    /// Sends a form of this page, with the token that the page has, as a browser does: with its origin.
    pub async fn submit(&self, page: &Answer, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = csrf(page);
        self.send(self.form(path, &[fields, &[("csrf", &token)]].concat())).await
    }

    /// A form of a page of this site, to be changed as the test likes.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        self.form_from(path, fields, &self.url, "same-origin")
    }

    /// A form of a page of this origin, which is to the site as the browser says.
    pub fn form_from(&self, path: &str, fields: &[(&str, &str)], origin: &str, site: &str) -> reqwest::RequestBuilder {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request(Method::POST, path).body(body);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.header(header::ORIGIN, origin).header("sec-fetch-site", site)
    }

    /// Opens this page's form and sends it with these fields.
    pub async fn fill(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let page = self.get(path).await;
        self.submit(&page, path, fields).await
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar(|jar| jar.get(name).cloned())
    }

    /// Puts a cookie into it, as somebody else might have.
    pub fn bring(&self, name: &str, value: &str) {
        self.jar(|jar| jar.insert(name.to_owned(), value.to_owned()));
    }

    /// Who is signed in, as the page's head says.
    pub async fn user(&self) -> Option<String> {
        let page = self.get("/dashboard/security").await;
        if page.status != 200 {
            assert_eq!(page.status, 303, "{}", page.text);
            return None;
        }
        let after = page.text.split_once("/dashboard/security\">").unwrap().1;
        Some(after.split('<').next().unwrap().to_owned())
    }

    fn jar<T>(&self, act: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        act(&mut self.cookies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The token in a page's forms; empty if it has none.
pub(crate) fn csrf(page: &Answer) -> String {
    let mark = "name=\"csrf\" value=\"";
    page.text.split_once(mark).map_or_else(String::new, |(_, rest)| rest.split('"').next().unwrap().to_owned())
}
