//! What becomes of a message that has arrived.

use std::sync::Arc;

use super::Cluster;
use super::bytes::Read;
use super::locks::Held;
use super::messages::{Body, Header};
use super::records::Records;
use super::repair::Came;
use super::sync::Part;
use super::wire;
use crate::lock::NEVER;
use crate::member::Member;
use crate::sync::atomic::Ordering;
use crate::table::Untold;

/// Watchers are woken once for so many records: each wake costs as much as a few of them.
const TELL_AFTER: usize = 256;

impl Cluster {
    /// One message of another member. Whatever the bytes, they do no harm; what is wrong with them is counted.
    pub fn receive(&self, bytes: &[u8]) -> Read<()> {
        let handled = wire::read(bytes).and_then(|(header, body)| self.handle(header, body));
        if handled.is_err() {
            self.refused();
        }
        handled
    }

    fn handle(&self, header: Header, body: Body<'_>) -> Read<()> {
        let from = header.from;
        if from == self.table.member.incarnation {
            return Ok(());
        }
        let is_old = self.look_at_sender(header);
        // Records go into the table first: what is concluded from a message holds for what it brought.
        match body {
            Body::Heartbeat(beat) => {
                self.with_state(|state, cx, todo| state.on_heartbeat(cx, header, beat, todo));
            }
            Body::Bye => self.with_state(|state, cx, todo| state.on_bye(cx, from, todo)),
            Body::Data { first, records } => {
                let count = records.count as u64;
                if is_old {
                    self.with_state(|state, _, _| state.on_missed(from));
                    return Ok(());
                }
                self.apply(records)?;
                self.with_state(|state, cx, _| state.on_data(cx, from, first, count));
            }
            Body::SnapshotAsk { shard, attempt } => self.with_state(|state, cx, todo| {
                state.on_snapshot_ask(cx, from, shard, attempt, todo);
            }),
            Body::SnapshotPart { shard, shards, attempt, part, last, entries, records } => {
                if is_old {
                    return Ok(());
                }
                let count = records.count;
                self.apply(records)?;
                let part = Part { shard, shards, attempt, part, last, entries, count };
                self.with_state(|state, cx, todo| state.on_snapshot_part(cx, from, part, todo));
            }
            Body::RepairStart { round, sums } => self.with_state(|state, cx, todo| {
                state.on_repair_start(cx, from, round, &sums, todo);
            }),
            Body::RepairGroup { round, group, sums, recent } => {
                self.with_state(|state, cx, todo| {
                    state.on_repair_group(cx, (from, round), group, (sums, recent), todo);
                });
            }
            Body::RepairGroups { round, groups } => self.with_state(|state, cx, todo| {
                state.on_repair_groups(cx, from, round, groups, todo);
            }),
            Body::RepairList { round, list, buckets } => self.with_state(|state, cx, todo| {
                state.on_repair_list(cx, (from, round), list, &buckets, todo);
            }),
            Body::RepairRecords { round, list, last, wants, records } => {
                let oldest = self.oldest_of(records.clone())?;
                let came = Came { news: self.apply_unless(is_old, records)?, oldest };
                self.with_state(|state, cx, todo| {
                    state.on_repair_records(cx, (from, round), (list, last), &wants, came, todo);
                });
            }
            Body::TermOpen { term } => {
                self.with_state(|state, cx, todo| state.on_term_open(cx, from, term, todo));
            }
            Body::TermAnswer { term, promised, newest, records } => {
                self.replication.note_fence(newest, self.table.clock.wall());
                let held = self.locks_in(records.clone())?;
                self.apply(records)?;
                self.with_state(|state, cx, todo| {
                    state.on_term_answer(cx, from, (term, promised), held, todo);
                });
            }
            Body::LockAsk { ask, records } => {
                self.apply_unless(is_old, records)?;
                self.with_state(|state, cx, todo| state.on_lock_ask(cx, from, ask, todo));
            }
            Body::LockAnswer { id, attempt, term, answer, records } => {
                // Whoever has the lock has what was put under the one before it.
                self.apply_unless(is_old, records)?;
                self.with_state(|state, cx, todo| {
                    state.on_lock_answer(cx, from, id, (attempt, term), answer, todo);
                });
            }
            Body::LockCancel { id, attempt, fence } => self.with_state(|state, cx, todo| {
                state.on_lock_cancel(cx, from, (id, attempt), fence, todo);
            }),
        }
        Ok(())
    }

    /// Whoever was taken for gone and speaks may believe in the locks that it tells of. Returns whether what it tells
    /// may have been forgotten since: then it is to be asked for anew.
    fn look_at_sender(&self, header: Header) -> bool {
        let (is_freed, offset) = {
            let state = self.state.lock();
            let peer = state.peers.all.get(&header.from);
            let offset = peer.and_then(|peer| peer.offset()).unwrap_or_default();
            (peer.is_some_and(|peer| peer.freed), offset)
        };
        if is_freed {
            self.with_state(|state, cx, todo| {
                state.hear(cx, header.from);
                state.look_at_members(cx, todo);
            });
        }
        let own = self.table.clock.wall() as i64;
        let age = own.saturating_sub(header.wall as i64).saturating_add(offset);
        age > self.settings.max_message_age as i64
    }

    /// None of the records is news if they have been on their way for too long.
    fn apply_unless(&self, is_old: bool, records: Records<'_>) -> Read<u64> {
        if is_old { Ok(0) } else { self.apply(records) }
    }

    /// Takes the records over into the table. Returns how many were news.
    fn apply(&self, records: Records<'_>) -> Read<u64> {
        let mut untold = Untold::default();
        let mut news = 0;
        let result = self.merge(records, &mut news, &mut untold);
        self.tell(untold);
        self.applied.fetch_add(news, Ordering::Relaxed);
        result.map(|()| news)
    }

    fn tell(&self, mut untold: Untold) {
        self.table.tell(&mut untold);
        if !untold.deposed.is_empty() {
            self.with_state(|state, cx, todo| state.on_deposed(cx, &untold.deposed, todo));
        }
    }

    fn merge(&self, mut records: Records<'_>, news: &mut u64, untold: &mut Untold) -> Read<()> {
        let members = self.members_of(&records);
        let own = self.table.member.incarnation;
        let latest = self.table.clock.wall().saturating_add(self.settings.clock_bound);
        for number in 1..=records.count {
            let delta = records.next(&members)?;
            let minor = |stamp: crate::stamp::Stamp| stamp.minor.map_or(0, |minor| minor.clock);
            let time = delta.value.as_ref().map(|v| v.stamp.time.max(minor(v.stamp)));
            if time.is_some_and(|time| time > latest) {
                self.parked.park(time.unwrap_or(NEVER), delta);
                continue;
            }
            let ours = delta.lock.as_ref().filter(|lock| lock.member.incarnation == own);
            let asking = ours
                .is_some_and(|lock| self.state.lock().is_asking(delta.key, lock.owner.as_deref()));
            *news += u64::from(self.table.merge(&delta, asking, untold));
            if number % TELL_AFTER == 0 {
                self.table.tell(untold);
            }
        }
        Ok(())
    }

    /// Of those that are of another put or delete than what is here, when the first was put or deleted.
    fn oldest_of(&self, mut records: Records<'_>) -> Read<u64> {
        let members = self.members_of(&records);
        let mut oldest = u64::MAX;
        for _ in 0..records.count {
            let delta = records.next(&members)?;
            let Some(stamp) = delta.value.map(|value| value.stamp) else { continue };
            let known = self.table.known(delta.key).and_then(|record| record.stamp());
            if known.is_none_or(|known| !known.is_same_put(stamp)) {
                oldest = oldest.min(stamp.time).min(known.map_or(u64::MAX, |known| known.time));
            }
        }
        Ok(oldest)
    }

    /// The locks that are told of.
    fn locks_in(&self, mut records: Records<'_>) -> Read<Vec<Held>> {
        let members = self.members_of(&records);
        let mut held = Vec::new();
        for _ in 0..records.count {
            let delta = records.next(&members)?;
            let lock = delta.lock.map(|lock| (lock.fence, lock.grantor));
            held.extend(lock.map(|grant| Held { key: delta.key.into(), grant }));
        }
        Ok(held)
    }

    fn members_of(&self, records: &Records<'_>) -> Vec<Arc<Member>> {
        let named = records.members.iter();
        named.map(|(incarnation, name)| self.names.member(*incarnation, name)).collect()
    }

    /// What came from beyond the clock bound and is due by now.
    pub(super) fn apply_parked(&self) {
        let latest = self.table.clock.wall().saturating_add(self.settings.clock_bound);
        let mut untold = Untold::default();
        for parked in self.parked.due(latest) {
            let is_news = self.table.merge(&parked.delta(), false, &mut untold);
            self.applied.fetch_add(u64::from(is_news), Ordering::Relaxed);
        }
        self.tell(untold);
    }
}
