//! Values to and from your own types, through serde.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::ser::{self, Serialize};
use serde::{Deserialize, Deserializer, Serializer, forward_to_deserialize_any};

use crate::codec::{Encoder, MAX_DEPTH};
use crate::error::{Error, Result};
use crate::value::{Value, int_from};

/// Converts anything that serde can serialize into a [`Value`].
///
/// Structs and maps become maps, sequences and tuples lists, unit variants their name, other
/// variants a map of one entry. Map keys must be text; integers must fit into signed 64 bit.
///
/// ```
/// # fn main() -> Result<(), minikv::Error> {
/// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
/// struct Point { x: i64, y: i64 }
/// let kv = minikv::Registry::start(minikv::Options::unnamed())?;
/// let entry = kv.put("p", minikv::to_value(&Point { x: 1, y: 2 })?)?;
/// assert_eq!(entry.value_as::<Point>()?, Point { x: 1, y: 2 });
/// # Ok(()) }
/// ```
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value> {
    value.serialize(ToValue { depth: 0 })
}

/// Converts a [`Value`] into any type that serde can deserialize; a mismatch is `invalid_value`.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    T::deserialize(FromValue(value))
}

impl ser::Error for Error {
    fn custom<T: Display>(message: T) -> Error {
        Error::value(message.to_string())
    }
}

impl serde::de::Error for Error {
    fn custom<T: Display>(message: T) -> Error {
        Error::value(message.to_string())
    }
}

#[derive(Clone, Copy)]
struct ToValue {
    depth: usize,
}

impl ToValue {
    // Bounded here too: the recursion happens before the encoder sees the value.
    fn nested(self) -> Result<ToValue> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::value(format!("value: nested deeper than {MAX_DEPTH}")));
        }
        Ok(ToValue { depth: self.depth + 1 })
    }
}

struct ListBuilder {
    inner: ToValue,
    items: Vec<Value>,
    variant: Option<&'static str>,
}

struct MapBuilder {
    inner: ToValue,
    map: BTreeMap<String, Value>,
    key: Option<String>,
    variant: Option<&'static str>,
}

fn wrap(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(name) => Value::Map(BTreeMap::from([(name.to_owned(), value)])),
        None => value,
    }
}

impl ToValue {
    fn list(self, variant: Option<&'static str>) -> Result<ListBuilder> {
        let outer = if variant.is_some() { self.nested()? } else { self };
        Ok(ListBuilder { inner: outer.nested()?, items: Vec::new(), variant })
    }

    fn map(self, variant: Option<&'static str>) -> Result<MapBuilder> {
        let outer = if variant.is_some() { self.nested()? } else { self };
        Ok(MapBuilder { inner: outer.nested()?, map: BTreeMap::new(), key: None, variant })
    }
}

impl Serializer for ToValue {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = ListBuilder;
    type SerializeTuple = ListBuilder;
    type SerializeTupleStruct = ListBuilder;
    type SerializeTupleVariant = ListBuilder;
    type SerializeMap = MapBuilder;
    type SerializeStruct = MapBuilder;
    type SerializeStructVariant = MapBuilder;

    fn serialize_bool(self, v: bool) -> Result<Value> {
        Ok(Value::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Result<Value> {
        Ok(Value::Int(v))
    }
    fn serialize_u8(self, v: u8) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Result<Value> {
        Ok(Value::Int(v.into()))
    }
    fn serialize_u64(self, v: u64) -> Result<Value> {
        int_from(v, &Encoder::new()).map(Value::Int)
    }
    fn serialize_f32(self, v: f32) -> Result<Value> {
        Ok(Value::Float(v.into()))
    }
    fn serialize_f64(self, v: f64) -> Result<Value> {
        Ok(Value::Float(v))
    }
    fn serialize_char(self, v: char) -> Result<Value> {
        Ok(Value::Text(v.into()))
    }
    fn serialize_str(self, v: &str) -> Result<Value> {
        Ok(Value::Text(v.to_owned()))
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<Value> {
        Ok(Value::Bytes(v.to_vec()))
    }
    fn serialize_none(self) -> Result<Value> {
        Ok(Value::Nil)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value> {
        Ok(Value::Nil)
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value> {
        Ok(Value::Nil)
    }
    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value> {
        Ok(Value::Text(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value> {
        Ok(wrap(Some(variant), value.serialize(self.nested()?)?))
    }
    fn serialize_seq(self, _len: Option<usize>) -> Result<ListBuilder> {
        self.list(None)
    }
    fn serialize_tuple(self, _len: usize) -> Result<ListBuilder> {
        self.list(None)
    }
    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<ListBuilder> {
        self.list(None)
    }
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<ListBuilder> {
        self.list(Some(variant))
    }
    fn serialize_map(self, _len: Option<usize>) -> Result<MapBuilder> {
        self.map(None)
    }
    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<MapBuilder> {
        self.map(None)
    }
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<MapBuilder> {
        self.map(Some(variant))
    }
}

macro_rules! list_builder {
    ($($trait:ident: $method:ident;)+) => {$(
        impl ser::$trait for ListBuilder {
            type Ok = Value;
            type Error = Error;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.items.push(value.serialize(self.inner)?);
                Ok(())
            }
            fn end(self) -> Result<Value> {
                Ok(wrap(self.variant, Value::List(self.items)))
            }
        }
    )+};
}

list_builder! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

impl ser::SerializeMap for MapBuilder {
    type Ok = Value;
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        match key.serialize(ToValue { depth: 0 })? {
            Value::Text(text) => self.key = Some(text),
            other => {
                let found = other.value_type();
                return Err(Error::value(format!("value: a map key must be text, not {found}")));
            }
        }
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let value = value.serialize(self.inner)?;
        let key = self.key.take().ok_or_else(|| Error::value("value: a map value has no key"))?;
        self.map.insert(key, value);
        Ok(())
    }
    fn end(self) -> Result<Value> {
        Ok(wrap(self.variant, Value::Map(self.map)))
    }
}

macro_rules! struct_builder {
    ($($trait:ident)+) => {$(
        impl ser::$trait for MapBuilder {
            type Ok = Value;
            type Error = Error;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<()> {
                self.map.insert(name.to_owned(), value.serialize(self.inner)?);
                Ok(())
            }
            fn end(self) -> Result<Value> {
                Ok(wrap(self.variant, Value::Map(self.map)))
            }
        }
    )+};
}

struct_builder! { SerializeStruct SerializeStructVariant }

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Nil => serializer.serialize_none(),
            Value::Bool(bool) => serializer.serialize_bool(*bool),
            Value::Int(int) => serializer.serialize_i64(*int),
            Value::Float(float) => serializer.serialize_f64(*float),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Value::List(items) => serializer.collect_seq(items),
            Value::Map(map) => serializer.collect_map(map),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nil, a bool, an int, a float, text, bytes, a list, or a map with text keys")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }
    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Value, E> {
        i64::try_from(v)
            .map(Value::Int)
            .map_err(|_| E::custom(format!("the int {v} does not fit into signed 64 bit")))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::Text(v))
    }
    fn visit_bytes<E>(self, v: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(v.to_vec()))
    }
    fn visit_byte_buf<E>(self, v: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(v))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry()? {
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

struct FromValue(Value);

impl<'de> IntoDeserializer<'de, Error> for FromValue {
    type Deserializer = FromValue;
    fn into_deserializer(self) -> FromValue {
        self
    }
}

impl<'de> Deserializer<'de> for FromValue {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Nil => visitor.visit_unit(),
            Value::Bool(bool) => visitor.visit_bool(bool),
            Value::Int(int) => visitor.visit_i64(int),
            Value::Float(float) => visitor.visit_f64(float),
            Value::Text(text) => visitor.visit_string(text),
            Value::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            Value::List(items) => visitor.visit_seq(Items(items.into_iter())),
            Value::Map(map) => visitor.visit_map(Entries { entries: map.into_iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.0 {
            Value::Text(variant) => visitor.visit_enum(Variant { variant, value: None }),
            Value::Map(map) if map.len() == 1 => {
                let mut entries = map.into_iter();
                let Some((variant, value)) = entries.next() else {
                    return Err(Error::value("an enum's map is empty"));
                };
                visitor.visit_enum(Variant { variant, value: Some(value) })
            }
            other => {
                let found = other.value_type();
                Err(Error::value(format!("an enum is text or a map of one entry, not {found}")))
            }
        }
    }

    /// A `Vec<u8>` is stored as bytes and asks for a list of numbers.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0 {
            Value::Bytes(bytes) => visitor.visit_seq(bytes.into_deserializer()),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.0.next().map(|item| seed.deserialize(FromValue(item))).transpose()
    }
}

struct Entries {
    entries: std::collections::btree_map::IntoIter<String, Value>,
    value: Option<Value>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(FromValue(Value::Text(key))).map(Some)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let value = self.value.take().ok_or_else(|| Error::value("a map value has no key"))?;
        seed.deserialize(FromValue(value))
    }
}

struct Variant {
    variant: String,
    value: Option<Value>,
}

struct Content(Option<Value>);

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = Content;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content)> {
        let name = seed.deserialize(FromValue(Value::Text(self.variant)))?;
        Ok((name, Content(self.value)))
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = Error;
    fn unit_variant(self) -> Result<()> {
        match self.0 {
            None | Some(Value::Nil) => Ok(()),
            Some(_) => Err(Error::value("this variant holds nothing")),
        }
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(FromValue(self.0.unwrap_or_default()))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        FromValue(self.0.unwrap_or_default()).deserialize_any(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        FromValue(self.0.unwrap_or_default()).deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    enum Shape {
        Dot,
        Circle(f64),
        Line(i64, i64),
        Box { w: u8, h: Option<u8> },
    }

    #[test]
    fn own_types_come_back() {
        let shapes =
            vec![Shape::Dot, Shape::Circle(1.5), Shape::Line(-1, 2), Shape::Box { w: 3, h: None }];
        let value = to_value(&shapes).unwrap();
        assert_eq!(from_value::<Vec<Shape>>(value).unwrap(), shapes);
        let tuple = (true, 'x', "text".to_owned(), Some(1u64), [1.5f32; 2]);
        assert_eq!(
            from_value::<(bool, char, String, Option<u64>, [f32; 2])>(to_value(&tuple).unwrap())
                .unwrap(),
            tuple
        );
    }

    #[test]
    fn what_does_not_fit_is_invalid_value() {
        assert_eq!(to_value(&u64::MAX).unwrap_err().kind(), ErrorKind::InvalidValue);
        assert!(to_value(&u64::MAX).unwrap_err().is_int_out_of_range());
        assert!(to_value(&BTreeMap::from([(1, 2)])).is_err());
        assert_eq!(from_value::<bool>(Value::Int(1)).unwrap_err().kind(), ErrorKind::InvalidValue);
    }

    #[test]
    fn json_and_values_convert() {
        let value: Value = serde_json::from_str(r#"{"a": [1, 1.5, "x", null, true]}"#).unwrap();
        assert_eq!(serde_json::to_string(&value).unwrap(), r#"{"a":[1,1.5,"x",null,true]}"#);
        assert!(serde_json::from_str::<Value>("18446744073709551615").is_err());
    }
}
