//! The options of single calls.

use std::ffi::c_char;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use minikv::{
    Error, ErrorKind, ListOptions, LockOptions, MAX_OWNER_BYTES, PutOptions, WatchOptions,
    WriteOptions,
};

use crate::border::{Handle, borrow, call, free, give, milliseconds, nanoseconds, quietly, wait};
use crate::bytes::{c_text, minikv_bytes};
use crate::error::{Failure, minikv_code};
use crate::value::{Given, minikv_value};

/// Options under construction, and the first thing that was wrong with what was set.
pub struct Setting<T>(Mutex<State<T>>);

#[derive(Clone)]
struct State<T> {
    options: T,
    problem: Option<Error>,
}

/// Options that can be made such that the core refuses them.
pub trait CallOptions: Clone {
    /// Makes them an `invalid_argument`, whatever they were.
    fn refused(self) -> Self;
}

impl<T: CallOptions> Setting<T> {
    pub fn new(options: T) -> Setting<T> {
        Setting(Mutex::new(State { options, problem: None }))
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn copy(&self) -> Setting<T> {
        Setting(Mutex::new(self.state().clone()))
    }

    /// Changes the options. An error is also kept for the call that uses them: an `invalid_value`
    /// rather than another, as that is what the call would find first.
    pub fn set(&self, change: impl FnOnce(T) -> Result<T, Error>) -> Option<Error> {
        let mut state = self.state();
        match change(state.options.clone()) {
            Ok(options) => {
                state.options = options;
                None
            }
            Err(problem) => {
                let is_value = |error: &Error| error.kind() == ErrorKind::InvalidValue;
                if state.problem.as_ref().is_none_or(|kept| is_value(&problem) && !is_value(kept)) {
                    state.problem = Some(problem.clone());
                }
                Some(problem)
            }
        }
    }

    /// The options, or what was wrong with them.
    pub fn settled(&self) -> Result<T, Error> {
        let State { options, problem } = self.state().clone();
        problem.map_or(Ok(options), Err)
    }

    /// The body of a setter.
    ///
    /// # Safety
    /// As [`borrow`].
    pub unsafe fn change<H>(
        handle: *mut H,
        change: impl FnOnce(T) -> Result<T, Error>,
    ) -> minikv_code
    where
        H: Handle + AsRef<Setting<T>>,
    {
        let body = || {
            // SAFETY: handed on from the caller.
            let setting = unsafe { borrow(handle.cast_const(), "options") }?.as_ref();
            setting.set(change).map_or(Ok(()), |problem| Err(problem.into()))
        };
        // SAFETY: NULL may be given.
        unsafe { call(std::ptr::null_mut(), body) }
    }

    /// Calls the core with these options. If something was wrong with them, it comes out where the core
    /// would have found it: what the core checks before its options, it still says first.
    pub fn apply<R>(&self, call: impl FnOnce(T) -> Result<R, Failure>) -> Result<R, Failure> {
        let State { options, problem } = self.state().clone();
        let Some(problem) = problem else { return call(options) };
        match call(options.refused()) {
            Err(Failure::Registry(error)) if error.kind() != ErrorKind::InvalidArgument => {
                Err(error.into())
            }
            _ => Err(problem.into()),
        }
    }
}

/// Calls the core with options that C gave; NULL: the defaults.
///
/// # Safety
/// `handle` is NULL or a live handle.
pub unsafe fn with<H, T, R>(
    handle: *const H,
    call: impl FnOnce(T) -> Result<R, Failure>,
) -> Result<R, Failure>
where
    H: AsRef<Setting<T>>,
    T: CallOptions + Default,
{
    // SAFETY: handed on from the caller.
    match unsafe { handle.as_ref() } {
        Some(options) => options.as_ref().apply(call),
        None => call(T::default()),
    }
}

/// A label that is longer than any may be.
fn long_label() -> String {
    "x".repeat(MAX_OWNER_BYTES + 1)
}

impl CallOptions for WriteOptions {
    fn refused(self) -> WriteOptions {
        self.owner(long_label())
    }
}

impl CallOptions for PutOptions {
    fn refused(self) -> PutOptions {
        self.owner(long_label()).ttl(Duration::MAX)
    }
}

impl CallOptions for LockOptions {
    fn refused(self) -> LockOptions {
        self.owner(long_label())
    }
}

impl CallOptions for ListOptions {
    fn refused(self) -> ListOptions {
        self.limit(0)
    }
}

impl CallOptions for WatchOptions {
    fn refused(self) -> WatchOptions {
        self.capacity(0)
    }
}

/// Who asks, and what must hold: options of every write. NULL in their place: none.
///
/// The setters of all options remember their first error, and the call that uses the options gives it:
/// their codes need not be looked at. Options may be used for any number of calls.
/// In a cluster conditions are checked on this member only; hold the lock to make them exclusive.
pub struct minikv_write_options(Setting<WriteOptions>);

/// Options of a put. NULL in their place: none.
pub struct minikv_put_options(Setting<PutOptions>);

/// Options of a lock and of a guard. NULL in their place: none.
pub struct minikv_lock_options(Setting<LockOptions>);

/// Options of a listing. NULL in their place: everything at once.
pub struct minikv_list_options(Setting<ListOptions>);

/// Options of a watch. NULL in their place: every key, no present entries first, a queue of 4096 events.
pub struct minikv_watch_options(Setting<WatchOptions>);

macro_rules! settings {
    ($($handle:ident: $options:ty;)+) => {$(
        impl AsRef<Setting<$options>> for $handle {
            fn as_ref(&self) -> &Setting<$options> {
                &self.0
            }
        }

        impl $handle {
            fn hand_out() -> *mut $handle {
                quietly(std::ptr::null_mut(), || give($handle(Setting::new(Default::default()))))
            }
        }
    )+};
}

settings! {
    minikv_write_options: WriteOptions;
    minikv_put_options: PutOptions;
    minikv_lock_options: LockOptions;
    minikv_list_options: ListOptions;
    minikv_watch_options: WatchOptions;
}

/// No options. Free them with minikv_write_options_free.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_write_options_new() -> *mut minikv_write_options {
    minikv_write_options::hand_out()
}

/// Frees options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_write_options_free(options: *mut minikv_write_options) {
    // SAFETY: handed on from the caller.
    unsafe { free(options) }
}

/// Acts as the holder with this label: UTF-8, at most 1024 bytes, copied. Default: no label, which is not the empty one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_write_options_set_owner(
    options: *mut minikv_write_options,
    owner: minikv_bytes,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.owner(owner.text("owner")?))) }
}

/// Only if this is the key's last fence and was not released; otherwise MINIKV_STALE_FENCE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_write_options_set_fence(
    options: *mut minikv_write_options,
    fence: u64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.fence(fence))) }
}

/// Only if the entry is present with this version; otherwise MINIKV_CONFLICT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_write_options_set_if_version(
    options: *mut minikv_write_options,
    version: *const c_char,
) -> minikv_code {
    let change = |options: WriteOptions| {
        // SAFETY: handed on from the caller.
        Ok(options.if_version(unsafe { c_text(version, "if_version") }?.parse()?))
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// No options. Free them with minikv_put_options_free.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_put_options_new() -> *mut minikv_put_options {
    minikv_put_options::hand_out()
}

/// Frees options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_free(options: *mut minikv_put_options) {
    // SAFETY: handed on from the caller.
    unsafe { free(options) }
}

/// As minikv_write_options_set_owner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_owner(
    options: *mut minikv_put_options,
    owner: minikv_bytes,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.owner(owner.text("owner")?))) }
}

/// As minikv_write_options_set_fence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_fence(
    options: *mut minikv_put_options,
    fence: u64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.fence(fence))) }
}

/// As minikv_write_options_set_if_version.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_if_version(
    options: *mut minikv_put_options,
    version: *const c_char,
) -> minikv_code {
    let change = |options: PutOptions| {
        // SAFETY: handed on from the caller.
        Ok(options.if_version(unsafe { c_text(version, "if_version") }?.parse()?))
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// Expires after so many milliseconds; 0: at once. Default: the registry's default_ttl.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_ttl_ms(
    options: *mut minikv_put_options,
    ms: i64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.ttl(milliseconds("ttl", ms)?))) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_ttl_ns(
    options: *mut minikv_put_options,
    ns: i64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.ttl(nanoseconds("ttl", ns)?))) }
}

/// Never expires, whatever ttl, keep_ttl and default_ttl say. Default false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_persist(
    options: *mut minikv_put_options,
    persist: bool,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.persist(persist))) }
}

/// Expires when the present entry does; on an absent key as by default. Contradicts a ttl. Default false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_keep_ttl(
    options: *mut minikv_put_options,
    keep_ttl: bool,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.keep_ttl(keep_ttl))) }
}

/// Only if the key is absent; otherwise MINIKV_CONFLICT. Default false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_if_absent(
    options: *mut minikv_put_options,
    if_absent: bool,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.if_absent(if_absent))) }
}

/// Takes the lock in the same step; never waits. Default false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_lock(
    options: *mut minikv_put_options,
    lock: bool,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.lock(lock))) }
}

/// The lease of the lock that `lock` takes, in milliseconds, at most 10 minutes. Default: the registry's lock_lease.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_lease_ms(
    options: *mut minikv_put_options,
    ms: i64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.lease(milliseconds("lease", ms)?))) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_put_options_set_lease_ns(
    options: *mut minikv_put_options,
    ns: i64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.lease(nanoseconds("lease", ns)?))) }
}

/// No options. Free them with minikv_lock_options_free.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_lock_options_new() -> *mut minikv_lock_options {
    minikv_lock_options::hand_out()
}

/// Frees options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_free(options: *mut minikv_lock_options) {
    // SAFETY: handed on from the caller.
    unsafe { free(options) }
}

/// As minikv_write_options_set_owner. A guard without a label takes one that no other guard has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_owner(
    options: *mut minikv_lock_options,
    owner: minikv_bytes,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.owner(owner.text("owner")?))) }
}

/// As minikv_write_options_set_fence.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_fence(
    options: *mut minikv_lock_options,
    fence: u64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.fence(fence))) }
}

/// As minikv_write_options_set_if_version.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_if_version(
    options: *mut minikv_lock_options,
    version: *const c_char,
) -> minikv_code {
    let change = |options: LockOptions| {
        // SAFETY: handed on from the caller.
        Ok(options.if_version(unsafe { c_text(version, "if_version") }?.parse()?))
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// Waits for the lock at most so many milliseconds, in order of arrival; MINIKV_FOREVER: as long as it takes. Default 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_wait_ms(
    options: *mut minikv_lock_options,
    ms: i64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.wait(wait("wait", ms, milliseconds)?))) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_wait_ns(
    options: *mut minikv_lock_options,
    ns: i64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.wait(wait("wait", ns, nanoseconds)?))) }
}

/// The lock ends by itself after so many milliseconds, at most 10 minutes; a guard renews it.
/// Default: the registry's lock_lease.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_lease_ms(
    options: *mut minikv_lock_options,
    ms: i64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.lease(milliseconds("lease", ms)?))) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_lease_ns(
    options: *mut minikv_lock_options,
    ns: i64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.lease(nanoseconds("lease", ns)?))) }
}

/// Of a guard: on an absent key stores nil and locks it in one step; the release deletes it if nobody put a
/// value since. Default false: an absent key is MINIKV_NOT_FOUND.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_create(
    options: *mut minikv_lock_options,
    create: bool,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.create(create))) }
}

/// Of a lock: puts a copy of this value in the same step, also on an absent key. Of the put's options (NULL:
/// none) ttl, persist, keep_ttl and if_absent count; the others belong to the lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_lock_options_set_put(
    options: *mut minikv_lock_options,
    value: *const minikv_value,
    put_options: *const minikv_put_options,
) -> minikv_code {
    let change = |options: LockOptions| {
        // SAFETY: handed on from the caller.
        let (value, put_options) = unsafe { (value.as_ref(), put_options.as_ref()) };
        // The value first, as in a put.
        let encoded = minikv::Encoded::new(Given::Value(value))?;
        let put_options = match put_options {
            Some(put_options) => put_options.0.settled()?,
            None => PutOptions::new(),
        };
        options.put(encoded, put_options)
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// Everything at once. Free them with minikv_list_options_free.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_list_options_new() -> *mut minikv_list_options {
    minikv_list_options::hand_out()
}

/// Frees options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_list_options_free(options: *mut minikv_list_options) {
    // SAFETY: handed on from the caller.
    unsafe { free(options) }
}

/// Only keys that start with these bytes, at most 65,535, copied. Default: all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_list_options_set_prefix(
    options: *mut minikv_list_options,
    prefix: minikv_bytes,
) -> minikv_code {
    let change = |options: ListOptions| {
        // SAFETY: handed on from the caller.
        Ok(options.prefix(unsafe { crate::border::key(|| Ok(()), prefix, "prefix") }?))
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// At most so many items, at least 1; the page's cursor leads to the next ones. Default: no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_list_options_set_limit(
    options: *mut minikv_list_options,
    limit: usize,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.limit(limit))) }
}

/// Goes on where the page with this cursor ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_list_options_set_cursor(
    options: *mut minikv_list_options,
    cursor: *const c_char,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.cursor(c_text(cursor, "cursor")?))) }
}

/// Every key. Free them with minikv_watch_options_free.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_watch_options_new() -> *mut minikv_watch_options {
    minikv_watch_options::hand_out()
}

/// Frees options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_options_free(options: *mut minikv_watch_options) {
    // SAFETY: handed on from the caller.
    unsafe { free(options) }
}

/// Only keys that start with these bytes, at most 65,535, copied. Default: all.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_options_set_prefix(
    options: *mut minikv_watch_options,
    prefix: minikv_bytes,
) -> minikv_code {
    let change = |options: WatchOptions| {
        // SAFETY: handed on from the caller.
        Ok(options.prefix(unsafe { crate::border::key(|| Ok(()), prefix, "prefix") }?))
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// Only this key. Contradicts a prefix. Copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_options_set_key(
    options: *mut minikv_watch_options,
    key: minikv_bytes,
) -> minikv_code {
    let change = |options: WatchOptions| {
        // SAFETY: handed on from the caller.
        Ok(options.key(unsafe { crate::border::key(|| Ok(()), key, "key") }?))
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// The present entries come first, as MINIKV_EVENT_PUT, without a gap before what follows. Default false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_options_set_initial(
    options: *mut minikv_watch_options,
    initial: bool,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.initial(initial))) }
}

/// How many unread events are kept before the oldest are dropped, 1 to 2^24. Default 4096.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_options_set_capacity(
    options: *mut minikv_watch_options,
    capacity: usize,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.capacity(capacity))) }
}
