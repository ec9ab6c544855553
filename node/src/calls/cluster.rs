//! What a registry tells of its cluster.

use std::time::Duration;

use minikv::Member;

use super::locks::gone;
use super::starting::named;
use crate::js::{Args, Done, Env, Js, Kind};
use crate::options::{self, Given, SIGNAL};
use crate::state::Slot;

/// (handle) → boolean
pub fn ready<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.bool(env.state.handle(env.id_of(args[0]))?.kv.ready()?)
}

/// (handle) → array of objects by the names of the core, in this language's spelling
pub fn members<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let members = env.state.handle(env.id_of(args[0]))?.kv.members()?;
    let array = env.empty_array(members.len())?;
    for (at, member) in members.iter().enumerate() {
        let member = minikv::to_value(member)?;
        env.scope(|env| env.set_element(array, at, named(env, &member, Member::FIELDS)?))?;
    }
    Ok(array)
}

/// (handle) → array of strings
pub fn endpoints<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let endpoints = env.state.handle(env.id_of(args[0]))?.kv.endpoints()?;
    let texts = endpoints.iter().map(|text| env.text(text)).collect::<Done<Vec<_>>>()?;
    env.array(&texts)
}

/// (handle, timeout, options) → undefined: it is synced; or [the id of the wait, ms that it may take]
pub fn sync<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    handle.kv.ensure_running()?;
    let timeout = match env.kind(args[1])? {
        Kind::Undefined | Kind::Null => Duration::MAX,
        _ => options::wait(env, "timeout", args[1])?,
    };
    Given::read(env, args[2], SIGNAL)?;
    let mut pending = handle.kv.sync_start()?;
    if let Some(result) = pending.try_take() {
        result?;
        return env.undefined();
    }
    if timeout.is_zero() {
        handle.kv.wait_synced(timeout)?;
        return env.undefined();
    }
    let id = env.state.new_id();
    let bridge = env.state.bridge.clone();
    pending.on_ready(move || bridge.push(id));
    env.state.add(id, Slot::Sync(pending, handle));
    let ms = if timeout == Duration::MAX { f64::INFINITY } else { timeout.as_secs_f64() * 1e3 };
    env.array(&[env.number(id as f64)?, env.number(ms)?])
}

/// (id of the wait, whether its time is over) → true; undefined: not yet
pub fn sync_take<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let id = env.id_of(args[0]);
    let Some(Slot::Sync(mut pending, handle)) = env.state.take(id) else {
        return Err(gone());
    };
    if let Some(result) = pending.try_take() {
        result?;
    } else if env.bool_of(args[1])? {
        // It knows how far it is, and says so.
        handle.kv.wait_synced(Duration::ZERO)?;
    } else {
        env.state.add(id, Slot::Sync(pending, handle));
        return env.undefined();
    }
    env.bool(true)
}
