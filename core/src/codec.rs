//! The canonical encoding of values: one value has exactly one encoding.
//!
//! | first byte | type | then |
//! | --- | --- | --- |
//! | 0 | nil | |
//! | 1, 2 | false, true | |
//! | 3 | int | zigzag, LEB128 in the fewest bytes |
//! | 4 | float | 8 bytes, big-endian; one NaN |
//! | 5 | text | length as LEB128, UTF-8 |
//! | 6 | bytes | length as LEB128, bytes |
//! | 7 | list | count in 4 bytes, big-endian, then the items |
//! | 8 | map | count in 4 bytes, big-endian, then key (as the rest of a text) and value, sorted by key bytes |

use std::cell::Cell;
use std::fmt::Write;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, shorten};
use crate::reader::{Reader, Token};
use crate::record::{Content, MAX_INLINE};
use crate::value::{IntoValue, ValueType};

/// The longest canonical encoding of a value, in bytes (16 MiB).
pub const MAX_VALUE_BYTES: usize = 16 << 20;

/// How deep lists and maps may nest; a scalar has depth 0.
pub const MAX_DEPTH: usize = 128;

pub(crate) const NIL: u8 = 0;
pub(crate) const FALSE: u8 = 1;
pub(crate) const TRUE: u8 = 2;
pub(crate) const INT: u8 = 3;
pub(crate) const FLOAT: u8 = 4;
pub(crate) const TEXT: u8 = 5;
pub(crate) const BYTES: u8 = 6;
pub(crate) const LIST: u8 = 7;
pub(crate) const MAP: u8 = 8;

/// The one bit pattern under which every NaN is stored.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;

/// A value in its canonical encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded(Vec<u8>);

impl Encoded {
    /// Encodes a value.
    pub fn new(value: impl IntoValue) -> Result<Encoded> {
        Encoded::by(Encoder::new(), value)
    }

    #[inline(always)]
    pub(crate) fn by(mut encoder: Encoder, value: impl IntoValue) -> Result<Encoded> {
        value.encode(&mut encoder)?;
        encoder.take_finished()
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value piece by piece, without copying it.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(&self.0)
    }
}

/// An encoded value ready to be stored: a large one is copied here, before any lock is taken.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    encoded: Encoded,
    large: Option<Arc<[u8]>>,
}

impl Prepared {
    #[inline(always)]
    pub fn new(encoded: Encoded) -> Prepared {
        let large = (encoded.0.len() > MAX_INLINE).then(|| Arc::from(&*encoded.0));
        Prepared { encoded, large }
    }

    #[inline(always)]
    pub fn content(&self) -> Content<'_> {
        Content { bytes: &self.encoded.0, large: self.large.as_ref() }
    }

    /// The value has been stored: the thread's next one is encoded in the same memory.
    #[inline(always)]
    pub fn recycle(self) {
        let buffer = self.encoded.0;
        if (1..=MAX_INLINE).contains(&buffer.capacity()) {
            // A thread that ends has no place for it any more.
            let _ = SPARE.try_with(|spare| spare.set(buffer));
        }
    }
}

thread_local! {
    /// What the value that was stored last was encoded in.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Writes one value, piece by piece, and names the path to whatever cannot be stored.
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
    open: Vec<Open>,
    done: bool,
    /// An error was returned: whatever follows, this is no value.
    failed: bool,
}

#[derive(Debug)]
enum Open {
    List { start: usize, count: u32 },
    Map { start: usize, entries: Vec<MapEntry>, expects_value: bool },
}

/// Where an entry of a map under construction lies; its end is the start of the next.
#[derive(Clone, Copy, Debug)]
struct MapEntry {
    start: usize,
    key_start: usize,
    key_end: usize,
}

impl Encoder {
    /// An encoder with nothing written.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// As [`new`](Encoder::new), for a value that is stored at once: its buffer is one that this thread has used before.
    #[doc(hidden)]
    #[inline(always)]
    pub fn reusing() -> Encoder {
        let mut out = SPARE.try_with(Cell::take).unwrap_or_default();
        out.clear();
        Encoder { out, ..Encoder::default() }
    }

    /// Writes nil.
    pub fn nil(&mut self) -> Result<()> {
        self.scalar(NIL, &[])
    }

    /// Writes a truth value.
    pub fn bool(&mut self, value: bool) -> Result<()> {
        self.scalar(if value { TRUE } else { FALSE }, &[])
    }

    /// Writes an int.
    pub fn int(&mut self, value: i64) -> Result<()> {
        self.begin_value()?;
        self.out.push(INT);
        self.leb128(((value << 1) ^ (value >> 63)) as u64);
        self.end_value()
    }

    /// Writes a float.
    pub fn float(&mut self, value: f64) -> Result<()> {
        let bits = if value.is_nan() { NAN_BITS } else { value.to_bits() };
        self.scalar(FLOAT, &bits.to_be_bytes())
    }

    /// Writes text.
    pub fn text(&mut self, value: &str) -> Result<()> {
        self.sized(TEXT, value.as_bytes())
    }

    /// Writes bytes.
    pub fn bytes(&mut self, value: &[u8]) -> Result<()> {
        self.sized(BYTES, value)
    }

    /// Starts a list; its items follow, then [`end`](Encoder::end).
    pub fn begin_list(&mut self) -> Result<()> {
        self.begin_value()?;
        self.check_depth()?;
        self.out.push(LIST);
        self.open.push(Open::List { start: self.out.len(), count: 0 });
        self.out.extend_from_slice(&[0; 4]);
        self.check_size()
    }

    /// Starts a map; for each entry follow [`key`](Encoder::key) and a value, then [`end`](Encoder::end).
    pub fn begin_map(&mut self) -> Result<()> {
        self.begin_value()?;
        self.check_depth()?;
        self.out.push(MAP);
        let start = self.out.len();
        self.open.push(Open::Map { start, entries: Vec::new(), expects_value: false });
        self.out.extend_from_slice(&[0; 4]);
        self.check_size()
    }

    /// Writes the key of the next map entry. Of equal keys the last one counts.
    pub fn key(&mut self, key: &str) -> Result<()> {
        let start = self.out.len();
        match self.open.last() {
            Some(Open::Map { expects_value: false, .. }) => {}
            _ => return Err(self.fail(misuse("a key belongs into a map, before its value"))),
        }
        self.check_room(key.len())?;
        self.leb128(key.len() as u64);
        let key_start = self.out.len();
        self.out.extend_from_slice(key.as_bytes());
        let entry = MapEntry { start, key_start, key_end: self.out.len() };
        if let Some(Open::Map { entries, expects_value, .. }) = self.open.last_mut() {
            entries.push(entry);
            *expects_value = true;
        }
        Ok(())
    }

    /// Ends the innermost open list or map.
    pub fn end(&mut self) -> Result<()> {
        match self.open.pop() {
            Some(Open::List { start, count }) => {
                self.out[start..start + 4].copy_from_slice(&count.to_be_bytes());
            }
            Some(Open::Map { start, entries, expects_value: false }) => {
                let count = self.sort_map(start, entries);
                self.out[start..start + 4].copy_from_slice(&count.to_be_bytes());
            }
            _ => return Err(self.fail(misuse("nothing to end here"))),
        }
        self.end_value()
    }

    /// Writes a value that was encoded before.
    pub fn encoded(&mut self, value: &Encoded) -> Result<()> {
        if self.open.is_empty() {
            self.begin_value()?;
            self.out.extend_from_slice(&value.0);
            return self.end_value();
        }
        // Inside a container the depth has to be counted anew.
        self.copy(&mut Reader::new(&value.0))
    }

    /// As [`encoded`](Encoder::encoded), without a copy where it is the whole value.
    pub(crate) fn take(&mut self, value: Encoded) -> Result<()> {
        if !self.open.is_empty() || self.done {
            return self.encoded(&value);
        }
        self.out = value.0;
        self.end_value()
    }

    fn copy(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        match reader.token()? {
            Token::Nil => self.nil(),
            Token::Bool(bool) => self.bool(bool),
            Token::Int(int) => self.int(int),
            Token::Float(float) => self.float(float),
            Token::Text(text) => self.text(text),
            Token::Bytes(bytes) => self.bytes(bytes),
            Token::List(count) => {
                self.begin_list()?;
                for _ in 0..count {
                    self.copy(reader)?;
                }
                self.end()
            }
            Token::Map(count) => {
                self.begin_map()?;
                for _ in 0..count {
                    self.key(reader.key()?)?;
                    self.copy(reader)?;
                }
                self.end()
            }
        }
    }

    /// The finished value.
    #[inline(always)]
    pub fn finish(mut self) -> Result<Encoded> {
        self.take_finished()
    }

    /// As [`finish`](Encoder::finish), of an encoder that stays where it is: a move would wait for what was written last.
    #[inline(always)]
    fn take_finished(&mut self) -> Result<Encoded> {
        if !self.done || self.failed {
            return Err(misuse("the value is not complete"));
        }
        Ok(Encoded(std::mem::take(&mut self.out)))
    }

    /// An `invalid_value` at the present place, for what a binding cannot convert:
    /// `error("a set cannot be stored")` → `value["tags"][2]: a set cannot be stored`.
    pub fn error(&self, problem: &str) -> Error {
        Error::value(format!("{}: {problem}", self.path()))
    }

    /// An `invalid_value` at the present place for an integer outside signed 64 bit.
    pub fn int_out_of_range(&self, int: impl std::fmt::Display) -> Error {
        let path = self.path();
        Error::int_out_of_range(format!("{path}: the int {int} does not fit into signed 64 bit"))
    }

    fn path(&self) -> String {
        let mut path = String::from("value");
        for open in &self.open {
            // Writing to a String cannot fail.
            let _ = match open {
                Open::List { count, .. } => write!(path, "[{count}]"),
                Open::Map { entries, expects_value: true, .. } => match entries.last() {
                    Some(entry) => {
                        let key = shorten(&self.out[entry.key_start..entry.key_end]);
                        write!(path, "[{key}]")
                    }
                    None => Ok(()),
                },
                Open::Map { .. } => Ok(()),
            };
            if path.len() > 400 {
                path.push('…');
                break;
            }
        }
        path
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed = true;
        error
    }

    fn scalar(&mut self, tag: u8, payload: &[u8]) -> Result<()> {
        self.begin_value()?;
        self.out.push(tag);
        self.out.extend_from_slice(payload);
        self.end_value()
    }

    #[inline(always)]
    fn sized(&mut self, tag: u8, payload: &[u8]) -> Result<()> {
        self.begin_value()?;
        self.check_room(payload.len())?;
        // One allocation for most values: type, length, bytes.
        if self.out.capacity() == 0 {
            self.out = Vec::with_capacity(2 + payload.len());
        }
        self.out.push(tag);
        self.leb128(payload.len() as u64);
        self.out.extend_from_slice(payload);
        self.end_value()
    }

    #[inline]
    fn leb128(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    #[inline(always)]
    fn begin_value(&mut self) -> Result<()> {
        match self.open.last() {
            None if self.done => Err(self.fail(misuse("the value is complete"))),
            Some(Open::Map { expects_value: false, .. }) => {
                Err(self.fail(misuse("a key is missing")))
            }
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn end_value(&mut self) -> Result<()> {
        self.check_size()?;
        match self.open.last_mut() {
            None => self.done = true,
            Some(Open::List { count, .. }) => *count += 1,
            Some(Open::Map { expects_value, .. }) => *expects_value = false,
        }
        Ok(())
    }

    fn check_depth(&mut self) -> Result<()> {
        if self.open.len() >= MAX_DEPTH {
            let error = self.error(&format!("nested deeper than {MAX_DEPTH}, or a cycle"));
            return Err(self.fail(error));
        }
        Ok(())
    }

    #[inline(always)]
    fn check_size(&mut self) -> Result<()> {
        self.check_room(0)
    }

    #[inline(always)]
    fn check_room(&mut self, more: usize) -> Result<()> {
        if self.out.len().saturating_add(more) > MAX_VALUE_BYTES {
            return Err(self.too_large());
        }
        Ok(())
    }

    #[cold]
    fn too_large(&mut self) -> Error {
        let error = self.error(&format!("the value is larger than {MAX_VALUE_BYTES} bytes"));
        self.fail(error)
    }

    /// Brings a map's entries into the order of their keys' bytes; the last of equal keys stays.
    fn sort_map(&mut self, start: usize, entries: Vec<MapEntry>) -> u32 {
        let key = |out: &Vec<u8>, entry: &MapEntry| -> std::ops::Range<usize> {
            debug_assert!(entry.key_end <= out.len());
            entry.key_start..entry.key_end
        };
        let sorted = entries
            .windows(2)
            .all(|pair| self.out[key(&self.out, &pair[0])] < self.out[key(&self.out, &pair[1])]);
        if sorted {
            return entries.len() as u32;
        }
        let mut order: Vec<(MapEntry, usize)> = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let end = entries.get(at + 1).map_or(self.out.len(), |next| next.start);
            order.push((*entry, end));
        }
        // Stable: among equal keys the last written comes last, and only it is kept.
        order.sort_by(|(a, _), (b, _)| {
            self.out[key(&self.out, a)].cmp(&self.out[key(&self.out, b)])
        });
        let mut map = Vec::with_capacity(self.out.len() - start - 4);
        let mut count = 0;
        for (at, (entry, end)) in order.iter().enumerate() {
            let repeated = order.get(at + 1).is_some_and(|(next, _)| {
                self.out[key(&self.out, next)] == self.out[key(&self.out, entry)]
            });
            if !repeated {
                map.extend_from_slice(&self.out[entry.start..*end]);
                count += 1;
            }
        }
        self.out.truncate(start + 4);
        self.out.extend_from_slice(&map);
        count
    }
}

#[cold]
fn misuse(problem: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("encoder: {problem}"))
}

/// Checks bytes from outside: exactly one value in its one canonical encoding.
pub fn decode(bytes: &[u8]) -> Result<Encoded> {
    let mut encoder = Encoder::new();
    encoder.copy(&mut Reader::new(bytes)).map_err(|_| corrupt("it is malformed"))?;
    let encoded = encoder.finish()?;
    if encoded.0 != bytes {
        return Err(corrupt("it is not in its canonical form"));
    }
    Ok(encoded)
}

/// Whether bytes from another member are one value in its canonical encoding.
pub(crate) fn is_canonical(bytes: &[u8]) -> bool {
    match bytes.first() {
        // Without parts there is only one way to write them, which the reader insists on.
        Some(&(NIL | FALSE | TRUE | INT | TEXT | BYTES)) => {
            let mut reader = Reader::new(bytes);
            reader.token().is_ok() && reader.is_at_end()
        }
        _ => decode(bytes).is_ok(),
    }
}

/// The type of an encoded value, from its first byte.
pub(crate) fn type_of(encoded: &[u8]) -> ValueType {
    match encoded.first() {
        Some(&(FALSE | TRUE)) => ValueType::Bool,
        Some(&INT) => ValueType::Int,
        Some(&FLOAT) => ValueType::Float,
        Some(&TEXT) => ValueType::Text,
        Some(&BYTES) => ValueType::Bytes,
        Some(&LIST) => ValueType::List,
        Some(&MAP) => ValueType::Map,
        _ => ValueType::Nil,
    }
}

pub(crate) fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("an encoded value is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
            "\\PC{0,8}".prop_map(Value::Text),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::btree_map("\\PC{0,4}", inner, 0..4).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        /// What is taken from other members is read unchecked later.
        #[test]
        fn canonical_is_what_can_be_decoded(
            tag in prop::sample::select(vec![NIL, TRUE, INT, FLOAT, TEXT, BYTES, LIST, MAP]),
            mut rest in prop::collection::vec(any::<u8>(), 0..9),
            with_length in any::<bool>(),
        ) {
            if with_length {
                rest.insert(0, rest.len() as u8);
            }
            rest.insert(0, tag);
            let decoded = decode(&rest);
            prop_assert_eq!(is_canonical(&rest), decoded.is_ok());
            if let Ok(Value::Text(_)) = decoded.and_then(Value::try_from) {
                prop_assert!(std::str::from_utf8(&rest[2..]).is_ok());
            }
        }

        #[test]
        fn values_come_back_as_they_went_in(value in values()) {
            let encoded = Encoded::new(&value).unwrap();
            prop_assert_eq!(decode(encoded.as_bytes()).unwrap(), encoded.clone());
            prop_assert_eq!(Value::try_from(encoded).unwrap(), value);
        }

        #[test]
        fn any_bytes_are_one_value_or_corrupt(bytes in prop::collection::vec(0u8..12, 0..40)) {
            match decode(&bytes) {
                Ok(encoded) => prop_assert_eq!(encoded.as_bytes(), &bytes[..]),
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
            }
        }
    }

    #[test]
    fn maps_are_sorted_and_the_last_of_equal_keys_counts() {
        let mut encoder = Encoder::new();
        encoder.begin_map().unwrap();
        for (key, value) in [("b", 1), ("a", 2), ("b", 3), ("", 4)] {
            encoder.key(key).unwrap();
            encoder.int(value).unwrap();
        }
        encoder.end().unwrap();
        let encoded = encoder.finish().unwrap();
        assert_eq!(decode(encoded.as_bytes()).unwrap(), encoded);
        let Value::Map(map) = Value::try_from(encoded).unwrap() else { panic!("a map") };
        let entries: Vec<_> = map.iter().map(|(key, value)| (key.as_str(), value)).collect();
        assert_eq!(entries, [("", &Value::Int(4)), ("a", &Value::Int(2)), ("b", &Value::Int(3))]);
    }

    #[test]
    fn a_buffer_that_was_used_before_leaves_no_trace() {
        for text in ["a longer one first", "then", "", "a longer one again"] {
            let mut encoder = Encoder::reusing();
            encoder.text(text).unwrap();
            let encoded = encoder.finish().unwrap();
            assert_eq!(encoded, Encoded::new(text).unwrap());
            // As a whole it is taken over, inside something it is copied.
            let mut outer = Encoder::reusing();
            encoded.clone().encode(&mut outer).unwrap();
            assert_eq!(outer.finish().unwrap(), encoded);
            assert!(outer_list(&encoded).is_ok());
            Prepared::new(encoded).recycle();
        }
        let mut complete = Encoder::new();
        complete.nil().unwrap();
        assert!(Encoded::new(1).unwrap().encode(&mut complete).is_err());
        assert!(complete.finish().is_err());
    }

    fn outer_list(item: &Encoded) -> Result<Encoded> {
        let mut list = Encoder::reusing();
        list.begin_list()?;
        item.clone().encode(&mut list)?;
        list.end()?;
        let list = list.finish()?;
        assert_eq!(decode(list.as_bytes())?, list);
        Ok(list)
    }

    #[test]
    fn depth_128_is_the_deepest() {
        let nested = |depth| (0..depth).fold(Value::Nil, |inner, _| Value::List(vec![inner]));
        assert!(Encoded::new(nested(128)).is_ok());
        let error = Encoded::new(nested(129)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
        assert!(error.message().starts_with("value[0][0]"));
        // Siblings do not add up.
        let wide = Value::List(vec![nested(127), nested(127)]);
        let encoded = Encoded::new(&wide).unwrap();
        assert_eq!(Value::try_from(encoded).unwrap(), wide);
    }

    #[test]
    fn errors_name_the_path() {
        let mut encoder = Encoder::new();
        encoder.begin_map().unwrap();
        encoder.key("tags").unwrap();
        encoder.begin_list().unwrap();
        encoder.nil().unwrap();
        assert_eq!(encoder.error("no").message(), "value[\"tags\"][1]: no");
        assert_eq!(encoder.finish().unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn an_encoder_whose_error_was_ignored_gives_no_value() {
        let mut encoder = Encoder::new();
        encoder.begin_map().unwrap();
        encoder.key(&"k".repeat(MAX_VALUE_BYTES + 1)).unwrap_err();
        encoder.end().unwrap();
        assert!(encoder.finish().is_err());
    }

    #[test]
    fn damaged_lengths_are_found_before_anything_is_allocated() {
        for bytes in [&[LIST, 0xff, 0xff, 0xff, 0xff][..], &[TEXT, 0xff, 0xff, 0xff, 0x7f], &[]] {
            assert_eq!(decode(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn values_over_16_mib_are_refused() {
        let error = Encoded::new("x".repeat(MAX_VALUE_BYTES)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
        assert!(Encoded::new("x".repeat(MAX_VALUE_BYTES - 16)).is_ok());
    }
}
