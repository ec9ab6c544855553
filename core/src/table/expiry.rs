//! Deadlines in order, so that nothing ever scans the table for what is due.

use std::collections::BTreeSet;

use crate::lock::NEVER;

/// Ordered deadlines of records, each known by the hash of its key.
///
/// Two records may share both hash and deadline; whoever removes one says whether the other remains.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(u64, u64)>);

impl Deadlines {
    pub fn insert(&mut self, at: u64, hash: u64) {
        if at != NEVER {
            self.0.insert((at, hash));
        }
    }

    pub fn remove(&mut self, at: u64, hash: u64) {
        self.0.remove(&(at, hash));
    }

    #[cfg(any(test, feature = "__fuzz"))]
    pub fn contains(&self, at: u64, hash: u64) -> bool {
        self.0.contains(&(at, hash))
    }

    /// The earliest deadline; [`NEVER`] if there is none.
    pub fn next(&self) -> u64 {
        self.0.first().map_or(NEVER, |(at, _)| *at)
    }

    /// The earliest deadline that is not after `now`.
    pub fn due(&self, now: u64) -> Option<(u64, u64)> {
        self.0.first().copied().filter(|(at, _)| *at <= now)
    }

    /// How many are not after `now`, in steps of as many.
    pub fn iter_due(&self, now: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.range(..=(now, u64::MAX)).copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
