//! Cookies: which there are, and how they are written and read.

use gateway_core::people::{DEVICE_MS, SESSION_MS, Secret};
use http::{HeaderMap, HeaderValue, header};

use crate::site::Site;

/// A browser has ten minutes to come back from the OpenID provider.
const OPENID_S: u64 = 600;

/// A cookie of ours. None is for scripts, none goes along with another site's requests but for a link that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The secret of a browser that is signed in.
    Session,
    /// The secret of one that is not, so that its forms can be told from others'.
    Visitor,
    /// The secret of one where a password was right before.
    Device,
    /// The secret of a flow at the OpenID provider, and where to go on to.
    OpenId,
}

impl Cookie {
    /// A name with `__Host-` is taken by browsers from this very host over https alone, for all its paths: no other host of
    /// the domain can put one there. Over http, on this machine, there is no such thing.
    fn name(self, site: &Site) -> String {
        let name = match self {
            Self::Session => "ms_session",
            Self::Visitor => "ms_visitor",
            Self::Device => "ms_device",
            Self::OpenId => "ms_openid",
        };
        if site.secure { format!("__Host-{name}") } else { name.to_owned() }
    }

    /// How long the browser keeps it; none: until it is closed.
    fn most_age_s(self) -> Option<u64> {
        match self {
            Self::Session => Some(SESSION_MS / 1000),
            Self::Visitor => None,
            Self::Device => Some(DEVICE_MS / 1000),
            Self::OpenId => Some(OPENID_S),
        }
    }

    /// Its value, if the browser sent it.
    pub(crate) fn read<'a>(self, site: &Site, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.name(site);
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Its secret, if the browser sent one.
    pub(crate) fn secret(self, site: &Site, headers: &HeaderMap) -> Option<Secret> {
        self.read(site, headers).and_then(Secret::parse)
    }

    /// The header that sets it to `value`, or takes it away.
    pub(crate) fn header(self, site: &Site, value: Option<&str>) -> Option<HeaderValue> {
        let secure = if site.secure { "; Secure" } else { "" };
        let age = match value {
            Some(_) => self.most_age_s().map_or_else(String::new, |age| format!("; Max-Age={age}")),
            None => "; Max-Age=0".to_owned(),
        };
        let (name, value) = (self.name(site), value.unwrap_or_default());
        HeaderValue::try_from(format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}")).ok()
    }
}
