//! The scoped form of a lock.

use std::ffi::c_void;

use minikv::{Entry, LockGuard};

use crate::border::{
    Out, User, borrow, call, free, key as span, milliseconds, nanoseconds, null, quietly,
};
use crate::bytes::minikv_bytes;
use crate::call_options::{minikv_lock_options, with};
use crate::entry::minikv_entry;
use crate::error::{Failure, minikv_code, minikv_error};
use crate::registry::minikv_registry;

/// A held lock. Its functions act as its holder, with its fence; freeing it releases the lock.
///
/// A lease that was given is renewed by itself. If the lock is lost all the same, minikv_guard_is_lost tells, and
/// every function fails with MINIKV_LOCK_LOST. It may be used and freed on any thread.
pub struct minikv_guard(pub LockGuard);

impl From<LockGuard> for minikv_guard {
    fn from(guard: LockGuard) -> minikv_guard {
        minikv_guard(guard)
    }
}

/// Told once that a guard's lock was lost, on whichever thread caused the loss, with no lock held. It must be
/// quick; it may call the library; it must not throw.
pub type minikv_lost_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// Locks a key and gives a guard that releases it. Without an owner in the options it excludes everyone else, other
/// threads of this process included. With a wait, blocks this thread in the queue for the lock.
/// Free `*guard` with minikv_guard_free.
///
/// Errors: those of minikv_lock; MINIKV_NOT_FOUND if the key is absent and `create` is not set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_locked(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_lock_options,
    guard: *mut *mut minikv_guard,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        // SAFETY: handed on from the caller.
        let key = unsafe { span(|| registry.ensure_running(), key, "key") }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(guard, "guard") }?;
        // SAFETY: handed on from the caller.
        out.give(unsafe { with(options, |options| Ok(registry.locked(key, options)?)) }?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Releases the lock, if it is held, and frees the guard. NULL is fine. To learn whether the lock was lost, call
/// minikv_guard_release first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_free(guard: *mut minikv_guard) {
    // SAFETY: handed on from the caller.
    unsafe { free(guard) }
}

macro_rules! ask {
    ($guard:ident, $otherwise:expr, $body:expr) => {
        quietly($otherwise, || {
            // SAFETY: by the header's contract it is NULL or a live guard.
            match unsafe { $guard.as_ref() } {
                Some(guard) => $body(&guard.0),
                None => $otherwise,
            }
        })
    };
}

/// The key that is locked. Borrowed: lives as long as the guard.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_key(guard: *const minikv_guard) -> minikv_bytes {
    ask!(guard, minikv_bytes::NONE, |guard: &LockGuard| minikv_bytes::of(guard.key_bytes()))
}

/// The holder's label: the one given, or one that no other guard has. Borrowed: lives as long as the guard.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_owner(guard: *const minikv_guard) -> minikv_bytes {
    ask!(guard, minikv_bytes::NONE, |guard: &LockGuard| {
        minikv_bytes::of(guard.owner().as_bytes())
    })
}

/// The fence of this lock: larger than that of every lock of this key before it. 0 of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_fence(guard: *const minikv_guard) -> u64 {
    ask!(guard, 0, LockGuard::fence)
}

/// Whether the lock ended before it was released. False of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_is_lost(guard: *const minikv_guard) -> bool {
    ask!(guard, false, LockGuard::is_lost)
}

/// Calls back once if the lock is lost, at once if it is already; not after a release. Each call adds a callback.
///
/// Error: MINIKV_STOPPED, MINIKV_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_on_lost(
    guard: *const minikv_guard,
    callback: minikv_lost_fn,
    user: *mut c_void,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let user = User(user);
    let body = || {
        // SAFETY: handed on from the caller.
        let guard = unsafe { borrow(guard, "guard") }?;
        let callback = callback.ok_or_else(|| null("callback"))?;
        // A lost lock is what the callback is for; that the registry cannot be used is not.
        if !guard.0.is_lost() {
            match guard.0.check() {
                Err(error) if error.kind() != minikv::ErrorKind::LockLost => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        // SAFETY: the user's function and pointer.
        guard.0.on_lost(move || unsafe { callback(user.pointer()) });
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// MINIKV_LOCK_LOST if the lock is not held any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_check(
    guard: *const minikv_guard,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        Ok(unsafe { borrow(guard, "guard") }?.0.check()?)
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Releases the lock; once more is fine. The guard stays to be freed.
///
/// Error: MINIKV_LOCK_LOST if the lock ended before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_release(
    guard: *const minikv_guard,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        Ok(unsafe { borrow(guard, "guard") }?.0.release()?)
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// A call that gives an entry or nothing.
///
/// # Safety
/// Each pointer is NULL or as the header says.
unsafe fn act(
    guard: *const minikv_guard,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
    act: impl FnOnce(&LockGuard) -> Result<Option<Entry>, Failure>,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let found = act(&unsafe { borrow(guard, "guard") }?.0)?;
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(entry) }.give_any(found);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Reads the entry. `*entry` is NULL if the key is absent; otherwise free it with minikv_entry_free.
///
/// Error: MINIKV_LOCK_LOST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_get(
    guard: *const minikv_guard,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let get = |guard: &LockGuard| {
        if entry.is_null() {
            return Err(null("entry").into());
        }
        Ok(guard.get()?)
    };
    // SAFETY: handed on from the caller.
    unsafe { act(guard, entry, err, get) }
}

/// Removes the entry, and with it the lock: there is nothing left to release. `*entry` is the removed one;
/// `entry` may be NULL.
///
/// Error: MINIKV_LOCK_LOST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_delete(
    guard: *const minikv_guard,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { act(guard, entry, err, |guard: &LockGuard| Ok(guard.delete()?)) }
}

/// Adds to an int, as minikv_incr. `*entry` is the entry; `entry` may be NULL.
///
/// Errors: MINIKV_LOCK_LOST, MINIKV_INVALID_VALUE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_incr(
    guard: *const minikv_guard,
    by: i64,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { act(guard, entry, err, |guard: &LockGuard| Ok(Some(guard.incr(by)?))) }
}

/// Lets the entry expire so many milliseconds from now. `*entry` is the entry; `entry` may be NULL.
///
/// Errors: MINIKV_LOCK_LOST, MINIKV_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_touch_ms(
    guard: *const minikv_guard,
    ttl_ms: i64,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let touch = |guard: &LockGuard| Ok(guard.touch(milliseconds("ttl", ttl_ms)?)?);
    // SAFETY: handed on from the caller.
    unsafe { act(guard, entry, err, touch) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_touch_ns(
    guard: *const minikv_guard,
    ttl_ns: i64,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let touch = |guard: &LockGuard| Ok(guard.touch(nanoseconds("ttl", ttl_ns)?)?);
    // SAFETY: handed on from the caller.
    unsafe { act(guard, entry, err, touch) }
}

/// Clears the expiry. `*entry` is the entry; `entry` may be NULL.
///
/// Error: MINIKV_LOCK_LOST.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_persist(
    guard: *const minikv_guard,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { act(guard, entry, err, |guard: &LockGuard| Ok(guard.persist()?)) }
}
