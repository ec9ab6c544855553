//! One caller computes a missing value, the others in this process wait for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::call_options::PutOptions;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, shorten};
use crate::fork::Generation;
use crate::oneshot::Oneshot;
use crate::registry::core::Core;
use crate::sync::Mutex;
use crate::sync::thread::{self, ThreadId};
use crate::value::IntoValue;

/// What the one who computed tells those who wait: the entry, or that they should try themselves.
type Landing = Oneshot<Option<Entry>>;

#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Box<[u8]>, Flight>>);

struct Flight {
    computed_by: ThreadId,
    waiting: Vec<Arc<Landing>>,
}

impl Flights {
    fn land(&self, key: &[u8], entry: Option<&Entry>) {
        let flight = self.0.lock().remove(key);
        for landing in flight.into_iter().flat_map(|flight| flight.waiting) {
            landing.set(entry.cloned());
            landing.notify();
        }
    }

    /// Lets everyone who waits look for themselves.
    pub fn clear(&self) {
        let flights = std::mem::take(&mut *self.0.lock());
        for landing in flights.into_values().flat_map(|flight| flight.waiting) {
            landing.set(None);
            landing.notify();
        }
    }
}

/// Where a get_or_put stands, from [`Registry::get_or_put_start`](crate::Registry::get_or_put_start).
#[derive(Debug)]
pub enum GetOrPut {
    /// The key is present.
    Present(Entry),
    /// The key is absent, and it is for this caller to compute the value.
    Compute(Computation),
    /// Another caller is computing the value.
    Wait(PendingValue),
}

/// The duty to compute a missing value. Dropping it without a value lets the next caller try.
pub struct Computation {
    core: Arc<Core>,
    key: Box<[u8]>,
    options: PutOptions,
    done: bool,
}

impl Computation {
    pub(crate) fn start(core: &Arc<Core>, key: &[u8], options: PutOptions) -> Result<GetOrPut> {
        core.ensure_running()?;
        if let Some(entry) = core.table.get(key) {
            return Ok(GetOrPut::Present(entry));
        }
        let mut flights = core.flights.0.lock();
        if let Some(flight) = flights.get_mut(key) {
            let landing = Arc::new(Landing::new());
            flight.waiting.push(landing.clone());
            let computed_by = flight.computed_by;
            let generation = Generation::now();
            return Ok(GetOrPut::Wait(PendingValue { landing, computed_by, generation }));
        }
        // Whoever landed just now has put its value before.
        if let Some(entry) = core.table.get(key) {
            return Ok(GetOrPut::Present(entry));
        }
        let flight = Flight { computed_by: thread::current().id(), waiting: Vec::new() };
        flights.insert(key.into(), flight);
        let (core, key) = (core.clone(), key.into());
        Ok(GetOrPut::Compute(Computation { core, key, options, done: false }))
    }

    /// Stores the value and hands the entry to everyone who waits.
    ///
    /// If somebody else put a value meanwhile, that one stays and is returned.
    pub fn put(mut self, value: impl IntoValue) -> Result<Entry> {
        self.core.ensure_running()?;
        let options = self.options.clone().if_absent(true);
        let entry = match self.core.put(&self.key, value, &options) {
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Locked) => {
                self.core.table.get(&self.key).ok_or(error)?
            }
            result => result?,
        };
        self.done = true;
        self.core.flights.land(&self.key, Some(&entry));
        Ok(entry)
    }
}

impl Drop for Computation {
    fn drop(&mut self) {
        if !self.done && !self.core.is_forked() {
            self.core.flights.land(&self.key, None);
        }
    }
}

impl fmt::Debug for Computation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Computation({})", shorten(&self.key))
    }
}

/// A wait for the value that another caller computes.
pub struct PendingValue {
    landing: Arc<Landing>,
    computed_by: ThreadId,
    /// In a forked child nobody computes any more: there it is to be started again.
    generation: Generation,
}

impl PendingValue {
    /// Waits in real time, at most `timeout` (`None`: until it is decided). `Some(None)`: start again.
    pub fn wait_for(&self, timeout: Option<Duration>) -> Option<Option<Entry>> {
        if self.generation.is_over() { Some(None) } else { self.landing.wait(timeout) }
    }

    /// The result, if there is one. `Some(None)`: start again.
    pub fn try_take(&self) -> Option<Option<Entry>> {
        if self.generation.is_over() { Some(None) } else { self.landing.take() }
    }

    /// Calls back when the result is there, at once if it is; replaces an earlier callback.
    pub fn on_ready(&self, callback: impl FnOnce() + Send + 'static) {
        match self.generation.is_over() {
            true => callback(),
            false => self.landing.on_ready(Box::new(callback)),
        }
    }

    /// `invalid_argument` where waiting would be for this very thread.
    pub fn check_not_own(&self) -> Result<()> {
        if self.computed_by == thread::current().id() {
            let message = "get_or_put was called for a key from within its own computation";
            return Err(Error::argument(message));
        }
        Ok(())
    }
}

impl fmt::Debug for PendingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PendingValue")
    }
}
