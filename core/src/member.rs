//! Who writes: a node's name and the identity of one start of it.

use std::sync::Arc;

use crate::lock::NEVER;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One start of a registry. The incarnation is its identity; the name is for people.
#[derive(Debug)]
pub(crate) struct Member {
    pub name: Box<str>,
    pub incarnation: u128,
    /// Until when its locks count, on this process's monotonic clock: for ever, unless this process has
    /// reason to think that it does not believe in them any more.
    until: AtomicU64,
    /// It is known to know of all that had ended its locks by then, on the same clock; 0: of none.
    informed_at: AtomicU64,
    /// Whether any live member has this name: its entries are owned by it, otherwise by an heir.
    named: Arc<AtomicBool>,
}

impl Member {
    pub fn new(name: &str, incarnation: u128, named: Arc<AtomicBool>) -> Member {
        let (until, informed_at) = (AtomicU64::new(NEVER), AtomicU64::new(0));
        Member { name: name.into(), incarnation, until, informed_at, named }
    }

    /// One that is alone, or the first to be known.
    pub fn alone(name: &str, incarnation: u128) -> Member {
        Member::new(name, incarnation, Arc::new(AtomicBool::new(true)))
    }

    pub fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    #[inline]
    pub fn is_named(&self) -> bool {
        self.named.load(Ordering::Relaxed)
    }

    pub fn set_until(&self, until: u64) {
        self.until.store(until, Ordering::SeqCst);
    }

    pub fn informed_at(&self) -> u64 {
        self.informed_at.load(Ordering::SeqCst)
    }

    pub fn set_informed(&self, now: u64) {
        self.informed_at.store(now, Ordering::SeqCst);
    }

    pub fn named(&self) -> &Arc<AtomicBool> {
        &self.named
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Member) -> bool {
        self.incarnation == other.incarnation
    }
}

impl Eq for Member {}
