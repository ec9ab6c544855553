//! Operations on many keys at once, and listings.

use minikv::{Encoded, Entry, Error, ListOptions, Registry};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple, PyType};

use crate::args::{Arg, PutArgs, checked_key, prefix, size, text};
use crate::entry::PyEntry;
use crate::error::{Outcome, invalid_argument};
use crate::value::{PyValue, type_name};

/// How many items are taken from an iterator between two looks for signals.
const SIGNALS_EVERY: usize = 1024;

/// Calls `each` for every item of an iterable; an exception of the iterator passes through.
fn for_each<'py>(
    what: &str,
    items: &Bound<'py, PyAny>,
    mut each: impl FnMut(Bound<'py, PyAny>) -> Outcome<()>,
) -> Outcome<()> {
    let text_like = items.is_instance_of::<PyString>()
        || items.is_instance_of::<PyBytes>()
        || items.is_instance_of::<PyByteArray>();
    if text_like || !items.hasattr("__iter__")? && !items.hasattr("__getitem__")? {
        let found = type_name(items);
        return Err(invalid_argument(format!("{what} must be an iterable, not {found}")).into());
    }
    for (at, item) in items.try_iter()?.enumerate() {
        each(item?)?;
        if at % SIGNALS_EVERY == SIGNALS_EVERY - 1 {
            items.py().check_signals()?;
        }
    }
    Ok(())
}

/// The keys of an iterable, each checked.
pub fn keys_from(kv: &Registry, keys: &Bound<'_, PyAny>) -> Outcome<Vec<Vec<u8>>> {
    kv.ensure_running()?;
    let mut all = Vec::new();
    for_each("keys", keys, |key| {
        all.push(checked_key(kv, &key)?.as_ref().to_vec());
        Ok(())
    })?;
    Ok(all)
}

/// The pairs of a mapping, or of an iterable of pairs, each checked and converted.
pub fn items_from(kv: &Registry, items: &Bound<'_, PyAny>) -> Outcome<Vec<(Vec<u8>, Encoded)>> {
    kv.ensure_running()?;
    let mut all = Vec::new();
    let mut push = |key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>| -> Outcome<()> {
        let key = checked_key(kv, key)?.as_ref().to_vec();
        all.push((key, Encoded::new(PyValue(value))?));
        Ok(())
    };
    if let Ok(mapping) = items.cast::<PyMapping>()
        && !items.is_instance_of::<PyList>()
        && !items.is_instance_of::<PyTuple>()
    {
        let pairs = match items.cast_exact::<PyDict>() {
            Ok(dict) => dict.items().into_any(),
            Err(_) => mapping.items()?.into_any(),
        };
        for_each("items", &pairs, |pair| {
            let (key, value) = pair.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            push(&key, &value)
        })?;
        return Ok(all);
    }
    for_each("items", items, |pair| {
        let (key, value) = pair_of(&pair)?;
        push(&key, &value)
    })?;
    Ok(all)
}

fn pair_of<'py>(pair: &Bound<'py, PyAny>) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), Error> {
    let parts = if let Ok(tuple) = pair.cast::<PyTuple>() {
        (tuple.len() == 2).then(|| (tuple.get_item(0), tuple.get_item(1)))
    } else if let Ok(list) = pair.cast::<PyList>() {
        (list.len() == 2).then(|| (list.get_item(0), list.get_item(1)))
    } else {
        None
    };
    match parts {
        Some((Ok(key), Ok(value))) => Ok((key, value)),
        _ => Err(invalid_argument(format!(
            "items must be a mapping or pairs of key and value; found a {}",
            type_name(pair)
        ))),
    }
}

pub fn put_many(
    kv: &Registry,
    items: &Bound<'_, PyAny>,
    args: PutArgs<'_, '_>,
) -> Outcome<Vec<PyEntry>> {
    let items = items_from(kv, items)?;
    let entries = kv.put_many(items, args.options()?)?;
    Ok(entries.into_iter().map(PyEntry::from).collect())
}

/// Entries as Python shows them, None for the absent ones.
pub fn optional(entries: Vec<Option<Entry>>) -> Vec<Option<PyEntry>> {
    entries.into_iter().map(|entry| entry.map(PyEntry::from)).collect()
}

/// The options of a listing.
pub fn list_options(
    kv: &Registry,
    start: Arg<'_, '_>,
    limit: Arg<'_, '_>,
    cursor: Arg<'_, '_>,
) -> Outcome<ListOptions> {
    kv.ensure_running()?;
    let start = prefix(start)?;
    let mut options = ListOptions::new().prefix(start);
    if let Some(limit) = limit {
        options = options.limit(size("limit", limit)?);
    }
    if let Some(cursor) = cursor {
        options = options.cursor(text("cursor", cursor)?);
    }
    Ok(options)
}

/// A `Page`: a list with the cursor of the next page.
pub fn page<'py>(
    py: Python<'py>,
    items: Bound<'py, PyList>,
    cursor: Option<String>,
) -> PyResult<Bound<'py, PyAny>> {
    static PAGE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    PAGE.import(py, "minikv._types", "Page")?.call1((items, cursor))
}
