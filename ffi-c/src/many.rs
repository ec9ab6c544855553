//! Operations on many keys at once.

use minikv::{Error, Registry};

use crate::border::{Out, array, borrow, call, key as span};
use crate::bytes::minikv_bytes;
use crate::call_options::{minikv_put_options, minikv_write_options, with};
use crate::error::{minikv_code, minikv_error};
use crate::listing::minikv_page;
use crate::registry::minikv_registry;
use crate::value::{Given, minikv_value};

/// The keys of an array; a bad span is an `invalid_key`, as a bad key is.
///
/// # Safety
/// `keys` is NULL or points to `count` spans, each as the header says.
unsafe fn all_keys<'a>(
    registry: &Registry,
    keys: *const minikv_bytes,
    count: usize,
) -> Result<Vec<&'a [u8]>, Error> {
    // Even where nothing is asked: `stopped` comes first.
    registry.ensure_running()?;
    // SAFETY: handed on from the caller.
    let keys: &[minikv_bytes] = unsafe { array(keys, count, "keys") }?;
    // SAFETY: handed on from the caller.
    keys.iter().map(|key| unsafe { span(|| Ok(()), *key, "key") }).collect()
}

/// Reads many entries. The page has one item for each key, in the order asked; an absent one has no entry.
/// `keys` may be NULL if `count` is 0. Free `*page` with minikv_page_free.
///
/// Error: MINIKV_INVALID_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_get_many(
    registry: *const minikv_registry,
    keys: *const minikv_bytes,
    count: usize,
    page: *mut *mut minikv_page,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (&borrow(registry, "registry")?.0, Out::required(page, "page")?) };
        // SAFETY: handed on from the caller.
        let keys = unsafe { all_keys(registry, keys, count) }?;
        out.give(registry.get_many(keys)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Stores copies of many values under as many keys, all or none on this member; of a key given twice the last
/// value counts. The page has one entry for each key, in the order given; `page` may be NULL.
///
/// Errors: those of minikv_put_value; MINIKV_INVALID_ARGUMENT also for a lock in a cluster, where each is asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_many(
    registry: *const minikv_registry,
    keys: *const minikv_bytes,
    values: *const *const minikv_value,
    count: usize,
    options: *const minikv_put_options,
    page: *mut *mut minikv_page,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        // SAFETY: handed on from the caller.
        let keys = unsafe { all_keys(registry, keys, count) }?;
        // SAFETY: handed on from the caller.
        let values = unsafe { array(values, count, "values") }?;
        let items = keys.iter().zip(values).map(|(key, value)| {
            // SAFETY: handed on from the caller.
            (*key, Given::Value(unsafe { value.as_ref() }))
        });
        // SAFETY: handed on from the caller.
        let entries = unsafe { with(options, |options| Ok(registry.put_many(items, options)?)) }?;
        let entries: Vec<_> = entries.into_iter().map(Some).collect();
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(page) }.give(entries);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Removes many entries, all or none on this member; of a key given twice the second is absent. The page has
/// one item for each key, in the order given: the removed entry, or none; `page` may be NULL.
///
/// Errors: those of minikv_delete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_delete_many(
    registry: *const minikv_registry,
    keys: *const minikv_bytes,
    count: usize,
    options: *const minikv_write_options,
    page: *mut *mut minikv_page,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        // SAFETY: handed on from the caller.
        let keys = unsafe { all_keys(registry, keys, count) }?;
        // SAFETY: handed on from the caller.
        let entries = unsafe { with(options, |options| Ok(registry.delete_many(keys, options)?)) }?;
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(page) }.give(entries);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}
