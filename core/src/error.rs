//! The one table of errors that all four languages share.

use std::fmt;

use crate::Entry;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $name:literal,)+) => {
        /// What went wrong, in one stable name. Message texts may change; kinds and codes never do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $variant,)+ }

        impl ErrorKind {
            /// Every kind, in the order of the codes.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant,)+];

            /// The stable name, e.g. `invalid_key`.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorKind::$variant => $name,)+ }
            }

            /// The stable code that the C library returns. Never 0, never reused.
            pub const fn code(self) -> i32 {
                match self { $(ErrorKind::$variant => $code,)+ }
            }
        }
    };
}

kinds! {
    /// The registry was stopped.
    Stopped = 1 "stopped",
    /// This process is a fork of the one that started the registry; start a new one here.
    Forked = 2 "forked",
    /// The key is empty, too long, or not text or bytes.
    InvalidKey = 3 "invalid_key",
    /// The value cannot be stored, or is not of the type that the operation needs.
    InvalidValue = 4 "invalid_value",
    /// An option or argument is out of range, misspelt, or contradicts another.
    InvalidArgument = 5 "invalid_argument",
    /// The fence given is not the key's last one, or was released.
    StaleFence = 6 "stale_fence",
    /// Somebody else holds the key's lock.
    Locked = 7 "locked",
    /// A condition (`if_absent`, `if_version`) did not hold.
    Conflict = 8 "conflict",
    /// A guard's lock ended before the guard released it.
    LockLost = 9 "lock_lost",
    /// A wait other than one for a lock ran out of time.
    Timeout = 10 "timeout",
    /// There is no such key or registry.
    NotFound = 11 "not_found",
    /// A registry of this name runs in this process already.
    AlreadyStarted = 12 "already_started",
    /// A configured limit (entries, bytes, watchers) is reached.
    Limit = 13 "limit",
    /// Too few voters are reachable.
    NoQuorum = 14 "no_quorum",
    /// The cluster cannot take this call now.
    Cluster = 15 "cluster",
    /// Reading or writing a file or socket failed.
    Io = 16 "io",
    /// Data read from outside is not in the expected format.
    Corrupt = 17 "corrupt",
    /// A defect of this library.
    Internal = 18 "internal",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a `locked` advises to who has not waited.
pub(crate) const LOCKED_ADVICE: &str = "retry, or lock it with a wait";

/// An error: a stable [`kind`](Error::kind), a message for people, and what belongs to the kind.
///
/// The registry is as it was before the call that returned it.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    present: Option<Option<Entry>>,
    int_out_of_range: bool,
    waited: bool,
}

impl Error {
    /// An error of `kind` with a message for people.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            present: None,
            int_out_of_range: false,
            waited: false,
        }))
    }

    /// An `invalid_argument` that names the misspelt field and the nearest right one.
    pub fn unknown_field(of: &str, field: &str, known: &[&str]) -> Error {
        let nearest = known
            .iter()
            .map(|name| (strsim::damerau_levenshtein(field, name), *name))
            .min()
            .filter(|(distance, name)| *distance <= name.len().max(3) / 2);
        let hint = match nearest {
            Some((_, name)) => format!("did you mean '{name}'?"),
            None => format!("known: {}", known.join(", ")),
        };
        let field = shorten(field.as_bytes());
        Error::new(ErrorKind::InvalidArgument, format!("unknown {of} {field}; {hint}"))
    }

    pub(crate) fn argument(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn value(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidValue, message)
    }

    /// An `invalid_value` for an integer outside signed 64 bit.
    pub fn int_out_of_range(message: impl Into<String>) -> Error {
        let mut error = Error::value(message);
        error.0.int_out_of_range = true;
        error
    }

    pub(crate) fn conflict(message: impl Into<String>, present: Option<Entry>) -> Error {
        let mut error = Error::new(ErrorKind::Conflict, message);
        error.0.present = Some(present);
        error
    }

    /// This `locked`, after waiting for the lock in vain.
    pub(crate) fn after_waiting(mut self) -> Error {
        self.0.waited = true;
        self.0.message =
            self.0.message.replace(LOCKED_ADVICE, "the wait is over; retry, or wait longer");
        self
    }

    /// The stable kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message, without the kind.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Of a `conflict`: the entry that was there (`Some(None)`: the key is absent). `None` for every other kind.
    pub fn present(&self) -> Option<Option<&Entry>> {
        self.0.present.as_ref().map(Option::as_ref)
    }

    /// Whether this `invalid_value` is an integer that does not fit into signed 64 bit.
    pub fn is_int_out_of_range(&self) -> bool {
        self.0.int_out_of_range
    }

    /// Whether this `locked` came after waiting for the lock.
    pub fn is_lock_timeout(&self) -> bool {
        self.0.waited
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {}

/// A key or name as messages show it: quoted, escaped and cut after 48 characters.
pub(crate) fn shorten(bytes: &[u8]) -> String {
    const SHOWN: usize = 48;
    // A character has at most four bytes: the rest of a long key need not be looked at.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN + 4)]);
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < bytes.len() && text.chars().count() > SHOWN {
        format!("… ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    format!("{cut:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_fixed_and_unique() {
        let codes: Vec<i32> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes, (1..=18).collect::<Vec<i32>>());
    }

    #[test]
    fn a_misspelt_field_is_told_the_nearest() {
        let error = Error::unknown_field("option", "defualt_ttl", &["name", "default_ttl"]);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.message(), "unknown option \"defualt_ttl\"; did you mean 'default_ttl'?");
        let error = Error::unknown_field("option", "zzzzzzzzz", &["name", "node"]);
        assert!(error.message().contains("known: name, node"));
    }

    #[test]
    fn long_and_odd_keys_are_shortened_in_messages() {
        assert_eq!(shorten(b"abc"), "\"abc\"");
        assert_eq!(shorten(b"a\nb"), "\"a\\nb\"");
        assert!(shorten(&[b'x'; 65_535]).ends_with("… (65535 bytes)"));
        assert!(shorten(&[0xff, 0xfe]).contains('\u{fffd}'));
    }
}
