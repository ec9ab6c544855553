//! What goes into a shard and what comes out: plain data.

use std::sync::Arc;

use super::index::Retired;
use crate::codec::Prepared;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{LockRegister, LossSignal};
use crate::member::Member;
use crate::oneshot::Oneshot;
use crate::record::{Content, Record};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::version::Version;
use crate::watch::Event;

/// One change of one key.
pub(crate) struct Mutation<'a> {
    pub key: &'a [u8],
    pub conditions: Conditions<'a>,
    pub action: Action<'a>,
}

/// Who asks, and what must hold.
#[derive(Clone, Copy, Default)]
pub(crate) struct Conditions<'a> {
    pub owner: Option<&'a str>,
    pub fence: Option<u64>,
    pub version: Option<Version>,
}

pub(crate) enum Action<'a> {
    Put(Put<'a>),
    Delete,
    Unlock,
    Persist,
    Touch { ttl: u64 },
    Incr { by: i64, default_ttl: Option<u64> },
    Lock(&'a LockRequest, Option<Wait<'a>>),
}

pub(crate) struct Put<'a> {
    pub content: Content<'a>,
    pub expiry: Expiry,
    pub if_absent: bool,
    /// Takes the lock in the same step.
    pub lock: Option<Grant>,
    /// Its room was reserved before, together with that of others.
    pub reserved: bool,
}

/// When a put's entry shall expire; durations in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiry {
    Never,
    After(u64),
    /// As the present entry does; of an absent key, after this.
    Keep(Option<u64>),
}

impl Expiry {
    pub fn of_default(default_ttl: Option<u64>) -> Expiry {
        default_ttl.map_or(Expiry::Never, Expiry::After)
    }
}

/// What a lock shall be like once it is granted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    /// In nanoseconds; `None`: no end.
    pub lease: Option<u64>,
    pub signal: Option<Arc<LossSignal>>,
}

/// A lock asked for, able to wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockRequest {
    pub owner: Option<Arc<str>>,
    pub fence: Option<u64>,
    pub version: Option<Version>,
    pub grant: Grant,
    pub store: Option<Store>,
    /// Only prolongs a lock that is held under the fence; a lapsed one is not taken anew.
    pub renewal: bool,
    /// Another member asks this one, the coordinator.
    pub asker: Option<Asker>,
    /// The coordinator has granted it to this member.
    pub granted: Option<Granted>,
}

/// Another member that wants a lock. Whether the key is present is for it to say: it has asked.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub member: Arc<Member>,
    /// The newest fence of the key that it knows of.
    pub floor: u64,
}

/// A grant by the coordinator, on its way into the holder's own table.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub fence: u64,
    pub grantor: u128,
    pub sequence: u64,
    /// On this member's monotonic clock, counted from before it asked.
    pub lease_end: u64,
}

impl Granted {
    pub fn grant(&self) -> (u64, u128) {
        (self.fence, self.grantor)
    }
}

/// What a lock request puts in the same step.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub value: Arc<Prepared>,
    pub expiry: Expiry,
    /// On a present key nothing is stored, only locked.
    pub only_if_absent: bool,
    /// A present key is a conflict.
    pub if_absent: bool,
}

impl LockRequest {
    pub fn conditions(&self) -> Conditions<'_> {
        Conditions { owner: self.owner.as_deref(), fence: self.fence, version: self.version }
    }
}

pub(crate) type Outcome = Oneshot<Result<Applied>>;

/// How to wait for a lock that somebody else holds.
#[derive(Clone, Copy)]
pub(crate) struct Wait<'a> {
    pub id: u64,
    /// On the monotonic clock.
    pub deadline: u64,
    pub outcome: &'a Arc<Outcome>,
}

/// What a mutation did.
#[derive(Clone, Default)]
pub(crate) struct Applied {
    /// The entry after the mutation (for a removal: the one removed), as it was then; `None`: there is none.
    pub entry: Option<Entry>,
    /// The lock request stored its value on an absent key.
    pub created: bool,
    /// The lock request was granted anew, not to who had the lock already.
    pub granted: bool,
    /// The lock request was queued; its outcome will say the rest.
    pub waiting: bool,
    /// What another member that asked was granted.
    pub lock: Option<Box<LockRegister>>,
}

impl Applied {
    pub fn entry(entry: Entry) -> Applied {
        Applied { entry: Some(entry), ..Applied::default() }
    }
}

/// What is to be done once the shard's lock is released, in this order.
#[derive(Default)]
pub(crate) struct Effects {
    pub events: Vec<Event>,
    /// Events are in the shard's log.
    pub logged: bool,
    pub outcomes: Vec<Arc<Outcome>>,
    pub lost: Vec<Arc<LossSignal>>,
    /// Freed outside the lock: large values take their time.
    pub unused: Vec<Retired>,
    /// What the other members of the cluster are to be told.
    pub changed: Vec<Record>,
}

/// The configured limits and what counts against them. Without limits nothing is counted here.
#[derive(Debug)]
pub(crate) struct Limits {
    pub max_entries: Option<u64>,
    pub max_bytes: Option<u64>,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Limits {
    pub fn new(max_entries: Option<u64>, max_bytes: Option<u64>) -> Limits {
        let (entries, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Limits { max_entries, max_bytes, entries, bytes }
    }

    pub fn is_unlimited(&self) -> bool {
        self.max_entries.is_none() && self.max_bytes.is_none()
    }

    /// Takes room for so much more, all or nothing.
    pub fn reserve(&self, entries: i64, bytes: i64) -> Result<()> {
        if self.is_unlimited() {
            return Ok(());
        }
        if !grow(&self.entries, entries, self.max_entries) {
            return Err(full("max_entries", self.max_entries, "entries"));
        }
        if !grow(&self.bytes, bytes, self.max_bytes) {
            grow(&self.entries, -entries, None);
            return Err(full("max_bytes", self.max_bytes, "bytes"));
        }
        Ok(())
    }

    /// Gives room back.
    pub fn release(&self, entries: i64, bytes: i64) {
        if !self.is_unlimited() {
            grow(&self.entries, -entries, None);
            grow(&self.bytes, -bytes, None);
        }
    }
}

/// Adds `delta`; what grows must stay within `max`, what shrinks always may.
fn grow(counter: &AtomicU64, delta: i64, max: Option<u64>) -> bool {
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            let next = now.saturating_add_signed(delta);
            (delta <= 0 || max.is_none_or(|max| next <= max)).then_some(next)
        })
        .is_ok()
}

fn full(option: &str, max: Option<u64>, unit: &str) -> Error {
    let max = max.unwrap_or_default();
    let message = format!(
        "the registry is full: {option} is {max} {unit}; delete entries, give them a ttl, or raise {option}"
    );
    Error::new(ErrorKind::Limit, message)
}
