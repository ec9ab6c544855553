//! Pages of entries or keys, and operations on all keys of a prefix.

use std::ffi::{CString, c_char};

use minikv::{Entry, Key, ListOptions, Page};

use crate::border::{Out, borrow, call, free, key as span, quietly};
use crate::bytes::{c_string, minikv_bytes};
use crate::call_options::{minikv_list_options, minikv_write_options, with};
use crate::entry::minikv_entry;
use crate::error::{Failure, minikv_code, minikv_error};
use crate::registry::minikv_registry;

/// The result of an operation on many keys. Never changes. Free it with minikv_page_free.
///
/// What its functions give is borrowed and lives as long as the page.
pub struct minikv_page {
    items: Vec<Item>,
    cursor: Option<CString>,
}

enum Item {
    Entry(Box<minikv_entry>),
    Key(Key),
    Absent,
}

impl From<Vec<Option<Entry>>> for minikv_page {
    fn from(entries: Vec<Option<Entry>>) -> minikv_page {
        let item = |entry: Option<Entry>| match entry {
            Some(entry) => Item::Entry(Box::new(entry.into())),
            None => Item::Absent,
        };
        minikv_page { items: entries.into_iter().map(item).collect(), cursor: None }
    }
}

impl From<Page<Entry>> for minikv_page {
    fn from(page: Page<Entry>) -> minikv_page {
        let item = |entry: Entry| Item::Entry(Box::new(entry.into()));
        let items = page.items.into_iter().map(item).collect();
        minikv_page { items, cursor: page.cursor.map(c_string) }
    }
}

impl From<Page<Key>> for minikv_page {
    fn from(page: Page<Key>) -> minikv_page {
        let items = page.items.into_iter().map(Item::Key).collect();
        minikv_page { items, cursor: page.cursor.map(c_string) }
    }
}

macro_rules! ask {
    ($page:ident, $otherwise:expr, $body:expr) => {
        quietly($otherwise, || {
            // SAFETY: by the header's contract it is NULL or a live page.
            match unsafe { $page.as_ref() } {
                Some(page) => $body(page),
                None => $otherwise,
            }
        })
    };
}

/// How many items there are; 0 of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_page_count(page: *const minikv_page) -> usize {
    ask!(page, 0, |page: &minikv_page| page.items.len())
}

/// The entry at a place from 0; NULL where there is none, past the end, and in a page of keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_page_entry(
    page: *const minikv_page,
    place: usize,
) -> *const minikv_entry {
    ask!(page, std::ptr::null(), |page: &minikv_page| match page.items.get(place) {
        Some(Item::Entry(entry)) => &raw const **entry,
        _ => std::ptr::null(),
    })
}

/// The key at a place from 0; {NULL, 0} where there is none and past the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_page_key(page: *const minikv_page, place: usize) -> minikv_bytes {
    ask!(page, minikv_bytes::NONE, |page: &minikv_page| match page.items.get(place) {
        Some(Item::Entry(entry)) => minikv_bytes::of(entry.entry().key_bytes()),
        Some(Item::Key(key)) => minikv_bytes::of(key.as_bytes()),
        _ => minikv_bytes::NONE,
    })
}

/// Leads to the next page, through minikv_list_options_set_cursor; NULL: this was the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_page_cursor(page: *const minikv_page) -> *const c_char {
    ask!(page, std::ptr::null(), |page: &minikv_page| {
        page.cursor.as_ref().map_or(std::ptr::null(), |cursor| cursor.as_ptr())
    })
}

/// Frees a page and with it what was borrowed from it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_page_free(page: *mut minikv_page) {
    // SAFETY: handed on from the caller.
    unsafe { free(page) }
}

/// Lists keys, in no particular order, each once; what changes meanwhile may or may not show.
/// `options` NULL: all at once. Free `*page` with minikv_page_free.
///
/// Errors: MINIKV_INVALID_KEY (the prefix), MINIKV_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_keys(
    registry: *const minikv_registry,
    options: *const minikv_list_options,
    page: *mut *mut minikv_page,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(page, "page")?) };
        let list = |options: ListOptions| Ok(registry.0.keys(options)?);
        // SAFETY: handed on from the caller.
        out.give(unsafe { with(options, list) }?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Lists entries; otherwise as minikv_keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_entries(
    registry: *const minikv_registry,
    options: *const minikv_list_options,
    page: *mut *mut minikv_page,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (registry, out) =
            unsafe { (borrow(registry, "registry")?, Out::required(page, "page")?) };
        let list = |options: ListOptions| Ok(registry.0.entries(options)?);
        // SAFETY: handed on from the caller.
        out.give(unsafe { with(options, list) }?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Counts the keys that start with `prefix`; an empty one counts all.
///
/// Error: MINIKV_INVALID_KEY (the prefix).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_count(
    registry: *const minikv_registry,
    prefix: minikv_bytes,
    count: *mut usize,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        // SAFETY: handed on from the caller.
        let prefix = unsafe { span(|| registry.ensure_running(), prefix, "prefix") }?;
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(count, "count") }?;
        out.set(registry.count(prefix)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Removes the entries whose keys start with `prefix` (empty: all) and that nobody else has locked, and those
/// only that meet the options' conditions. `*removed` is how many; `removed` may be NULL.
///
/// Errors: MINIKV_INVALID_KEY (the prefix), MINIKV_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_clear(
    registry: *const minikv_registry,
    prefix: minikv_bytes,
    options: *const minikv_write_options,
    removed: *mut usize,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || -> Result<(), Failure> {
        // SAFETY: handed on from the caller.
        let registry = &unsafe { borrow(registry, "registry") }?.0;
        // SAFETY: handed on from the caller.
        let prefix = unsafe { span(|| registry.ensure_running(), prefix, "prefix") }?;
        // SAFETY: handed on from the caller.
        let count = unsafe { with(options, |options| Ok(registry.clear_with(prefix, options)?)) }?;
        // SAFETY: handed on from the caller.
        unsafe { Out::optional(removed) }.set(count);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}
