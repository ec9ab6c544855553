//! What a table keeps for the other members of its cluster: digests of everything it knows, and what it
//! has changed and not yet sent.

use std::collections::VecDeque;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::lock::MAX_LEASE;
use crate::record::Record;
use crate::stamp::Stamp;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Rules that a test may break on purpose, to see that the simulation notices.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub lower_stamp_wins: bool,
    pub no_tombstones: bool,
    pub epoch_ignored: bool,
    pub no_gap_repair: bool,
    pub term_not_awaited: bool,
    pub released_fence_lives: bool,
    pub free_early: bool,
    pub ttl_restarts: bool,
    pub links_stay: bool,
    pub hearsay_ignored: bool,
    pub deposed_untold: bool,
    pub fences_by_clock: bool,
    pub one_clock: bool,
    pub recent_left_out: bool,
    pub bye_first: bool,
    pub old_grants_taken: bool,
    pub nothing_inherited: bool,
    pub alone_is_contact: bool,
    pub equal_roots_only: bool,
}

/// Each bucket holds the keys with one first half of the tag.
pub(crate) const BUCKETS: usize = 1 << 16;

/// The bucket of a key by its tag.
pub(crate) fn bucket_of(tag: u32) -> usize {
    (tag >> 16) as usize
}

pub(crate) struct Replication {
    buckets: Box<[Bucket]>,
    root: AtomicU64,
    outbox: Mutex<Outbox>,
    capacity: usize,
    overflows: AtomicU64,
    minted: AtomicU64,
    /// The greatest fence that is known, of any key.
    newest_fence: AtomicU64,
    /// This member has a term, in which it grants or will grant locks.
    leading: AtomicBool,
    /// This member's clock is too far from everyone else's.
    refusing: AtomicBool,
    bell: Box<dyn Fn() + Send + Sync>,
    pub faults: Faults,
}

/// On one cache line: every change changes both, in a bucket of its own.
#[derive(Default)]
#[repr(align(16))]
struct Bucket {
    sum: AtomicU64,
    /// When it changed last, on the monotonic clock, in units of 2^20 ns (about a millisecond).
    changed: AtomicU32,
}

#[derive(Default)]
struct Outbox {
    records: VecDeque<Record>,
    /// How many were dropped because nobody took the others away.
    dropped: u64,
    /// Whoever empties it is awake and will look again.
    awake: bool,
}

/// What is to be sent next.
pub(crate) struct Taken {
    pub records: Vec<Record>,
    /// How many were lost before them.
    pub dropped: u64,
    /// There are others behind them.
    pub more: bool,
}

impl Replication {
    pub fn new(capacity: usize, faults: Faults, bell: Box<dyn Fn() + Send + Sync>) -> Replication {
        Replication {
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            root: AtomicU64::new(0),
            outbox: Mutex::new(Outbox::default()),
            capacity,
            overflows: AtomicU64::new(0),
            minted: AtomicU64::new(0),
            newest_fence: AtomicU64::new(0),
            leading: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            bell,
            faults,
        }
    }

    /// The greatest fence that is known, of any key: what is granted next is above it. None that a clock far ahead has
    /// drawn: it would spoil those of all keys.
    pub fn newest_fence(&self, wall: u64) -> u64 {
        let newest = self.newest_fence.load(Ordering::SeqCst);
        if newest <= followed_until(wall) && !self.faults.fences_by_clock { newest } else { 0 }
    }

    pub fn set_leading(&self, leading: bool) {
        self.leading.store(leading, Ordering::SeqCst);
    }

    pub fn is_leading(&self) -> bool {
        self.leading.load(Ordering::SeqCst)
    }

    pub fn note_fence(&self, fence: u64, wall: u64) {
        if fence <= followed_until(wall) {
            self.newest_fence.fetch_max(fence, Ordering::SeqCst);
        }
    }

    /// Notes that a key has changed; under the lock of its shard.
    pub fn note(&self, old: Option<&Record>, new: Option<&Record>, mono: u64) {
        let Some(tag) = new.or(old).map(Record::tag) else { return };
        let hash = |record: Option<&Record>| record.map_or(0, record_hash);
        let difference = hash(new).wrapping_sub(hash(old));
        if difference == 0 {
            return;
        }
        let bucket = &self.buckets[bucket_of(tag)];
        bucket.sum.fetch_add(difference, Ordering::Relaxed);
        bucket.changed.store(coarse(mono), Ordering::Relaxed);
        self.root.fetch_add(difference, Ordering::Relaxed);
    }

    /// The digest of the whole table.
    pub fn root(&self) -> u64 {
        self.root.load(Ordering::Relaxed)
    }

    pub fn sum(&self, bucket: usize) -> u64 {
        self.buckets[bucket].sum.load(Ordering::Relaxed)
    }

    /// Whether a bucket has changed within this time.
    pub fn has_changed_within(&self, bucket: usize, mono: u64, within: u64) -> bool {
        let changed = self.buckets[bucket].changed.load(Ordering::Relaxed);
        changed != 0 && coarse(mono).wrapping_sub(changed) < coarse(within)
    }

    /// Takes what is to be sent to everyone; never under the lock of a shard.
    pub fn send(&self, records: Vec<Record>) {
        let mut outbox = self.outbox.lock();
        for record in records {
            if outbox.records.len() < self.capacity {
                outbox.records.push_back(record);
            } else {
                outbox.dropped += 1;
                self.overflows.fetch_add(1, Ordering::Relaxed);
            }
        }
        let asleep = !std::mem::replace(&mut outbox.awake, true);
        drop(outbox);
        if asleep {
            (self.bell)();
        }
    }

    /// The next records to be sent. Nothing: the bell will ring for the next.
    pub fn take(&self, most: usize) -> Taken {
        let mut outbox = self.outbox.lock();
        // What was dropped came after everything that is still in the box.
        let count = most.min(outbox.records.len());
        let records: Vec<Record> = outbox.records.drain(..count).collect();
        let dropped =
            if outbox.records.is_empty() { std::mem::take(&mut outbox.dropped) } else { 0 };
        outbox.awake = !records.is_empty() || dropped > 0;
        Taken { dropped, records, more: !outbox.records.is_empty() }
    }

    pub fn outbox_len(&self) -> usize {
        self.outbox.lock().records.len()
    }

    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    pub fn count_minted(&self) {
        self.minted.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(any(test, feature = "__fuzz"))]
    pub fn minted(&self) -> u64 {
        self.minted.load(Ordering::Relaxed)
    }

    pub fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }
}

/// Fences beyond this are not those of a clock that anybody should follow.
fn followed_until(wall: u64) -> u64 {
    wall.saturating_add(MAX_LEASE.as_nanos() as u64)
}

/// Never 0, which stands for "never".
fn coarse(mono: u64) -> u32 {
    ((mono >> 20) as u32).max(1)
}

/// The stable hash of a key.
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// What members compare of a value: one stamp has one content.
pub(crate) fn stamp_hash(stamp: Stamp) -> u64 {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(&stamp.epoch.to_le_bytes());
    bytes[8..16].copy_from_slice(&stamp.time.to_le_bytes());
    bytes[16..32].copy_from_slice(&stamp.writer.to_le_bytes());
    if let Some(minor) = stamp.minor {
        bytes[32..40].copy_from_slice(&minor.clock.to_le_bytes());
        bytes[40..56].copy_from_slice(&minor.member.to_le_bytes());
        bytes[56] = 1;
    }
    bytes[57] = 2 + u8::from(stamp.dead);
    xxh3_64(&bytes)
}

/// What members compare of a record: key, stamp and lock. One stamp has one content, so that needs no
/// look, and a value that has expired counts as long as its stamp is kept: sweeping changes nothing.
pub(crate) fn record_hash(record: &Record) -> u64 {
    let mut seed = record.stamp().map_or(0, stamp_hash);
    if let Some(lock) = record.lock() {
        let (fence, grantor, released, sequence) = lock.rank();
        let mut bytes = [0; 33];
        bytes[..8].copy_from_slice(&fence.to_le_bytes());
        bytes[8..24].copy_from_slice(&grantor.to_le_bytes());
        bytes[24..32].copy_from_slice(&sequence.to_le_bytes());
        bytes[32] = u8::from(released);
        seed = xxh3_64_with_seed(&bytes, seed);
    }
    xxh3_64_with_seed(record.key(), seed)
}
