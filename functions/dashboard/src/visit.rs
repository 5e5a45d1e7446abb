//! One request, as a page sees it: who is signed in, the form, the place.

use form_urlencoded::byte_serialize;
use gateway_core::{
    error::ApiError,
    people::{Role, Secret, User},
};
use gateway_lambda::Request;
use gateway_store::{SignedIn, Standing, random};

use crate::{
    App,
    answer::{Answer, Failure},
    cookies::Cookie,
    form::Form,
    frame::{Frame, Low},
    routes,
    site::{Site, own_path},
};

/// What tells our own pages' forms from others': derived from the browser's secret, so it begins and ends with it.
const CSRF: &str = "csrf";

/// A request to a page.
pub(crate) struct Visit<'a> {
    pub(crate) app: &'a App,
    pub(crate) request: &'a Request,
    pub(crate) site: &'a Site,
    /// What stands for the braces in the route's path.
    pub(crate) parameter: String,
    /// The form, once it is known to be ours.
    pub(crate) form: Form,
    signed_in: Option<SignedIn>,
    /// How the account of who is signed in stands.
    standing: Option<Standing>,
    /// The session's secret, or the visitor's; none where no page with a form is answered.
    secret: Option<Secret>,
    cookies: Vec<(Cookie, Option<String>)>,
}

impl<'a> Visit<'a> {
    /// The visit of whoever the browser's cookies say.
    pub(crate) async fn open(app: &'a App, request: &'a Request, site: &'a Site) -> Result<Self, Failure> {
        let mut visit = Self::of_stranger(app, request, site);
        if let Some(secret) = Cookie::Session.secret(site, &request.headers) {
            visit.signed_in = app.store.session(&secret, request.at).await?;
            if let Some(signed_in) = &visit.signed_in {
                // Every page says so when the balance is low.
                visit.standing = app.store.account_standing(&signed_in.user.account).await?;
                visit.secret = Some(secret);
                return Ok(visit);
            }
            visit.cookies.push((Cookie::Session, None));
        }
        let known = Cookie::Visitor.secret(site, &request.headers);
        if known.is_none() {
            let secret = Secret::from_random(random()?);
            visit.cookies.push((Cookie::Visitor, Some(secret.reveal())));
            visit.secret = Some(secret);
        } else {
            visit.secret = known;
        }
        Ok(visit)
    }

    /// A visit of nobody, who gets no form.
    pub(crate) fn of_stranger(app: &'a App, request: &'a Request, site: &'a Site) -> Self {
        let (parameter, form) = (String::new(), Form::default());
        Self { app, request, site, parameter, form, signed_in: None, standing: None, secret: None, cookies: Vec::new() }
    }

    /// What the browser has to be told about its cookies.
    pub(crate) fn cookies(&self) -> Vec<(Cookie, Option<String>)> {
        self.cookies.clone()
    }

    /// Who is signed in.
    pub(crate) fn signed_in(&self) -> Result<&SignedIn, Failure> {
        self.signed_in.as_ref().ok_or(Failure::SignedOut)
    }

    /// The account of who is signed in.
    pub(crate) fn standing(&self) -> Result<&Standing, Failure> {
        self.signed_in()?;
        let missing = || ApiError::internal("the user's account does not exist").into();
        self.standing.as_ref().ok_or_else(missing)
    }

    /// Whether who is signed in may do what concerns money.
    pub(crate) fn is_owner(&self) -> bool {
        self.guest().is_some_and(|user| user.role == Role::Owner)
    }

    /// The user who is signed in, if anybody is.
    pub(crate) fn guest(&self) -> Option<&User> {
        self.signed_in.as_ref().map(|signed_in| &signed_in.user)
    }

    /// Reads the form, if it comes from a page of ours in this very browser: by what the browser says of its origin, and by
    /// the token that the page gave it, in the field `csrf` or, from htmx, in a header.
    pub(crate) fn read_form(&mut self) -> Result<(), Failure> {
        if !self.is_from_here() {
            return Err(Failure::Forged);
        }
        let form = Form::read(&self.request.body).ok_or(Failure::Unreadable)?;
        let token = self.request.header("x-csrf-token").unwrap_or_else(|| form.text("csrf"));
        if !self.secret.as_ref().is_some_and(|secret| secret.derive(CSRF).is_masked_in(token)) {
            return Err(Failure::Forged);
        }
        self.form = form;
        Ok(())
    }

    /// Whether the browser says that the request is from a page of this origin; an old one says nothing.
    fn is_from_here(&self) -> bool {
        let origin = self.request.header("origin").is_none_or(|origin| origin == self.site.origin);
        let fetch_site = self.request.header("sec-fetch-site").is_none_or(|site| site == "same-origin");
        origin && fetch_site
    }

    /// The frame of a page with this title; `here` is its path in the navigation.
    pub(crate) fn frame<'f>(&'f self, title: &'f str, here: &'f str) -> Frame<'f> {
        // Without a random source the token is written as it is, which is no secret of a page that nobody compresses.
        let token = |secret: &Secret| secret.derive(CSRF).masked(random().unwrap_or_default());
        let csrf = self.secret.as_ref().map(token).unwrap_or_default();
        let low_balance = self.standing.as_ref().and_then(Low::of);
        Frame::new(self.site, title, here, self.guest(), csrf, low_balance)
    }

    /// The page to go on to after signing in, as the query or the form names it.
    pub(crate) fn next(&self) -> &str {
        let named =
            if self.form.text("next").is_empty() { self.request.query("next") } else { Some(self.form.text("next")) };
        named.and_then(own_path).unwrap_or("/")
    }

    /// The path of this very page; of a form without a page of its own, of the one that it stands on.
    pub(crate) fn page(&self) -> &str {
        routes::page_at_or_above(&self.site.path)
    }

    /// `?next=…` with this very page, for a sign-in page that leads back to it.
    pub(crate) fn come_back(&self) -> String {
        let pairs = self.request.query.iter().map(|(name, value)| {
            let escaped = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            format!("{}={}", escaped(name), escaped(value))
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        match own_path(&format!("{}{mark}{query}", self.page())) {
            None | Some("/") => String::new(),
            Some(path) => format!("?next={}", byte_serialize(path.as_bytes()).collect::<String>()),
        }
    }

    /// Signs `user` in and goes on to `next`. The session is a new one, whatever the browser had: a secret that somebody
    /// else put into it is worth nothing. The one it had is over.
    pub(crate) async fn sign_in(&self, user: &User, next: &str) -> Result<Answer, Failure> {
        let secret = Secret::from_random(random()?);
        if let Some(old) = Cookie::Session.secret(self.site, &self.request.headers) {
            self.app.store.session_close(&old).await?;
        }
        self.app.store.session_open(&secret, user, self.request.at).await?;
        Ok(Answer::go(next).cookie(Cookie::Session, Some(secret.reveal())).cookie(Cookie::Visitor, None))
    }

    /// Ends this browser's session.
    pub(crate) async fn sign_out(&self) -> Result<Answer, Failure> {
        if let Some(secret) = Cookie::Session.secret(self.site, &self.request.headers) {
            self.app.store.session_close(&secret).await?;
        }
        Ok(Answer::go("/sign-in").cookie(Cookie::Session, None))
    }
}
