//! People, each item under one name of its own: `user#<email>`, `session#<hash>`, `link#<hash>`, `device#<hash>`,
//! `tries#<whose>#<window>`.
//!
//! No secret is stored: of a session's and a link's the hash, of a password its argon2id hash. All but users carry a TTL,
//! which may be late by days: what is over is told by the moments beside it.

mod devices;
mod links;
mod sessions;
mod tries;
mod users;

pub use links::Accepted;
pub use sessions::SignedIn;
pub use users::Pending;
