//! The expressions about people, on whichever database is chosen: one use of a link, one user of an address, no try too
//! many, and sessions that end.

use futures_util::future::join_all;
use gateway_core::{
    ids::AccountId,
    moment::UnixMs,
    people::{
        DEVICE_MS, Email, LINK_MS, Link, LinkKind, PasswordHash, Role, SEEN_EVERY_MS, SESSION_IDLE_MS, Secret, Tries,
        User,
    },
};
use gateway_store::{Accepted, Store, random};
use support::{
    Database,
    faults::{Fate, Retries},
    on_database,
};

use crate::world::START;

fn secret() -> Secret {
    Secret::from_random(random().unwrap())
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash(text.to_owned())
}

fn ada() -> Email {
    Email::parse("ada@example.com").unwrap()
}

fn user() -> User {
    User::new(ada(), AccountId::from_random([1; 10]), Role::Owner, START)
}

fn store(database: &Database) -> Store {
    database.environment(Retries::Standard).store
}

async fn link(store: &Store, kind: LinkKind) -> Secret {
    let (secret, user) = (secret(), user());
    let link = Link { kind, email: user.email, account: user.account, role: Role::Member, created_at: START };
    store.link_create(&secret, &link).await.unwrap();
    secret
}

#[test]
fn an_address_has_one_user() {
    on_database(async |database| {
        let store = store(database);
        let first = User { password: Some(hash("one")), subject: Some("issuer sub".to_owned()), ..user() };
        assert!(store.user_create(&first).await.unwrap());
        assert!(!store.user_create(&User { role: Role::Member, ..user() }).await.unwrap());
        assert_eq!(store.user(&ada()).await.unwrap(), Some(first));
        let signed_up = store.user_sign_up("ada", START, |account| User { account, ..user() }).await.unwrap();
        assert_eq!(signed_up, None);
        assert!(store.account_list().await.unwrap().is_empty(), "no account without its owner");
        assert!(store.user_remove(&ada()).await.unwrap());
        let signed_up = store.user_sign_up("ada", START, |account| User { account, ..user() }).await.unwrap().unwrap();
        let account = store.account(&signed_up.account).await.unwrap().unwrap();
        assert_eq!((account.name.as_str(), account.balance.0), ("ada", 0));
    });
}

#[test]
fn a_link_is_used_once_however_many_come_and_whatever_is_lost() {
    on_database(async |database| {
        let environment = database.environment(Retries::Standard);
        let store = &environment.store;
        let invitation = link(store, LinkKind::Invitation).await;
        let uses = join_all((0..8).map(|n| store.link_accept(&invitation, Some(hash(&n.to_string())), START))).await;
        let used = uses.into_iter().map(Result::unwrap).filter(|used| matches!(used, Accepted::Yes(_))).count();
        assert_eq!(used, 1);
        let made = store.user(&ada()).await.unwrap().unwrap();
        assert_eq!((made.role, made.verified), (Role::Member, true));
        let late = link(store, LinkKind::Reset).await;
        assert_eq!(store.link_reset(&late, &hash("new"), START.plus_ms(LINK_MS)).await.unwrap(), Accepted::Gone);
        assert_eq!(store.link_sign_in(&late, START).await.unwrap(), Accepted::Gone, "of another kind");
        // Each write is done, and its answer is lost: the next try is told that it was.
        environment.wire.script(|_| Fate::DoneTwice);
        let Accepted::Yes(reset) = store.link_reset(&late, &hash("new"), START).await.unwrap() else { panic!() };
        assert_eq!((reset.password, reset.epoch), (Some(hash("new")), made.epoch + 1));
        assert_eq!(store.link_reset(&late, &hash("newer"), START).await.unwrap(), Accepted::Gone);
        assert_eq!(store.user(&ada()).await.unwrap().unwrap().password, Some(hash("new")));
    });
}

#[test]
fn an_invitation_of_a_user_who_is_there_stays_unused() {
    on_database(async |database| {
        let store = store(database);
        assert!(store.user_create(&user()).await.unwrap());
        let invitation = link(&store, LinkKind::Invitation).await;
        assert_eq!(store.link_accept(&invitation, None, START).await.unwrap(), Accepted::UserExists);
        assert!(store.link(LinkKind::Invitation, &invitation, START).await.unwrap().is_some());
        let (users, pending) = store.user_list(START).await.unwrap();
        assert_eq!((users.len(), pending.len()), (1, 1));
        assert_eq!(store.user_list(START.plus_ms(LINK_MS)).await.unwrap().1, []);
        assert!(store.user_remove(&ada()).await.unwrap());
        assert_eq!(store.link_accept(&invitation, None, START).await.unwrap(), Accepted::Gone);
        // A link to sign in, or to set a password, makes no user out of nothing.
        let (reset, sign_in) = (link(&store, LinkKind::Reset).await, link(&store, LinkKind::SignIn).await);
        assert_eq!(store.link_reset(&reset, &hash("x"), START).await.unwrap(), Accepted::Gone);
        assert_eq!(store.link_sign_in(&sign_in, START).await.unwrap(), Accepted::Gone);
        assert_eq!(store.user(&ada()).await.unwrap(), None);
    });
}

#[test]
fn of_tries_at_once_no_more_go_on_than_one_after_the_other() {
    on_database(async |database| {
        let store = store(database);
        let email = ada();
        let tries = Tries::Password(&email);
        let all = join_all((0..25).map(|_| store.try_count(&tries, START))).await;
        let until = tries.window_end(START);
        let refused: Vec<_> = all.into_iter().map(Result::unwrap).filter(|full| *full == Some(until)).collect();
        assert_eq!(refused.len(), 15);
        store.try_return(&tries, START).await.unwrap();
        assert_eq!(store.try_count(&tries, START).await.unwrap(), None);
        assert_eq!(store.try_count(&tries, START).await.unwrap(), Some(until));
        assert_eq!(store.try_count(&tries, until).await.unwrap(), None, "the next window");
        assert_eq!(store.try_count(&Tries::Client("127.0.0.1"), START).await.unwrap(), None);
        // Nothing that was not counted is given back.
        store.try_return(&Tries::SignUp("127.0.0.1"), START).await.unwrap();
    });
}

#[test]
fn a_session_lives_as_its_user_and_its_use_let_it() {
    on_database(async |database| {
        let store = store(database);
        let secret = secret();
        assert!(store.user_create(&user()).await.unwrap());
        store.session_open(&secret, &user(), START).await.unwrap();
        let live = async |at: UnixMs| store.session(&secret, at).await.unwrap();
        assert_eq!(live(START).await.unwrap().user, user());
        let later = START.plus_ms(SEEN_EVERY_MS);
        assert_eq!(live(later).await.unwrap().session.seen_at, later);
        assert_eq!(live(later.plus_ms(1)).await.unwrap().session.seen_at, later, "written once an hour");
        assert!(live(START.plus_ms(SESSION_IDLE_MS)).await.is_some(), "its use counts");
        let signed_out = store.user_sign_out(&ada()).await.unwrap().unwrap();
        assert_eq!(live(later).await, None);
        store.session_open(&secret, &signed_out, START).await.unwrap();
        assert!(live(START).await.is_some());
        store.user_password(&signed_out, &hash("new")).await.unwrap().unwrap();
        assert_eq!(live(START).await, None);
        let late = store.user_password(&signed_out, &hash("newer")).await.unwrap();
        assert_eq!(late, None, "who read the user before another change changes nothing");
        assert_eq!(store.user(&ada()).await.unwrap().unwrap().password, Some(hash("new")));
        store.session_close(&secret).await.unwrap();
        store.session_close(&secret).await.unwrap();
        let nobody = Email::parse("nobody@example.com").unwrap();
        assert_eq!(store.user_sign_out(&nobody).await.unwrap(), None);
        let gone = User::new(nobody, AccountId::from_random([1; 10]), Role::Owner, START);
        assert_eq!(store.user_password(&gone, &hash("x")).await.unwrap(), None);
    });
}

#[test]
fn an_identity_is_joined_to_a_verified_address_once() {
    on_database(async |database| {
        let store = store(database);
        assert!(store.user_create(&User { verified: false, ..user() }).await.unwrap());
        assert_eq!(store.user_subject(&ada(), "issuer one").await.unwrap(), None);
        let reset = link(&store, LinkKind::Reset).await;
        assert!(matches!(store.link_reset(&reset, &hash("x"), START).await.unwrap(), Accepted::Yes(_)));
        let joined = store.user_subject(&ada(), "issuer one").await.unwrap().unwrap();
        assert_eq!(joined.subject.as_deref(), Some("issuer one"));
        assert!(store.user_subject(&ada(), "issuer one").await.unwrap().is_some());
        assert_eq!(store.user_subject(&ada(), "issuer two").await.unwrap(), None);
        let reset = link(&store, LinkKind::Reset).await;
        assert!(matches!(store.link_reset(&reset, &hash("y"), START).await.unwrap(), Accepted::Yes(_)));
        let moved = store.user_subject(&ada(), "issuer two").await.unwrap().unwrap();
        assert_eq!(moved.subject.as_deref(), Some("issuer two"), "a reset lets the address join anew");
    });
}

#[test]
fn a_browser_is_known_for_the_addresses_whose_passwords_were_right_there() {
    on_database(async |database| {
        let store = store(database);
        let (device, other) = (secret(), secret());
        let eve = Email::parse("eve@example.com").unwrap();
        store.device_remember(&device, &ada(), START).await.unwrap();
        let last = START.plus_ms(DEVICE_MS - 1);
        assert!(store.device_knows(&device, &ada(), last).await.unwrap());
        assert!(!store.device_knows(&device, &ada(), last.plus_ms(1)).await.unwrap());
        assert!(!store.device_knows(&device, &eve, START).await.unwrap());
        assert!(!store.device_knows(&other, &ada(), START).await.unwrap());
    });
}
