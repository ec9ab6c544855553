//! How a shard grants, queues, ends and hands on the locks of its keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::access::{check_absent, check_access, check_version, expiry_at, locked_error};
use super::mutation::{Applied, Effects, LockRequest, Outcome, Wait};
use super::shard::{Context, NewContent, Room, Shard, Target, entry};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{LockRegister, LockState, NEVER};
use crate::record::Record;
use crate::watch::EventKind;

/// Greater ones are told to nobody: a fence is a time, too.
const MAX_FENCE: u64 = i64::MAX as u64;

/// Someone who waits, found by a number that grows with the order of arrival.
pub(crate) struct Waiter {
    deadline: u64,
    request: LockRequest,
    outcome: Arc<Outcome>,
}

impl Waiter {
    pub fn tell(self, result: Result<Applied>, fx: &mut Effects) {
        self.outcome.set(result);
        fx.outcomes.push(self.outcome);
    }
}

impl Shard {
    /// Grants or queues.
    pub(super) fn lock(
        &mut self,
        at: &Target<'_>,
        request: &LockRequest,
        wait: Option<Wait<'_>>,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<Applied> {
        match (self.try_lock(at, request, cx, fx), wait) {
            (Err(error), Some(wait)) if error.kind() == ErrorKind::Locked => {
                let Wait { id, deadline, outcome } = wait;
                let (request, outcome) = (request.clone(), outcome.clone());
                let queue = self.waiters.entry(at.key.into()).or_default();
                queue.insert(id, Waiter { deadline, request, outcome });
                self.timeouts.insert((deadline, id), at.key.into());
                Ok(Applied { waiting: true, ..Applied::default() })
            }
            (result, _) => result,
        }
    }

    fn try_lock(
        &mut self,
        at: &Target<'_>,
        request: &LockRequest,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<Applied> {
        let present = at.present.as_ref();
        let known = at.lock();
        let member = request.asker.as_ref().map_or(cx.member, |asker| &asker.member);
        match &request.granted {
            // Who has the key was asked of the coordinator.
            Some(granted) if known.is_none_or(|lock| lock.grant() <= granted.grant()) => {
                check_version(at, &request.conditions(), cx)?;
            }
            // Somebody was granted it after this.
            Some(_) => return Err(locked_error(at.key, known)),
            None => check_access(at, member, &request.conditions(), cx)?,
        }
        let same_fence = |fence: u64| request.fence.is_none_or(|wanted| wanted == fence);
        if request.renewal
            && !known.is_some_and(|lock| lock.is_held(cx.now) && same_fence(lock.fence))
        {
            return Ok(Applied::default());
        }
        if request.granted.is_none() && cx.now.mono >= cx.member.until() {
            // It has lost touch, maybe asleep: others may have been granted the key meanwhile.
            return Err(locked_error(at.key, known.filter(|lock| lock.is_held(cx.now))));
        }
        let floor = request.asker.as_ref().map_or(0, |asker| asker.floor);
        let floor = floor.max(known.map_or(0, |lock| lock.fence));
        if request.granted.is_none() && floor >= MAX_FENCE {
            return Err(Error::new(ErrorKind::Limit, "the fences of this key are used up"));
        }
        if request.granted.is_none() && known.is_some_and(|lock| lock.is_doubtful(cx.now)) {
            // Who has lost it to a fence that is over by now has to learn that first.
            return Err(locked_error(at.key, known));
        }
        let store = request.store.as_ref();
        let store = store.filter(|store| present.is_none() || !store.only_if_absent);
        if store.is_some_and(|store| store.if_absent) {
            check_absent(at.key, present, cx)?;
        }
        let (record, granted) = match (store, present) {
            (None, None) if request.asker.is_some() => {
                let (lock, granted) = self.grant(known, request, cx, fx);
                let grave = match &at.grave {
                    Some(grave) => grave.with_lock(lock.clone()),
                    None => Record::lock_only(at.key, cx.member.clone(), lock.clone()),
                };
                self.bury(at.hash, grave, cx, fx);
                return Ok(Applied { granted, lock: Some(Box::new(lock)), ..Applied::default() });
            }
            (None, None) => return Ok(Applied::default()),
            (None, Some(present)) => {
                let (lock, granted) = self.grant(known, request, cx, fx);
                let record = present.with_lock(lock);
                self.replace(at.hash, Some(present), record.clone(), Room::Take, cx, fx)?;
                (record, granted)
            }
            (Some(store), _) => {
                let exp = expiry_at(store.expiry, present, cx)?;
                let (lock, granted) = self.grant(known, request, cx, fx);
                let content = store.value.content();
                let left = NewContent { content, exp, lock: Some(lock), reserved: false };
                (self.store(at, left, cx, fx)?, granted)
            }
        };
        if granted {
            self.emit(EventKind::Lock, &record, cx, fx);
        }
        let entry = Some(entry(&record, cx));
        let lock = request.asker.as_ref().and(record.lock()).cloned().map(Box::new);
        Ok(Applied { entry, created: present.is_none(), granted, waiting: false, lock })
    }

    /// The lock register after a grant to somebody who may have it, and whether the grant is a new one.
    pub(super) fn grant(
        &mut self,
        known: Option<&LockRegister>,
        request: &LockRequest,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> (LockRegister, bool) {
        let lease_end = match (&request.granted, request.grant.lease) {
            (Some(granted), _) => granted.lease_end,
            (None, Some(lease)) => cx.now.mono.saturating_add(lease).min(NEVER - 1),
            (None, None) => NEVER,
        };
        let signal = &request.grant.signal;
        let held = known.filter(|lock| lock.is_held(cx.now));
        let goes_on = |held: &LockRegister| match &request.granted {
            Some(granted) => held.grant() == granted.grant(),
            None => true,
        };
        match held.filter(|held| goes_on(held)) {
            Some(held) => {
                let mut lock = held.clone();
                lock.lease_end = lock.lease_end.max(lease_end);
                lock.sequence = match &request.granted {
                    Some(granted) => lock.sequence.max(granted.sequence),
                    None => lock.sequence + 1,
                };
                lock.signals.extend(signal.clone());
                (lock, false)
            }
            None => {
                if let Some(known) = known {
                    // Whoever still counts on the one before learns that it is over.
                    lose(&mut known.clone(), fx);
                }
                let floor = request.asker.as_ref().map_or(0, |asker| asker.floor);
                let floor = floor.max(known.map_or(0, |lock| lock.fence));
                let own = cx.member.incarnation;
                let (fence, grantor, sequence) = match &request.granted {
                    Some(granted) => {
                        // It may have lapsed here and go on.
                        let same = known.filter(|known| known.grant() == granted.grant());
                        let sequence = same.map_or(0, |known| known.sequence);
                        (granted.fence, granted.grantor, granted.sequence.max(sequence))
                    }
                    None => {
                        // Who grants after another one may have a slower clock. Values keep to their own.
                        let newest = cx.replication.map_or(0, |r| r.newest_fence(cx.now.wall));
                        (self.tick(cx, 0).max(floor + 1).max(newest + 1), own, 0)
                    }
                };
                if let Some(replication) = cx.replication {
                    replication.note_fence(fence, cx.now.wall);
                }
                let member = request.asker.as_ref().map_or(cx.member, |asker| &asker.member);
                let lock = LockRegister {
                    fence,
                    grantor,
                    state: LockState::Held,
                    sequence,
                    member: member.clone(),
                    owner: request.owner.clone(),
                    lease_end,
                    signals: signal.iter().cloned().collect(),
                    deposed: Vec::new(),
                };
                (lock, true)
            }
        }
    }

    /// Ends the lock of a known key, if it is held; then serves whoever waits.
    pub(super) fn end_lock(
        &mut self,
        hash: u64,
        record: Record,
        how: LockState,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Record {
        let Some(lock) = record.lock().filter(|lock| lock.state == LockState::Held) else {
            return record;
        };
        let mut lock = lock.clone();
        lock.state = how;
        lose(&mut lock, fx);
        let ended = record.with_lock(lock);
        if self.get(hash, ended.key()).is_some() {
            let replaced = self.replace(hash, Some(&record), ended.clone(), Room::Take, cx, fx);
            debug_assert!(replaced.is_ok());
            self.emit(EventKind::Unlock, &ended, cx, fx);
        } else {
            self.bury(hash, ended.clone(), cx, fx);
        }
        self.serve(hash, ended.key(), cx, fx);
        ended
    }

    /// Gives the lock of a key to whoever may have it now, in order of arrival.
    pub(super) fn serve(&mut self, hash: u64, key: &[u8], cx: &Context<'_>, fx: &mut Effects) {
        while let Some((id, first)) = self.waiters.get(key).and_then(BTreeMap::first_key_value) {
            let (id, deadline, request) = (*id, first.deadline, first.request.clone());
            let at = self.target(hash, key);
            match self.try_lock(&at, &request, cx, fx) {
                Err(error) if error.kind() == ErrorKind::Locked => return,
                result => {
                    if let Some(waiter) = self.take_waiter(key, id, deadline) {
                        waiter.tell(result, fx);
                    }
                }
            }
        }
    }

    /// Takes a waiter out of its queue; `None`: it is not waiting any more.
    pub(super) fn take_waiter(&mut self, key: &[u8], id: u64, deadline: u64) -> Option<Waiter> {
        self.timeouts.remove(&(deadline, id))?;
        let queue = self.waiters.get_mut(key)?;
        let waiter = queue.remove(&id);
        if queue.is_empty() {
            self.waiters.remove(key);
        }
        waiter
    }

    /// Takes a waiter out who no longer wants the lock. False: its outcome is decided.
    pub fn cancel(&mut self, key: &[u8], wait: Wait<'_>) -> bool {
        self.take_waiter(key, wait.id, wait.deadline).is_some()
    }
}

pub(super) fn is_held(record: &Record) -> bool {
    record.lock().is_some_and(|lock| lock.state == LockState::Held)
}

/// Marks everyone as having lost the lock; they are told once the shard's lock is released.
pub(super) fn lose(lock: &mut LockRegister, fx: &mut Effects) {
    for signal in lock.signals.drain(..) {
        signal.mark();
        fx.lost.push(signal);
    }
}
