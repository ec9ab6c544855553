//! A result that one side sets once and the other waits for, on a thread or through a callback.

use std::fmt;
use std::time::Duration;

use crate::callback::call;
use crate::sync::{Condvar, Mutex};

pub(crate) struct Oneshot<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
}

struct State<T> {
    result: Option<T>,
    complete: bool,
    callback: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Oneshot<T> {
    pub fn new() -> Oneshot<T> {
        let state = State { result: None, complete: false, callback: None };
        Oneshot { state: Mutex::new(state), ready: Condvar::new() }
    }

    /// Sets the result, once; wakes nobody yet, so it is safe under any lock.
    pub fn set(&self, result: T) {
        let mut state = self.state.lock();
        if !state.complete {
            state.complete = true;
            state.result = Some(result);
        }
    }

    /// Wakes whoever waits; never under a lock.
    pub fn notify(&self) {
        let callback = self.state.lock().callback.take();
        self.ready.notify_all();
        if let Some(callback) = callback {
            call(callback);
        }
    }

    pub fn is_complete(&self) -> bool {
        self.state.lock().complete
    }

    pub fn take(&self) -> Option<T> {
        self.state.lock().result.take()
    }

    /// Waits for the result, at most `timeout` (`None`: for ever).
    pub fn wait(&self, timeout: Option<Duration>) -> Option<T> {
        let mut state = self.state.lock();
        match timeout {
            None => {
                while !state.complete {
                    self.ready.wait(&mut state);
                }
            }
            Some(timeout) if !state.complete => {
                // Once: a wake-up without a result is as good as the time running out, the caller asks again.
                self.ready.wait_for(&mut state, timeout);
            }
            Some(_) => {}
        }
        state.result.take()
    }

    /// Calls back when the result is there, at once if it is; replaces an earlier callback.
    pub fn on_ready(&self, callback: Box<dyn FnOnce() + Send>) {
        let mut state = self.state.lock();
        if state.complete {
            drop(state);
            callback();
        } else {
            let earlier = state.callback.replace(callback);
            // Dropped without the lock: it may own what another language guards with a lock of its own.
            drop(state);
            drop(earlier);
        }
    }
}

impl<T> fmt::Debug for Oneshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Oneshot")
    }
}
