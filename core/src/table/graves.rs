//! What is left of absent keys, so that the members of a cluster agree on what is gone: tombstones of
//! deleted values, the stamps of expired ones, and locks of keys that have no value yet.

use hashbrown::HashTable;

use super::expiry::Deadlines;
use super::locking::is_held;
use super::mutation::Effects;
use super::replication::Replication;
use super::shard::{Context, Shard};
use crate::lock::LockState;
use crate::record::{Record, Stamped};
use crate::watch::EventKind;

/// Graves of one shard. Each key has at most one, and none while it is present.
#[derive(Default)]
pub(crate) struct Graves {
    table: HashTable<Grave>,
    /// In the order in which their values ended.
    ends: Deadlines,
}

struct Grave {
    record: Record,
    hash: u64,
    /// When it was dug, on the monotonic clock.
    since: u64,
    /// When its value ended, as all members see it.
    ended: u64,
}

/// Which graves are not needed any more.
#[derive(Clone, Copy)]
pub(crate) struct Forgettable {
    /// Those of values that ended before this, on the wall clock: members forget a grave together, or they
    /// would tell each other of it.
    pub ended: u64,
    /// And that were dug before this time of the monotonic clock, when everyone had them.
    pub dug: u64,
    /// Those of values that ended before this, whoever has them.
    pub ended_long_ago: u64,
    /// But none that were dug after this time of the monotonic clock: word that was sent before may still come.
    pub dug_just_now: u64,
}

impl Graves {
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        self.find(hash, key).map(|grave| &grave.record)
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<&Grave> {
        if self.table.is_empty() {
            return None;
        }
        self.table.find(hash, |grave| grave.record.key() == key)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.table.iter().map(|grave| &grave.record)
    }

    /// Those with this very hash.
    pub fn with_hash(&self, hash: u64) -> impl Iterator<Item = &Record> {
        let same = self.table.iter_hash(hash).filter(move |grave| grave.hash == hash);
        same.map(|grave| &grave.record)
    }

    fn insert(&mut self, hash: u64, record: Record, since: u64) {
        let ended = record.ended_at();
        self.ends.insert(ended, hash);
        let grave = Grave { record, hash, since, ended };
        self.table.insert_unique(hash, grave, |grave| grave.hash);
    }

    pub fn take(&mut self, hash: u64, key: &[u8]) -> Option<Record> {
        self.take_with_age(hash, key).map(|grave| grave.record)
    }

    fn take_with_age(&mut self, hash: u64, key: &[u8]) -> Option<Grave> {
        if self.table.is_empty() {
            return None;
        }
        let slot = self.table.find_entry(hash, |grave| grave.record.key() == key).ok()?;
        let grave = slot.remove().0;
        let shared = self.table.iter_hash(hash).any(|g| g.hash == hash && g.ended == grave.ended);
        if !shared {
            self.ends.remove(grave.ended, hash);
        }
        if self.table.capacity() > 64 && self.table.len() < self.table.capacity() / 4 {
            self.table.shrink_to(self.table.capacity() / 2, |grave| grave.hash);
        }
        Some(grave)
    }
}

impl Shard {
    /// Tells the digest of a change, and the other members if it was made here.
    #[inline]
    pub(super) fn note(
        &mut self,
        old: Option<&Record>,
        new: &Record,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        if let Some(replication) = cx.replication {
            self.note_all(old, new, replication, cx, fx);
        }
    }

    fn note_all(
        &self,
        old: Option<&Record>,
        new: &Record,
        replication: &Replication,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        replication.note(old, Some(new), cx.now.mono);
        let mark = |record: &Record| (record.stamp(), record.lock().map(|lock| lock.rank()));
        if cx.local && old.map(mark) != Some(mark(new)) {
            fx.changed.push(new.clone());
        }
    }

    /// What is left of a removed entry: of a deleted one a stamp of its own, of an expired one its own stamp.
    pub(super) fn leave_grave(
        &mut self,
        hash: u64,
        record: &Record,
        kind: EventKind,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        let Some(replication) = cx.replication else { return };
        let own = |member: u128| member == cx.member.incarnation;
        let mut lock = record.lock().cloned();
        let mut cx = *cx;
        if let Some(lock) = lock.as_mut().filter(|lock| lock.state == LockState::Held) {
            lock.signals.clear();
            if kind == EventKind::Delete || own(lock.member.incarnation) {
                // Only its holder's member ends it; that one has the say about when the entry expires, too.
                lock.state = LockState::Released;
                cx.local = true;
            }
        }
        let grave = if kind == EventKind::Delete {
            if replication.faults.no_tombstones {
                replication.note(Some(record), None, cx.now.mono);
                return;
            }
            let time = self.mint(Some(record), &cx);
            let fence = lock.as_ref().map(|lock| lock.fence).max(Some(record.epoch()));
            Record::tombstone(record.key(), time, fence, cx.member.clone(), lock)
        } else {
            match lock {
                Some(lock) => record.faded().with_lock(lock),
                None => record.faded(),
            }
        };
        self.dig(hash, Some(record), grave, &cx, fx);
    }

    /// Makes a live record a tombstone under its own stamp, if it still is what it was.
    pub(super) fn bury_dead(
        &mut self,
        hash: u64,
        seen: &Record,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        let at = self.target(hash, seen.key());
        let Some(known) = at.known().filter(|known| known.stamp() == seen.stamp()) else { return };
        let grave = known.buried();
        if let Some(present) = &at.present {
            self.take_out(hash, present, cx);
            self.emit_removed(EventKind::Delete, present, cx, fx);
        }
        self.dig(hash, at.present.as_ref(), grave, cx, fx);
        self.index.shrink(cx.hasher);
    }

    /// Puts a grave in the place of an earlier one, or where there was none.
    pub(super) fn bury(&mut self, hash: u64, grave: Record, cx: &Context<'_>, fx: &mut Effects) {
        self.dig(hash, None, grave, cx, fx);
    }

    /// `removed`: the live record that lay in its place, out of the table already.
    pub(super) fn dig(
        &mut self,
        hash: u64,
        removed: Option<&Record>,
        grave: Record,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        let old = self.graves.take_with_age(hash, grave.key());
        self.note(removed.or(old.as_ref().map(|old| &old.record)), &grave, cx, fx);
        // A lock that comes or goes makes a grave no younger.
        let same_value = |old: &Grave| old.record.stamp() == grave.stamp() && grave.has_stamp();
        let since = old.as_ref().filter(|old| same_value(old)).map_or(cx.now.mono, |old| old.since);
        if let Some(old) = &old {
            self.unindex_grave(hash, &old.record, cx);
        }
        self.record_bytes += grave.size();
        self.leases.insert(grave.lease_end(), hash);
        self.graves.insert(hash, grave, since);
    }

    pub(super) fn unindex_grave(&mut self, hash: u64, grave: &Record, cx: &Context<'_>) {
        self.record_bytes -= grave.size();
        let end = grave.lease_end();
        let shared = |other: &Record| other.lease_end() == end;
        if end != crate::lock::NEVER
            && !self.graves.with_hash(hash).any(shared)
            && self.find_with_hash(hash, cx.hasher, shared).is_none()
        {
            self.leases.remove(end, hash);
        }
    }

    /// Forgets what is not needed; those with a held lock stay.
    pub fn forget(&mut self, what: Forgettable, budget: usize, cx: &Context<'_>) -> bool {
        let before = what.ended.max(what.ended_long_ago);
        let due: Vec<(u64, u64)> = self.graves.ends.iter_due(before).take(budget).collect();
        let more = due.len() == budget;
        for (ended, hash) in due {
            let old = |grave: &&Grave| {
                let long_ago = ended < what.ended_long_ago && grave.since < what.dug_just_now;
                let agreed = grave.since < what.dug || long_ago;
                grave.hash == hash && grave.ended == ended && agreed
            };
            let keys: Vec<Record> =
                self.graves.table.iter_hash(hash).filter(old).map(|g| g.record.clone()).collect();
            for record in keys {
                self.forget_one(hash, record.key(), cx);
            }
        }
        more
    }

    fn forget_one(&mut self, hash: u64, key: &[u8], cx: &Context<'_>) {
        let Some(record) = self.graves.get(hash, key) else { return };
        let lock = record.lock().filter(|_| is_held(record));
        if lock.is_some_and(|lock| lock.is_held(cx.now)) {
            return;
        }
        if let Some(grave) = self.graves.take(hash, key) {
            self.unindex_grave(hash, &grave, cx);
            if let Some(replication) = cx.replication {
                replication.note(Some(&grave), None, cx.now.mono);
            }
        }
    }

    /// Forgets this grave if it was dug before `before`. True: it is not there any more.
    pub fn forget_if_older(
        &mut self,
        hash: u64,
        record: &Record,
        before: u64,
        cx: &Context<'_>,
    ) -> bool {
        let older = |grave: &Grave| grave.record.is_same(record) && grave.since < before;
        if !self.graves.find(hash, record.key()).is_some_and(older) {
            return false;
        }
        self.forget_one(hash, record.key(), cx);
        self.graves.get(hash, record.key()).is_none()
    }
}

impl Record {
    /// What is left of a value that a user has deleted.
    fn tombstone(
        key: &[u8],
        time: u64,
        fence: Option<u64>,
        writer: std::sync::Arc<crate::member::Member>,
        lock: Option<crate::lock::LockRegister>,
    ) -> Record {
        let stamp = crate::stamp::Stamp {
            epoch: crate::stamp::epoch(time, fence),
            time,
            writer: writer.incarnation,
            minor: None,
            dead: true,
        };
        let exp = crate::lock::NEVER;
        Record::stamped(Stamped { key, content: None, stamp, exp, writer, lock })
    }
}
