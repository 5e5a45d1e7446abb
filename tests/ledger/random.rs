//! The model and the real store, driven by the same random commands; after every one, all that must hold.
//!
//! `LEDGER_COMMANDS=1000000 cargo test -p tests --test ledger random` runs longer, `LEDGER_SEED=17` runs what seed 17 ran.
//! What fails is made shorter until nothing more can be left out, and printed.

use gateway_core::{ids::KeyId, limits::RateLimit, moment::UnixMs, money::Nanos};
use gateway_store::{HoldOutcome, HoldRequest, Store, random};
use proptest::{
    collection::vec,
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use support::{Database, Running, faults::Retries};

use crate::{
    books::{Books, must},
    command::{Act, Command, command},
    model::Model,
    possible::Step,
    world::{Ran, World, new_key, new_token},
};

/// Commands that one account sees at the most.
const LENGTH: usize = 120;
/// Commands in all, unless `LEDGER_COMMANDS` says otherwise.
const COMMANDS: usize = 10_500;
/// The same where each call crosses a network.
const COMMANDS_FAR: usize = 1_500;

/// Accounts whose lives run beside each other, each on a database of its own.
const THREADS: u64 = 2;

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    gateway_lambda::environment(name).and_then(|value| value.parse().ok())
}

#[test]
fn the_store_does_what_the_model_says_whatever_goes_wrong() {
    let seed = setting("LEDGER_SEED").unwrap_or_else(|| u64::from_be_bytes(random().unwrap()));
    println!("LEDGER_SEED={seed}");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || stories(seed, thread));
        }
    });
}

/// A thread's part of the commands.
#[expect(clippy::print_stdout, reason = "what fails is said before it is made shorter, which may take long")]
fn stories(seed: u64, thread: u64) {
    let mut running = Running::start();
    let commands = if running.database.is_embedded() { COMMANDS } else { COMMANDS_FAR };
    let commands = setting("LEDGER_COMMANDS").unwrap_or(commands).div_ceil(THREADS.try_into().unwrap());
    let bytes = [seed.to_be_bytes(), thread.to_be_bytes(), [0; 8], [0; 8]].concat();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let mut done = 0;
    while done < commands {
        if running.database.is_embedded() {
            running = Running::start();
        }
        let story = vec(command(), LENGTH).new_tree(&mut runner).unwrap().current();
        done += story.len();
        if let Err(wrong) = running.block_on(live(&running.database, &story)) {
            println!("LEDGER_SEED={seed}, to be made shorter: {}", wrong.said);
            let (shortest, wrong) = shortest(&running, story, wrong);
            panic!("LEDGER_SEED={seed}, made as short as it gets: {shortest:#?}\n{}", wrong.said);
        }
    }
}

/// The commands without all that can be left out while they still fail.
fn shortest(running: &Running, mut story: Vec<Command>, mut wrong: Wrong) -> (Vec<Command>, Wrong) {
    story.truncate(wrong.after);
    let mut part = story.len();
    while part > 0 {
        let mut from = 0;
        while from < story.len() {
            let mut shorter = story.clone();
            shorter.drain(from..(from + part).min(story.len()));
            match running.block_on(live(&running.database, &shorter)) {
                Err(still) => {
                    shorter.truncate(still.after);
                    (story, wrong) = (shorter, still);
                }
                Ok(_) => from += part,
            }
        }
        part /= 2;
    }
    for n in 0..story.len() {
        for simpler in [
            Command { faults: Vec::new(), ..story[n].clone() },
            Command { behind_ms: 0, ..story[n].clone() },
            Command { environment: 0, ..story[n].clone() },
        ] {
            let mut simplified = story.clone();
            simplified[n] = simpler;
            if let Err(still) = running.block_on(live(&running.database, &simplified)) {
                (story, wrong) = (simplified, still);
            }
        }
    }
    (story, wrong)
}

/// What does not hold, after how many commands.
pub(crate) struct Wrong {
    pub(crate) after: usize,
    pub(crate) said: String,
}

/// An account's whole life under these commands. How many calls each made.
pub(crate) async fn live(database: &Database, commands: &[Command]) -> Result<Vec<usize>, Wrong> {
    let at = |after: usize| move |said: String| Wrong { after, said };
    let mut bystander = World::open(database).await;
    let act = Act::Credit { amount: 1_000, payment: true };
    let credit = Command { act, environment: 0, behind_ms: 0, faults: Vec::new() };
    step(&mut bystander, &credit).await.map_err(at(0))?;
    let mut world = World::open(database).await;
    let mut called = Vec::new();
    for (n, command) in commands.iter().enumerate() {
        step(&mut world, command).await.map_err(at(n + 1))?;
        called.push(world.called);
    }
    end(&mut world).await.map_err(|wrong| format!("at the end: {wrong}")).map_err(at(commands.len()))?;
    let after = bystander.read().await;
    if after.standing != bystander.books.standing {
        return Err(at(commands.len())("another account's books changed".to_owned()));
    }
    Ok(called)
}

/// One command, and all that must hold after it.
async fn step(world: &mut World<'_>, command: &Command) -> Result<(), String> {
    let at = world.at(command);
    let ran = world.run(command).await;
    let books = world.read().await;
    books.check()?;
    books.check_debt()?;
    books.check_since(&world.books)?;
    excuse(world, &ran, &books);
    books.check_limits(|key| world.excused.contains(&key))?;
    let (before, after) = (model(&world.books), model(&books));
    let faulty = !command.faults.is_empty();
    for (id, key) in &before.keys {
        if after.keys.get(id).is_some_and(|after| after.rate.interval != key.rate.interval) {
            world.rearranged.insert(*id);
        }
    }
    let step = Step { before: &before, after: &after, at, now: world.now, faulty, rearranged: &world.rearranged };
    step.check(&ran)?;
    if let Ran::Placed { key, id, outcome: Some(HoldOutcome::Held(placed)), .. } = ran {
        let hold = after.keys[&key].holds[&id].clone();
        world.remember(key, placed, hold);
    }
    world.books = books;
    Ok(())
}

fn model(books: &Books) -> Model {
    Model::of(&books.standing, &books.entries)
}

/// A key may be over its limit from when a lower limit is set until it is under it again.
fn excuse(world: &mut World<'_>, ran: &Ran, books: &Books) {
    let limited = match ran {
        Ran::Updated { key, change, .. } if change.spend_limit.is_some() => Some(*key),
        _ => None,
    };
    for key in &books.standing.keys {
        if key.allowance.limit_left >= Nanos::ZERO {
            world.excused.remove(&key.id);
        } else if limited == Some(key.id) {
            world.excused.insert(key.id);
        }
    }
}

/// After all holds' time nothing is held, and every nano-dollar that the ledger says is there can be had.
async fn end(world: &mut World<'_>) -> Result<(), String> {
    let later = world.now.plus_ms(100_000_000);
    let store = world.database.environment(Retries::Standard).store;
    let new = new_key(None, None, RateLimit::default());
    let key = store.key_create(&world.account, &new, &new_token(), later, None).await.unwrap().unwrap().id;
    world.now = later;
    store.holds_sweep(later).await.unwrap();
    let books = world.read().await;
    books.check()?;
    books.check_since(&world.books)?;
    must!(books.standing.held() == Nanos::ZERO, "still held: {}", books.standing.held());
    let ledger: Nanos = books.entries.iter().map(|entry| entry.amount).sum();
    let asked = ask(world, &store, key, Nanos(ledger.0.max(0)), later).await;
    must!(matches!(asked, HoldOutcome::Held(_)), "{ledger} should be free: {asked:?}");
    let more = ask(world, &store, key, Nanos(1), later).await;
    must!(matches!(more, HoldOutcome::InsufficientFunds { .. }), "{ledger} and no more should be free: {more:?}");
    world.read().await.check()
}

async fn ask(world: &mut World<'_>, store: &Store, key: KeyId, amount: Nanos, at: UnixMs) -> HoldOutcome {
    let id = world.fresh_id();
    let models = [vec!["books/chat".to_owned()]];
    let expires = at.plus_ms(60_000);
    let wanted = HoldRequest { account: &world.account, key, id: &id, models: &models, amount, at, expires };
    store.hold_place(&wanted).await.unwrap()
}
