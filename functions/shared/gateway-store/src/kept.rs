//! What is read when it is first needed, and again when it is old.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_core::moment::UnixMs;

use crate::StoreError;

/// A value and when it was read, once it was.
pub(crate) struct Kept<T>(Mutex<Option<(Arc<T>, UnixMs)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    fn kept(&self) -> MutexGuard<'_, Option<(Arc<T>, UnixMs)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, read first if it never was or is older than `most_age_ms`.
    ///
    /// # Errors
    /// It was never read yet, and that failed now. An old value serves better than none.
    pub(crate) async fn fresh(
        &self,
        at: UnixMs,
        most_age_ms: u64,
        read: impl AsyncFnOnce() -> Result<T, StoreError>,
    ) -> Result<Arc<T>, StoreError> {
        let old = match self.kept().as_mut() {
            Some((value, read)) if at.0.saturating_sub(read.0) < most_age_ms => return Ok(value.clone()),
            Some((value, read)) => {
                // Claimed: the requests beside this one go on with what there is.
                *read = at;
                Some(value.clone())
            }
            None => None,
        };
        match (read().await, old) {
            (Ok(value), _) => {
                let value = Arc::new(value);
                *self.kept() = Some((value.clone(), at));
                Ok(value)
            }
            (Err(error), Some(old)) => {
                tracing::error!(%error, "what is kept could not be read again");
                Ok(old)
            }
            (Err(error), None) => Err(error),
        }
    }
}
