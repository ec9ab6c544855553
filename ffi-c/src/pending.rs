//! Locks, and the first sync, that are being waited for without blocking a thread.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use minikv::{Error, ErrorKind, PendingGuard, PendingLock, PendingSync};

use crate::border::{
    FOREVER, Home, Out, User, argument, borrow, call, free, key as span, milliseconds, null,
};
use crate::bytes::minikv_bytes;
use crate::call_options::{minikv_lock_options, with};
use crate::entry::minikv_entry;
use crate::error::{Failure, minikv_code, minikv_error};
use crate::guard::minikv_guard;
use crate::registry::minikv_registry;

/// Told once that a pending lock, or a first sync, is decided, on whichever thread decided it, with no lock held. It
/// must be quick; it may call the library; it must not throw.
pub type minikv_ready_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// A request for a lock that may be waiting. Freeing it leaves the queue, or gives back a lock that was granted and
/// not taken.
pub struct minikv_pending_lock(Held<PendingLock>);

/// A request for a guard that may be waiting. Freeing it leaves the queue, or gives back a lock that was granted and
/// not taken.
pub struct minikv_pending_guard(Held<PendingGuard>);

impl From<PendingLock> for minikv_pending_lock {
    fn from(pending: PendingLock) -> minikv_pending_lock {
        minikv_pending_lock(Held::new(pending))
    }
}

impl From<PendingGuard> for minikv_pending_guard {
    fn from(pending: PendingGuard) -> minikv_pending_guard {
        minikv_pending_guard(Held::new(pending))
    }
}

/// The request, until its result was taken.
pub struct Held<P> {
    home: Home,
    pending: Mutex<Option<P>>,
}

/// What all kinds of requests have in common.
pub trait Pending {
    type Output;
    fn try_take(&mut self) -> Option<Result<Self::Output, Error>>;
    fn wait_for(&mut self, timeout: Duration) -> Option<Result<Self::Output, Error>>;
    fn on_ready(&self, callback: impl FnOnce() + Send + 'static);
}

macro_rules! pending {
    ($type:ident, $output:ty) => {
        impl Pending for $type {
            type Output = $output;
            fn try_take(&mut self) -> Option<Result<$output, Error>> {
                $type::try_take(self)
            }
            fn wait_for(&mut self, timeout: Duration) -> Option<Result<$output, Error>> {
                $type::wait_for(self, timeout)
            }
            fn on_ready(&self, callback: impl FnOnce() + Send + 'static) {
                $type::on_ready(self, callback)
            }
        }
    };
}

pending!(PendingLock, Option<minikv::Entry>);
pending!(PendingGuard, minikv::LockGuard);
pending!(PendingSync, ());

const INSTALLING: u8 = 0;
const INSTALLED: u8 = 1;
const READY: u8 = 2;

impl<P: Pending> Held<P> {
    pub fn new(pending: P) -> Held<P> {
        Held { home: Home::here(), pending: Mutex::new(Some(pending)) }
    }

    fn lock(&self) -> Result<MutexGuard<'_, Option<P>>, Error> {
        self.home.check()?;
        let pending = match self.pending.try_lock() {
            Ok(pending) => pending,
            Err(TryLockError::Poisoned(poison)) => poison.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(argument("another thread is waiting for this result"));
            }
        };
        if pending.is_none() {
            return Err(argument("the result was taken before"));
        }
        Ok(pending)
    }

    pub fn wait(&self, timeout_ms: i64) -> Result<P::Output, Error> {
        let mut place = self.lock()?;
        let result = match (place.as_mut(), timeout_ms) {
            (None, _) => None,
            (Some(pending), 0) => pending.try_take(),
            (Some(pending), FOREVER) => loop {
                if let Some(result) = pending.wait_for(Duration::from_secs(3600)) {
                    break Some(result);
                }
            },
            (Some(pending), ms) => pending.wait_for(milliseconds("timeout_ms", ms)?),
        };
        match result {
            Some(result) => {
                let taken = place.take();
                drop(place);
                drop(taken);
                result
            }
            None => {
                let message = format!("not decided within {timeout_ms} ms");
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// The callback may take the result at once: it is not called while the place is locked.
    fn on_ready(&self, callback: impl Fn() + Send + Sync + 'static) -> Result<(), Error> {
        let stage = Arc::new(AtomicU8::new(INSTALLING));
        let callback = Arc::new(callback);
        let (seen, told) = (stage.clone(), callback.clone());
        let place = self.lock()?;
        if let Some(pending) = &*place {
            pending.on_ready(move || {
                if seen.swap(READY, Ordering::SeqCst) == INSTALLED {
                    told();
                }
            });
        }
        drop(place);
        let (from, to, order) = (INSTALLING, INSTALLED, Ordering::SeqCst);
        if stage.compare_exchange(from, to, order, order).is_err() {
            callback();
        }
        Ok(())
    }
}

/// As minikv_lock, but never waits: `*pending` may still be waiting. Free it with minikv_pending_lock_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_start(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_lock_options,
    pending: *mut *mut minikv_pending_lock,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        // SAFETY: handed on from the caller.
        let key = unsafe { span(|| registry.ensure_running(), key, "key") }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(pending, "pending") }?;
        // SAFETY: handed on from the caller.
        out.give(unsafe { with(options, |options| Ok(registry.lock_start(key, options)?)) }?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// As minikv_locked, but never waits: `*pending` may still be waiting. Free it with minikv_pending_guard_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_locked_start(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_lock_options,
    pending: *mut *mut minikv_pending_guard,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        // SAFETY: handed on from the caller.
        let key = unsafe { span(|| registry.ensure_running(), key, "key") }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(pending, "pending") }?;
        // SAFETY: handed on from the caller.
        out.give(unsafe { with(options, |options| Ok(registry.locked_start(key, options)?)) }?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Waits at most so many milliseconds of real time (0: not at all; MINIKV_FOREVER) for the result, which is given
/// once: `*entry` as of minikv_lock.
///
/// Errors: MINIKV_TIMEOUT if it is not decided yet; the errors of minikv_lock; MINIKV_INVALID_ARGUMENT if the result
/// was taken before, or another thread is waiting for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_lock_wait(
    pending: *const minikv_pending_lock,
    timeout_ms: i64,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (pending, out) =
            unsafe { (borrow(pending, "pending")?, Out::required(entry, "entry")?) };
        out.give_any(pending.0.wait(timeout_ms)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Waits for the guard; otherwise as minikv_pending_lock_wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_guard_wait(
    pending: *const minikv_pending_guard,
    timeout_ms: i64,
    guard: *mut *mut minikv_guard,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (pending, out) =
            unsafe { (borrow(pending, "pending")?, Out::required(guard, "guard")?) };
        out.give(pending.0.wait(timeout_ms)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Calls back when the result is there, at once if it is; replaces an earlier callback.
///
/// Error: MINIKV_INVALID_ARGUMENT if the result was taken, or a thread is waiting for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_lock_on_ready(
    pending: *const minikv_pending_lock,
    callback: minikv_ready_fn,
    user: *mut c_void,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { call(err, || on_ready(&borrow(pending, "pending")?.0, callback, User(user))) }
}

/// As minikv_pending_lock_on_ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_guard_on_ready(
    pending: *const minikv_pending_guard,
    callback: minikv_ready_fn,
    user: *mut c_void,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { call(err, || on_ready(&borrow(pending, "pending")?.0, callback, User(user))) }
}

/// # Safety
/// The callback is a function of its type.
pub unsafe fn on_ready<P: Pending>(
    held: &Held<P>,
    callback: minikv_ready_fn,
    user: User,
) -> Result<(), Failure> {
    let callback = callback.ok_or_else(|| null("callback"))?;
    // SAFETY: the user's function and pointer.
    Ok(held.on_ready(move || unsafe { callback(user.pointer()) })?)
}

/// Leaves the queue, or gives back a lock that was granted and not taken, and frees the request. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_lock_free(pending: *mut minikv_pending_lock) {
    // SAFETY: handed on from the caller.
    unsafe { free(pending) }
}

/// As minikv_pending_lock_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_guard_free(pending: *mut minikv_pending_guard) {
    // SAFETY: handed on from the caller.
    unsafe { free(pending) }
}
