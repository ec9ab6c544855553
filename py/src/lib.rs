//! The native half of the Python package: converts between Python and the core, and decides nothing itself.

mod args;
mod calls;
mod cluster;
mod entries;
mod entry;
mod error;
mod exit;
mod guard;
mod locks;
mod many;
mod options;
mod pending;
mod registry;
mod sync;
mod value;
mod wait;
mod watch;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::cluster::PyMember;
use crate::entry::{PyEntry, restore_entry};
use crate::exit::{after_fork, before_exit};
use crate::guard::{LockScope, PyLockGuard};
use crate::pending::{PyComputation, PyPending};
use crate::registry::PyRegistry;
use crate::watch::{PyEvent, PyWatch};

/// Native half of the package `minikv`. Import `minikv`, not this.
#[pymodule(name = "_minikv")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Before anything is made: threads of the core would call into the wrong interpreter, and the
    // classes would belong to one that may end first.
    if !is_main_interpreter(module.py()) {
        let message = "minikv works in the main interpreter only, not in subinterpreters";
        return Err(PyImportError::new_err(message));
    }
    // Nobody else's log: the Rust in this library is its own.
    minikv::count_refusals();
    module.add_class::<PyEntry>()?;
    module.add_class::<PyEvent>()?;
    module.add_class::<PyMember>()?;
    module.add_class::<PyWatch>()?;
    module.add_class::<PyLockGuard>()?;
    module.add_class::<LockScope>()?;
    module.add_class::<PyPending>()?;
    module.add_class::<PyComputation>()?;
    module.add_class::<PyRegistry>()?;
    module.add_function(wrap_pyfunction!(restore_entry, module)?)?;
    module.add_function(wrap_pyfunction!(before_exit, module)?)?;
    module.add_function(wrap_pyfunction!(after_fork, module)?)?;
    module.add("MAX_DEPTH", minikv::MAX_DEPTH)?;
    module.add("MAX_KEY_BYTES", minikv::MAX_KEY_BYTES)?;
    module.add("MAX_VALUE_BYTES", minikv::MAX_VALUE_BYTES)
}

fn is_main_interpreter(_attached: Python<'_>) -> bool {
    // SAFETY: the thread is attached to the interpreter that is asked for, as the argument shows.
    let id = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    id == 0
}
