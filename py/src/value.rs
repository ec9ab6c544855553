//! Values between Python and the core. Only exact types are stored: what goes in comes back the same.

use minikv::{Encoder, Entry, Error, IntoValue, Reader, Token, Value};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple,
};

use crate::error::Outcome;

/// A Python object on its way into the registry.
#[derive(Clone, Copy)]
pub struct PyValue<'a, 'py>(pub &'a Bound<'py, PyAny>);

impl IntoValue for PyValue<'_, '_> {
    fn encode(self, encoder: &mut Encoder) -> minikv::Result<()> {
        encode(self.0, encoder)
    }
}

// No Python code runs in here: exact types have none of their own, and nothing is created that the
// garbage collector tracks. So nobody can change a container while it is read. The recursion is
// bounded: the encoder refuses deep nesting, and with it cycles.
fn encode(value: &Bound<'_, PyAny>, encoder: &mut Encoder) -> minikv::Result<()> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        match text.to_str() {
            Ok(text) => encoder.text(text),
            Err(_) => Err(encoder.error("text with a lone surrogate cannot be stored")),
        }
    } else if let Ok(int) = value.cast_exact::<PyInt>() {
        match int.extract::<i64>() {
            Ok(int) => encoder.int(int),
            Err(_) => Err(int_out_of_range(int, encoder)),
        }
    } else if value.is_none() {
        encoder.nil()
    } else if let Ok(float) = value.cast_exact::<PyFloat>() {
        encoder.float(float.value())
    } else if let Ok(bool) = value.cast_exact::<PyBool>() {
        encoder.bool(bool.is_true())
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        encoder.bytes(bytes.as_bytes())
    } else if let Ok(map) = value.cast_exact::<PyDict>() {
        encode_map(map, encoder)
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        encoder.begin_list()?;
        let mut at = 0;
        while let Ok(item) = list.get_item(at) {
            encode(&item, encoder)?;
            at += 1;
            if at >= list.len() {
                break;
            }
        }
        encoder.end()
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        encoder.begin_list()?;
        for item in tuple.iter_borrowed() {
            encode(&item, encoder)?;
        }
        encoder.end()
    } else if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
        encoder.bytes(&bytes.to_vec())
    } else if value.cast_exact::<PyMemoryView>().is_ok() {
        match memory(value) {
            Ok(Some(bytes)) => encoder.bytes(bytes.as_bytes()),
            Ok(None) => Err(encoder.error("a memoryview that is not contiguous cannot be stored")),
            Err(_) => Err(encoder.error("a released memoryview cannot be stored")),
        }
    } else {
        let kinds = "None, bool, int, float, str, bytes, list, tuple or dict, no subclass of them";
        Err(encoder.error(&format!("a {} cannot be stored; store {kinds}", type_name(value))))
    }
}

fn encode_map(map: &Bound<'_, PyDict>, encoder: &mut Encoder) -> minikv::Result<()> {
    encoder.begin_map()?;
    for (key, value) in map.iter() {
        let Ok(key) = key.cast_exact::<PyString>() else {
            let found = type_name(&key);
            return Err(encoder.error(&format!("the keys of a map are str, not {found}")));
        };
        let Ok(key) = key.to_str() else {
            return Err(encoder.error("a map's key with a lone surrogate cannot be stored"));
        };
        encoder.key(key)?;
        encode(&value, encoder)?;
    }
    encoder.end()
}

/// The bytes of an exact memoryview; `None` if they are not contiguous.
pub fn memory<'py>(view: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    if !view.getattr("c_contiguous")?.is_truthy()? {
        return Ok(None);
    }
    Ok(Some(view.call_method0("tobytes")?.cast_into::<PyBytes>()?))
}

fn int_out_of_range(int: &Bound<'_, PyInt>, encoder: &Encoder) -> Error {
    let bits = int.call_method0("bit_length").and_then(|bits| bits.extract::<u64>());
    match bits {
        // Longer ones Python itself may refuse to write.
        Ok(bits) if bits <= 1024 => encoder.int_out_of_range(int),
        Ok(bits) => encoder.int_out_of_range(format!("of {bits} bits")),
        Err(_) => encoder.int_out_of_range("given"),
    }
}

/// The name of an object's type, for messages.
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string())
}

/// The value of an entry.
pub fn value_of<'py>(py: Python<'py>, entry: &Entry) -> Outcome<Bound<'py, PyAny>> {
    match entry.as_str() {
        Some(text) => Ok(PyString::new(py, text).into_any()),
        None => decode(py, &mut entry.reader()),
    }
}

/// The next value that a reader gives.
fn decode<'py>(py: Python<'py>, reader: &mut Reader<'_>) -> Outcome<Bound<'py, PyAny>> {
    Ok(match reader.token()? {
        Token::Nil => py.None().into_bound(py),
        Token::Bool(bool) => PyBool::new(py, bool).to_owned().into_any(),
        Token::Int(int) => PyInt::new(py, int).into_any(),
        Token::Float(float) => PyFloat::new(py, float).into_any(),
        Token::Text(text) => PyString::new(py, text).into_any(),
        Token::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Token::List(count) => {
            let list = PyList::empty(py);
            for _ in 0..count {
                list.append(decode(py, reader)?)?;
            }
            list.into_any()
        }
        Token::Map(count) => {
            let map = PyDict::new(py);
            for _ in 0..count {
                let key = PyString::new(py, reader.key()?);
                map.set_item(key, decode(py, reader)?)?;
            }
            map.into_any()
        }
    })
}

/// A detached value as a Python object.
pub fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Nil => py.None().into_bound(py),
        Value::Bool(bool) => PyBool::new(py, *bool).to_owned().into_any(),
        Value::Int(int) => PyInt::new(py, *int).into_any(),
        Value::Float(float) => PyFloat::new(py, *float).into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(to_python(py, item)?)?;
            }
            list.into_any()
        }
        Value::Map(entries) => {
            let map = PyDict::new(py);
            for (key, value) in entries {
                map.set_item(key, to_python(py, value)?)?;
            }
            map.into_any()
        }
    })
}

/// A key as Python shows it: `str` where it is valid UTF-8, else (or if `raw`) `bytes`.
pub fn key_to_python<'py>(py: Python<'py>, key: &[u8], raw: bool) -> Bound<'py, PyAny> {
    match std::str::from_utf8(key) {
        Ok(text) if !raw => PyString::new(py, text).into_any(),
        _ => PyBytes::new(py, key).into_any(),
    }
}
