//! Counters of writes, for caches in front of a registry that are never stale.

use super::SHARDS;
use crate::entry::Entry;
use crate::sync::atomic::{AtomicU32, Ordering};

/// How many keys' writes are told apart: a multiple of the number of shards, so that each counter is written
/// under one shard's lock only.
const SLOTS: usize = 4096;

/// For each slot of keys twice how many writes there were, and one more during a write: two words, the lower one first.
///
/// A counter becomes odd before any reader can see the write, and even once every one does. So who has read an even
/// counter, then the entry, may go on using that entry as long as the counter stays the same and the entry has not
/// expired. What was read while it was odd may be seen once only.
pub struct WriteCounters(Box<[AtomicU32]>);

impl WriteCounters {
    pub(crate) fn new() -> WriteCounters {
        WriteCounters((0..2 * SLOTS).map(|_| AtomicU32::new(0)).collect())
    }

    /// The slot of a key with this hash.
    pub(crate) fn slot(hash: u64) -> usize {
        // The bits that choose the shard are the lowest of these.
        (hash >> 32) as usize % SLOTS
    }

    /// The lower and the higher word of a slot's counter.
    pub fn read(&self, slot: usize) -> (u32, u32) {
        let [low, high] = self.words(slot);
        (low.load(Ordering::SeqCst), high.load(Ordering::SeqCst))
    }

    /// A write begins to be seen. Only under the lock of the slot's shard.
    pub(crate) fn begin(&self, slot: usize) {
        self.advance(slot, |low| low.wrapping_add(1) | 1);
    }

    /// Everybody sees it.
    pub(crate) fn end(&self, slot: usize) {
        self.advance(slot, |low| (low | 1).wrapping_add(1));
    }

    fn advance(&self, slot: usize, next: impl Fn(u32) -> u32) {
        let [low, high] = self.words(slot);
        let before = low.load(Ordering::Relaxed);
        let next = next(before);
        if next < before {
            // First, so that no pair of words is ever there twice.
            high.store(high.load(Ordering::Relaxed).wrapping_add(1), Ordering::SeqCst);
        }
        low.store(next, Ordering::SeqCst);
    }

    /// As if each key of this shard were written.
    pub(crate) fn begin_shard(&self, place: usize) {
        (place..SLOTS).step_by(SHARDS).for_each(|slot| self.begin(slot));
    }

    pub(crate) fn end_shard(&self, place: usize) {
        (place..SLOTS).step_by(SHARDS).for_each(|slot| self.end(slot));
    }

    /// All words, two for each slot, for readers that are not written in Rust.
    #[cfg(not(feature = "__shuttle"))]
    pub fn words_of_all(&self) -> &[AtomicU32] {
        &self.0
    }

    fn words(&self, slot: usize) -> [&AtomicU32; 2] {
        [&self.0[2 * slot], &self.0[2 * slot + 1]]
    }
}

/// What a cache in front of a registry needs to know of an entry.
#[derive(Clone)]
pub struct Counted {
    /// None: the key is absent.
    pub entry: Option<Entry>,
    /// Which counter tells of the key.
    pub slot: usize,
    /// What it showed before the entry was read.
    pub count: (u32, u32),
    /// When the entry expires at the latest, in nanoseconds of the system's clock; `u64::MAX`: it stays until the
    /// counter changes; 0: it may be gone at once.
    pub until: u64,
}

#[cfg(all(test, not(feature = "__shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_overflows_goes_on() {
        let counters = WriteCounters::new();
        counters.words(7)[0].store(u32::MAX - 1, Ordering::SeqCst);
        let mut seen = vec![counters.read(7)];
        counters.begin(7);
        seen.push(counters.read(7));
        counters.end(7);
        seen.push(counters.read(7));
        counters.begin(7);
        seen.push(counters.read(7));
        // As after a panic in between.
        counters.begin(7);
        seen.push(counters.read(7));
        counters.end(7);
        seen.push(counters.read(7));
        assert_eq!(seen, [(u32::MAX - 1, 0), (u32::MAX, 0), (0, 1), (1, 1), (3, 1), (4, 1)]);
        assert_eq!(counters.read(6), (0, 0));
    }
}
