//! The lock register of a key: who holds it, under which fence, until when.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::callback::call;
use crate::clock::Now;
use crate::member::Member;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The longest lease, which is also how far back a fence still outweighs a stranger's write.
pub const MAX_LEASE: Duration = Duration::from_secs(600);

/// A lease end that never comes, and an expiry likewise.
pub(crate) const NEVER: u64 = u64::MAX;

/// Who holds a lock. Two holders are equal only if node and owner both are; no owner equals only no owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The name of the node.
    pub node: String,
    /// The label that was given as `owner`, if any.
    pub owner: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "owner {owner:?} on node {:?}", self.node),
            None => write!(f, "node {:?} (no owner label)", self.node),
        }
    }
}

/// How far a lock has come. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockState {
    Held,
    /// Its lease ran out, or its holder died; its fence still lets through whoever nobody has followed.
    Lapsed,
    /// Its holder gave it up; its fence opens nothing any more.
    Released,
}

/// A key's last lock. It stays after its end, so that its fence stays known.
#[derive(Clone, Debug)]
pub(crate) struct LockRegister {
    pub fence: u64,
    /// The incarnation that granted it: two sides of a cut may draw the same fence.
    pub grantor: u128,
    pub state: LockState,
    /// Raised by each renewal under the same fence.
    pub sequence: u64,
    pub member: Arc<Member>,
    pub owner: Option<Arc<str>>,
    /// On the monotonic clock.
    pub lease_end: u64,
    /// Told when the lock ends.
    pub signals: Vec<Arc<LossSignal>>,
    /// Who held the key when word of a higher fence came, which they may not have yet. Only on a member that leads, and
    /// nearly always none.
    pub deposed: Vec<Deposed>,
}

/// A holder whom a higher fence has deposed.
#[derive(Clone, Debug)]
pub(crate) struct Deposed {
    pub member: Arc<Member>,
    /// Of what he believes in.
    pub lease_end: u64,
    /// When word of the higher fence came, on the monotonic clock.
    pub since: u64,
}

impl Deposed {
    /// Whether he may still believe that he holds the lock.
    pub fn may_believe(&self, now: Now) -> bool {
        now.mono < self.lease_end.min(self.member.until()) && self.member.informed_at() < self.since
    }
}

/// Clocks are steered by up to half a thousandth each: by so much of a lease a holder counts less, and others more.
pub(crate) const CLOCK_RATES: u64 = 1000;

impl LockRegister {
    pub fn is_held(&self, now: Now) -> bool {
        self.state == LockState::Held && now.mono < self.lease_end.min(self.member.until())
    }

    /// Nobody holds it, but somebody may believe that he does.
    pub fn is_doubtful(&self, now: Now) -> bool {
        !self.is_held(now) && self.deposed.iter().any(|deposed| deposed.may_believe(now))
    }

    /// Which grant this is.
    pub fn grant(&self) -> (u64, u128) {
        (self.fence, self.grantor)
    }

    /// How far it has come; the greater stands. That a lease has run out everyone sees for himself.
    pub fn rank(&self) -> (u64, u128, bool, u64) {
        (self.fence, self.grantor, self.state == LockState::Released, self.sequence)
    }

    pub fn is_holder(&self, member: &Member, owner: Option<&str>) -> bool {
        self.owner.as_deref() == owner && self.member.incarnation == member.incarnation
    }

    pub fn holder(&self) -> Holder {
        Holder {
            node: self.member.name.to_string(),
            owner: self.owner.as_deref().map(str::to_owned),
        }
    }
}

/// Tells a guard that its lock is gone.
#[derive(Default)]
pub(crate) struct LossSignal {
    lost: AtomicBool,
    callbacks: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl LossSignal {
    /// Only sets the flag: safe under any lock.
    pub fn mark(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Calls everyone who asked; never under a lock.
    pub fn notify(&self) {
        let callbacks = std::mem::take(&mut *self.callbacks.lock());
        for callback in callbacks {
            call(callback);
        }
    }

    /// Calls at the loss, or at once if it has happened.
    pub fn on_lost(&self, callback: Box<dyn FnOnce() + Send>) {
        let mut callbacks = self.callbacks.lock();
        callbacks.push(callback);
        drop(callbacks);
        if self.is_lost() {
            self.notify();
        }
    }

    /// Forgets who asked: the guard was released in good order.
    pub fn silence(&self) {
        let callbacks = std::mem::take(&mut *self.callbacks.lock());
        drop(callbacks);
    }
}

impl fmt::Debug for LossSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LossSignal").field("lost", &self.is_lost()).finish_non_exhaustive()
    }
}
