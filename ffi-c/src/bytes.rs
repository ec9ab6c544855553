//! Spans and strings.

use std::ffi::{CStr, CString, c_char};

use minikv::Error;

use crate::border::{argument, null};

/// A span of bytes: a key, a prefix, a text, bytes. Not terminated; may hold zeros.
///
/// `{NULL, 0}` is an empty span; as a result it also stands for "none", an empty one then has a
/// pointer. Make one of a C string with `minikv_str("...")`, of memory with `minikv_span(ptr, len)`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct minikv_bytes {
    /// The first byte.
    pub ptr: *const u8,
    /// How many bytes there are.
    pub len: usize,
}

impl minikv_bytes {
    pub const NONE: minikv_bytes = minikv_bytes { ptr: std::ptr::null(), len: 0 };

    pub fn of(bytes: &[u8]) -> minikv_bytes {
        minikv_bytes { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes, or what is wrong with the span.
    ///
    /// # Safety
    /// If `ptr` is not NULL, `len` bytes may be read there for as long as `'a`.
    #[inline(always)]
    pub unsafe fn slice<'a>(self) -> Result<&'a [u8], String> {
        let minikv_bytes { ptr, len } = self;
        match (ptr.is_null(), len) {
            (_, 0) => Ok(&[]),
            (true, _) => Err(format!("ptr is NULL, but len is {len}")),
            (false, 1..=0x7fff_ffff) => {
                // SAFETY: not NULL, a length that any object may have, and by the contract readable.
                Ok(unsafe { std::slice::from_raw_parts(ptr, len) })
            }
            (false, _) => Err(format!("len is {len}, which is more than 2147483647")),
        }
    }

    /// The text, for what is not a value: an owner, a cursor.
    ///
    /// # Safety
    /// As [`minikv_bytes::slice`].
    pub unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Error> {
        // SAFETY: handed on from the caller.
        let bytes =
            unsafe { self.slice() }.map_err(|problem| argument(format!("{what}: {problem}")))?;
        std::str::from_utf8(bytes).map_err(|_| argument(format!("{what} is not valid UTF-8")))
    }
}

/// The text of a C string that must be there.
///
/// # Safety
/// `text` is NULL or a terminated string that lives as long as `'a`.
pub unsafe fn c_text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Error> {
    if text.is_null() {
        return Err(null(what));
    }
    // SAFETY: not NULL, so by the contract a terminated string.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| argument(format!("{what} is not valid UTF-8")))
}

/// A string that C can read. A zero inside, which would end it early, becomes U+FFFD.
pub fn c_string(text: impl Into<String>) -> CString {
    let text: String = text.into();
    CString::new(text).unwrap_or_else(|error| {
        let text = String::from_utf8_lossy(&error.into_vec()).replace('\0', "\u{fffd}");
        CString::new(text).unwrap_or_default()
    })
}

/// Hands a string over to C, which gives it back to `minikv_string_free`.
pub fn give_string(text: impl Into<String>) -> *mut c_char {
    c_string(text).into_raw()
}

/// Frees a string that the library gave as `char *`. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_string_free(string: *mut c_char) {
    if !string.is_null() {
        // SAFETY: by the header's contract it came from `give_string` and is given back once.
        drop(unsafe { CString::from_raw(string) });
    }
}

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn minikv_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
