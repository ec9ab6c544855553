//! Codes and errors.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use minikv::{Error, ErrorKind};

use crate::border::{free, quietly};
use crate::bytes::c_string;
use crate::entry::minikv_entry;

macro_rules! codes {
    ($($(#[$doc:meta])* $kind:ident $code:ident = $number:literal $name:literal,)+) => {
        fn code_of(kind: ErrorKind) -> minikv_code {
            match kind {
                $(ErrorKind::$kind => minikv_code::$code,)+
                // A kind that this library is older than: its own table says so, see tests/header.rs.
                _ => minikv_code::MINIKV_INTERNAL,
            }
        }

        fn name_of(code: i32) -> Option<&'static std::ffi::CStr> {
            match code {
                0 => Some(c"ok"),
                -1 => Some(c"callback"),
                $($number => Some($name),)+
                _ => None,
            }
        }
    };
}

/// What a call says of itself. The numbers and names are fixed and never reused.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum minikv_code {
    /// Your callback gave a negative number; minikv_error_status tells which. Nothing was changed.
    MINIKV_CALLBACK = -1,
    /// All went well.
    MINIKV_OK = 0,
    /// The registry was stopped.
    MINIKV_STOPPED = 1,
    /// This process is a fork of the one that started the registry; start a new one here.
    MINIKV_FORKED = 2,
    /// The key is empty or too long.
    MINIKV_INVALID_KEY = 3,
    /// The value cannot be stored, or is not of the type that the operation needs.
    MINIKV_INVALID_VALUE = 4,
    /// An option or argument is NULL, out of range, misspelt, or contradicts another.
    MINIKV_INVALID_ARGUMENT = 5,
    /// The fence given is not the key's last one, or was released.
    MINIKV_STALE_FENCE = 6,
    /// Somebody else holds the key's lock.
    MINIKV_LOCKED = 7,
    /// A condition (if_absent, if_version) did not hold.
    MINIKV_CONFLICT = 8,
    /// A guard's lock ended before the guard released it.
    MINIKV_LOCK_LOST = 9,
    /// A wait other than one for a lock ran out of time.
    MINIKV_TIMEOUT = 10,
    /// There is no such key or registry.
    MINIKV_NOT_FOUND = 11,
    /// A registry of this name runs in this process already.
    MINIKV_ALREADY_STARTED = 12,
    /// A configured limit (entries, bytes, watchers) is reached.
    MINIKV_LIMIT = 13,
    /// Too few voters are reachable.
    MINIKV_NO_QUORUM = 14,
    /// The cluster cannot take this call now.
    MINIKV_CLUSTER = 15,
    /// Reading or writing a file or socket failed.
    MINIKV_IO = 16,
    /// Data read from outside is not in the expected format.
    MINIKV_CORRUPT = 17,
    /// A defect of this library.
    MINIKV_INTERNAL = 18,
}

codes! {
    Stopped MINIKV_STOPPED = 1 c"stopped",
    Forked MINIKV_FORKED = 2 c"forked",
    InvalidKey MINIKV_INVALID_KEY = 3 c"invalid_key",
    InvalidValue MINIKV_INVALID_VALUE = 4 c"invalid_value",
    InvalidArgument MINIKV_INVALID_ARGUMENT = 5 c"invalid_argument",
    StaleFence MINIKV_STALE_FENCE = 6 c"stale_fence",
    Locked MINIKV_LOCKED = 7 c"locked",
    Conflict MINIKV_CONFLICT = 8 c"conflict",
    LockLost MINIKV_LOCK_LOST = 9 c"lock_lost",
    Timeout MINIKV_TIMEOUT = 10 c"timeout",
    NotFound MINIKV_NOT_FOUND = 11 c"not_found",
    AlreadyStarted MINIKV_ALREADY_STARTED = 12 c"already_started",
    Limit MINIKV_LIMIT = 13 c"limit",
    NoQuorum MINIKV_NO_QUORUM = 14 c"no_quorum",
    Cluster MINIKV_CLUSTER = 15 c"cluster",
    Io MINIKV_IO = 16 c"io",
    Corrupt MINIKV_CORRUPT = 17 c"corrupt",
    Internal MINIKV_INTERNAL = 18 c"internal",
}

/// Why a call failed: the registry says so, or the caller's own callback.
pub enum Failure {
    Registry(Error),
    Callback(i32),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Registry(error)
    }
}

impl Failure {
    pub fn code(&self) -> minikv_code {
        match self {
            Failure::Registry(error) => code_of(error.kind()),
            Failure::Callback(_) => minikv_code::MINIKV_CALLBACK,
        }
    }
}

/// Why a call failed: a code, a message for people, and what belongs to the code.
///
/// Made by the library, freed by the caller with minikv_error_free. Never changes.
pub struct minikv_error {
    failure: Failure,
    message: OnceLock<CString>,
    present: Option<Box<minikv_entry>>,
}

impl From<Failure> for minikv_error {
    fn from(failure: Failure) -> minikv_error {
        let present = match &failure {
            Failure::Registry(error) => error.present().flatten().cloned(),
            Failure::Callback(_) => None,
        };
        let present = present.map(|entry| Box::new(minikv_entry::from(entry)));
        minikv_error { failure, message: OnceLock::new(), present }
    }
}

impl minikv_error {
    fn registry(&self) -> Option<&Error> {
        match &self.failure {
            Failure::Registry(error) => Some(error),
            Failure::Callback(_) => None,
        }
    }
}

/// Asks an error something; NULL has nothing to say.
macro_rules! ask {
    ($error:ident, $otherwise:expr, $body:expr) => {
        quietly($otherwise, || {
            // SAFETY: by the header's contract it is NULL or a live error.
            match unsafe { $error.as_ref() } {
                Some(error) => $body(error),
                None => $otherwise,
            }
        })
    };
}

/// The code. Of NULL: MINIKV_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_error_code(error: *const minikv_error) -> minikv_code {
    ask!(error, minikv_code::MINIKV_OK, |error: &minikv_error| error.failure.code())
}

/// The stable name of the code, such as "invalid_key". Of NULL: "ok". Lives for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_error_kind(error: *const minikv_error) -> *const c_char {
    // SAFETY: handed on from the caller.
    minikv_code_name(unsafe { minikv_error_code(error) } as i32)
}

/// A message for people; its text may change. Lives as long as the error. Of NULL: "".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_error_message(error: *const minikv_error) -> *const c_char {
    ask!(error, c"".as_ptr(), |error: &minikv_error| {
        let text = || match &error.failure {
            Failure::Registry(error) => c_string(error.message()),
            Failure::Callback(status) => c_string(format!("the callback gave {status}")),
        };
        error.message.get_or_init(text).as_ptr()
    })
}

/// Of MINIKV_CONFLICT: the entry that was there; NULL if the key is absent. NULL for every other code.
///
/// Borrowed: it lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_error_present(error: *const minikv_error) -> *const minikv_entry {
    ask!(error, std::ptr::null(), |error: &minikv_error| match &error.present {
        Some(present) => &raw const **present,
        None => std::ptr::null(),
    })
}

/// Of MINIKV_CALLBACK: the negative number that your callback gave. Otherwise 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_error_status(error: *const minikv_error) -> i32 {
    ask!(error, 0, |error: &minikv_error| match error.failure {
        Failure::Callback(status) => status,
        Failure::Registry(_) => 0,
    })
}

/// Whether this MINIKV_LOCKED came after waiting for the lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_error_is_lock_timeout(error: *const minikv_error) -> bool {
    ask!(error, false, |error: &minikv_error| error.registry().is_some_and(Error::is_lock_timeout))
}

/// Whether this MINIKV_INVALID_VALUE is an integer (in JSON) that does not fit into signed 64 bit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_error_is_int_out_of_range(error: *const minikv_error) -> bool {
    ask!(error, false, |error: &minikv_error| error
        .registry()
        .is_some_and(Error::is_int_out_of_range))
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_error_free(error: *mut minikv_error) {
    // SAFETY: handed on from the caller.
    unsafe { free(error) }
}

/// The stable name of a code, such as "invalid_key"; NULL for a number that is none. Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_code_name(code: i32) -> *const c_char {
    name_of(code).map_or(std::ptr::null(), |name| name.as_ptr())
}
