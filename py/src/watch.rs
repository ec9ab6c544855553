//! Watching keys, by iteration on a thread or in asyncio.

use std::collections::HashMap;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use minikv::{Error, ErrorKind, Event, EventKind, Watch};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::args::{Arg, wait};
use crate::calls::{aio, call};
use crate::entry::PyEntry;
use crate::error::Outcome;
use crate::exit::with_python;
use crate::pending::call_back;
use crate::registry::PyRegistry;
use crate::sync::Mutex;
use crate::value::key_to_python;
use crate::wait::in_slices;

/// One thing that happened to a key, with type, key, entry and count, or to a member of the cluster.
#[pyclass(name = "Event", module = "minikv", frozen)]
pub struct PyEvent {
    r#type: Py<PyString>,
    key: Option<Py<PyAny>>,
    entry: Option<Py<PyEntry>>,
    count: u64,
    /// Rare: only events of members have them.
    about: Option<Box<About>>,
}

/// Which member an event concerns.
struct About {
    node: Option<String>,
    state: Option<String>,
    owner: Option<String>,
}

impl About {
    fn new(
        node: Option<String>,
        state: Option<String>,
        owner: Option<String>,
    ) -> Option<Box<About>> {
        let any = node.is_some() || state.is_some() || owner.is_some();
        any.then(|| Box::new(About { node, state, owner }))
    }
}

impl PyEvent {
    fn from_core(py: Python<'_>, event: Event) -> PyResult<PyEvent> {
        let name = match event.kind() {
            EventKind::Put => intern!(py, "put"),
            EventKind::Delete => intern!(py, "delete"),
            EventKind::Expire => intern!(py, "expire"),
            EventKind::Touch => intern!(py, "touch"),
            EventKind::Persist => intern!(py, "persist"),
            EventKind::Lock => intern!(py, "lock"),
            EventKind::Unlock => intern!(py, "unlock"),
            EventKind::Lagged => intern!(py, "lagged"),
            EventKind::Owner => intern!(py, "owner"),
            EventKind::Member => intern!(py, "member"),
            other => &PyString::new(py, other.as_str()),
        };
        let key = event.entry().map(|entry| key_to_python(py, entry.key_bytes(), false).unbind());
        let entry = event.entry().cloned().map(|entry| Py::new(py, PyEntry::from(entry)));
        let (r#type, count) = (name.clone().unbind(), event.count());
        let state = event.state().map(|state| state.as_str().to_owned());
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let about = About::new(owned(event.node()), state, owned(event.owner()));
        Ok(PyEvent { r#type, key, entry: entry.transpose()?, count, about })
    }
}

#[pymethods]
impl PyEvent {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str, &'static str) {
        ("type", "key", "entry", "count")
    }

    /// An event of its own, such as a test may want.
    #[new]
    #[pyo3(signature = (r#type, key=None, entry=None, count=1, node=None, state=None, owner=None))]
    fn new(
        r#type: Py<PyString>,
        key: Option<Py<PyAny>>,
        entry: Option<Py<PyEntry>>,
        count: u64,
        node: Option<String>,
        state: Option<String>,
        owner: Option<String>,
    ) -> PyEvent {
        PyEvent { r#type, key, entry, count, about: About::new(node, state, owner) }
    }

    /// What happened: "put", "delete", "expire", "touch", "persist", "lock", "unlock", "lagged"; in a
    /// cluster, to every watch, also "member" (one came, went, or is otherwise than before) and "owner"
    /// (the entries of a node have passed to another).
    #[getter]
    fn r#type(&self, py: Python<'_>) -> Py<PyString> {
        self.r#type.clone_ref(py)
    }

    /// The key, str or bytes; None for "lagged", "member" and "owner".
    #[getter]
    fn key(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.key.as_ref().map(|key| key.clone_ref(py))
    }

    /// The entry after the event, for "delete" and "expire" the removed one; None for "lagged", "member"
    /// and "owner".
    #[getter]
    fn entry(&self, py: Python<'_>) -> Option<Py<PyEntry>> {
        self.entry.as_ref().map(|entry| entry.clone_ref(py))
    }

    /// For "lagged" the number of events lost, otherwise 1.
    #[getter]
    fn count(&self) -> u64 {
        self.count
    }

    /// For "member" its name, for "owner" that of the node whose entries have passed; else None.
    #[getter]
    fn node(&self) -> Option<&str> {
        self.about.as_ref()?.node.as_deref()
    }

    /// For "member" how it is from now on: "joining", "live", "down" or "left"; else None.
    #[getter]
    fn state(&self) -> Option<&str> {
        self.about.as_ref()?.state.as_deref()
    }

    /// For "owner" the node that has the entries from now on; else None.
    #[getter]
    fn owner(&self) -> Option<&str> {
        self.about.as_ref()?.owner.as_deref()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<PyEvent>() else { return Ok(py.NotImplemented()) };
        let (own, other) = (self.fields(py)?, other.get().fields(py)?);
        Ok(own.eq(other)?.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.fields(py)?.hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = format!("Event(type={}", self.r#type.bind(py).repr()?);
        if let Some(key) = &self.key {
            text += &format!(", key={}", key.bind(py).repr()?);
        }
        if let Some(entry) = &self.entry {
            text += &format!(", entry={}", entry.bind(py).repr()?);
        }
        if self.count != 1 {
            text += &format!(", count={}", self.count);
        }
        for (name, field) in
            [("node", self.node()), ("state", self.state()), ("owner", self.owner())]
        {
            if let Some(field) = field {
                text += &format!(", {name}={}", PyString::new(py, field).repr()?);
            }
        }
        Ok(text + ")")
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        (py.get_type::<PyEvent>(), self.fields(py)?).into_pyobject(py)
    }
}

impl PyEvent {
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (node, state, owner) = (self.node(), self.state(), self.owner());
        let (r#type, key, entry) = (self.r#type(py), self.key(py), self.entry(py));
        (r#type, key, entry, self.count, node, state, owner).into_pyobject(py)
    }
}

/// Who wants to be told of the next event, once.
#[derive(Default)]
struct Armed {
    callbacks: Mutex<HashMap<u64, Py<PyAny>>>,
    next: AtomicU64,
}

impl Armed {
    /// Without anyone armed this costs no interpreter.
    fn fire(&self) {
        let callbacks = std::mem::take(&mut *self.callbacks.lock());
        if callbacks.is_empty() {
            return;
        }
        with_python(|py| {
            for callback in callbacks.values() {
                call_back(py, callback);
            }
        });
    }
}

/// A subscription, from Registry.watch(): iterate over it with `for` or `async for`.
///
/// A `for` waits for the next event and ends when the watch is closed or the registry stops; Ctrl-C
/// always works. It is a context manager that closes the watch.
///
/// >>> with minikv.Registry() as kv, kv.watch("user:") as events:
/// ...     _ = kv.put("user:1", "ann")
/// ...     next(events).key
/// 'user:1'
#[pyclass(name = "Watch", module = "minikv", frozen, weakref)]
pub struct PyWatch {
    watch: Arc<Watch>,
    armed: Arc<Armed>,
    /// A watch of an unnamed registry keeps it alive.
    _registry: Py<PyRegistry>,
    process: u32,
}

impl PyWatch {
    pub fn new(watch: Watch, registry: Py<PyRegistry>) -> PyWatch {
        let process = process::id();
        PyWatch { watch: Arc::new(watch), armed: Arc::default(), _registry: registry, process }
    }

    fn is_forked(&self) -> bool {
        self.process != process::id()
    }

    fn check(&self) -> Outcome<()> {
        if self.is_forked() {
            let message =
                "this process was forked after the watch was opened; start a registry in the child";
            return Err(Error::new(ErrorKind::Forked, message).into());
        }
        Ok(())
    }

    fn take(&self, py: Python<'_>) -> Outcome<Option<PyEvent>> {
        self.check()?;
        match self.watch.try_next() {
            Some(event) => Ok(Some(PyEvent::from_core(py, event)?)),
            None => Ok(None),
        }
    }

    /// Waits; `None`: the watch has ended.
    fn wait(&self, py: Python<'_>, limit: Duration) -> Outcome<Option<PyEvent>> {
        if let Some(event) = self.take(py)? {
            return Ok(Some(event));
        }
        // By the clock, and that of the machine: between two slices this thread may have waited for
        // the interpreter.
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        let next = in_slices(py, |slice| {
            let left = limit.saturating_sub(start.elapsed());
            match self.watch.next_timeout(slice.min(left)) {
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    (left <= slice).then_some(Err(error))
                }
                result => Some(result),
            }
        })?;
        match next {
            Ok(Some(event)) => Ok(Some(PyEvent::from_core(py, event)?)),
            Ok(None) => Ok(None),
            Err(_) => {
                let message = format!("no event within {limit:?}");
                Err(Error::new(ErrorKind::Timeout, message).into())
            }
        }
    }
}

impl Drop for PyWatch {
    fn drop(&mut self) {
        if self.is_forked() {
            // Closing it takes locks that threads of the parent may have held for ever.
            std::mem::forget(self.watch.clone());
        }
    }
}

#[pymethods]
impl PyWatch {
    fn __iter__(slf: Bound<'_, PyWatch>) -> Bound<'_, PyWatch> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Outcome<Option<PyEvent>> {
        self.wait(py, Duration::MAX)
    }

    fn __aiter__(slf: Bound<'_, PyWatch>) -> Bound<'_, PyWatch> {
        slf
    }

    fn __anext__<'py>(slf: &Bound<'py, PyWatch>) -> PyResult<Bound<'py, PyAny>> {
        call(aio!(slf.py(), "next_event")?, (slf,))
    }

    fn __enter__(slf: Bound<'_, PyWatch>) -> Bound<'_, PyWatch> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {
        self.close();
    }

    /// Waits for the next event, at most `timeout` (default: as long as it takes).
    ///
    /// Returns None when the watch or the registry has ended. Raises Timeout.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Arg<'_, '_>) -> Outcome<Option<PyEvent>> {
        let limit = timeout.map_or(Ok(Duration::MAX), |timeout| wait("timeout", timeout))?;
        self.wait(py, limit)
    }

    /// The next event if there is one, without waiting; None if there is none.
    fn try_next(&self, py: Python<'_>) -> Outcome<Option<PyEvent>> {
        self.take(py)
    }

    /// Whether no event will come after those still unread.
    #[getter]
    fn closed(&self) -> Outcome<bool> {
        self.check()?;
        Ok(self.watch.is_closed())
    }

    /// Ends the watch; whoever waits for it returns. Events that came before can still be read.
    fn close(&self) {
        if !self.is_forked() {
            self.watch.close();
        }
    }

    /// Calls back once, on any thread, when there is something to read, at once if there is.
    fn _arm(&self, callback: Py<PyAny>) -> Outcome<u64> {
        self.check()?;
        let token = self.armed.next.fetch_add(1, Ordering::Relaxed);
        self.armed.callbacks.lock().insert(token, callback);
        let armed = self.armed.clone();
        // Asked anew each time: this is what tells of events that came before it was armed.
        self.watch.on_ready(move || armed.fire());
        Ok(token)
    }

    /// Forgets a callback.
    fn _disarm(&self, token: u64) {
        let callback = self.armed.callbacks.lock().remove(&token);
        drop(callback);
    }
}
