//! Sessions: browsers that are signed in, by the hash of what their cookie holds.

use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::AttributeValue};
use gateway_core::{
    moment::UnixMs,
    people::{Email, Secret, Session, User},
};

use crate::{
    Store, StoreError,
    attributes::{Attributes, CREATED, EMAIL, EPOCH, ITEM, Item, SEEN, TTL, number, text},
};

/// A session and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// By which session.
    pub session: Session,
}

impl Store {
    /// Begins a session of this user: whoever has the secret is signed in.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn session_open(&self, secret: &Secret, user: &User, at: UnixMs) -> Result<(), StoreError> {
        let session = Session { email: user.email.clone(), epoch: user.epoch, created_at: at, seen_at: at };
        let put = self.client.put_item().table_name(&self.tables.people);
        let put = put
            .item(ITEM, session_item(secret))
            .item(EMAIL, text(session.email.as_str()))
            .item(EPOCH, number(session.epoch))
            .item(CREATED, number(session.created_at.0))
            .item(SEEN, number(session.seen_at.0))
            .item(TTL, ttl(&session));
        put.send().await.map_err(|error| StoreError::of("session_open", error))?;
        Ok(())
    }

    /// Whom this secret signs in at `at`, if anybody: the session is there and not over, its user is there and has not
    /// signed out everywhere since.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn session(&self, secret: &Secret, at: UnixMs) -> Result<Option<SignedIn>, StoreError> {
        // Consistent: a sign-in's next page comes within milliseconds.
        let found = self.client.get_item().table_name(&self.tables.people).consistent_read(true);
        let found = found.key(ITEM, session_item(secret)).send().await;
        let found = found.map_err(|error| StoreError::of("session", error))?;
        let Some(mut session) = found.item.as_ref().and_then(session_of) else { return Ok(None) };
        if at >= session.ends_at() {
            return Ok(None);
        }
        let Some(user) = self.user(&session.email).await?.filter(|user| session.is_live(user, at)) else {
            return Ok(None);
        };
        if session.is_worth_writing(at) {
            session.seen_at = at;
            self.session_seen(secret, &session).await?;
        }
        Ok(Some(SignedIn { user, session }))
    }

    /// Ends this session. Nothing happens if it is over.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn session_close(&self, secret: &Secret) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.tables.people).key(ITEM, session_item(secret));
        delete.send().await.map_err(|error| StoreError::of("session_close", error))?;
        Ok(())
    }

    async fn session_seen(&self, secret: &Secret, session: &Session) -> Result<(), StoreError> {
        let update = self.client.update_item().table_name(&self.tables.people).key(ITEM, session_item(secret));
        let update = update
            .update_expression("SET #seen = :seen, #ttl = :ttl")
            // One that was closed meanwhile stays closed.
            .condition_expression("attribute_exists(#i)")
            .expression_attribute_names("#i", ITEM)
            .expression_attribute_names("#seen", SEEN)
            .expression_attribute_names("#ttl", TTL)
            .expression_attribute_values(":seen", number(session.seen_at.0))
            .expression_attribute_values(":ttl", ttl(session));
        match update.send().await {
            Err(error)
                if !error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Err(StoreError::of("session_seen", error))
            }
            _ => Ok(()),
        }
    }
}

fn session_item(secret: &Secret) -> AttributeValue {
    text(format!("session#{}", secret.hash()))
}

fn ttl(session: &Session) -> AttributeValue {
    number(session.ends_at().seconds() + 1)
}

fn session_of(attributes: &Attributes) -> Option<Session> {
    let item = Item(attributes);
    Some(Session {
        email: Email::parse(item.text(EMAIL)?)?,
        epoch: item.number(EPOCH)?,
        created_at: item.moment(CREATED)?,
        seen_at: item.moment(SEEN)?,
    })
}
