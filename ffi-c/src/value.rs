//! Values: built piece by piece, read as a tree.

use std::ffi::c_char;
use std::sync::{Mutex, OnceLock, PoisonError};

use minikv::{Encoded, Encoder, Error, ErrorKind, IntoValue, Value, ValueType};

use crate::border::{Out, argument, borrow, call, free, give, quietly};
use crate::bytes::{give_string, minikv_bytes};
use crate::entry::fill;
use crate::error::{minikv_code, minikv_error};
use crate::json;

/// The types of values.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum minikv_type {
    /// There is no value: the handle is NULL, or the value is not complete.
    MINIKV_NONE = 0,
    /// nil
    MINIKV_NIL = 1,
    /// true or false
    MINIKV_BOOL = 2,
    /// a signed 64-bit integer
    MINIKV_INT = 3,
    /// a 64-bit float
    MINIKV_FLOAT = 4,
    /// UTF-8 text
    MINIKV_TEXT = 5,
    /// bytes
    MINIKV_BYTES = 6,
    /// a list of values
    MINIKV_LIST = 7,
    /// a map from text to values
    MINIKV_MAP = 8,
}

pub fn type_of(value_type: ValueType) -> minikv_type {
    match value_type {
        ValueType::Nil => minikv_type::MINIKV_NIL,
        ValueType::Bool => minikv_type::MINIKV_BOOL,
        ValueType::Int => minikv_type::MINIKV_INT,
        ValueType::Float => minikv_type::MINIKV_FLOAT,
        ValueType::Text => minikv_type::MINIKV_TEXT,
        ValueType::Bytes => minikv_type::MINIKV_BYTES,
        ValueType::List => minikv_type::MINIKV_LIST,
        ValueType::Map => minikv_type::MINIKV_MAP,
        _ => minikv_type::MINIKV_NONE,
    }
}

/// The name of a type, such as "int"; "none" for MINIKV_NONE, NULL for a number that is none. Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_type_name(value_type: i32) -> *const c_char {
    let names = [c"none", c"nil", c"bool", c"int", c"float", c"text", c"bytes", c"list", c"map"];
    let name = usize::try_from(value_type).ok().and_then(|number| names.get(number));
    name.map_or(std::ptr::null(), |name| name.as_ptr())
}

/// A value: one that you build with minikv_value_new and the `add` functions, or one that you read.
///
/// Built: the first error is remembered and comes out of the call that stores the value, so the codes of
/// the `add` functions need not be looked at. Once complete it can be read and stored, as often as you like.
/// Read (from an entry, or from another value): borrowed from where it came, not to be freed. Never changes.
pub struct minikv_value(Kind);

enum Kind {
    Node(Node),
    Built(Box<Built>),
}

pub enum Node {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<minikv_value>),
    /// Sorted by the keys' bytes.
    Map(Vec<(String, minikv_value)>),
}

/// A value under construction, then complete.
struct Built {
    writing: Mutex<Writing>,
    /// Set once, when the outermost piece ends.
    encoded: OnceLock<Encoded>,
    tree: OnceLock<minikv_value>,
}

#[derive(Default)]
struct Writing {
    encoder: Encoder,
    open: usize,
    problem: Option<Error>,
}

impl From<Value> for minikv_value {
    fn from(value: Value) -> minikv_value {
        minikv_value(Kind::Node(match value {
            Value::Nil => Node::Nil,
            Value::Bool(bool) => Node::Bool(bool),
            Value::Int(int) => Node::Int(int),
            Value::Float(float) => Node::Float(float),
            Value::Text(text) => Node::Text(text),
            Value::Bytes(bytes) => Node::Bytes(bytes),
            Value::List(items) => Node::List(items.into_iter().map(Into::into).collect()),
            Value::Map(map) => {
                Node::Map(map.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }))
    }
}

/// How a piece changes the number of open lists and maps.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Whole,
    Key,
    Begin,
    End,
}

impl minikv_value {
    pub fn new() -> minikv_value {
        let (writing, encoded, tree) = Default::default();
        minikv_value(Kind::Built(Box::new(Built { writing, encoded, tree })))
    }

    /// The tree; `None` while it is not complete.
    pub fn node(&self) -> Option<&Node> {
        match &self.0 {
            Kind::Node(node) => Some(node),
            Kind::Built(built) => {
                let encoded = built.encoded.get()?;
                let tree = || Value::try_from(encoded.clone()).unwrap_or_default().into();
                built.tree.get_or_init(tree).node()
            }
        }
    }

    fn write(
        &self,
        piece: Piece,
        write: impl FnOnce(&mut Encoder) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Kind::Built(built) = &self.0 else {
            return Err(argument("this value was read and cannot be added to"));
        };
        let mut writing = built.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = &writing.problem {
            return Err(problem.clone());
        }
        let result = match built.encoded.get() {
            Some(_) => Err(argument("value: it is complete; nothing can be added")),
            None => write(&mut writing.encoder).map_err(as_argument),
        };
        if let Err(problem) = result {
            writing.problem = Some(problem.clone());
            return Err(problem);
        }
        match piece {
            Piece::Begin => writing.open += 1,
            Piece::End => writing.open = writing.open.saturating_sub(1),
            Piece::Whole | Piece::Key => {}
        }
        if writing.open == 0 && piece != Piece::Key {
            let encoded = std::mem::take(&mut writing.encoder).finish()?;
            // Nothing was set before: that was looked at under this very lock.
            let _ = built.encoded.set(encoded);
        }
        Ok(())
    }
}

/// What the encoder takes for a defect of its caller is here a mistake of the library's user.
fn as_argument(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Internal => argument(error.message()),
        _ => error,
    }
}

impl IntoValue for &minikv_value {
    fn encode(self, encoder: &mut Encoder) -> Result<(), Error> {
        let node = match &self.0 {
            Kind::Node(node) => node,
            Kind::Built(built) => {
                let writing = built.writing.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(problem) = &writing.problem {
                    return Err(problem.clone());
                }
                return match built.encoded.get() {
                    Some(encoded) => encoder.encoded(encoded),
                    None => Err(encoder.error("the value is not complete")),
                };
            }
        };
        match node {
            Node::Nil => encoder.nil(),
            Node::Bool(bool) => encoder.bool(*bool),
            Node::Int(int) => encoder.int(*int),
            Node::Float(float) => encoder.float(*float),
            Node::Text(text) => encoder.text(text),
            Node::Bytes(bytes) => encoder.bytes(bytes),
            Node::List(items) => {
                encoder.begin_list()?;
                for item in items {
                    item.encode(encoder)?;
                }
                encoder.end()
            }
            Node::Map(entries) => {
                encoder.begin_map()?;
                for (key, value) in entries {
                    encoder.key(key)?;
                    value.encode(encoder)?;
                }
                encoder.end()
            }
        }
    }
}

/// A value as C hands it in. It is looked at when the core asks for it, after it has looked at the key.
pub enum Given<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Result<&'a [u8], String>),
    Bytes(Result<&'a [u8], String>),
    Json(Result<&'a [u8], String>),
    Value(Option<&'a minikv_value>),
}

impl IntoValue for Given<'_> {
    fn encode(self, encoder: &mut Encoder) -> Result<(), Error> {
        fn utf8<'a>(encoder: &Encoder, bytes: &'a [u8], hint: &str) -> Result<&'a str, Error> {
            std::str::from_utf8(bytes).map_err(|_| encoder.error(hint))
        }
        let readable =
            |span: Result<_, String>| span.map_err(|problem| argument(format!("value: {problem}")));
        match self {
            Given::Nil => encoder.nil(),
            Given::Bool(bool) => encoder.bool(bool),
            Given::Int(int) => encoder.int(int),
            Given::Float(float) => encoder.float(float),
            Given::Bytes(bytes) => encoder.bytes(readable(bytes)?),
            Given::Text(text) => {
                let hint = "the text is not valid UTF-8; store it as bytes";
                let text = utf8(encoder, readable(text)?, hint)?;
                encoder.text(text)
            }
            Given::Json(json) => {
                let json = utf8(encoder, readable(json)?, "the JSON is not valid UTF-8")?;
                json::read(json, encoder)
            }
            Given::Value(Some(value)) => value.encode(encoder),
            Given::Value(None) => Err(crate::border::null("value")),
        }
    }
}

/// An empty value to build. Free it with minikv_value_free.
#[unsafe(no_mangle)]
pub extern "C" fn minikv_value_new() -> *mut minikv_value {
    quietly(std::ptr::null_mut(), || give(minikv_value::new()))
}

/// Frees a value that you built, or that minikv_get_value gave. Not one that is borrowed. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_free(value: *mut minikv_value) {
    // SAFETY: handed on from the caller.
    unsafe { free(value) }
}

/// Adds a piece.
///
/// # Safety
/// As [`borrow`].
unsafe fn add(
    value: *mut minikv_value,
    piece: Piece,
    write: impl FnOnce(&mut Encoder) -> Result<(), Error>,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        Ok(unsafe { borrow(value, "value") }?.write(piece, write)?)
    };
    // SAFETY: NULL may be given.
    unsafe { call(std::ptr::null_mut(), body) }
}

/// Adds nil.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_nil(value: *mut minikv_value) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Whole, Encoder::nil) }
}

/// Adds a bool.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_bool(
    value: *mut minikv_value,
    item: bool,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Whole, |encoder| encoder.bool(item)) }
}

/// Adds an int.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_int(value: *mut minikv_value, item: i64) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Whole, |encoder| encoder.int(item)) }
}

/// Adds a float. Every NaN is stored as the same one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_float(
    value: *mut minikv_value,
    item: f64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Whole, |encoder| encoder.float(item)) }
}

/// Adds text, which must be UTF-8. Copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_text(
    value: *mut minikv_value,
    item: minikv_bytes,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Whole, |encoder| Given::Text(item.slice()).encode(encoder)) }
}

/// Adds bytes. Copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_bytes(
    value: *mut minikv_value,
    item: minikv_bytes,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Whole, |encoder| Given::Bytes(item.slice()).encode(encoder)) }
}

/// Adds what a JSON text says; see minikv_put_json.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_json(
    value: *mut minikv_value,
    json: minikv_bytes,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Whole, |encoder| Given::Json(json.slice()).encode(encoder)) }
}

/// Adds a copy of another value, which must be complete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_value(
    value: *mut minikv_value,
    item: *const minikv_value,
) -> minikv_code {
    // Encoded first: two values that are added to each other at once must not wait for each other.
    let encoded = quietly(Err(argument("item cannot be read")), || {
        // SAFETY: handed on from the caller.
        unsafe { borrow(item, "item") }.and_then(Encoded::new)
    });
    let write = |encoder: &mut Encoder| encoder.encoded(&encoded?);
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Whole, write) }
}

/// Starts a list: add its items, then minikv_value_end. Lists and maps nest at most 128 deep.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_begin_list(value: *mut minikv_value) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Begin, Encoder::begin_list) }
}

/// Starts a map: for each entry add a key and a value, then minikv_value_end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_begin_map(value: *mut minikv_value) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Begin, Encoder::begin_map) }
}

/// Adds the key of a map's next entry, which must be UTF-8. Copied. Of equal keys the last one counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_add_key(
    value: *mut minikv_value,
    key: minikv_bytes,
) -> minikv_code {
    let write = |encoder: &mut Encoder| {
        // SAFETY: handed on from the caller.
        let key = unsafe { key.slice() }.map_err(|problem| argument(format!("key: {problem}")))?;
        let text = std::str::from_utf8(key);
        let text = text.map_err(|_| encoder.error("a map's key must be valid UTF-8"))?;
        encoder.key(text)
    };
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::Key, write) }
}

/// Ends the innermost open list or map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_end(value: *mut minikv_value) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { add(value, Piece::End, Encoder::end) }
}

/// Asks a value something; NULL and what is not complete have nothing to say.
macro_rules! ask {
    ($value:ident, $otherwise:expr, $body:expr) => {
        quietly($otherwise, || {
            // SAFETY: by the header's contract it is NULL or a live value.
            match unsafe { $value.as_ref() }.and_then(minikv_value::node) {
                Some(node) => $body(node),
                None => $otherwise,
            }
        })
    };
}

/// The type; MINIKV_NONE for NULL and while the value is not complete.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_type(value: *const minikv_value) -> minikv_type {
    ask!(value, minikv_type::MINIKV_NONE, |node: &Node| match node {
        Node::Nil => minikv_type::MINIKV_NIL,
        Node::Bool(_) => minikv_type::MINIKV_BOOL,
        Node::Int(_) => minikv_type::MINIKV_INT,
        Node::Float(_) => minikv_type::MINIKV_FLOAT,
        Node::Text(_) => minikv_type::MINIKV_TEXT,
        Node::Bytes(_) => minikv_type::MINIKV_BYTES,
        Node::List(_) => minikv_type::MINIKV_LIST,
        Node::Map(_) => minikv_type::MINIKV_MAP,
    })
}

/// Whether it is a bool; sets `*out` if it is and `out` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_as_bool(value: *const minikv_value, out: *mut bool) -> bool {
    ask!(value, false, |node: &Node| {
        let found = if let Node::Bool(bool) = node { Some(*bool) } else { None };
        // SAFETY: handed on from the caller.
        unsafe { fill(out, found) }
    })
}

/// Whether it is an int; sets `*out` if it is and `out` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_as_int(value: *const minikv_value, out: *mut i64) -> bool {
    ask!(value, false, |node: &Node| {
        let found = if let Node::Int(int) = node { Some(*int) } else { None };
        // SAFETY: handed on from the caller.
        unsafe { fill(out, found) }
    })
}

/// Whether it is a float; sets `*out` if it is and `out` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_as_float(value: *const minikv_value, out: *mut f64) -> bool {
    ask!(value, false, |node: &Node| {
        let found = if let Node::Float(float) = node { Some(*float) } else { None };
        // SAFETY: handed on from the caller.
        unsafe { fill(out, found) }
    })
}

/// Whether it is text; sets `*out` (borrowed, UTF-8) if it is and `out` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_as_text(
    value: *const minikv_value,
    out: *mut minikv_bytes,
) -> bool {
    ask!(value, false, |node: &Node| {
        let found = if let Node::Text(text) = node { Some(text.as_bytes()) } else { None };
        // SAFETY: handed on from the caller.
        unsafe { fill(out, found.map(minikv_bytes::of)) }
    })
}

/// Whether it is bytes; sets `*out` (borrowed) if it is and `out` is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_as_bytes(
    value: *const minikv_value,
    out: *mut minikv_bytes,
) -> bool {
    ask!(value, false, |node: &Node| {
        let found = if let Node::Bytes(bytes) = node { Some(&**bytes) } else { None };
        // SAFETY: handed on from the caller.
        unsafe { fill(out, found.map(minikv_bytes::of)) }
    })
}

/// How many items a list or entries a map has; 0 for every other type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_count(value: *const minikv_value) -> usize {
    ask!(value, 0, |node: &Node| match node {
        Node::List(items) => items.len(),
        Node::Map(entries) => entries.len(),
        _ => 0,
    })
}

/// The item of a list, or the value of a map's entry, at a place from 0; NULL past the end. Borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_at(
    value: *const minikv_value,
    place: usize,
) -> *const minikv_value {
    ask!(value, std::ptr::null(), |node: &Node| {
        let found = match node {
            Node::List(items) => items.get(place),
            Node::Map(entries) => entries.get(place).map(|(_, value)| value),
            _ => None,
        };
        found.map_or(std::ptr::null(), |found| &raw const *found)
    })
}

/// The key of a map's entry at a place from 0, in the order of the keys' bytes; {NULL, 0} past the end. Borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_key_at(
    value: *const minikv_value,
    place: usize,
) -> minikv_bytes {
    ask!(value, minikv_bytes::NONE, |node: &Node| match node {
        Node::Map(entries) => entries
            .get(place)
            .map_or(minikv_bytes::NONE, |(key, _)| minikv_bytes::of(key.as_bytes())),
        _ => minikv_bytes::NONE,
    })
}

/// The value under a key of a map; NULL if there is none. Borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_get(
    value: *const minikv_value,
    key: minikv_bytes,
) -> *const minikv_value {
    ask!(value, std::ptr::null(), |node: &Node| {
        // SAFETY: handed on from the caller.
        let (Node::Map(entries), Ok(key)) = (node, unsafe { key.slice() }) else {
            return std::ptr::null();
        };
        let place = entries.binary_search_by(|(other, _)| other.as_bytes().cmp(key));
        let found = place.ok().and_then(|place| entries.get(place));
        found.map_or(std::ptr::null(), |(_, value)| &raw const *value)
    })
}

/// Whether both are complete and equal: of one type and worth, floats by their bits (all NaNs are equal).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_equal(
    value: *const minikv_value,
    other: *const minikv_value,
) -> bool {
    quietly(false, || {
        // SAFETY: handed on from the caller.
        let (Some(value), Some(other)) = (unsafe { (value.as_ref(), other.as_ref()) }) else {
            return false;
        };
        match (Encoded::new(value), Encoded::new(other)) {
            (Ok(value), Ok(other)) => value == other,
            _ => false,
        }
    })
}

/// The value as JSON. Free `*json` with minikv_string_free.
///
/// Error: MINIKV_INVALID_VALUE if it is not complete, or a part has no JSON form: bytes, NaN, infinity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_value_json(
    value: *const minikv_value,
    json: *mut *mut c_char,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (value, json) = unsafe { (borrow(value, "value")?, Out::required(json, "json")?) };
        json.set(give_string(json::value(value)?));
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}
