//! The only owner of threads: starts them, restarts them with back-off after a panic, ends them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::fork::Generation;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex};

/// More restarts than this within the window, and the registry is reported unhealthy.
const MAX_RESTARTS: usize = 5;
const WINDOW_NANOS: u64 = 60_000_000_000;
const FIRST_BACK_OFF: Duration = Duration::from_millis(10);
const LAST_BACK_OFF: Duration = Duration::from_secs(1);

/// How a worker is told to look again, or to end.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Default)]
struct SignalState {
    rung: bool,
    stopping: bool,
}

impl Signal {
    /// Waits for a ring, at most `timeout` (`None`: for ever). True: end.
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        if !state.rung && !state.stopping {
            match timeout {
                Some(timeout) => {
                    self.changed.wait_for(&mut state, timeout);
                }
                None => self.changed.wait(&mut state),
            }
        }
        state.rung = false;
        state.stopping
    }

    /// Waits that long whatever rings. True: end.
    pub fn pause(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, time, |state| !state.stopping);
        state.stopping
    }

    /// Whatever has rung till now needs no look: the caller is about to look anyway.
    #[cfg(feature = "cluster")]
    pub fn hush(&self) {
        self.state.lock().rung = false;
    }

    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }

    pub fn ring(&self) {
        self.state.lock().rung = true;
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }
}

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

pub(crate) struct Supervisor {
    /// `None` once they were stopped.
    workers: Mutex<Option<Vec<Worker>>>,
    restarts: AtomicU64,
    unhealthy: AtomicBool,
    generation: Generation,
}

struct Worker {
    signal: Arc<Signal>,
    thread: JoinHandle<()>,
}

impl Supervisor {
    pub fn new() -> Supervisor {
        Supervisor {
            workers: Mutex::new(Some(Vec::new())),
            restarts: AtomicU64::new(0),
            unhealthy: AtomicBool::new(false),
            generation: Generation::now(),
        }
    }

    /// Runs `body` on a thread of its own until it returns; after a panic it is run again.
    #[allow(clippy::disallowed_methods)]
    pub fn start(
        self: &Arc<Supervisor>,
        name: &str,
        signal: Arc<Signal>,
        body: impl Fn(&Signal) + Send + 'static,
    ) -> Result<()> {
        let mut workers = self.workers.lock();
        // A write that races the stop may ask for a worker that nobody would end any more.
        let Some(workers) = workers.as_mut() else { return Ok(()) };
        let supervisor = self.clone();
        let own_signal = signal.clone();
        let run = move || supervisor.run(&own_signal, body);
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = spawned.map_err(|error| {
            self.unhealthy.store(true, Ordering::SeqCst);
            Error::new(ErrorKind::Io, format!("cannot start the thread {name}: {error}"))
        })?;
        workers.retain(|worker| !worker.thread.is_finished());
        workers.push(Worker { signal, thread });
        Ok(())
    }

    fn run(&self, signal: &Signal, body: impl Fn(&Signal)) {
        IS_WORKER.set(true);
        let mut recent = VecDeque::new();
        let mut back_off = FIRST_BACK_OFF;
        while catch_unwind(AssertUnwindSafe(|| body(signal))).is_err() {
            self.restarts.fetch_add(1, Ordering::SeqCst);
            let now = Clock::System.mono();
            recent.push_back(now);
            while recent.front().is_some_and(|at| now - at > WINDOW_NANOS) {
                recent.pop_front();
            }
            self.unhealthy.store(recent.len() > MAX_RESTARTS, Ordering::SeqCst);
            if recent.len() == 1 {
                back_off = FIRST_BACK_OFF;
            }
            if signal.pause(back_off) {
                return;
            }
            back_off = (back_off * 2).min(LAST_BACK_OFF);
        }
    }

    /// How often a worker was restarted after a panic.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::SeqCst)
    }

    pub fn is_healthy(&self) -> bool {
        !self.unhealthy.load(Ordering::SeqCst)
    }

    /// Ends all workers and waits for them. A worker, which may be one of them, waits for none: two
    /// that stop each other's registry would do so for ever.
    pub fn stop(&self) {
        let workers = self.workers.lock().take().unwrap_or_default();
        for worker in &workers {
            worker.signal.stop();
        }
        for worker in workers {
            if !IS_WORKER.get() {
                // A worker's panics were caught where they happened.
                let _ = worker.thread.join();
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.generation.is_over() {
            // What would be let go of by its number may be a new thread of this process by now.
            std::mem::forget(self.workers.get_mut().take());
        }
    }
}

#[cfg(all(test, not(feature = "__shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_worker_is_run_again_and_too_many_panics_are_reported() {
        let supervisor = Arc::new(Supervisor::new());
        let signal = Arc::new(Signal::default());
        let runs = Arc::new(AtomicU64::new(0));
        let (counted, done) = (runs.clone(), Arc::new(Signal::default()));
        let told = done.clone();
        let body = move |signal: &Signal| {
            if counted.fetch_add(1, Ordering::SeqCst) <= MAX_RESTARTS as u64 {
                panic!("on purpose");
            }
            told.ring();
            signal.wait(None);
        };
        supervisor.start("test", signal, body).unwrap();
        done.wait(None);
        assert_eq!(supervisor.restarts(), MAX_RESTARTS as u64 + 1);
        assert!(!supervisor.is_healthy());
        supervisor.stop();
        assert_eq!(runs.load(Ordering::SeqCst), MAX_RESTARTS as u64 + 2);
    }
}
