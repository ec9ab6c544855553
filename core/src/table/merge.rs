//! How what another member knows of a key becomes part of what this one knows. Value and lock are merged
//! apart: of each the greater stands, so that the order of arrival does not matter.

use std::sync::Arc;

use super::locking::lose;
use super::mutation::Effects;
use super::replication::{Faults, Replication};
use super::shard::{Context, Room, Shard, Target};
use crate::lock::{CLOCK_RATES, Deposed, LockRegister, LockState, NEVER};
use crate::member::Member;
use crate::record::{Record, Stamped};
use crate::stamp::Stamp;
use crate::watch::EventKind;

/// All that a member knows of a key.
pub(crate) struct Delta<'a> {
    pub key: &'a [u8],
    pub value: Option<DeltaValue<'a>>,
    pub lock: Option<DeltaLock>,
}

pub(crate) struct DeltaValue<'a> {
    /// `None`: deleted, or expired and dropped.
    pub content: Option<&'a [u8]>,
    pub stamp: Stamp,
    pub exp: u64,
    pub writer: Arc<Member>,
}

#[derive(Clone)]
pub(crate) struct DeltaLock {
    pub fence: u64,
    pub grantor: u128,
    pub released: bool,
    pub sequence: u64,
    pub member: Arc<Member>,
    pub owner: Option<Arc<str>>,
    /// How much of the lease was left when it was sent; [`NEVER`]: it has no lease.
    pub left: u64,
}

impl DeltaLock {
    fn rank(&self) -> (u64, u128, bool, u64) {
        (self.fence, self.grantor, self.released, self.sequence)
    }

    fn register(&self, cx: &Context<'_>) -> LockRegister {
        let state = match (self.released, self.left) {
            (true, _) => LockState::Released,
            (false, 0) => LockState::Lapsed,
            (false, _) => LockState::Held,
        };
        let lease_end = match self.left {
            NEVER => NEVER,
            // The clock of who says so may run slower.
            left => {
                cx.now.mono.saturating_add(left).saturating_add(left / CLOCK_RATES).min(NEVER - 1)
            }
        };
        LockRegister {
            fence: self.fence,
            grantor: self.grantor,
            state,
            sequence: self.sequence,
            member: self.member.clone(),
            owner: self.owner.clone(),
            lease_end,
            signals: Vec::new(),
            deposed: Vec::new(),
        }
    }
}

/// What a key's lock is after a merge.
struct MergedLock {
    register: Option<LockRegister>,
    changed: bool,
    /// This member must tell the others: they believe in a lock that it does not.
    answer: bool,
    deposed: Option<u128>,
}

/// What a merge has done.
#[derive(Default)]
pub(crate) struct Merged {
    pub is_news: bool,
    /// A member that held the lock, and may not know that a higher fence has ended that.
    pub deposed: Option<u128>,
}

impl Shard {
    /// Takes over what is newer. `asking`: this member has asked for the key's lock and waits for the answer.
    pub fn merge(
        &mut self,
        hash: u64,
        delta: &Delta<'_>,
        asking: bool,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Merged {
        if self.is_closed() {
            return Merged::default();
        }
        let at = self.settled(hash, delta.key, cx, fx);
        let faults = cx.replication.map(|replication| replication.faults).unwrap_or_default();
        let known = at.known().and_then(Record::stamp);
        let value = delta.value.as_ref().filter(|value| wins(value.stamp, known, &faults));
        let mut lock = merge_lock(&at, delta.lock.as_ref(), asking, &faults, cx, fx);
        if value.is_none() && !lock.changed {
            return Merged::default();
        }
        let exp = match value {
            Some(value) if faults.ttl_restarts && value.exp != NEVER => {
                cx.now.wall.saturating_add(value.exp.saturating_sub(value.stamp.time))
            }
            Some(value) => value.exp,
            None => at.present.as_ref().map_or(NEVER, Record::exp),
        };
        let lives = match value {
            Some(value) => !value.stamp.dead && value.content.is_some() && exp > cx.now.wall,
            None => at.present.is_some(),
        };
        if !lives {
            self.release_own(&mut lock, cx, fx);
        }
        let record = match (value, at.known(), lock.register) {
            (Some(value), _, lock) => Record::stamped(Stamped {
                key: delta.key,
                content: value.content.filter(|_| lives),
                stamp: value.stamp,
                exp,
                writer: value.writer.clone(),
                lock,
            }),
            (None, Some(known), Some(lock)) => known.with_lock(lock),
            (None, None, Some(lock)) => Record::lock_only(delta.key, cx.member.clone(), lock),
            (None, _, None) => return Merged::default(),
        };
        let deposed = lock.deposed;
        let cx = &Context { local: lock.answer, ..*cx };
        match (&at.present, lives) {
            (present, true) => {
                let replaced =
                    self.replace(hash, present.as_ref(), record.clone(), Room::Take, cx, fx);
                debug_assert!(replaced.is_ok());
            }
            (Some(present), false) => {
                self.take_out(hash, present, cx);
                self.dig(hash, Some(present), record.clone(), cx, fx);
            }
            (None, false) => self.bury(hash, record.clone(), cx, fx),
        }
        self.tell(&at, &record, lives, value.is_some(), cx, fx);
        if self.waiters.contains_key(delta.key) {
            self.serve(hash, delta.key, &Context { local: true, ..*cx }, fx);
        }
        self.index.shrink(cx.hasher);
        Merged { is_news: true, deposed }
    }

    /// The lock of a key that has no value any more ends, and it is for its holder's member to say so.
    fn release_own(&self, lock: &mut MergedLock, cx: &Context<'_>, fx: &mut Effects) {
        let own = |lock: &&mut LockRegister| {
            lock.state == LockState::Held && lock.member.incarnation == cx.member.incarnation
        };
        if let Some(register) = lock.register.as_mut().filter(own) {
            register.state = LockState::Released;
            lose(register, fx);
            (lock.changed, lock.answer) = (true, true);
        }
    }

    /// The events of a merge.
    fn tell(
        &self,
        at: &Target<'_>,
        record: &Record,
        lives: bool,
        new_value: bool,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        if !cx.watched {
            return;
        }
        if !lives {
            if let Some(present) = &at.present {
                let dead = record.stamp().is_some_and(|stamp| stamp.dead);
                let kind = if dead { EventKind::Delete } else { EventKind::Expire };
                self.emit_removed(kind, present, cx, fx);
            }
            return;
        }
        if new_value {
            let same_put = |old: &Record| {
                (old.epoch(), old.time(), old.writer().incarnation)
                    == (record.epoch(), record.time(), record.writer().incarnation)
            };
            let kind = match (at.present.as_ref().is_some_and(same_put), record.exp()) {
                (false, _) => EventKind::Put,
                (true, NEVER) => EventKind::Persist,
                (true, _) => EventKind::Touch,
            };
            self.emit(kind, record, cx, fx);
        }
        let held = |record: &Record| record.held_lock(cx.now).map(LockRegister::grant);
        // The lock of a key without a value was told to nobody.
        let (before, after) = (at.present.as_ref().and_then(held), held(record));
        match (before, after) {
            (before, Some(after)) if before != Some(after) => {
                self.emit(EventKind::Lock, record, cx, fx);
            }
            (Some(_), None) => self.emit(EventKind::Unlock, record, cx, fx),
            _ => {}
        }
    }
}

fn wins(new: Stamp, known: Option<Stamp>, faults: &Faults) -> bool {
    let Some(known) = known else { return true };
    if faults.lower_stamp_wins {
        return new != known;
    }
    let epoch = |stamp: Stamp| if faults.epoch_ignored { 0 } else { stamp.epoch };
    Stamp { epoch: epoch(known), ..known } < Stamp { epoch: epoch(new), ..new }
}

fn merge_lock(
    at: &Target<'_>,
    incoming: Option<&DeltaLock>,
    asking: bool,
    faults: &Faults,
    cx: &Context<'_>,
    fx: &mut Effects,
) -> MergedLock {
    let known = at.lock();
    let unchanged = || {
        let register = known.cloned();
        MergedLock { register, changed: false, answer: false, deposed: None }
    };
    let greater = |new: &&DeltaLock| match known {
        None => true,
        Some(known) if faults.released_fence_lives => {
            (known.grant(), known.sequence) < ((new.fence, new.grantor), new.sequence)
        }
        Some(known) => known.rank() < new.rank(),
    };
    let Some(new) = incoming.filter(greater) else { return unchanged() };
    if let Some(replication) = cx.replication {
        replication.note_fence(new.fence, cx.now.wall);
    }
    let own = cx.member.incarnation;
    let same = known.filter(|known| known.grant() == (new.fence, new.grantor));
    let mut register = new.register(cx);
    let mut answer = false;
    let ours = |lock: &&LockRegister| lock.member.incarnation == own;
    if new.member.incarnation == own && !new.released {
        match same {
            // The coordinator prolongs it; how long it lasts for us, its answer says.
            Some(known) => register = LockRegister { sequence: new.sequence, ..known.clone() },
            None if asking => return unchanged(),
            // Nobody here wants it any more.
            None => {
                register.state = LockState::Released;
                answer = true;
            }
        }
    }
    let held = known.filter(ours).filter(|lock| lock.state == LockState::Held);
    // Another grant stands above it, be it to somebody else or to an ask of this member's that is over.
    let stays = |known: &&LockRegister| {
        known.grant() == register.grant() && register.state == LockState::Held
    };
    if let Some(known) = held.filter(|known| !stays(known)) {
        lose(&mut known.clone(), fx);
    }
    let mut deposed = None;
    // Whoever begins to lead asks everyone; what came before that does not matter.
    let leads = cx.replication.is_some_and(Replication::is_leading) && !faults.deposed_untold;
    if let Some(known) = known.filter(|_| leads) {
        let still = known.deposed.iter().filter(|deposed| deposed.may_believe(cx.now));
        register.deposed = still.cloned().collect();
        let other = |lock: &&LockRegister| {
            lock.member.incarnation != own && lock.grant() != register.grant()
        };
        if let Some(lock) = Some(known).filter(|lock| lock.is_held(cx.now)).filter(other) {
            let (member, lease_end) = (lock.member.clone(), lock.lease_end);
            register.deposed.retain(|before| before.member != member);
            register.deposed.push(Deposed { member, lease_end, since: cx.now.mono });
            deposed = Some(lock.member.incarnation);
        }
    }
    MergedLock { register: Some(register), changed: true, answer, deposed }
}
