//! What must be true once all is well and nobody does anything any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::check::drain;
use super::machine::EPOCH;
use super::ops::{Pending, Waiting};
use super::scenario::Scenario;
use super::world::{Step, World};
use super::{MS, rank};
use crate::call_options::LockOptions;
use crate::members::MemberState;
use crate::stamp::Stamp;
use crate::table::{Dumped, DumpedLock};
use crate::watch::EventKind;

impl World {
    /// Heals everything, waits until all members agree, then sees that they stay so without a word.
    pub(super) fn rest(&mut self, last: bool) -> Step {
        self.heal_all()?;
        let timeout = self.plan.settings.failure_timeout;
        // Whoever is still to start again does so first.
        let longest = 2 * self.plan.trouble_lasts;
        self.until_agreed(longest + 60 * timeout)?;
        self.note(None, "everyone agrees".to_owned());
        self.one_holder_each()?;
        self.waits_are_over()?;
        self.greatest_stamps()?;
        self.put_everything_down()?;
        self.until_agreed(60 * timeout)?;
        self.locks_come_in_time()?;
        self.until_agreed(60 * timeout)?;
        if !last {
            return Ok(());
        }
        // Copies of messages that come very late are rightly answered: their time ends first.
        self.net.manners.stale = 0;
        // Graves that are forgotten here earlier than there are asked for once, but not for ever.
        let settings = &self.plan.settings;
        let forgotten = 2 * settings.forget_after + settings.clock_bound + 2 * timeout;
        self.run_until(self.now + forgotten)?;
        // Who loses several heartbeats in a row rightly looks for what else it has missed.
        self.net.manners.drop = 0;
        self.run_until(self.now + 2 * timeout)?;
        let before = self.work_done();
        self.note(None, "quiet from now on".to_owned());
        self.run_until(self.now + 10 * timeout)?;
        let after = self.work_done();
        if before != after {
            return Err(format!(
                "Quiet: at rest (stamps, repairs, records out, bulk bytes) went from {before:?} to {after:?}"
            ));
        }
        self.agreed()?;
        self.events_add_up()?;
        self.graves_are_gone()
    }

    fn work_done(&mut self) -> (u64, u64, u64, u64) {
        let (mut minted, mut repairs, mut out) = (0, 0, 0);
        for member in self.machines.iter().filter_map(|machine| machine.member.as_ref()) {
            minted += member.cluster.minted();
            if let Ok(stats) = member.registry.stats() {
                repairs += stats.repairs;
                out += stats.replicated_out;
            }
        }
        (minted, repairs, out, self.bulk_bytes)
    }

    pub(super) fn until_agreed(&mut self, most: u64) -> Step {
        let (end, step) = (self.now + most, self.plan.settings.failure_timeout);
        loop {
            self.run_until(self.now + step)?;
            let disagreement = match self.agreed() {
                Ok(()) if self.restarts_due() => "somebody is still to start".to_owned(),
                Ok(()) => return Ok(()),
                Err(disagreement) => disagreement,
            };
            if self.now >= end {
                return Err(format!(
                    "Converged: not after {} s: {disagreement}",
                    most / super::SECOND
                ));
            }
        }
    }

    pub(super) fn running(&self) -> Vec<usize> {
        let all = 0..self.machines.len();
        all.filter(|at| self.machines[*at].member.is_some()).collect()
    }

    fn dumps(&mut self) -> Vec<(usize, BTreeMap<Vec<u8>, Dumped>)> {
        let running = self.running();
        let mut dumps = Vec::new();
        for at in running {
            self.machines[at].set_clock(self.now);
            if let Some(member) = &self.machines[at].member {
                let dump = member.core.table.dump();
                let by_key = dump.into_iter().map(|dumped| (dumped.key.clone(), dumped));
                dumps.push((at, by_key.collect()));
            }
        }
        dumps
    }

    /// Whether every member has the same, knows the others, and is ready.
    fn agreed(&mut self) -> Step {
        let running = self.running();
        let all: BTreeSet<u128> = running
            .iter()
            .filter_map(|at| self.machines[*at].member.as_ref().map(|member| member.incarnation))
            .collect();
        for at in &running {
            let Some(member) = self.machines[*at].member.as_mut() else { continue };
            if !member.registry.ready().map_err(|error| error.to_string())? {
                return Err(format!("m{at} is not ready"));
            }
            member.was_ready = true;
            let listed = member.registry.members().map_err(|error| error.to_string())?;
            let live = listed.iter().filter(|other| other.state == MemberState::Live);
            let live: BTreeSet<u128> = live
                .filter_map(|other| u128::from_str_radix(&other.incarnation, 16).ok())
                .collect();
            if live != all {
                return Err(format!("m{at} lists {listed:?}"));
            }
        }
        let dumps = self.dumps();
        let keys: BTreeSet<&Vec<u8>> = dumps.iter().flat_map(|(_, dump)| dump.keys()).collect();
        let wall = EPOCH + self.now;
        let bound = self.plan.settings.clock_bound;
        for key in keys {
            let mut first: Option<(usize, View)> = None;
            for (at, dump) in &dumps {
                let view = View::of(dump.get(key), wall, bound);
                match &first {
                    None => first = Some((*at, view)),
                    Some((_, known)) if known.agrees(&view) => {}
                    Some((other, known)) => {
                        let key = String::from_utf8_lossy(key);
                        return Err(format!("{key}: m{other} has {known:?}, m{at} has {view:?}"));
                    }
                }
            }
        }
        self.owners_agree()
    }

    /// An entry's owner is the same for everyone, and somebody who lives.
    fn owners_agree(&mut self) -> Step {
        let mut owners: BTreeMap<Vec<u8>, (usize, String)> = BTreeMap::new();
        let names: BTreeSet<String> = self
            .machines
            .iter()
            .filter_map(|machine| machine.member.as_ref().map(|member| member.name.clone()))
            .collect();
        for at in self.running() {
            let Some(member) = &self.machines[at].member else { continue };
            let page = member.registry.entries(crate::ListOptions::new());
            for entry in page.map_err(|error| error.to_string())?.items {
                let (key, node) = (entry.key_bytes().to_vec(), entry.node().to_owned());
                if !names.contains(&node) {
                    return Err(format!(
                        "{} on m{at} is owned by {node:?}, who is dead",
                        entry.key()
                    ));
                }
                let (other, known) = owners.entry(key).or_insert_with(|| (at, node.clone()));
                if *known != node {
                    return Err(format!(
                        "{} is owned by {known:?} on m{other}, by {node:?} on m{at}",
                        entry.key()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Nothing that any member ever had is lost to something smaller.
    fn greatest_stamps(&mut self) -> Step {
        if self.plan.scenario == Scenario::LongCuts {
            return Ok(());
        }
        let soon = EPOCH + self.now + self.plan.settings.clock_bound;
        let mut greatest: BTreeMap<Vec<u8>, Stamp> = BTreeMap::new();
        let mut gone: BTreeSet<Vec<u8>> = BTreeSet::new();
        for member in self.machines.iter().filter_map(|machine| machine.member.as_ref()) {
            for (key, seen) in &member.seen {
                let Some(stamp) = seen.stamp.filter(|_| !seen.forgotten) else { continue };
                let known = greatest.entry(key.clone()).or_insert(stamp);
                if stamp > *known {
                    *known = stamp;
                    gone.remove(key);
                }
                if stamp == *known && (!seen.live || seen.exp <= soon) {
                    gone.insert(key.clone());
                }
            }
        }
        for (at, dump) in self.dumps() {
            for (key, stamp) in &greatest {
                let found = dump.get(key).and_then(|dumped| dumped.stamp);
                // Newer than what was last looked at is fine.
                if found < Some(*stamp) && !gone.contains(key) {
                    let key = String::from_utf8_lossy(key);
                    return Err(format!("Maximum: {key} on m{at} has {found:?}, was {stamp:?}"));
                }
            }
        }
        Ok(())
    }

    /// However a wait for a lock ends, it ends.
    fn waits_are_over(&mut self) -> Step {
        let now = self.now;
        let timeout = self.plan.settings.failure_timeout;
        for at in self.running() {
            let began = self.machines[at].unsound;
            let Some(member) = self.machines[at].member.as_ref() else { continue };
            let late = |waiting: &&Waiting| {
                let due = waiting.since.max(began).saturating_add(waiting.wait);
                now > due.saturating_add(member.cluster.patience() + 2 * timeout)
            };
            if let Some(waiting) = member.users.waits.iter().find(late) {
                let (key, since) = (&waiting.key, waiting.since / MS);
                return Err(format!("Waits: m{at} still waits for {key}, since {since} ms"));
            }
        }
        Ok(())
    }

    /// After a while of peace no lock has two believing holders anywhere.
    fn one_holder_each(&mut self) -> Step {
        let mut holders: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for (at, dump) in self.dumps() {
            let Some(incarnation) = self.machines[at].member.as_ref().map(|m| m.incarnation) else {
                continue;
            };
            for (key, dumped) in dump {
                let lock = dumped.lock.as_ref();
                if lock.is_some_and(|lock| lock.held && lock.member == incarnation)
                    && let Some(other) = holders.insert(key.clone(), at)
                {
                    let key = String::from_utf8_lossy(&key);
                    return Err(format!("Exclusion: at rest m{other} and m{at} hold {key}"));
                }
            }
        }
        Ok(())
    }

    /// Users give back what they hold and ask for nothing more.
    fn put_everything_down(&mut self) -> Step {
        for at in self.running() {
            self.machines[at].set_clock(self.now);
            let Some(member) = self.machines[at].member.as_mut() else { continue };
            let users = &mut member.users;
            users.most += 2 * users.waits.len() as u64 + users.guards.len() as u64;
            users.waits.clear();
            let (guards, locks) =
                (std::mem::take(&mut users.guards), std::mem::take(&mut users.locks));
            let kv = member.registry.clone();
            for guarded in guards {
                // An error tells of a loss, which the guard was told of.
                let _ = guarded.guard.release();
                self.put_down(at, guarded)?;
            }
            for lock in locks {
                let mut options = crate::WriteOptions::new();
                if let Some(owner) = &lock.owner {
                    options = options.owner(owner);
                }
                // Somebody else may have it by now.
                let _ = kv.unlock_with(&lock.key, options);
            }
            self.after(at)?;
        }
        Ok(())
    }

    /// A lock that nobody holds is granted to everyone in turn, soon.
    fn locks_come_in_time(&mut self) -> Step {
        let timeout = self.plan.settings.failure_timeout;
        for at in self.running() {
            // Word of what the one before did goes round first.
            self.until_agreed(60 * timeout)?;
            self.machines[at].set_clock(self.now);
            let Some(member) = self.machines[at].member.as_mut() else { continue };
            let kv = member.registry.clone();
            let put =
                kv.put("at rest", 1).map_err(|error| format!("Bookkeeping: m{at}: {error}"))?;
            drop(put);
            member.users.minted(1);
            self.ask_for(at, "at rest", 8 * timeout)?;
            let end = self.now + 4 * timeout;
            while self.machines[at].member.as_ref().is_some_and(|m| m.users.locks.is_empty()) {
                if self.now >= end {
                    return Err(format!("Bookkeeping: at rest m{at} got no lock in time"));
                }
                self.run_until(self.now + timeout / 10)?;
            }
            self.give_back(at, "at rest")?;
        }
        Ok(())
    }

    /// Somebody on a machine wants a lock, and waits for it.
    pub(super) fn ask_for(&mut self, at: usize, key: &str, wait: u64) -> Step {
        self.ask_as(at, key, "rest", wait)
    }

    pub(super) fn ask_as(&mut self, at: usize, key: &str, owner: &str, wait: u64) -> Step {
        self.machines[at].set_clock(self.now);
        let (key, since) = (key.to_owned(), self.now);
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        let options = LockOptions::new().owner(owner).wait(Duration::from_nanos(wait));
        let pending = member.registry.lock_start(&key, options);
        let pending = pending.map_err(|error| error.to_string())?;
        let pending = Pending::Lock { owner: Some(owner.to_owned()), puts: false, pending };
        member.users.waits.push(Waiting { key, since, wait, pending });
        self.after(at)
    }

    /// Ends the lock that was asked for so.
    pub(super) fn give_back(&mut self, at: usize, key: &str) -> Step {
        self.machines[at].set_clock(self.now);
        let Some(member) = self.member(at) else { return Ok(()) };
        member.users.locks.clear();
        let options = crate::WriteOptions::new().owner("rest");
        let result = member.registry.unlock_with(key, options);
        result.map_err(|error| format!("Bookkeeping: {error}"))?;
        self.after(at)
    }

    /// Everyone knows what is gone, so nobody needs to remember it.
    fn graves_are_gone(&mut self) -> Step {
        if self.machines.iter().any(|machine| machine.starts > 1 || machine.member.is_none()) {
            // Who crashed might come back and know nothing of them.
            return Ok(());
        }
        let recent =
            EPOCH + self.now - 2 * self.plan.settings.forget_after - self.plan.settings.clock_bound;
        for (at, dump) in self.dumps() {
            let old = |dumped: &&Dumped| {
                let newer = dumped.exp != u64::MAX && dumped.exp > recent;
                let locked = dumped.stamp.is_some_and(|stamp| stamp.epoch + LEASE > stamp.time);
                dumped.content.is_none() && !newer && !locked
            };
            if let Some(grave) = dump.values().find(old) {
                return Err(format!("Quiet: m{at} still has the grave {grave:?}"));
            }
        }
        Ok(())
    }

    /// What a slow reader lost and what it got is what there was.
    fn events_add_up(&mut self) -> Step {
        for at in self.running() {
            let Some(member) = self.machines[at].member.as_mut() else { continue };
            drain(member)?;
            while let Some(event) = member.slow.try_next() {
                member.slow_events += event.count();
                let told = event.kind() == EventKind::Lagged || event.count() == 1;
                if !told {
                    return Err(format!("Bookkeeping: m{at}: {event:?} counts for several"));
                }
            }
            if member.events != member.slow_events {
                let (all, counted) = (member.events, member.slow_events);
                return Err(format!(
                    "Bookkeeping: m{at} had {all} events, a slow reader {counted}"
                ));
            }
        }
        Ok(())
    }
}

/// How much later than its epoch a write without a lock is.
const LEASE: u64 = 600 * super::SECOND;

/// What a member has for a key, as far as all must have the same.
#[derive(Debug)]
enum View {
    Absent,
    /// Perhaps expired for some and not for others.
    Unsure {
        stamp: Option<Stamp>,
    },
    Live {
        stamp: Option<Stamp>,
        content: Vec<u8>,
        exp: u64,
        lock: Lock,
    },
    /// A tombstone; sooner or later it is forgotten.
    Dead {
        stamp: Option<Stamp>,
    },
}

/// A guard renews its lease while everybody looks: how often is no disagreement.
fn settled_rank(lock: &DumpedLock) -> (u64, u128, bool, u64) {
    let (fence, grantor, released, sequence) = rank(lock);
    (fence, grantor, released, if released { sequence } else { 0 })
}

/// Identity of the grant, how far it has come, its holder.
type Lock = Option<((u64, u128, bool, u64), u128, Option<String>)>;

impl View {
    fn of(dumped: Option<&Dumped>, wall: u64, bound: u64) -> View {
        let Some(dumped) = dumped else { return View::Absent };
        if dumped.exp != u64::MAX && dumped.exp.abs_diff(wall) <= bound {
            return View::Unsure { stamp: dumped.stamp };
        }
        match &dumped.content {
            Some(content) if dumped.exp > wall => View::Live {
                stamp: dumped.stamp,
                content: content.clone(),
                exp: dumped.exp,
                lock: dumped
                    .lock
                    .as_ref()
                    .map(|lock| (settled_rank(lock), lock.member, lock.owner.clone())),
            },
            _ => View::Dead { stamp: dumped.stamp },
        }
    }

    fn agrees(&self, other: &View) -> bool {
        match (self, other) {
            (View::Live { .. }, View::Live { .. }) => self.same(other),
            (View::Absent, View::Live { .. }) | (View::Live { .. }, View::Absent) => false,
            // Sooner or later it is forgotten.
            (View::Absent, _) | (_, View::Absent) => true,
            (View::Dead { .. }, View::Live { .. }) | (View::Live { .. }, View::Dead { .. }) => {
                false
            }
            _ => self.stamp() == other.stamp(),
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        match self {
            View::Absent => None,
            View::Unsure { stamp } | View::Live { stamp, .. } | View::Dead { stamp } => *stamp,
        }
    }

    fn same(&self, other: &View) -> bool {
        match (self, other) {
            (
                View::Live { stamp, content, exp, lock },
                View::Live { stamp: stamp2, content: content2, exp: exp2, lock: lock2 },
            ) => (stamp, content, exp, lock) == (stamp2, content2, exp2, lock2),
            _ => false,
        }
    }
}
