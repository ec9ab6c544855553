//! What users do: random operations on hot and cold keys through ordinary handles.

use std::sync::Arc;
use std::time::Duration;

use super::MS;
use super::world::{Event, Step, World};
use crate::call_options::{LockOptions, PutOptions, WriteOptions};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind};
use crate::guard::LockGuard;
use crate::pending::{PendingGuard, PendingLock};
use crate::registry::Registry;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::update::Update;

/// A lock that a user was granted, by its label.
pub(super) struct Plain {
    pub key: String,
    pub owner: Option<String>,
    pub fence: u64,
}

pub(super) struct Guarded {
    pub key: String,
    pub guard: LockGuard,
    /// How often it was told that it is lost.
    pub told: Arc<AtomicU32>,
    /// When the table was first seen without it although nobody had told.
    pub doubt: Option<u64>,
}

pub(super) enum Pending {
    Lock { owner: Option<String>, puts: bool, pending: PendingLock },
    Guard { creates: bool, pending: PendingGuard },
}

pub(super) struct Waiting {
    pub key: String,
    pub since: u64,
    pub wait: u64,
    pub pending: Pending,
}

/// What the users of one member have in their hands.
#[derive(Default)]
pub(super) struct Users {
    pub locks: Vec<Plain>,
    pub guards: Vec<Guarded>,
    pub waits: Vec<Waiting>,
    /// How many stamps their successful calls must have minted, at least and at most.
    pub least: u64,
    pub most: u64,
}

impl Users {
    pub(super) fn minted(&mut self, count: u64) {
        self.least += count;
        self.most += count;
    }
}

/// Keys that are never locked.
const VALUES: u64 = 14;
/// Keys that are locked and never deleted, and never expire.
const LOCKED: u64 = 3;
/// Keys with which everything is done.
const WILD: u64 = 6;

/// Whether a lock of the key ends only by its holder or its lease.
pub(super) fn is_strict(key: &[u8]) -> bool {
    key.starts_with(b"l")
}

impl World {
    fn value_key(&mut self) -> String {
        if self.users.chance(300_000) {
            return format!("w{}", self.users.below(WILD));
        }
        let among = if self.users.chance(500_000) { 3 } else { VALUES };
        format!("v{}", self.users.below(among))
    }

    fn lock_key(&mut self) -> String {
        match self.users.chance(600_000) {
            true => format!("l{}", self.users.below(LOCKED)),
            false => format!("w{}", self.users.below(WILD)),
        }
    }

    fn any_key(&mut self) -> String {
        if self.users.chance(300_000) { self.lock_key() } else { self.value_key() }
    }

    fn ttl(&mut self) -> Duration {
        let longest = if self.users.chance(300_000) { 30_000 } else { 1_500 };
        Duration::from_millis(self.users.below(longest))
    }

    /// A user of a machine does something; then again after a while.
    pub(super) fn operate(&mut self, at: usize) -> Step {
        let every = self.plan.op_every * self.machines.len() as u64;
        let next = self.now + self.users.between(every / 4, every * 7 / 4);
        self.schedule(next, Event::Operate { at });
        if !self.active || !self.machines[at].runs() {
            return Ok(());
        }
        self.machines[at].set_clock(self.now);
        let several = if self.users.chance(10_000) { self.users.between(5, 120) } else { 1 };
        for _ in 0..several {
            self.operations += 1;
            self.operate_once(at)?;
        }
        self.after(at)
    }

    fn operate_once(&mut self, at: usize) -> Step {
        let Some(member) = self.machines[at].member.as_ref() else { return Ok(()) };
        let kv = member.registry.clone();
        let locks = matches!(self.plan.scenario, super::scenario::Scenario::Locks);
        let dice = if locks { self.users.between(60, 99) } else { self.users.below(100) };
        match dice {
            0..=19 => {
                let (key, keep) = (self.any_key(), self.users.chance(50_000));
                self.put(at, &kv, &key, PutOptions::new().keep_ttl(keep))
            }
            20..=27 => {
                let (key, ttl) = (self.value_key(), self.ttl());
                self.put(at, &kv, &key, PutOptions::new().ttl(ttl))
            }
            28..=31 => {
                let key = self.any_key();
                self.put(at, &kv, &key, PutOptions::new().if_absent(true))
            }
            32..=39 => self.incr(at, &kv),
            40..=47 => {
                let key = self.value_key();
                let result = kv.delete(&key);
                self.wrote(at, &key, "delete", result)
            }
            48..=51 => {
                let (key, ttl) = (self.value_key(), self.ttl());
                let result = kv.touch(&key, ttl);
                self.wrote(at, &key, "touch", result)
            }
            52 | 53 => {
                let key = self.value_key();
                let result = kv.persist(&key);
                self.wrote(at, &key, "persist", result)
            }
            54 | 55 => self.several(at, &kv),
            56 | 57 => self.update(at, &kv),
            58..=63 => self.read(at, &kv),
            64..=71 => self.lock(at, &kv),
            72..=77 => self.unlock(at, &kv),
            78..=81 => self.fenced(at, &kv),
            82..=87 => self.guard(at, &kv),
            88..=93 => self.guarded(at),
            _ => self.release(at),
        }
    }

    fn value(&mut self) -> i64 {
        self.users.below(1_000_000) as i64
    }

    fn put(&mut self, at: usize, kv: &Registry, key: &str, options: PutOptions) -> Step {
        let result = match self.users.chance(20_000) {
            // Large values lie apart from their record.
            true => kv.put_with(key, "large ".repeat(400), options),
            false => kv.put_with(key, self.value(), options),
        };
        self.wrote(at, key, "put", result.map(Some))
    }

    fn incr(&mut self, at: usize, kv: &Registry) -> Step {
        let key = self.any_key();
        let result = kv.incr(&key, 1).map(Some);
        self.wrote(at, &key, "incr", result)
    }

    fn update(&mut self, at: usize, kv: &Registry) -> Step {
        let (key, dice, value) = (self.value_key(), self.users.below(3), self.value());
        let mut acts = false;
        let result = kv.update(&key, |present| {
            let update = match dice {
                0 => Update::Keep,
                1 => Update::Delete,
                _ => return Update::put(value).inspect(|_| acts = true),
            };
            acts = dice == 1 && present.is_some();
            Ok::<_, Error>(update)
        });
        match (acts, result) {
            (false, Ok(_)) => Ok(()),
            (_, result) => self.wrote(at, &key, "update", result),
        }
    }

    fn several(&mut self, at: usize, kv: &Registry) -> Step {
        let keys: Vec<String> = (0..self.users.between(2, 5)).map(|_| self.value_key()).collect();
        match self.users.below(3) {
            0 => {
                let value = self.value();
                let mut single = keys.clone();
                single.sort();
                single.dedup();
                let items = single.iter().map(|key| (key.as_str(), value));
                let result = kv.put_many(items, PutOptions::new());
                self.wrote_many(at, &keys, "put_many", result.map(|_| single.len() as u64))
            }
            1 => {
                let mut single = keys.clone();
                single.sort();
                single.dedup();
                let present = single.iter().filter(|key| kv.contains(key).unwrap_or(false)).count();
                let result = kv.delete_many(&single, WriteOptions::new());
                self.wrote_many(at, &keys, "delete_many", result.map(|_| present as u64))
            }
            _ => {
                let result = kv.clear(&keys[0]);
                self.wrote_many(at, &keys[..1], "clear", result.map(|count| count as u64))
            }
        }
    }

    fn read(&mut self, at: usize, kv: &Registry) -> Step {
        let key = self.any_key();
        let wall = self.machines[at].wall(self.now);
        let mut found: Vec<Entry> =
            kv.get(&key).map_err(|error| error.to_string())?.into_iter().collect();
        if self.users.chance(50_000) {
            let page = kv.entries(crate::ListOptions::new()).map_err(|error| error.to_string())?;
            found.extend(page.items);
        }
        for entry in found {
            if entry.exp().is_some_and(|exp| exp <= wall) {
                let key = entry.key();
                return Err(format!("Expiry: m{at} read {key}, which had expired on its clock"));
            }
        }
        Ok(())
    }

    fn lock_options(&mut self) -> (LockOptions, u64, Option<String>) {
        let mut options = LockOptions::new();
        let wait = match self.users.below(4) {
            0 | 1 => 0,
            2 => self.users.below(400) * MS,
            _ => self.users.below(4_000) * MS,
        };
        options = options.wait(Duration::from_nanos(wait));
        if self.users.chance(400_000) {
            options = options.lease(Duration::from_millis(self.users.between(50, 3_000)));
        }
        let owner = match self.users.below(3) {
            0 => None,
            which => Some(format!("o{which}")),
        };
        if let Some(owner) = &owner {
            options = options.owner(owner);
        }
        (options, wait, owner)
    }

    fn lock(&mut self, at: usize, kv: &Registry) -> Step {
        let key = self.lock_key();
        let (mut options, wait, owner) = self.lock_options();
        let puts = self.users.chance(150_000);
        if puts {
            options = options.put(self.value(), PutOptions::new()).map_err(|e| e.to_string())?;
        }
        let pending = kv.lock_start(&key, options).map_err(|error| error.to_string())?;
        self.note(Some(at), format!("lock {key} as {owner:?}, waits {} ms", wait / MS));
        self.queue(at, key, wait, Pending::Lock { owner, puts, pending })
    }

    fn guard(&mut self, at: usize, kv: &Registry) -> Step {
        let key = self.lock_key();
        let (options, wait, owner) = self.lock_options();
        let creates = self.users.chance(300_000);
        let options = options.create(creates);
        let pending = kv.locked_start(&key, options).map_err(|error| error.to_string())?;
        self.note(Some(at), format!("locked {key} as {owner:?}, waits {} ms", wait / MS));
        self.queue(at, key, wait, Pending::Guard { creates, pending })
    }

    fn queue(&mut self, at: usize, key: String, wait: u64, pending: Pending) -> Step {
        let since = self.now;
        if let Some(member) = self.member(at) {
            member.users.waits.push(Waiting { key, since, wait, pending });
        }
        self.poll_users(at)?;
        // Now and then somebody does not wait for the end.
        if self.users.chance(30_000) {
            self.forsake(at);
        }
        Ok(())
    }

    fn forsake(&mut self, at: usize) {
        let Some(member) = self.machines[at].member.as_mut() else { return };
        let users = &mut member.users;
        if users.waits.is_empty() {
            return;
        }
        let waiting = users.waits.remove(self.users.index(users.waits.len()));
        let text = format!("nobody wants the lock of {} any more", waiting.key);
        // A lock that was granted and is given back may leave a stamp or two.
        users.most += 2;
        drop(waiting);
        self.note(Some(at), text);
    }

    /// Takes the results of waits that are over.
    pub(super) fn poll_users(&mut self, at: usize) -> Step {
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        if member.users.waits.is_empty() {
            return Ok(());
        }
        let mut done = Vec::new();
        let mut index = 0;
        while index < member.users.waits.len() {
            let waiting = &mut member.users.waits[index];
            let result = match &mut waiting.pending {
                Pending::Lock { pending, .. } => pending.try_take().map(Taken::Lock),
                Pending::Guard { pending, .. } => pending.try_take().map(Taken::Guard),
            };
            match result {
                Some(result) => done.push((member.users.waits.remove(index), result)),
                None => index += 1,
            }
        }
        for (waiting, result) in done {
            self.decided(at, waiting, result)?;
        }
        Ok(())
    }

    fn decided(&mut self, at: usize, waiting: Waiting, result: Taken) -> Step {
        let key = waiting.key;
        match (waiting.pending, result) {
            (Pending::Lock { owner, puts, .. }, Taken::Lock(Ok(Some(entry)))) => {
                let fence = entry.fence().unwrap_or_default();
                self.note(Some(at), format!("has the lock of {key} as {owner:?}, fence {fence}"));
                if let Some(member) = self.member(at) {
                    member.users.minted(u64::from(puts));
                    member.users.locks.retain(|lock| lock.key != key || lock.owner != owner);
                    member.users.locks.push(Plain { key, owner, fence });
                }
                Ok(())
            }
            (Pending::Guard { creates, .. }, Taken::Guard(Ok(guard))) => {
                self.note(Some(at), format!("has a guard of {key}, fence {}", guard.fence()));
                let told = Arc::new(AtomicU32::new(0));
                let counter = told.clone();
                guard.on_lost(move || {
                    counter.fetch_add(1, Ordering::SeqCst);
                });
                if let Some(member) = self.member(at) {
                    member.users.most += u64::from(creates);
                    member.users.guards.push(Guarded { key, guard, told, doubt: None });
                }
                Ok(())
            }
            (_, Taken::Lock(Ok(None))) => Ok(()),
            (Pending::Guard { creates, .. }, Taken::Guard(Err(error))) => {
                if let Some(member) = self.member(at) {
                    member.users.most += 2 * u64::from(creates);
                }
                self.refused(at, &key, "locked", &error)
            }
            (_, Taken::Lock(Err(error))) => self.refused(at, &key, "lock", &error),
            _ => Err("a wait ended with the result of another".to_owned()),
        }
    }

    fn unlock(&mut self, at: usize, kv: &Registry) -> Step {
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        let locks = &mut member.users.locks;
        if locks.is_empty() {
            return Ok(());
        }
        let Plain { key, owner, .. } = locks.remove(self.users.index(locks.len()));
        let mut options = WriteOptions::new();
        if let Some(owner) = &owner {
            options = options.owner(owner);
        }
        self.note(Some(at), format!("unlock {key} as {owner:?}"));
        match kv.unlock_with(&key, options) {
            Ok(_) => Ok(()),
            Err(error) => self.refused(at, &key, "unlock", &error),
        }
    }

    /// A write by the holder of a plain lock, with its fence.
    fn fenced(&mut self, at: usize, kv: &Registry) -> Step {
        let Some(member) = self.machines[at].member.as_ref() else { return Ok(()) };
        let locks = &member.users.locks;
        let Some(Plain { key, owner, fence }) = self.users.pick(locks) else { return Ok(()) };
        let (key, owner, fence) = (key.clone(), owner.clone(), *fence);
        let mut options = PutOptions::new().fence(fence);
        if let Some(owner) = owner {
            options = options.owner(owner);
        }
        let result = kv.put_with(&key, self.value(), options);
        if result.is_ok() {
            self.fenced_write(at, &key, fence)?;
        }
        self.wrote(at, &key, "put under fence", result.map(Some))
    }

    /// What a holder writes outweighs what strangers write who do not know of its lock.
    fn fenced_write(&mut self, at: usize, key: &str, fence: u64) -> Step {
        let Some(member) = self.machines[at].member.as_ref() else { return Ok(()) };
        let found = member.core.table.dump_key(key.as_bytes());
        match found.and_then(|dumped| dumped.stamp) {
            Some(stamp) if stamp.epoch >= fence => Ok(()),
            found => {
                Err(format!("Fences: m{at} wrote {key} under fence {fence}, stamped {found:?}"))
            }
        }
    }

    fn guarded(&mut self, at: usize) -> Step {
        let (dice, value, ttl) = (self.users.below(12), self.value(), self.ttl());
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        if member.users.guards.is_empty() {
            return Ok(());
        }
        let index = self.users.index(member.users.guards.len());
        let Guarded { key, guard, .. } = &member.users.guards[index];
        let (key, fence) = (key.clone(), guard.fence());
        let strict = is_strict(key.as_bytes());
        let (what, result) = match dice {
            0 if !strict => ("guard's delete", guard.delete()),
            1 if !strict => ("guard's touch", guard.touch(ttl)),
            2 if !strict => ("guard's persist", guard.persist()),
            3..=5 => ("guard's incr", guard.incr(1).map(Some)),
            _ => ("guard's put", guard.put(value).map(Some)),
        };
        let gone = dice == 0 && !strict && result.is_ok();
        if result.is_ok() && !gone && dice > 2 {
            self.fenced_write(at, &key, fence)?;
        }
        if gone && let Some(member) = self.member(at) {
            let guarded = member.users.guards.remove(index);
            self.wrote(at, &key, what, result)?;
            return self.put_down(at, guarded);
        }
        self.wrote(at, &key, what, result)
    }

    fn release(&mut self, at: usize) -> Step {
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        if member.users.guards.is_empty() {
            return Ok(());
        }
        let index = self.users.index(member.users.guards.len());
        let guarded = member.users.guards.remove(index);
        // The nil that was stored for the lock goes with it.
        member.users.most += 1;
        self.note(Some(at), format!("releases its guard of {}", guarded.key));
        if self.users.chance(500_000)
            && let Err(error) = guarded.guard.release()
        {
            self.refused(at, &guarded.key, "release", &error)?;
        }
        self.put_down(at, guarded)
    }

    /// A guard's last moment: it was told of a loss once, or there was none.
    pub(super) fn put_down(&mut self, at: usize, guarded: Guarded) -> Step {
        let Guarded { key, guard, told, .. } = guarded;
        let told = told.load(Ordering::SeqCst);
        if told != u32::from(guard.is_lost()) {
            let lost = guard.is_lost();
            return Err(format!("Exclusion: guard of {key} on m{at}: lost {lost}, told {told}"));
        }
        Ok(())
    }

    /// After a write: whether it may fail like this, and what it has minted.
    fn wrote(
        &mut self,
        at: usize,
        key: &str,
        what: &'static str,
        result: Result<Option<Entry>, Error>,
    ) -> Step {
        match result {
            Ok(entry) => {
                let minted = u64::from(entry.is_some());
                let version = entry.map(|entry| entry.version().to_string());
                self.note(Some(at), format!("{what} {key}: {version:?}"));
                if let Some(member) = self.member(at) {
                    member.users.minted(minted);
                }
                Ok(())
            }
            Err(error) => self.refused(at, key, what, &error),
        }
    }

    fn wrote_many(
        &mut self,
        at: usize,
        keys: &[String],
        what: &'static str,
        result: Result<u64, Error>,
    ) -> Step {
        match result {
            Ok(count) => {
                self.note(Some(at), format!("{what} {keys:?}: {count}"));
                if let Some(member) = self.member(at) {
                    member.users.minted(count);
                }
                Ok(())
            }
            Err(error) => self.refused(at, &keys.join(" "), what, &error),
        }
    }

    fn refused(&mut self, at: usize, key: &str, what: &str, error: &Error) -> Step {
        self.note(Some(at), format!("{what} {key}: {}", error.kind()));
        match error.kind() {
            ErrorKind::Locked
            | ErrorKind::StaleFence
            | ErrorKind::Conflict
            | ErrorKind::LockLost
            | ErrorKind::NotFound
            | ErrorKind::InvalidValue
            | ErrorKind::Cluster => Ok(()),
            _ => Err(format!("Bookkeeping: {what} {key} on m{at} failed: {error}")),
        }
    }
}

enum Taken {
    Lock(Result<Option<Entry>, Error>),
    Guard(Result<LockGuard, Error>),
}
