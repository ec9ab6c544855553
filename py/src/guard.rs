//! The scoped form of a lock: `with kv.locked(key) as held`.

use minikv::{LockGuard, LockOptions};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::args::{Arg, Conditions, PutArgs, duration, encoded, signed};
use crate::calls::{aio, call};
use crate::entries::{callable, change};
use crate::entry::PyEntry;
use crate::error::{Outcome, invalid_argument};
use crate::exit::with_python;
use crate::pending::{PyPending, Waiting, call_back};
use crate::registry::PyRegistry;
use crate::sync::Mutex;
use crate::wait::in_slices;

enum Stage {
    Fresh,
    Entering,
    Held(Py<PyLockGuard>),
    Left,
}

/// A lock that is taken at the start of a `with` or `async with` block and released at its end.
///
/// It comes from Registry.locked() and serves one block. Leaving the block raises LockLost if the lock
/// ended before, unless another exception is in flight.
#[pyclass(name = "LockScope", module = "minikv", frozen)]
pub struct LockScope {
    registry: Py<PyRegistry>,
    key: Vec<u8>,
    options: LockOptions,
    stage: Mutex<Stage>,
}

impl LockScope {
    pub fn new(registry: Py<PyRegistry>, key: Vec<u8>, options: LockOptions) -> LockScope {
        LockScope { registry, key, options, stage: Mutex::new(Stage::Fresh) }
    }

    fn begin(&self) -> Outcome<minikv::PendingGuard> {
        let mut stage = self.stage.lock();
        if !matches!(*stage, Stage::Fresh) {
            let message = "this scope was entered before; call locked() once for each block";
            return Err(invalid_argument(message).into());
        }
        *stage = Stage::Entering;
        drop(stage);
        Ok(self.registry.get().kv().locked_start(&self.key, self.options.clone())?)
    }

    fn finish(&self, failing: bool) -> Outcome<()> {
        let stage = std::mem::replace(&mut *self.stage.lock(), Stage::Left);
        let Stage::Held(guard) = stage else { return Ok(()) };
        match guard.get().guard.release() {
            // What is in flight already says more.
            Err(_) if failing => Ok(()),
            result => Ok(result?),
        }
    }
}

#[pymethods]
impl LockScope {
    fn __enter__(&self, py: Python<'_>) -> Outcome<Py<PyLockGuard>> {
        let mut pending = self.begin()?;
        let guard = match pending.try_take() {
            Some(guard) => guard?,
            None => in_slices(py, |slice| pending.wait_for(slice))??,
        };
        let guard = Py::new(py, PyLockGuard::new(guard, self.registry.clone_ref(py)))?;
        *self.stage.lock() = Stage::Held(guard.clone_ref(py));
        Ok(guard)
    }

    #[pyo3(signature = (*exception))]
    fn __exit__(&self, exception: &Bound<'_, PyTuple>) -> Outcome<()> {
        self.finish(exception.get_item(0).is_ok_and(|kind| !kind.is_none()))
    }

    fn __aenter__<'py>(slf: &Bound<'py, LockScope>) -> PyResult<Bound<'py, PyAny>> {
        call(aio!(slf.py(), "enter")?, (slf,))
    }

    #[pyo3(signature = (*exception))]
    fn __aexit__<'py>(
        slf: &Bound<'py, LockScope>,
        exception: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let failing = exception.get_item(0).is_ok_and(|kind| !kind.is_none());
        call(aio!(slf.py(), "leave")?, (slf, failing))
    }

    /// Asks for the lock without waiting.
    fn _begin(&self, py: Python<'_>) -> Outcome<PyPending> {
        let pending = Waiting::Guard(self.begin()?);
        Ok(PyPending::new(self.registry.clone_ref(py), pending))
    }

    /// The request was granted.
    fn _entered(&self, guard: Py<PyLockGuard>) {
        let earlier = std::mem::replace(&mut *self.stage.lock(), Stage::Held(guard));
        drop(earlier);
    }

    /// Ends the block.
    fn _finish(&self, failing: bool) -> Outcome<()> {
        self.finish(failing)
    }
}

/// A held lock: acts on its key as the lock's holder, with its fence.
///
/// A lease that was given is renewed by itself. If the lock is lost all the same, every method raises
/// LockLost.
///
/// >>> with minikv.Registry() as kv:
/// ...     _ = kv.put("balance", 100)
/// ...     with kv.locked("balance", wait=5) as held:
/// ...         entry = held.put(held.get().value - 10)
/// >>> entry.value
/// 90
#[pyclass(name = "LockGuard", module = "minikv", frozen, weakref)]
pub struct PyLockGuard {
    guard: LockGuard,
    /// A guard of an unnamed registry keeps it alive.
    _registry: Py<PyRegistry>,
}

impl PyLockGuard {
    pub fn new(guard: LockGuard, registry: Py<PyRegistry>) -> PyLockGuard {
        PyLockGuard { guard, _registry: registry }
    }
}

#[pymethods]
impl PyLockGuard {
    /// The key: str where it is valid UTF-8, else bytes.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        crate::value::key_to_python(py, self.guard.key_bytes(), false)
    }

    /// The number of this lock, larger than that of every lock of this key before it.
    #[getter]
    fn fence(&self) -> u64 {
        self.guard.fence()
    }

    /// The holder's label: the one given, or one that no other guard has.
    #[getter]
    fn owner(&self) -> &str {
        self.guard.owner()
    }

    /// Whether the lock ended before it was released.
    #[getter]
    fn lost(&self) -> bool {
        self.guard.is_lost()
    }

    /// Calls `callback()` once if the lock is lost, at once if it is already; not after a release.
    ///
    /// It is called on whichever thread caused the loss and must be quick. An exception it raises goes
    /// to sys.unraisablehook.
    fn on_lost(&self, callback: Bound<'_, PyAny>) -> Outcome<()> {
        callable("callback", &callback)?;
        let callback = callback.unbind();
        self.guard.on_lost(move || with_python(|py| call_back(py, &callback)));
        Ok(())
    }

    /// Raises LockLost if the lock is not held any more.
    fn check(&self) -> Outcome<()> {
        Ok(self.guard.check()?)
    }

    /// The entry; None if it expired.
    fn get(&self) -> Outcome<Option<PyEntry>> {
        Ok(self.guard.get()?.map(PyEntry::from))
    }

    /// Stores a value; options as for Registry.put(). Returns the entry.
    #[pyo3(signature = (value, *, ttl=None, persist=None, keep_ttl=None, if_absent=None, if_version=None))]
    fn put(
        &self,
        value: &Bound<'_, PyAny>,
        ttl: Arg<'_, '_>,
        persist: Arg<'_, '_>,
        keep_ttl: Arg<'_, '_>,
        if_absent: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<PyEntry> {
        self.guard.check()?;
        let value = encoded(value)?;
        let conditions = Conditions { if_version, ..Conditions::default() };
        let args = PutArgs { ttl, persist, keep_ttl, if_absent, conditions, ..PutArgs::default() };
        Ok(self.guard.put_with(value, args.options()?)?.into())
    }

    /// Removes the entry, and with it the lock: there is nothing left to release.
    ///
    /// Returns the removed entry; None if it was absent.
    fn delete(&self) -> Outcome<Option<PyEntry>> {
        Ok(self.guard.delete()?.map(PyEntry::from))
    }

    /// Adds to an int, as Registry.incr().
    #[pyo3(signature = (by=None))]
    fn incr(&self, by: Arg<'_, '_>) -> Outcome<PyEntry> {
        self.guard.check()?;
        let by = by.map_or(Ok(1), |by| signed("by", by))?;
        Ok(self.guard.incr(by)?.into())
    }

    /// Replaces the value by what `fn(value)` makes of it, as Registry.update().
    #[pyo3(signature = (r#fn, *, default=None))]
    fn update<'py>(
        &self,
        py: Python<'py>,
        r#fn: &Bound<'py, PyAny>,
        default: Arg<'_, 'py>,
    ) -> Outcome<Option<PyEntry>> {
        self.guard.check()?;
        callable("fn", r#fn)?;
        Ok(self.guard.update(|present| change(py, present, r#fn, default))?.map(PyEntry::from))
    }

    /// Lets the entry expire after `ttl` from now. Returns the entry; None if it is absent.
    fn touch(&self, ttl: &Bound<'_, PyAny>) -> Outcome<Option<PyEntry>> {
        self.guard.check()?;
        Ok(self.guard.touch(duration("ttl", ttl)?)?.map(PyEntry::from))
    }

    /// Clears the expiry. Returns the entry; None if it is absent.
    fn persist(&self) -> Outcome<Option<PyEntry>> {
        Ok(self.guard.persist()?.map(PyEntry::from))
    }

    /// Releases the lock before the block ends; once more is fine. Raises LockLost if it ended before.
    fn release(&self) -> Outcome<()> {
        Ok(self.guard.release()?)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (key, owner, fence) = (self.key(py).repr()?, self.owner(), self.fence());
        let lost = if self.lost() { ", lost" } else { "" };
        Ok(format!("<minikv.LockGuard of {key}, owner {owner:?}, fence {fence}{lost}>"))
    }
}
