//! The native half of the Python package: converts between Python and the core, and decides nothing itself.

mod args;
mod calls;
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
mod value;
mod wait;
mod watch;

use pyo3::prelude::*;

/// Native half of the package `minikv`. Import `minikv`, not this.
#[pymodule]
mod _minikv {
    #[pymodule_export]
    use crate::entry::{PyEntry, restore_entry};
    #[pymodule_export]
    use crate::exit::{after_fork, before_exit};
    #[pymodule_export]
    use crate::guard::{LockScope, PyLockGuard};
    #[pymodule_export]
    use crate::pending::{PyComputation, PyPending};
    #[pymodule_export]
    use crate::registry::PyRegistry;
    #[pymodule_export]
    use crate::watch::{PyEvent, PyWatch};

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("MAX_DEPTH", minikv::MAX_DEPTH)?;
        module.add("MAX_KEY_BYTES", minikv::MAX_KEY_BYTES)?;
        module.add("MAX_VALUE_BYTES", minikv::MAX_VALUE_BYTES)
    }
}
