//! A JSON document for C: what the conformance runner reads vectors with, so that it does not read them with
//! the very library that it tests.
//!
//! All functions take NULL for "no such item" and give NULL, 0 or false for it, so that calls can be nested.

#![allow(clippy::missing_safety_doc)]

use std::ffi::{CStr, CString, c_char};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Reads a document; NULL if it is malformed, with a message on stderr.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_read(text: *const u8, length: usize) -> *mut Value {
    // SAFETY: the runner passes a buffer that it has filled.
    let text = unsafe { std::slice::from_raw_parts(text, length) };
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => Box::into_raw(Box::new(value)),
        Err(error) => {
            eprintln!("{error}");
            std::ptr::null_mut()
        }
    }
}

/// Frees a document.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_free(document: *mut Value) {
    if !document.is_null() {
        // SAFETY: it came from `json_read` and is given back once.
        drop(unsafe { Box::from_raw(document) });
    }
}

unsafe fn item<'a>(value: *const Value) -> Option<&'a Value> {
    // SAFETY: the runner passes NULL or an item of a document that it has not freed.
    unsafe { value.as_ref() }
}

fn pointer(value: Option<&Value>) -> *const Value {
    value.map_or(std::ptr::null(), |value| value)
}

/// One of: `0` no such item, `n` null, `b` bool, `i` a whole number, `f` another number, `s` string, `a` array, `o` object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_type(value: *const Value) -> c_char {
    // SAFETY: handed on.
    let letter = match unsafe { item(value) } {
        None => b'0',
        Some(Value::Null) => b'n',
        Some(Value::Bool(_)) => b'b',
        Some(Value::Number(number)) if number.is_i64() => b'i',
        Some(Value::Number(_)) => b'f',
        Some(Value::String(_)) => b's',
        Some(Value::Array(_)) => b'a',
        Some(Value::Object(_)) => b'o',
    };
    letter as c_char
}

/// Whether it is `true`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_true(value: *const Value) -> bool {
    // SAFETY: handed on.
    matches!(unsafe { item(value) }, Some(Value::Bool(true)))
}

/// A whole number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_int(value: *const Value) -> i64 {
    // SAFETY: handed on.
    unsafe { item(value) }.and_then(Value::as_i64).unwrap_or_default()
}

/// Any number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_float(value: *const Value) -> f64 {
    // SAFETY: handed on.
    unsafe { item(value) }.and_then(Value::as_f64).unwrap_or_default()
}

/// The bytes of a string, which may hold zeros.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_text(value: *const Value, length: *mut usize) -> *const u8 {
    // SAFETY: handed on.
    let text = unsafe { item(value) }.and_then(Value::as_str);
    // SAFETY: the runner passes the address of a variable.
    unsafe { length.write(text.map_or(0, str::len)) };
    text.map_or(std::ptr::null(), str::as_ptr)
}

/// How many items or fields there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_count(value: *const Value) -> usize {
    // SAFETY: handed on.
    match unsafe { item(value) } {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(fields)) => fields.len(),
        _ => 0,
    }
}

/// The item, or the value of the field, at a place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_at(value: *const Value, place: usize) -> *const Value {
    // SAFETY: handed on.
    match unsafe { item(value) } {
        Some(Value::Array(items)) => pointer(items.get(place)),
        Some(Value::Object(fields)) => pointer(fields.values().nth(place)),
        _ => std::ptr::null(),
    }
}

/// The name of the field at a place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_name(
    value: *const Value,
    place: usize,
    length: *mut usize,
) -> *const u8 {
    // SAFETY: handed on.
    let fields = unsafe { item(value) }.and_then(Value::as_object);
    let name = fields.and_then(|fields| fields.keys().nth(place));
    // SAFETY: the runner passes the address of a variable.
    unsafe { length.write(name.map_or(0, String::len)) };
    name.map_or(std::ptr::null(), |name| name.as_ptr())
}

/// The field of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_get(value: *const Value, name: *const c_char) -> *const Value {
    // SAFETY: the runner passes string literals.
    let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap_or_default();
    // SAFETY: handed on.
    pointer(unsafe { item(value) }.and_then(|value| value.get(name)))
}

/// The item as text, for messages. It is kept for as long as the runner runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn json_print(value: *const Value) -> *const c_char {
    static PRINTED: Mutex<Vec<CString>> = Mutex::new(Vec::new());
    // SAFETY: handed on.
    let text = unsafe { item(value) }.map(Value::to_string).unwrap_or_default();
    let text = CString::new(text).unwrap_or_default();
    // Moving the string does not move its bytes.
    let place = text.as_ptr();
    PRINTED.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    place
}
