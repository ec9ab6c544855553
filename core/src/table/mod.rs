//! The table: shards, hashing and locking. The only place that takes shard locks.

mod access;
mod cluster;
pub(crate) mod counters;
mod due;
mod expiry;
pub(crate) mod graves;
mod index;
mod locking;
pub(crate) mod merge;
pub(crate) mod mutation;
pub(crate) mod readers;
mod reads;
pub(crate) mod replication;
pub(crate) mod shard;
#[cfg(any(test, feature = "__fuzz"))]
mod validate;

use std::collections::{BinaryHeap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

#[cfg(not(test))]
pub(crate) use foldhash::fast::RandomState;
// The same order of keys in every run: a simulation is to repeat what it did.
#[cfg(test)]
pub(crate) use foldhash::fast::FixedState as RandomState;

pub(crate) use self::access::locked_by;
use self::access::{check_access, locked_error};
pub(crate) use self::cluster::Untold;
#[cfg(test)]
pub(crate) use self::cluster::{Dumped, DumpedLock};
use self::counters::WriteCounters;
use self::index::Published;
use self::mutation::{Action, Applied, Conditions, Effects, Limits, Mutation, Wait};
use self::replication::Replication;
use self::shard::{Context, Shard, ShardStats};
use crate::clock::{Clock, Now};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::NEVER;
use crate::member::Member;
use crate::record::Record;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::version::Version;
use crate::watch::{self, Event, EventKind, Filter, Hub, Subscriber};

/// A power of two; more than threads that will ever want one at once.
pub(crate) const SHARDS: usize = if cfg!(feature = "__shuttle") { 2 } else { 64 };

/// How many due things are processed under one hold of a shard's lock.
const SWEEP_BUDGET: usize = 256;

pub(crate) struct Table {
    slots: Box<[Slot]>,
    hasher: RandomState,
    pub clock: Arc<Clock>,
    pub member: Arc<Member>,
    pub hub: Arc<Hub>,
    limits: Limits,
    alarm: Alarm,
    replication: Option<Arc<Replication>>,
    /// Who owns the entries of nodes that are not there.
    heir: RwLock<Option<Arc<str>>>,
    /// Only once somebody wants them.
    counters: OnceLock<Arc<WriteCounters>>,
}

/// A shard with its lock, on cache lines of its own.
#[repr(align(128))]
struct Slot {
    /// What of the shard is read without its lock.
    published: Arc<Published>,
    shard: RwLock<Shard>,
    /// What the shard's deadlines are, readable without its lock.
    next_wall: AtomicU64,
    next_mono: AtomicU64,
    log: Mutex<Log>,
    /// Held while events are handed out, so that they keep their order.
    dispatch: Mutex<()>,
}

/// Events made and not yet handed out. Appended to only under the lock of the shard.
#[derive(Default)]
struct Log {
    next: u64,
    pending: VecDeque<(u64, Event)>,
}

/// When the sweeper will wake by itself, and how to wake it earlier.
pub(crate) struct Alarm {
    wall: AtomicU64,
    mono: AtomicU64,
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Table {
    pub fn new(
        clock: Arc<Clock>,
        member: Arc<Member>,
        limits: Limits,
        ring: Box<dyn Fn() + Send + Sync>,
        replication: Option<Arc<Replication>>,
    ) -> Table {
        let slot = |_| {
            let shard = Shard::default();
            Slot {
                published: shard.published(),
                shard: RwLock::new(shard),
                next_wall: AtomicU64::new(NEVER),
                next_mono: AtomicU64::new(NEVER),
                log: Mutex::new(Log::default()),
                dispatch: Mutex::new(()),
            }
        };
        // Nobody is awake yet: any deadline at all rings.
        let alarm = Alarm { wall: AtomicU64::new(NEVER), mono: AtomicU64::new(NEVER), ring };
        Table {
            slots: (0..SHARDS).map(slot).collect(),
            hasher: RandomState::default(),
            clock,
            member,
            hub: Arc::new(Hub::default()),
            limits,
            alarm,
            replication,
            heir: RwLock::new(None),
            counters: OnceLock::new(),
        }
    }

    /// Whether these conditions let a write through now.
    pub fn check(&self, key: &[u8], conditions: &Conditions<'_>) -> Result<()> {
        let hash = self.hash(key);
        let shard = self.slots[Table::place(hash)].shard.read();
        let cx = self.context(self.clock.now());
        let mut at = shard.target(hash, key);
        at.present = at.present.filter(|record| !record.is_expired(cx.now.wall));
        check_access(&at, &self.member, conditions, &cx)
    }

    /// What somebody is told who may not have the key's lock now.
    pub fn locked_error(&self, key: &[u8]) -> Error {
        let hash = self.hash(key);
        let shard = self.slots[Table::place(hash)].shard.read();
        locked_error(key, shard.target(hash, key).lock())
    }

    /// Which shard a hash belongs to.
    pub fn shard_of(&self, hash: u64) -> usize {
        Table::place(hash)
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The index takes its bits from both ends of the hash; the middle is free.
    fn place(hash: u64) -> usize {
        (hash >> 32) as usize % SHARDS
    }

    #[inline(always)]
    fn context(&self, now: Now) -> Context<'_> {
        Context {
            now,
            member: &self.member,
            hasher: &self.hasher,
            limits: &self.limits,
            watched: self.hub.is_watched(),
            replication: self.replication.as_deref(),
            local: true,
            heir: &self.heir,
            counters: self.counters.get().map(|counters| &**counters),
        }
    }

    /// From the first call on, writes are counted.
    pub fn counters(&self) -> &Arc<WriteCounters> {
        if let Some(counters) = self.counters.get() {
            return counters;
        }
        // Whoever is writing just now does not know of them.
        let _nobody_writes: Vec<_> = self.slots.iter().map(|slot| slot.shard.read()).collect();
        self.counters.get_or_init(|| Arc::new(WriteCounters::new()))
    }

    /// Applies one mutation. The only way in for every change, whoever caused it.
    pub fn apply(&self, mutation: &Mutation<'_>) -> Result<Applied> {
        self.apply_hashed(self.hash(mutation.key), mutation)
    }

    /// As [`apply`](Table::apply), of a key whose hash is known.
    #[inline]
    pub fn apply_hashed(&self, hash: u64, mutation: &Mutation<'_>) -> Result<Applied> {
        let result = self.try_apply(hash, mutation);
        // What has expired may still take up room.
        if matches!(&result, Err(error) if error.kind() == ErrorKind::Limit) {
            self.sweep();
            return self.try_apply(hash, mutation);
        }
        result
    }

    #[inline(always)]
    fn try_apply(&self, hash: u64, mutation: &Mutation<'_>) -> Result<Applied> {
        if !matches!(mutation.action, Action::Unlock) {
            self.check_clock()?;
        }
        let needs_mono = matches!(mutation.action, Action::Lock(..))
            || matches!(&mutation.action, Action::Put(put) if put.lock.is_some());
        self.change(Table::place(hash), needs_mono, |shard, cx, fx| {
            shard.apply(hash, mutation, cx, fx)
        })
    }

    /// Runs `change` on one shard under its lock, then does what follows from it.
    #[inline(always)]
    fn change<T>(
        &self,
        place: usize,
        needs_mono: bool,
        change: impl FnOnce(&mut Shard, &Context<'_>, &mut Effects) -> T,
    ) -> T {
        let mut fx = Effects::default();
        let result = self.change_into(place, needs_mono, &mut fx, change);
        self.follow_up(place, &mut fx);
        result
    }

    /// As [`change`](Table::change), but what follows is left to the caller.
    fn change_quietly<T>(
        &self,
        place: usize,
        needs_mono: bool,
        change: impl FnOnce(&mut Shard, &Context<'_>, &mut Effects) -> T,
    ) -> (T, Effects) {
        let mut fx = Effects::default();
        let result = self.change_into(place, needs_mono, &mut fx, change);
        (result, fx)
    }

    #[inline]
    fn change_into<T>(
        &self,
        place: usize,
        needs_mono: bool,
        fx: &mut Effects,
        change: impl FnOnce(&mut Shard, &Context<'_>, &mut Effects) -> T,
    ) -> T {
        let slot = &self.slots[place];
        let mut shard = slot.shard.write();
        let in_cluster = self.replication.is_some();
        let needs_mono = needs_mono || in_cluster || shard.needs_mono();
        let mono = if needs_mono { self.clock.mono() } else { 0 };
        let cx = self.context(Now { wall: self.clock.wall(), mono });
        let result = change(&mut shard, &cx, fx);
        slot.settle(&mut shard, fx);
        result
    }

    /// All or nothing: the shards of all keys are locked together, in one order for everyone.
    pub fn apply_all(&self, mutations: &[Mutation<'_>]) -> Result<Vec<Applied>> {
        let result = self.try_apply_all(mutations);
        if matches!(&result, Err(error) if error.kind() == ErrorKind::Limit) {
            self.sweep();
            return self.try_apply_all(mutations);
        }
        result
    }

    fn try_apply_all(&self, mutations: &[Mutation<'_>]) -> Result<Vec<Applied>> {
        self.check_clock()?;
        let hashes: Vec<u64> = mutations.iter().map(|m| self.hash(m.key)).collect();
        let mut places: Vec<usize> = hashes.iter().map(|hash| Table::place(*hash)).collect();
        places.sort_unstable();
        places.dedup();
        let mut effects: Vec<Effects> = places.iter().map(|_| Effects::default()).collect();
        let result = {
            let mut shards: Vec<_> =
                places.iter().map(|place| self.slots[*place].shard.write()).collect();
            // Who reads without the locks sees either nothing of it or all.
            let _busy = Busy::set(self, &places);
            let at = |hash: u64| places.binary_search(&Table::place(hash)).unwrap_or_default();
            let cx = self.context(self.clock.now());
            let mut all = || {
                let mut growth = (0, 0);
                for (mutation, hash) in mutations.iter().zip(&hashes) {
                    let at = at(*hash);
                    shards[at].check(*hash, mutation, &cx, &mut effects[at])?;
                    if let (Action::Put(put), false) =
                        (&mutation.action, self.limits.is_unlimited())
                    {
                        let more = shards[at].growth(*hash, mutation, put, &cx);
                        growth = (growth.0 + more.0, growth.1 + more.1);
                    }
                }
                self.limits.reserve(growth.0, growth.1)?;
                let each = mutations.iter().zip(&hashes);
                each.map(|(mutation, hash)| {
                    let at = at(*hash);
                    shards[at].apply(*hash, mutation, &cx, &mut effects[at])
                })
                .collect()
            };
            let result = all();
            for ((place, shard), fx) in places.iter().zip(&mut shards).zip(&mut effects) {
                self.slots[*place].settle(shard, fx);
            }
            result
        };
        for (place, fx) in places.into_iter().zip(&mut effects) {
            self.follow_up(place, fx);
        }
        result
    }

    /// Unlocks; a nil that was created for the lock goes, unless somebody put a value since.
    pub fn give_back(
        &self,
        key: &[u8],
        conditions: Conditions<'_>,
        created: Option<Version>,
    ) -> Result<()> {
        let own = |version: &Version| {
            created.is_some_and(|own| (own.time, own.writer) == (version.time, version.writer))
        };
        loop {
            let version = self.get(key).map(|entry| entry.version()).filter(own);
            let action = if version.is_some() { Action::Delete } else { Action::Unlock };
            let conditions = Conditions { version, ..conditions };
            match self.apply(&Mutation { key, conditions, action }) {
                // Touched in between: it is still the nil of this lock.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                result => return result.map(drop),
            }
        }
    }

    /// Takes back a wait for a lock. False: its outcome is decided.
    pub fn cancel(&self, key: &[u8], wait: Wait<'_>) -> bool {
        let place = Table::place(self.hash(key));
        self.change(place, false, |shard, _, _| shard.cancel(key, wait))
    }

    /// Everything that must not happen under the lock of a shard.
    #[inline]
    pub fn follow_up(&self, place: usize, fx: &mut Effects) {
        watch::wake(&self.follow_up_without_waking(place, fx));
    }

    /// As [`follow_up`](Table::follow_up), but gives back the watches that have something new.
    fn follow_up_without_waking(&self, place: usize, fx: &mut Effects) -> Vec<Arc<Subscriber>> {
        if let (Some(replication), false) = (&self.replication, fx.changed.is_empty()) {
            replication.send(std::mem::take(&mut fx.changed));
        }
        let news = if fx.logged { self.deliver(place) } else { Vec::new() };
        for outcome in &fx.outcomes {
            outcome.notify();
        }
        for signal in &fx.lost {
            signal.notify();
        }
        let slot = &self.slots[place];
        let (wall, mono) =
            (slot.next_wall.load(Ordering::SeqCst), slot.next_mono.load(Ordering::SeqCst));
        if wall < self.alarm.wall.load(Ordering::SeqCst)
            || mono < self.alarm.mono.load(Ordering::SeqCst)
        {
            (self.alarm.ring)();
        }
        news
    }

    /// Hands out the events of a shard and returns who is to be woken.
    fn deliver(&self, place: usize) -> Vec<Arc<Subscriber>> {
        let slot = &self.slots[place];
        let _in_order = slot.dispatch.lock();
        let events: Vec<(u64, Event)> = slot.log.lock().pending.drain(..).collect();
        if events.is_empty() { Vec::new() } else { self.hub.deliver(place, &events) }
    }

    /// A subscription to every shard, from one moment of each.
    pub fn subscribe(
        &self,
        filter: Filter,
        initial: bool,
        capacity: usize,
        max: usize,
    ) -> Result<Arc<Subscriber>> {
        let subscriber = self.hub.add(filter, capacity, SHARDS, max)?;
        for (place, slot) in self.slots.iter().enumerate() {
            let shard = slot.shard.read();
            let entries =
                shard.records().filter(|record| initial && subscriber.filter.matches(record.key()));
            let present = entries.filter_map(|record| self.view(record.clone().into()));
            let present = present.map(|entry| Event::of(EventKind::Put, entry)).collect();
            subscriber.subscribe_shard(place, slot.log.lock().next, present);
        }
        Ok(subscriber)
    }

    /// The records of one shard that match, as they are now.
    pub fn scan(&self, place: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Entry> {
        let records: Vec<Record> = {
            let shard = self.slots[place].shard.read();
            shard.records().filter(|record| wanted(record.key())).cloned().collect()
        };
        records.into_iter().filter_map(|record| self.view(record.into())).collect()
    }

    /// The first `limit` entries of a shard in the order of (hash, key), after a place in it.
    pub fn scan_page(
        &self,
        place: usize,
        prefix: &[u8],
        after: Option<(u64, &[u8])>,
        limit: usize,
    ) -> Vec<Entry> {
        let wall = self.clock.wall();
        let records: Vec<Record> = {
            let shard = self.slots[place].shard.read();
            // The largest on top: it goes when a smaller one comes.
            let mut first: BinaryHeap<(u64, &[u8])> = BinaryHeap::new();
            for record in shard.records() {
                let key = record.key();
                if !key.starts_with(prefix) || record.is_expired(wall) {
                    continue;
                }
                let at = (self.hash(key), key);
                if after.is_some_and(|after| at <= after) {
                    continue;
                }
                if first.len() < limit {
                    first.push(at);
                } else if first.peek().is_some_and(|last| at < *last) {
                    first.pop();
                    first.push(at);
                }
            }
            let sorted = first.into_sorted_vec().into_iter();
            sorted.filter_map(|(hash, key)| shard.get(hash, key).cloned()).collect()
        };
        records.into_iter().filter_map(|record| self.view(record.into())).collect()
    }

    /// How many entries there are, without looking at them.
    pub fn len(&self) -> usize {
        let now = Now { wall: self.clock.wall(), mono: 0 };
        self.slots.iter().map(|slot| slot.shard.read().live_len(now, &self.hasher)).sum()
    }

    /// Processes everything that is due, and says how much that was.
    pub fn sweep(&self) -> usize {
        let now = self.clock.now();
        let mut steps = 0;
        // Once each, however many of their entries have expired.
        let mut to_wake: Vec<Arc<Subscriber>> = Vec::new();
        for (place, slot) in self.slots.iter().enumerate() {
            while slot.next_wall.load(Ordering::SeqCst) <= now.wall
                || slot.next_mono.load(Ordering::SeqCst) <= now.mono
            {
                let sweep = |shard: &mut Shard, cx: &Context<'_>, fx: &mut Effects| {
                    shard.sweep(SWEEP_BUDGET, cx, fx)
                };
                let (done, mut fx) = self.change_quietly(place, true, sweep);
                steps += done;
                for subscriber in self.follow_up_without_waking(place, &mut fx) {
                    if !to_wake.iter().any(|other| Arc::ptr_eq(other, &subscriber)) {
                        to_wake.push(subscriber);
                    }
                }
                if done < SWEEP_BUDGET {
                    break;
                }
            }
        }
        watch::wake(&to_wake);
        steps
    }

    /// The earliest deadlines of all shards, on the wall and on the monotonic clock.
    pub fn next_deadlines(&self) -> (u64, u64) {
        let earliest = |deadline: fn(&Slot) -> &AtomicU64| {
            let all = self.slots.iter().map(|slot| deadline(slot).load(Ordering::SeqCst));
            all.min().unwrap_or(NEVER)
        };
        (earliest(|slot| &slot.next_wall), earliest(|slot| &slot.next_mono))
    }

    /// From now on a deadline before these rings. Look at the deadlines once more after calling it.
    pub fn set_alarm(&self, wall: u64, mono: u64) {
        self.alarm.wall.store(wall, Ordering::SeqCst);
        self.alarm.mono.store(mono, Ordering::SeqCst);
    }

    pub fn stats(&self) -> ShardStats {
        let mut sum = ShardStats::default();
        for slot in &self.slots {
            let stats = slot.shard.read().stats();
            sum.entries += stats.entries;
            sum.with_expiry += stats.with_expiry;
            sum.held_locks += stats.held_locks;
            sum.waiters += stats.waiters;
            sum.bytes += stats.bytes;
            sum.expired += stats.expired;
            sum.tombstones += stats.tombstones;
        }
        sum
    }

    /// Empties the table for good.
    pub fn close(&self) {
        for place in 0..self.slots.len() {
            self.change(place, false, |shard, cx, fx| {
                cx.counters.inspect(|counters| counters.begin_shard(place));
                shard.close(fx);
                cx.counters.inspect(|counters| counters.end_shard(place));
            });
        }
        self.hub.close();
    }

    #[cfg(any(test, feature = "__fuzz"))]
    pub fn validate(&self) {
        let grants = self.clock.mono() < self.member.until();
        for slot in &self.slots {
            let shard = slot.shard.read();
            shard.validate(&self.hasher, grants);
            assert_eq!(slot.next_wall.load(Ordering::SeqCst), shard.next_wall());
            assert_eq!(slot.next_mono.load(Ordering::SeqCst), shard.next_mono());
        }
    }
}

/// Shards of which several keys change at one moment, under their locks, which are released after this.
struct Busy<'a>(&'a Table, &'a [usize]);

impl<'a> Busy<'a> {
    fn set(table: &'a Table, places: &'a [usize]) -> Busy<'a> {
        places.iter().for_each(|place| table.slots[*place].published.set_busy(true));
        Busy(table, places)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.1.iter().for_each(|place| self.0.slots[*place].published.set_busy(false));
    }
}

impl Slot {
    /// Under the lock of the shard: publishes its deadlines and logs its events.
    #[inline(always)]
    fn settle(&self, shard: &mut Shard, fx: &mut Effects) {
        fx.unused = shard.take_unused();
        for (published, now) in
            [(&self.next_wall, shard.next_wall()), (&self.next_mono, shard.next_mono())]
        {
            // Written only under this lock; most mutations change nothing here.
            if published.load(Ordering::Relaxed) != now {
                published.store(now, Ordering::SeqCst);
            }
        }
        if !fx.events.is_empty() {
            fx.logged = true;
            let mut log = self.log.lock();
            for event in fx.events.drain(..) {
                let number = log.next;
                log.next += 1;
                log.pending.push_back((number, event));
            }
        }
    }
}
