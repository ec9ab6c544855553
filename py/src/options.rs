//! The options that a registry is started with.

use std::collections::BTreeMap;

use minikv::{Encoded, Error, Options, Value, format_duration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyList, PyMapping, PyString, PyTuple};

use crate::args::{Arg, duration, encoded, text};
use crate::calls::call;
use crate::error::{Failure, Outcome, invalid_argument};
use crate::value::type_name;

/// Reads the options from keyword arguments; the core knows the fields and what may be in them.
pub fn options_from(fields: &[(&str, Arg<'_, '_>)], unknown: Arg<'_, '_>) -> Outcome<Options> {
    if let Some(unknown) = unknown
        && let Ok(unknown) = unknown.cast::<PyDict>()
        && let Some((name, _)) = unknown.iter().next()
    {
        let known: Vec<&str> = Options::FIELDS.iter().copied().chain(["exist_ok"]).collect();
        let name = name.cast::<PyString>().map_or("?".into(), |name| name.to_string_lossy());
        return Err(Failure::UnknownOption(Error::unknown_field("option", &name, &known)));
    }
    let mut map = BTreeMap::new();
    for (field, given) in fields {
        let Some(given) = given else { continue };
        map.insert((*field).to_owned(), field_value(field, given)?);
    }
    Ok(Options::from_value(&Value::Map(map))?)
}

fn field_value(field: &str, given: &Bound<'_, PyAny>) -> Outcome<Value> {
    if Options::DURATION_FIELDS.contains(&field) {
        return Ok(Value::Text(format_duration(duration(field, given)?)));
    }
    match field {
        "listen" | "peers" => Ok(endpoints(field, given)?),
        "tls" => paths(field, given),
        _ => Ok(plain(field, given)?),
    }
}

/// A value of whatever type; the core says which it wants.
fn plain(field: &str, given: &Bound<'_, PyAny>) -> Result<Value, Error> {
    if given.is_instance_of::<PyString>() {
        return Ok(Value::Text(text(field, given)?.to_owned()));
    }
    if given.is_instance_of::<PyBool>() {
        return Ok(Value::Bool(true));
    }
    let as_argument =
        |error: Error| invalid_argument(format!("option {field}: {}", error.message()));
    let value: Encoded = encoded(given).map_err(as_argument)?;
    Value::try_from(value)
}

/// A str, or a list or tuple of them.
fn endpoints(field: &str, given: &Bound<'_, PyAny>) -> Result<Value, Error> {
    let items: Vec<_> = if given.is_instance_of::<PyString>() {
        return plain(field, given);
    } else if let Ok(list) = given.cast::<PyList>() {
        list.iter().collect()
    } else if let Ok(tuple) = given.cast::<PyTuple>() {
        tuple.iter().collect()
    } else {
        let found = type_name(given);
        let message = format!("{field} must be a list of str, or one str, not {found}");
        return Err(invalid_argument(message));
    };
    items.iter().map(|item| plain(field, item)).collect::<Result<_, _>>().map(Value::List)
}

/// A mapping of str to str or paths.
fn paths(field: &str, given: &Bound<'_, PyAny>) -> Outcome<Value> {
    static FSPATH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = given.py();
    let fields = if let Ok(dict) = given.cast::<PyDict>() {
        dict.clone()
    } else if given.cast::<PyMapping>().is_ok() {
        let copy = call(py.get_type::<PyDict>().as_any(), (given,))?;
        copy.cast_into().map_err(PyErr::from)?
    } else {
        let found = type_name(given);
        let message = format!("{field} must be a mapping of ca, cert and key, not {found}");
        return Err(invalid_argument(message).into());
    };
    let mut map = BTreeMap::new();
    for (name, path) in fields.iter() {
        let name = text("a name in tls", &name)?.to_owned();
        let what = format!("{field}.{name}");
        let is_path = path.hasattr("__fspath__")?;
        let path = if is_path { call(FSPATH.import(py, "os", "fspath")?, (path,))? } else { path };
        map.insert(name, plain(&what, &path)?);
    }
    Ok(Value::Map(map))
}
