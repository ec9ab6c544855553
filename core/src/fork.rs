//! Notices that this process is a fork: threads do not survive it, and locks may be held by those that are gone.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind};

/// How many forks lie between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

#[inline]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// A process as it was when something began that a fork ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    #[inline]
    pub fn now() -> Generation {
        Generation(generation())
    }

    /// Whether this process is a child of that one.
    #[inline]
    pub fn is_over(self) -> bool {
        self.0 != generation()
    }
}

pub(crate) fn error() -> Error {
    let message = "this process was forked after the registry started; start one in the child";
    Error::new(ErrorKind::Forked, message)
}

/// Counts forks from now on.
#[cfg(unix)]
pub(crate) fn watch() {
    use std::sync::Once;
    static REGISTERED: Once = Once::new();

    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        #[cfg(not(feature = "__shuttle"))]
        crate::table::readers::forget_other_threads();
    }

    REGISTERED.call_once(|| {
        // SAFETY: the handler is a plain function that lives as long as the program and only writes
        // atomics, which is safe in a forked child of a process with threads. Failure (no memory)
        // leaves forks unnoticed: a child may keep what readers that are gone were looking at.
        #[allow(unsafe_code)]
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

#[cfg(not(unix))]
pub(crate) fn watch() {}
