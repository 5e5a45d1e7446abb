//! What a page answers, what goes wrong, and the headers that every answer carries.

use askama::Template;
use gateway_core::{
    error::{ApiError, ErrorCode},
    moment::UnixMs,
};
use gateway_lambda::Response;
use gateway_store::StoreError;
use http::{HeaderName, HeaderValue, header};

use crate::{cookies::Cookie, frame::Frame, site::Site, visit::Visit};

const HTML: &str = "text/html; charset=utf-8";

/// What a page may load and do: our own style sheet, script and images, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// On every answer. `same-origin`: an address of ours, which may hold a link's secret, is told to nobody else; without any
/// referrer at all browsers would also leave the origin out of our own forms.
const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// A browser that came by https once comes by nothing else for a year.
const ONLY_HTTPS: (&str, &str) = ("strict-transport-security", "max-age=31536000");

const FOR_EVER: &str = "public, max-age=31536000, immutable";
const NOT_KEPT: &str = "no-store";

/// A page's answer.
pub(crate) struct Answer {
    status: u16,
    body: Body,
    cookies: Vec<(Cookie, Option<String>)>,
    more: Vec<(HeaderName, HeaderValue)>,
}

enum Body {
    Page(String),
    /// A path behind `/dashboard`, or a whole address.
    Elsewhere(String),
    /// What is no page, whole or in pieces.
    File(Response),
    Asset {
        content_type: &'static str,
        text: &'static str,
        for_ever: bool,
    },
}

impl Answer {
    /// A page.
    pub(crate) fn page(template: &impl Template) -> Result<Self, Failure> {
        Self::page_with(200, template)
    }

    /// A page that says what is wrong with a form.
    pub(crate) fn page_with(status: u16, template: &impl Template) -> Result<Self, Failure> {
        let text = template.render().map_err(|error| ApiError::internal(format!("a page does not render: {error}")))?;
        Ok(Self::of(status, Body::Page(text)))
    }

    /// A file of the visitor's own, under this name.
    pub(crate) fn file(response: Response, disposition: &'static str) -> Self {
        let disposition = HeaderValue::from_static(disposition);
        Self::of(200, Body::File(response.header(header::CONTENT_DISPOSITION, disposition)))
    }

    /// On to another page of ours, `/security?notice=password`, by GET.
    pub(crate) fn go(path: impl Into<String>) -> Self {
        Self::of(303, Body::Elsewhere(path.into()))
    }

    /// On to another site.
    pub(crate) fn leave(address: String) -> Self {
        Self::of(303, Body::Elsewhere(address))
    }

    /// A file; `for_ever` if its name is its contents' own.
    pub(crate) fn asset(content_type: &'static str, text: &'static str, for_ever: bool) -> Self {
        Self::of(200, Body::Asset { content_type, text, for_ever })
    }

    fn of(status: u16, body: Body) -> Self {
        Self { status, body, cookies: Vec::new(), more: Vec::new() }
    }

    /// The same, and the browser keeps this cookie, or forgets it.
    pub(crate) fn cookie(mut self, cookie: Cookie, value: Option<String>) -> Self {
        self.cookies.push((cookie, value));
        self
    }

    /// The same with these cookies too, where the page has none of the kind of its own.
    pub(crate) fn behind(mut self, cookies: Vec<(Cookie, Option<String>)>) -> Self {
        for (cookie, value) in cookies {
            if !self.cookies.iter().any(|(own, _)| *own == cookie) {
                self.cookies.push((cookie, value));
            }
        }
        self
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        self.more.extend(value.try_into().ok().map(|value| (name, value)));
        self
    }

    /// The HTTP answer, with the headers that every answer carries.
    pub(crate) fn into_response(self, site: &Site) -> Response {
        let mut cache = NOT_KEPT;
        let mut response = match self.body {
            Body::Page(text) => Response::bytes(self.status, HTML, text),
            Body::File(response) => response,
            Body::Asset { content_type, text, for_ever } => {
                cache = if for_ever { FOR_EVER } else { NOT_KEPT };
                Response::bytes(self.status, content_type, text)
            }
            Body::Elsewhere(target) => {
                let target = if target.starts_with('/') { site.at(&target) } else { target };
                // What is no header's value is no address of ours or of the provider's: better the first page.
                let first = || HeaderValue::from_static("/dashboard");
                Response::see_other(HeaderValue::try_from(target).unwrap_or_else(|_| first()))
            }
        };
        for (name, value) in HEADERS.into_iter().chain(site.secure.then_some(ONLY_HTTPS)) {
            response = response.header(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response = response.header(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        for (name, value) in self.more {
            response = response.header(name, value);
        }
        for (cookie, value) in self.cookies {
            if let Some(value) = cookie.header(site, value.as_deref()) {
                response = response.header_more(header::SET_COOKIE, value);
            }
        }
        response
    }
}

/// Why there is no page of its own.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No such page.
    NotFound,
    /// The page is there, for this method.
    MethodNotAllowed(String),
    /// Nobody is signed in.
    SignedOut,
    /// It is for the account's owners.
    NotOwner,
    /// The form is not from a page of ours, or from one of long ago.
    Forged,
    /// The form is no form.
    Unreadable,
    /// Too many tries; when to come again.
    TooMany(UnixMs),
    /// Our fault, or the database's.
    Internal(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Internal(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.into())
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    frame: Frame<'a>,
    heading: &'a str,
    text: String,
    /// Where one goes on from here: the link's words and its path.
    label: &'static str,
    path: &'a str,
}

impl Failure {
    /// Its page.
    pub(crate) fn answer(self, visit: &Visit<'_>) -> Answer {
        let by_script = visit.request.header("hx-request").is_some();
        if matches!(self, Self::SignedOut) && visit.request.method == http::Method::GET && !by_script {
            return Answer::go(format!("/sign-in{}", visit.come_back()));
        }
        if let Some(error) = self.logged() {
            visit.request.record.failed(&error);
        }
        let (status, heading, text) = self.words(visit);
        let (label, path) = self.way_on(visit);
        let page = FailurePage { frame: visit.frame(heading, ""), heading, text, label, path: &path };
        // A template that fails for a failure leaves its words.
        let answer = Answer::page_with(status, &page).unwrap_or_else(|_| {
            Answer::of(status, Body::Page(format!("<!doctype html><title>{heading}</title>{heading}")))
        });
        match self {
            Self::MethodNotAllowed(allow) => answer.with(header::ALLOW, allow),
            Self::TooMany(until) => answer.with(header::RETRY_AFTER, seconds_until(until, visit).to_string()),
            // htmx goes there instead of showing this page in the middle of another.
            Self::SignedOut if by_script => answer.with(HeaderName::from_static("hx-redirect"), visit.site.at(&path)),
            _ => answer,
        }
    }

    /// The way on from its page: what the link is called, and where it leads.
    fn way_on(&self, visit: &Visit<'_>) -> (&'static str, String) {
        match self {
            Self::SignedOut => ("Sign in", format!("/sign-in{}", visit.come_back())),
            Self::Forged | Self::Unreadable if visit.page() != "/" => ("Open the page again", visit.page().to_owned()),
            _ if visit.guest().is_none() => ("Sign in", "/sign-in".to_owned()),
            _ => ("Back to the overview", "/".to_owned()),
        }
    }

    /// What the log says of it.
    fn logged(&self) -> Option<ApiError> {
        match self {
            Self::Internal(error) => Some(error.clone()),
            Self::NotFound => Some(ApiError::new(ErrorCode::NotFound, "no such page")),
            Self::MethodNotAllowed(_) => Some(ApiError::new(ErrorCode::MethodNotAllowed, "no such form")),
            Self::TooMany(_) => Some(ApiError::new(ErrorCode::RateLimitExceeded, "too many tries")),
            Self::SignedOut | Self::NotOwner | Self::Forged | Self::Unreadable => None,
        }
    }

    /// Status, heading and text.
    fn words(&self, visit: &Visit<'_>) -> (u16, &'static str, String) {
        match self {
            Self::NotFound => (404, "Page not found", "The address may be old or mistyped.".into()),
            Self::MethodNotAllowed(_) => {
                let text = "It only works through a form. Go back and use the button on the page.";
                (405, "This address can't be opened directly", text.into())
            }
            Self::SignedOut => (401, "You are signed out", "Nothing was changed. Sign in and try again.".into()),
            Self::Forged => (
                403,
                "That form can't be accepted",
                "Nothing was changed. Open the page again and send the form from there. Your browser must accept cookies, \
                 and the page must have been opened after you last signed in or out."
                    .into(),
            ),
            Self::NotOwner => {
                (403, "Only an owner can do that", "Nothing was changed. Ask an owner of the account to do it.".into())
            }
            Self::Unreadable => (
                400,
                "That form can't be read",
                "Nothing was changed. Open the page again and send the form from there.".into(),
            ),
            Self::TooMany(until) => {
                let (minutes, time) = (seconds_until(*until, visit).div_ceil(60), until.to_string());
                let time = time.get(11..16).unwrap_or_default();
                let unit = if minutes == 1 { "minute" } else { "minutes" };
                let text = format!(
                    "Try again in {minutes} {unit}, at {time} UTC. Until then every attempt is refused, even a correct one."
                );
                (429, "Too many attempts", text)
            }
            Self::Internal(_) => (
                500,
                "Something went wrong",
                format!(
                    "This is not your fault. Try again in a minute. If it happens again, give your operator this number: {}",
                    visit.request.id
                ),
            ),
        }
    }
}

fn seconds_until(until: UnixMs, visit: &Visit<'_>) -> u64 {
    until.0.saturating_sub(visit.request.at.0).div_ceil(1000).max(1)
}
