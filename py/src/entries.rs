//! What the registry does with one entry.

use minikv::{Entry, Error, ErrorKind, GetOrPut, Update};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBool;

use crate::args::{
    Arg, Conditions, Given, PutArgs, checked_key, duration, encoded, signed, unchecked_key,
};
use crate::calls::call;
use crate::cluster::in_cluster;
use crate::entry::PyEntry;
use crate::error::{Outcome, invalid_argument};
use crate::pending::{PyComputation, PyPending, Waiting, land};
use crate::registry::PyRegistry;
use crate::value::{type_name, value_of};
use crate::wait::in_slices;

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
        (Some(entry), _) => value_of(py, entry)?,
        (None, Some(default)) => default.clone(),
        (None, None) => py.None().into_bound(py),
    };
    let result = call(function, (argument,))?;
    if result.is(KEEP.import(py, "minikv._types", "KEEP")?) {
        Ok(Update::Keep)
    } else if result.is(DELETE.import(py, "minikv._types", "DELETE")?) {
        Ok(Update::Delete)
    } else {
        Ok(Update::Put(encoded(&result)?))
    }
}

pub fn callable(what: &str, function: &Bound<'_, PyAny>) -> Result<(), Error> {
    if function.is_callable() {
        return Ok(());
    }
    Err(invalid_argument(format!("{what} must be callable, not {}", type_name(function))))
}

#[pymethods]
#[allow(clippy::too_many_arguments)]
impl PyRegistry {
    /// The entry of a key; None if it is absent. Raises InvalidKey.
    fn get(&self, key: &Bound<'_, PyAny>) -> Outcome<Option<PyEntry>> {
        match self.kv().get(unchecked_key(self.kv(), key)?)? {
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
        match self.kv().get(unchecked_key(self.kv(), key)?)? {
            Some(entry) => value_of(py, &entry),
            None => Ok(default.map_or_else(|| py.None().into_bound(py), Clone::clone)),
        }
    }

    /// Whether the key is present.
    fn contains(&self, key: &Bound<'_, PyAny>) -> Outcome<bool> {
        Ok(self.kv().contains(unchecked_key(self.kv(), key)?)?)
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
        py: Python<'_>,
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
        if lock.is_some_and(|lock| lock.is(PyBool::new(py, true)))
            && in_cluster(self.kv().options())
        {
            // The same, but it waits for whoever gives the lock without holding the interpreter.
            let put = Given::Value(value.clone());
            let entry = self.lock(
                py, key, owner, None, lease, put, ttl, persist, keep_ttl, if_absent, fence,
                if_version,
            )?;
            let nothing = || Error::new(ErrorKind::Internal, "a put left nothing");
            return Ok(entry.ok_or_else(nothing)?);
        }
        let key = checked_key(self.kv(), key)?;
        let value = encoded(value)?;
        let conditions = Conditions { owner, fence, if_version };
        let args = PutArgs { ttl, persist, keep_ttl, if_absent, lock, lease, conditions };
        Ok(self.kv().put_with(key, &value, args.options()?)?.into())
    }

    /// The same as put().
    #[pyo3(signature = (key, value, *, ttl=None, persist=None, keep_ttl=None, if_absent=None,
        lock=None, lease=None, owner=None, fence=None, if_version=None))]
    fn set(
        &self,
        py: Python<'_>,
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
            py, key, value, ttl, persist, keep_ttl, if_absent, lock, lease, owner, fence,
            if_version,
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
        let key = checked_key(self.kv(), key)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv().delete_with(key, options)?.map(PyEntry::from))
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
        let key = checked_key(self.kv(), key)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv().persist_with(key, options)?.map(PyEntry::from))
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
        let key = checked_key(self.kv(), key)?;
        let ttl = duration("ttl", ttl)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv().touch_with(key, ttl, options)?.map(PyEntry::from))
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
        let key = checked_key(self.kv(), key)?;
        let by = by.map_or(Ok(1), |by| signed("by", by))?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv().incr_with(key, by, options)?.into())
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
        let key = checked_key(self.kv(), key)?;
        callable("fn", r#fn)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        let entry =
            self.kv().update_with(key, |present| change(py, present, r#fn, default), options)?;
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
        let key = checked_key(self.kv(), key)?;
        callable("fn", r#fn)?;
        let conditions = Conditions { owner, fence, if_version };
        let args = PutArgs { ttl, persist, keep_ttl, if_absent, lock, lease, conditions };
        let options = args.options()?;
        loop {
            match self.kv().get_or_put_start(&key, options.clone())? {
                GetOrPut::Present(entry) => return Ok(entry.into()),
                GetOrPut::Compute(computation) => {
                    let value = call(r#fn, ())?;
                    return land(py, computation, &value);
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
    #[pyo3(signature = (key, r#fn, *, ttl=None, persist=None, keep_ttl=None, if_absent=None,
        lock=None, lease=None, owner=None, fence=None, if_version=None))]
    fn _get_or_put_start<'py>(
        slf: &Bound<'py, PyRegistry>,
        key: &Bound<'py, PyAny>,
        r#fn: &Bound<'py, PyAny>,
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
        let (py, kv) = (slf.py(), slf.get().kv());
        let key = checked_key(kv, key)?;
        callable("fn", r#fn)?;
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
}
