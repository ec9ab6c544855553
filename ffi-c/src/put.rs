//! Storing values of each type, through a registry or a guard.

use minikv::{Entry, PutOptions};

use crate::border::{Out, borrow, call, key as span};
use crate::bytes::minikv_bytes;
use crate::call_options::{minikv_put_options, with};
use crate::entry::minikv_entry;
use crate::error::{Failure, minikv_code, minikv_error};
use crate::guard::minikv_guard;
use crate::registry::minikv_registry;
use crate::value::{Given, minikv_value};

/// Where the result and the options of a put are.
struct Place {
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
}

impl Place {
    /// # Safety
    /// Each pointer is NULL or as the header says.
    unsafe fn run(self, put: impl FnOnce(PutOptions) -> Result<Entry, Failure>) -> minikv_code {
        let body = || {
            // SAFETY: handed on from the caller.
            let stored = unsafe { with(self.options, put) }?;
            // SAFETY: handed on from the caller.
            unsafe { Out::optional(self.entry) }.give(stored);
            Ok(())
        };
        // SAFETY: handed on from the caller.
        unsafe { call(self.err, body) }
    }
}

/// # Safety
/// Each pointer is NULL or as the header says.
unsafe fn put(
    registry: *const minikv_registry,
    key: minikv_bytes,
    value: Given<'_>,
    place: Place,
) -> minikv_code {
    let put = |options| {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        // SAFETY: handed on from the caller.
        let key = unsafe { span(|| registry.ensure_running(), key, "key") }?;
        Ok(registry.put_with(key, value, options)?)
    };
    // SAFETY: handed on from the caller.
    unsafe { place.run(put) }
}

/// # Safety
/// Each pointer is NULL or as the header says.
unsafe fn guard_put(guard: *const minikv_guard, value: Given<'_>, place: Place) -> minikv_code {
    let put = |options| {
        // SAFETY: handed on from the caller.
        Ok(unsafe { borrow(guard, "guard") }?.0.put_with(value, options)?)
    };
    // SAFETY: handed on from the caller.
    unsafe { place.run(put) }
}

/// Stores nil.
///
/// `options` NULL: none. `entry` NULL: not wanted; otherwise free `*entry` with minikv_entry_free.
/// A held lock stays held. Errors: MINIKV_INVALID_KEY, MINIKV_INVALID_ARGUMENT, MINIKV_STALE_FENCE,
/// MINIKV_LOCKED, MINIKV_CONFLICT, MINIKV_LIMIT. In a cluster conditions are checked on this member only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_nil(
    registry: *const minikv_registry,
    key: minikv_bytes,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { put(registry, key, Given::Nil, Place { options, entry, err }) }
}

/// Stores a bool.
/// Otherwise as minikv_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_bool(
    registry: *const minikv_registry,
    key: minikv_bytes,
    value: bool,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { put(registry, key, Given::Bool(value), Place { options, entry, err }) }
}

/// Stores an int.
/// Otherwise as minikv_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_int(
    registry: *const minikv_registry,
    key: minikv_bytes,
    value: i64,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { put(registry, key, Given::Int(value), Place { options, entry, err }) }
}

/// Stores a float; every NaN as the same one.
/// Otherwise as minikv_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_float(
    registry: *const minikv_registry,
    key: minikv_bytes,
    value: f64,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { put(registry, key, Given::Float(value), Place { options, entry, err }) }
}

/// Stores text, which must be UTF-8 (MINIKV_INVALID_VALUE).
/// Otherwise as minikv_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_text(
    registry: *const minikv_registry,
    key: minikv_bytes,
    value: minikv_bytes,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { put(registry, key, Given::Text(value.slice()), Place { options, entry, err }) }
}

/// Stores bytes.
/// Otherwise as minikv_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_bytes(
    registry: *const minikv_registry,
    key: minikv_bytes,
    value: minikv_bytes,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { put(registry, key, Given::Bytes(value.slice()), Place { options, entry, err }) }
}

/// Stores what a JSON text says.
///
/// Whole numbers are ints (outside signed 64 bit: MINIKV_INVALID_VALUE), those with a point or an exponent
/// floats. Malformed JSON is MINIKV_INVALID_VALUE.
/// Otherwise as minikv_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_json(
    registry: *const minikv_registry,
    key: minikv_bytes,
    value: minikv_bytes,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { put(registry, key, Given::Json(value.slice()), Place { options, entry, err }) }
}

/// Stores a copy of a value that you built or read.
/// Otherwise as minikv_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_value(
    registry: *const minikv_registry,
    key: minikv_bytes,
    value: *const minikv_value,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { put(registry, key, Given::Value(value.as_ref()), Place { options, entry, err }) }
}

/// Stores nil through a guard, with the guard's owner and fence.
///
/// Of the options (NULL: none) ttl, persist, keep_ttl, if_absent and if_version count. `entry` NULL: not
/// wanted; otherwise free `*entry` with minikv_entry_free. Errors: MINIKV_LOCK_LOST and those of minikv_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_put_nil(
    guard: *const minikv_guard,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { guard_put(guard, Given::Nil, Place { options, entry, err }) }
}

/// Stores a bool through a guard, with the guard's owner and fence.
/// Otherwise as minikv_guard_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_put_bool(
    guard: *const minikv_guard,
    value: bool,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { guard_put(guard, Given::Bool(value), Place { options, entry, err }) }
}

/// Stores an int through a guard, with the guard's owner and fence.
/// Otherwise as minikv_guard_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_put_int(
    guard: *const minikv_guard,
    value: i64,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { guard_put(guard, Given::Int(value), Place { options, entry, err }) }
}

/// Stores a float; every NaN as the same one through a guard, with the guard's owner and fence.
/// Otherwise as minikv_guard_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_put_float(
    guard: *const minikv_guard,
    value: f64,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { guard_put(guard, Given::Float(value), Place { options, entry, err }) }
}

/// Stores text, which must be UTF-8 (MINIKV_INVALID_VALUE) through a guard, with the guard's owner and fence.
/// Otherwise as minikv_guard_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_put_text(
    guard: *const minikv_guard,
    value: minikv_bytes,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { guard_put(guard, Given::Text(value.slice()), Place { options, entry, err }) }
}

/// Stores bytes through a guard, with the guard's owner and fence.
/// Otherwise as minikv_guard_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_put_bytes(
    guard: *const minikv_guard,
    value: minikv_bytes,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { guard_put(guard, Given::Bytes(value.slice()), Place { options, entry, err }) }
}

/// Stores what a JSON text says through a guard, with the guard's owner and fence.
/// Otherwise as minikv_guard_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_put_json(
    guard: *const minikv_guard,
    value: minikv_bytes,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { guard_put(guard, Given::Json(value.slice()), Place { options, entry, err }) }
}

/// Stores a copy of a value that you built or read through a guard, with the guard's owner and fence.
/// Otherwise as minikv_guard_put_nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_put_value(
    guard: *const minikv_guard,
    value: *const minikv_value,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { guard_put(guard, Given::Value(value.as_ref()), Place { options, entry, err }) }
}
