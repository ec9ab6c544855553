//! Starting, opening, stopping, and what concerns the registry as a whole.

use minikv::{Error, ErrorKind, Options, Registry, Stats, Value};

use super::locks::gone;
use crate::aside::{Job, Kv};
use crate::js::{Args, Done, Env, Fail, Js};
use crate::options::{self, Start, camel};
use crate::state::Slot;
use crate::take::invalid_argument;
use crate::yields;

/// (dispatch, then the helpers in their order): what must come first.
pub fn init<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    // Nobody else's log: the Rust in this addon is its own.
    minikv::count_refusals();
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

/// Without any wait for others: it is the event loop that runs here.
fn run(env: Env<'_>, options: Options, exist_ok: bool, bigint: bool) -> Done<Js<'_>> {
    let (kv, started) = started(&options, exist_ok, Registry::start_now)?;
    handed_out(env, Kv::new(kv), started, bigint)
}

fn started(
    options: &Options,
    exist_ok: bool,
    start: impl Fn(Options) -> Result<Registry, Error>,
) -> Result<(Registry, bool), Error> {
    loop {
        match start(options.clone()) {
            Err(error) if exist_ok && error.kind() == ErrorKind::AlreadyStarted => {}
            result => return Ok((result?, true)),
        }
        match Registry::open(options.get_name().unwrap_or_default()) {
            Ok(running) if running.options() == options => return Ok((running, false)),
            // It tells what differs; nothing is started as long as that one runs.
            Ok(_running) => return Ok((Registry::start_or_open(options.clone())?, false)),
            // It stopped in between.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

fn handed_out(env: Env<'_>, kv: Kv, started: bool, bigint: bool) -> Done<Js<'_>> {
    if kv.options().get_name().is_some() {
        // It belongs to the process: it ends by stop(), not with this thread or by garbage collection.
        kv.keep_running();
    }
    let id = env.state.add_handle(kv, bigint);
    env.array(&[env.number(id as f64)?, env.bool(started)?])
}

/// (options) → the id of the wait: starts it aside, with all the waiting that it takes
pub fn start_aside<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let start = Start::read(env, args[0])?;
    let id = env.state.new_id();
    let work = move || {
        let (kv, started) = started(&start.options, start.exist_ok, Registry::start)?;
        Ok((Kv::new(kv), started))
    };
    let job = Job::start(env.state.bridge.clone(), id, "minikv-start", work)?;
    env.state.add(id, Slot::Start(job, start.bigint));
    env.number(id as f64)
}

/// (id of the wait) → as start, or undefined: not yet
pub fn start_take<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let id = env.id_of(args[0]);
    let Some(Slot::Start(job, bigint)) = env.state.take(id) else {
        return Err(gone());
    };
    match job.try_take() {
        Some(result) => {
            let (kv, started) = result??;
            handed_out(env, kv, started, bigint)
        }
        None => {
            env.state.add(id, Slot::Start(job, bigint));
            env.undefined()
        }
    }
}

/// (name, options) → handle
pub fn open<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let name = options::text(env, "name", args[0])?;
    let (_, bigint) = Start::handle(env, args[1], &["ints"])?;
    let id = env.state.add_handle(Kv::new(Registry::open(&name)?), bigint);
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

/// (handle) → undefined, or the id of the wait: a member of a cluster takes its leave
pub fn stop<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let Ok(handle) = env.state.handle(env.id_of(args[0])) else {
        return env.undefined();
    };
    if !handle.kv.in_cluster() {
        handle.kv.stop();
        return env.undefined();
    }
    let (id, kv) = (env.state.new_id(), Registry::clone(&handle.kv));
    let Ok(job) = Job::start(env.state.bridge.clone(), id, "minikv-stop", move || kv.stop()) else {
        // Rather late than never.
        handle.kv.stop();
        return env.undefined();
    };
    env.state.add(id, Slot::Stop(job));
    env.number(id as f64)
}

/// (id of the wait) → whether it has stopped; undefined: not yet
pub fn stop_take<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let id = env.id_of(args[0]);
    let Some(Slot::Stop(job)) = env.state.take(id) else {
        return Err(gone());
    };
    match job.try_take() {
        Some(result) => {
            result?;
            env.bool(true)
        }
        None => {
            env.state.add(id, Slot::Stop(job));
            env.undefined()
        }
    }
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

pub fn named<'a>(env: Env<'a>, value: &Value, fields: &[&str]) -> Done<Js<'a>> {
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
