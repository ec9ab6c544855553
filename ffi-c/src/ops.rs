//! Operations on one key.

use std::time::Duration;

use minikv::{Entry, Error, Registry, WriteOptions};

use crate::border::{Out, borrow, call, key as span, milliseconds, nanoseconds};
use crate::bytes::minikv_bytes;
use crate::call_options::{minikv_lock_options, minikv_write_options, with};
use crate::entry::minikv_entry;
use crate::error::{Failure, minikv_code, minikv_error};
use crate::registry::minikv_registry;
use crate::value::minikv_value;

/// The registry and the key of a call.
///
/// # Safety
/// `registry` is NULL or a live handle; the key is as the header says.
#[inline(always)]
unsafe fn target<'a>(
    registry: *const minikv_registry,
    key: minikv_bytes,
) -> Result<(&'a Registry, &'a [u8]), Error> {
    // SAFETY: handed on from the caller.
    let registry = &unsafe { borrow(registry, "registry") }?.0;
    // SAFETY: handed on from the caller.
    let key = unsafe { span(|| registry.ensure_running(), key, "key") }?;
    Ok((registry, key))
}

/// A write that gives an entry or nothing.
///
/// # Safety
/// Each pointer is NULL or as the header says.
unsafe fn write(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_write_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
    write: impl FnOnce(&Registry, &[u8], WriteOptions) -> Result<Option<Entry>, Error>,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, key) = unsafe { target(registry, key) }?;
        // SAFETY: handed on from the caller.
        let found = unsafe { with(options, |options| Ok(write(registry, key, options)?)) }?;
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(entry) }.give_any(found);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Reads an entry. `*entry` is NULL if the key is absent; otherwise free it with minikv_entry_free.
///
/// Error: MINIKV_INVALID_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_get(
    registry: *const minikv_registry,
    key: minikv_bytes,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, key) = unsafe { target(registry, key) }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(entry, "entry") }?;
        out.give_any(registry.get(key)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Reads the plain value; of an absent key a copy of `otherwise`, or NULL if that is NULL.
/// Free `*value` with minikv_value_free.
///
/// Errors: MINIKV_INVALID_KEY; MINIKV_INVALID_VALUE if `otherwise` is needed and not complete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_get_value(
    registry: *const minikv_registry,
    key: minikv_bytes,
    otherwise: *const minikv_value,
    value: *mut *mut minikv_value,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, key) = unsafe { target(registry, key) }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(value, "value") }?;
        // SAFETY: handed on from the caller.
        let found = match (registry.get(key)?, unsafe { otherwise.as_ref() }) {
            (Some(entry), _) => Some(entry.value()),
            (None, Some(otherwise)) => Some(minikv::Encoded::new(otherwise)?.try_into()?),
            (None, None) => None,
        };
        out.give_any(found);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Whether the key is present.
///
/// Error: MINIKV_INVALID_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_contains(
    registry: *const minikv_registry,
    key: minikv_bytes,
    present: *mut bool,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, key) = unsafe { target(registry, key) }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(present, "present") }?;
        out.set(registry.contains(key)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Removes an entry and ends its lock. `*entry` is the removed one, NULL if the key was absent; `entry` may be NULL.
///
/// Errors: MINIKV_INVALID_KEY, MINIKV_INVALID_ARGUMENT, MINIKV_STALE_FENCE, MINIKV_LOCKED, MINIKV_CONFLICT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_delete(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_write_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let delete = |registry: &Registry, key: &[u8], options| registry.delete_with(key, options);
    // SAFETY: handed on from the caller.
    unsafe { write(registry, key, options, entry, err, delete) }
}

/// Locks a present key. `*entry` is the locked entry, with the fence; NULL if the key is absent, and then
/// nothing is locked: so `entry` must not be NULL. With a wait, blocks this thread in the queue for the lock.
/// Again by the same holder: the same fence, and the later end of the lease.
///
/// In a cluster another member is asked, also without a wait: that takes a round trip, and up to two failure timeouts
/// longer than the wait if nobody answers, which is then MINIKV_CLUSTER. So it is for minikv_locked, and for a put with
/// a lock. Unlocking asks nobody.
///
/// Errors: MINIKV_INVALID_KEY, MINIKV_INVALID_ARGUMENT, MINIKV_STALE_FENCE, MINIKV_LOCKED, MINIKV_CONFLICT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_lock_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, key) = unsafe { target(registry, key) }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(entry, "entry") }?;
        // SAFETY: handed on from the caller.
        let found = unsafe { with(options, |options| Ok(registry.lock_with(key, options)?)) }?;
        out.give_any(found);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Unlocks a key. `*entry` is the entry, unchanged if it was not locked, NULL if the key is absent; `entry` may be NULL.
///
/// Errors: as minikv_delete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_unlock(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_write_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let unlock = |registry: &Registry, key: &[u8], options| registry.unlock_with(key, options);
    // SAFETY: handed on from the caller.
    unsafe { write(registry, key, options, entry, err, unlock) }
}

/// Clears the expiry. `*entry` is the entry, NULL if the key is absent; `entry` may be NULL.
///
/// Errors: as minikv_delete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_persist(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_write_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let persist = |registry: &Registry, key: &[u8], options| registry.persist_with(key, options);
    // SAFETY: handed on from the caller.
    unsafe { write(registry, key, options, entry, err, persist) }
}

/// Where a ttl is given as a number.
fn touch(
    ttl: i64,
    unit: fn(&str, i64) -> Result<Duration, Error>,
) -> impl FnOnce(&Registry, &[u8], WriteOptions) -> Result<Option<Entry>, Error> {
    move |registry, key, options| {
        registry.check_key(key)?;
        registry.touch_with(key, unit("ttl", ttl)?, options)
    }
}

/// Lets an entry expire so many milliseconds from now. `*entry` is the entry, NULL if the key is absent;
/// `entry` may be NULL.
///
/// Errors: as minikv_delete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_touch_ms(
    registry: *const minikv_registry,
    key: minikv_bytes,
    ttl_ms: i64,
    options: *const minikv_write_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { write(registry, key, options, entry, err, touch(ttl_ms, milliseconds)) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_touch_ns(
    registry: *const minikv_registry,
    key: minikv_bytes,
    ttl_ns: i64,
    options: *const minikv_write_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { write(registry, key, options, entry, err, touch(ttl_ns, nanoseconds)) }
}

/// Adds to an int; an absent key counts as 0 and gets the default_ttl, a present one keeps its expiry.
/// `*entry` is the entry; `entry` may be NULL.
///
/// Errors: as minikv_delete; MINIKV_INVALID_VALUE if it is not an int or would not fit; MINIKV_LIMIT.
/// In a cluster it is atomic on this member only; hold the lock to make it exclusive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_incr(
    registry: *const minikv_registry,
    key: minikv_bytes,
    by: i64,
    options: *const minikv_write_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let incr =
        |registry: &Registry, key: &[u8], options| registry.incr_with(key, by, options).map(Some);
    // SAFETY: handed on from the caller.
    unsafe { write(registry, key, options, entry, err, incr) }
}

/// For those who share the body of an operation on one key: its outcome, with nothing yet written.
///
/// # Safety
/// As [`target`].
#[inline(always)]
pub unsafe fn on_key<'a, R>(
    registry: *const minikv_registry,
    key: minikv_bytes,
    call: impl FnOnce(&'a Registry, &'a [u8]) -> Result<R, Failure>,
) -> Result<R, Failure> {
    // SAFETY: handed on from the caller.
    let (registry, key) = unsafe { target(registry, key) }?;
    call(registry, key)
}
