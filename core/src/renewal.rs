//! Guards whose leases are to be renewed, in order of time.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::guard::GuardCore;
use crate::lock::NEVER;
use crate::sync::Mutex;

#[derive(Default)]
pub(crate) struct Renewals {
    due: Mutex<BTreeMap<(u64, u64), Weak<GuardCore>>>,
}

impl Renewals {
    /// Renews the guard at this time of the monotonic clock.
    pub fn schedule(&self, at: u64, guard: &Arc<GuardCore>) {
        let mut due = self.due.lock();
        guard.set_renewal(at);
        due.insert((at, guard.id()), Arc::downgrade(guard));
    }

    /// Forgets a guard that has nothing to renew any more.
    pub fn cancel(&self, guard: &GuardCore) {
        let mut due = self.due.lock();
        let removed = due.remove(&(guard.renewal(), guard.id()));
        drop(due);
        drop(removed);
    }

    /// The time of the earliest renewal; [`NEVER`] for none.
    pub fn next(&self) -> u64 {
        self.due.lock().first_key_value().map_or(NEVER, |((at, _), _)| *at)
    }

    /// Renews what is due; each guard that still holds its lock is scheduled again.
    pub fn run(&self, now: u64) {
        loop {
            let guard = {
                let mut due = self.due.lock();
                match due.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            if let Some(guard) = guard.upgrade()
                && let Some(next) = guard.renew(now)
            {
                self.schedule(next, &guard);
            }
        }
    }

    pub fn clear(&self) {
        let due = std::mem::take(&mut *self.due.lock());
        drop(due);
    }
}
