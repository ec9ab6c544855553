//! A read that allocates nothing: the entry lies in memory of the caller's, its bytes in the record.

use std::mem::MaybeUninit;

use minikv::{Entry, Registry};

use crate::border::{Out, call, null, quietly};
use crate::bytes::minikv_bytes;
use crate::error::{minikv_code, minikv_error};
use crate::ops::on_key;
use crate::registry::minikv_registry;
use crate::value::{minikv_type, type_of};

/// The value of a key as it was when it was read, in a variable of yours: reading it allocates and copies nothing.
///
/// Either empty, as one of zeros is, or filled by minikv_view_get. A filled one keeps the memory of its value until
/// minikv_view_free, whatever becomes of the key or the registry; that is how long `bytes` may be read.
/// Only the field that belongs to the type is set, the others are 0. Of a list or a map there is the type only:
/// read those with minikv_get, as all else that is known of an entry.
///
///     minikv_view view;
///     bool found;
///     if (minikv_view_get(kv, minikv_str("greeting"), &view, &found, NULL) == MINIKV_OK && view.type == MINIKV_TEXT) {
///         fwrite(view.bytes.ptr, 1, view.bytes.len, stdout);
///     }
///     minikv_view_free(&view);
///
/// It may be moved, but there is one value to free: of several copies free one, and use none after that.
#[repr(C)]
pub struct minikv_view {
    /// The type of the value; MINIKV_NONE if the view is empty.
    pub r#type: minikv_type,
    /// Of MINIKV_BOOL: the value.
    pub as_bool: bool,
    /// The library's own: whether there is something to free. Do not change it.
    pub held: bool,
    /// Of MINIKV_INT: the value.
    pub as_int: i64,
    /// Of MINIKV_FLOAT: the value.
    pub as_float: f64,
    /// Of MINIKV_TEXT (UTF-8) and MINIKV_BYTES: the value, borrowed from the view. Otherwise {NULL, 0}.
    pub bytes: minikv_bytes,
    /// The library's own. Do not read or change it.
    pub opaque: [MaybeUninit<u64>; 8],
}

// There is more room than an entry needs, so that it may grow without programs having to be compiled again.
const _: () = assert!(size_of::<Entry>() <= size_of::<[u64; 8]>());
const _: () = assert!(align_of::<Entry>() <= align_of::<u64>());

impl minikv_view {
    const EMPTY: minikv_view = minikv_view {
        r#type: minikv_type::MINIKV_NONE,
        as_bool: false,
        held: false,
        as_int: 0,
        as_float: 0.0,
        bytes: minikv_bytes::NONE,
        opaque: [MaybeUninit::uninit(); 8],
    };

    /// Says what the value of the entry in it is, which is no text.
    ///
    /// # Safety
    /// It has one.
    #[inline(never)]
    unsafe fn describe_no_text(&mut self) {
        // SAFETY: it is there, by the contract.
        let entry = unsafe { &*self.opaque.as_ptr().cast::<Entry>() };
        self.r#type = type_of(entry.value_type());
        self.as_bool = entry.as_bool().unwrap_or_default();
        self.as_int = entry.as_int().unwrap_or_default();
        self.as_float = entry.as_float().unwrap_or_default();
        self.bytes = entry.as_bytes().map_or(minikv_bytes::NONE, minikv_bytes::of);
    }
}

/// Reads the value of a key into `*view`. `*found` is whether the key is present; if not, the view is empty.
/// What was in `*view` is not looked at: free one that is filled before it is used again.
///
/// A failed call leaves an empty view, unlike other outputs: minikv_view_free may follow in any case.
///
/// Error: MINIKV_INVALID_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_view_get(
    registry: *const minikv_registry,
    key: minikv_bytes,
    view: *mut minikv_view,
    found: *mut bool,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = |registry: &Registry, key: &[u8]| {
        // SAFETY: by the header's contract it is NULL or may be written, whatever is there.
        let place = unsafe { view.cast::<MaybeUninit<minikv_view>>().as_mut() };
        let place = place.ok_or_else(|| null("view"))?;
        // SAFETY: handed on from the caller.
        let found = unsafe { Out::required(found, "found") }?;
        let view = place.write(minikv_view::EMPTY);
        let Some(entry) = registry.get(key)? else {
            found.set(false);
            return Ok(());
        };
        // Text is what most read, and told by one look at the value.
        let text = entry.as_str().map(|text| minikv_bytes::of(text.as_bytes()));
        // Nothing has borrowed the entry before it is in its place: moved about in memory, it costs a tenth of the read.
        // SAFETY: the storage is large enough for an entry and aligned as it has to be, as asserted above. What is
        // borrowed from the entry lies in the record, which stays where it is.
        unsafe { view.opaque.as_mut_ptr().cast::<Entry>().write(entry) };
        match text {
            Some(text) => (view.r#type, view.bytes) = (minikv_type::MINIKV_TEXT, text),
            // SAFETY: written just now.
            None => unsafe { view.describe_no_text() },
        }
        view.held = true;
        found.set(true);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    let body = || unsafe { on_key(registry, key, body) };
    // SAFETY: handed on from the caller.
    let code = unsafe { call(err, body) };
    if code != minikv_code::MINIKV_OK {
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(view) }.set(minikv_view::EMPTY);
    }
    code
}

/// Frees what a view holds and makes it empty. NULL is fine, and so is a view that is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_view_free(view: *mut minikv_view) {
    // SAFETY: by the header's contract it is NULL or a view that nobody else uses, zeroed or as minikv_view_get left it.
    let Some(view) = (unsafe { view.as_mut() }) else { return };
    if !view.held {
        return;
    }
    let entry = view.opaque.as_mut_ptr().cast::<Entry>();
    // SAFETY: minikv_view_get has put an entry there, which is dropped once: from here on nothing is held.
    quietly((), || unsafe { entry.drop_in_place() });
    *view = minikv_view::EMPTY;
}
