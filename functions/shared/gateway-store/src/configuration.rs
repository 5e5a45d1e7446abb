//! The operator's settings: one item, read when it is first needed and again when it is a minute old.

use std::sync::Arc;

use gateway_core::{catalogue::Catalogue, moment::UnixMs, settings::Settings};

use crate::{
    Store, StoreError,
    attributes::{ACCOUNT, ITEM, Item, SETTINGS, text},
    kept::Kept,
};

/// The item stands among the accounts' under a name that no account can have.
const OWNER: &str = "gateway";
const CONFIGURATION_ITEM: &str = "configuration";
const REFRESH_MS: u64 = 60_000;

impl Store {
    /// The stored settings; the defaults, which serve nothing, if none were.
    ///
    /// # Errors
    /// The database did not answer, or what is stored is not settings.
    pub async fn settings(&self) -> Result<Settings, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.accounts);
        let found = found.key(ACCOUNT, text(OWNER)).key(ITEM, text(CONFIGURATION_ITEM)).send().await;
        let found = found.map_err(|error| StoreError::of("settings", error))?;
        let Some(item) = found.item else { return Ok(Settings::default()) };
        let json = Item(&item).text(SETTINGS).unwrap_or("{}");
        serde_json::from_str(json).map_err(|error| StoreError::new("settings", error))
    }

    /// Stores the settings. Every process follows within a minute.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn settings_put(&self, settings: &Settings) -> Result<(), StoreError> {
        let json = serde_json::to_string(settings).map_err(|error| StoreError::new("settings_put", error))?;
        let put = self.client.put_item().table_name(&self.tables.accounts).item(ACCOUNT, text(OWNER));
        let put = put.item(ITEM, text(CONFIGURATION_ITEM)).item(SETTINGS, text(json));
        put.send().await.map_err(|error| StoreError::of("settings_put", error))?;
        Ok(())
    }
}

/// The catalogue under the operator's settings, kept fresh.
#[derive(Clone)]
pub struct Configuration(Source);

#[derive(Clone)]
enum Source {
    Fixed(Arc<Catalogue>),
    Stored(Store, Arc<Kept<Catalogue>>),
}

impl Configuration {
    /// A catalogue that stays as it is.
    pub fn fixed(catalogue: Catalogue) -> Self {
        Self(Source::Fixed(Arc::new(catalogue)))
    }

    /// The catalogue under the stored settings, which are read when it is first asked for.
    pub fn stored(store: Store) -> Self {
        Self(Source::Stored(store, Arc::default()))
    }

    /// The catalogue now.
    ///
    /// # Errors
    /// The settings were never read yet, and now the database did not answer or they are not valid.
    pub async fn catalogue(&self, at: UnixMs) -> Result<Arc<Catalogue>, StoreError> {
        match &self.0 {
            Source::Fixed(catalogue) => Ok(catalogue.clone()),
            Source::Stored(store, kept) => kept.fresh(at, REFRESH_MS, async || load(store).await).await,
        }
    }
}

async fn load(store: &Store) -> Result<Catalogue, StoreError> {
    let settings = store.settings().await?;
    Catalogue::new(settings).map_err(|error| StoreError::new("settings", error))
}
