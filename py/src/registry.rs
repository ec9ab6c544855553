//! The registry as Python sees it.

use std::cell::RefCell;
use std::path::PathBuf;

use minikv::{
    Entry, Error, ErrorKind, GetOrPut, LockOptions, Options, Registry, Update, WatchOptions,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};

use crate::args::{
    Arg, Conditions, Given, LockArgs, PutArgs, checked_key, duration, encoded, flag, prefix,
    signed, size, text,
};
use crate::entry::PyEntry;
use crate::error::{Failure, Outcome, invalid_argument};
use crate::guard::LockScope;
use crate::many;
use crate::options::options_from;
use crate::pending::{PyComputation, PyPending, Waiting};
use crate::value::{PyValue, decode, key_to_python, to_python, type_name};
use crate::wait::in_slices;
use crate::watch::PyWatch;

/// What `Registry` of the package is built on.
#[pyclass(name = "Registry", module = "minikv._minikv", subclass, frozen, weakref)]
pub struct PyRegistry {
    kv: Registry,
    /// Whether leaving a `with` block stops the registry.
    starter: bool,
}

/// A running registry on its way to the class that shall hold it.
#[pyclass(name = "_Handle", module = "minikv._minikv", frozen)]
struct Handle(Registry, bool);

impl PyRegistry {
    pub fn kv(&self) -> &Registry {
        &self.kv
    }
}

impl Drop for PyRegistry {
    fn drop(&mut self) {
        // A named one was told to keep running; an unnamed one has this handle only. Stopping joins
        // threads that may be waiting for the interpreter.
        if self.kv.options().get_name().is_none() {
            let kv = self.kv.clone();
            if Python::try_attach(|py| py.detach(|| kv.stop())).is_none() {
                kv.stop();
            }
        }
    }
}

fn start(options: Options, exist_ok: bool) -> Result<(Registry, bool), Error> {
    let named = options.get_name().is_some();
    let started = match Registry::start(options.clone()) {
        Err(error) if error.kind() == ErrorKind::AlreadyStarted && exist_ok => {
            return Ok((Registry::start_or_open(options)?, false));
        }
        result => result?,
    };
    if named {
        started.keep_running();
    }
    Ok((started, true))
}

/// What an update makes of a value, by calling Python.
pub fn change(
    py: Python<'_>,
    present: Option<&Entry>,
    function: &Bound<'_, PyAny>,
    default: Arg<'_, '_>,
) -> Outcome<Update> {
    static KEEP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static DELETE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let argument = match (present, default) {
        (Some(entry), _) => decode(py, &mut entry.reader())?,
        (None, Some(default)) => default.clone(),
        (None, None) => py.None().into_bound(py),
    };
    let result = function.call1((argument,))?;
    if result.is(KEEP.import(py, "minikv._types", "KEEP")?) {
        Ok(Update::Keep)
    } else if result.is(DELETE.import(py, "minikv._types", "DELETE")?) {
        Ok(Update::Delete)
    } else {
        Ok(Update::Put(encoded(&result)?))
    }
}

fn callable(what: &str, function: &Bound<'_, PyAny>) -> Result<(), Error> {
    if function.is_callable() {
        return Ok(());
    }
    Err(invalid_argument(format!("{what} must be callable, not {}", type_name(function))))
}

fn no_entry(key: &Bound<'_, PyAny>) -> Failure {
    let key = key.repr().map_or_else(|_| "this key".to_owned(), |key| key.to_string());
    let key = if key.chars().count() > 80 { "this key".to_owned() } else { key };
    Error::new(ErrorKind::NotFound, format!("no entry {key}")).into()
}

thread_local! {
    /// The registries whose clocks this thread is moving.
    static ADVANCING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

#[pymethods]
#[allow(clippy::too_many_arguments)]
impl PyRegistry {
    #[new]
    #[pyo3(signature = (name=None, *, node=None, default_ttl=None, max_value_bytes=None,
        max_entries=None, max_bytes=None, max_watchers=None, lock_lease=None, clock=None,
        exist_ok=None, **unknown))]
    fn new(
        name: Arg<'_, '_>,
        node: Arg<'_, '_>,
        default_ttl: Arg<'_, '_>,
        max_value_bytes: Arg<'_, '_>,
        max_entries: Arg<'_, '_>,
        max_bytes: Arg<'_, '_>,
        max_watchers: Arg<'_, '_>,
        lock_lease: Arg<'_, '_>,
        clock: Arg<'_, '_>,
        exist_ok: Arg<'_, '_>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> Outcome<PyRegistry> {
        if let Some(handle) = name.and_then(|name| name.cast::<Handle>().ok()) {
            let Handle(kv, starter) = handle.get();
            return Ok(PyRegistry { kv: kv.clone(), starter: *starter });
        }
        let fields = [
            ("name", name),
            ("node", node),
            ("default_ttl", default_ttl),
            ("max_value_bytes", max_value_bytes),
            ("max_entries", max_entries),
            ("max_bytes", max_bytes),
            ("max_watchers", max_watchers),
            ("lock_lease", lock_lease),
            ("clock", clock),
        ];
        let options = options_from(&fields, unknown.map(|unknown| unknown.as_any()))?;
        let (kv, starter) = start(options, flag("exist_ok", exist_ok)?)?;
        Ok(PyRegistry { kv, starter })
    }

    /// The registry of this name that was started in this process, from any thread.
    ///
    /// Leaving `with Registry.open(...)` does not stop it. Raises NotFound.
    #[classmethod]
    fn open<'py>(cls: &Bound<'py, PyType>, name: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyAny>> {
        let handle = Handle(Registry::open(text("name", name)?)?, false);
        Ok(cls.call1((handle,))?)
    }

    /// Starts a registry with the options in a TOML file; the fields are those of Registry().
    ///
    /// Raises Io if it cannot be read, InvalidArgument, AlreadyStarted.
    #[classmethod]
    #[pyo3(signature = (path, *, exist_ok=None))]
    fn from_config<'py>(
        cls: &Bound<'py, PyType>,
        path: &Bound<'py, PyAny>,
        exist_ok: Arg<'_, 'py>,
    ) -> Outcome<Bound<'py, PyAny>> {
        let exist_ok = flag("exist_ok", exist_ok)?;
        let file: PathBuf = path.extract().map_err(|_| {
            invalid_argument(format!("path must be str or a path, not {}", type_name(path)))
        })?;
        let options = cls.py().detach(|| Options::from_config(file))?;
        let (kv, starter) = start(options, exist_ok)?;
        Ok(cls.call1((Handle(kv, starter),))?)
    }

    /// Stops the registry for all its handles; once more is fine.
    ///
    /// Calls that wait and all later ones raise Stopped.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.kv.stop());
    }

    /// The options the registry was started with, as plain data: Registry(**kv.options()) starts its like.
    fn options<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyAny>> {
        self.kv.ensure_running()?;
        Ok(to_python(py, &self.kv.options().to_value())?)
    }

    /// Counts of what the registry holds and does, by name. Others may follow.
    fn stats<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyAny>> {
        Ok(to_python(py, &minikv::to_value(&self.kv.stats()?)?)?)
    }

    /// The registry's name; None for an unnamed one.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.kv.options().get_name()
    }

    /// The entry of a key; None if it is absent. Raises InvalidKey.
    fn get(&self, key: &Bound<'_, PyAny>) -> Outcome<Option<PyEntry>> {
        match self.kv.get(checked_key(&self.kv, key)?)? {
            Some(entry) => Ok(Some(entry.into())),
            None => Ok(None),
        }
    }

    /// The plain value of a key; `default` if it is absent. Raises InvalidKey.
    #[pyo3(signature = (key, default=None))]
    fn value<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Arg<'_, 'py>,
    ) -> Outcome<Bound<'py, PyAny>> {
        match self.kv.get(checked_key(&self.kv, key)?)? {
            Some(entry) => decode(py, &mut entry.reader()),
            None => Ok(default.map_or_else(|| py.None().into_bound(py), Clone::clone)),
        }
    }

    /// Whether the key is present.
    fn contains(&self, key: &Bound<'_, PyAny>) -> Outcome<bool> {
        Ok(self.kv.contains(checked_key(&self.kv, key)?)?)
    }

    /// Stores a value and returns the entry.
    ///
    /// ttl: expires after this long; 0: at once. Default: the registry's default_ttl.
    /// persist: never expires, whatever the others say. keep_ttl: expires when the present entry does.
    /// if_absent: only if the key is absent. lock: takes the lock in the same step, for `lease` at most.
    /// owner: acts as the holder with this label. fence: only under the key's last fence.
    /// if_version: only over this version.
    ///
    /// Raises InvalidKey, InvalidValue, InvalidArgument, StaleFence, Locked, Conflict, Limit. In a
    /// cluster conditions are checked on this member only; hold the lock to make them exclusive.
    #[pyo3(signature = (key, value, *, ttl=None, persist=None, keep_ttl=None, if_absent=None,
        lock=None, lease=None, owner=None, fence=None, if_version=None))]
    fn put(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Arg<'_, '_>,
        persist: Arg<'_, '_>,
        keep_ttl: Arg<'_, '_>,
        if_absent: Arg<'_, '_>,
        lock: Arg<'_, '_>,
        lease: Arg<'_, '_>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<PyEntry> {
        let key = checked_key(&self.kv, key)?;
        let value = encoded(value)?;
        let conditions = Conditions { owner, fence, if_version };
        let args = PutArgs { ttl, persist, keep_ttl, if_absent, lock, lease, conditions };
        Ok(self.kv.put_with(key, &value, args.options()?)?.into())
    }

    /// The same as put().
    #[pyo3(signature = (key, value, *, ttl=None, persist=None, keep_ttl=None, if_absent=None,
        lock=None, lease=None, owner=None, fence=None, if_version=None))]
    fn set(
        &self,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        ttl: Arg<'_, '_>,
        persist: Arg<'_, '_>,
        keep_ttl: Arg<'_, '_>,
        if_absent: Arg<'_, '_>,
        lock: Arg<'_, '_>,
        lease: Arg<'_, '_>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<PyEntry> {
        self.put(
            key, value, ttl, persist, keep_ttl, if_absent, lock, lease, owner, fence, if_version,
        )
    }

    /// Removes an entry and ends its lock. Returns the removed entry; None if the key was absent.
    ///
    /// Raises InvalidKey, InvalidArgument, StaleFence, Locked, Conflict.
    #[pyo3(signature = (key, *, owner=None, fence=None, if_version=None))]
    fn delete(
        &self,
        key: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<Option<PyEntry>> {
        let key = checked_key(&self.kv, key)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv.delete_with(key, options)?.map(PyEntry::from))
    }

    /// Locks a present key and returns its entry; None if the key is absent.
    ///
    /// wait: how long to wait for the lock at most, in order of arrival; math.inf: as long as it takes.
    /// Default 0. lease: the lock ends by itself after this long, at most 10 minutes. Default: the
    /// registry's lock_lease. put: stores this value in the same step, also under an absent key; ttl,
    /// persist, keep_ttl and if_absent are then as for put().
    ///
    /// Raises InvalidKey, InvalidValue, InvalidArgument, StaleFence, Locked (LockTimeout after a wait),
    /// Conflict.
    #[pyo3(signature = (key, *, owner=None, wait=None, lease=None, put=Given::Missing, ttl=None,
        persist=None, keep_ttl=None, if_absent=None, fence=None, if_version=None))]
    fn lock(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        wait: Arg<'_, '_>,
        lease: Arg<'_, '_>,
        put: Given<'_>,
        ttl: Arg<'_, '_>,
        persist: Arg<'_, '_>,
        keep_ttl: Arg<'_, '_>,
        if_absent: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<Option<PyEntry>> {
        let key = checked_key(&self.kv, key)?;
        let conditions = Conditions { owner, fence, if_version };
        let put_args = PutArgs { ttl, persist, keep_ttl, if_absent, ..PutArgs::default() };
        let options =
            LockArgs { put, put_args, wait, lease, create: None, conditions }.options()?;
        let mut pending = self.kv.lock_start(key, options)?;
        let entry = match pending.try_take() {
            Some(entry) => entry?,
            None => in_slices(py, |slice| pending.wait_for(slice))??,
        };
        Ok(entry.map(PyEntry::from))
    }

    /// Asks for a lock without waiting; options as for lock().
    #[pyo3(signature = (key, *, owner=None, wait=None, lease=None, put=Given::Missing, ttl=None,
        persist=None, keep_ttl=None, if_absent=None, fence=None, if_version=None))]
    fn _lock_start(
        slf: &Bound<'_, PyRegistry>,
        key: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        wait: Arg<'_, '_>,
        lease: Arg<'_, '_>,
        put: Given<'_>,
        ttl: Arg<'_, '_>,
        persist: Arg<'_, '_>,
        keep_ttl: Arg<'_, '_>,
        if_absent: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<PyPending> {
        let kv = &slf.get().kv;
        let key = checked_key(kv, key)?;
        let conditions = Conditions { owner, fence, if_version };
        let put_args = PutArgs { ttl, persist, keep_ttl, if_absent, ..PutArgs::default() };
        let options =
            LockArgs { put, put_args, wait, lease, create: None, conditions }.options()?;
        let pending = Waiting::Lock(kv.lock_start(key, options)?);
        Ok(PyPending::new(slf.clone().unbind(), pending))
    }

    /// The scoped form of a lock: `with kv.locked("k", wait=5) as held` (or `async with`).
    ///
    /// The block gets a LockGuard; its end releases the lock. Without `owner` it takes a label of its
    /// own, so scopes always exclude each other, those of other threads included. create: stores None
    /// under an absent key, and removes it at the end if nobody put a value since; otherwise an absent
    /// key is NotFound. wait and lease as for lock(); a lease is renewed while the block runs.
    #[pyo3(signature = (key, *, owner=None, wait=None, lease=None, create=None, fence=None,
        if_version=None))]
    fn locked(
        slf: &Bound<'_, PyRegistry>,
        key: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        wait: Arg<'_, '_>,
        lease: Arg<'_, '_>,
        create: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<LockScope> {
        let key = checked_key(&slf.get().kv, key)?;
        let conditions = Conditions { owner, fence, if_version };
        let put_args = PutArgs::default();
        let args = LockArgs { put: Given::Missing, put_args, wait, lease, create, conditions };
        let options: LockOptions = args.options()?;
        Ok(LockScope::new(slf.clone().unbind(), key.as_ref().to_vec(), options))
    }

    /// Unlocks a key. Returns the entry, unchanged if it is not locked; None if it is absent.
    ///
    /// Raises InvalidKey, InvalidArgument, StaleFence, Locked, Conflict.
    #[pyo3(signature = (key, *, owner=None, fence=None, if_version=None))]
    fn unlock(
        &self,
        key: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<Option<PyEntry>> {
        let key = checked_key(&self.kv, key)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv.unlock_with(key, options)?.map(PyEntry::from))
    }

    /// Clears the expiry of an entry. Returns the entry; None if the key is absent.
    ///
    /// Raises InvalidKey, InvalidArgument, StaleFence, Locked, Conflict.
    #[pyo3(signature = (key, *, owner=None, fence=None, if_version=None))]
    fn persist(
        &self,
        key: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<Option<PyEntry>> {
        let key = checked_key(&self.kv, key)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv.persist_with(key, options)?.map(PyEntry::from))
    }

    /// Lets an entry expire after `ttl` from now. Returns the entry; None if the key is absent.
    ///
    /// Raises InvalidKey, InvalidArgument, StaleFence, Locked, Conflict.
    #[pyo3(signature = (key, ttl, *, owner=None, fence=None, if_version=None))]
    fn touch(
        &self,
        key: &Bound<'_, PyAny>,
        ttl: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<Option<PyEntry>> {
        let key = checked_key(&self.kv, key)?;
        let ttl = duration("ttl", ttl)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv.touch_with(key, ttl, options)?.map(PyEntry::from))
    }

    /// Adds to an int; an absent key counts as 0, a present one keeps its expiry. Returns the entry.
    ///
    /// Raises InvalidKey, InvalidValue (not an int, or out of 64 bits), InvalidArgument, StaleFence,
    /// Locked, Conflict, Limit. In a cluster it is atomic on this member only; hold the lock to make it
    /// exclusive.
    #[pyo3(signature = (key, by=None, *, owner=None, fence=None, if_version=None))]
    fn incr(
        &self,
        key: &Bound<'_, PyAny>,
        by: Arg<'_, '_>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<PyEntry> {
        let key = checked_key(&self.kv, key)?;
        let by = by.map_or(Ok(1), |by| signed("by", by))?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv.incr_with(key, by, options)?.into())
    }

    /// Replaces a value by what `fn(value)` returns: a new value, KEEP or DELETE.
    ///
    /// fn gets `default` for an absent key. It is called without any lock held, and again if somebody
    /// wrote in between; its exception passes through and nothing changes. A present entry keeps its
    /// expiry. Returns the entry afterwards, for DELETE the removed one, or None.
    ///
    /// Raises what put() raises. In a cluster it is atomic on this member only; hold the lock to make
    /// it exclusive.
    #[pyo3(signature = (key, r#fn, *, default=None, owner=None, fence=None, if_version=None))]
    fn update<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        r#fn: &Bound<'py, PyAny>,
        default: Arg<'_, 'py>,
        owner: Arg<'_, 'py>,
        fence: Arg<'_, 'py>,
        if_version: Arg<'_, 'py>,
    ) -> Outcome<Option<PyEntry>> {
        let key = checked_key(&self.kv, key)?;
        callable("fn", r#fn)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        let entry =
            self.kv.update_with(key, |present| change(py, present, r#fn, default), options)?;
        Ok(entry.map(PyEntry::from))
    }

    /// The entry of a key; an absent one is computed by `fn()` of one caller, the others wait for it.
    ///
    /// An exception of fn passes through, and the next who waits computes. Options as for put(). In a
    /// cluster one caller of each member may compute; hold the lock to make it exclusive.
    #[pyo3(signature = (key, r#fn, *, ttl=None, persist=None, keep_ttl=None, if_absent=None,
        lock=None, lease=None, owner=None, fence=None, if_version=None))]
    fn get_or_put(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        r#fn: &Bound<'_, PyAny>,
        ttl: Arg<'_, '_>,
        persist: Arg<'_, '_>,
        keep_ttl: Arg<'_, '_>,
        if_absent: Arg<'_, '_>,
        lock: Arg<'_, '_>,
        lease: Arg<'_, '_>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<PyEntry> {
        let key = checked_key(&self.kv, key)?;
        callable("fn", r#fn)?;
        let conditions = Conditions { owner, fence, if_version };
        let args = PutArgs { ttl, persist, keep_ttl, if_absent, lock, lease, conditions };
        let options = args.options()?;
        loop {
            match self.kv.get_or_put_start(&key, options.clone())? {
                GetOrPut::Present(entry) => return Ok(entry.into()),
                GetOrPut::Compute(computation) => {
                    let value = r#fn.call0()?;
                    return Ok(computation.put(PyValue(&value))?.into());
                }
                GetOrPut::Wait(pending) => {
                    pending.check_not_own()?;
                    let landed = in_slices(py, |slice| pending.wait_for(Some(slice)))?;
                    if let Some(entry) = landed {
                        return Ok(entry.into());
                    }
                }
            }
        }
    }

    /// The first step of get_or_put(): an Entry, a _Computation, or a _Pending.
    #[pyo3(signature = (key, *, ttl=None, persist=None, keep_ttl=None, if_absent=None,
        lock=None, lease=None, owner=None, fence=None, if_version=None))]
    fn _get_or_put_start<'py>(
        slf: &Bound<'py, PyRegistry>,
        key: &Bound<'py, PyAny>,
        ttl: Arg<'_, 'py>,
        persist: Arg<'_, 'py>,
        keep_ttl: Arg<'_, 'py>,
        if_absent: Arg<'_, 'py>,
        lock: Arg<'_, 'py>,
        lease: Arg<'_, 'py>,
        owner: Arg<'_, 'py>,
        fence: Arg<'_, 'py>,
        if_version: Arg<'_, 'py>,
    ) -> Outcome<Bound<'py, PyAny>> {
        let (py, kv) = (slf.py(), &slf.get().kv);
        let key = checked_key(kv, key)?;
        let conditions = Conditions { owner, fence, if_version };
        let args = PutArgs { ttl, persist, keep_ttl, if_absent, lock, lease, conditions };
        Ok(match kv.get_or_put_start(key, args.options()?)? {
            GetOrPut::Present(entry) => Bound::new(py, PyEntry::from(entry))?.into_any(),
            GetOrPut::Compute(task) => Bound::new(py, PyComputation::new(task))?.into_any(),
            GetOrPut::Wait(value) => {
                let pending = PyPending::new(slf.clone().unbind(), Waiting::Value(value));
                Bound::new(py, pending)?.into_any()
            }
        })
    }

    /// The entries of many keys, in the order asked; None for an absent one.
    fn get_many(&self, keys: &Bound<'_, PyAny>) -> Outcome<Vec<Option<PyEntry>>> {
        let keys = many::keys_from(&self.kv, keys)?;
        Ok(many::optional(self.kv.get_many(keys)?))
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
        many::put_many(&self.kv, items, args)
    }

    /// Removes many entries, all or none on this member.
    ///
    /// Returns the removed ones in the order given, None for an absent one; of a key given twice the
    /// second is absent. Options and errors as for delete().
    #[pyo3(signature = (keys, *, owner=None, fence=None, if_version=None))]
    fn delete_many(
        &self,
        keys: &Bound<'_, PyAny>,
        owner: Arg<'_, '_>,
        fence: Arg<'_, '_>,
        if_version: Arg<'_, '_>,
    ) -> Outcome<Vec<Option<PyEntry>>> {
        let keys = many::keys_from(&self.kv, keys)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(many::optional(self.kv.delete_many(keys, options)?))
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
        let options = many::list_options(&self.kv, prefix, limit, cursor)?;
        let raw = flag("raw", raw)?;
        let page = self.kv.keys(options)?;
        let keys =
            PyList::new(py, page.items.iter().map(|key| key_to_python(py, key.as_bytes(), raw)))?;
        Ok(many::page(py, keys, page.cursor)?)
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
        let options = many::list_options(&self.kv, prefix, limit, cursor)?;
        let page = self.kv.entries(options)?;
        let entries = PyList::new(py, page.items.into_iter().map(PyEntry::from))?;
        Ok(many::page(py, entries, page.cursor)?)
    }

    /// How many keys start with `prefix` (default: all).
    #[pyo3(signature = (prefix=None))]
    fn count(&self, prefix: Arg<'_, '_>) -> Outcome<usize> {
        self.kv.ensure_running()?;
        Ok(self.kv.count(crate::args::prefix(prefix)?)?)
    }

    /// Removes the entries whose keys start with `prefix` (default: all); returns how many.
    ///
    /// Keys that somebody else has locked stay.
    #[pyo3(signature = (prefix=None, *, owner=None))]
    fn clear(&self, prefix: Arg<'_, '_>, owner: Arg<'_, '_>) -> Outcome<usize> {
        self.kv.ensure_running()?;
        let prefix = crate::args::prefix(prefix)?;
        let options = Conditions { owner, ..Conditions::default() }.write_options()?;
        Ok(self.kv.clear_with(prefix, options)?)
    }

    /// A digest of all keys and values: equal contents have equal digests, in every process and language.
    fn digest(&self) -> Outcome<String> {
        Ok(self.kv.digest()?)
    }

    /// Watches the keys that start with `prefix` (default: all), or one key. Subscribed when it returns.
    ///
    /// initial: the present entries come first, as "put" events, without a gap. capacity: how many
    /// unread events are kept before the oldest are dropped and a "lagged" event tells how many;
    /// default 4,096.
    ///
    /// Raises InvalidKey, InvalidArgument, Limit (max_watchers).
    #[pyo3(signature = (prefix=None, *, key=None, initial=None, capacity=None))]
    fn watch(
        slf: &Bound<'_, PyRegistry>,
        prefix: Arg<'_, '_>,
        key: Arg<'_, '_>,
        initial: Arg<'_, '_>,
        capacity: Arg<'_, '_>,
    ) -> Outcome<PyWatch> {
        let kv = &slf.get().kv;
        kv.ensure_running()?;
        let mut options = WatchOptions::new().prefix(self::prefix(prefix)?);
        if let Some(key) = key {
            options = options.key(checked_key(kv, key)?);
        }
        options = options.initial(flag("initial", initial)?);
        if let Some(capacity) = capacity {
            options = options.capacity(size("capacity", capacity)?);
        }
        Ok(PyWatch::new(kv.watch_with(options)?, slf.clone().unbind()))
    }

    /// Moves a manual clock on. What falls due on the way is done when it returns.
    ///
    /// Raises InvalidArgument on a system clock.
    fn advance(&self, py: Python<'_>, by: &Bound<'_, PyAny>) -> Outcome<()> {
        self.kv.ensure_running()?;
        let by = duration("by", by)?;
        let this = std::ptr::from_ref(self.kv.options()) as usize;
        if ADVANCING.with_borrow(|advancing| advancing.contains(&this)) {
            let message = "advance was called from a callback that an advance caused";
            return Err(invalid_argument(message).into());
        }
        ADVANCING.with_borrow_mut(|advancing| advancing.push(this));
        let result = py.detach(|| self.kv.advance(by));
        ADVANCING.with_borrow_mut(|advancing| advancing.pop());
        Ok(result?)
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> Outcome<Bound<'py, PyAny>> {
        match self.kv.get(checked_key(&self.kv, key)?)? {
            Some(entry) => decode(py, &mut entry.reader()),
            None => Err(no_entry(key)),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> Outcome<()> {
        self.kv.put(checked_key(&self.kv, key)?, PyValue(value))?;
        Ok(())
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> Outcome<()> {
        match self.kv.delete(checked_key(&self.kv, key)?)? {
            Some(_) => Ok(()),
            None => Err(no_entry(key)),
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> Outcome<bool> {
        self.contains(key)
    }

    fn __len__(&self) -> Outcome<usize> {
        Ok(self.kv.count("")?)
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyAny>> {
        let keys = self.keys(py, None, None, None, None)?;
        Ok(keys.try_iter()?.into_any())
    }

    fn __enter__(slf: Bound<'_, PyRegistry>) -> Bound<'_, PyRegistry> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        if self.starter {
            self.stop(py);
        }
    }

    fn __repr__(&self) -> String {
        let name = match self.kv.options().get_name() {
            Some(name) => format!("{name:?}"),
            None => "(unnamed)".to_owned(),
        };
        match self.kv.count("") {
            Ok(1) => format!("<minikv.Registry {name}, 1 entry>"),
            Ok(count) => format!("<minikv.Registry {name}, {count} entries>"),
            Err(error) => format!("<minikv.Registry {name}, {}>", error.kind()),
        }
    }
}
