//! Watches: waiting for events, polling a descriptor, or being called back.

use std::ffi::c_void;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use minikv::{Error, ErrorKind, Event, Watch, WatchOptions};

use crate::border::{
    FOREVER, Home, Out, User, argument, borrow, call, free, milliseconds, null, quietly,
};
use crate::call_options::{minikv_watch_options, with};
use crate::error::{Failure, minikv_code, minikv_error};
use crate::event::minikv_event;
use crate::registry::minikv_registry;

/// A subscription, subscribed when minikv_watch_open or minikv_watch_start returns. It ends with
/// minikv_watch_free or with the registry, which it does not keep running.
pub struct minikv_watch {
    shared: Arc<Shared>,
    bell: Mutex<Option<Arc<Bell>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
    calls_back: bool,
}

/// What the handle and the thread that calls back have in common.
struct Shared {
    home: Home,
    watch: Option<Watch>,
    ended: AtomicBool,
}

impl Shared {
    fn watch(&self) -> Result<&Watch, Error> {
        self.home.check()?;
        self.watch.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "the watch is gone"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // Unsubscribing takes a lock that a thread may hold that does not exist here.
            std::mem::forget(self.watch.take());
        }
    }
}

/// A pipe that is readable while there may be something to read from the watch.
struct Bell {
    reader: PipeReader,
    writer: PipeWriter,
    rung: AtomicBool,
}

impl Bell {
    fn new() -> Result<Bell, Error> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Io, format!("cannot make a pipe: {error}"))
        };
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        // Neither side ever waits for the other, whatever else is done with the descriptor.
        rustix::io::ioctl_fionbio(&reader, true).map_err(|error| failed(error.into()))?;
        rustix::io::ioctl_fionbio(&writer, true).map_err(|error| failed(error.into()))?;
        Ok(Bell { reader, writer, rung: AtomicBool::new(false) })
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // A full pipe is as readable as can be.
            let _ = (&self.writer).write(&[1]);
        }
    }

    /// Makes it unreadable. Whoever does so looks at the watch once more afterwards: a ring that comes
    /// between the two lines below is for an event that is there by then.
    fn quiet(&self) {
        while matches!((&self.reader).read(&mut [0; 16]), Ok(1..)) {}
        self.rung.store(false, Ordering::SeqCst);
    }
}

impl minikv_watch {
    fn of(watch: Watch) -> minikv_watch {
        let ended = AtomicBool::new(false);
        let shared = Arc::new(Shared { home: Home::here(), watch: Some(watch), ended });
        minikv_watch { shared, bell: Mutex::new(None), worker: Mutex::new(None), calls_back: false }
    }

    /// The watch, for reading.
    fn readable(&self) -> Result<&Watch, Error> {
        let watch = self.shared.watch()?;
        if self.calls_back {
            return Err(argument("this watch calls back; there is nothing else to read"));
        }
        Ok(watch)
    }

    fn bell(&self) -> Option<Arc<Bell>> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn try_next(&self) -> Result<Option<Event>, Error> {
        let watch = self.readable()?;
        let event = watch.try_next();
        let Some(bell) = self.bell() else { return Ok(event) };
        // Once it has ended, it stays readable: whoever polls learns of it.
        if event.is_some() || watch.is_closed() {
            return Ok(event);
        }
        bell.quiet();
        let event = watch.try_next();
        if event.is_some() || watch.is_closed() {
            bell.ring();
        }
        Ok(event)
    }
}

impl Drop for minikv_watch {
    fn drop(&mut self) {
        let worker = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Ok(watch) = self.shared.watch() else {
            // The thread is the parent's: there is none to wait for, or to let go.
            std::mem::forget(worker);
            return;
        };
        self.shared.ended.store(true, Ordering::SeqCst);
        watch.close();
        if let Some(worker) = worker
            && worker.thread().id() != std::thread::current().id()
        {
            // Its panics were caught where they happened.
            let _ = worker.join();
        }
    }
}

/// Receives the events of a watch, in order, one at a time, on a thread of the library, with no lock held.
///
/// `event` is borrowed and ends with the call. A last call with `event` NULL says that the watch has ended, and
/// that `user` is not needed any more. It may call the library, also to free the watch; it must not throw.
pub type minikv_event_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, event: *const minikv_event)>;

/// # Safety
/// Each pointer is NULL or as the header says.
unsafe fn open(
    registry: *const minikv_registry,
    options: *const minikv_watch_options,
) -> Result<Watch, Failure> {
    // SAFETY: handed on from the caller.
    let registry = unsafe { borrow(registry, "registry") }?;
    let open = |options: WatchOptions| Ok(registry.0.watch_with(options)?);
    // SAFETY: handed on from the caller.
    unsafe { with(options, open) }
}

/// Opens a watch to be read with minikv_watch_next or minikv_watch_try_next. `options` NULL: every key.
/// Free `*watch` with minikv_watch_free.
///
/// Errors: MINIKV_INVALID_KEY, MINIKV_INVALID_ARGUMENT, MINIKV_LIMIT (max_watchers).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_open(
    registry: *const minikv_registry,
    options: *const minikv_watch_options,
    watch: *mut *mut minikv_watch,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(watch, "watch") }?;
        // SAFETY: handed on from the caller.
        out.give(minikv_watch::of(unsafe { open(registry, options) }?));
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Opens a watch that calls back for each event. minikv_watch_free waits for a callback that is running, unless
/// it is called from within it; a thread that frees must not hold what the callback waits for.
///
/// Errors: as minikv_watch_open; MINIKV_IO if no thread can be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_start(
    registry: *const minikv_registry,
    options: *const minikv_watch_options,
    callback: minikv_event_fn,
    user: *mut c_void,
    watch: *mut *mut minikv_watch,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let user = User(user);
    let body = || {
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(watch, "watch") }?;
        let callback = callback.ok_or_else(|| null("callback"))?;
        // SAFETY: handed on from the caller.
        let mut handle = minikv_watch::of(unsafe { open(registry, options) }?);
        handle.calls_back = true;
        let shared = handle.shared.clone();
        let deliver = move || {
            while let Ok(watch) = shared.watch()
                && let Some(event) = watch.wait_next()
                && !shared.ended.load(Ordering::SeqCst)
            {
                let event = minikv_event::from(event);
                // SAFETY: the user's function and pointer, and an event that outlives the call.
                quietly((), || unsafe { callback(user.pointer(), &raw const event) });
            }
            // SAFETY: as above; NULL says that it has ended.
            unsafe { callback(user.pointer(), std::ptr::null()) }
        };
        let spawned = std::thread::Builder::new().name("minikv-watch".to_owned()).spawn(deliver);
        let worker = spawned.map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot start a thread: {error}"))
        })?;
        *handle.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        out.give(handle);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Waits for the next event, at most so many milliseconds of real time, or MINIKV_FOREVER. `*event` is NULL if
/// the watch or the registry has ended; otherwise free it with minikv_event_free.
///
/// Errors: MINIKV_TIMEOUT; MINIKV_INVALID_ARGUMENT for a negative number, or a watch that calls back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_next(
    watch: *const minikv_watch,
    timeout_ms: i64,
    event: *mut *mut minikv_event,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (watch, out) = unsafe { (borrow(watch, "watch")?, Out::required(event, "event")?) };
        let watch = watch.readable()?;
        let found = match timeout_ms {
            FOREVER => watch.wait_next(),
            ms => watch.next_timeout(milliseconds("timeout_ms", ms)?)?,
        };
        out.give_any(found);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Takes the next event if there is one, without waiting. `*event` is NULL if there is none; minikv_watch_is_closed
/// tells whether one may still come.
///
/// Error: MINIKV_INVALID_ARGUMENT for a watch that calls back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_try_next(
    watch: *const minikv_watch,
    event: *mut *mut minikv_event,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (watch, out) = unsafe { (borrow(watch, "watch")?, Out::required(event, "event")?) };
        out.give_any(watch.try_next()?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Whether no event will come after those still queued: the registry stopped. True of NULL, and in a forked child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_is_closed(watch: *const minikv_watch) -> bool {
    quietly(true, || {
        // SAFETY: by the header's contract it is NULL or a live handle.
        match unsafe { watch.as_ref() } {
            Some(watch) => watch.shared.watch().map_or(true, Watch::is_closed),
            None => true,
        }
    })
}

/// Gives a descriptor for poll, select or epoll. It is readable when events may be queued and when the watch has
/// ended; then call minikv_watch_try_next until it gives NULL. It belongs to the watch: do not read or close it.
///
/// Errors: MINIKV_IO; MINIKV_INVALID_ARGUMENT for a watch that calls back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_fd(
    watch: *const minikv_watch,
    fd: *mut i32,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (handle, out) = unsafe { (borrow(watch, "watch")?, Out::required(fd, "fd")?) };
        let watch = handle.readable()?;
        let mut place = handle.bell.lock().unwrap_or_else(PoisonError::into_inner);
        let bell = match &*place {
            Some(bell) => bell.clone(),
            None => place.insert(Arc::new(Bell::new()?)).clone(),
        };
        drop(place);
        out.set(bell.reader.as_raw_fd());
        // At once if something is there already; the same again does no harm.
        watch.on_ready(move || bell.ring());
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Ends a watch and frees it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_watch_free(watch: *mut minikv_watch) {
    // SAFETY: handed on from the caller.
    unsafe { free(watch) }
}
