//! The registry as Python sees it.

use std::cell::RefCell;
use std::path::PathBuf;

use minikv::{Error, ErrorKind, ListOptions, Options, Registry, WatchOptions};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyIterator, PyTuple, PyType};

use crate::args::{Arg, checked_key, duration, flag, prefix, size, text, unchecked_key};
use crate::calls::call;
use crate::cluster::{in_cluster, start_in_cluster};
use crate::error::{Failure, Outcome, invalid_argument};
use crate::many::key_list;
use crate::options::options_from;
use crate::value::{PyValue, to_python, type_name, value_of};
use crate::watch::PyWatch;

/// What `Registry` of the package is built on.
#[pyclass(name = "Registry", module = "minikv._minikv", subclass, frozen, weakref)]
pub struct PyRegistry {
    kv: Registry,
    /// Whether leaving a `with` block stops the registry.
    starter: bool,
}

/// A running registry on its way to the class that shall hold it.
#[pyclass(name = "_Handle", module = "minikv._minikv", frozen)]
struct Handle(Registry, bool);

impl PyRegistry {
    pub fn kv(&self) -> &Registry {
        &self.kv
    }
}

impl Drop for PyRegistry {
    fn drop(&mut self) {
        // A named one was told to keep running; an unnamed one has this handle only. Stopping joins
        // threads that may be waiting for the interpreter.
        if self.kv.options().get_name().is_none() {
            let kv = self.kv.clone();
            if Python::try_attach(|py| py.detach(|| kv.stop())).is_none() {
                kv.stop();
            }
        }
    }
}

/// The registry, and whether it was started here.
fn start(py: Python<'_>, options: Options, exist_ok: bool) -> Outcome<(Registry, bool)> {
    let result = match in_cluster(&options) {
        true => start_in_cluster(py, options.clone()),
        false => py.detach(|| Registry::start(options.clone())).map_err(Failure::from),
    };
    let started = match result {
        Err(Failure::Core(error)) if error.kind() == ErrorKind::AlreadyStarted && exist_ok => {
            return Ok((py.detach(|| Registry::start_or_open(options))?, false));
        }
        result => result?,
    };
    if started.options().get_name().is_some() {
        started.keep_running();
    }
    Ok((started, true))
}

fn no_entry(key: &Bound<'_, PyAny>) -> Failure {
    let key = key.repr().map_or_else(|_| "this key".to_owned(), |key| key.to_string());
    let key = if key.chars().count() > 80 { "this key".to_owned() } else { key };
    Error::new(ErrorKind::NotFound, format!("no entry {key}")).into()
}

thread_local! {
    /// The registries whose clocks this thread is moving.
    static ADVANCING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

#[pymethods]
#[allow(clippy::too_many_arguments)]
impl PyRegistry {
    #[new]
    #[pyo3(signature = (name=None, *, node=None, default_ttl=None, max_value_bytes=None,
        max_entries=None, max_bytes=None, max_watchers=None, lock_lease=None, clock=None,
        cluster=None, listen=None, peers=None, discovery=None, failure_timeout=None, tls=None,
        exist_ok=None, **unknown))]
    fn new(
        py: Python<'_>,
        name: Arg<'_, '_>,
        node: Arg<'_, '_>,
        default_ttl: Arg<'_, '_>,
        max_value_bytes: Arg<'_, '_>,
        max_entries: Arg<'_, '_>,
        max_bytes: Arg<'_, '_>,
        max_watchers: Arg<'_, '_>,
        lock_lease: Arg<'_, '_>,
        clock: Arg<'_, '_>,
        cluster: Arg<'_, '_>,
        listen: Arg<'_, '_>,
        peers: Arg<'_, '_>,
        discovery: Arg<'_, '_>,
        failure_timeout: Arg<'_, '_>,
        tls: Arg<'_, '_>,
        exist_ok: Arg<'_, '_>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> Outcome<PyRegistry> {
        if let Some(handle) = name.and_then(|name| name.cast::<Handle>().ok()) {
            let Handle(kv, starter) = handle.get();
            return Ok(PyRegistry { kv: kv.clone(), starter: *starter });
        }
        let fields = [
            ("name", name),
            ("node", node),
            ("default_ttl", default_ttl),
            ("max_value_bytes", max_value_bytes),
            ("max_entries", max_entries),
            ("max_bytes", max_bytes),
            ("max_watchers", max_watchers),
            ("lock_lease", lock_lease),
            ("clock", clock),
            ("cluster", cluster),
            ("listen", listen),
            ("peers", peers),
            ("discovery", discovery),
            ("failure_timeout", failure_timeout),
            ("tls", tls),
        ];
        let options = options_from(&fields, unknown.map(|unknown| unknown.as_any()))?;
        let (kv, starter) = start(py, options, flag("exist_ok", exist_ok)?)?;
        Ok(PyRegistry { kv, starter })
    }

    /// The registry of this name that was started in this process, from any thread.
    ///
    /// Leaving `with Registry.open(...)` does not stop it. Raises NotFound.
    #[classmethod]
    fn open<'py>(cls: &Bound<'py, PyType>, name: &Bound<'py, PyAny>) -> Outcome<Bound<'py, PyAny>> {
        let name = text("name", name)?;
        // Another thread may be opening sockets for a name of its own.
        let handle = Handle(cls.py().detach(|| Registry::open(name))?, false);
        Ok(call(cls, (handle,))?)
    }

    /// Starts a registry with the options in a TOML file; the fields are those of Registry().
    ///
    /// Raises Io if it cannot be read, InvalidArgument, AlreadyStarted.
    #[classmethod]
    #[pyo3(signature = (path, *, exist_ok=None))]
    fn from_config<'py>(
        cls: &Bound<'py, PyType>,
        path: &Bound<'py, PyAny>,
        exist_ok: Arg<'_, 'py>,
    ) -> Outcome<Bound<'py, PyAny>> {
        let exist_ok = flag("exist_ok", exist_ok)?;
        static FSPATH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let file = call(FSPATH.import(cls.py(), "os", "fspath")?, (path,));
        let file: PathBuf = file.and_then(|file| file.extract()).map_err(|error| {
            if !error.is_instance_of::<PyTypeError>(path.py()) {
                return Failure::Python(error);
            }
            let found = type_name(path);
            invalid_argument(format!("path must be str or a path, not {found}")).into()
        })?;
        let options = cls.py().detach(|| Options::from_config(file))?;
        let (kv, starter) = start(cls.py(), options, exist_ok)?;
        Ok(call(cls, (Handle(kv, starter),))?)
    }

    /// Stops the registry for all its handles; once more is fine.
    ///
    /// Calls that wait and all later ones raise Stopped.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.kv.stop());
    }

    /// The options the registry was started with, as plain data: Registry(**kv.options()) starts its like.
    fn options<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyAny>> {
        self.kv.ensure_running()?;
        Ok(to_python(py, &self.kv.options().to_value())?)
    }

    /// Counts of what the registry holds and does, by name. Others may follow.
    fn stats<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyAny>> {
        Ok(to_python(py, &minikv::to_value(&self.kv.stats()?)?)?)
    }

    /// The registry's name; None for an unnamed one.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.kv.options().get_name()
    }

    /// Watches the keys that start with `prefix` (default: all), or one key. Subscribed when it returns.
    ///
    /// initial: the present entries come first, as "put" events, without a gap. capacity: how many
    /// unread events are kept before the oldest are dropped and a "lagged" event tells how many;
    /// default 4,096.
    ///
    /// Raises InvalidKey, InvalidArgument, Limit (max_watchers).
    #[pyo3(signature = (prefix=None, *, key=None, initial=None, capacity=None))]
    fn watch(
        slf: &Bound<'_, PyRegistry>,
        prefix: Arg<'_, '_>,
        key: Arg<'_, '_>,
        initial: Arg<'_, '_>,
        capacity: Arg<'_, '_>,
    ) -> Outcome<PyWatch> {
        let kv = &slf.get().kv;
        kv.ensure_running()?;
        let mut options = WatchOptions::new().prefix(self::prefix(prefix)?);
        if let Some(key) = key {
            options = options.key(checked_key(kv, key)?);
        }
        options = options.initial(flag("initial", initial)?);
        if let Some(capacity) = capacity {
            options = options.capacity(size("capacity", capacity)?);
        }
        Ok(PyWatch::new(kv.watch_with(options)?, slf.clone().unbind()))
    }

    /// Moves a manual clock on. What falls due on the way is done when it returns.
    ///
    /// Raises InvalidArgument on a system clock.
    fn advance(&self, py: Python<'_>, by: &Bound<'_, PyAny>) -> Outcome<()> {
        self.kv.ensure_running()?;
        let by = duration("by", by)?;
        let this = std::ptr::from_ref(self.kv.options()) as usize;
        if ADVANCING.with_borrow(|advancing| advancing.contains(&this)) {
            let message = "advance was called from a callback that an advance caused";
            return Err(invalid_argument(message).into());
        }
        ADVANCING.with_borrow_mut(|advancing| advancing.push(this));
        let result = py.detach(|| self.kv.advance(by));
        ADVANCING.with_borrow_mut(|advancing| advancing.pop());
        Ok(result?)
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> Outcome<Bound<'py, PyAny>> {
        match self.kv.get(unchecked_key(&self.kv, key)?)? {
            Some(entry) => value_of(py, &entry),
            None => Err(no_entry(key)),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> Outcome<()> {
        self.kv.put(unchecked_key(&self.kv, key)?, PyValue(value))?;
        Ok(())
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> Outcome<()> {
        match self.kv.delete(unchecked_key(&self.kv, key)?)? {
            Some(_) => Ok(()),
            None => Err(no_entry(key)),
        }
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> Outcome<bool> {
        Ok(self.kv.contains(unchecked_key(&self.kv, key)?)?)
    }

    fn __len__(&self) -> Outcome<usize> {
        Ok(self.kv.count("")?)
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> Outcome<Bound<'py, PyIterator>> {
        let keys = py.detach(|| self.kv.keys(ListOptions::new()))?;
        Ok(key_list(py, &keys.items, false)?.try_iter()?)
    }

    fn __enter__(slf: Bound<'_, PyRegistry>) -> Bound<'_, PyRegistry> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        if self.starter {
            self.stop(py);
        }
    }

    fn __repr__(&self) -> String {
        let name = match self.kv.options().get_name() {
            Some(name) => format!("{name:?}"),
            None => "(unnamed)".to_owned(),
        };
        match self.kv.count("") {
            Ok(1) => format!("<minikv.Registry {name}, 1 entry>"),
            Ok(count) => format!("<minikv.Registry {name}, {count} entries>"),
            Err(error) => format!("<minikv.Registry {name}, {}>", error.kind()),
        }
    }
}
