//! What all handles of a registry share.

use std::sync::{Arc, OnceLock, Weak};
use std::thread::ThreadId;
use std::time::Duration;

use crate::call_options::{LockOptions, PutOptions};
use crate::clock::{Clock, nanos};
use crate::cluster::Cluster;
use crate::codec::{Encoded, Encoder, Prepared};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, shorten};
use crate::flight::Flights;
use crate::fork;
use crate::guard::GuardCore;
use crate::lock::NEVER;
use crate::member::Member;
use crate::options::{ClockKind, Options};
use crate::pending::PendingLock;
use crate::record::Content;
use crate::renewal::Renewals;
use crate::supervisor::{Signal, Supervisor};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::table::Table;
use crate::table::mutation::{Action, Applied, Grant, Limits, LockRequest, Mutation, Put, Store};
use crate::table::replication::Replication;
use crate::table::shard::stopped;
use crate::value::IntoValue;

/// Due things are processed this close together at most, so that many small deadlines cost little.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);
/// And after this many at once this close: what comes in masses is cheaper in larger ones.
const MANY: usize = 100;
const LONG_SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// While anything is due at all, the wall clock is looked at this often: it may be set.
const LONGEST_SLEEP: u64 = 500_000_000;

pub(crate) struct Core {
    pub options: Options,
    pub table: Arc<Table>,
    cluster: OnceLock<Arc<Cluster>>,
    pub flights: Flights,
    pub supervisor: Arc<Supervisor>,
    renewals: Renewals,
    sweeper: Arc<Sweeper>,
    stopped: AtomicBool,
    generation: fork::Generation,
    ids: AtomicU64,
    advancing: Mutex<()>,
    /// The thread that moves the manual clock, while it does.
    advancer: Mutex<Option<ThreadId>>,
}

/// The worker that processes deadlines; it is started with the first one.
struct Sweeper {
    signal: Arc<Signal>,
    supervisor: Arc<Supervisor>,
    started: AtomicBool,
    core: OnceLock<Weak<Core>>,
}

impl Sweeper {
    fn ring(self: &Arc<Sweeper>) {
        self.signal.ring();
        if self.started.swap(true, Ordering::SeqCst) {
            return;
        }
        let Some(core) = self.core.get().cloned() else { return };
        let body = move |signal: &Signal| sweep_until_stopped(&core, signal);
        if self.supervisor.start("minikv-sweeper", self.signal.clone(), body).is_err() {
            // The supervisor has noted it; the next deadline tries again.
            self.started.store(false, Ordering::SeqCst);
        }
    }
}

fn sweep_until_stopped(core: &Weak<Core>, signal: &Signal) {
    loop {
        let Some(core) = core.upgrade() else { return };
        let (sleep, pause) = core.sweep_once();
        // Not kept alive while asleep.
        drop(core);
        if signal.wait(sleep) || signal.pause(pause) {
            return;
        }
    }
}

impl Core {
    pub fn new(options: Options) -> Result<Arc<Core>> {
        fork::watch();
        let clock = Arc::new(match options.clock {
            ClockKind::System => Clock::System,
            ClockKind::Manual => Clock::manual(),
        });
        if options.cluster.name.is_none() {
            return Ok(Core::with(options, clock, random_incarnation()?, None));
        }
        #[cfg(not(feature = "cluster"))]
        {
            let message = "this build has no cluster: turn on the feature `cluster`";
            Err(Error::argument(message))
        }
        #[cfg(feature = "cluster")]
        {
            let prepared = crate::cluster::Prepared::new(&options.cluster);
            let replication = prepared.replication.clone();
            let core = Core::with(options, clock, random_incarnation()?, Some(replication));
            let (table, supervisor) = (core.table.clone(), &core.supervisor);
            let cluster =
                crate::cluster::start(prepared, &core.options.cluster, table, supervisor)?;
            // A fresh cell: it cannot be set already.
            let _ = core.cluster.set(cluster);
            Ok(core)
        }
    }

    /// A member of a simulated cluster; it has no threads.
    #[cfg(any(test, feature = "__fuzz"))]
    pub fn simulated(
        options: Options,
        clock: Arc<Clock>,
        incarnation: u128,
        link: Arc<dyn crate::cluster::link::Link>,
        settings: crate::cluster::settings::Settings,
    ) -> Arc<Core> {
        let (capacity, faults) = (settings.outbox_records, settings.faults);
        let replication = Arc::new(Replication::new(capacity, faults, Box::new(|| ())));
        let core = Core::with(options, clock, incarnation, Some(replication.clone()));
        let cluster = Cluster::new(core.table.clone(), replication, settings, link, true);
        let _ = core.cluster.set(Arc::new(cluster));
        core
    }

    /// The earliest deadlines on the wall and the monotonic clock, renewals included.
    #[cfg(test)]
    pub fn next_deadlines(&self) -> (u64, u64) {
        let (wall, mono) = self.table.next_deadlines();
        (wall, mono.min(self.renewals.next()))
    }

    /// What a sweeper would do now.
    #[cfg(any(test, feature = "__fuzz"))]
    pub fn sweep_now(&self) {
        self.table.sweep();
        self.renewals.run(self.table.clock.mono());
    }

    fn with(
        options: Options,
        clock: Arc<Clock>,
        incarnation: u128,
        replication: Option<Arc<Replication>>,
    ) -> Arc<Core> {
        let member = Arc::new(Member::alone(&options.node, incarnation));
        let supervisor = Arc::new(Supervisor::new());
        let sweeper = Arc::new(Sweeper {
            signal: Arc::new(Signal::default()),
            supervisor: supervisor.clone(),
            started: AtomicBool::new(false),
            core: OnceLock::new(),
        });
        let bell = sweeper.clone();
        let manual = clock.is_manual();
        let ring = Box::new(move || {
            if !manual {
                bell.ring();
            }
        });
        let limits = Limits::new(options.max_entries, options.max_bytes);
        let core = Arc::new(Core {
            table: Arc::new(Table::new(clock, member, limits, ring, replication)),
            cluster: OnceLock::new(),
            flights: Flights::default(),
            supervisor,
            renewals: Renewals::default(),
            sweeper,
            stopped: AtomicBool::new(false),
            generation: fork::Generation::now(),
            ids: AtomicU64::new(1),
            advancing: Mutex::new(()),
            advancer: Mutex::new(None),
            options,
        });
        // A fresh cell: it cannot be set already.
        let _ = core.sweeper.core.set(Arc::downgrade(&core));
        core
    }

    /// `None`: this registry is alone.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }

    /// First in every call: `stopped`, then `forked`.
    #[inline]
    pub fn ensure_running(&self) -> Result<()> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(stopped());
        }
        self.ensure_not_forked()
    }

    /// For what outlives a stop, but not the threads that would end its wait.
    #[inline]
    pub fn ensure_not_forked(&self) -> Result<()> {
        if self.is_forked() {
            return Err(fork::error());
        }
        Ok(())
    }

    #[inline]
    pub fn is_forked(&self) -> bool {
        self.generation.is_over()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends everything, once. True: by this call.
    pub fn stop(&self) -> bool {
        // In a forked child nothing may be touched: its locks may be held by threads that do not exist.
        if self.is_forked() || self.stopped.swap(true, Ordering::SeqCst) {
            return false;
        }
        if let Some(cluster) = self.cluster() {
            cluster.leave();
        }
        self.table.close();
        self.flights.clear();
        self.renewals.clear();
        self.supervisor.stop();
        true
    }

    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// A label that no other guard has, on any member.
    pub fn guard_label(&self, id: u64) -> Arc<str> {
        let incarnation = self.table.member.incarnation;
        Arc::from(format!("guard-{incarnation:032x}-{id}"))
    }

    pub fn default_ttl(&self) -> Option<u64> {
        self.options.default_ttl.map(nanos)
    }

    /// The entry of a mutation that always leaves one.
    #[inline(always)]
    pub fn one_entry(&self, applied: Applied) -> Result<Entry> {
        let left = applied.entry;
        left.ok_or_else(|| Error::new(ErrorKind::Internal, "a put left nothing"))
    }

    /// A value of the caller's, ready to be stored under the key.
    #[inline(always)]
    pub fn prepare(&self, key: &[u8], value: impl IntoValue) -> Result<Prepared> {
        let encoded = Encoded::by(Encoder::reusing(), value)?;
        self.check_size(key, &encoded)?;
        Ok(Prepared::new(encoded))
    }

    #[inline(always)]
    fn check_size(&self, key: &[u8], encoded: &Encoded) -> Result<()> {
        let (size, max) = (encoded.as_bytes().len(), self.options.max_value_bytes);
        if size as u64 > max {
            return Err(too_large(key, size, max));
        }
        Ok(())
    }

    /// A put, from the value on; the key was checked before.
    pub fn put(
        self: &Arc<Core>,
        key: &[u8],
        value: impl IntoValue,
        options: &PutOptions,
    ) -> Result<Entry> {
        let hash = self.table.hash(key);
        self.table.fetch_group(hash);
        let value = self.prepare(key, value)?;
        self.table.fetch_record(hash);
        options.write.check()?;
        if let (Some(_), Some(lease)) = (self.cluster(), options.lock_lease(&self.options)?) {
            // The lock is for the coordinator to give.
            let request = self.locking_put(value, lease, options)?;
            let entry = PendingLock::start(self, key, request, 0)?.block()?;
            return self.one_entry(Applied { entry, ..Applied::default() });
        }
        let action = Action::Put(self.put_action(value.content(), options)?);
        let conditions = options.write.conditions();
        let applied = self.table.apply_hashed(hash, &Mutation { key, conditions, action })?;
        value.recycle();
        self.one_entry(applied)
    }

    fn locking_put(
        &self,
        value: Prepared,
        lease: Option<u64>,
        options: &PutOptions,
    ) -> Result<LockRequest> {
        let conditions = options.write.conditions();
        Ok(LockRequest {
            owner: options.write.owner_label(),
            fence: conditions.fence,
            version: conditions.version,
            grant: Grant { lease, signal: None },
            store: Some(Store {
                value: Arc::new(value),
                expiry: options.expiry(&self.options)?,
                only_if_absent: false,
                if_absent: options.absent_only(),
            }),
            ..LockRequest::default()
        })
    }

    #[inline(always)]
    pub fn put_action<'a>(&self, content: Content<'a>, options: &PutOptions) -> Result<Put<'a>> {
        let expiry = options.expiry(&self.options)?;
        let lock = options.lock_lease(&self.options)?;
        let lock = lock.map(|lease| Grant { lease, signal: None });
        Ok(Put { content, expiry, if_absent: options.absent_only(), lock, reserved: false })
    }

    pub fn lock_request(&self, key: &[u8], options: &LockOptions) -> Result<LockRequest> {
        let store = match options.stored() {
            Some((encoded, put)) => {
                let value = Arc::new(self.prepare(key, encoded)?);
                let expiry = put.expiry(&self.options)?;
                put.check_within_lock()?;
                let if_absent = put.absent_only();
                Some(Store { value, expiry, only_if_absent: false, if_absent })
            }
            None => None,
        };
        options.write.check()?;
        if options.creates() {
            let message = "create belongs to locked(); give lock a value to put instead";
            return Err(Error::argument(message));
        }
        let conditions = options.write.conditions();
        Ok(LockRequest {
            owner: options.write.owner_label(),
            fence: conditions.fence,
            version: conditions.version,
            grant: Grant { lease: options.lease_nanos(&self.options)?, signal: None },
            store,
            ..LockRequest::default()
        })
    }

    pub fn cancel_renewal(&self, guard: &GuardCore) {
        self.renewals.cancel(guard);
    }

    pub fn schedule_renewal(&self, at: u64, guard: &Arc<GuardCore>) {
        self.renewals.schedule(at, guard);
        if !self.table.clock.is_manual() {
            self.sweeper.ring();
        }
    }

    /// Processes what is due and says how long nothing will be, and how long to pause at least.
    fn sweep_once(&self) -> (Option<Duration>, Duration) {
        #[cfg(test)]
        tests::panic_if_asked(self);
        // Awake: nobody needs to ring.
        self.table.set_alarm(0, 0);
        let steps = self.table.sweep();
        self.renewals.run(self.table.clock.mono());
        let (wall, mono) = self.table.next_deadlines();
        self.table.set_alarm(wall, mono);
        // Set between the two lines above, a deadline would have rung for nobody.
        let (wall, mono) = self.table.next_deadlines();
        let mono = mono.min(self.renewals.next());
        let now = self.table.clock.now();
        let sleep = wall.saturating_sub(now.wall).min(mono.saturating_sub(now.mono));
        let sleep = (wall != NEVER || mono != NEVER)
            .then(|| Duration::from_nanos(sleep.min(LONGEST_SLEEP)));
        // Leases may be short.
        let many = steps >= MANY && mono == NEVER;
        (sleep, if many { LONG_SWEEP_PAUSE } else { SWEEP_PAUSE })
    }

    /// Moves a manual clock on, through everything that happens on the way, in order of time.
    pub fn advance(&self, by: Duration) -> Result<()> {
        let clock = &self.table.clock;
        if !clock.is_manual() {
            let message = "advance needs a registry with the manual clock";
            return Err(Error::argument(message));
        }
        let this = std::thread::current().id();
        if *self.advancer.lock() == Some(this) {
            let message = "advance was called from a callback of an advance of this registry";
            return Err(Error::argument(message));
        }
        let _one_at_a_time = self.advancing.lock();
        *self.advancer.lock() = Some(this);
        let result = self.advance_alone(by);
        *self.advancer.lock() = None;
        result
    }

    fn advance_alone(&self, by: Duration) -> Result<()> {
        let clock = &self.table.clock;
        let target = clock
            .wall()
            .checked_add(nanos(by))
            .filter(|target| *target <= i64::MAX as u64)
            .ok_or_else(|| Error::argument("advance leads past the year 2262"))?;
        loop {
            let (wall, mono) = self.table.next_deadlines();
            let next = wall.min(mono).min(self.renewals.next());
            if next > target {
                break;
            }
            clock.set(next);
            // What ends at the moment of a renewal has ended.
            self.table.sweep();
            self.renewals.run(clock.mono());
        }
        clock.set(target);
        Ok(())
    }
}

#[cold]
fn too_large(key: &[u8], size: usize, max: u64) -> Error {
    let key = shorten(key);
    let message = format!(
        "the value for {key} has {size} bytes encoded, but max_value_bytes is {max}; store less, or raise it"
    );
    Error::value(message)
}

fn random_incarnation() -> Result<u128> {
    let mut incarnation = [0; 16];
    getrandom::fill(&mut incarnation)
        .map_err(|error| Error::new(ErrorKind::Io, format!("no randomness: {error}")))?;
    Ok(u128::from_le_bytes(incarnation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Registry, WriteOptions};

    /// The name of registries whose sweeper panics while entries named "panic" are in the table.
    pub(super) fn panic_if_asked(core: &Core) {
        if core.options.name.as_deref() == Some("panicking") && core.table.get(b"panic").is_some() {
            panic!("on purpose");
        }
    }

    #[cfg(not(feature = "__shuttle"))]
    #[test]
    fn entries_survive_a_panicking_sweeper_and_stats_tell() {
        let kv = Registry::start("panicking").unwrap();
        kv.put("panic", 1).unwrap();
        let short = crate::PutOptions::new().ttl(Duration::from_millis(1));
        kv.put_with("short", 2, short).unwrap();
        let watch = kv.watch("short").unwrap();
        while kv.stats().unwrap().worker_restarts < 3 {
            std::thread::yield_now();
        }
        assert_eq!(kv.get("panic").unwrap().unwrap().as_int(), Some(1));
        assert!(kv.get("short").unwrap().is_none(), "reads look at the deadline themselves");
        kv.delete("panic").unwrap();
        let event = watch.next_timeout(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(event.kind(), crate::EventKind::Expire, "the restarted sweeper goes on");
    }

    #[test]
    fn an_advance_within_an_advance_is_refused() {
        let options = Options::unnamed().clock(ClockKind::Manual);
        let kv = Registry::start(options).unwrap();
        let second = Duration::from_secs(1);
        kv.put_with("k", 1, PutOptions::new().ttl(second)).unwrap();
        let guard = kv.locked("k", LockOptions::new()).unwrap();
        let (inner, seen) = (kv.clone(), Arc::new(Mutex::new(None)));
        let result = seen.clone();
        guard.on_lost(move || *result.lock() = Some(inner.advance(second)));
        kv.advance(2 * second).unwrap();
        let refused = seen.lock().take().unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_panicking_callback_harms_nobody_else() {
        let kv = Registry::start(Options::unnamed().clock(ClockKind::Manual)).unwrap();
        kv.put("k", 1).unwrap();
        let watch = kv.watch("k").unwrap();
        watch.on_ready(|| panic!("on purpose"));
        let guard = kv.locked("k", LockOptions::new().owner("o")).unwrap();
        guard.on_lost(|| panic!("on purpose"));
        let waiting = LockOptions::new().wait(Duration::from_secs(1));
        let pending = kv.lock_start("k", waiting).unwrap();
        pending.on_ready(|| panic!("on purpose"));
        kv.unlock_with("k", WriteOptions::new().owner("o")).unwrap();
        assert!(guard.is_lost());
        assert!(pending.block().unwrap().unwrap().is_locked());
        kv.advance(Duration::from_secs(1)).unwrap();
    }
}
