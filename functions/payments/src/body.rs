//! The body of a `POST /api/payments`.

use gateway_core::{
    error::ApiError,
    money::Nanos,
    payment::{CHECKOUT_MARK, LEAST_TOP_UP, MOST_TOP_UP, top_up_cents},
};
use gateway_lambda::{Fields, Request};
use url::Url;

/// Browsers and proxies carry URLs of that length.
const MOST_URL_BYTES: usize = 2_048;
/// The hosts that need no TLS: the customer's own machine.
const LOCAL: [&str; 2] = ["127.0.0.1", "localhost"];

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Body {
    pub(crate) cents: i64,
    pub(crate) success_url: String,
    pub(crate) cancel_url: String,
}

pub(crate) fn read(request: &Request) -> Result<Body, ApiError> {
    let fields = Fields::of(request, &["amount", "return_url"])?;
    let what = format!("an amount in USD from {LEAST_TOP_UP} to {MOST_TOP_UP}, such as 25 or \"25.00\"");
    let amount = fields.value::<Nanos>("amount", &what)?.ok_or_else(|| ApiError::missing("amount"))?;
    let cents = top_up_cents(amount)
        .ok_or_else(|| ApiError::invalid("amount", format!("'amount' must be {what}, in whole cents")))?;
    let url: String = fields.value("return_url", "a URL")?.ok_or_else(|| ApiError::missing("return_url"))?;
    let url = checked(&url).map_err(|why| ApiError::invalid("return_url", format!("'return_url' {why}")))?;
    Ok(Body { cents, success_url: marked(&url, "success"), cancel_url: marked(&url, "cancelled") })
}

/// The URL, if a browser goes where it says and takes nothing along.
fn checked(text: &str) -> Result<Url, String> {
    if text.len() > MOST_URL_BYTES {
        return Err(format!("must have at most {MOST_URL_BYTES} characters"));
    }
    // What a browser would take for a slash, or leave out.
    let is_odd = |c: char| c == '\\' || c.is_whitespace() || c.is_control();
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.filter(|rest| !rest.starts_with('/') && !text.contains(is_odd));
    let (Some(rest), Ok(url)) = (rest, Url::parse(text)) else {
        return Err("must be an absolute URL, https://app.example/billing".to_owned());
    };
    if rest.split(['/', '?']).next().is_some_and(|authority| authority.contains('@')) {
        return Err("must hold no credentials".to_owned());
    }
    if text.contains('#') {
        return Err("must have no fragment (#)".to_owned());
    }
    if url.scheme() == "http" && !url.host_str().is_some_and(|host| LOCAL.contains(&host)) {
        return Err(format!("must begin with https://, but for {}", LOCAL.join(" and ")));
    }
    Ok(url)
}

/// The same URL with the mark, which one that is there already gives way to.
fn marked(url: &Url, how: &str) -> String {
    let own = url.query().filter(|query| !query.is_empty()).into_iter().flat_map(|query| query.split('&'));
    let own = own.filter(|pair| pair.split('=').next() != Some(CHECKOUT_MARK));
    let query: Vec<_> = own.map(str::to_owned).chain([format!("{CHECKOUT_MARK}={how}")]).collect();
    let mut marked = url.clone();
    marked.set_query(Some(&query.join("&")));
    marked.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(text: &str) -> Option<(String, String)> {
        checked(text).ok().map(|url| (marked(&url, "success"), marked(&url, "cancelled")))
    }

    #[test]
    fn the_mark_is_added_and_the_url_keeps_what_it_has() {
        for (given, marked) in [
            ("https://app.example", "https://app.example/?checkout=success"),
            ("https://app.example/b?", "https://app.example/b?checkout=success"),
            ("https://app.example/b?x=1&y=%20z&x=2", "https://app.example/b?x=1&y=%20z&x=2&checkout=success"),
            ("https://app.example/b?checkout=cancelled&x", "https://app.example/b?x&checkout=success"),
            (
                "https://app.example/?s={CHECKOUT_SESSION_ID}",
                "https://app.example/?s={CHECKOUT_SESSION_ID}&checkout=success",
            ),
            ("https://app.example:8443/b", "https://app.example:8443/b?checkout=success"),
            ("https://bücher.example/", "https://xn--bcher-kva.example/?checkout=success"),
            ("http://127.0.0.1:3000/b", "http://127.0.0.1:3000/b?checkout=success"),
            ("http://localhost/b", "http://localhost/b?checkout=success"),
        ] {
            let cancelled = marked.replace("=success", "=cancelled");
            assert_eq!(urls(given), Some((marked.to_owned(), cancelled)), "{given}");
        }
    }

    #[test]
    fn a_url_that_leads_elsewhere_or_tells_secrets_is_refused() {
        for wrong in [
            "",
            "/billing",
            "app.example",
            "//app.example/",
            "ftp://app.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "HTTPS:app.example",
            "https:app.example",
            "https:///app.example",
            "https://",
            "https://?x=1",
            "https:\\\\app.example",
            "https://app.example\\@evil.example/",
            "https://app.exa mple/",
            "https://app.example/\n",
            "\thttps://app.example/",
            "https://app.example/\u{a0}",
            "https://user@app.example/",
            "https://user:secret@app.example/",
            "https://@app.example/",
            "https://app.example/#x",
            "https://app.example/?x=1#",
            "http://app.example/",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "http://192.168.0.1/",
        ] {
            assert_eq!(urls(wrong), None, "{wrong}");
        }
        let of_length = |length: usize| format!("https://app.example/{}", "x".repeat(length - 20));
        assert!(urls(&of_length(2_048)).is_some() && urls(&of_length(2_049)).is_none());
    }
}
