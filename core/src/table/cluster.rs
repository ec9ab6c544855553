//! What the cluster asks of the table beyond what users do.

use std::collections::HashSet;
use std::sync::Arc;

use super::merge::Delta;
use super::mutation::Effects;
use super::replication::{Replication, bucket_of};
use super::shard::{Context, Shard};
use super::{SHARDS, Slot, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::LockState;
use crate::record::Record;

impl Table {
    pub fn replication(&self) -> Option<&Arc<Replication>> {
        self.replication.as_ref()
    }

    /// Whether this member may change anything at all now.
    pub(super) fn check_clock(&self) -> Result<()> {
        if self.replication.as_ref().is_some_and(|replication| replication.is_refusing()) {
            let message = "this machine's clock is too far from that of the other members; see clock_offset_ms in stats, and set it right";
            return Err(Error::new(ErrorKind::Cluster, message));
        }
        Ok(())
    }

    /// Takes over what another member knows. True: it was news.
    pub fn merge(&self, delta: &Delta<'_>, asking: bool) -> bool {
        let hash = self.hash(delta.key);
        self.change(Table::place(hash), true, |shard, cx, fx| {
            shard.merge(hash, delta, asking, &Context { local: false, ..*cx }, fx)
        })
    }

    /// Everything that is known of the keys of one shard, graves included.
    pub fn known_in(&self, place: usize) -> Vec<Record> {
        let shard = self.slots[place].shard.read();
        shard.records().chain(shard.graves.records()).cloned().collect()
    }

    /// Everything that is known of the keys in these buckets.
    pub fn known_in_buckets(&self, buckets: &HashSet<usize>) -> Vec<Record> {
        let mut found = Vec::new();
        for slot in &self.slots {
            let shard = slot.shard.read();
            let all = shard.records().chain(shard.graves.records());
            found.extend(all.filter(|r| buckets.contains(&bucket_of(r.tag()))).cloned());
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
        let wanted = |record: &&Record| {
            let lock = record.lock();
            lock.is_some_and(|l| l.state == state && l.member.incarnation == incarnation)
        };
        let of = |slot: &Slot| -> Vec<Record> {
            let shard = slot.shard.read();
            shard.records().chain(shard.graves.records()).filter(wanted).cloned().collect()
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// Ends the locks of a member that is not there any more; its `until` was set before.
    pub fn end_locks_of(&self, incarnation: u128) {
        for record in self.locked_by(incarnation, LockState::Held) {
            self.change_known(&record, |shard, hash, record, cx, fx| {
                if record.held_until() <= cx.now.mono {
                    shard.lapse(hash, record, cx, fx);
                }
            });
        }
    }

    /// Believes again in the locks of a member that has come back.
    pub fn revive_locks_of(&self, incarnation: u128) {
        for record in self.locked_by(incarnation, LockState::Lapsed) {
            self.change_known(&record, |shard, hash, record, cx, fx| {
                shard.revive(hash, record, cx, fx);
            });
        }
    }

    fn change_known(
        &self,
        seen: &Record,
        change: impl FnOnce(&mut Shard, u64, Record, &Context<'_>, &mut Effects),
    ) {
        let hash = self.hash(seen.key());
        self.change(Table::place(hash), true, |shard, cx, fx| {
            let at = shard.target(hash, seen.key());
            let same = |record: &&Record| {
                record.lock().map(|lock| lock.rank()) == seen.lock().map(|lock| lock.rank())
            };
            if let Some(record) = at.known().filter(same) {
                change(shard, hash, record.clone(), &Context { local: false, ..*cx }, fx);
            }
        });
    }

    /// Forgets graves dug before this time of the monotonic clock, so many of each shard at most.
    pub fn forget(&self, before: u64, budget: usize) {
        for place in 0..SHARDS {
            if self.slots[place].shard.read().graves.len() > 0 {
                self.change(place, true, |shard, cx, _| shard.forget(before, budget, cx));
            }
        }
    }

    pub fn set_heir(&self, heir: Option<Arc<str>>) {
        *self.heir.write() = heir;
    }
}

#[cfg(test)]
pub(crate) struct Dumped {
    pub key: Vec<u8>,
    pub stamp: Option<crate::stamp::Stamp>,
    /// `None`: a grave.
    pub content: Option<Vec<u8>>,
    pub exp: u64,
    pub lock: Option<DumpedLock>,
}

#[cfg(test)]
pub(crate) struct DumpedLock {
    pub fence: u64,
    pub grantor: u128,
    pub released: bool,
    pub sequence: u64,
    pub member: u128,
    pub owner: Option<String>,
    /// In this member's own eyes, now.
    pub held: bool,
    pub lease_end: u64,
}

#[cfg(test)]
impl Table {
    /// All that is known, sorted by key.
    pub fn dump(&self) -> Vec<Dumped> {
        let now = self.clock.now();
        let mut all = Vec::new();
        for slot in &self.slots {
            let shard = slot.shard.read();
            let live = shard.records().map(|record| (record, true));
            let graves = shard.graves.records().map(|record| (record, false));
            for (record, lives) in live.chain(graves) {
                let lock = record.lock().map(|lock| DumpedLock {
                    fence: lock.fence,
                    grantor: lock.grantor,
                    released: lock.state == LockState::Released,
                    sequence: lock.sequence,
                    member: lock.member.incarnation,
                    owner: lock.owner.as_deref().map(str::to_owned),
                    held: lock.is_held(now),
                    lease_end: lock.lease_end,
                });
                let content = lives.then(|| record.encoded().to_vec());
                let (key, stamp, exp) = (record.key().to_vec(), record.stamp(), record.exp());
                all.push(Dumped { key, stamp, content, exp, lock });
            }
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// What the digest must be.
    pub fn recomputed_root(&self) -> u64 {
        let hashes = (0..SHARDS).flat_map(|place| self.known_in(place));
        hashes.fold(0, |sum, record| {
            sum.wrapping_add(super::replication::record_hash(&record))
        })
    }
}
