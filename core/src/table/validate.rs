//! What must hold of a shard at any time; for tests.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use super::RandomState;
use super::locking::is_held;
use super::shard::Shard;
use crate::lock::{LockRegister, LockState, NEVER};
use crate::record::Record;

impl Shard {
    /// Every invariant of this structure. `grants`: this member believes in its own locks, or it grants none.
    pub fn validate(&self, hasher: &RandomState, grants: bool) {
        let (mut bytes, mut held) = (0, 0);
        let (mut expiries, mut leases) = (0, 0);
        self.index.validate(hasher);
        for record in self.index.iter() {
            let hash = hasher.hash_one(record.key());
            let found = self.get(hash, record.key());
            assert!(found.is_some_and(|found| found.is_same(record)), "a key is in the table once");
            assert!(crate::codec::decode(record.encoded()).is_ok(), "values are canonical");
            bytes += record.size();
            held += usize::from(is_held(record));
            for (at, index, count) in [
                (record.exp(), &self.expiries, &mut expiries),
                (record.lease_end(), &self.leases, &mut leases),
            ] {
                if at != NEVER {
                    assert!(index.contains(at, hash), "every deadline is indexed");
                    *count += 1;
                }
            }
            assert!(self.graves.get(hash, record.key()).is_none(), "no grave of a present key");
        }
        bytes += self.graves.records().map(Record::size).sum::<usize>();
        assert_eq!((bytes, held), (self.record_bytes, self.held_locks));
        assert!(
            self.expiries.len() <= expiries
                && self.leases.len()
                    <= leases + self.graves.records().filter(|grave| is_held(grave)).count(),
            "no stale deadline"
        );
        let waiting: usize = self.waiters.values().map(BTreeMap::len).sum();
        assert_eq!(waiting, self.timeouts.len());
        for (key, queue) in &self.waiters {
            assert!(!queue.is_empty());
            let at = self.target(hasher.hash_one(&**key), key);
            let taken =
                |lock: &LockRegister| lock.state == LockState::Held || !lock.deposed.is_empty();
            assert!(at.lock().is_some_and(taken) || !grants, "nobody waits for a free lock");
        }
    }
}
