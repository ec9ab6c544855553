//! What the cluster asks of the table beyond what users do.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::access::{check_absent, check_fence, check_version, expiry_at};
use super::graves::Forgettable;
use super::merge::Delta;
use super::mutation::{Applied, Effects, LockRequest, Mutation};
use super::replication::{BUCKETS, bucket_of};
use super::shard::{Context, Shard, stopped};
use super::{SHARDS, Slot, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::LockState;
use crate::member::Member;
use crate::record::Record;
use crate::watch::{self, Subscriber};

/// What merges have left to be told.
pub(crate) struct Untold {
    /// Shards whose events wait in their logs.
    logged: [bool; SHARDS],
    /// Members that may not know that they have lost a lock.
    pub deposed: Vec<u128>,
}

impl Default for Untold {
    fn default() -> Untold {
        Untold { logged: [false; SHARDS], deposed: Vec::new() }
    }
}

impl Table {
    /// Whether this member may change anything at all now.
    pub fn check_clock(&self) -> Result<()> {
        if self.replication.as_ref().is_some_and(|replication| replication.is_refusing()) {
            let message = "this machine's clock is too far from that of the other members; see clock_offset_ms in stats, and set it right";
            return Err(Error::new(ErrorKind::Cluster, message));
        }
        Ok(())
    }

    /// Takes over what another member knows. True: it was news. Whoever watches is not told yet.
    pub fn merge(&self, delta: &Delta<'_>, asking: bool, untold: &mut Untold) -> bool {
        let hash = self.hash(delta.key);
        let place = Table::place(hash);
        let (merged, mut fx) = self.change_quietly(place, true, |shard, cx, fx| {
            shard.merge(hash, delta, asking, &Context { local: false, ..*cx }, fx)
        });
        untold.logged[place] |= std::mem::take(&mut fx.logged);
        untold.deposed.extend(merged.deposed);
        self.follow_up(place, &mut fx);
        merged.is_news
    }

    /// Hands out the events of merges and wakes each watcher once.
    pub fn tell(&self, untold: &mut Untold) {
        let mut to_wake: Vec<Arc<Subscriber>> = Vec::new();
        for (place, logged) in untold.logged.iter_mut().enumerate() {
            if std::mem::take(logged) {
                for subscriber in self.deliver(place) {
                    if !to_wake.iter().any(|other| Arc::ptr_eq(other, &subscriber)) {
                        to_wake.push(subscriber);
                    }
                }
            }
        }
        watch::wake(&to_wake);
    }

    /// Everything that is known of the keys of one shard, graves included.
    pub fn known_in(&self, place: usize) -> Vec<Record> {
        let shard = self.slots[place].shard.read();
        shard.records().chain(shard.graves.records()).cloned().collect()
    }

    /// Everything that is known of the keys in these buckets. It looks at every record there is: nothing but
    /// the fetching of their tags from memory may take time.
    pub fn known_in_buckets(&self, buckets: impl IntoIterator<Item = usize>) -> Vec<Record> {
        let mut wanted = vec![false; BUCKETS];
        for bucket in buckets {
            wanted[bucket % BUCKETS] = true;
        }
        let mut found = Vec::new();
        for slot in &self.slots {
            let shard = slot.shard.read();
            let is_wanted = |record: &&Record| wanted[bucket_of(record.tag()) % BUCKETS];
            found.extend(shard.records().filter(is_wanted).cloned());
            found.extend(shard.graves.records().filter(is_wanted).cloned());
        }
        found
    }

    pub fn known(&self, key: &[u8]) -> Option<Record> {
        let hash = self.hash(key);
        let shard = self.slots[Table::place(hash)].shard.read();
        shard.target(hash, key).known().cloned()
    }

    /// How many keys are known, graves included.
    pub fn known_len(&self) -> usize {
        let len = |slot: &Slot| {
            let shard = slot.shard.read();
            shard.len() + shard.graves.len()
        };
        self.slots.iter().map(len).sum()
    }

    /// The records whose last lock this incarnation holds, in whatever state it is.
    pub fn locked_by(&self, incarnation: u128, state: LockState) -> Vec<Record> {
        self.locked_where(state, |member| member.incarnation == incarnation)
    }

    fn locked_where(&self, state: LockState, by: impl Fn(&Member) -> bool) -> Vec<Record> {
        let wanted = |record: &&Record| {
            record.lock().is_some_and(|lock| lock.state == state && by(&lock.member))
        };
        let of = |slot: &Slot| -> Vec<Record> {
            let shard = slot.shard.read();
            shard.records().chain(shard.graves.records()).filter(wanted).cloned().collect()
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// Ends the locks of members that are not there any more; their `until` was set before. What follows is
    /// left to the caller, who holds a lock of its own.
    pub fn end_locks_of(&self, gone: &BTreeSet<u128>) -> Vec<(usize, Effects)> {
        let by = |member: &Member| gone.contains(&member.incarnation);
        let held = self.locked_where(LockState::Held, by).into_iter();
        let ended = held.map(|record| {
            self.change_known(&record, |shard, hash, record, cx, fx| {
                if record.held_until() <= cx.now.mono {
                    shard.lapse(hash, record, cx, fx);
                }
            })
        });
        ended.collect()
    }

    /// Believes again in the locks of a member that has come back.
    pub fn revive_locks_of(&self, incarnation: u128) -> Vec<(usize, Effects)> {
        let lapsed = self.locked_by(incarnation, LockState::Lapsed).into_iter();
        let revived = lapsed.map(|record| {
            self.change_known(&record, |shard, hash, record, cx, fx| {
                shard.revive(hash, record, cx, fx);
            })
        });
        revived.collect()
    }

    fn change_known(
        &self,
        seen: &Record,
        change: impl FnOnce(&mut Shard, u64, Record, &Context<'_>, &mut Effects),
    ) -> (usize, Effects) {
        let hash = self.hash(seen.key());
        let place = Table::place(hash);
        let ((), fx) = self.change_quietly(place, true, |shard, cx, fx| {
            let at = shard.target(hash, seen.key());
            let same = |record: &&Record| {
                record.lock().map(|lock| lock.rank()) == seen.lock().map(|lock| lock.rank())
            };
            if let Some(record) = at.known().filter(same) {
                change(shard, hash, record.clone(), &Context { local: false, ..*cx }, fx);
            }
        });
        (place, fx)
    }

    /// Gives up all locks of this member; nobody shall count on them again.
    pub fn lose_own_locks(&self) -> Vec<(usize, Effects)> {
        let held = self.locked_by(self.member.incarnation, LockState::Held).into_iter();
        let lost = held.map(|record| {
            self.change_known(&record, |shard, hash, record, cx, fx| {
                let cx = &Context { local: true, ..*cx };
                shard.end_lock(hash, record, LockState::Released, cx, fx);
            })
        });
        lost.collect()
    }

    /// As [`apply`](Table::apply), but for what is to be done without any lock of the caller's.
    pub fn apply_quietly(
        &self,
        mutation: &Mutation<'_>,
    ) -> (Result<Applied>, Option<(usize, Effects)>) {
        let hash = self.hash(mutation.key);
        let place = Table::place(hash);
        let (result, fx) =
            self.change_quietly(place, true, |shard, cx, fx| shard.apply(hash, mutation, cx, fx));
        (result, Some((place, fx)))
    }

    /// Ends a lock that a member was granted and has no use for.
    pub fn end_lock_quietly(
        &self,
        key: &[u8],
        fence: u64,
        holder: u128,
    ) -> Option<(usize, Effects)> {
        let hash = self.hash(key);
        let place = Table::place(hash);
        let ((), fx) = self.change_quietly(place, true, |shard, cx, fx| {
            let at = shard.target(hash, key);
            let unwanted = at
                .lock()
                .is_some_and(|lock| lock.fence == fence && lock.member.incarnation == holder);
            if let Some(record) = at.known().filter(|_| unwanted) {
                shard.end_lock(hash, record.clone(), LockState::Released, cx, fx);
            }
        });
        Some((place, fx))
    }

    /// Makes a record one of a deleted value, under its own stamp, unless it has changed.
    pub fn bury_quietly(&self, record: &Record) -> Option<(usize, Effects)> {
        let hash = self.hash(record.key());
        let place = Table::place(hash);
        let ((), fx) = self.change_quietly(place, true, |shard, cx, fx| {
            shard.bury_dead(hash, record, cx, fx);
        });
        Some((place, fx))
    }

    /// What can be said of a wish for a lock without asking anybody; `None`: the coordinator is to be asked.
    pub fn check_ask(&self, key: &[u8], request: &LockRequest) -> Result<Option<Applied>> {
        let hash = self.hash(key);
        let shard = self.slots[Table::place(hash)].shard.read();
        if shard.is_closed() {
            return Err(stopped());
        }
        let cx = self.context(self.clock.now());
        let mut at = shard.target(hash, key);
        at.present = at.present.filter(|record| !record.is_expired(cx.now.wall));
        check_fence(&at, &request.conditions())?;
        check_version(&at, &request.conditions(), &cx)?;
        if let Some(store) = &request.store {
            expiry_at(store.expiry, at.present.as_ref(), &cx)?;
            if store.if_absent {
                check_absent(key, at.present.as_ref(), &cx)?;
            }
        } else if at.present.is_none() {
            return Ok(Some(Applied::default()));
        }
        Ok(None)
    }

    /// Forgets graves that are not needed any more, so many of each shard at most.
    pub fn forget(&self, what: Forgettable, budget: usize) {
        for place in 0..SHARDS {
            if self.slots[place].shard.read().graves.len() > 0 {
                self.change(place, true, |shard, cx, _| shard.forget(what, budget, cx));
            }
        }
    }

    /// Forgets this grave if it was dug before that time. True: it is not there any more.
    pub fn forget_if_older(&self, record: &Record, before: u64) -> bool {
        let hash = self.hash(record.key());
        self.change(Table::place(hash), true, |shard, cx, _| {
            shard.forget_if_older(hash, record, before, cx)
        })
    }

    /// Whose the entries of those are who are gone. True: they were somebody else's.
    pub fn set_heir(&self, heir: Arc<str>) -> bool {
        let before = self.heir.write().replace(heir.clone());
        before.is_some_and(|before| before != heir)
    }
}

#[cfg(any(test, feature = "__fuzz"))]
#[derive(Debug)]
pub(crate) struct Dumped {
    pub key: Vec<u8>,
    pub stamp: Option<crate::stamp::Stamp>,
    /// `None`: a grave.
    pub content: Option<Vec<u8>>,
    pub exp: u64,
    pub lock: Option<DumpedLock>,
}

#[cfg(any(test, feature = "__fuzz"))]
#[derive(Debug)]
pub(crate) struct DumpedLock {
    pub fence: u64,
    pub grantor: u128,
    pub released: bool,
    pub sequence: u64,
    pub member: u128,
    pub owner: Option<String>,
    /// In this member's own eyes, now.
    pub held: bool,
}

#[cfg(any(test, feature = "__fuzz"))]
impl Dumped {
    fn new(record: &Record, lives: bool, now: crate::clock::Now) -> Dumped {
        let lock = record.lock().map(|lock| DumpedLock {
            fence: lock.fence,
            grantor: lock.grantor,
            released: lock.state == LockState::Released,
            sequence: lock.sequence,
            member: lock.member.incarnation,
            owner: lock.owner.as_deref().map(str::to_owned),
            held: lock.is_held(now),
        });
        let content = lives.then(|| record.encoded().to_vec());
        let (key, stamp, exp) = (record.key().to_vec(), record.stamp(), record.exp());
        Dumped { key, stamp, content, exp, lock }
    }
}

#[cfg(any(test, feature = "__fuzz"))]
impl Table {
    /// All that is known, sorted by key.
    pub fn dump(&self) -> Vec<Dumped> {
        let now = self.clock.now();
        let mut all = Vec::new();
        for slot in &self.slots {
            let shard = slot.shard.read();
            all.extend(shard.records().map(|record| Dumped::new(record, true, now)));
            all.extend(shard.graves.records().map(|record| Dumped::new(record, false, now)));
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Shows everything that is known to `look`, which says whether it wants a copy.
    pub fn dump_if(&self, mut look: impl FnMut(&Record, bool) -> bool) -> Vec<Dumped> {
        let now = self.clock.now();
        let mut all = Vec::new();
        for slot in &self.slots {
            let shard = slot.shard.read();
            let live = shard.records().map(|record| (record, true));
            let graves = shard.graves.records().map(|record| (record, false));
            for (record, lives) in live.chain(graves) {
                if look(record, lives) {
                    all.push(Dumped::new(record, lives, now));
                }
            }
        }
        all
    }

    /// What is known of one key.
    pub fn dump_key(&self, key: &[u8]) -> Option<Dumped> {
        let now = self.clock.now();
        let hash = self.hash(key);
        let shard = self.slots[Table::place(hash)].shard.read();
        let at = shard.target(hash, key);
        at.known().map(|record| Dumped::new(record, at.present.is_some(), now))
    }

    /// What the digest must be.
    pub fn recomputed_root(&self) -> u64 {
        let hashes = (0..SHARDS).flat_map(|place| self.known_in(place));
        hashes.fold(0, |sum, record| sum.wrapping_add(super::replication::record_hash(&record)))
    }
}
