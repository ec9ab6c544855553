//! What time does to a shard: entries expire, leases end, waits are over.

use std::hash::BuildHasher;

use super::access::locked_error;
use super::mutation::Effects;
use super::shard::{Context, Room, Shard, Target};
use crate::lock::{LockRegister, LockState};
use crate::record::Record;
use crate::watch::EventKind;

/// As many records as the processor's first cache holds with room to spare.
const FETCHED: usize = 64;

impl Shard {
    /// The key, brought up to date: an expired entry goes, a lease that is over ends.
    #[inline(always)]
    pub(super) fn settled<'a>(
        &mut self,
        hash: u64,
        key: &'a [u8],
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Target<'a> {
        loop {
            let at = self.target(hash, key);
            match (&at.present, &at.grave) {
                (Some(record), _) if record.is_expired(cx.now.wall) => {
                    self.expire(hash, record, cx, fx);
                }
                (Some(record), _) | (None, Some(record)) if record.held_until() <= cx.now.mono => {
                    self.lapse(hash, record.clone(), cx, fx);
                }
                _ => return at,
            }
        }
    }

    /// Believes again in a lock that had lapsed because its holder seemed dead.
    pub(super) fn revive(&mut self, hash: u64, record: Record, cx: &Context<'_>, fx: &mut Effects) {
        let Some(lock) = record.lock().filter(|lock| lock.state == LockState::Lapsed) else {
            return;
        };
        let lock = LockRegister { state: LockState::Held, ..lock.clone() };
        if !lock.is_held(cx.now) {
            return;
        }
        let revived = record.with_lock(lock);
        if self.get(hash, record.key()).is_some() {
            let replaced = self.replace(hash, Some(&record), revived.clone(), Room::Take, cx, fx);
            debug_assert!(replaced.is_ok());
            self.emit(EventKind::Lock, &revived, cx, fx);
        } else {
            self.bury(hash, revived, cx, fx);
        }
    }

    /// Ends a lock whose time is over.
    pub(super) fn lapse(&mut self, hash: u64, record: Record, cx: &Context<'_>, fx: &mut Effects) {
        let own = record.lock().is_some_and(|lock| {
            lock.member.incarnation == cx.member.incarnation && cx.now.mono < lock.lease_end
        });
        // Who has lost touch with everyone gives its locks up, so that nobody counts on them again.
        let how = if own { LockState::Released } else { LockState::Lapsed };
        let cx = &Context { local: true, ..*cx };
        self.end_lock(hash, record, how, cx, fx);
    }

    fn expire(&mut self, hash: u64, record: &Record, cx: &Context<'_>, fx: &mut Effects) {
        self.expired += 1;
        self.remove(hash, record, EventKind::Expire, cx, fx);
    }

    /// Processes what is due, at most `budget` steps, and says how many; fewer: nothing more is due.
    pub fn sweep(&mut self, budget: usize, cx: &Context<'_>, fx: &mut Effects) -> usize {
        self.fetch_due(cx.now.wall);
        for step in 0..budget {
            // Expiries first, then lease ends, then waits: who is served at the last moment has not waited in vain.
            if let Some((at, hash)) = self.expiries.due(cx.now.wall) {
                let due = self.find_with_hash(hash, cx.hasher, |record| record.exp() == at);
                match due.cloned() {
                    Some(record) => self.expire(hash, &record, cx, fx),
                    None => self.expiries.remove(at, hash),
                }
            } else if let Some((at, hash)) = self.leases.due(cx.now.mono) {
                let due = |record: &Record| record.lease_end() == at;
                let grave = || self.graves.with_hash(hash).find(|record| due(record));
                let due = self.find_with_hash(hash, cx.hasher, due).or_else(grave);
                match due.cloned() {
                    Some(record) => self.lapse(hash, record, cx, fx),
                    None => self.leases.remove(at, hash),
                }
            } else if let Some((&(at, id), key)) = self.timeouts.first_key_value()
                && at <= cx.now.mono
            {
                let key = key.clone();
                let target = self.target(cx.hasher.hash_one(&*key), &key);
                let error = locked_error(&key, target.lock()).after_waiting();
                if let Some(waiter) = self.take_waiter(&key, id, at) {
                    waiter.tell(Err(error), fx);
                }
            } else {
                return step;
            }
        }
        budget
    }

    /// Asks for some records that are due, all at once, so that they are at hand when their turn comes.
    fn fetch_due(&self, wall: u64) {
        let mut hashes = [0; FETCHED];
        let due = self.expiries.iter_due(wall).zip(&mut hashes);
        let count = due.map(|((_, hash), place)| *place = hash).count();
        hashes[..count].iter().for_each(|hash| self.index.fetch_group(*hash));
        hashes[..count].iter().for_each(|hash| self.index.fetch_record(*hash));
    }
}
