//! Where C's pointers become references and back: NULL checks, ownership, the panic guard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use minikv::{Error, ErrorKind};

use crate::bytes::minikv_bytes;
use crate::call_options::{
    minikv_list_options, minikv_lock_options, minikv_put_options, minikv_watch_options,
    minikv_write_options,
};
use crate::entry::minikv_entry;
use crate::error::{Failure, minikv_code, minikv_error};
use crate::event::minikv_event;
use crate::guard::minikv_guard;
use crate::listing::minikv_page;
use crate::members::{minikv_member_list, minikv_string_list};
use crate::options::minikv_options;
use crate::pending::{minikv_pending_guard, minikv_pending_lock};
use crate::registry::minikv_registry;
use crate::sync::minikv_pending_sync;
use crate::value::minikv_value;
use crate::watch::minikv_watch;

/// What C holds by a pointer. Each is a box of its own that C owns and gives back to its `_free`; until
/// then it is only ever borrowed shared, on any thread. What changes in it is guarded inside.
pub trait Handle: Send + Sync {}

macro_rules! handles {
    ($($type:ident)+) => { $(impl Handle for $type {})+ };
}

handles! {
    minikv_options minikv_write_options minikv_put_options minikv_lock_options minikv_list_options
    minikv_watch_options minikv_registry minikv_entry minikv_error minikv_value minikv_page
    minikv_watch minikv_event minikv_guard minikv_pending_lock minikv_pending_guard
    minikv_pending_sync minikv_member_list minikv_string_list
}

/// Hands a value over to C.
pub fn give<T: Handle>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Takes a handle back and ends it.
///
/// # Safety
/// `handle` is NULL or came from [`give`], is not used by anyone else and never again.
pub unsafe fn free<T: Handle>(handle: *mut T) {
    if handle.is_null() {
        return;
    }
    // SAFETY: not NULL, so by the contract it is a box that `give` leaked and that nobody else has.
    let owned = unsafe { Box::from_raw(handle) };
    quietly((), move || drop(owned));
}

/// A handle that must not be NULL; `what` names it in the message.
///
/// # Safety
/// `handle` is NULL or came from [`give`] (or is borrowed from such a one) and is not freed meanwhile.
#[inline(always)]
pub unsafe fn borrow<'a, T: Handle>(handle: *const T, what: &str) -> Result<&'a T, Error> {
    // SAFETY: by the contract it is NULL or points to a live value, which is only ever shared.
    unsafe { handle.as_ref() }.ok_or_else(|| null(what))
}

#[cold]
pub fn null(what: &str) -> Error {
    argument(format!("{what} is NULL"))
}

pub fn argument(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// A place for a result.
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// A place that must be there.
    ///
    /// # Safety
    /// `place` is NULL or may be written until the call that was given it returns.
    #[inline(always)]
    pub unsafe fn required(place: *mut T, what: &str) -> Result<Out<T>, Error> {
        if place.is_null() { Err(null(what)) } else { Ok(Out(place)) }
    }

    /// A place that may be NULL: the caller is not interested.
    ///
    /// # Safety
    /// As [`Out::required`].
    pub unsafe fn optional(place: *mut T) -> Out<T> {
        Out(place)
    }

    #[inline(always)]
    pub fn set(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not NULL, and by the constructor's contract it may be written.
            unsafe { self.0.write(value) }
        }
    }
}

impl<T: Handle> Out<*mut T> {
    /// Hands over a new handle, which is made only if it is wanted.
    pub fn give(self, value: impl Into<T>) {
        if !self.0.is_null() {
            self.set(give(value.into()));
        }
    }

    /// The same, with NULL for nothing.
    pub fn give_any(self, value: Option<impl Into<T>>) {
        match value {
            Some(value) => self.give(value),
            None => self.set(std::ptr::null_mut()),
        }
    }
}

/// The body of an export that can fail: no panic leaves it, an error becomes a code and, if wanted, a handle.
///
/// # Safety
/// `err` is NULL or may be written.
#[inline(always)]
pub unsafe fn call(
    err: *mut *mut minikv_error,
    body: impl FnOnce() -> Result<(), Failure>,
) -> minikv_code {
    // What a body changes is the core's, which a panic leaves whole, or goes away with the body.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => minikv_code::MINIKV_OK,
        // SAFETY: handed on from the caller.
        Ok(Err(failure)) => unsafe { fail(err, failure) },
        Err(panic) => {
            // Whatever was thrown could panic again when dropped.
            std::mem::forget(panic);
            let failure = Error::new(ErrorKind::Internal, "a defect: the call panicked").into();
            // SAFETY: handed on from the caller.
            unsafe { fail(err, failure) }
        }
    }
}

/// # Safety
/// As [`call`].
#[cold]
unsafe fn fail(err: *mut *mut minikv_error, failure: Failure) -> minikv_code {
    let code = failure.code();
    // SAFETY: handed on from the caller.
    unsafe { Out::optional(err) }.give(failure);
    code
}

/// The body of an export that cannot fail; `otherwise` is its result if it panics all the same.
#[inline(always)]
pub fn quietly<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        std::mem::forget(panic);
        otherwise
    })
}

/// For as long as it takes, where a wait or a timeout is given in milliseconds or nanoseconds.
pub(crate) const FOREVER: i64 = i64::MAX;

/// A duration given in milliseconds.
pub fn milliseconds(what: &str, ms: i64) -> Result<Duration, Error> {
    match u64::try_from(ms) {
        Ok(ms) => Ok(Duration::from_millis(ms)),
        // The core knows what to say of it.
        Err(_) => minikv::duration_from_millis(what, ms as f64),
    }
}

/// A duration given in nanoseconds.
pub fn nanoseconds(what: &str, ns: i64) -> Result<Duration, Error> {
    match u64::try_from(ns) {
        Ok(ns) => Ok(Duration::from_nanos(ns)),
        Err(_) => minikv::duration_from_millis(what, ns as f64 / 1e6),
    }
}

/// A wait: as a duration, or for ever.
pub fn wait(
    what: &str,
    time: i64,
    unit: fn(&str, i64) -> Result<Duration, Error>,
) -> Result<Duration, Error> {
    if time == FOREVER { Ok(Duration::MAX) } else { unit(what, time) }
}

/// An array that C describes by its first item and a count.
///
/// # Safety
/// `first` is NULL or points to `count` items that live as long as `'a`.
pub unsafe fn array<'a, T>(first: *const T, count: usize, what: &str) -> Result<&'a [T], Error> {
    if count == 0 {
        return Ok(&[]);
    }
    if first.is_null() {
        return Err(null(what));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(argument(format!("{what} has {count} items; that is more than memory has")));
    }
    // SAFETY: not NULL, not larger than an object can be, and by the contract that many items.
    Ok(unsafe { std::slice::from_raw_parts(first, count) })
}

/// The process that a handle belongs to. In a forked child the threads are gone that would
/// release what its handles wait for, so that nothing of them may be touched there.
pub struct Home(u32);

impl Home {
    pub fn here() -> Home {
        Home(std::process::id())
    }

    pub fn is_here(&self) -> bool {
        self.0 == std::process::id()
    }

    pub fn check(&self) -> Result<(), Error> {
        if self.is_here() {
            return Ok(());
        }
        let message =
            "this process was forked after this was opened; start a registry in the child";
        Err(Error::new(ErrorKind::Forked, message))
    }
}

/// The user's pointer, on its way to the user's callback.
#[derive(Clone, Copy)]
pub struct User(pub *mut std::ffi::c_void);

// SAFETY: it is only ever handed back; the header tells users on which threads.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

impl User {
    /// Through a method, so that closures capture the wrapper and not the bare pointer.
    pub fn pointer(&self) -> *mut std::ffi::c_void {
        self.0
    }
}

/// Bytes of a key or prefix that C describes; what a key may be, the core says.
///
/// # Safety
/// As [`minikv_bytes::slice`].
#[inline(always)]
pub unsafe fn key<'a>(
    running: impl FnOnce() -> Result<(), Error>,
    bytes: minikv_bytes,
    what: &str,
) -> Result<&'a [u8], Error> {
    // SAFETY: handed on from the caller.
    match unsafe { bytes.slice() } {
        Ok(bytes) => Ok(bytes),
        Err(problem) => {
            // `stopped` comes before `invalid_key`.
            running()?;
            Err(Error::new(ErrorKind::InvalidKey, format!("{what}: {problem}")))
        }
    }
}
