//! Errors of the core as exceptions of the package.

use minikv::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::calls::call;
use crate::entry::PyEntry;

/// Why a call failed: for a reason of the core, or with an exception that passes through as it is.
pub enum Failure {
    Core(Error),
    Python(PyErr),
    /// An `invalid_argument` that Python programmers know as a `TypeError`.
    UnknownOption(Error),
}

pub type Outcome<T> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Core(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Failure {
        Failure::Python(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> PyErr {
        match failure {
            Failure::Python(error) => error,
            Failure::Core(error) => {
                let class = class_name(&error);
                Python::attach(|py| exception(py, class, &error))
            }
            Failure::UnknownOption(error) => {
                Python::attach(|py| exception(py, "unknown_option", &error))
            }
        }
    }
}

pub fn invalid_argument(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn class_name(error: &Error) -> &'static str {
    if error.is_int_out_of_range() {
        "int_out_of_range"
    } else if error.is_lock_timeout() {
        "lock_timeout"
    } else {
        error.kind().as_str()
    }
}

fn exception(py: Python<'_>, class: &str, error: &Error) -> PyErr {
    build(py, class, error).unwrap_or_else(|failure| failure)
}

fn build(py: Python<'_>, class: &str, error: &Error) -> PyResult<PyErr> {
    static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let classes = CLASSES.get_or_try_init(py, || -> PyResult<Py<PyDict>> {
        let classes = py.import("minikv._errors")?.getattr("CLASSES")?;
        Ok(classes.cast_into::<PyDict>()?.unbind())
    })?;
    let class = classes.bind(py).as_any().get_item(class)?;
    let instance = match error.present() {
        Some(entry) => call(&class, (error.message(), entry.cloned().map(PyEntry::from)))?,
        None => call(&class, (error.message(),))?,
    };
    Ok(PyErr::from_value(instance))
}
