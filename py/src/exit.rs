//! The way into Python for threads of the core, and its closing before the interpreter ends.
//!
//! A thread that asks for an interpreter that is ending never comes back, and whoever joins it hangs
//! with it. So the core's threads enter through one gate, which is closed first.

use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use pyo3::prelude::*;

use crate::sync::Mutex;

static CLOSED: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static CHANGED: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// How long the end of the process waits for callbacks that are running.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs `body` with the interpreter, unless it is ending.
pub fn with_python(body: impl FnOnce(Python<'_>)) {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    if !CLOSED.load(Ordering::SeqCst) {
        Python::try_attach(|py| {
            // An object that is freed while an exception travels ends up here with that exception
            // set. Python code must not run with it, nor make it disappear.
            let travelling = PyErr::take(py);
            body(py);
            if let Some(error) = travelling {
                error.restore(py);
            }
        });
    }
    INSIDE.fetch_sub(1, Ordering::SeqCst);
    if CLOSED.load(Ordering::SeqCst) {
        let _order = CHANGED.0.lock();
        CHANGED.1.notify_all();
    }
}

/// Closes the gate and waits for the callbacks that are inside.
#[pyfunction]
#[pyo3(name = "_before_exit")]
pub fn before_exit(py: Python<'_>) {
    CLOSED.store(true, Ordering::SeqCst);
    py.detach(|| {
        let inside = |(): &mut ()| INSIDE.load(Ordering::SeqCst) > 0;
        // Whether they have left or the patience is over, the process ends now.
        let _ = CHANGED.1.wait_timeout_while(CHANGED.0.lock(), PATIENCE, inside);
    });
}

/// In a forked child the callbacks that were inside do not exist.
#[pyfunction]
#[pyo3(name = "_after_fork")]
pub fn after_fork() {
    INSIDE.store(0, Ordering::SeqCst);
}
