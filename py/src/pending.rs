//! What asyncio waits for: requests that tell a callback when they are decided.

use minikv::{Computation, Entry, PendingGuard, PendingLock, PendingSync, PendingValue};
use pyo3::prelude::*;

use crate::args::encoded;
use crate::calls::call;
use crate::entry::PyEntry;
use crate::error::{Outcome, invalid_argument};
use crate::exit::with_python;
use crate::guard::PyLockGuard;
use crate::registry::PyRegistry;
use crate::sync::Mutex;
use crate::value::PyValue;

// It lives inside a Python object, on the heap already.
#[allow(clippy::large_enum_variant)]
pub enum Waiting {
    Lock(PendingLock),
    Guard(PendingGuard),
    Value(PendingValue),
    Sync(PendingSync),
}

/// A request that may be waiting. Dropping it leaves the queue, or gives back what was granted.
#[pyclass(name = "_Pending", module = "minikv._minikv", frozen)]
pub struct PyPending {
    waiting: Mutex<Option<Waiting>>,
    registry: Py<PyRegistry>,
}

impl PyPending {
    pub fn new(registry: Py<PyRegistry>, waiting: Waiting) -> PyPending {
        PyPending { waiting: Mutex::new(Some(waiting)), registry }
    }
}

#[pymethods]
impl PyPending {
    /// (True, result) once it is decided, which is given once; before that (False, None).
    fn take(&self, py: Python<'_>) -> Outcome<(bool, Option<Py<PyAny>>)> {
        // Taken out meanwhile: making objects may run other Python code, which must not find it locked.
        let request = self.waiting.lock().take();
        let Some(mut request) = request else {
            return Err(invalid_argument("the request was taken or cancelled").into());
        };
        let result = match &mut request {
            Waiting::Lock(lock) => lock.try_take().map(|entry| entry_object(py, entry?)),
            Waiting::Value(value) => value.try_take().map(|entry| entry_object(py, entry)),
            Waiting::Sync(sync) => sync.try_take().map(|result| Ok(result.map(|()| None)?)),
            Waiting::Guard(guard) => guard.try_take().map(|guard| {
                let guard = PyLockGuard::new(guard?, self.registry.clone_ref(py));
                Ok(Some(Py::new(py, guard)?.into_any()))
            }),
        };
        match result {
            Some(result) => Ok((true, result?)),
            None => {
                *self.waiting.lock() = Some(request);
                Ok((false, None))
            }
        }
    }

    /// Calls back once it is decided, on any thread, at once if it is already.
    fn on_ready(&self, callback: Py<PyAny>) {
        let call = move || with_python(|py| call_back(py, &callback));
        // Not called under this lock: it may call back at once.
        let request = self.waiting.lock().take();
        let Some(request) = request else { return };
        match &request {
            Waiting::Lock(lock) => lock.on_ready(call),
            Waiting::Guard(guard) => guard.on_ready(call),
            Waiting::Value(value) => value.on_ready(call),
            Waiting::Sync(sync) => sync.on_ready(call),
        }
        *self.waiting.lock() = Some(request);
    }

    /// Leaves the queue, or gives back what was granted and not taken.
    fn cancel(&self) {
        let request = self.waiting.lock().take();
        drop(request);
    }
}

fn entry_object(py: Python<'_>, entry: Option<Entry>) -> Outcome<Option<Py<PyAny>>> {
    match entry {
        Some(entry) => Ok(Some(Py::new(py, PyEntry::from(entry))?.into_any())),
        None => Ok(None),
    }
}

/// Calls a callback that nobody waits for; its exception goes to `sys.unraisablehook`.
pub fn call_back(py: Python<'_>, callback: &Py<PyAny>) {
    if let Err(error) = call(callback.bind(py), ()) {
        error.write_unraisable(py, Some(callback.bind(py)));
    }
}

/// The duty to compute a missing value. Abandoned, the next caller tries.
#[pyclass(name = "_Computation", module = "minikv._minikv", frozen)]
pub struct PyComputation(Mutex<Option<Computation>>);

impl PyComputation {
    pub fn new(computation: Computation) -> PyComputation {
        PyComputation(Mutex::new(Some(computation)))
    }
}

/// Stores a computed value. With a lock, in a cluster, it waits for whoever gives it.
pub fn land(
    py: Python<'_>,
    computation: Computation,
    value: &Bound<'_, PyAny>,
) -> Outcome<PyEntry> {
    let entry = match encoded(value) {
        Ok(value) => py.detach(|| computation.put(&value)),
        // What is wrong first, the registry or the value, is for the core to say.
        Err(_) => computation.put(PyValue(value)),
    };
    Ok(entry?.into())
}

#[pymethods]
impl PyComputation {
    /// Stores the value and hands the entry to everyone who waits.
    fn put(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> Outcome<PyEntry> {
        let computation = self.0.lock().take();
        let computation =
            computation.ok_or_else(|| invalid_argument("the computation is over already"))?;
        land(py, computation, value)
    }

    /// Lets the next caller compute.
    fn abandon(&self) {
        let computation = self.0.lock().take();
        drop(computation);
    }
}
