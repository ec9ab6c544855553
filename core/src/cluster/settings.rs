//! The times and bounds of a cluster; a simulation sets smaller ones.

use crate::table::replication::Faults;

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// A member that is silent for so long is taken for dead. All times are in nanoseconds.
    pub failure_timeout: u64,
    /// How long the engine may take to find a member that others know, before that is dialled.
    pub meet_after: u64,
    /// How far clocks may be apart.
    pub clock_bound: u64,
    /// How long a member that is away is remembered, and tombstones for its sake.
    pub remember: u64,
    /// How long after everyone has a tombstone it is forgotten.
    pub forget_after: u64,
    /// Older messages are dropped: what they tell may have been forgotten since.
    pub max_message_age: u64,
    /// How many records wait to be sent at most; more are dropped and repaired.
    pub outbox_records: usize,
    /// Rules broken on purpose; none outside tests.
    pub faults: Faults,
}

impl Settings {
    pub fn new(failure_timeout: u64) -> Settings {
        Settings {
            failure_timeout,
            meet_after: failure_timeout,
            clock_bound: 5 * SECOND,
            remember: 3600 * SECOND,
            forget_after: 60 * SECOND,
            max_message_age: 30 * SECOND,
            outbox_records: 1 << 18,
            faults: Faults::default(),
        }
    }

    /// How often members tell that they are there.
    pub fn beat(&self) -> u64 {
        self.failure_timeout / 5
    }

    /// How long after the last proof of contact a holder believes in its locks.
    pub fn belief(&self) -> u64 {
        self.failure_timeout + self.failure_timeout / 2
    }

    /// How long after the last word of a holder others go on to believe in its locks: longer than itself.
    pub fn patience(&self) -> u64 {
        2 * self.failure_timeout
    }

    /// How long it takes until a member that is known through others only does not believe in its locks any more: word
    /// of who decides has to get there first, by a way that may lose some of it.
    pub fn notice(&self) -> u64 {
        2 * self.patience()
    }

    /// Buckets that changed within this time are likely to differ only because word is on its way.
    pub fn recent(&self) -> u64 {
        2 * self.beat()
    }
}
