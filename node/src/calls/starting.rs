//! Starting, opening, stopping, and what concerns the registry as a whole.

use minikv::{Error, ErrorKind, Options, Registry, Stats, Value};

use crate::js::{Args, Done, Env, Fail, Js};
use crate::options::{self, Start, camel};
use crate::take::invalid_argument;
use crate::yields;

/// (dispatch, then the helpers in their order): what must come first.
pub fn init<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let [dispatch, helpers @ ..] = args;
    env.state.set_helpers(env, helpers)?;
    env.open_bridge(*dispatch)?;
    env.undefined()
}

/// → the names of the options of calls, in the order of their numbers
pub fn option_names<'a>(env: Env<'a>, _args: &Args<'a>) -> Done<Js<'a>> {
    let array = env.empty_array(options::NAMES.len())?;
    for (at, name) in options::NAMES.iter().enumerate() {
        env.set_element(array, at, env.text(name)?)?;
    }
    Ok(array)
}

/// (options) → [handle, whether this call started it]
pub fn start<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let start = Start::read(env, args[0])?;
    run(env, start.options, start.exist_ok, start.bigint)
}

/// (path, options) → as start
pub fn from_config<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let path = options::text(env, "path", args[0])?;
    let (exist_ok, bigint) = Start::handle(env, args[1], &["existOk", "ints"])?;
    if path.contains('\0') {
        return Err(invalid_argument("path holds a NUL"));
    }
    let as_in_file = |fail| match fail {
        Fail::Kv(error) => Fail::File(error),
        other => other,
    };
    let options = Options::from_config(path).map_err(Fail::File)?;
    run(env, options, exist_ok, bigint).map_err(as_in_file)
}

fn run(env: Env<'_>, options: Options, exist_ok: bool, bigint: bool) -> Done<Js<'_>> {
    let named = options.get_name().is_some();
    let (kv, started) = match Registry::start(options.clone()) {
        Err(error) if exist_ok && error.kind() == ErrorKind::AlreadyStarted => {
            (Registry::start_or_open(options)?, false)
        }
        result => (result?, true),
    };
    if named {
        // It belongs to the process: it ends by stop(), not with this thread or by garbage collection.
        kv.keep_running();
    }
    let id = env.state.add_handle(kv, bigint);
    env.array(&[env.number(id as f64)?, env.bool(started)?])
}

/// (name, options) → handle
pub fn open<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let name = options::text(env, "name", args[0])?;
    let (_, bigint) = Start::handle(env, args[1], &["ints"])?;
    let id = env.state.add_handle(Registry::open(&name)?, bigint);
    env.number(id as f64)
}

/// (handle): gives the handle back; that of nothing is fine.
pub fn close<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.state.drop_handle(env.id_of(args[0]));
    env.undefined()
}

/// (id of anything else that JavaScript holds): gives it back.
pub fn drop_slot<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    drop(env.state.take(env.id_of(args[0])));
    env.undefined()
}

/// (handle): fails if it is stopped.
pub fn ensure_running<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.state.handle(env.id_of(args[0]))?.kv.ensure_running()?;
    env.undefined()
}

pub fn stop<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    if let Ok(handle) = env.state.handle(env.id_of(args[0])) {
        handle.kv.stop();
    }
    env.undefined()
}

/// (handle) → an object by the names of the core, in this language's spelling
pub fn stats<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let stats = handle.kv.stats()?;
    let value = minikv::to_value(&stats)?;
    named(env, &value, Stats::FIELDS)
}

pub fn options<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    handle.kv.ensure_running()?;
    named(env, &handle.kv.options().to_value(), Options::FIELDS)
}

fn named<'a>(env: Env<'a>, value: &Value, fields: &[&str]) -> Done<Js<'a>> {
    let Value::Map(map) = value else {
        return Err(Error::new(ErrorKind::Internal, "not a map").into());
    };
    let mut properties = Vec::new();
    for field in fields {
        if let Some(value) = map.get(*field) {
            properties.push((env.text(&camel(field))?, yields::value(env, value, false)?));
        }
    }
    env.object(&properties)
}

/// (handle, ms)
pub fn advance<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    handle.kv.ensure_running()?;
    handle.kv.advance(options::duration(env, "ms", args[1])?)?;
    env.undefined()
}

/// The ids of what has become ready since the last call.
pub fn take_ready<'a>(env: Env<'a>, _args: &Args<'a>) -> Done<Js<'a>> {
    let ready = env.state.bridge.take();
    let array = env.empty_array(ready.len())?;
    for (at, id) in ready.into_iter().enumerate() {
        env.scope(|env| env.set_element(array, at, env.number(id as f64)?))?;
    }
    Ok(array)
}

/// (whether to keep the event loop alive)
pub fn keep_alive<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.keep_alive(env.bool_of(args[0])?);
    env.undefined()
}
