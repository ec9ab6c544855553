//! Typed values.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::codec::{Encoded, Encoder};
use crate::error::{Error, Result};
use crate::reader::{Reader, Token};

/// The types of values, by the names that all languages use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueType {
    /// No value.
    Nil,
    /// A truth value.
    Bool,
    /// A signed 64-bit integer.
    Int,
    /// A 64-bit float.
    Float,
    /// Unicode text.
    Text,
    /// Bytes.
    Bytes,
    /// A list of values.
    List,
    /// A map from text to values.
    Map,
}

impl ValueType {
    /// The stable name: `nil bool int float text bytes list map`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ValueType::Nil => "nil",
            ValueType::Bool => "bool",
            ValueType::Int => "int",
            ValueType::Float => "float",
            ValueType::Text => "text",
            ValueType::Bytes => "bytes",
            ValueType::List => "list",
            ValueType::Map => "map",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value of its own, detached from the registry.
///
/// Equality is that of stored contents: floats are compared by their bits, with one NaN.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// No value.
    #[default]
    Nil,
    /// A truth value.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Float(f64),
    /// Unicode text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list of values.
    List(Vec<Value>),
    /// A map from text to values, sorted by the bytes of its keys.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Which type this value is of.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::Nil => ValueType::Nil,
            Value::Bool(_) => ValueType::Bool,
            Value::Int(_) => ValueType::Int,
            Value::Float(_) => ValueType::Float,
            Value::Text(_) => ValueType::Text,
            Value::Bytes(_) => ValueType::Bytes,
            Value::List(_) => ValueType::List,
            Value::Map(_) => ValueType::Map,
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(int) = self { Some(*int) } else { None }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Value> {
        let token = reader.token()?;
        Value::read_from(token, reader)
    }

    // The reader has checked the nesting depth: the recursion is bounded.
    fn read_from(token: Token<'_>, reader: &mut Reader<'_>) -> Result<Value> {
        Ok(match token {
            Token::Nil => Value::Nil,
            Token::Bool(bool) => Value::Bool(bool),
            Token::Int(int) => Value::Int(int),
            Token::Float(float) => Value::Float(float),
            Token::Text(text) => Value::Text(text.to_owned()),
            Token::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Token::List(count) => {
                let mut items = Vec::with_capacity(count.min(4096));
                for _ in 0..count {
                    items.push(Value::read(reader)?);
                }
                Value::List(items)
            }
            Token::Map(count) => {
                let mut map = BTreeMap::new();
                for _ in 0..count {
                    let key = reader.key()?.to_owned();
                    map.insert(key, Value::read(reader)?);
                }
                Value::Map(map)
            }
        })
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Nil, Value::Nil) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => {
                a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
            }
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            _ => false,
        }
    }
}

/// What can be stored: encodes itself, or says why it cannot be.
///
/// `Vec<u8>` and `&[u8]` are bytes, `Vec<Value>` is a list. For other lists and your own types use
/// [`to_value`](crate::to_value) with serde.
pub trait IntoValue {
    /// Writes exactly one value.
    fn encode(self, encoder: &mut Encoder) -> Result<()>;
}

impl IntoValue for &Value {
    fn encode(self, encoder: &mut Encoder) -> Result<()> {
        match self {
            Value::Nil => encoder.nil(),
            Value::Bool(bool) => encoder.bool(*bool),
            Value::Int(int) => encoder.int(*int),
            Value::Float(float) => encoder.float(*float),
            Value::Text(text) => encoder.text(text),
            Value::Bytes(bytes) => encoder.bytes(bytes),
            Value::List(items) => {
                encoder.begin_list()?;
                for item in items {
                    item.encode(encoder)?;
                }
                encoder.end()
            }
            Value::Map(map) => encode_map(map.iter(), encoder),
        }
    }
}

fn encode_map<K: AsRef<str>, V: IntoValue>(
    entries: impl Iterator<Item = (K, V)>,
    encoder: &mut Encoder,
) -> Result<()> {
    encoder.begin_map()?;
    for (key, value) in entries {
        encoder.key(key.as_ref())?;
        value.encode(encoder)?;
    }
    encoder.end()
}

impl IntoValue for Value {
    fn encode(self, encoder: &mut Encoder) -> Result<()> {
        (&self).encode(encoder)
    }
}

impl IntoValue for &Encoded {
    fn encode(self, encoder: &mut Encoder) -> Result<()> {
        encoder.encoded(self)
    }
}

impl IntoValue for Encoded {
    fn encode(self, encoder: &mut Encoder) -> Result<()> {
        encoder.take(self)
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn encode(self, encoder: &mut Encoder) -> Result<()> {
        match self {
            Some(value) => value.encode(encoder),
            None => encoder.nil(),
        }
    }
}

macro_rules! into_value {
    ($($type:ty: |$value:ident, $encoder:ident| $body:expr;)+) => {$(
        impl IntoValue for $type {
            fn encode(self, $encoder: &mut Encoder) -> Result<()> {
                let $value = self;
                $body
            }
        }
    )+};
}

into_value! {
    (): |_unit, encoder| encoder.nil();
    bool: |value, encoder| encoder.bool(value);
    i8: |value, encoder| encoder.int(value.into());
    i16: |value, encoder| encoder.int(value.into());
    i32: |value, encoder| encoder.int(value.into());
    i64: |value, encoder| encoder.int(value);
    u8: |value, encoder| encoder.int(value.into());
    u16: |value, encoder| encoder.int(value.into());
    u32: |value, encoder| encoder.int(value.into());
    isize: |value, encoder| encoder.int(value as i64);
    u64: |value, encoder| encoder.int(int_from(value, encoder)?);
    usize: |value, encoder| encoder.int(int_from(value as u64, encoder)?);
    f32: |value, encoder| encoder.float(value.into());
    f64: |value, encoder| encoder.float(value);
    &str: |value, encoder| encoder.text(value);
    &String: |value, encoder| encoder.text(value);
    String: |value, encoder| encoder.text(&value);
    &[u8]: |value, encoder| encoder.bytes(value);
    &Vec<u8>: |value, encoder| encoder.bytes(value);
    Vec<u8>: |value, encoder| encoder.bytes(&value);
    Vec<Value>: |value, encoder| Value::List(value).encode(encoder);
    BTreeMap<String, Value>: |value, encoder| encode_map(value.into_iter(), encoder);
    HashMap<String, Value>: |value, encoder| encode_map(value.into_iter(), encoder);
}

impl<const N: usize> IntoValue for &[u8; N] {
    fn encode(self, encoder: &mut Encoder) -> Result<()> {
        encoder.bytes(self)
    }
}

pub(crate) fn int_from(int: u64, encoder: &Encoder) -> Result<i64> {
    i64::try_from(int).map_err(|_| encoder.int_out_of_range(int))
}

macro_rules! from {
    ($($type:ty: |$value:ident| $body:expr;)+) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Value {
                $body
            }
        }
    )+};
}

from! {
    (): |_unit| Value::Nil;
    bool: |value| Value::Bool(value);
    i32: |value| Value::Int(value.into());
    u32: |value| Value::Int(value.into());
    i64: |value| Value::Int(value);
    f64: |value| Value::Float(value);
    &str: |value| Value::Text(value.to_owned());
    String: |value| Value::Text(value);
    &[u8]: |value| Value::Bytes(value.to_vec());
    Vec<u8>: |value| Value::Bytes(value);
    Vec<Value>: |value| Value::List(value);
    BTreeMap<String, Value>: |value| Value::Map(value);
}

impl TryFrom<Encoded> for Value {
    type Error = Error;

    fn try_from(encoded: Encoded) -> Result<Value> {
        Value::read(&mut Reader::new(encoded.as_bytes()))
    }
}
