//! Links that work once: the item goes with the use, in one write with what the link is for.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem, Update};
use gateway_core::{
    ids::AccountId,
    moment::UnixMs,
    people::{Email, Link, LinkKind, PasswordHash, Role, Secret, User},
};

use super::users::user_item;
use crate::{
    Store, StoreError,
    attributes::{
        ACCOUNT, Attributes, CREATED, EMAIL, EPOCH, EXPIRES, ITEM, Item, KIND, PASSWORD, ROLE, SUBJECT, TTL, VERIFIED,
        flag, number, text,
    },
    transaction::{Transaction, built},
};

pub(super) const LINK_ITEMS: &str = "link#";

/// How the use of a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// This user is there now, with what the link was for.
    Yes(Box<User>),
    /// The link was used before, or its time is over.
    Gone,
    /// An invitation of somebody who has come by another way.
    UserExists,
}

impl Store {
    /// Makes a link: whoever has the secret can use it, once.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn link_create(&self, secret: &Secret, link: &Link) -> Result<(), StoreError> {
        let expires = link.expires_at();
        let put = self.client.put_item().table_name(&self.tables.people);
        let put = put
            .item(ITEM, link_item(secret))
            .item(KIND, text(link.kind.name()))
            .item(EMAIL, text(link.email.as_str()))
            .item(ACCOUNT, text(link.account.as_str()))
            .item(ROLE, text(link.role.name()))
            .item(CREATED, number(link.created_at.0))
            .item(EXPIRES, number(expires.0))
            .item(TTL, number(expires.seconds() + 1));
        put.send().await.map_err(|error| StoreError::of("link_create", error))?;
        Ok(())
    }

    /// The link of this kind, if it is there and good at `at`. Looking at it does not use it: programs that look at mail
    /// open links.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn link(&self, kind: LinkKind, secret: &Secret, at: UnixMs) -> Result<Option<Link>, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.people).consistent_read(true);
        let found = found.key(ITEM, link_item(secret)).send().await;
        let found = found.map_err(|error| StoreError::of("link", error))?;
        Ok(found.item.as_ref().and_then(link_of).filter(|link| link.kind == kind && at < link.expires_at()))
    }

    /// Uses an invitation: its user is made.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn link_accept(
        &self,
        secret: &Secret,
        password: Option<PasswordHash>,
        at: UnixMs,
    ) -> Result<Accepted, StoreError> {
        let Some(link) = self.link(LinkKind::Invitation, secret, at).await? else { return Ok(Accepted::Gone) };
        let user = User { password, ..User::new(link.email, link.account, link.role, at) };
        let items = vec![self.link_use(secret, at)?, self.user_put(&user)?];
        Ok(match self.transact("link_accept", items).await? {
            Transaction::Done => Accepted::Yes(Box::new(user)),
            Transaction::ConditionFailed(1) => Accepted::UserExists,
            _ => Accepted::Gone,
        })
    }

    /// Uses a reset: the user has this password, and every session is over. An operator vouched for the address, for
    /// whoever the OpenID provider says has it now.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn link_reset(
        &self,
        secret: &Secret,
        password: &PasswordHash,
        at: UnixMs,
    ) -> Result<Accepted, StoreError> {
        let Some(link) = self.link(LinkKind::Reset, secret, at).await? else { return Ok(Accepted::Gone) };
        let update = Update::builder()
            .table_name(&self.tables.people)
            .key(ITEM, user_item(&link.email))
            .update_expression("SET #epoch = #epoch + :one, #password = :password, #verified = :true REMOVE #subject")
            .condition_expression("attribute_exists(#epoch)")
            .expression_attribute_names("#epoch", EPOCH)
            .expression_attribute_names("#password", PASSWORD)
            .expression_attribute_names("#verified", VERIFIED)
            .expression_attribute_names("#subject", SUBJECT)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":password", text(&password.0))
            .expression_attribute_values(":true", flag(true))
            .build();
        let update = TransactWriteItem::builder().update(built("link_reset", update)?).build();
        let done = self.transact("link_reset", vec![self.link_use(secret, at)?, update]).await?.is_done();
        self.accepted(done, &link.email).await
    }

    /// Uses a link that signs in.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn link_sign_in(&self, secret: &Secret, at: UnixMs) -> Result<Accepted, StoreError> {
        let Some(link) = self.link(LinkKind::SignIn, secret, at).await? else { return Ok(Accepted::Gone) };
        let done = self.transact("link_sign_in", vec![self.link_use(secret, at)?]).await?.is_done();
        self.accepted(done, &link.email).await
    }

    async fn accepted(&self, done: bool, email: &Email) -> Result<Accepted, StoreError> {
        let user = if done { self.user(email).await? } else { None };
        Ok(user.map_or(Accepted::Gone, |user| Accepted::Yes(Box::new(user))))
    }

    /// Takes the link away, if it is there and good at `at`: of two uses one does.
    fn link_use(&self, secret: &Secret, at: UnixMs) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder()
            .table_name(&self.tables.people)
            .key(ITEM, link_item(secret))
            .condition_expression("#expires > :now")
            .expression_attribute_names("#expires", EXPIRES)
            .expression_attribute_values(":now", number(at.0))
            .build();
        Ok(TransactWriteItem::builder().delete(built("link_use", delete)?).build())
    }

    /// Takes away every link for this address; how many there were. Reads the whole table: for the operator alone.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn links_remove(&self, email: &Email) -> Result<usize, StoreError> {
        let scan = self.client.scan().table_name(&self.tables.people);
        let scan = scan
            .filter_expression("begins_with(#i, :links) AND #email = :email")
            .expression_attribute_names("#i", ITEM)
            .expression_attribute_names("#email", EMAIL)
            .expression_attribute_values(":links", text(LINK_ITEMS))
            .expression_attribute_values(":email", text(email.as_str()));
        let mut items = scan.into_paginator().items().send();
        let mut removed = 0;
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| StoreError::of("links_remove", error))?;
            let Some(name) = item.get(ITEM) else { continue };
            let delete = self.client.delete_item().table_name(&self.tables.people).key(ITEM, name.clone());
            delete.send().await.map_err(|error| StoreError::of("links_remove", error))?;
            removed += 1;
        }
        Ok(removed)
    }
}

fn link_item(secret: &Secret) -> AttributeValue {
    text(format!("{LINK_ITEMS}{}", secret.hash()))
}

pub(super) fn link_of(attributes: &Attributes) -> Option<Link> {
    let item = Item(attributes);
    Some(Link {
        kind: LinkKind::parse(item.text(KIND)?)?,
        email: Email::parse(item.text(EMAIL)?)?,
        account: AccountId::parse(item.text(ACCOUNT)?)?,
        role: Role::parse(item.text(ROLE)?)?,
        created_at: item.moment(CREATED)?,
    })
}
