//! Locks and the first sync, while they are being waited for, on a thread, through a callback or as futures.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::fork::{self, Generation};
use crate::guard::{GuardPlan, LockGuard};
use crate::lock::NEVER;
use crate::oneshot::Oneshot;
use crate::registry::Registry;
use crate::registry::core::Core;
use crate::table::mutation::{Action, Applied, LockRequest, Mutation, Outcome, Wait};

/// A wait for a lock, in the queue or already decided. Dropping it gives the place, or the lock, back.
struct Pending {
    core: Arc<Core>,
    key: Box<[u8]>,
    request: LockRequest,
    id: u64,
    deadline: u64,
    outcome: Arc<Outcome>,
    taken: bool,
}

impl Pending {
    fn start(
        core: &Arc<Core>,
        key: &[u8],
        id: u64,
        request: LockRequest,
        wait: u64,
    ) -> Result<Pending> {
        let cluster = core.cluster();
        let deadline = match wait {
            0 if cluster.is_none() => 0,
            NEVER => NEVER,
            wait => core.table.clock.mono().saturating_add(wait).min(NEVER - 1),
        };
        let pending = Pending {
            core: core.clone(),
            key: key.into(),
            request,
            id,
            deadline,
            outcome: Arc::new(Outcome::new()),
            taken: false,
        };
        let result = match cluster {
            Some(cluster) => {
                let Pending { key, request, outcome, .. } = &pending;
                cluster.ask(id, key, request, deadline, Some(outcome))
            }
            None => {
                let wait = (wait > 0).then(|| pending.wait());
                let conditions = pending.request.conditions();
                let action = Action::Lock(&pending.request, wait);
                core.table.apply(&Mutation { key: &pending.key, conditions, action })
            }
        };
        match result {
            Ok(applied) if applied.waiting => {}
            result => pending.outcome.set(result),
        }
        Ok(pending)
    }

    fn wait(&self) -> Wait<'_> {
        Wait { id: self.id, deadline: self.deadline, outcome: &self.outcome }
    }

    fn take(&mut self) -> Option<Result<Applied>> {
        if let Err(forked) = self.core.ensure_not_forked() {
            return Some(Err(forked));
        }
        let result = self.outcome.take();
        self.taken |= result.is_some();
        result
    }

    /// Waits in real time, at most `timeout`; `None`: undecided.
    fn wait_for(&mut self, timeout: Duration) -> Option<Result<Applied>> {
        if let Err(forked) = self.core.ensure_not_forked() {
            return Some(Err(forked));
        }
        let result = self.outcome.wait(Some(timeout));
        self.taken |= result.is_some();
        result
    }

    fn on_ready(&self, callback: Box<dyn FnOnce() + Send>) {
        match self.core.is_forked() {
            true => callback(),
            false => self.outcome.on_ready(callback),
        }
    }

    /// Waits until it is decided.
    fn block(mut self) -> Result<Applied> {
        self.core.ensure_not_forked()?;
        let clock: &Clock = &self.core.table.clock;
        let real_deadline = !clock.is_manual() && self.deadline != NEVER;
        let patience = self.core.cluster().map_or(0, |cluster| cluster.patience());
        let deadline = self.deadline.saturating_add(patience);
        loop {
            let timeout = if real_deadline {
                let left = deadline.saturating_sub(clock.mono());
                // The sweeper ends the wait in time; this is for the case that it cannot.
                Some(Duration::from_nanos(left) + Duration::from_millis(20))
            } else {
                None
            };
            if let Some(result) = self.outcome.wait(timeout) {
                self.taken = true;
                return result;
            }
            if real_deadline && clock.mono() >= deadline && self.cancel() {
                return Err(self.core.table.locked_error(&self.key).after_waiting());
            }
        }
    }

    /// Leaves the queue. False: it was decided before.
    fn cancel(&self) -> bool {
        match self.core.cluster() {
            Some(cluster) => cluster.cancel(self.id),
            None => self.core.table.cancel(&self.key, self.wait()),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.taken || self.core.is_forked() || self.cancel() {
            return;
        }
        // Granted, but nobody will ever know: give it back. What the holder had before stays.
        if let Some(Ok(Applied { entry: Some(entry), created, granted: true, .. })) =
            self.outcome.take()
        {
            let made_for_lock = self.request.store.as_ref().is_some_and(|s| s.only_if_absent);
            let created = (created && made_for_lock).then(|| entry.version());
            let mut conditions = self.request.conditions();
            (conditions.fence, conditions.version) = (entry.fence(), None);
            // It may have ended by itself meanwhile.
            let _ = self.core.table.give_back(&self.key, conditions, created);
        }
    }
}

/// A request for a lock that may be waiting, from [`Registry::lock_start`](crate::Registry::lock_start).
///
/// Dropping it leaves the queue, or gives back a lock that was granted and not taken.
pub struct PendingLock(Pending);

impl PendingLock {
    pub(crate) fn start(
        core: &Arc<Core>,
        key: &[u8],
        request: LockRequest,
        wait: u64,
    ) -> Result<PendingLock> {
        Pending::start(core, key, core.next_id(), request, wait).map(PendingLock)
    }

    /// Waits until the lock is granted or refused.
    pub fn block(self) -> Result<Option<Entry>> {
        Ok(self.0.block()?.entry)
    }

    /// The result, if it is decided; it is given once.
    pub fn try_take(&mut self) -> Option<Result<Option<Entry>>> {
        self.0.take().map(|result| Ok(result?.entry))
    }

    /// Waits in real time for the result, at most this long; it is given once.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Result<Option<Entry>>> {
        self.0.wait_for(timeout).map(|result| Ok(result?.entry))
    }

    /// Calls back when the result is there, at once if it is; replaces an earlier callback.
    ///
    /// It is called on whichever thread decided it, with no lock held, and must be quick.
    pub fn on_ready(&self, callback: impl FnOnce() + Send + 'static) {
        self.0.on_ready(Box::new(callback));
    }
}

/// A request for a guard that may be waiting, from [`Registry::locked_start`](crate::Registry::locked_start).
///
/// Dropping it leaves the queue, or gives back a lock that was granted and not taken.
pub struct PendingGuard {
    pending: Pending,
    plan: Option<GuardPlan>,
}

impl PendingGuard {
    pub(crate) fn start(
        core: &Arc<Core>,
        key: &[u8],
        plan: GuardPlan,
        wait: u64,
    ) -> Result<PendingGuard> {
        let pending = Pending::start(core, key, plan.id, plan.request.clone(), wait)?;
        Ok(PendingGuard { pending, plan: Some(plan) })
    }

    fn finish(&mut self, result: Result<Applied>) -> Result<LockGuard> {
        let applied = result?;
        match self.plan.take() {
            Some(plan) => plan.finish(&self.pending.core, &self.pending.key, applied),
            None => Err(Error::new(ErrorKind::Internal, "the guard was taken before")),
        }
    }

    /// Waits until the lock is granted or refused.
    pub fn block(self) -> Result<LockGuard> {
        let PendingGuard { pending, plan } = self;
        let (core, key) = (pending.core.clone(), pending.key.clone());
        let applied = pending.block()?;
        match plan {
            Some(plan) => plan.finish(&core, &key, applied),
            None => Err(Error::new(ErrorKind::Internal, "the guard was taken before")),
        }
    }

    /// The result, if it is decided; it is given once.
    pub fn try_take(&mut self) -> Option<Result<LockGuard>> {
        let result = self.pending.take()?;
        Some(self.finish(result))
    }

    /// Waits in real time for the result, at most this long; it is given once.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Result<LockGuard>> {
        let result = self.pending.wait_for(timeout)?;
        Some(self.finish(result))
    }

    /// Calls back when the result is there, at once if it is; replaces an earlier callback.
    ///
    /// It is called on whichever thread decided it, with no lock held, and must be quick.
    pub fn on_ready(&self, callback: impl FnOnce() + Send + 'static) {
        self.pending.on_ready(Box::new(callback));
    }
}

/// A wait for the first sync with the cluster, from [`Registry::sync_start`](crate::Registry::sync_start).
///
/// Dropping it ends nothing but this wait.
pub struct PendingSync {
    outcome: Arc<Oneshot<Result<()>>>,
    /// In a forked child nobody syncs any more.
    generation: Generation,
}

impl PendingSync {
    /// Whoever syncs sets the outcome.
    pub(crate) fn of(outcome: Arc<Oneshot<Result<()>>>) -> PendingSync {
        PendingSync { outcome, generation: Generation::now() }
    }

    /// There is nothing to wait for.
    pub(crate) fn decided(result: Result<()>) -> PendingSync {
        let outcome = Oneshot::new();
        outcome.set(result);
        PendingSync::of(Arc::new(outcome))
    }

    /// Waits until the first sync is done, or has failed.
    pub fn block(self) -> Result<()> {
        if self.generation.is_over() {
            return Err(fork::error());
        }
        let taken = || Err(Error::new(ErrorKind::Internal, "the result was taken before"));
        self.outcome.wait(None).unwrap_or_else(taken)
    }

    /// The result, if it is decided; it is given once.
    pub fn try_take(&mut self) -> Option<Result<()>> {
        if self.generation.is_over() { Some(Err(fork::error())) } else { self.outcome.take() }
    }

    /// Waits in real time for the result, at most this long; it is given once.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Result<()>> {
        if self.generation.is_over() {
            return Some(Err(fork::error()));
        }
        self.outcome.wait(Some(timeout))
    }

    /// Calls back when the result is there, at once if it is; replaces an earlier callback.
    ///
    /// It is called on whichever thread decided it, with no lock held, and must be quick.
    pub fn on_ready(&self, callback: impl FnOnce() + Send + 'static) {
        match self.generation.is_over() {
            true => callback(),
            false => self.outcome.on_ready(Box::new(callback)),
        }
    }
}

/// A start that may be waiting for others, from [`Registry::start_pending`].
///
/// Dropping it stops what was started.
pub struct PendingStart {
    registry: Option<Registry>,
    admission: PendingSync,
}

impl PendingStart {
    pub(crate) fn new(registry: Registry, admission: PendingSync) -> PendingStart {
        PendingStart { registry: Some(registry), admission }
    }

    /// A refused registry is dropped, which stops it.
    fn finish(registry: Option<Registry>, result: Result<()>) -> Result<Registry> {
        let taken = || Error::new(ErrorKind::Internal, "the registry was taken before");
        result.and(registry.ok_or_else(taken))
    }

    /// Waits until it is decided.
    pub fn block(self) -> Result<Registry> {
        PendingStart::finish(self.registry, self.admission.block())
    }

    /// The registry, if it is decided; it is given once.
    pub fn try_take(&mut self) -> Option<Result<Registry>> {
        let result = self.admission.try_take()?;
        Some(PendingStart::finish(self.registry.take(), result))
    }

    /// Waits in real time for the registry, at most this long; it is given once.
    pub fn wait_for(&mut self, timeout: Duration) -> Option<Result<Registry>> {
        let result = self.admission.wait_for(timeout)?;
        Some(PendingStart::finish(self.registry.take(), result))
    }

    /// Calls back when the result is there, at once if it is; replaces an earlier callback.
    ///
    /// It is called on whichever thread decided it, with no lock held, and must be quick.
    pub fn on_ready(&self, callback: impl FnOnce() + Send + 'static) {
        self.admission.on_ready(callback);
    }
}

macro_rules! pending {
    ($type:ident, $output:ty) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($type))
            }
        }

        #[cfg(feature = "async")]
        impl std::future::Future for $type {
            type Output = $output;

            fn poll(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<$output> {
                use std::task::Poll;
                if let Some(result) = self.try_take() {
                    return Poll::Ready(result);
                }
                let waker = cx.waker().clone();
                self.on_ready(move || waker.wake());
                Poll::Pending
            }
        }
    };
}

pending!(PendingLock, Result<Option<Entry>>);
pending!(PendingGuard, Result<LockGuard>);
pending!(PendingSync, Result<()>);
pending!(PendingStart, Result<Registry>);
