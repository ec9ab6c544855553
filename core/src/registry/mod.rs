//! The public handle: every call starts here.

mod cluster;
pub(crate) mod core;
mod listing;
mod many;
#[cfg(all(test, not(feature = "__shuttle")))]
mod model;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use self::core::Core;
pub use self::listing::Page;
use crate::call_options::{LockOptions, PutOptions, WatchOptions, WriteOptions};
use crate::clock::nanos;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, shorten};
use crate::flight::{Computation, GetOrPut};
use crate::guard::{GuardPlan, LockGuard};
use crate::key::{check_key, check_prefix};
use crate::names;
use crate::options::{Options, check_ttl};
use crate::pending::{PendingGuard, PendingLock};
use crate::stats::Stats;
use crate::sync::Mutex;
use crate::table::counters::{Counted, WriteCounters};
use crate::table::mutation::{Action, Mutation};
use crate::update::{Update, run_update};
use crate::value::IntoValue;
use crate::watch::{Filter, Watch};

/// A handle to a running registry. Clones are further handles to the same one; dropping the last stops it.
///
/// Every method may be called from any thread. Every error leaves the registry as it was.
#[derive(Clone)]
pub struct Registry(Arc<Handle>);

pub(crate) struct Handle {
    core: Arc<Core>,
    /// A handle of its own, until it is stopped.
    kept: Mutex<Option<Registry>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.core.is_forked() {
            // Threads that are gone may have been about to change it: nothing of it is touched, nor freed.
            std::mem::forget(self.core.clone());
            return;
        }
        self.stop();
    }
}

impl Handle {
    fn stop(&self) {
        if !self.core.stop() {
            return;
        }
        if let Some(name) = self.core.options.get_name() {
            let mut names = names::lock();
            let own = |handle: &Weak<Handle>| std::ptr::eq(handle.as_ptr(), self);
            if names.get(name).is_some_and(own) {
                names.remove(name);
            }
        }
        // Its drop does nothing but count down: this very call holds another handle.
        let kept = self.kept.lock().take();
        drop(kept);
    }
}

impl Registry {
    /// Starts a registry.
    ///
    /// In a cluster it waits a moment, at most half a second, for a first word of the configured peers, and up to
    /// two failure timeouts for an earlier member of the same node name to vanish.
    ///
    /// Errors: `already_started` if one of this name runs in this process, `invalid_argument`; in a cluster also
    /// `cluster` if a live member has the same node name, `io` if it cannot listen.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// let kv = minikv::Registry::start("wallet")?;
    /// kv.put("balance", 100)?;
    /// let same = minikv::Registry::open("wallet")?;
    /// assert_eq!(same.get("balance")?.unwrap().as_int(), Some(100));
    /// # Ok(()) }
    /// ```
    pub fn start(options: impl Into<Options>) -> Result<Registry> {
        Registry::start_pending(options)?.block()
    }

    /// A handle of a simulated member.
    #[cfg(any(test, feature = "__fuzz"))]
    pub(crate) fn from_core(core: Arc<Core>) -> Registry {
        Registry::new(core)
    }

    fn start_named(options: Options) -> Result<Registry> {
        let Some(name) = options.name.clone() else {
            return Ok(Registry::new(Core::new(options)?));
        };
        // The other handle is dropped after the lock, whatever the outcome: it may turn out to be the last.
        let (started, _running) = {
            let mut names = names::lock();
            let running = names.get(&name).and_then(Weak::upgrade);
            // One that another thread is stopping just now has given its name up already.
            let started = if running.as_ref().is_some_and(|other| !other.core.is_stopped()) {
                Err(already_started(&name, "open it, or start with exist_ok"))
            } else {
                Core::new(options).map(|core| {
                    let registry = Registry::new(core);
                    names.insert(name, Arc::downgrade(&registry.0));
                    registry
                })
            };
            (started, running)
        };
        started
    }

    /// Starts a registry, or opens the running one of this name if its options agree.
    ///
    /// Errors: `already_started`, naming the options that differ; `invalid_argument`.
    pub fn start_or_open(options: impl Into<Options>) -> Result<Registry> {
        let options = options.into();
        loop {
            match Registry::start(options.clone()) {
                Err(error) if error.kind() == ErrorKind::AlreadyStarted => {}
                result => return result,
            }
            let name = options.get_name().unwrap_or_default();
            match Registry::open(name) {
                Ok(running) => {
                    let differences = running.0.core.options.differences(&options);
                    if differences.is_empty() {
                        return Ok(running);
                    }
                    let differences = differences.join(", ");
                    return Err(already_started(name, &format!("its {differences} differ")));
                }
                // It stopped in between.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The registry of this name that was started in this process, from any thread.
    ///
    /// Error: `not_found`.
    pub fn open(name: &str) -> Result<Registry> {
        let running = names::lock().get(name).and_then(Weak::upgrade);
        match running {
            Some(handle) if !handle.core.is_stopped() => Ok(Registry(handle)),
            _ => {
                let name = shorten(name.as_bytes());
                let message = format!("no registry {name} runs in this process; start it first");
                Err(Error::new(ErrorKind::NotFound, message))
            }
        }
    }

    fn new(core: Arc<Core>) -> Registry {
        Registry(Arc::new(Handle { core, kept: Mutex::new(None) }))
    }

    /// Keeps the registry running until [`stop`](Registry::stop), also when the last handle is dropped.
    pub fn keep_running(&self) {
        if self.0.core.is_forked() {
            return;
        }
        let mut kept = self.0.kept.lock();
        if !self.0.core.is_stopped() {
            *kept = Some(self.clone());
        }
    }

    /// Stops the registry for all handles; once more is fine. Waiting calls and all later ones get `stopped`.
    ///
    /// It waits for callbacks that are running: do not call it holding a lock that one of them takes.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Fails with `stopped` or `forked` if the registry cannot be used.
    #[inline]
    pub fn ensure_running(&self) -> Result<()> {
        self.0.core.ensure_running()
    }

    /// What every call checks first, in this order: `stopped`, `forked`, `invalid_key`.
    #[inline(always)]
    pub fn check_key(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.ensure_running()?;
        check_key(key.as_ref())
    }

    /// The options that the registry was started with.
    pub fn options(&self) -> &Options {
        &self.0.core.options
    }

    /// The entry of a key; `None` if it is absent.
    #[inline(always)]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let key = key.as_ref();
        self.check_key(key)?;
        self.unless_stopped(self.0.core.table.get(key))
    }

    /// Nothing is no answer of a registry that was stopped meanwhile: a stop empties the table.
    #[inline(always)]
    fn unless_stopped(&self, entry: Option<Entry>) -> Result<Option<Entry>> {
        if entry.is_none() {
            self.ensure_running()?;
        }
        Ok(entry)
    }

    /// The counters that a cache in front of this registry asks whether what it has is still so.
    ///
    /// For the bindings: what it takes to use them rightly is theirs to know.
    #[doc(hidden)]
    pub fn write_counters(&self) -> Arc<WriteCounters> {
        self.0.core.table.counters().clone()
    }

    /// The entry of a key, with what it takes to ask later whether it is still the same.
    #[doc(hidden)]
    pub fn get_counted(&self, key: impl AsRef<[u8]>) -> Result<Counted> {
        let key = key.as_ref();
        self.check_key(key)?;
        let table = &self.0.core.table;
        let hash = table.hash(key);
        let slot = WriteCounters::slot(hash);
        let count = table.counters().read(slot);
        let entry = self.unless_stopped(table.get_hashed(hash, key))?;
        let until = match entry.as_ref().and_then(Entry::exp) {
            // During a write it may be seen, but not again.
            _ if count.0 % 2 == 1 => 0,
            None => u64::MAX,
            // Nobody else knows what that clock shows.
            Some(_) if table.clock.is_manual() => 0,
            Some(exp) => exp,
        };
        Ok(Counted { entry, slot, count, until })
    }

    /// Whether the key is present.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.check_key(key)?;
        let contains = self.0.core.table.contains(key);
        if !contains {
            self.ensure_running()?;
        }
        Ok(contains)
    }

    /// Stores a value under the registry's `default_ttl`; a held lock stays held.
    ///
    /// Errors: `invalid_key`, `invalid_value`, `locked`, `limit`.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl IntoValue) -> Result<Entry> {
        self.put_with(key, value, PutOptions::new())
    }

    /// Stores a value. Errors: those of [`put`](Registry::put), `invalid_argument`, `stale_fence`, `conflict`.
    ///
    /// In a cluster conditions are checked on this member only; hold the lock to make them exclusive.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl IntoValue,
        options: PutOptions,
    ) -> Result<Entry> {
        let key = key.as_ref();
        self.check_key(key)?;
        self.0.core.put(key, value, &options)
    }

    /// The same as [`put`](Registry::put).
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl IntoValue) -> Result<Entry> {
        self.put(key, value)
    }

    /// The same as [`put_with`](Registry::put_with).
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl IntoValue,
        options: PutOptions,
    ) -> Result<Entry> {
        self.put_with(key, value, options)
    }

    fn write(
        &self,
        key: &[u8],
        options: &WriteOptions,
        action: Action<'_>,
    ) -> Result<Option<Entry>> {
        options.check()?;
        let conditions = options.conditions();
        Ok(self.0.core.table.apply(&Mutation { key, conditions, action })?.entry)
    }

    /// Removes an entry and ends its lock; returns the removed entry, `None` if the key was absent.
    ///
    /// Errors: `invalid_key`, `locked`.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.delete_with(key, WriteOptions::new())
    }

    /// As [`delete`](Registry::delete). Also: `invalid_argument`, `stale_fence`, `conflict`.
    pub fn delete_with(
        &self,
        key: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<Option<Entry>> {
        let key = key.as_ref();
        self.check_key(key)?;
        self.write(key, &options, Action::Delete)
    }

    /// Locks a present key for this node without an owner label; `None` if the key is absent.
    ///
    /// Errors: `invalid_key`, `locked`.
    pub fn lock(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.lock_with(key, LockOptions::new())
    }

    /// Locks a present key; `None` if it is absent. With a wait, blocks this thread in the queue for the lock.
    ///
    /// In a cluster another member is asked, also without a wait: that takes a round trip, and up to two failure timeouts
    /// longer than the wait if nobody answers, which is then `cluster`.
    ///
    /// Errors: `invalid_key`, `invalid_argument`, `stale_fence`, `locked`, `conflict`; in a cluster `cluster`.
    pub fn lock_with(&self, key: impl AsRef<[u8]>, options: LockOptions) -> Result<Option<Entry>> {
        self.lock_start(key, options)?.block()
    }

    /// Asks for a lock without blocking; what comes back may still be waiting.
    pub fn lock_start(&self, key: impl AsRef<[u8]>, options: LockOptions) -> Result<PendingLock> {
        let key = key.as_ref();
        self.check_key(key)?;
        let core = &self.0.core;
        PendingLock::start(core, key, core.lock_request(key, &options)?, options.wait_nanos())
    }

    /// As [`lock_with`](Registry::lock_with), as a future for any runtime. Dropping it leaves the queue.
    #[cfg(feature = "async")]
    pub async fn lock_async(
        &self,
        key: impl AsRef<[u8]>,
        options: LockOptions,
    ) -> Result<Option<Entry>> {
        self.lock_start(key, options)?.await
    }

    /// Locks a key and returns a guard that releases it. Without an owner label it excludes everyone else,
    /// other threads of this process included.
    ///
    /// Errors: those of [`lock_with`](Registry::lock_with), and `not_found` if the key is absent.
    pub fn locked(&self, key: impl AsRef<[u8]>, options: LockOptions) -> Result<LockGuard> {
        self.locked_start(key, options)?.block()
    }

    /// Asks for a guard without blocking; what comes back may still be waiting.
    pub fn locked_start(
        &self,
        key: impl AsRef<[u8]>,
        options: LockOptions,
    ) -> Result<PendingGuard> {
        let key = key.as_ref();
        self.check_key(key)?;
        let core = &self.0.core;
        PendingGuard::start(core, key, GuardPlan::new(core, &options)?, options.wait_nanos())
    }

    /// As [`locked`](Registry::locked), as a future for any runtime. Dropping it leaves the queue.
    #[cfg(feature = "async")]
    pub async fn locked_async(
        &self,
        key: impl AsRef<[u8]>,
        options: LockOptions,
    ) -> Result<LockGuard> {
        self.locked_start(key, options)?.await
    }

    /// Unlocks a key; unchanged if it is not locked, `None` if it is absent.
    ///
    /// Errors: `invalid_key`, `locked`.
    pub fn unlock(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.unlock_with(key, WriteOptions::new())
    }

    /// As [`unlock`](Registry::unlock). Also: `invalid_argument`, `stale_fence`, `conflict`.
    pub fn unlock_with(
        &self,
        key: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<Option<Entry>> {
        let key = key.as_ref();
        self.check_key(key)?;
        self.write(key, &options, Action::Unlock)
    }

    /// Clears the expiry of an entry; `None` if the key is absent.
    ///
    /// Errors: `invalid_key`, `locked`.
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.persist_with(key, WriteOptions::new())
    }

    /// As [`persist`](Registry::persist). Also: `invalid_argument`, `stale_fence`, `conflict`.
    pub fn persist_with(
        &self,
        key: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<Option<Entry>> {
        let key = key.as_ref();
        self.check_key(key)?;
        self.write(key, &options, Action::Persist)
    }

    /// Lets an entry expire after `ttl` from now; `None` if the key is absent.
    ///
    /// Errors: `invalid_key`, `invalid_argument`, `locked`.
    pub fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Option<Entry>> {
        self.touch_with(key, ttl, WriteOptions::new())
    }

    /// As [`touch`](Registry::touch). Also: `stale_fence`, `conflict`.
    pub fn touch_with(
        &self,
        key: impl AsRef<[u8]>,
        ttl: Duration,
        options: WriteOptions,
    ) -> Result<Option<Entry>> {
        let key = key.as_ref();
        self.check_key(key)?;
        check_ttl("ttl", ttl)?;
        self.write(key, &options, Action::Touch { ttl: nanos(ttl) })
    }

    /// Adds to an int; an absent key counts as 0 and gets the `default_ttl`, a present one keeps its expiry.
    ///
    /// Errors: `invalid_key`, `invalid_value` (not an int, or out of range), `locked`, `limit`.
    /// In a cluster it is atomic on this member only; hold the lock to make it exclusive.
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64) -> Result<Entry> {
        self.incr_with(key, by, WriteOptions::new())
    }

    /// As [`incr`](Registry::incr). Also: `invalid_argument`, `stale_fence`, `conflict`.
    pub fn incr_with(
        &self,
        key: impl AsRef<[u8]>,
        by: i64,
        options: WriteOptions,
    ) -> Result<Entry> {
        let key = key.as_ref();
        self.check_key(key)?;
        let action = Action::Incr { by, default_ttl: self.0.core.default_ttl() };
        let entry = self.write(key, &options, action)?;
        entry.ok_or_else(|| Error::new(ErrorKind::Internal, "incr left nothing"))
    }

    /// Replaces a value by what `change` makes of it. `change` is called without any lock held, and again
    /// if somebody wrote in between (so it must not write the key itself: that ends in `conflict`); its error
    /// passes through and nothing changes.
    ///
    /// A present entry keeps its expiry, a new one gets the `default_ttl`. Returns the entry afterwards,
    /// for [`Update::Delete`] the removed one. Errors besides those of `change`: those of
    /// [`put`](Registry::put). In a cluster it is atomic on this member only; hold the lock to make it exclusive.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// use minikv::{Error, Options, Registry, Update};
    /// let kv = Registry::start(Options::unnamed())?;
    /// kv.put("name", "ann")?;
    /// kv.update("name", |entry| {
    ///     let name = entry.and_then(|entry| entry.as_str()).unwrap_or("nobody");
    ///     Update::put(name.to_uppercase())
    /// })?;
    /// assert_eq!(kv.get("name")?.unwrap().as_str(), Some("ANN"));
    /// # Ok(()) }
    /// ```
    pub fn update<E: From<Error>>(
        &self,
        key: impl AsRef<[u8]>,
        change: impl FnMut(Option<&Entry>) -> Result<Update, E>,
    ) -> Result<Option<Entry>, E> {
        self.update_with(key, change, WriteOptions::new())
    }

    /// As [`update`](Registry::update). Also: `invalid_argument`, `stale_fence`, `conflict`.
    pub fn update_with<E: From<Error>>(
        &self,
        key: impl AsRef<[u8]>,
        change: impl FnMut(Option<&Entry>) -> Result<Update, E>,
        options: WriteOptions,
    ) -> Result<Option<Entry>, E> {
        let key = key.as_ref();
        self.check_key(key)?;
        options.check()?;
        run_update(&self.0.core, key, &options, change, |error| error)
    }

    /// The entry of a key; an absent one is computed by one caller, for whom the others in this process wait.
    ///
    /// An error of `compute` passes through, and the next who waits computes. Two that compute keys and
    /// ask for each other's within do so for ever. In a cluster one caller of
    /// each member may compute; hold the lock to make it exclusive.
    pub fn get_or_put<V: IntoValue, E: From<Error>>(
        &self,
        key: impl AsRef<[u8]>,
        compute: impl FnOnce() -> Result<V, E>,
        options: PutOptions,
    ) -> Result<Entry, E> {
        let key = key.as_ref();
        loop {
            match self.get_or_put_start(key, options.clone())? {
                GetOrPut::Present(entry) => return Ok(entry),
                GetOrPut::Compute(computation) => return Ok(computation.put(compute()?)?),
                GetOrPut::Wait(pending) => {
                    pending.check_not_own()?;
                    if let Some(Some(entry)) = pending.wait_for(None) {
                        return Ok(entry);
                    }
                }
            }
        }
    }

    /// The first step of [`get_or_put`](Registry::get_or_put), for callers that must not block.
    pub fn get_or_put_start(&self, key: impl AsRef<[u8]>, options: PutOptions) -> Result<GetOrPut> {
        let key = key.as_ref();
        self.check_key(key)?;
        options.write.check()?;
        // Wrong options are told to everyone, not only to whoever computes.
        options.expiry(&self.0.core.options)?;
        options.lock_lease(&self.0.core.options)?;
        Computation::start(&self.0.core, key, options)
    }

    /// Watches the keys that start with `prefix`; an empty one watches all. Subscribed when it returns.
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// use minikv::{EventKind, Options, Registry};
    /// let kv = Registry::start(Options::unnamed())?;
    /// let mut watch = kv.watch("user:")?;
    /// kv.put("user:1", "ann")?;
    /// let event = watch.next().unwrap();
    /// assert_eq!((event.kind(), event.key().unwrap()), (EventKind::Put, "user:1".into()));
    /// # Ok(()) }
    /// ```
    pub fn watch(&self, prefix: impl AsRef<[u8]>) -> Result<Watch> {
        self.watch_with(WatchOptions::new().prefix(prefix))
    }

    /// Watches what the options say. Errors: `invalid_key`, `invalid_argument`, `limit` (`max_watchers`).
    pub fn watch_with(&self, options: WatchOptions) -> Result<Watch> {
        self.ensure_running()?;
        check_prefix(&options.prefix)?;
        options.key.as_deref().map_or(Ok(()), check_key)?;
        if !(1..=WatchOptions::MAX_CAPACITY).contains(&options.capacity) {
            let (given, maximum) = (options.capacity, WatchOptions::MAX_CAPACITY);
            let message = format!("capacity is {given}; it must be from 1 to {maximum}");
            return Err(Error::argument(message));
        }
        let filter = match options.key {
            Some(_) if !options.prefix.is_empty() => {
                return Err(Error::argument("key and prefix contradict each other; give one"));
            }
            Some(key) => Filter::Key(key.into()),
            None => Filter::Prefix(options.prefix.into()),
        };
        let core = &self.0.core;
        let max = usize::try_from(core.options.max_watchers).unwrap_or(usize::MAX);
        let subscriber = core.table.subscribe(filter, options.initial, options.capacity, max)?;
        let watch = Watch::new(core.table.hub.clone(), subscriber);
        // Stopped meanwhile: nobody would end this watch.
        self.ensure_running()?;
        Ok(watch)
    }

    /// Counts of what the registry holds and does.
    pub fn stats(&self) -> Result<Stats> {
        self.ensure_running()?;
        let stats = Stats::of(&self.0.core, self.cluster_stats());
        self.ensure_running()?;
        Ok(stats)
    }

    /// Moves a manual clock on. Every expiry, lease end, renewal and elapsed wait on the way is processed,
    /// in order of time, before it returns.
    ///
    /// Error: `invalid_argument` on a system clock.
    pub fn advance(&self, by: Duration) -> Result<()> {
        self.ensure_running()?;
        self.0.core.advance(by)
    }
}

fn already_started(name: &str, hint: &str) -> Error {
    let name = shorten(name.as_bytes());
    let message = format!("a registry {name} runs in this process already; {hint}");
    Error::new(ErrorKind::AlreadyStarted, message)
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.0.core.options.name)
            .field("node", &self.0.core.options.node)
            .field("stopped", &self.0.core.is_stopped())
            .finish()
    }
}
