//! Passwords are kept as argon2id hashes, and compared in the same time whether there is a user or not.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use gateway_core::{
    error::ApiError,
    people::{Password, PasswordHash},
};

/// OWASP's recommendation (Password Storage Cheat Sheet): 19 MiB, two passes, one lane. It takes some 20 ms of a processor,
/// and memory that a small function has. More of either would be no harder to guess at than it is to keep.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What is compared where there is no user or no password: of the same parameters, and of no password that anybody knows.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes passwords, and counts how many it hashed.
#[derive(Debug, Clone, Default)]
pub struct Passwords(Arc<AtomicU64>);

impl Passwords {
    /// How many passwords were hashed, to be kept or compared.
    pub fn hashed(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The hash to keep.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash, ApiError> {
        self.work(move |argon2| argon2.hash_password(password.bytes()).map(|hash| PasswordHash(hash.to_string())))
            .await?
            .map_err(|error| ApiError::internal(format!("a password could not be hashed: {error}")))
    }

    /// Whether it is the password with this hash. Takes as long where there is none, and then it is not.
    pub(crate) async fn is_right(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool, ApiError> {
        // Hashing what can be nobody's would be work for whoever sends it.
        if password.is_too_long() {
            return Ok(false);
        }
        let there_is_one = hash.is_some();
        let known = hash.map_or_else(|| NOBODYS.to_owned(), |PasswordHash(hash)| hash);
        let same = self.work(move |argon2| {
            phc::PasswordHash::new(&known).map(|known| argon2.verify_password(password.bytes(), &known).is_ok())
        });
        let same =
            same.await?.map_err(|error| ApiError::internal(format!("a password's hash is unreadable: {error}")))?;
        Ok(same && there_is_one)
    }

    /// Does the work of one hash where it holds nobody else up.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None);
        let params = params.map_err(|error| ApiError::internal(format!("argon2's parameters: {error}")))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let done = tokio::task::spawn_blocking(move || work(argon2)).await;
        done.map_err(|error| ApiError::internal(format!("hashing ended: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_right_and_every_comparison_is_one_hash() {
        let passwords = Passwords::default();
        let typed = || Password::typed("correct horse battery");
        let hash = passwords.hash(typed()).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "the parameters are the ones of nobody's hash");
        assert_ne!(passwords.hash(typed()).await.unwrap(), hash, "salted");
        assert_eq!(passwords.hashed(), 2);
        assert!(passwords.is_right(typed(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_right(Password::typed("correct horse batterz"), Some(hash)).await.unwrap());
        assert!(!passwords.is_right(typed(), None).await.unwrap());
        assert_eq!(passwords.hashed(), 5);
    }
}
