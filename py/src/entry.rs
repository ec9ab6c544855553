//! What a read hands out.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use minikv::{Encoded, Entry, Holder, Value, ValueType};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyTuple, PyType};

use crate::calls::call;
use crate::error::Outcome;
use crate::value::{key_to_python, to_python, value_of};

/// A key and what belonged to it when it was read. Later changes do not show in it.
///
/// Entries are equal if all fields are; they can be hashed and pickled.
///
/// >>> with minikv.Registry() as kv:
/// ...     entry = kv.put("balance", 100, ttl=60)
/// >>> entry.key, entry.value, entry.type, entry.node, entry.lock
/// ('balance', 100, 'int', 'local', False)
#[pyclass(name = "Entry", module = "minikv", frozen)]
pub struct PyEntry(Source);

enum Source {
    Read(Entry),
    /// From a pickle.
    Restored(Box<Restored>),
}

#[derive(PartialEq)]
struct Restored {
    key: Vec<u8>,
    value: Encoded,
    node: String,
    time: u64,
    exp: Option<u64>,
    expires_in: Option<Duration>,
    locked: bool,
    holder: Option<Holder>,
    fence: Option<u64>,
    version: String,
}

impl From<Entry> for PyEntry {
    #[inline]
    fn from(entry: Entry) -> PyEntry {
        PyEntry(Source::Read(entry))
    }
}

/// One accessor for both sources.
macro_rules! either {
    ($self:expr, $entry:ident => $read:expr, $restored:ident => $other:expr) => {
        match &$self.0 {
            Source::Read($entry) => $read,
            Source::Restored($restored) => $other,
        }
    };
}

impl PyEntry {
    fn key_slice(&self) -> &[u8] {
        either!(self, entry => entry.key_bytes(), restored => &restored.key)
    }

    fn encoded(&self) -> &[u8] {
        either!(self, entry => entry.encoded(), restored => restored.value.as_bytes())
    }

    fn get_holder(&self) -> Option<Holder> {
        either!(self, entry => entry.holder(), restored => restored.holder.clone())
    }

    fn get_expires_in(&self) -> Option<Duration> {
        either!(self, entry => entry.expires_in(), restored => restored.expires_in)
    }
}

#[pymethods]
impl PyEntry {
    /// The key: str where it is valid UTF-8, else bytes.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        key_to_python(py, self.key_slice(), false)
    }

    /// The key as bytes, always.
    #[getter]
    fn key_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.key_slice())
    }

    /// The value, as it was put. Lists and dicts are copies of the caller's own at every access.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyAny>> {
        match &self.0 {
            Source::Read(entry) => value_of(py, entry),
            Source::Restored(restored) => {
                Ok(to_python(py, &Value::try_from(restored.value.clone())?)?)
            }
        }
    }

    /// The value's type: "nil", "bool", "int", "float", "text", "bytes", "list" or "map".
    #[getter]
    fn r#type<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyString>> {
        let value_type = match &self.0 {
            Source::Read(entry) => entry.value_type(),
            Source::Restored(restored) => Value::try_from(restored.value.clone())?.value_type(),
        };
        let name = match value_type {
            ValueType::Nil => intern!(py, "nil"),
            ValueType::Bool => intern!(py, "bool"),
            ValueType::Int => intern!(py, "int"),
            ValueType::Float => intern!(py, "float"),
            ValueType::Text => intern!(py, "text"),
            ValueType::Bytes => intern!(py, "bytes"),
            ValueType::List => intern!(py, "list"),
            ValueType::Map => intern!(py, "map"),
            other => return Ok(PyString::new(py, other.as_str())),
        };
        Ok(name.clone())
    }

    /// The owner: the node whose put created this value; in a cluster, while no member of that name is live,
    /// the live member whose name comes first.
    #[getter]
    fn node(&self) -> &str {
        either!(self, entry => entry.node(), restored => &restored.node)
    }

    /// When the value was put, in nanoseconds since the Unix epoch.
    #[getter]
    fn time(&self) -> u64 {
        either!(self, entry => entry.time(), restored => restored.time)
    }

    /// When the entry expires, in nanoseconds since the Unix epoch; None: never.
    #[getter]
    fn exp(&self) -> Option<u64> {
        either!(self, entry => entry.exp(), restored => restored.exp)
    }

    /// How many seconds the entry had left when it was read; None: it never expires.
    #[getter]
    fn expires_in(&self) -> Option<f64> {
        self.get_expires_in().map(|left| left.as_secs_f64())
    }

    /// Whether somebody held the key's lock.
    #[getter]
    fn lock(&self) -> bool {
        either!(self, entry => entry.is_locked(), restored => restored.locked)
    }

    /// Who held the lock, as Holder(node, owner); None if nobody did.
    #[getter]
    fn holder<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        static HOLDER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let Some(holder) = self.get_holder() else { return Ok(None) };
        let class = HOLDER.import(py, "minikv._types", "Holder")?;
        call(class, (holder.node, holder.owner)).map(Some)
    }

    /// The number of the key's last lock, which only grows; None if it was never locked.
    #[getter]
    fn fence(&self) -> Option<u64> {
        either!(self, entry => entry.fence(), restored => restored.fence)
    }

    /// Which state of the value this is: sortable text, also good as an ETag.
    #[getter]
    fn version(&self) -> String {
        either!(self, entry => entry.version().to_string(), restored => restored.version.clone())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<PyEntry>() else { return Ok(py.NotImplemented()) };
        let other = other.get();
        let equal = match (&self.0, &other.0) {
            (Source::Read(a), Source::Read(b)) => a == b,
            _ => {
                self.key_slice() == other.key_slice()
                    && self.encoded() == other.encoded()
                    && self.version() == other.version()
                    && self.exp() == other.exp()
                    && self.node() == other.node()
                    && self.lock() == other.lock()
                    && self.get_holder() == other.get_holder()
                    && self.fence() == other.fence()
            }
        };
        Ok(equal.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.key_slice(), self.version()).hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self, py: Python<'_>) -> Outcome<String> {
        let key = self.key(py).repr()?;
        let value = cut(self.value(py)?.repr()?.to_string_lossy().into_owned());
        let mut text = format!("Entry(key={key}, value={value}, node={:?}", self.node());
        text += &format!(", time={}, exp={}", self.time(), shown(self.exp()));
        text += if self.lock() { ", lock=True" } else { ", lock=False" };
        if let Some(holder) = self.holder(py)? {
            text += &format!(", holder={}", holder.repr()?);
        }
        if self.fence().is_some() {
            text += &format!(", fence={}", shown(self.fence()));
        }
        Ok(format!("{text}, version='{}')", self.version()))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let restore = py.import("minikv._minikv")?.getattr("_restore_entry")?;
        let nanos = |left: Duration| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let holder = self.get_holder().map(|holder| (holder.node, holder.owner));
        let state = (
            self.key_bytes(py),
            PyBytes::new(py, self.encoded()),
            self.node(),
            (self.time(), self.exp(), self.get_expires_in().map(nanos)),
            (self.lock(), holder, self.fence()),
            self.version(),
        );
        (restore, (state,)).into_pyobject(py)
    }
}

type Times = (u64, Option<u64>, Option<u64>);
type Lock = (bool, Option<(String, Option<String>)>, Option<u64>);

/// Makes an entry from what pickling it wrote.
#[pyfunction]
#[pyo3(name = "_restore_entry")]
pub fn restore_entry(state: (Vec<u8>, Vec<u8>, String, Times, Lock, String)) -> Outcome<PyEntry> {
    let (key, value, node, (time, exp, left), (locked, holder, fence), version) = state;
    if key.is_empty() {
        return Err(PyValueError::new_err("a pickled entry has no key").into());
    }
    let value = minikv::decode(&value)?;
    let expires_in = left.map(Duration::from_nanos);
    let holder = holder.map(|(node, owner)| Holder { node, owner });
    let restored =
        Restored { key, value, node, time, exp, expires_in, locked, holder, fence, version };
    Ok(PyEntry(Source::Restored(Box::new(restored))))
}

fn shown(number: Option<u64>) -> String {
    number.map_or_else(|| "None".to_owned(), |number| number.to_string())
}

/// Long values do not help who reads a repr.
fn cut(mut text: String) -> String {
    const SHOWN: usize = 200;
    if let Some((at, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(at);
        text.push('…');
    }
    text
}
