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
    /// Members in touch, joining or live, this one included; alone 1.
    pub members: u64,
    /// Records sent to all other members; those that found the outbox full count, too.
    pub replicated_out: u64,
    /// Records of other members applied here.
    pub replicated_in: u64,
    /// Records waiting to be sent.
    pub outbox: u64,
    /// Records that found the outbox full, so that the others fetch them by comparing.
    pub outbox_overflows: u64,
    /// Comparisons with other members that moved something.
    pub repairs: u64,
    /// Deleted and expired entries, and locks without a value, that are kept in mind until all members know.
    pub tombstones: u64,
    /// Records from beyond the bound of the clock, kept until they are due.
    pub parked: u64,
    /// Messages, links and connections turned away: garbage, another cluster, another version, wrong certificates.
    pub refused: u64,
    /// Records (entries and tombstones) received in the first sync.
    pub sync_entries: u64,
    /// Records that the first sync has in all.
    pub sync_total: u64,
    /// How far this clock is from the lower median of the live members', in milliseconds.
    pub clock_offset_ms: i64,
}

/// What the cluster adds to the counts; alone there is one member and nothing to count.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterStats {
    pub members: u64,
    pub replicated_out: u64,
    pub replicated_in: u64,
    pub outbox: u64,
    pub outbox_overflows: u64,
    pub repairs: u64,
    pub tombstones: u64,
    pub parked: u64,
    pub refused: u64,
    pub sync_entries: u64,
    pub sync_total: u64,
    pub clock_offset_ms: i64,
}

impl ClusterStats {
    fn alone() -> ClusterStats {
        ClusterStats { members: 1, ..ClusterStats::default() }
    }
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
        "members",
        "replicated_out",
        "replicated_in",
        "outbox",
        "outbox_overflows",
        "repairs",
        "tombstones",
        "parked",
        "refused",
        "sync_entries",
        "sync_total",
        "clock_offset_ms",
    ];

    pub(crate) fn of(core: &Core, cluster: Option<ClusterStats>) -> Stats {
        let table = core.table.stats();
        let cluster = cluster.unwrap_or_else(ClusterStats::alone);
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
            members: cluster.members,
            replicated_out: cluster.replicated_out,
            replicated_in: cluster.replicated_in,
            outbox: cluster.outbox,
            outbox_overflows: cluster.outbox_overflows,
            repairs: cluster.repairs,
            tombstones: cluster.tombstones,
            parked: cluster.parked,
            refused: cluster.refused,
            sync_entries: cluster.sync_entries,
            sync_total: cluster.sync_total,
            clock_offset_ms: cluster.clock_offset_ms,
        }
    }
}
