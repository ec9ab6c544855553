//! Entries: what a read hands out.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use minikv::{Entry, Holder};

use crate::border::{Out, borrow, call, free, give, quietly};
use crate::bytes::{c_string, give_string, minikv_bytes};
use crate::error::{minikv_code, minikv_error};
use crate::json;
use crate::value::{minikv_type, minikv_value, type_of};

/// A snapshot of a key as it was when it was read. Never changes.
///
/// What its functions give borrowed (spans, strings, the value) lives as long as the entry.
/// Of a NULL entry they give false, 0, NULL, {NULL, 0} or MINIKV_NONE.
pub struct minikv_entry {
    entry: Entry,
    made: OnceLock<Box<Made>>,
}

/// What is made of an entry when it is asked for, and lives as long. Apart, since few ask: the handle of a read
/// stays small.
#[derive(Default)]
struct Made {
    version: OnceLock<CString>,
    holder: OnceLock<Option<Holder>>,
    value: OnceLock<minikv_value>,
}

impl From<Entry> for minikv_entry {
    fn from(entry: Entry) -> minikv_entry {
        minikv_entry { entry, made: OnceLock::new() }
    }
}

impl minikv_entry {
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(Box::default)
    }

    pub fn value(&self) -> &minikv_value {
        self.made().value.get_or_init(|| self.entry.value().into())
    }

    fn holder(&self) -> Option<&Holder> {
        self.made().holder.get_or_init(|| self.entry.holder()).as_ref()
    }
}

macro_rules! ask {
    ($entry:ident, $otherwise:expr, $body:expr) => {
        quietly($otherwise, || {
            // SAFETY: by the header's contract it is NULL or a live entry.
            match unsafe { $entry.as_ref() } {
                Some(entry) => $body(entry),
                None => $otherwise,
            }
        })
    };
}

/// Sets a place, if there is a value and a place, and says whether there is a value.
///
/// # Safety
/// `place` is NULL or may be written.
pub unsafe fn fill<T>(place: *mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            // SAFETY: handed on from the caller.
            unsafe { Out::optional(place) }.set(value);
            true
        }
        None => false,
    }
}

/// The key's bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_key(entry: *const minikv_entry) -> minikv_bytes {
    ask!(entry, minikv_bytes::NONE, |entry: &minikv_entry| {
        minikv_bytes::of(entry.entry.key_bytes())
    })
}

/// The type of the value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_type(entry: *const minikv_entry) -> minikv_type {
    ask!(entry, minikv_type::MINIKV_NONE, |entry: &minikv_entry| type_of(entry.entry.value_type()))
}

/// The value, for lists and maps; also of any other type. Borrowed: do not free it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_value(entry: *const minikv_entry) -> *const minikv_value {
    ask!(entry, std::ptr::null(), |entry: &minikv_entry| &raw const *entry.value())
}

/// Whether the value is a bool; sets `*value` if it is and `value` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_as_bool(
    entry: *const minikv_entry,
    value: *mut bool,
) -> bool {
    ask!(entry, false, |entry: &minikv_entry| {
        // SAFETY: handed on from the caller.
        unsafe { fill(value, entry.entry.as_bool()) }
    })
}

/// Whether the value is an int; sets `*value` if it is and `value` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_as_int(entry: *const minikv_entry, value: *mut i64) -> bool {
    ask!(entry, false, |entry: &minikv_entry| {
        // SAFETY: handed on from the caller.
        unsafe { fill(value, entry.entry.as_int()) }
    })
}

/// Whether the value is a float; sets `*value` if it is and `value` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_as_float(
    entry: *const minikv_entry,
    value: *mut f64,
) -> bool {
    ask!(entry, false, |entry: &minikv_entry| {
        // SAFETY: handed on from the caller.
        unsafe { fill(value, entry.entry.as_float()) }
    })
}

/// Whether the value is text; sets `*value` (not copied, UTF-8) if it is and `value` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_as_text(
    entry: *const minikv_entry,
    value: *mut minikv_bytes,
) -> bool {
    ask!(entry, false, |entry: &minikv_entry| {
        let text = entry.entry.as_str().map(|text| minikv_bytes::of(text.as_bytes()));
        // SAFETY: handed on from the caller.
        unsafe { fill(value, text) }
    })
}

/// Whether the value is bytes; sets `*value` (not copied) if it is and `value` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_as_bytes(
    entry: *const minikv_entry,
    value: *mut minikv_bytes,
) -> bool {
    ask!(entry, false, |entry: &minikv_entry| {
        // SAFETY: handed on from the caller.
        unsafe { fill(value, entry.entry.as_bytes().map(minikv_bytes::of)) }
    })
}

/// The owner: the name of the node whose put created this value; in a cluster, while no member of that name is live, the
/// live member whose name comes first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_node(entry: *const minikv_entry) -> minikv_bytes {
    ask!(entry, minikv_bytes::NONE, |entry: &minikv_entry| {
        minikv_bytes::of(entry.entry.node().as_bytes())
    })
}

/// When the value was put, in nanoseconds since the Unix epoch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_time(entry: *const minikv_entry) -> i64 {
    ask!(entry, 0, |entry: &minikv_entry| signed(entry.entry.time()))
}

/// Whether the entry expires; sets `*ns` (nanoseconds since the Unix epoch) if it does and `ns` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_exp(entry: *const minikv_entry, ns: *mut i64) -> bool {
    ask!(entry, false, |entry: &minikv_entry| {
        // SAFETY: handed on from the caller.
        unsafe { fill(ns, entry.entry.exp().map(signed)) }
    })
}

/// Whether the entry expires; sets `*ns` (what it had left when it was read, in nanoseconds) if it does
/// and `ns` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_expires_in(entry: *const minikv_entry, ns: *mut i64) -> bool {
    ask!(entry, false, |entry: &minikv_entry| {
        let left = entry.entry.expires_in();
        let left = left.map(|left| i64::try_from(left.as_nanos()).unwrap_or(i64::MAX));
        // SAFETY: handed on from the caller.
        unsafe { fill(ns, left) }
    })
}

/// Whether somebody held the key's lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_is_locked(entry: *const minikv_entry) -> bool {
    ask!(entry, false, |entry: &minikv_entry| entry.entry.is_locked())
}

/// The node of the lock's holder; {NULL, 0} if nobody holds it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_holder_node(entry: *const minikv_entry) -> minikv_bytes {
    ask!(entry, minikv_bytes::NONE, |entry: &minikv_entry| match entry.holder() {
        Some(holder) => minikv_bytes::of(holder.node.as_bytes()),
        None => minikv_bytes::NONE,
    })
}

/// The label of the lock's holder; {NULL, 0} if it has none, or nobody holds the lock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_holder_owner(entry: *const minikv_entry) -> minikv_bytes {
    ask!(entry, minikv_bytes::NONE, |entry: &minikv_entry| {
        match entry.holder().and_then(|holder| holder.owner.as_ref()) {
            Some(owner) => minikv_bytes::of(owner.as_bytes()),
            None => minikv_bytes::NONE,
        }
    })
}

/// Whether the key was ever locked; sets `*fence` (that of its last lock) if it was and `fence` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_fence(entry: *const minikv_entry, fence: *mut u64) -> bool {
    ask!(entry, false, |entry: &minikv_entry| {
        // SAFETY: handed on from the caller.
        unsafe { fill(fence, entry.entry.fence()) }
    })
}

/// The version of the value: sortable text of [0-9a-f-], which changes with every put, incr, update, touch
/// and persist. For minikv_put_options_set_if_version and its like; also a good ETag.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_version(entry: *const minikv_entry) -> *const c_char {
    ask!(entry, std::ptr::null(), |entry: &minikv_entry| {
        let text = || c_string(entry.entry.version().to_string());
        entry.made().version.get_or_init(text).as_ptr()
    })
}

/// The entry as a JSON object of key, value, type, node, time, exp, lock, holder, fence and version.
/// Free `*json` with minikv_string_free.
///
/// Error: MINIKV_INVALID_VALUE if a part has no JSON form: a key that is not UTF-8, bytes, NaN, infinity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_json(
    entry: *const minikv_entry,
    json: *mut *mut c_char,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (entry, json) = unsafe { (borrow(entry, "entry")?, Out::required(json, "json")?) };
        json.set(give_string(json::entry(entry)?));
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Another handle to the same entry, which shares its memory. NULL of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_clone(entry: *const minikv_entry) -> *mut minikv_entry {
    ask!(entry, std::ptr::null_mut(), |entry: &minikv_entry| {
        give(minikv_entry::from(entry.entry.clone()))
    })
}

/// Frees an entry and with it what was borrowed from it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entry_free(entry: *mut minikv_entry) {
    // SAFETY: handed on from the caller.
    unsafe { free(entry) }
}

/// The core counts time in what fits into signed 64 bit.
pub fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}
