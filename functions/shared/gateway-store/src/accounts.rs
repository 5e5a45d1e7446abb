//! Accounts: one item holds the balance, beside it the account's keys.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use gateway_core::{
    ids::{AccountId, RequestId},
    ledger::{Entry, EntryKind},
    low_balance::LowBalance,
    moment::UnixMs,
    money::Nanos,
};

use crate::{
    Store, StoreError,
    attributes::{
        ACCOUNT, ACCOUNT_ITEM, Attributes, BALANCE, CREATED, ENTRY, ITEM, Item, LAST_KEY, LOW_TOLD, NAME, PAID_IN,
        nanos, number, text,
    },
    key_record::{KEY_ITEMS, KeyRecord},
    ledger::attributes_of,
    low_balance::low_balance_of,
    random,
    transaction::built,
};

/// An account's own item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: UnixMs,
    /// Funds that are in no key's allowance. Negative: the account owes.
    pub balance: Nanos,
    /// All that was ever paid in, by payments alone.
    pub paid_in: Nanos,
    /// The number of the newest key; 0 before the first.
    pub last_key: u32,
    /// What it wants to be told of a low balance.
    pub low_balance: Option<LowBalance>,
    /// Whether it was told that its balance is low, and not yet that it is not.
    pub low_balance_told: bool,
}

impl Account {
    /// A new account without funds.
    pub(crate) fn fresh(name: &str, at: UnixMs) -> Result<Self, StoreError> {
        Ok(Self {
            id: AccountId::from_random(random()?),
            name: name.to_owned(),
            created_at: at,
            balance: Nanos::ZERO,
            paid_in: Nanos::ZERO,
            last_key: 0,
            low_balance: None,
            low_balance_told: false,
        })
    }

    pub(crate) fn attributes(&self) -> Attributes {
        let attributes = [
            (ACCOUNT, text(self.id.as_str())),
            (ITEM, text(ACCOUNT_ITEM)),
            (NAME, text(&self.name)),
            (CREATED, number(self.created_at.0)),
            (BALANCE, nanos(self.balance)),
            (PAID_IN, nanos(self.paid_in)),
            (LAST_KEY, number(self.last_key)),
        ];
        attributes.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

/// An account with all its keys, deleted ones included: they may still hold funds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The account's own item.
    pub account: Account,
    /// Every key, with what all its lanes have and hold.
    pub keys: Vec<KeyRecord>,
    /// Every lane of every key: the items as they are.
    pub lanes: Vec<KeyRecord>,
}

impl Standing {
    /// What running requests hold.
    pub fn held(&self) -> Nanos {
        self.lanes.iter().map(|lane| lane.allowance.held()).sum()
    }

    /// What a request could be paid from.
    pub fn available(&self) -> Nanos {
        self.funds().sum()
    }

    /// Where the free funds lie: the balance, then each allowance.
    pub(crate) fn funds(&self) -> impl Iterator<Item = Nanos> + '_ {
        std::iter::once(self.account.balance).chain(self.lanes.iter().map(|lane| lane.allowance.available))
    }

    /// All that is not charged yet: available and held.
    pub fn balance(&self) -> Nanos {
        self.available() + self.held()
    }

    /// What the account wants to be told now: that its balance is low.
    pub fn low_balance(&self) -> Option<&LowBalance> {
        self.account.low_balance.as_ref().filter(|low| low.is_low(self.balance()))
    }
}

/// Which of [`Store::credit_items`] is the account.
pub(crate) const CREDITED: usize = 1;

/// Money that comes into an account, or goes out of it, other than by a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    /// The ledger entry's id: one id is credited once.
    pub id: RequestId,
    /// Payment, refund or adjustment.
    pub kind: EntryKind,
    /// How much; negative for what goes out.
    pub amount: Nanos,
    /// Words for people.
    pub description: String,
}

impl Store {
    /// Makes an account without funds.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn account_create(&self, name: &str, at: UnixMs) -> Result<Account, StoreError> {
        let account = Account::fresh(name, at)?;
        let put = self.client.put_item().table_name(&self.tables.accounts).set_item(Some(account.attributes()));
        let put = put.condition_expression("attribute_not_exists(#i)").expression_attribute_names("#i", ITEM);
        put.send().await.map_err(|error| StoreError::of("account_create", error))?;
        Ok(account)
    }

    /// Every account, by id. Reads the whole table: for the operator's command line, not for requests.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn account_list(&self) -> Result<Vec<Account>, StoreError> {
        let scan = self.client.scan().table_name(&self.tables.accounts).filter_expression("#i = :account");
        let scan =
            scan.expression_attribute_names("#i", ITEM).expression_attribute_values(":account", text(ACCOUNT_ITEM));
        let mut pages = scan.into_paginator().items().send();
        let mut accounts = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| StoreError::of("account_list", error))?;
            accounts
                .push(account_of(&item).ok_or_else(|| StoreError::new("account_list", "an account is not readable"))?);
        }
        accounts.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(accounts)
    }

    /// The account's own item.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, StoreError> {
        let found = self.client.get_item().table_name(&self.tables.accounts).consistent_read(true);
        let found = found.key(ACCOUNT, text(id.as_str())).key(ITEM, text(ACCOUNT_ITEM)).send().await;
        Ok(found.map_err(|error| StoreError::of("account", error))?.item.as_ref().and_then(account_of))
    }

    /// The account and all its keys.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn account_standing(&self, id: &AccountId) -> Result<Option<Standing>, StoreError> {
        let query = self.client.query().table_name(&self.tables.accounts).consistent_read(true);
        let query = query.key_condition_expression("#a = :a AND #i BETWEEN :first AND :last");
        let query = query.expression_attribute_names("#a", ACCOUNT).expression_attribute_names("#i", ITEM);
        let query = query.expression_attribute_values(":a", text(id.as_str()));
        // `account` sorts before every `key#…`, and whatever else an account keeps sorts outside the two.
        let query = query.expression_attribute_values(":first", text(ACCOUNT_ITEM));
        let query = query.expression_attribute_values(":last", text(format!("{KEY_ITEMS}~")));
        let mut pages = query.into_paginator().items().send();
        let (mut account, mut lanes) = (None, Vec::new());
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| StoreError::of("account_standing", error))?;
            match Item(&item).text(ITEM) {
                Some(ACCOUNT_ITEM) => account = account_of(&item),
                Some(name) if name.starts_with(KEY_ITEMS) => lanes.push(KeyRecord::of(&item)?),
                _ => {}
            }
        }
        let keys = lanes.chunk_by(|a, b| a.id == b.id).filter_map(KeyRecord::merged).collect();
        Ok(account.map(|account| Standing { account, keys, lanes }))
    }

    /// Credits the account, once per entry id. False if that entry was there already or the account is not.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn account_credit(&self, account: &AccountId, credit: &Credit) -> Result<bool, StoreError> {
        let items = self.credit_items(account, credit)?;
        Ok(self.transact("account_credit", items).await?.is_done())
    }

    /// The parts of a transaction that changes the account's balance by a credit: the entry, unless it is there; then the
    /// account, which must be.
    pub(crate) fn credit_items(
        &self,
        account: &AccountId,
        credit: &Credit,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let entry = Entry {
            account: account.clone(),
            id: credit.id.clone(),
            kind: credit.kind,
            amount: credit.amount,
            hold: None,
            served: None,
            description: Some(credit.description.clone()),
        };
        let put = Put::builder().table_name(&self.tables.ledger).set_item(Some(attributes_of(&entry)));
        let put = put.condition_expression("attribute_not_exists(#e)").expression_attribute_names("#e", ENTRY).build();
        let paid = if credit.kind == EntryKind::Payment { credit.amount } else { Nanos::ZERO };
        let update = Update::builder()
            .table_name(&self.tables.accounts)
            .key(ACCOUNT, text(account.as_str()))
            .key(ITEM, text(ACCOUNT_ITEM))
            .update_expression("SET #balance = #balance + :amount, #paid = #paid + :paid")
            .condition_expression("attribute_exists(#balance)")
            .expression_attribute_names("#balance", BALANCE)
            .expression_attribute_names("#paid", PAID_IN)
            .expression_attribute_values(":amount", nanos(credit.amount))
            .expression_attribute_values(":paid", nanos(paid))
            .build();
        let (put, update) = (built("credit_items", put)?, built("credit_items", update)?);
        Ok(vec![TransactWriteItem::builder().put(put).build(), TransactWriteItem::builder().update(update).build()])
    }
}

pub(crate) fn account_of(attributes: &Attributes) -> Option<Account> {
    let item = Item(attributes);
    Some(Account {
        id: AccountId::parse(item.text(ACCOUNT)?)?,
        name: item.text(NAME)?.to_owned(),
        created_at: item.moment(CREATED)?,
        balance: item.nanos(BALANCE),
        paid_in: item.nanos(PAID_IN),
        last_key: item.number(LAST_KEY)?,
        low_balance: low_balance_of(&item),
        low_balance_told: item.flag(LOW_TOLD),
    })
}
