//! Browsers where the right password of an address was typed: guesses from elsewhere don't keep its user out there.

use aws_sdk_dynamodb::types::AttributeValue;
use gateway_core::{
    moment::UnixMs,
    people::{DEVICE_MS, Email, Secret},
};

use crate::{
    Store, StoreError,
    attributes::{EXPIRES, ITEM, Item, TTL, number, text},
};

impl Store {
    /// Remembers that the right password of this address was typed in the browser with this secret.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn device_remember(&self, device: &Secret, email: &Email, at: UnixMs) -> Result<(), StoreError> {
        let expires = at.plus_ms(DEVICE_MS);
        let put = self.client.put_item().table_name(&self.tables.people).item(ITEM, device_item(device, email));
        let put = put.item(EXPIRES, number(expires.0)).item(TTL, number(expires.seconds() + 1));
        put.send().await.map_err(|error| StoreError::of("device_remember", error))?;
        Ok(())
    }

    /// Whether it was.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn device_knows(&self, device: &Secret, email: &Email, at: UnixMs) -> Result<bool, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.people).key(ITEM, device_item(device, email));
        let found = found.send().await.map_err(|error| StoreError::of("device_knows", error))?;
        Ok(found.item.and_then(|item| Item(&item).moment(EXPIRES)).is_some_and(|expires| at < expires))
    }
}

/// Of the browser and the address together: neither is told by it.
fn device_item(device: &Secret, email: &Email) -> AttributeValue {
    text(format!("device#{}", device.derive(email.as_str()).hash()))
}
