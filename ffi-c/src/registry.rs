//! Registries: starting, stopping and what they tell about themselves.

use std::ffi::c_char;

use minikv::{Error, Options, Registry};

use crate::border::{Out, argument, borrow, call, free, milliseconds, nanoseconds};
use crate::bytes::{c_text, give_string};
use crate::error::{Failure, minikv_code, minikv_error};
use crate::options::minikv_options;

/// A handle to a running registry. When the last handle is freed, the registry stops.
///
/// A handle stays valid after minikv_registry_stop; every call then gives MINIKV_STOPPED.
pub struct minikv_registry(pub Registry);

impl From<Registry> for minikv_registry {
    fn from(registry: Registry) -> minikv_registry {
        minikv_registry(registry)
    }
}

/// Counts of one moment.
///
/// Later versions of the library may append fields: minikv_registry_stats is told the size that you know.
#[repr(C)]
pub struct minikv_stats {
    /// Entries in the table; those that have just expired may be among them.
    pub entries: u64,
    /// Bytes of memory for entries and their indexes, without what the allocator adds.
    pub bytes: u64,
    /// Entries that will expire.
    pub expiring: u64,
    /// Locks that are held.
    pub locks: u64,
    /// Callers that wait for a lock.
    pub waiters: u64,
    /// Open watches.
    pub watchers: u64,
    /// Events that slow watchers have lost since the start.
    pub lagged: u64,
    /// Entries that have expired since the start.
    pub expired: u64,
    /// How often a background worker was restarted.
    pub worker_restarts: u64,
    /// 1; 0 after too many restarts within a minute: reads and writes go on, expiry may be late.
    pub healthy: u64,
    /// Members of the cluster in touch, joining or live, this one included; a registry by itself has 1, and 0 in all that follows.
    pub members: u64,
    /// Changes sent to other members since the start.
    pub replicated_out: u64,
    /// Changes of other members applied here since the start.
    pub replicated_in: u64,
    /// Changes waiting to be sent.
    pub outbox: u64,
    /// Changes that found the outbox full; the others fetch them by comparing.
    pub outbox_overflows: u64,
    /// Comparisons with another member that moved something.
    pub repairs: u64,
    /// Deleted and expired entries that are kept in mind until all members know.
    pub tombstones: u64,
    /// Changes stamped too far in the future, kept aside until they are due.
    pub parked: u64,
    /// Messages, links and connections turned away: garbage, another cluster, another version, wrong certificates.
    pub refused: u64,
    /// Entries received in the first sync.
    pub sync_entries: u64,
    /// Entries that the first sync has in all.
    pub sync_total: u64,
    /// How far this clock is from the lower median of the live members', in milliseconds.
    pub clock_offset_ms: i64,
}

/// What `minikv_stats` held in the first version: no caller knows less.
const LEAST_STATS: usize = 80;

/// Starts a registry. Free `*registry` with minikv_registry_free.
///
/// In a cluster it waits a moment, at most half a second, for a first word of the peers, and up to two failure timeouts
/// for an earlier member of the same node name to vanish. It does not wait for the first sync: see minikv_wait_synced.
///
/// Errors: MINIKV_ALREADY_STARTED if one of this name runs in this process, MINIKV_INVALID_ARGUMENT; in a cluster also
/// MINIKV_CLUSTER if a live member has the same node name, MINIKV_IO if it cannot listen or read its certificates, and
/// MINIKV_FORKED in a fork of a process that has had a member.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_start(
    options: *const minikv_options,
    registry: *mut *mut minikv_registry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { begin(Registry::start, options, registry, err) }
}

/// Starts a registry as minikv_registry_start, but never waits for other members: for event loops, which go on with
/// minikv_sync_start. That a live member has the same node name shows there, as MINIKV_CLUSTER.
///
/// Errors: those of minikv_registry_start without MINIKV_CLUSTER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_start_now(
    options: *const minikv_options,
    registry: *mut *mut minikv_registry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { begin(Registry::start_now, options, registry, err) }
}

/// Starts a registry, or gives a handle to the running one of this name if its options agree.
///
/// Errors: MINIKV_ALREADY_STARTED, naming the options that differ; the others of minikv_registry_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_start_or_open(
    options: *const minikv_options,
    registry: *mut *mut minikv_registry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { begin(Registry::start_or_open, options, registry, err) }
}

/// # Safety
/// As [`borrow`] and [`Out`].
unsafe fn begin(
    start: fn(Options) -> Result<Registry, Error>,
    options: *const minikv_options,
    registry: *mut *mut minikv_registry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let options = unsafe { borrow(options, "options") }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(registry, "registry") }?;
        let options = options.0.settled()?;
        #[cfg(feature = "cluster")]
        if options.get_cluster().is_some() {
            minikv::count_refusals();
        }
        out.give(start(options)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Gives a further handle to the registry of this name that was started in this process, from any thread.
///
/// Error: MINIKV_NOT_FOUND.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_open(
    name: *const c_char,
    registry: *mut *mut minikv_registry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (name, out) = unsafe { (c_text(name, "name")?, Out::required(registry, "registry")?) };
        out.give(Registry::open(name)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Gives a further handle to the same registry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_clone(
    registry: *const minikv_registry,
    clone: *mut *mut minikv_registry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(clone, "clone")?) };
        out.give(registry.0.clone());
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Keeps the registry running until minikv_registry_stop, also when the last handle is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_keep_running(
    registry: *const minikv_registry,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        unsafe { borrow(registry, "registry") }?.0.keep_running();
        Ok(())
    };
    // SAFETY: NULL may be given.
    unsafe { call(std::ptr::null_mut(), body) }
}

/// Stops the registry for all handles; once more is fine. Waiting calls and all later ones get MINIKV_STOPPED.
///
/// A member of a cluster sends first what is still to be sent and says good-bye, which may take some seconds if the
/// others do not answer. So it may when the last handle is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_stop(registry: *const minikv_registry) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        unsafe { borrow(registry, "registry") }?.0.stop();
        Ok(())
    };
    // SAFETY: NULL may be given.
    unsafe { call(std::ptr::null_mut(), body) }
}

/// Frees a handle; the last one of a registry stops it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_free(registry: *mut minikv_registry) {
    // SAFETY: handed on from the caller.
    unsafe { free(registry) }
}

/// MINIKV_STOPPED or MINIKV_FORKED if the registry cannot be used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_check(
    registry: *const minikv_registry,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        Ok(unsafe { borrow(registry, "registry") }?.0.ensure_running()?)
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// A copy of the options that the registry was started with. Free `*options` with minikv_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_options(
    registry: *const minikv_registry,
    options: *mut *mut minikv_options,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(options, "options")?) };
        registry.0.ensure_running()?;
        out.give(registry.0.options().clone());
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Counts what the registry holds and does: `minikv_registry_stats(kv, &stats, sizeof stats, &err)`.
///
/// Of a `stats` that is larger than the library knows the rest becomes zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_stats(
    registry: *const minikv_registry,
    stats: *mut minikv_stats,
    size: usize,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let registry = unsafe { borrow(registry, "registry") }?;
        if stats.is_null() {
            return Err(crate::border::null("stats").into());
        }
        if !(LEAST_STATS..=isize::MAX as usize).contains(&size) {
            return Err(argument(format!("size is {size}; give sizeof(minikv_stats)")).into());
        }
        let found = registry.0.stats()?;
        let own = minikv_stats {
            entries: found.entries,
            bytes: found.bytes,
            expiring: found.expiring,
            locks: found.locks,
            waiters: found.waiters,
            watchers: found.watchers,
            lagged: found.lagged,
            expired: found.expired,
            worker_restarts: found.worker_restarts,
            healthy: found.healthy.into(),
            members: found.members,
            replicated_out: found.replicated_out,
            replicated_in: found.replicated_in,
            outbox: found.outbox,
            outbox_overflows: found.outbox_overflows,
            repairs: found.repairs,
            tombstones: found.tombstones,
            parked: found.parked,
            refused: found.refused,
            sync_entries: found.sync_entries,
            sync_total: found.sync_total,
            clock_offset_ms: found.clock_offset_ms,
        };
        let known = size.min(size_of::<minikv_stats>());
        let place = stats.cast::<u8>();
        // SAFETY: by the header's contract `size` bytes may be written there; the struct has no padding.
        unsafe {
            (&raw const own).cast::<u8>().copy_to_nonoverlapping(place, known);
            place.add(known).write_bytes(0, size - known);
        }
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Moves a manual clock on by so many milliseconds. Every expiry, lease end, renewal and elapsed wait on the
/// way is processed, in order of time, before it returns.
///
/// Error: MINIKV_INVALID_ARGUMENT on a system clock, or for a negative number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_advance_ms(
    registry: *const minikv_registry,
    ms: i64,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || -> Result<(), Failure> {
        // SAFETY: handed on from the caller.
        let registry = unsafe { borrow(registry, "registry") }?;
        registry.0.ensure_running()?;
        Ok(registry.0.advance(milliseconds("ms", ms)?)?)
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_registry_advance_ns(
    registry: *const minikv_registry,
    ns: i64,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || -> Result<(), Failure> {
        // SAFETY: handed on from the caller.
        let registry = unsafe { borrow(registry, "registry") }?;
        registry.0.ensure_running()?;
        Ok(registry.0.advance(nanoseconds("ns", ns)?)?)
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// A digest of all keys and values: equal contents have equal digests, in every process and language.
/// Owners, times, expiries and locks do not count. Free `*digest` with minikv_string_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_digest(
    registry: *const minikv_registry,
    digest: *mut *mut c_char,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(digest, "digest")?) };
        out.set(give_string(registry.0.digest()?));
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}
