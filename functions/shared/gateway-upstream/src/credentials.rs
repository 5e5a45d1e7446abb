//! The providers' keys: loaded when the first is needed, again when they are old, and once when a provider refuses one.
//!
//! Nothing here may print a secret; names may be printed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// Keys by name.
pub type Secrets = HashMap<String, String>;

/// Where the keys come from; an error says why they do not, without any of them.
pub type Source = Arc<dyn Fn() -> BoxFuture<'static, Result<Secrets, String>> + Send + Sync>;

/// Older keys are fetched again: a key that was changed is in use after this long at the latest.
const MAX_AGE: Duration = Duration::from_secs(300);

/// The providers' keys.
#[derive(Clone)]
pub struct Credentials {
    /// None: the keys never change.
    source: Option<Source>,
    /// None: the keys were never fetched yet.
    loaded: Arc<RwLock<Option<Loaded>>>,
    /// Held while the keys are fetched: once at a time.
    fetching: Arc<Mutex<()>>,
}

struct Loaded {
    secrets: Secrets,
    at: Instant,
}

impl Credentials {
    /// Keys that never change.
    pub fn fixed(secrets: Secrets) -> Self {
        Self::of(None, Some(Loaded { secrets, at: Instant::now() }))
    }

    /// The keys that `source` gives when they are needed.
    pub fn from_source(source: Source) -> Self {
        Self::of(Some(source), None)
    }

    fn of(source: Option<Source>, loaded: Option<Loaded>) -> Self {
        Self { source, loaded: Arc::new(RwLock::new(loaded)), fetching: Arc::default() }
    }

    /// Fetches the keys, unless they were before.
    ///
    /// # Errors
    /// What the source says.
    pub async fn load(&self) -> Result<(), String> {
        let _fetching = self.fetching.lock().await;
        if self.read(|loaded| loaded.is_some()) { Ok(()) } else { self.fetch().await }
    }

    /// The key of this name. Old keys are fetched again first; if that fails, they are used as they are.
    pub(crate) async fn secret(&self, name: &str) -> Option<String> {
        match self.read(|loaded| loaded.map(|loaded| loaded.at.elapsed())) {
            None => logged(self.load().await),
            Some(age) if age > MAX_AGE => {
                // Whoever finds the fetch under way uses the old keys: they were good a moment ago.
                if let Ok(_fetching) = self.fetching.try_lock() {
                    logged(self.fetch().await);
                }
            }
            Some(_) => {}
        }
        self.known(name)
    }

    /// The key of this name after a provider refused `refused`, if it is another one now.
    pub(crate) async fn replacement(&self, name: &str, refused: &str) -> Option<String> {
        let another = || self.known(name).filter(|secret| secret != refused);
        let _fetching = self.fetching.lock().await;
        // Of many refused at once, the first one fetches.
        if another().is_none() {
            logged(self.fetch().await);
        }
        another()
    }

    fn known(&self, name: &str) -> Option<String> {
        self.read(|loaded| loaded?.secrets.get(name).cloned())
    }

    fn read<T>(&self, read: impl FnOnce(Option<&Loaded>) -> T) -> T {
        read(self.loaded.read().unwrap_or_else(PoisonError::into_inner).as_ref())
    }

    async fn fetch(&self) -> Result<(), String> {
        let Some(source) = &self.source else { return Ok(()) };
        let secrets = source().await?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(Loaded { secrets, at: Instant::now() });
        Ok(())
    }
}

fn logged(fetched: Result<(), String>) {
    if let Err(error) = fetched {
        tracing::error!(error, "the providers' credentials could not be fetched; those there are stay");
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|loaded| f.debug_set().entries(loaded.into_iter().flat_map(|loaded| loaded.secrets.keys())).finish())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A source that counts: its key is `v1` the first time, `v2` the second.
    fn counting() -> (Source, Arc<AtomicU32>) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let source: Source = Arc::new(move || {
            let version = counted.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(async move { Ok(Secrets::from([("lab".to_owned(), format!("v{version}"))])) })
        });
        (source, count)
    }

    #[tokio::test(start_paused = true)]
    async fn keys_older_than_five_minutes_are_fetched_again() {
        let (source, count) = counting();
        let credentials = Credentials::from_source(source);
        credentials.load().await.unwrap();
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(credentials.secret("lab").await.as_deref(), Some("v1"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(credentials.secret("lab").await.as_deref(), Some("v2"));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn of_many_refused_at_once_one_fetches() {
        let (source, count) = counting();
        let credentials = Credentials::from_source(source);
        credentials.load().await.unwrap();
        let refused = (0..8).map(|_| credentials.replacement("lab", "v1"));
        for secret in futures_util::future::join_all(refused).await {
            assert_eq!(secret.as_deref(), Some("v2"));
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_source_fails_the_old_keys_stay() {
        let first = Arc::new(AtomicU32::new(0));
        let source: Source = Arc::new(move || {
            let fails = first.fetch_add(1, Ordering::SeqCst) > 0;
            let answer = if fails {
                Err("throttled".to_owned())
            } else {
                Ok(Secrets::from([("lab".to_owned(), "v1".to_owned())]))
            };
            Box::pin(std::future::ready(answer))
        });
        let credentials = Credentials::from_source(source);
        credentials.load().await.unwrap();
        tokio::time::advance(MAX_AGE * 2).await;
        assert_eq!(credentials.secret("lab").await.as_deref(), Some("v1"));
        assert_eq!(credentials.replacement("lab", "v1").await, None);
        assert_eq!(credentials.secret("other").await, None);
    }

    #[tokio::test]
    async fn keys_that_could_not_be_loaded_are_when_one_is_needed_and_by_one_request_of_many() {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = calls.clone();
        let source: Source = Arc::new(move || {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            let keys = || Secrets::from([("lab".to_owned(), "v1".to_owned())]);
            Box::pin(std::future::ready(if call == 0 { Err("throttled".to_owned()) } else { Ok(keys()) }))
        });
        let credentials = Credentials::from_source(source);
        assert_eq!(credentials.load().await, Err("throttled".to_owned()));
        let needed = (0..8).map(|_| credentials.secret("lab"));
        for secret in futures_util::future::join_all(needed).await {
            assert_eq!(secret.as_deref(), Some("v1"));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn debug_shows_names_alone() {
        let credentials = Credentials::fixed(Secrets::from([("lab".to_owned(), "marked secret".to_owned())]));
        assert_eq!(format!("{credentials:?}"), r#"{"lab"}"#);
    }
}
