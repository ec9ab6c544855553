//! Waiting for the first sync of a member with its cluster.

use std::ffi::c_void;

use minikv::PendingSync;

use crate::border::{FOREVER, Out, User, borrow, call, free, milliseconds};
use crate::error::{minikv_code, minikv_error};
use crate::pending::{Held, minikv_ready_fn, on_ready};
use crate::registry::minikv_registry;

/// A wait for the first sync. Freeing it ends the wait and nothing else.
pub struct minikv_pending_sync(Held<PendingSync>);

impl From<PendingSync> for minikv_pending_sync {
    fn from(pending: PendingSync) -> minikv_pending_sync {
        minikv_pending_sync(Held::new(pending))
    }
}

/// Whether the first sync with the cluster is done, so that reads see what the others had; a registry by itself is
/// always ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_ready(
    registry: *const minikv_registry,
    ready: *mut bool,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(ready, "ready")?) };
        out.set(registry.0.ready()?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Waits until the first sync with the cluster is done, at most so many milliseconds of real time, or
/// MINIKV_FOREVER; a registry by itself has nothing to wait for.
///
/// Errors: MINIKV_TIMEOUT, whose message tells how far it is; MINIKV_CLUSTER if the registry could not join, as a live
/// member has the same node name; MINIKV_STOPPED if it is stopped meanwhile; MINIKV_INVALID_ARGUMENT for a negative
/// number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_wait_synced(
    registry: *const minikv_registry,
    timeout_ms: i64,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        registry.ensure_running()?;
        match timeout_ms {
            FOREVER => registry.sync_start()?.block()?,
            ms => registry.wait_synced(milliseconds("timeout_ms", ms)?)?,
        }
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// As minikv_wait_synced, but never waits: `*pending` may still be waiting. Free it with minikv_pending_sync_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_sync_start(
    registry: *const minikv_registry,
    pending: *mut *mut minikv_pending_sync,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(pending, "pending")?) };
        out.give(registry.0.sync_start()?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Waits at most so many milliseconds of real time (0: not at all; MINIKV_FOREVER) for the first sync. What comes of
/// it is given once.
///
/// Errors: MINIKV_TIMEOUT if it is not done yet; the others of minikv_wait_synced; MINIKV_INVALID_ARGUMENT also if the
/// result was taken before, or another thread is waiting for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_sync_wait(
    pending: *const minikv_pending_sync,
    timeout_ms: i64,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        Ok(unsafe { borrow(pending, "pending") }?.0.wait(timeout_ms)?)
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Calls back when the first sync is done or has failed, at once if it is; replaces an earlier callback.
///
/// Error: MINIKV_INVALID_ARGUMENT if the result was taken, or a thread is waiting for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_sync_on_ready(
    pending: *const minikv_pending_sync,
    callback: minikv_ready_fn,
    user: *mut c_void,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { call(err, || on_ready(&borrow(pending, "pending")?.0, callback, User(user))) }
}

/// Ends the wait and frees it; the sync goes on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_pending_sync_free(pending: *mut minikv_pending_sync) {
    // SAFETY: handed on from the caller.
    unsafe { free(pending) }
}
