//! Operations that call back for a value.

use std::ffi::c_void;

use minikv::{Encoded, Entry, Error, Update};

use crate::border::{Out, User, argument, borrow, call, null};
use crate::bytes::minikv_bytes;
use crate::call_options::{minikv_put_options, minikv_write_options, with};
use crate::entry::minikv_entry;
use crate::error::{Failure, minikv_code, minikv_error};
use crate::guard::minikv_guard;
use crate::ops::on_key;
use crate::registry::minikv_registry;
use crate::value::minikv_value;

/// What an update callback wants; a negative number of your own makes the call fail with MINIKV_CALLBACK.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum minikv_update_result {
    /// Leave everything as it is.
    MINIKV_UPDATE_KEEP = 0,
    /// Store what was built in `value`.
    MINIKV_UPDATE_PUT = 1,
    /// Remove the entry.
    MINIKV_UPDATE_DELETE = 2,
}

// C may give any number: it is never taken for the enum itself.
const KEEP: i32 = minikv_update_result::MINIKV_UPDATE_KEEP as i32;
const PUT: i32 = minikv_update_result::MINIKV_UPDATE_PUT as i32;
const DELETE: i32 = minikv_update_result::MINIKV_UPDATE_DELETE as i32;

/// Makes a new value of the present entry (NULL: the key is absent): builds it in `value` and gives
/// MINIKV_UPDATE_PUT, or gives MINIKV_UPDATE_KEEP or MINIKV_UPDATE_DELETE, or a negative number to fail.
///
/// Called on the calling thread, with no lock held, and again if somebody wrote in between. Both handles are
/// borrowed and end with the call. It may call the library; it must not throw nor jump out.
pub type minikv_update_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        present: *const minikv_entry,
        value: *mut minikv_value,
    ) -> i32,
>;

/// Builds a missing value in `value` and gives 0, or a negative number to fail.
///
/// Called on the calling thread, with no lock held. `value` is borrowed and ends with the call.
/// It may call the library; it must not throw nor jump out.
pub type minikv_compute_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, value: *mut minikv_value) -> i32>;

/// The callback as the core calls it.
///
/// # Safety
/// The callback is a function of its type.
unsafe fn change(
    update: minikv_update_fn,
    user: User,
) -> Result<impl FnMut(Option<&Entry>) -> Result<Update, Failure>, Error> {
    let update = update.ok_or_else(|| null("update"))?;
    Ok(move |present: Option<&Entry>| {
        let present = present.map(|entry| minikv_entry::from(entry.clone()));
        let value = minikv_value::new();
        let present_or_null = present.as_ref().map_or(std::ptr::null(), |entry| &raw const *entry);
        // SAFETY: the user's function, with the pointer that the user gave and two handles that outlive the call;
        // what is changed in the value is guarded inside it.
        let result =
            unsafe { update(user.pointer(), present_or_null, (&raw const value).cast_mut()) };
        match result {
            KEEP => Ok(Update::Keep),
            PUT => Ok(Update::Put(Encoded::new(&value)?)),
            DELETE => Ok(Update::Delete),
            status if status < 0 => Err(Failure::Callback(status)),
            other => Err(argument(format!(
                "the callback gave {other}; it must give a minikv_update_result or a negative number"
            ))
            .into()),
        }
    })
}

/// Replaces a value by what `update` makes of it. A present entry keeps its expiry, a new one gets the
/// default_ttl. `*entry` is the entry afterwards, the removed one after MINIKV_UPDATE_DELETE, or NULL; `entry` may be NULL.
///
/// Errors: MINIKV_CALLBACK, with nothing changed; those of minikv_put_value. Who has not the lock is refused
/// before the callback is called. In a cluster it is atomic on this member only; hold the lock to make it exclusive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_update(
    registry: *const minikv_registry,
    key: minikv_bytes,
    update: minikv_update_fn,
    user: *mut c_void,
    options: *const minikv_write_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let found = unsafe {
            on_key(registry, key, |registry, key| {
                registry.check_key(key)?;
                let change = change(update, User(user))?;
                with(options, |options| registry.update_with(key, change, options))
            })
        }?;
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(entry) }.give_any(found);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// As minikv_update, through a guard.
///
/// Errors: MINIKV_LOCK_LOST; otherwise those of minikv_update.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_guard_update(
    guard: *const minikv_guard,
    update: minikv_update_fn,
    user: *mut c_void,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (guard, change) = unsafe { (borrow(guard, "guard")?, change(update, User(user))?) };
        let found = guard.0.update(change)?;
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(entry) }.give_any(found);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Gives the entry of a key; an absent one is computed by one caller, for whom the others in this process
/// wait, and stored with the options. `*entry` is the entry; `entry` may be NULL.
///
/// Errors: MINIKV_CALLBACK, with nothing stored, and the next who waits computes; those of minikv_put_value.
/// In a cluster one caller of each member may compute; hold the lock to make it exclusive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_get_or_put(
    registry: *const minikv_registry,
    key: minikv_bytes,
    compute: minikv_compute_fn,
    user: *mut c_void,
    options: *const minikv_put_options,
    entry: *mut *mut minikv_entry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let user = User(user);
    let body = || {
        let computed = |registry: &minikv::Registry, key: &[u8]| {
            registry.check_key(key)?;
            let compute = compute.ok_or_else(|| null("compute"))?;
            let value = || {
                let value = minikv_value::new();
                // SAFETY: the user's function, with the user's pointer and a handle that outlives the call;
                // what is changed in the value is guarded inside it.
                match unsafe { compute(user.pointer(), (&raw const value).cast_mut()) } {
                    0 => Ok(Encoded::new(&value)?),
                    status if status < 0 => Err(Failure::Callback(status)),
                    other => Err(argument(format!(
                        "the callback gave {other}; it must give 0 or a negative number"
                    ))
                    .into()),
                }
            };
            // SAFETY: handed on from the caller.
            unsafe { with(options, |options| registry.get_or_put(key, value, options)) }
        };
        // SAFETY: handed on from the caller.
        let found = unsafe { on_key(registry, key, computed) }?;
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(entry) }.give(found);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}
