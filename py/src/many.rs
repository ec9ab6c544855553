//! Operations on many keys at once, and listings. They may take long: other threads of Python run meanwhile.

use minikv::{Encoded, Entry, Error, Key, ListOptions, Registry};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMapping, PyString, PyTuple, PyType};

use crate::args::{Arg, Conditions, PutArgs, checked_key, flag, prefix, size, text};
use crate::calls;
use crate::entry::PyEntry;
use crate::error::{Outcome, invalid_argument};
use crate::registry::PyRegistry;
use crate::value::{PyValue, key_to_python, type_name};

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
    let items = items.try_iter()?;
    let mut count = 0usize;
    while let Some(item) = calls::next(&items)? {
        each(item)?;
        count += 1;
        if count.is_multiple_of(SIGNALS_EVERY) {
            items.py().check_signals()?;
        }
    }
    Ok(())
}

/// The keys of an iterable, each checked.
fn keys_from(kv: &Registry, keys: &Bound<'_, PyAny>) -> Outcome<Vec<Vec<u8>>> {
    kv.ensure_running()?;
    let mut all = Vec::new();
    for_each("keys", keys, |key| {
        all.push(checked_key(kv, &key)?.as_ref().to_vec());
        Ok(())
    })?;
    Ok(all)
}

/// The pairs of a mapping, or of an iterable of pairs, each checked and converted.
fn items_from<'py>(kv: &Registry, items: &Bound<'py, PyAny>) -> Outcome<Vec<(Vec<u8>, Encoded)>> {
    kv.ensure_running()?;
    let mut all = Vec::new();
    let mut push = |key: &Bound<'_, PyAny>, value: Bound<'py, PyAny>| -> Outcome<()> {
        all.push((checked_key(kv, key)?.as_ref().to_vec(), value));
        Ok(())
    };
    if let Ok(mapping) = items.cast::<PyMapping>()
        && !items.is_instance_of::<PyList>()
        && !items.is_instance_of::<PyTuple>()
    {
        let pairs = match items.cast_exact::<PyDict>() {
            Ok(dict) => dict.items().into_any(),
            Err(_) => calls::call(&mapping.getattr("items")?, ())?,
        };
        for_each("items", &pairs, |pair| {
            let (key, value) = pair_of(&pair)?;
            push(&key, value)
        })?;
    } else {
        for_each("items", items, |pair| {
            let (key, value) = pair_of(&pair)?;
            push(&key, value)
        })?;
    }
    // All keys come before the first value: a wrong one is told first.
    all.into_iter().map(|(key, value)| Ok((key, Encoded::new(PyValue(&value))?))).collect()
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

fn put_many(
    kv: &Registry,
    items: &Bound<'_, PyAny>,
    args: PutArgs<'_, '_>,
) -> Outcome<Vec<PyEntry>> {
    let py = items.py();
    let items = items_from(kv, items)?;
    let options = args.options()?;
    let entries = py.detach(|| kv.put_many(items, options))?;
    Ok(entries.into_iter().map(PyEntry::from).collect())
}

/// Entries as Python shows them, None for the absent ones.
fn optional(entries: Vec<Option<Entry>>) -> Vec<Option<PyEntry>> {
    entries.into_iter().map(|entry| entry.map(PyEntry::from)).collect()
}

/// The options of a listing.
fn list_options(
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

/// Keys as Python shows them.
pub fn key_list<'py>(py: Python<'py>, keys: &[Key], raw: bool) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, keys.iter().map(|key| key_to_python(py, key.as_bytes(), raw)))
}

/// A `Page`: a list with the cursor of the next page.
fn page_of<'py>(
    py: Python<'py>,
    items: Bound<'py, PyList>,
    cursor: Option<String>,
) -> PyResult<Bound<'py, PyAny>> {
    static PAGE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    calls::call(PAGE.import(py, "minikv._types", "Page")?, (items, cursor))
}

#[pymethods]
#[allow(clippy::too_many_arguments)]
impl PyRegistry {
    /// The entries of many keys, in the order asked; None for an absent one.
    fn get_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> Outcome<Vec<Option<PyEntry>>> {
        let keys = keys_from(self.kv(), keys)?;
        Ok(optional(py.detach(|| self.kv().get_many(keys))?))
    }

    /// Stores many values, all or none on this member; `items` is a mapping or pairs of key and value.
    ///
    /// Options and errors as for put(). Returns the entries in the order given; of a key given twice
    /// the last value counts.
    #[pyo3(signature = (items, *, ttl=None, persist=None, keep_ttl=None, if_absent=None,
        lock=None, lease=None, owner=None, fence=None, if_version=None))]
    fn put_many(
        &self,
        items: &Bound<'_, PyAny>,
        ttl: Arg<'_, '_>,
        persist: Arg<'_, '_>,
        keep_ttl: Arg<'_, '_>,
        if_absent: Arg<'_, '_>,
        lock: Arg<'_, '_>,
        lease: Arg<'_, '_>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<Vec<PyEntry>> {
        let conditions = Conditions { owner, fence, if_version };
        let args = PutArgs { ttl, persist, keep_ttl, if_absent, lock, lease, conditions };
        put_many(self.kv(), items, args)
    }

    /// Removes many entries, all or none on this member.
    ///
    /// Returns the removed ones in the order given, None for an absent one; of a key given twice the
    /// second is absent. Options and errors as for delete().
    #[pyo3(signature = (keys, *, owner=None, fence=None, if_version=None))]
    fn delete_many(
        &self,
        py: Python<'_>,
        keys: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<Vec<Option<PyEntry>>> {
        let keys = keys_from(self.kv(), keys)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(optional(py.detach(|| self.kv().delete_many(keys, options))?))
    }

    /// The keys that start with `prefix` (default: all), in no particular order, none twice.
    ///
    /// limit: at most so many; the result's `cursor` leads to the next ones and is None at the end.
    /// raw: all keys as bytes.
    #[pyo3(signature = (prefix=None, *, limit=None, cursor=None, raw=None))]
    fn keys<'py>(
        &self,
        py: Python<'py>,
        prefix: Arg<'_, 'py>,
        limit: Arg<'_, 'py>,
        cursor: Arg<'_, 'py>,
        raw: Arg<'_, 'py>,
    ) -> Outcome<Bound<'py, PyAny>> {
        let options = list_options(self.kv(), prefix, limit, cursor)?;
        let raw = flag("raw", raw)?;
        let page = py.detach(|| self.kv().keys(options))?;
        let keys = key_list(py, &page.items, raw)?;
        Ok(page_of(py, keys, page.cursor)?)
    }

    /// The entries whose keys start with `prefix` (default: all); limit and cursor as for keys().
    #[pyo3(signature = (prefix=None, *, limit=None, cursor=None))]
    fn entries<'py>(
        &self,
        py: Python<'py>,
        prefix: Arg<'_, 'py>,
        limit: Arg<'_, 'py>,
        cursor: Arg<'_, 'py>,
    ) -> Outcome<Bound<'py, PyAny>> {
        let options = list_options(self.kv(), prefix, limit, cursor)?;
        let page = py.detach(|| self.kv().entries(options))?;
        let entries = PyList::new(py, page.items.into_iter().map(PyEntry::from))?;
        Ok(page_of(py, entries, page.cursor)?)
    }

    /// How many keys start with `prefix` (default: all).
    #[pyo3(signature = (prefix=None))]
    fn count(&self, py: Python<'_>, prefix: Arg<'_, '_>) -> Outcome<usize> {
        self.kv().ensure_running()?;
        let prefix = crate::args::prefix(prefix)?;
        Ok(py.detach(|| self.kv().count(prefix))?)
    }

    /// Removes the entries whose keys start with `prefix` (default: all); returns how many.
    ///
    /// Keys that somebody else has locked stay.
    #[pyo3(signature = (prefix=None, *, owner=None))]
    fn clear(&self, py: Python<'_>, prefix: Arg<'_, '_>, owner: Arg<'_, '_>) -> Outcome<usize> {
        self.kv().ensure_running()?;
        let prefix = crate::args::prefix(prefix)?;
        let options = Conditions { owner, ..Conditions::default() }.write_options()?;
        Ok(py.detach(|| self.kv().clear_with(prefix, options))?)
    }

    /// A digest of all keys and values: equal contents have equal digests, in every process and language.
    fn digest(&self, py: Python<'_>) -> Outcome<String> {
        Ok(py.detach(|| self.kv().digest())?)
    }
}
