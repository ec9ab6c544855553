//! The synchronisation primitives, in one place: the standard library's, without poisoning. The
//! concurrency tests put a model checker's in, which have the same faces.
//!
//! Not those of a library with a queue of its own for threads that wait: after a fork such a queue
//! still holds threads that are gone, and a registry that the child starts waits behind them for ever.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::clock::{Clock, nanos};

#[cfg(feature = "__shuttle")]
use shuttle::sync as primitives;
#[cfg(not(feature = "__shuttle"))]
use std::sync as primitives;

pub(crate) use self::primitives::{RwLockReadGuard, RwLockWriteGuard, atomic};
#[cfg(feature = "__shuttle")]
pub(crate) use shuttle::{thread, thread_local};
#[cfg(not(feature = "__shuttle"))]
pub(crate) use std::{thread, thread_local};

/// Here the model checker may let another thread go on.
#[inline]
pub(crate) fn step() {
    #[cfg(feature = "__shuttle")]
    let _ = atomic::AtomicBool::new(false).load(atomic::Ordering::SeqCst);
}

/// A panic under a lock leaves the data as it was at that moment; whoever comes next goes on with it.
fn ignore_poison<T>(result: Result<T, primitives::PoisonError<T>>) -> T {
    result.unwrap_or_else(primitives::PoisonError::into_inner)
}

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(primitives::Mutex<T>);

/// Empty only while its condition variable waits.
pub(crate) struct MutexGuard<'a, T>(Option<primitives::MutexGuard<'a, T>>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Mutex(primitives::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(ignore_poison(self.0.lock())))
    }

    pub fn get_mut(&mut self) -> &mut T {
        ignore_poison(self.0.get_mut())
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[allow(clippy::expect_used)]
    fn deref(&self) -> &T {
        self.0.as_ref().expect("held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[allow(clippy::expect_used)]
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("held")
    }
}

#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(primitives::RwLock<T>);

impl<T> RwLock<T> {
    pub fn new(value: T) -> Self {
        RwLock(primitives::RwLock::new(value))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        ignore_poison(self.0.read())
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        ignore_poison(self.0.write())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(primitives::Condvar);

impl Condvar {
    pub fn new() -> Condvar {
        Condvar::default()
    }

    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(inner) = guard.0.take() {
            guard.0 = Some(ignore_poison(self.0.wait(inner)));
        }
    }

    /// The model has no time: its timed waits end by a notification only.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) {
        if let Some(inner) = guard.0.take() {
            guard.0 = Some(ignore_poison(self.0.wait_timeout(inner, timeout)).0);
        }
    }

    /// Waits while it holds, at most for this time.
    pub fn wait_while<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        time: Duration,
        holds: impl Fn(&T) -> bool,
    ) {
        let deadline = Clock::System.mono().saturating_add(nanos(time));
        while holds(guard) {
            let left = deadline.saturating_sub(Clock::System.mono());
            if left == 0 {
                return;
            }
            self.wait_for(guard, Duration::from_nanos(left));
        }
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
