//! What a registry is started with.

use std::ffi::c_char;

use minikv::{ClockKind, Encoded, Options, Value};

use crate::border::{Out, argument, borrow, call, free, give, milliseconds, nanoseconds, quietly};
use crate::bytes::{c_text, give_string, minikv_bytes};
use crate::call_options::{CallOptions, Setting};
use crate::error::{minikv_code, minikv_error};
use crate::json;
use crate::value::Given;

/// What a registry is started with: plain data that can be read from JSON or TOML, printed and started again.
///
/// The setters remember their first error, and minikv_registry_start gives it: their codes need not be looked at.
pub struct minikv_options(pub Setting<Options>);

impl AsRef<Setting<Options>> for minikv_options {
    fn as_ref(&self) -> &Setting<Options> {
        &self.0
    }
}

impl From<Options> for minikv_options {
    fn from(options: Options) -> minikv_options {
        minikv_options(Setting::new(options))
    }
}

impl CallOptions for Options {
    fn refused(self) -> Options {
        self.node("")
    }
}

/// Options with all defaults and this name, under which minikv_registry_open finds the registry; NULL: no name.
///
/// Free them with minikv_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_new(name: *const c_char) -> *mut minikv_options {
    quietly(std::ptr::null_mut(), || {
        let options = minikv_options::from(Options::unnamed());
        if !name.is_null() {
            // SAFETY: handed on from the caller.
            let name = unsafe { c_text(name, "name") };
            options.0.set(|_| Ok(Options::new(name?)));
        }
        give(options)
    })
}

/// A copy. NULL of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_clone(
    options: *const minikv_options,
) -> *mut minikv_options {
    quietly(std::ptr::null_mut(), || {
        // SAFETY: by the header's contract it is NULL or a live handle.
        match unsafe { options.as_ref() } {
            Some(options) => give(minikv_options(options.0.copy())),
            None => std::ptr::null_mut(),
        }
    })
}

/// Frees options. NULL is fine; a registry that was started from them does not need them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_free(options: *mut minikv_options) {
    // SAFETY: handed on from the caller.
    unsafe { free(options) }
}

/// Options from a JSON object of the fields name, node, default_ttl, max_value_bytes, max_entries, max_bytes,
/// max_watchers, lock_lease ("60s": text with a unit of ns us ms s m h d) and clock ("system", "manual"), and for a
/// member of a cluster: cluster, listen, peers (texts or lists of texts), discovery ("multicast"), failure_timeout
/// ("2500ms") and tls (an object of the paths ca, cert and key). A field that is missing or null has its default.
///
/// Error: MINIKV_INVALID_ARGUMENT; for a misspelt field the message names the nearest right one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_from_json(
    json: minikv_bytes,
    options: *mut *mut minikv_options,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let out = unsafe { Out::required(options, "options") }?;
        // SAFETY: handed on from the caller.
        let json = unsafe { json.text("json") }?;
        let encoded = Encoded::new(Given::Json(Ok(json.as_bytes())));
        let encoded = encoded.map_err(|error| argument(format!("options: {}", error.message())))?;
        out.give(Options::from_value(&Value::try_from(encoded)?)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Options from TOML text with the same fields at the top level.
///
/// Error: MINIKV_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_from_toml(
    toml: minikv_bytes,
    options: *mut *mut minikv_options,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (out, toml) = unsafe { (Out::required(options, "options")?, toml.text("toml")?) };
        out.give(Options::from_toml(toml)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// Options from a TOML file.
///
/// Errors: MINIKV_IO if it cannot be read, MINIKV_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_from_config(
    path: *const c_char,
    options: *mut *mut minikv_options,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (out, path) = unsafe { (Out::required(options, "options")?, c_text(path, "path")?) };
        out.give(Options::from_config(path)?);
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// The options as a JSON object of all fields, which minikv_options_from_json reads back.
/// Free `*json` with minikv_string_free.
///
/// Error: MINIKV_INVALID_ARGUMENT, also for what a setter remembered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_json(
    options: *const minikv_options,
    json: *mut *mut c_char,
    err: *mut *mut minikv_error,
) -> minikv_code {
    let body = || {
        // SAFETY: handed on from the caller.
        let (options, out) = unsafe { (borrow(options, "options")?, Out::required(json, "json")?) };
        let value = options.0.settled()?.to_value();
        out.set(give_string(json::value(&value.into())?));
        Ok(())
    };
    // SAFETY: handed on from the caller.
    unsafe { call(err, body) }
}

/// The node's name, which entries carry as their owner. In a cluster give each member its own. Default "local".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_node(
    options: *mut minikv_options,
    node: *const c_char,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.node(c_text(node, "node")?))) }
}

/// The ttl, in milliseconds, of entries that are put without one. Default: none, they do not expire.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_default_ttl_ms(
    options: *mut minikv_options,
    ms: i64,
) -> minikv_code {
    let change = |options: Options| Ok(options.default_ttl(milliseconds("default_ttl", ms)?));
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_default_ttl_ns(
    options: *mut minikv_options,
    ns: i64,
) -> minikv_code {
    let change = |options: Options| Ok(options.default_ttl(nanoseconds("default_ttl", ns)?));
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// The lease, in milliseconds and at most 10 minutes, of locks that are taken without one.
/// Default: none, they do not end by themselves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_lock_lease_ms(
    options: *mut minikv_options,
    ms: i64,
) -> minikv_code {
    let change = |options: Options| Ok(options.lock_lease(milliseconds("lock_lease", ms)?));
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// The same in nanoseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_lock_lease_ns(
    options: *mut minikv_options,
    ns: i64,
) -> minikv_code {
    let change = |options: Options| Ok(options.lock_lease(nanoseconds("lock_lease", ns)?));
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// The largest canonical encoding of a value, in bytes. Default and maximum 16 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_max_value_bytes(
    options: *mut minikv_options,
    bytes: u64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.max_value_bytes(bytes))) }
}

/// The most entries at a time; a put of one more is MINIKV_LIMIT. Default: no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_max_entries(
    options: *mut minikv_options,
    entries: u64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.max_entries(entries))) }
}

/// The most memory for entries, in bytes. Default: no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_max_bytes(
    options: *mut minikv_options,
    bytes: u64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.max_bytes(bytes))) }
}

/// The most watches at a time. Default 1024.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_max_watchers(
    options: *mut minikv_options,
    watchers: u64,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.max_watchers(watchers))) }
}

/// A clock that starts at 1,700,000,000,000 ms and moves only by minikv_registry_advance_ms; for tests.
/// Not in a cluster. Default: the machine's clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_manual_clock(
    options: *mut minikv_options,
    manual: bool,
) -> minikv_code {
    let clock = if manual { ClockKind::Manual } else { ClockKind::System };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.clock(clock))) }
}
