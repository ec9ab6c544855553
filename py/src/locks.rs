//! What the registry does with locks.

use minikv::LockOptions;
use pyo3::prelude::*;

use crate::args::{Arg, Conditions, Given, LockArgs, PutArgs, checked_key};
use crate::entry::PyEntry;
use crate::error::Outcome;
use crate::guard::LockScope;
use crate::pending::{PyPending, Waiting};
use crate::registry::PyRegistry;
use crate::wait::in_slices;

#[pymethods]
#[allow(clippy::too_many_arguments)]
impl PyRegistry {
    /// Locks a present key and returns its entry; None if the key is absent.
    ///
    /// wait: how long to wait for the lock at most, in order of arrival; math.inf: as long as it takes.
    /// Default 0. lease: the lock ends by itself after this long, at most 10 minutes. Default: the
    /// registry's lock_lease. put: stores this value in the same step, also under an absent key; ttl,
    /// persist, keep_ttl and if_absent are then as for put().
    ///
    /// In a cluster another member is asked, also without a wait: that takes a round trip, and up to two
    /// failure timeouts longer than the wait if nobody answers, which then raises Cluster.
    ///
    /// Raises InvalidKey, InvalidValue, InvalidArgument, StaleFence, Locked (LockTimeout after a wait),
    /// Conflict; in a cluster Cluster.
    #[pyo3(signature = (key, *, owner=None, wait=None, lease=None, put=Given::Missing, ttl=None,
        persist=None, keep_ttl=None, if_absent=None, fence=None, if_version=None))]
    pub fn lock(
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
        let key = checked_key(self.kv(), key)?;
        let conditions = Conditions { owner, fence, if_version };
        let put_args = PutArgs { ttl, persist, keep_ttl, if_absent, ..PutArgs::default() };
        let options =
            LockArgs { put, put_args, wait, lease, create: None, conditions }.options()?;
        let mut pending = self.kv().lock_start(key, options)?;
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
        let kv = slf.get().kv();
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
        let key = checked_key(slf.get().kv(), key)?;
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
        let key = checked_key(self.kv(), key)?;
        let options = Conditions { owner, fence, if_version }.write_options()?;
        Ok(self.kv().unlock_with(key, options)?.map(PyEntry::from))
    }
}
