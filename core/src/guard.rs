//! The scoped form of a lock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::call_options::{LockOptions, PutOptions, WriteOptions};
use crate::codec::{Encoded, Prepared};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, shorten};
use crate::lock::{LossSignal, NEVER};
use crate::registry::core::Core;
use crate::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use crate::table::mutation::{Action, Applied, Conditions, Expiry, Grant, LockRequest, Mutation};
use crate::table::mutation::{Put, Store};
use crate::update::{Update, run_update};
use crate::value::{IntoValue, Value};
use crate::version::Version;

/// A held lock. Its methods act as its holder, with its fence; dropping it releases the lock.
///
/// A lease that was given is renewed by itself. If the lock is lost all the same, [`is_lost`](LockGuard::is_lost)
/// tells, and every method fails with `lock_lost`.
///
/// ```
/// # fn main() -> Result<(), minikv::Error> {
/// use minikv::{LockOptions, Options, Registry};
/// let kv = Registry::start(Options::unnamed())?;
/// kv.put("balance", 100)?;
/// let held = kv.locked("balance", LockOptions::new())?;
/// assert!(kv.put("balance", 0).is_err());
/// held.put(90)?;
/// held.release()?;
/// assert_eq!(kv.get("balance")?.and_then(|entry| entry.as_int()), Some(90));
/// # Ok(()) }
/// ```
pub struct LockGuard {
    core: Arc<GuardCore>,
}

const HELD: u8 = 0;
const RELEASED: u8 = 1;

pub(crate) struct GuardCore {
    registry: Arc<Core>,
    id: u64,
    key: Box<[u8]>,
    owner: Arc<str>,
    fence: u64,
    /// In nanoseconds.
    lease: Option<u64>,
    signal: Arc<LossSignal>,
    state: AtomicU8,
    /// When the lease is to be renewed next.
    renewal: AtomicU64,
    /// The version of the nil that was stored because the key was absent.
    created: Option<Version>,
}

/// A guard on its way: the request for its lock, and what is needed once that is granted.
pub(crate) struct GuardPlan {
    pub id: u64,
    pub request: LockRequest,
    owner: Arc<str>,
    signal: Arc<LossSignal>,
}

impl GuardPlan {
    pub fn new(registry: &Core, options: &LockOptions) -> Result<GuardPlan> {
        options.write.check()?;
        if options.stored().is_some() {
            let message = "locked() takes no put; put through the guard, or use create";
            return Err(Error::argument(message));
        }
        let id = registry.next_id();
        let signal = Arc::new(LossSignal::default());
        let owner = options.write.owner_label().unwrap_or_else(|| registry.guard_label(id));
        let conditions = options.write.conditions();
        let lease = options.lease_nanos(&registry.options)?;
        let store = if options.creates() {
            let value = Arc::new(Prepared::new(Encoded::new(Value::Nil)?));
            Some(Store { value, expiry: Expiry::Never, only_if_absent: true, if_absent: false })
        } else {
            None
        };
        let request = LockRequest {
            owner: Some(owner.clone()),
            fence: conditions.fence,
            version: conditions.version,
            grant: Grant { lease, signal: Some(signal.clone()) },
            store,
            ..LockRequest::default()
        };
        Ok(GuardPlan { id, request, owner, signal })
    }

    /// The guard for a granted lock.
    pub fn finish(self, registry: &Arc<Core>, key: &[u8], applied: Applied) -> Result<LockGuard> {
        let Some(entry) = applied.entry else {
            let message = format!("{} is absent; put it first, or give create", shorten(key));
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        let core = Arc::new(GuardCore {
            registry: registry.clone(),
            id: self.id,
            key: key.into(),
            owner: self.owner,
            fence: entry.fence().unwrap_or_default(),
            lease: self.request.grant.lease,
            signal: self.signal,
            state: AtomicU8::new(HELD),
            renewal: AtomicU64::new(0),
            created: applied.created.then(|| entry.version()),
        });
        if let Some(lease) = core.lease {
            // Counted from the grant, however late the guard was taken.
            let at = entry.lease_end().saturating_sub(lease).saturating_add((lease / 3).max(1));
            registry.schedule_renewal(at, &core);
        }
        Ok(LockGuard { core })
    }
}

impl GuardCore {
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn renewal(&self) -> u64 {
        self.renewal.load(Ordering::SeqCst)
    }

    pub fn set_renewal(&self, at: u64) {
        self.renewal.store(at, Ordering::SeqCst);
    }

    /// Nothing is left to release, to renew or to tell.
    fn finish(&self) {
        self.signal.silence();
        if self.lease.is_some() {
            self.registry.cancel_renewal(self);
        }
    }

    /// Prolongs the lease; returns when to do it again.
    pub fn renew(&self, now: u64) -> Option<u64> {
        let lease = self.lease?;
        if self.state.load(Ordering::SeqCst) != HELD || self.signal.is_lost() {
            return None;
        }
        let request = LockRequest {
            owner: Some(self.owner.clone()),
            fence: Some(self.fence),
            version: None,
            grant: Grant { lease: Some(lease), signal: None },
            renewal: true,
            ..LockRequest::default()
        };
        match self.registry.cluster() {
            None => drop(self.apply(Action::Lock(&request, None)).ok()?.entry?),
            // Whether the coordinator has agreed, the table will show; a clock that is refused now may be right in time.
            Some(cluster) => {
                let id = self.registry.next_id();
                let _ = cluster.ask(id, &self.key, &request, now, None);
            }
        }
        Some(now.saturating_add((lease / 3).max(1)))
    }

    fn conditions(&self) -> Conditions<'_> {
        Conditions { owner: Some(&self.owner), fence: Some(self.fence), version: None }
    }

    fn apply(&self, action: Action<'_>) -> Result<Applied> {
        let conditions = self.conditions();
        self.registry.table.apply(&Mutation { key: &self.key, conditions, action })
    }

    fn is_lost(&self) -> bool {
        self.state.load(Ordering::SeqCst) == HELD && self.signal.is_lost()
    }

    fn check(&self) -> Result<()> {
        self.registry.ensure_running()?;
        if self.is_lost() {
            return Err(self.lost("ended before it was released"));
        }
        if self.state.load(Ordering::SeqCst) != HELD {
            return Err(self.lost("was released"));
        }
        // A lease that is over may not have been swept yet.
        match self.registry.table.get(&self.key) {
            Some(entry) if entry.is_locked() && entry.fence() == Some(self.fence) => Ok(()),
            _ => Err(self.lost("ended before it was released")),
        }
    }

    fn lost(&self, how: &str) -> Error {
        let key = shorten(&self.key);
        let message = format!("the lock of {key} (fence {}) {how}; lock it anew", self.fence);
        Error::new(ErrorKind::LockLost, message)
    }

    /// What the store refuses to a guard, it refuses because the lock is no longer the guard's.
    fn as_guard<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.lost_if_refused(error))
    }

    fn lost_if_refused(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::StaleFence | ErrorKind::Locked => self.lost("ended before it was released"),
            _ => error,
        }
    }

    fn write(&self, action: Action<'_>) -> Result<Option<Entry>> {
        self.check()?;
        Ok(self.as_guard(self.apply(action))?.entry)
    }

    fn release(&self) -> Result<()> {
        if self.state.load(Ordering::SeqCst) == RELEASED {
            return Ok(());
        }
        self.registry.ensure_running()?;
        if self.is_lost() {
            return Err(self.lost("ended before it was released"));
        }
        if self.state.swap(RELEASED, Ordering::SeqCst) == RELEASED {
            return Ok(());
        }
        self.finish();
        let conditions = self.conditions();
        let table = &self.registry.table;
        self.as_guard(table.give_back(&self.key, conditions, self.created))
    }
}

impl LockGuard {
    /// The key that is locked.
    pub fn key_bytes(&self) -> &[u8] {
        &self.core.key
    }

    /// The fence of this lock: larger than that of every lock of this key before it.
    pub fn fence(&self) -> u64 {
        self.core.fence
    }

    /// The holder's label: the one given, or one that no other guard has.
    pub fn owner(&self) -> &str {
        &self.core.owner
    }

    /// The lease that was given, or the registry's.
    pub fn lease(&self) -> Option<Duration> {
        self.core.lease.filter(|lease| *lease != NEVER).map(Duration::from_nanos)
    }

    /// Whether the lock ended before it was released.
    pub fn is_lost(&self) -> bool {
        self.core.is_lost()
    }

    /// Calls back once if the lock is lost, at once if it is already; not after a release.
    ///
    /// It is called on whichever thread caused the loss, with no lock held, and must be quick.
    pub fn on_lost(&self, callback: impl FnOnce() + Send + 'static) {
        if self.core.registry.is_forked() {
            return;
        }
        let core = Arc::downgrade(&self.core);
        self.core.signal.on_lost(Box::new(move || {
            if core.upgrade().is_none_or(|core| core.is_lost()) {
                callback();
            }
        }));
    }

    /// Fails with `lock_lost` if the lock is not held any more.
    pub fn check(&self) -> Result<()> {
        self.core.check()
    }

    /// The entry.
    pub fn get(&self) -> Result<Option<Entry>> {
        self.core.check()?;
        Ok(self.core.registry.table.get(&self.core.key))
    }

    /// As [`Registry::put`](crate::Registry::put).
    pub fn put(&self, value: impl IntoValue) -> Result<Entry> {
        self.put_with(value, PutOptions::new())
    }

    /// As [`Registry::put_with`](crate::Registry::put_with); owner, fence and lease are the guard's, and
    /// giving others is `invalid_argument`.
    pub fn put_with(&self, value: impl IntoValue, options: PutOptions) -> Result<Entry> {
        self.core.check()?;
        let registry = &self.core.registry;
        let value = registry.prepare(&self.core.key, value)?;
        let expiry = options.expiry(&registry.options)?;
        options.check_within_guard()?;
        let conditions =
            Conditions { version: options.write.conditions().version, ..self.core.conditions() };
        let put = Put {
            content: value.content(),
            expiry,
            if_absent: options.absent_only(),
            lock: None,
            reserved: false,
        };
        let mutation = Mutation { key: &self.core.key, conditions, action: Action::Put(put) };
        registry.one_entry(self.core.as_guard(registry.table.apply(&mutation))?)
    }

    /// Removes the entry, and with it the lock: the guard has nothing left to release.
    pub fn delete(&self) -> Result<Option<Entry>> {
        self.core.check()?;
        self.core.state.store(RELEASED, Ordering::SeqCst);
        let result = self.core.as_guard(self.core.apply(Action::Delete));
        match result {
            Ok(applied) => {
                self.core.finish();
                Ok(applied.entry)
            }
            Err(error) => {
                self.core.state.store(HELD, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    /// As [`Registry::incr`](crate::Registry::incr).
    pub fn incr(&self, by: i64) -> Result<Entry> {
        self.core.check()?;
        let default_ttl = self.core.registry.default_ttl();
        let applied = self.core.as_guard(self.core.apply(Action::Incr { by, default_ttl }))?;
        self.core.registry.one_entry(applied)
    }

    /// As [`Registry::update`](crate::Registry::update).
    pub fn update<E: From<Error>>(
        &self,
        mut change: impl FnMut(Option<&Entry>) -> Result<Update, E>,
    ) -> Result<Option<Entry>, E> {
        self.core.check()?;
        let core = &self.core;
        let write = WriteOptions::new().owner(&*core.owner).fence(core.fence);
        let mut deletes = false;
        let result = run_update(
            &core.registry,
            &core.key,
            &write,
            |entry| {
                core.state.store(HELD, Ordering::SeqCst);
                let update = change(entry)?;
                // Deleting ends the lock by the guard's own will: that is no loss.
                deletes = entry.is_some() && matches!(update, Update::Delete);
                if deletes {
                    core.state.store(RELEASED, Ordering::SeqCst);
                }
                Ok(update)
            },
            |error| core.lost_if_refused(error),
        );
        match result {
            Ok(_) if deletes => core.finish(),
            Err(_) => core.state.store(HELD, Ordering::SeqCst),
            Ok(_) => {}
        }
        result
    }

    /// As [`Registry::touch`](crate::Registry::touch).
    pub fn touch(&self, ttl: Duration) -> Result<Option<Entry>> {
        self.core.check()?;
        crate::options::check_ttl("ttl", ttl)?;
        self.core.write(Action::Touch { ttl: crate::clock::nanos(ttl) })
    }

    /// As [`Registry::persist`](crate::Registry::persist).
    pub fn persist(&self) -> Result<Option<Entry>> {
        self.core.write(Action::Persist)
    }

    /// Releases the lock; once more is fine. `lock_lost` if it ended before.
    pub fn release(&self) -> Result<()> {
        self.core.release()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if self.core.lease.is_some() && !self.core.registry.is_forked() {
            self.core.registry.cancel_renewal(&self.core);
        }
        // A lost lock has nothing to release, and there is nobody left to tell.
        let _ = self.core.release();
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("key", &format_args!("{}", shorten(&self.core.key)))
            .field("owner", &self.core.owner)
            .field("fence", &self.core.fence)
            .field("lost", &self.is_lost())
            .finish()
    }
}
