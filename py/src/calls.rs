//! Calling code written in Python from within a native frame.
//!
//! While the interpreter ends it unwinds every other thread that still runs Python code out of all its
//! frames. Native frames do not survive that: it would abort the process. So whoever calls Python code
//! here is stopped for good at the place of the call, as the interpreter's later versions do by themselves.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

unsafe extern "C-unwind" {
    fn PyObject_Call(
        callable: *mut ffi::PyObject,
        args: *mut ffi::PyObject,
        kwargs: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
    fn PyIter_Next(iterator: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// Dropped only by unwinding: then this thread has ended, as far as the interpreter is concerned.
struct StopHere;

impl Drop for StopHere {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// A function of the package's asyncio half.
macro_rules! aio {
    ($py:expr, $name:literal) => {{
        static FUNCTION: pyo3::sync::PyOnceLock<pyo3::Py<pyo3::PyAny>> =
            pyo3::sync::PyOnceLock::new();
        FUNCTION.import($py, "minikv._aio", $name)
    }};
}
pub(crate) use aio;

/// Calls a Python object.
pub fn call<'py, A>(function: &Bound<'py, PyAny>, args: A) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
    PyErr: From<A::Error>,
{
    let py = function.py();
    let args = args.into_pyobject(py)?;
    let guard = StopHere;
    // SAFETY: both pointers are live objects, no keyword arguments is a null pointer, and the
    // interpreter is attached, as `py` shows.
    let result = unsafe { PyObject_Call(function.as_ptr(), args.as_ptr(), std::ptr::null_mut()) };
    std::mem::forget(guard);
    // SAFETY: the call gave a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}

/// The next item of an iterator.
pub fn next<'py>(iterator: &Bound<'py, PyIterator>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = iterator.py();
    let guard = StopHere;
    // SAFETY: the pointer is a live iterator, and the interpreter is attached.
    let item = unsafe { PyIter_Next(iterator.as_ptr()) };
    std::mem::forget(guard);
    if item.is_null() {
        return PyErr::take(py).map_or(Ok(None), Err);
    }
    // SAFETY: the call gave a new reference.
    Ok(Some(unsafe { Bound::from_owned_ptr(py, item) }))
}
