//! Users: one item each, by email address.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::{UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder},
    types::{AttributeValue, Put, ReturnValue, TransactWriteItem},
};
use gateway_core::{
    ids::AccountId,
    moment::UnixMs,
    people::{Email, Link, LinkKind, PasswordHash, Role, User},
};

use super::links::{LINK_ITEMS, link_of};
use crate::{
    Store, StoreError,
    accounts::Account,
    attributes::{
        ACCOUNT, Attributes, CREATED, EMAIL, EPOCH, ITEM, Item, PASSWORD, ROLE, SUBJECT, VERIFIED, flag, number, text,
    },
    transaction::built,
};

const USER_ITEMS: &str = "user#";

/// Who was invited and has not come yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending(pub Link);

impl Store {
    /// The user with this address.
    ///
    /// # Errors
    /// The database did not answer, or the item is not readable.
    pub async fn user(&self, email: &Email) -> Result<Option<User>, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.people).consistent_read(true);
        let found = found.key(ITEM, user_item(email)).send().await.map_err(|error| StoreError::of("user", error))?;
        found.item.as_ref().map(user_of).transpose()
    }

    /// Every user, and every invitation that is still good at `at`, by address. Reads the whole table: for the operator's
    /// command line, not for requests.
    ///
    /// # Errors
    /// The database did not answer, or an item is not readable.
    pub async fn user_list(&self, at: UnixMs) -> Result<(Vec<User>, Vec<Pending>), StoreError> {
        let scan = self.client.scan().table_name(&self.tables.people);
        let scan = scan
            .filter_expression("begins_with(#i, :users) OR begins_with(#i, :links)")
            .expression_attribute_names("#i", ITEM)
            .expression_attribute_values(":users", text(USER_ITEMS))
            .expression_attribute_values(":links", text(LINK_ITEMS));
        let mut items = scan.into_paginator().items().send();
        let (mut users, mut pending) = (Vec::new(), Vec::new());
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| StoreError::of("user_list", error))?;
            if Item(&item).text(ITEM).is_some_and(|name| name.starts_with(USER_ITEMS)) {
                users.push(user_of(&item)?);
            } else {
                pending.extend(link_of(&item).filter(|link| at < link.expires_at()).map(Pending));
            }
        }
        users.sort_by(|a, b| a.email.cmp(&b.email));
        pending.retain(|Pending(link)| link.kind == LinkKind::Invitation);
        pending.sort_by(|Pending(a), Pending(b)| a.email.cmp(&b.email));
        Ok((users, pending))
    }

    /// Makes a user. False if the address has one.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn user_create(&self, user: &User) -> Result<bool, StoreError> {
        let put = self.user_put(user)?;
        Ok(self.transact("user_create", vec![put]).await?.is_done())
    }

    /// Makes an account of this name without funds, and its owner. None if the address has a user.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn user_sign_up(
        &self,
        name: &str,
        at: UnixMs,
        owner: impl FnOnce(AccountId) -> User,
    ) -> Result<Option<User>, StoreError> {
        let account = Account::fresh(name, at)?;
        let user = owner(account.id.clone());
        let put = Put::builder().table_name(&self.tables.accounts).set_item(Some(account.attributes())).build();
        let put = TransactWriteItem::builder().put(built("user_sign_up", put)?).build();
        let done = self.transact("user_sign_up", vec![put, self.user_put(&user)?]).await?.is_done();
        Ok(done.then_some(user))
    }

    /// Takes the user away, and every link of theirs. False if there was neither.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn user_remove(&self, email: &Email) -> Result<bool, StoreError> {
        let delete = self.client.delete_item().table_name(&self.tables.people).key(ITEM, user_item(email));
        let deleted = delete.return_values(ReturnValue::AllOld).send().await;
        let deleted = deleted.map_err(|error| StoreError::of("user_remove", error))?;
        let links = self.links_remove(email).await?;
        Ok(deleted.attributes.is_some() || links > 0)
    }

    /// Sets the password, and ends every session. The user then; none if there is none any more, or if the sessions of
    /// `user`, as it was read, are over by now: a change that was on its way undoes no reset.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn user_password(&self, user: &User, password: &PasswordHash) -> Result<Option<User>, StoreError> {
        let update = self.user_update(&user.email).condition_expression("#epoch = :epoch");
        let update = update.update_expression("SET #epoch = #epoch + :one, #password = :password");
        let update = update.expression_attribute_values(":epoch", number(user.epoch));
        let update = update.expression_attribute_values(":one", number(1));
        let update = update.expression_attribute_names("#password", PASSWORD);
        updated(update.expression_attribute_values(":password", text(&password.0)).send().await)
    }

    /// Ends every session. The user then; none if there is none.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn user_sign_out(&self, email: &Email) -> Result<Option<User>, StoreError> {
        let update = self.user_update(email).update_expression("SET #epoch = #epoch + :one");
        updated(update.expression_attribute_values(":one", number(1)).send().await)
    }

    /// Remembers what the OpenID provider calls the user. None if there is no user, or one that is called otherwise, or
    /// one for whose address nobody vouched.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn user_subject(&self, email: &Email, subject: &str) -> Result<Option<User>, StoreError> {
        let update = self.user_update(email).update_expression("SET #subject = :subject").condition_expression(
            "attribute_exists(#epoch) AND (#subject = :subject OR (attribute_not_exists(#subject) AND #verified = :true))",
        );
        let update = update.expression_attribute_names("#subject", SUBJECT);
        let update = update.expression_attribute_names("#verified", VERIFIED);
        let update = update.expression_attribute_values(":subject", text(subject));
        updated(update.expression_attribute_values(":true", flag(true)).send().await)
    }

    /// An update of a user that is there.
    fn user_update(&self, email: &Email) -> UpdateItemFluentBuilder {
        let update = self.client.update_item().table_name(&self.tables.people).key(ITEM, user_item(email));
        let update = update.condition_expression("attribute_exists(#epoch)");
        update.expression_attribute_names("#epoch", EPOCH).return_values(ReturnValue::AllNew)
    }

    pub(super) fn user_put(&self, user: &User) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder().table_name(&self.tables.people).set_item(Some(attributes_of(user)));
        let put = put.condition_expression("attribute_not_exists(#i)").expression_attribute_names("#i", ITEM).build();
        Ok(TransactWriteItem::builder().put(built("user_put", put)?).build())
    }
}

pub(super) fn user_item(email: &Email) -> AttributeValue {
    text(format!("{USER_ITEMS}{email}"))
}

fn attributes_of(user: &User) -> Attributes {
    let attributes = [
        (ITEM, Some(user_item(&user.email))),
        (EMAIL, Some(text(user.email.as_str()))),
        (ACCOUNT, Some(text(user.account.as_str()))),
        (ROLE, Some(text(user.role.name()))),
        (CREATED, Some(number(user.created_at.0))),
        (PASSWORD, user.password.as_ref().map(|hash| text(&hash.0))),
        (SUBJECT, user.subject.as_ref().map(text)),
        (VERIFIED, Some(flag(user.verified))),
        (EPOCH, Some(number(user.epoch))),
    ];
    attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

pub(super) fn user_of(attributes: &Attributes) -> Result<User, StoreError> {
    let item = Item(attributes);
    let user = (|| {
        Some(User {
            email: Email::parse(item.text(EMAIL)?)?,
            account: AccountId::parse(item.text(ACCOUNT)?)?,
            role: Role::parse(item.text(ROLE)?)?,
            created_at: item.moment(CREATED)?,
            password: item.text(PASSWORD).map(|hash| PasswordHash(hash.to_owned())),
            subject: item.text(SUBJECT).map(str::to_owned),
            verified: item.flag(VERIFIED),
            epoch: item.number(EPOCH)?,
        })
    })();
    user.ok_or_else(|| StoreError::new("user", "a user's item is not readable"))
}

/// The user after an update; none if its condition did not hold.
fn updated(outcome: Result<UpdateItemOutput, SdkError<UpdateItemError>>) -> Result<Option<User>, StoreError> {
    match outcome {
        Ok(output) => output.attributes.as_ref().map(user_of).transpose(),
        Err(error) if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {
            Ok(None)
        }
        Err(error) => Err(StoreError::of("user_update", error)),
    }
}
