//! Arguments of calls. Whatever does not fit becomes an error of the core's table, never a bare `TypeError`.

use std::time::Duration;

use minikv::{
    Encoded, Error, ErrorKind, LockOptions, PutOptions, Registry, Version, WriteOptions,
    duration_from_secs, parse_duration,
};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDelta, PyDeltaAccess, PyFloat, PyInt, PyMemoryView, PyString,
};

use crate::error::{Outcome, invalid_argument};
use crate::value::{PyValue, memory, type_name};

/// An optional argument; `None` is as good as not given.
pub type Arg<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// An argument for which `None` is a value like any other.
pub enum Given<'py> {
    Missing,
    Value(Bound<'py, PyAny>),
}

impl<'py> FromPyObject<'_, 'py> for Given<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Given<'py>> {
        Ok(Given::Value(object.to_owned()))
    }
}

/// The bytes of a key or prefix.
pub enum KeyBytes<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl AsRef<[u8]> for KeyBytes<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            KeyBytes::Borrowed(bytes) => bytes,
            KeyBytes::Owned(bytes) => bytes,
        }
    }
}

#[inline]
fn key_bytes<'a>(what: &str, key: &'a Bound<'_, PyAny>) -> Result<KeyBytes<'a>, Error> {
    // The exact type first: the general question costs a call into Python.
    if let Ok(text) = key.cast_exact::<PyString>()
        && let Ok(text) = text.to_str()
    {
        return Ok(KeyBytes::Borrowed(text.as_bytes()));
    }
    other_key_bytes(what, key)
}

#[cold]
fn other_key_bytes<'a>(what: &str, key: &'a Bound<'_, PyAny>) -> Result<KeyBytes<'a>, Error> {
    if let Ok(text) = key.cast::<PyString>()
        && let Ok(text) = text.to_str()
    {
        return Ok(KeyBytes::Borrowed(text.as_bytes()));
    }
    let problem = if let Ok(bytes) = key.cast::<PyBytes>() {
        return Ok(KeyBytes::Borrowed(bytes.as_bytes()));
    } else if let Ok(bytes) = key.cast::<PyByteArray>() {
        return Ok(KeyBytes::Owned(bytes.to_vec()));
    } else if key.cast_exact::<PyMemoryView>().is_ok() {
        if let Ok(Some(bytes)) = memory(key) {
            return Ok(KeyBytes::Owned(bytes.as_bytes().to_vec()));
        }
        format!("the {what} is a memoryview that is released or not contiguous")
    } else if key.cast::<PyString>().is_ok() {
        format!("the {what} has a lone surrogate, which UTF-8 cannot express")
    } else {
        format!("the {what} is a {}; it must be str or bytes", type_name(key))
    };
    Err(Error::new(ErrorKind::InvalidKey, problem))
}

/// A key that the registry accepts; `stopped` and `forked` come first.
#[inline]
pub fn checked_key<'a>(kv: &Registry, key: &'a Bound<'_, PyAny>) -> Result<KeyBytes<'a>, Error> {
    let key = unchecked_key(kv, key)?;
    kv.check_key(&key)?;
    Ok(key)
}

/// A key for a call that checks it before everything else by itself.
#[inline]
pub fn unchecked_key<'a>(kv: &Registry, key: &'a Bound<'_, PyAny>) -> Result<KeyBytes<'a>, Error> {
    match key_bytes("key", key) {
        Err(error) => {
            kv.ensure_running()?;
            Err(error)
        }
        key => key,
    }
}

/// A prefix; none is the empty one.
pub fn prefix<'a>(prefix: Arg<'a, '_>) -> Result<KeyBytes<'a>, Error> {
    prefix.map_or(Ok(KeyBytes::Borrowed(&[])), |prefix| key_bytes("prefix", prefix))
}

/// A value in its encoding.
pub fn encoded(value: &Bound<'_, PyAny>) -> Result<Encoded, Error> {
    Encoded::new(PyValue(value))
}

fn wrong_type(what: &str, expected: &str, found: &Bound<'_, PyAny>) -> Error {
    invalid_argument(format!("{what} must be {expected}, not {}", type_name(found)))
}

/// Text, such as a label or a name.
pub fn text<'a>(what: &str, text: &'a Bound<'_, PyAny>) -> Result<&'a str, Error> {
    let string = text.cast::<PyString>().map_err(|_| wrong_type(what, "str", text))?;
    string.to_str().map_err(|_| {
        invalid_argument(format!("{what} has a lone surrogate, which UTF-8 cannot express"))
    })
}

/// A truth value; not given: false.
pub fn flag(what: &str, flag: Arg<'_, '_>) -> Result<bool, Error> {
    let Some(flag) = flag else { return Ok(false) };
    match flag.cast_exact::<PyBool>() {
        Ok(flag) => Ok(flag.is_true()),
        Err(_) => Err(wrong_type(what, "a bool", flag)),
    }
}

fn int<'a, 'py>(what: &str, int: &'a Bound<'py, PyAny>) -> Result<&'a Bound<'py, PyInt>, Error> {
    match int.cast::<PyInt>() {
        Ok(number) if !int.is_exact_instance_of::<PyBool>() => Ok(number),
        _ => Err(wrong_type(what, "an int", int)),
    }
}

/// A signed int of 64 bits.
pub fn signed(what: &str, number: &Bound<'_, PyAny>) -> Result<i64, Error> {
    let number = int(what, number)?;
    number
        .extract()
        .map_err(|_| Error::int_out_of_range(format!("{what} does not fit into signed 64 bit")))
}

/// An int from 0 to 2^64 - 1.
pub fn unsigned(what: &str, number: &Bound<'_, PyAny>) -> Result<u64, Error> {
    let number = int(what, number)?;
    number.extract().map_err(|_| invalid_argument(format!("{what} must be from 0 to 2^64 - 1")))
}

/// A count of things in memory.
pub fn size(what: &str, number: &Bound<'_, PyAny>) -> Result<usize, Error> {
    let number = unsigned(what, number)?;
    usize::try_from(number).map_err(|_| invalid_argument(format!("{what} is too large")))
}

/// A duration: seconds as float or int, a `timedelta`, or text with a unit.
pub fn duration(what: &str, duration: &Bound<'_, PyAny>) -> Result<Duration, Error> {
    if let Ok(seconds) = duration.cast::<PyFloat>() {
        return duration_from_secs(what, seconds.value());
    }
    if duration.cast::<PyInt>().is_ok() && !duration.is_exact_instance_of::<PyBool>() {
        // An int too large for a float is too large for every duration.
        return match duration.extract::<i64>() {
            Ok(seconds) => duration_from_secs(what, seconds as f64),
            Err(_) => Err(invalid_argument(format!("{what} is out of range"))),
        };
    }
    if let Ok(delta) = duration.cast::<PyDelta>() {
        // A delta is normalised: only its days are ever negative.
        let whole = i64::from(delta.get_days()) * 86_400 + i64::from(delta.get_seconds());
        let micros = delta.get_microseconds();
        return match (u64::try_from(whole), u32::try_from(micros)) {
            (Ok(whole), Ok(micros)) => Ok(Duration::new(whole, micros.saturating_mul(1000))),
            _ => duration_from_secs(what, whole as f64 + f64::from(micros) / 1e6),
        };
    }
    if duration.cast::<PyString>().is_ok() {
        return parse_duration(what, text(what, duration)?);
    }
    let expected = "seconds (float or int), a timedelta, or text with a unit such as \"60s\"";
    Err(wrong_type(what, expected, duration))
}

/// How long to wait at most; infinity: as long as it takes.
pub fn wait(what: &str, wait: &Bound<'_, PyAny>) -> Result<Duration, Error> {
    match wait.cast::<PyFloat>() {
        Ok(seconds) if seconds.value() == f64::INFINITY => Ok(Duration::MAX),
        _ => duration(what, wait),
    }
}

/// The options of every write.
#[derive(Clone, Copy, Default)]
pub struct Conditions<'a, 'py> {
    pub owner: Arg<'a, 'py>,
    pub fence: Arg<'a, 'py>,
    pub if_version: Arg<'a, 'py>,
}

/// What `WriteOptions`, `PutOptions` and `LockOptions` have in common.
macro_rules! with_conditions {
    ($options:expr, $conditions:expr) => {{
        let (mut options, conditions) = ($options, $conditions);
        if let Some(owner) = conditions.owner {
            options = options.owner(text("owner", owner)?);
        }
        if let Some(fence) = conditions.fence {
            options = options.fence(unsigned("fence", fence)?);
        }
        if let Some(version) = conditions.if_version {
            options = options.if_version(text("if_version", version)?.parse::<Version>()?);
        }
        options
    }};
}

impl Conditions<'_, '_> {
    pub fn write_options(self) -> Result<WriteOptions, Error> {
        Ok(with_conditions!(WriteOptions::new(), self))
    }
}

/// The options of a put.
#[derive(Clone, Copy, Default)]
pub struct PutArgs<'a, 'py> {
    pub ttl: Arg<'a, 'py>,
    pub persist: Arg<'a, 'py>,
    pub keep_ttl: Arg<'a, 'py>,
    pub if_absent: Arg<'a, 'py>,
    pub lock: Arg<'a, 'py>,
    pub lease: Arg<'a, 'py>,
    pub conditions: Conditions<'a, 'py>,
}

impl PutArgs<'_, '_> {
    pub fn options(self) -> Result<PutOptions, Error> {
        let mut options = with_conditions!(PutOptions::new(), self.conditions)
            .persist(flag("persist", self.persist)?)
            .keep_ttl(flag("keep_ttl", self.keep_ttl)?)
            .if_absent(flag("if_absent", self.if_absent)?)
            .lock(flag("lock", self.lock)?);
        if let Some(ttl) = self.ttl {
            options = options.ttl(duration("ttl", ttl)?);
        }
        if let Some(lease) = self.lease {
            options = options.lease(duration("lease", lease)?);
        }
        Ok(options)
    }
}

/// The options of a lock, in both forms.
pub struct LockArgs<'a, 'py> {
    pub put: Given<'py>,
    /// Of these only the expiry and `if_absent` are given.
    pub put_args: PutArgs<'a, 'py>,
    pub wait: Arg<'a, 'py>,
    pub lease: Arg<'a, 'py>,
    pub create: Arg<'a, 'py>,
    pub conditions: Conditions<'a, 'py>,
}

impl LockArgs<'_, '_> {
    pub fn options(self) -> Outcome<LockOptions> {
        let stored = match &self.put {
            Given::Value(value) => Some(encoded(value)?),
            Given::Missing => None,
        };
        let mut options = with_conditions!(LockOptions::new(), self.conditions)
            .create(flag("create", self.create)?);
        if let Some(limit) = self.wait {
            options = options.wait(wait("wait", limit)?);
        }
        if let Some(lease) = self.lease {
            options = options.lease(duration("lease", lease)?);
        }
        let PutArgs { ttl, persist, keep_ttl, if_absent, .. } = self.put_args;
        match stored {
            Some(encoded) => options = options.put(encoded, self.put_args.options()?)?,
            None if [ttl, persist, keep_ttl, if_absent].iter().any(Option::is_some) => {
                let message =
                    "ttl, persist, keep_ttl and if_absent belong to put; give put as well";
                return Err(invalid_argument(message).into());
            }
            None => {}
        }
        Ok(options)
    }
}
