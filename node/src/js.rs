//! The border to Node-API: the only file, with `bridge.rs`, that calls it.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use minikv::{Error, ErrorKind, MAX_VALUE_BYTES, WriteCounters};
use napi_sys as sys;

use crate::state::{Helper, State};

/// Why a call ends early: an error of the core, or an exception that JavaScript has already thrown.
pub enum Fail {
    Kv(Error),
    /// An error about a file, where names are written as in the file.
    File(Error),
    Js,
}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        Fail::Kv(error)
    }
}

pub type Done<T> = Result<T, Fail>;

/// A JavaScript value, valid during the call in which it was made.
#[derive(Clone, Copy)]
pub struct Js<'a>(sys::napi_value, PhantomData<&'a ()>);

/// What `typeof` says, with null apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Undefined,
    Null,
    Bool,
    Number,
    Text,
    Symbol,
    Object,
    Function,
    BigInt,
    External,
}

/// The environment of one call from JavaScript, on its thread.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    raw: sys::napi_env,
    pub state: &'a State,
}

pub const MAX_ARGS: usize = 6;
pub type Args<'a> = [Js<'a>; MAX_ARGS];

/// What bytes in JavaScript turn out to be.
pub enum Bytes {
    /// A copy.
    Owned(Vec<u8>),
    /// Bytes that cannot be taken, and why.
    Refused(&'static str),
    /// Something else.
    Not,
}

/// Text on the stack if it is short.
pub struct Text {
    stack: [u8; STACK],
    len: usize,
    heap: Vec<u8>,
}

/// Small, because it is moved around; most keys fit.
const STACK: usize = 64;

/// U+FFFD in UTF-8.
const REPLACEMENT: [u8; 3] = [0xef, 0xbf, 0xbd];

/// More of a text or of bytes is not copied: no key and no value may be that long, and the core says so.
const MOST: usize = MAX_VALUE_BYTES + 16;

impl Text {
    pub fn as_bytes(&self) -> &[u8] {
        if self.heap.is_empty() { &self.stack[..self.len] } else { &self.heap }
    }

    pub fn as_str(&self) -> &str {
        // V8 writes whole characters of valid UTF-8 only.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

fn ok(status: sys::napi_status) -> Done<()> {
    if status == sys::Status::napi_ok { Ok(()) } else { Err(Fail::Js) }
}

/// Calls a Node-API function whose last argument is the result.
macro_rules! out {
    ($env:expr, $function:ident($($argument:expr),*), $initial:expr) => {{
        let mut result = $initial;
        // SAFETY: the environment is that of the running call, every value comes from it, and the
        // result is written to a local of the right type.
        let status = unsafe { sys::$function($env.raw, $($argument,)* &mut result) };
        ok(status).map(|()| result)
    }};
}

impl<'a> Env<'a> {
    fn js(self, value: Done<sys::napi_value>) -> Done<Js<'a>> {
        value.map(|value| Js(value, PhantomData))
    }

    pub fn undefined(self) -> Done<Js<'a>> {
        self.js(out!(self, napi_get_undefined(), ptr::null_mut()))
    }

    pub fn null(self) -> Done<Js<'a>> {
        self.js(out!(self, napi_get_null(), ptr::null_mut()))
    }

    pub fn bool(self, value: bool) -> Done<Js<'a>> {
        self.js(out!(self, napi_get_boolean(value), ptr::null_mut()))
    }

    pub fn number(self, value: f64) -> Done<Js<'a>> {
        self.js(out!(self, napi_create_double(value), ptr::null_mut()))
    }

    pub fn small(self, value: i32) -> Done<Js<'a>> {
        self.js(out!(self, napi_create_int32(value), ptr::null_mut()))
    }

    pub fn bigint(self, value: i64) -> Done<Js<'a>> {
        self.js(out!(self, napi_create_bigint_int64(value), ptr::null_mut()))
    }

    pub fn unsigned(self, value: u64) -> Done<Js<'a>> {
        self.js(out!(self, napi_create_bigint_uint64(value), ptr::null_mut()))
    }

    pub fn text(self, text: &str) -> Done<Js<'a>> {
        if text.is_ascii() {
            return self.latin1(text.as_bytes());
        }
        let (start, length) = (text.as_ptr().cast::<c_char>(), text.len() as isize);
        self.js(out!(self, napi_create_string_utf8(start, length), ptr::null_mut()))
    }

    /// A string of one character for each byte.
    pub fn latin1(self, bytes: &[u8]) -> Done<Js<'a>> {
        let (start, length) = (bytes.as_ptr().cast::<c_char>(), bytes.len() as isize);
        self.js(out!(self, napi_create_string_latin1(start, length), ptr::null_mut()))
    }

    /// A Buffer with memory of its own.
    pub fn buffer(self, bytes: &[u8]) -> Done<Js<'a>> {
        let (start, length) = (bytes.as_ptr().cast::<c_void>(), bytes.len());
        let mut data = ptr::null_mut();
        self.js(out!(self, napi_create_buffer_copy(length, start, &mut data), ptr::null_mut()))
    }

    pub fn array(self, items: &[Js<'a>]) -> Done<Js<'a>> {
        let array = self.empty_array(items.len())?;
        for (at, item) in items.iter().enumerate() {
            self.set_element(array, at, *item)?;
        }
        Ok(array)
    }

    pub fn empty_array(self, length: usize) -> Done<Js<'a>> {
        self.js(out!(self, napi_create_array_with_length(length), ptr::null_mut()))
    }

    pub fn set_element(self, array: Js<'a>, at: usize, item: Js<'_>) -> Done<()> {
        // SAFETY: both values belong to the running call.
        ok(unsafe { sys::napi_set_element(self.raw, array.0, at as u32, item.0) })
    }

    /// A plain object with these own properties, whatever `Object.prototype` holds.
    pub fn object(self, properties: &[(Js<'a>, Js<'a>)]) -> Done<Js<'a>> {
        let object = self.js(out!(self, napi_create_object(), ptr::null_mut()))?;
        let descriptor = |(name, value): &(Js<'a>, Js<'a>)| sys::napi_property_descriptor {
            utf8name: ptr::null(),
            name: name.0,
            method: None,
            getter: None,
            setter: None,
            value: value.0,
            attributes: sys::PropertyAttributes::writable
                | sys::PropertyAttributes::enumerable
                | sys::PropertyAttributes::configurable,
            data: ptr::null_mut(),
        };
        let descriptors: Vec<_> = properties.iter().map(descriptor).collect();
        if !descriptors.is_empty() {
            let (count, first) = (descriptors.len(), descriptors.as_ptr());
            // SAFETY: `first` leads to `count` descriptors whose values belong to the running call.
            ok(unsafe { sys::napi_define_properties(self.raw, object.0, count, first) })?;
        }
        Ok(object)
    }

    pub fn kind(self, value: Js<'_>) -> Done<Kind> {
        use sys::ValueType as T;
        let kind = out!(self, napi_typeof(value.0), T::napi_undefined)?;
        Ok(match kind {
            T::napi_undefined => Kind::Undefined,
            T::napi_null => Kind::Null,
            T::napi_boolean => Kind::Bool,
            T::napi_number => Kind::Number,
            T::napi_string => Kind::Text,
            T::napi_symbol => Kind::Symbol,
            T::napi_object => Kind::Object,
            T::napi_function => Kind::Function,
            T::napi_bigint => Kind::BigInt,
            _ => Kind::External,
        })
    }

    pub fn bool_of(self, value: Js<'_>) -> Done<bool> {
        out!(self, napi_get_value_bool(value.0), false)
    }

    pub fn number_of(self, value: Js<'_>) -> Done<f64> {
        out!(self, napi_get_value_double(value.0), 0.0)
    }

    /// The handle that a JavaScript class keeps; 0 if it is not a number.
    pub fn id_of(self, value: Js<'_>) -> u64 {
        self.number_of(value).map_or(0, |number| number as u64)
    }

    /// The number if it fits into 64 bits, with sign.
    pub fn bigint_of(self, value: Js<'_>) -> Done<Option<i64>> {
        let mut lossless = false;
        let mut number = 0i64;
        // SAFETY: the value belongs to the running call, the results are locals.
        let status = unsafe {
            sys::napi_get_value_bigint_int64(self.raw, value.0, &mut number, &mut lossless)
        };
        ok(status).map(|()| lossless.then_some(number))
    }

    pub fn unsigned_of(self, value: Js<'_>) -> Done<Option<u64>> {
        let mut lossless = false;
        let mut number = 0u64;
        // SAFETY: the value belongs to the running call, the results are locals.
        let status = unsafe {
            sys::napi_get_value_bigint_uint64(self.raw, value.0, &mut number, &mut lossless)
        };
        ok(status).map(|()| lossless.then_some(number))
    }

    /// How many 64-bit words a BigInt has.
    pub fn bigint_words(self, value: Js<'_>) -> Done<usize> {
        let (mut words, no_sign, no_words) = (0, ptr::null_mut(), ptr::null_mut());
        // SAFETY: the value belongs to the running call; with neither sign nor buffer only the count is written.
        let status = unsafe {
            sys::napi_get_value_bigint_words(self.raw, value.0, no_sign, &mut words, no_words)
        };
        ok(status).map(|()| words)
    }

    /// As `String(value)` would give for a primitive.
    pub fn shown(self, value: Js<'_>) -> Done<String> {
        let text = self.js(out!(self, napi_coerce_to_string(value.0), ptr::null_mut()))?;
        Ok(self.text_of(text)?.map(|text| text.as_str().to_owned()).unwrap_or_default())
    }

    /// The text of a string; `None`: it holds a surrogate without its other half.
    pub fn text_of(self, value: Js<'_>) -> Done<Option<Text>> {
        let mut text = Text { stack: [0; STACK], len: 0, heap: Vec::new() };
        let start = text.stack.as_mut_ptr().cast::<c_char>();
        text.len = out!(self, napi_get_value_string_utf8(value.0, start, STACK), 0usize)?;
        // A character that did not fit has at most four bytes.
        if text.len >= STACK - 4 {
            let none = ptr::null_mut();
            let length = out!(self, napi_get_value_string_utf8(value.0, none, 0), 0usize)?;
            let room = length.min(MOST) + 1;
            text.heap.resize(room, 0);
            let start = text.heap.as_mut_ptr().cast::<c_char>();
            let written = out!(self, napi_get_value_string_utf8(value.0, start, room), 0usize)?;
            text.heap.truncate(written);
        }
        // V8 writes U+FFFD for a lone surrogate, which may as well be one that was there.
        let bytes = text.as_bytes();
        let suspect = bytes.contains(&0xef) && bytes.windows(3).any(|three| three == REPLACEMENT);
        if suspect && self.has_lone_surrogate(value)? {
            return Ok(None);
        }
        Ok(Some(text))
    }

    fn has_lone_surrogate(self, value: Js<'_>) -> Done<bool> {
        let none = ptr::null_mut();
        let length = out!(self, napi_get_value_string_utf16(value.0, none, 0), 0usize)?;
        let room = length.min(MOST) + 1;
        let mut units = vec![0u16; room];
        let start = units.as_mut_ptr();
        let written = out!(self, napi_get_value_string_utf16(value.0, start, room), 0usize)?;
        units.truncate(written);
        // Cut off in the middle of a pair: too long for anything anyway.
        Ok(char::decode_utf16(units).any(|unit| unit.is_err()))
    }

    /// The first `most` characters of a string made by `latin1`.
    pub fn latin1_of(self, value: Js<'_>, most: usize) -> Done<Vec<u8>> {
        let none = ptr::null_mut();
        let length = out!(self, napi_get_value_string_latin1(value.0, none, 0), 0usize)?;
        let room = length.min(most) + 1;
        let mut bytes = vec![0u8; room];
        let start = bytes.as_mut_ptr().cast::<c_char>();
        let written = out!(self, napi_get_value_string_latin1(value.0, start, room), 0usize)?;
        bytes.truncate(written);
        Ok(bytes)
    }

    /// A copy of the bytes of a Uint8Array, Buffer or ArrayBuffer.
    pub fn bytes_of(self, value: Js<'_>) -> Done<Bytes> {
        if out!(self, napi_is_typedarray(value.0), false)? {
            let (mut kind, mut length, mut data) = (0, 0usize, ptr::null_mut());
            let (mut buffer, mut offset) = (ptr::null_mut(), 0usize);
            // SAFETY: the value is a typed array of the running call, the results are locals.
            ok(unsafe {
                sys::napi_get_typedarray_info(
                    self.raw,
                    value.0,
                    &mut kind,
                    &mut length,
                    &mut data,
                    &mut buffer,
                    &mut offset,
                )
            })?;
            if kind != sys::TypedarrayType::uint8_array {
                return Ok(Bytes::Refused("a typed array other than Uint8Array cannot be stored"));
            }
            if !out!(self, napi_is_arraybuffer(buffer), false)? {
                return Ok(Bytes::Refused("shared memory cannot be stored; copy it first"));
            }
            if out!(self, napi_is_detached_arraybuffer(buffer), false)? {
                return Ok(Bytes::Refused("a detached ArrayBuffer cannot be stored"));
            }
            return Ok(Bytes::Owned(copy(data, length)));
        }
        if out!(self, napi_is_arraybuffer(value.0), false)? {
            if out!(self, napi_is_detached_arraybuffer(value.0), false)? {
                return Ok(Bytes::Refused("a detached ArrayBuffer cannot be stored"));
            }
            let mut data = ptr::null_mut();
            let length = out!(self, napi_get_arraybuffer_info(value.0, &mut data), 0usize)?;
            return Ok(Bytes::Owned(copy(data, length)));
        }
        Ok(Bytes::Not)
    }

    /// Memory that Rust goes on writing, as an ArrayBuffer that keeps it; undefined where this Node has none such.
    pub fn memory(self, words: Arc<dyn Words>) -> Done<Js<'a>> {
        let (start, bytes) = (words.words().as_ptr(), size_of_val(words.words()));
        let keeper = Box::into_raw(Box::new(words)).cast::<c_void>();
        let mut buffer = ptr::null_mut();
        // SAFETY: the words stay where they are as long as the keeper, which `forget_words` takes back, once.
        let status = unsafe {
            let data = start.cast_mut().cast::<c_void>();
            let end = Some(forget_words as unsafe extern "C" fn(_, _, _));
            sys::napi_create_external_arraybuffer(self.raw, data, bytes, end, keeper, &mut buffer)
        };
        if status == sys::Status::napi_ok {
            return Ok(Js(buffer, PhantomData));
        }
        // SAFETY: Node did not take it, so it is still only ours.
        drop(unsafe { Box::from_raw(keeper.cast::<Arc<dyn Words>>()) });
        self.undefined()
    }

    pub fn is_array(self, value: Js<'_>) -> Done<bool> {
        out!(self, napi_is_array(value.0), false)
    }

    pub fn length_of(self, array: Js<'_>) -> Done<u32> {
        out!(self, napi_get_array_length(array.0), 0)
    }

    pub fn element(self, array: Js<'_>, at: u32) -> Done<Js<'a>> {
        self.js(out!(self, napi_get_element(array.0, at), ptr::null_mut()))
    }

    pub fn property(self, object: Js<'_>, name: Js<'_>) -> Done<Js<'a>> {
        self.js(out!(self, napi_get_property(object.0, name.0), ptr::null_mut()))
    }

    /// The names of an object's own enumerable properties that are not symbols.
    pub fn names_of(self, object: Js<'_>) -> Done<Js<'a>> {
        use sys::{KeyCollectionMode as Mode, KeyConversion as Conversion, KeyFilter as Filter};
        let (mode, conversion) = (Mode::own_only, Conversion::numbers_to_strings);
        let filter = Filter::enumerable | Filter::skip_symbols;
        let names = out!(
            self,
            napi_get_all_property_names(object.0, mode, filter, conversion),
            ptr::null_mut()
        );
        self.js(names)
    }

    pub fn same(self, a: Js<'_>, b: Js<'_>) -> Done<bool> {
        out!(self, napi_strict_equals(a.0, b.0), false)
    }

    pub fn call(self, function: Js<'_>, arguments: &[Js<'_>]) -> Done<Js<'a>> {
        let this = self.undefined()?;
        let values: Vec<sys::napi_value> = arguments.iter().map(|argument| argument.0).collect();
        let (count, first) = (values.len(), values.as_ptr());
        self.js(out!(self, napi_call_function(this.0, function.0, count, first), ptr::null_mut()))
    }

    /// A helper that `init` was given.
    pub fn helper(self, helper: Helper) -> Done<Js<'a>> {
        let reference = self.state.helper(helper);
        if reference.is_null() {
            return Err(Error::new(ErrorKind::Internal, "the addon was not initialised").into());
        }
        self.js(out!(self, napi_get_reference_value(reference), ptr::null_mut()))
    }

    pub fn reference(self, value: Js<'_>) -> Done<sys::napi_ref> {
        out!(self, napi_create_reference(value.0, 1), ptr::null_mut())
    }

    /// Gives up what `reference` gave; null is fine.
    pub fn forget(self, reference: sys::napi_ref) {
        if !reference.is_null() {
            // SAFETY: made by `reference` in this environment; whoever calls this has no other use for it.
            unsafe { sys::napi_delete_reference(self.raw, reference) };
        }
    }

    /// Runs `body` so that the values it makes are given up when it ends.
    pub fn scope<T>(self, body: impl for<'b> FnOnce(Env<'b>) -> Done<T>) -> Done<T> {
        let scope = out!(self, napi_open_handle_scope(), ptr::null_mut())?;
        let result = body(Env { raw: self.raw, state: self.state });
        // SAFETY: opened above and closed once; scopes nest because this is a plain block.
        let closed = ok(unsafe { sys::napi_close_handle_scope(self.raw, scope) });
        let value = result?;
        closed.map(|()| value)
    }

    /// From now on `dispatch` is called when something is ready.
    pub fn open_bridge(self, dispatch: Js<'_>) -> Done<()> {
        if !self.state.bridge.open(self.raw, dispatch.0) {
            return Err(Fail::Js);
        }
        // SAFETY: the state is the one attached to this environment.
        unsafe { crate::state::clear_at_end(self.raw, self.state) };
        Ok(())
    }

    /// Whether the loop stays alive for what this addon waits for.
    pub fn keep_alive(self, alive: bool) {
        self.state.bridge.keep_alive(alive);
    }

    fn throw(self, fail: Fail) {
        let mut pending = false;
        // SAFETY: the environment is that of the running call.
        unsafe { sys::napi_is_exception_pending(self.raw, &mut pending) };
        if pending {
            return;
        }
        let refused = || Error::new(ErrorKind::Internal, "Node-API refused a call");
        let thrown = match fail {
            Fail::Kv(error) => self.throw_error(&error, &crate::options::spelled(error.message())),
            Fail::File(error) => self.throw_error(&error, error.message()),
            Fail::Js => self.throw_error(&refused(), refused().message()),
        };
        if thrown.is_err() {
            // Not initialised, or the thread is being terminated: without the class then.
            let code = c"internal".as_ptr();
            // SAFETY: both texts end with a NUL and live for ever.
            unsafe { sys::napi_throw_error(self.raw, code, c"minikv: internal error".as_ptr()) };
        }
    }

    fn throw_error(self, error: &Error, message: &str) -> Done<()> {
        let code = self.text(error.kind().as_str())?;
        let message = self.text(message)?;
        let entry = match error.present() {
            None => self.undefined()?,
            Some(None) => self.null()?,
            Some(Some(entry)) => crate::packed::pack(self, entry, self.state.bigint.get())?,
        };
        let error = self.call(self.helper(Helper::MakeError)?, &[code, message, entry])?;
        // SAFETY: the error belongs to the running call.
        ok(unsafe { sys::napi_throw(self.raw, error.0) })
    }
}

/// What JavaScript reads while Rust writes it.
pub trait Words: Send + Sync {
    /// Always the same.
    fn words(&self) -> &[AtomicU32];
}

impl Words for WriteCounters {
    fn words(&self) -> &[AtomicU32] {
        self.words_of_all()
    }
}

unsafe extern "C" fn forget_words(_env: sys::napi_env, _data: *mut c_void, keeper: *mut c_void) {
    // SAFETY: `memory` made it by Box::into_raw, and Node calls this once, when nobody has the buffer any more.
    let keeper = unsafe { Box::from_raw(keeper.cast::<Arc<dyn Words>>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(keeper)));
}

fn copy(data: *mut c_void, length: usize) -> Vec<u8> {
    let length = length.min(MOST);
    if data.is_null() || length == 0 {
        return Vec::new();
    }
    // SAFETY: Node-API gave this span of an unshared buffer just now, and no JavaScript has run since.
    unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }.to_vec()
}

/// What each exported function goes through: no panic leaves it, and every error is thrown.
///
/// # Safety
/// Only to be called by Node-API, with the arguments of a callback registered by [`export`].
pub unsafe fn enter(
    raw: sys::napi_env,
    info: sys::napi_callback_info,
    body: impl for<'a> FnOnce(Env<'a>, &Args<'a>) -> Done<Js<'a>>,
) -> sys::napi_value {
    let mut count = MAX_ARGS;
    let mut values = [ptr::null_mut(); MAX_ARGS];
    let mut data = ptr::null_mut();
    // SAFETY: there is room for `count` values, and Node-API fills up with undefined.
    let status = unsafe {
        sys::napi_get_cb_info(
            raw,
            info,
            &mut count,
            values.as_mut_ptr(),
            ptr::null_mut(),
            &mut data,
        )
    };
    if status != sys::Status::napi_ok || data.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: `export` registered a State that lives until the environment is gone.
    let state = unsafe { &*data.cast::<State>() };
    let env = Env { raw, state };
    let arguments = values.map(|value| Js(value, PhantomData));
    // A call may come in the middle of another: from a getter, from the function of an update.
    let outer = state.bigint.get();
    let result = catch_unwind(AssertUnwindSafe(|| body(env, &arguments)));
    let value = match result {
        Ok(Ok(value)) => value.0,
        Ok(Err(fail)) => {
            env.throw(fail);
            ptr::null_mut()
        }
        Err(_) => {
            env.throw(Error::new(ErrorKind::Internal, "a defect in the addon").into());
            ptr::null_mut()
        }
    };
    state.bigint.set(outer);
    value
}

/// Makes a function of `exports`.
///
/// # Safety
/// `raw` and `exports` are those of the module being loaded; `state` outlives the environment.
pub unsafe fn export(
    raw: sys::napi_env,
    exports: sys::napi_value,
    state: *const State,
    name: &str,
    callback: sys::napi_callback,
) -> Done<()> {
    let (start, length) = (name.as_ptr().cast::<c_char>(), name.len() as isize);
    let mut function = ptr::null_mut();
    let mut key = ptr::null_mut();
    let data = state.cast_mut().cast::<c_void>();
    // SAFETY: name and length belong together, the results are locals; the rest is the caller's promise.
    unsafe {
        ok(sys::napi_create_function(raw, start, length, callback, data, &mut function))?;
        ok(sys::napi_create_string_utf8(raw, start, length, &mut key))?;
        ok(sys::napi_set_property(raw, exports, key, function))
    }
}
