//! What a registry tells about itself.

use serde::Serialize;

use crate::registry::core::Core;

/// Counts of one moment, from [`Registry::stats`](crate::Registry::stats). Other fields may follow.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Entries in the table; those that have just expired may be among them.
    pub entries: u64,
    /// Bytes of memory for entries and their indexes, without what the allocator adds.
    pub bytes: u64,
    /// Entries that will expire.
    pub expiring: u64,
    /// Locks that are held.
    pub locks: u64,
    /// Callers that wait for a lock.
    pub waiters: u64,
    /// Open watches.
    pub watchers: u64,
    /// Events that slow watchers have lost since the start.
    pub lagged: u64,
    /// Entries that have expired since the start.
    pub expired: u64,
    /// How often a background worker was restarted after a panic.
    pub worker_restarts: u64,
    /// False after too many restarts within a minute; reads and writes go on, expiry may be late.
    pub healthy: bool,
}

impl Stats {
    /// The fields, by the names that all languages use.
    pub const FIELDS: &'static [&'static str] = &[
        "entries",
        "bytes",
        "expiring",
        "locks",
        "waiters",
        "watchers",
        "lagged",
        "expired",
        "worker_restarts",
        "healthy",
    ];

    pub(crate) fn of(core: &Core) -> Stats {
        let table = core.table.stats();
        Stats {
            entries: table.entries as u64,
            bytes: table.bytes as u64,
            expiring: table.with_expiry as u64,
            locks: table.held_locks as u64,
            waiters: table.waiters as u64,
            watchers: core.table.hub.len() as u64,
            lagged: core.table.hub.lost(),
            expired: table.expired,
            worker_restarts: core.supervisor.restarts(),
            healthy: core.supervisor.is_healthy(),
        }
    }
}
