//! The options that a registry is started with.

use minikv::{Encoded, Error, Options, Value, format_duration};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};

use crate::args::{Arg, duration, encoded, text};
use crate::error::{Failure, Outcome, invalid_argument};

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
    let mut map = std::collections::BTreeMap::new();
    for (field, given) in fields {
        let Some(given) = given else { continue };
        map.insert((*field).to_owned(), field_value(field, given)?);
    }
    Ok(Options::from_value(&Value::Map(map))?)
}

fn field_value(field: &str, given: &Bound<'_, PyAny>) -> Result<Value, Error> {
    if Options::DURATION_FIELDS.contains(&field) {
        return Ok(Value::Text(format_duration(duration(field, given)?)));
    }
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
