//! What a command may have done: exactly what the model says where nothing went wrong; where calls failed, were lost or
//! came twice, or the process died, one of the few states that lie on the way.

use std::collections::BTreeSet;

use gateway_core::{ids::KeyId, ledger::Hold, moment::UnixMs, money::Nanos};
use gateway_store::{CountOutcome, HoldOutcome, SettleOutcome, UpdateOutcome};

use crate::{
    books::must,
    model::{Model, Placed, Settled},
    world::{Ran, Taken, charge, served},
};

/// How often the SDK sends what a caller sends once, and as often again where a call comes twice.
const MOST_DELIVERIES: usize = 6;

/// How a command went.
pub(crate) struct Step<'a> {
    pub(crate) before: &'a Model,
    pub(crate) after: &'a Model,
    /// The time where it ran.
    pub(crate) at: UnixMs,
    /// The newest time that any environment knows.
    pub(crate) now: UnixMs,
    /// Whether anything went wrong.
    pub(crate) faulty: bool,
    /// Keys whose rate interval was changed: requests that ran meanwhile forget windows that were over before.
    pub(crate) rearranged: &'a BTreeSet<KeyId>,
}

impl Step<'_> {
    /// Checks that the command did and was told what the model says.
    pub(crate) fn check(&self, ran: &Ran) -> Result<(), String> {
        let possible = self.possible(ran)?;
        let possible: Vec<_> = possible.into_iter().map(|model| self.swept(model)).collect();
        if possible.contains(self.after) {
            return Ok(());
        }
        let possible: Vec<_> = possible.iter().map(|model| format!("should be: {model}")).collect();
        Err(format!("after {ran:?}\nit was: {}\nit is: {}\n{}", self.before, self.after, possible.join("\n")))
    }

    fn possible(&self, ran: &Ran) -> Result<Vec<Model>, String> {
        let mut done = self.before.clone();
        let untouched = self.before.clone();
        Ok(match ran {
            Ran::Nothing => vec![untouched],
            Ran::Credited { entry, outcome } => {
                let fresh = done.credit(entry.clone());
                self.either(untouched, done, outcome.as_ref(), &fresh)?
            }
            Ran::Booked { booking, outcome } => {
                let booked = done.book(booking);
                self.either(untouched, done, outcome.as_ref(), &booked)?
            }
            Ran::Placed { key, id, amount, expires, outcome } => {
                let nonce = self.after.keys.get(key).and_then(|key| key.holds.get(id)).map_or(0, |hold| hold.nonce);
                let hold = Hold { id: id.clone(), amount: *amount, expires: *expires, nonce };
                let hold = Hold::stamped(id.clone(), *amount, hold.stamp());
                self.placed(*key, &hold, outcome.as_ref())?
            }
            Ran::Settled { key, entry, outcome } => {
                let settled = done.settle(*key, entry.clone());
                self.settled(settled, outcome.map(settled_of))?;
                let mut entered = untouched.clone();
                entered.entries.entry(entry.id.clone()).or_insert(entry.clone());
                self.on_the_way(vec![untouched, entered], done, outcome.is_some())
            }
            Ran::Finished { taken, cost, outcome } => self.finished(taken, *cost, *outcome)?,
            Ran::Released { taken, answered } => {
                done.end(taken.key, &taken.hold.id, Some(taken.hold.stamp()));
                must!(self.faulty || *answered, "a release was not answered");
                if self.faulty { vec![untouched, done] } else { vec![done] }
            }
            Ran::Counted { key, outcome } => self.counted(*key, outcome.as_ref())?,
            Ran::Created { new, outcome } => {
                let id = done.create(new, self.at);
                self.either(untouched, done, outcome.as_ref(), &Some(id))?
            }
            Ran::Updated { key, change, outcome } => {
                let found = done.update(*key, change, self.at);
                let told = outcome.as_ref().map(|outcome| matches!(outcome, UpdateOutcome::Updated(_)));
                self.either(untouched, done, told.as_ref(), &found)?
            }
            Ran::Swept { failed } => {
                done.expire_all_dead(self.at);
                must!(self.faulty || *failed == Some(0), "a sweep failed: {failed:?}");
                if self.faulty { vec![self.passing(untouched, self.at)] } else { vec![done] }
            }
            Ran::Deleted { key, outcome } => {
                let found = done.delete(*key);
                self.either(untouched, done, outcome.as_ref(), &found)?
            }
        })
    }

    /// A command that is done whole or not at all, and tells which.
    fn either<T: PartialEq + std::fmt::Debug>(
        &self,
        untouched: Model,
        done: Model,
        told: Option<&T>,
        right: &T,
    ) -> Result<Vec<Model>, String> {
        match told {
            Some(told) => {
                must!(told == right, "told {told:?}, not {right:?}");
                Ok(vec![done])
            }
            None => {
                must!(self.faulty, "not told anything though nothing went wrong");
                Ok(vec![untouched, done])
            }
        }
    }

    fn on_the_way(&self, mut way: Vec<Model>, done: Model, told: bool) -> Vec<Model> {
        if !self.faulty {
            return vec![done];
        }
        if told {
            // Its entry is written before anybody is told.
            way.remove(0);
        }
        way.push(done);
        way
    }

    fn settled(&self, right: Settled, told: Option<Settled>) -> Result<(), String> {
        let Some(told) = told else {
            must!(self.faulty, "a settlement was not answered");
            return Ok(());
        };
        // Whoever sends it again after a lost reply finds his own entry.
        let again = self.faulty && right == Settled::Charged && told == Settled::AlreadyCharged;
        must!(told == right || again, "told {told:?}, not {right:?}");
        Ok(())
    }

    fn placed(&self, key: KeyId, hold: &Hold, outcome: Option<&HoldOutcome>) -> Result<Vec<Model>, String> {
        let mut done = self.before.clone();
        let right = done.place(key, hold.clone(), self.at);
        if let Some(outcome) = outcome {
            let told = placed_of(outcome);
            must!(told == right, "told {told:?}, not {right:?} from {}", self.before);
            // Of a key in several lanes, a request ends the dead holds of its own lane alone.
            if !self.faulty && self.before.keys.get(&key).is_none_or(|key| key.lanes == 1) {
                return Ok(vec![done]);
            }
        } else {
            must!(self.faulty, "a hold was not answered");
        }
        let mut begun = self.before.clone();
        if let Some(key) = begun.keys.get_mut(&key) {
            key.period_begin(self.at);
        }
        let begun = self.passing(begun, self.at);
        let untouched = self.passing(self.before.clone(), self.at);
        let mut held = begun.clone();
        if held.place(key, hold.clone(), self.at) != Placed::Held {
            return Ok(vec![untouched, begun]);
        }
        // Held, whether or not the dead ones were ended after it.
        let held = [held, begun.clone().with(key, hold, self.at)];
        Ok(if outcome.is_some() { held.into() } else { [vec![untouched, begun], held.into()].concat() })
    }

    fn finished(&self, taken: &Taken, cost: Nanos, outcome: Option<Nanos>) -> Result<Vec<Model>, String> {
        let Taken { key, hold, .. } = taken;
        let mut extended = self.before.clone();
        let room = if cost > hold.amount { extended.extend(*key, hold, cost) } else { hold.amount };
        let mut charges = vec![cost.min(room)];
        if self.faulty && room > hold.amount {
            // The database did not answer whoever wanted to extend the hold.
            charges.push(hold.amount);
        }
        let (mut right, mut possible) = (Vec::new(), Vec::new());
        for charged in charges {
            let entry = charge(&self.before.account, hold, charged, served(*key, cost, cost - charged));
            let mut done = extended.clone();
            let told = if done.settle(*key, entry.clone()) == Settled::Expired { Nanos::ZERO } else { charged };
            right.push(told);
            if outcome.is_none_or(|outcome| outcome == told) {
                let mut entered = extended.clone();
                entered.entries.entry(entry.id.clone()).or_insert(entry.clone());
                let mut entered_before = self.before.clone();
                entered_before.entries.entry(entry.id.clone()).or_insert(entry);
                possible.extend([done, entered, entered_before]);
            }
        }
        match outcome {
            Some(told) => must!(right.contains(&told), "told that {told} was charged, not one of {right:?}"),
            None => must!(self.faulty, "a settlement was not answered"),
        }
        if !self.faulty {
            possible.truncate(1);
            return Ok(possible);
        }
        let untouched = self.passing(self.before.clone(), hold.id.at());
        Ok([vec![untouched, extended], possible].concat())
    }

    fn counted(&self, key: KeyId, outcome: Option<&CountOutcome>) -> Result<Vec<Model>, String> {
        let mut done = self.before.clone();
        let right = done.count(key, self.at);
        if !self.faulty {
            let told = outcome.map(counted_of);
            must!(told == Some(right), "told {told:?}, not {right:?}");
            return Ok(vec![done]);
        }
        let mut counted = vec![self.before.clone(), done];
        for _ in 1..MOST_DELIVERIES {
            let mut again = counted[counted.len() - 1].clone();
            again.count(key, self.at);
            counted.push(again);
        }
        Ok(counted)
    }

    /// `model` with those of its holds past their time ended that have ended, and the entries of those that have theirs.
    fn passing(&self, mut model: Model, at: UnixMs) -> Model {
        for key in model.keys.keys().copied().collect::<Vec<_>>() {
            for request in model.dead(key, at) {
                let there = |model: &Model| model.keys.get(&key)?.holds.get(&request).map(Hold::stamp);
                if there(self.after) != there(&model) {
                    model.expire(key, &request);
                } else if self.after.entries.contains_key(&request) {
                    model.give_up(key, &request);
                }
            }
        }
        model
    }

    /// `model` without the windows that nobody counts in any more, as far as the database has forgotten them.
    fn swept(&self, mut model: Model) -> Model {
        for (id, key) in &mut model.keys {
            let Some(after) = self.after.keys.get(id) else { continue };
            let interval = after.rate.interval;
            let last = interval.window(self.now).saturating_sub(u64::from(interval.seconds));
            if after.lanes > 1 || self.before.keys.get(id).is_some_and(|before| before.lanes > 1) {
                // Each lane has windows and a period of its own, and a limit never is in more than one.
                (key.windows, key.period, key.base) = (after.windows.clone(), after.period.clone(), after.base);
            }
            key.lanes = after.lanes;
            let counts = |start: u64| start >= last && start.is_multiple_of(interval.seconds.into());
            let kept = |start: u64| counts(start) && !self.rearranged.contains(id);
            key.windows.retain(|start, _| kept(*start) || after.windows.contains_key(start));
        }
        model
    }
}

impl Model {
    /// The same with this hold placed, whatever else there is.
    fn with(mut self, key: KeyId, hold: &Hold, at: UnixMs) -> Self {
        self.free = self.free - hold.amount;
        if let Some(key) = self.keys.get_mut(&key) {
            key.count(at);
            key.holds.insert(hold.id.clone(), hold.clone());
        }
        self
    }
}

fn settled_of(outcome: SettleOutcome) -> Settled {
    match outcome {
        SettleOutcome::Charged => Settled::Charged,
        SettleOutcome::AlreadyCharged => Settled::AlreadyCharged,
        SettleOutcome::Expired => Settled::Expired,
    }
}

pub(crate) fn placed_of(outcome: &HoldOutcome) -> Placed {
    match outcome {
        HoldOutcome::Held(_) => Placed::Held,
        HoldOutcome::AlreadyHeld => Placed::AlreadyHeld,
        HoldOutcome::InsufficientFunds { free, held } => Placed::InsufficientFunds { free: *free, held: *held },
        HoldOutcome::SpendLimitReached { left } => Placed::SpendLimitReached { left: *left },
        HoldOutcome::RateLimited(_) => Placed::RateLimited,
        HoldOutcome::KeyInactive => Placed::KeyInactive,
        // No model is refused here, and nobody makes rollups.
        HoldOutcome::KeyGone | HoldOutcome::ModelNotAllowed | HoldOutcome::TooLate => Placed::KeyGone,
    }
}

fn counted_of(outcome: &CountOutcome) -> Option<Placed> {
    match outcome {
        CountOutcome::Counted(..) => None,
        CountOutcome::RateLimited(_) => Some(Placed::RateLimited),
        CountOutcome::KeyInactive => Some(Placed::KeyInactive),
        CountOutcome::KeyGone => Some(Placed::KeyGone),
    }
}
