//! People: who signs in to the dashboard, by which rules, and how long what they carry is good for.
//!
//! A user belongs to one account. A browser that is signed in carries a [`Secret`], of which the database keeps the hash
//! alone; so does a link that the operator makes.

mod email;
mod password;
mod secret;

use std::net::Ipv6Addr;

use crate::{ids::AccountId, moment::UnixMs};

pub use email::Email;
pub use password::{LEAST_PASSWORD_CHARS, MOST_PASSWORD_CHARS, Password, PasswordHash, PasswordProblem};
pub use secret::Secret;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A session ends so long after its sign-in, used or not.
pub const SESSION_MS: u64 = 30 * DAY_MS;
/// And so long after it was used last.
pub const SESSION_IDLE_MS: u64 = 7 * DAY_MS;
/// Its use is written down when what is written is older than this, so that not every page costs a write.
pub const SEEN_EVERY_MS: u64 = HOUR_MS;
/// A link of the operator's works for so long, once.
pub const LINK_MS: u64 = DAY_MS;
/// A browser is known by the right passwords that were typed there for so long.
pub const DEVICE_MS: u64 = 365 * DAY_MS;

/// What a user may do in the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Owner,
    /// What does not concern money or other users.
    Member,
}

impl Role {
    /// Its name in the store and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Owner, Self::Member].into_iter().find(|known| known.name() == name)
    }
}

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who it is: an email address has one user.
    pub email: Email,
    /// The account.
    pub account: AccountId,
    /// What the user may do there.
    pub role: Role,
    /// When the user was made.
    pub created_at: UnixMs,
    /// None: the user signs in by a link or at the OpenID provider.
    pub password: Option<PasswordHash>,
    /// What the OpenID provider calls the user: issuer, a space, subject.
    pub subject: Option<String>,
    /// Whether somebody vouched for the address: the operator by a link, or the OpenID provider. An address from the
    /// sign-up form nobody has seen.
    pub verified: bool,
    /// Sessions of another epoch are over: counting it up ends them all. It begins with the moment when the user was made,
    /// so that sessions of a user who was removed are none of the next one's with the same address.
    pub epoch: u64,
}

impl User {
    /// A user who can't sign in yet, but by a link or at the OpenID provider.
    pub fn new(email: Email, account: AccountId, role: Role, at: UnixMs) -> Self {
        Self { email, account, role, created_at: at, password: None, subject: None, verified: true, epoch: at.0 }
    }
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub email: Email,
    /// The user's epoch when it began.
    pub epoch: u64,
    /// When it began.
    pub created_at: UnixMs,
    /// When it was used, about.
    pub seen_at: UnixMs,
}

impl Session {
    /// When it is over if nobody uses it.
    pub fn ends_at(&self) -> UnixMs {
        self.created_at.plus_ms(SESSION_MS).min(self.seen_at.plus_ms(SESSION_IDLE_MS))
    }

    /// Whether it is good for this user at `at`.
    pub fn is_live(&self, user: &User, at: UnixMs) -> bool {
        at < self.ends_at() && self.epoch == user.epoch && self.email == user.email
    }

    /// Whether its use should be written down.
    pub fn is_worth_writing(&self, at: UnixMs) -> bool {
        at >= self.seen_at.plus_ms(SEEN_EVERY_MS)
    }
}

/// What a link of the operator's is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// Makes the user.
    Invitation,
    /// Sets a new password.
    Reset,
    /// Signs in without a password.
    SignIn,
}

impl LinkKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Invitation, Self::Reset, Self::SignIn];

    /// Its name in the store, and in the link's path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Reset => "reset",
            Self::SignIn => "link",
        }
    }

    /// The one with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Where the link leads, behind the dashboard's own address: `https://…/dashboard`.
    pub fn url(self, dashboard: &str, secret: &Secret) -> String {
        format!("{dashboard}/{}/{}", self.name(), secret.reveal())
    }
}

/// A link that the operator makes: it works once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it is for.
    pub kind: LinkKind,
    /// Whom.
    pub email: Email,
    /// The account that an invitation is to.
    pub account: AccountId,
    /// As what.
    pub role: Role,
    /// When it was made.
    pub created_at: UnixMs,
}

impl Link {
    /// Until when it works.
    pub fn expires_at(&self) -> UnixMs {
        self.created_at.plus_ms(LINK_MS)
    }
}

/// Whose tries are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tries<'a> {
    /// Of passwords for one address, from wherever. Ten in a quarter of an hour are plenty for a person who half
    /// remembers, and make a thousand guesses a day. Whoever knows an address can use these up all the time, which keeps
    /// its user out of new browsers, but not out of those that are known.
    Password(&'a Email),
    /// Of passwords for one address in a browser where the right one was typed before: the browser's secret for that
    /// address.
    Known(&'a Secret),
    /// Of the current password, by whoever is signed in as this user.
    Current(&'a Email),
    /// Of passwords for whatever addresses, from one client's address: a company may share one.
    Client(&'a str),
    /// New accounts from one client's address.
    SignUp(&'a str),
    /// Pages to pay on, for one account: a card thief tries many cards, a customer few.
    TopUp(&'a AccountId),
}

impl Tries<'_> {
    /// How many in how long; windows are fixed, so twice as many may come around a window's end.
    fn window(&self) -> (u32, u64) {
        match self {
            Self::Password(_) | Self::Known(_) | Self::Current(_) => (10, 15 * MINUTE_MS),
            Self::Client(_) => (50, 15 * MINUTE_MS),
            Self::SignUp(_) => (10, HOUR_MS),
            Self::TopUp(_) => (20, HOUR_MS),
        }
    }

    /// The most in a window.
    pub fn most(&self) -> u32 {
        self.window().0
    }

    /// The end of the window that `at` is in.
    pub fn window_end(&self, at: UnixMs) -> UnixMs {
        let (_, ms) = self.window();
        UnixMs((at.0 / ms + 1).saturating_mul(ms))
    }

    /// What they are counted under, within a window.
    pub fn name(&self) -> String {
        match self {
            Self::Password(email) => format!("password#{email}"),
            Self::Known(secret) => format!("known#{}", secret.hash()),
            Self::Current(email) => format!("current#{email}"),
            Self::Client(address) => format!("client#{}", network_of(address)),
            Self::SignUp(address) => format!("sign-up#{}", network_of(address)),
            Self::TopUp(account) => format!("top-up#{account}"),
        }
    }
}

/// Whom an address stands for: a household or a machine has all of an IPv6 network of 64 bits, and one IPv4 address.
fn network_of(address: &str) -> String {
    match address.parse::<Ipv6Addr>() {
        Ok(address) => address.segments()[..4].iter().map(|group| format!("{group:x}:")).collect(),
        Err(_) => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMs = UnixMs(1_795_426_200_000);

    fn user() -> User {
        let account = AccountId::from_random([1; 10]);
        User::new(Email::parse("ada@example.com").unwrap(), account, Role::Owner, AT)
    }

    fn session(seen_at: UnixMs) -> Session {
        Session { email: user().email, epoch: user().epoch, created_at: AT, seen_at }
    }

    #[test]
    fn a_session_ends_a_week_after_its_last_use_and_a_month_after_its_first() {
        assert!(session(AT).is_live(&user(), AT.plus_ms(SESSION_IDLE_MS - 1)));
        assert!(!session(AT).is_live(&user(), AT.plus_ms(SESSION_IDLE_MS)));
        let used = session(AT.plus_ms(SESSION_MS - 1));
        assert!(used.is_live(&user(), AT.plus_ms(SESSION_MS - 1)));
        assert!(!used.is_live(&user(), AT.plus_ms(SESSION_MS)));
    }

    #[test]
    fn a_new_epoch_ends_every_session_and_no_session_is_another_user_s() {
        assert!(!session(AT).is_live(&User { epoch: user().epoch + 1, ..user() }, AT));
        assert!(!session(AT).is_live(&User { email: Email::parse("eve@example.com").unwrap(), ..user() }, AT));
    }

    #[test]
    fn use_is_written_down_once_an_hour() {
        assert!(!session(AT).is_worth_writing(AT.plus_ms(SEEN_EVERY_MS - 1)));
        assert!(session(AT).is_worth_writing(AT.plus_ms(SEEN_EVERY_MS)));
    }

    #[test]
    fn windows_follow_each_other_without_a_gap() {
        let tries = Tries::Client("127.0.0.1");
        let end = tries.window_end(AT);
        assert!(end > AT && end.0 - AT.0 <= 15 * MINUTE_MS);
        assert_eq!(tries.window_end(UnixMs(end.0 - 1)), end);
        assert_eq!(tries.window_end(end), end.plus_ms(15 * MINUTE_MS));
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one_client() {
        let name = |address| Tries::Client(address).name();
        assert_eq!(name("2001:db8:0:1::1"), name("2001:db8::1:ffff:0:0:2"));
        assert_ne!(name("2001:db8:0:1::1"), name("2001:db8:0:2::1"));
        assert_ne!(name("192.0.2.1"), name("192.0.2.2"));
    }

    #[test]
    fn names_are_read_back() {
        for kind in LinkKind::ALL {
            assert_eq!(LinkKind::parse(kind.name()), Some(kind));
        }
        for role in [Role::Owner, Role::Member] {
            assert_eq!(Role::parse(role.name()), Some(role));
        }
        let secret = Secret::from_random([0xAB; 32]);
        let url = LinkKind::Reset.url("https://gateway.example/dashboard", &secret);
        assert_eq!(url, format!("https://gateway.example/dashboard/reset/{}", "ab".repeat(32)));
    }
}
