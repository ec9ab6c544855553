//! Calls that may wait: locks, guards, values that another caller computes.
//!
//! Where there is something to wait for, a number comes back; `takeReady` names it when it is ready.

use std::rc::Rc;

use minikv::{Entry, Error, ErrorKind, GetOrPut, LockGuard};

use super::keys::{change, check_function};
use crate::js::{Args, Done, Env, Fail, Js};
use crate::options::{self, GET_OR_PUT, Given, LOCK, LOCKED, PUT};
use crate::packed::{pack, pack_or_null};
use crate::state::{Handle, Held, Slot};
use crate::{take, yields};

/// (handle, key, options) → packed entry, null, or the id of the wait
pub fn lock<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let options = Given::read(env, args[2], LOCK)?.lock()?;
    let mut pending = handle.kv.lock_start(&key, options)?;
    if let Some(result) = pending.try_take() {
        return pack_or_null(env, result?.as_ref(), handle.bigint);
    }
    let id = env.state.new_id();
    let bridge = env.state.bridge.clone();
    pending.on_ready(move || bridge.push(id));
    env.state.add(id, Slot::Lock(pending, handle.bigint));
    env.number(id as f64)
}

/// (id of the wait) → packed entry, null, or undefined: not yet
pub fn lock_take<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let id = env.id_of(args[0]);
    let Some(Slot::Lock(mut pending, bigint)) = env.state.take(id) else {
        return Err(gone());
    };
    match pending.try_take() {
        Some(result) => pack_or_null(env, result?.as_ref(), bigint),
        None => {
            env.state.add(id, Slot::Lock(pending, bigint));
            env.undefined()
        }
    }
}

pub fn gone() -> Fail {
    Fail::Kv(Error::new(ErrorKind::Internal, "nobody waits for this any more"))
}

/// (handle, key, options) → [id of the guard, owner, fence, key], or the id of the wait
pub fn locked<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let options = Given::read(env, args[2], LOCKED)?.lock()?;
    let mut pending = handle.kv.locked_start(&key, options)?;
    if let Some(result) = pending.try_take() {
        return hold(env, result?, handle);
    }
    let id = env.state.new_id();
    let bridge = env.state.bridge.clone();
    pending.on_ready(move || bridge.push(id));
    env.state.add(id, Slot::Guard(Box::new(pending), handle.bigint));
    env.number(id as f64)
}

fn hold(env: Env<'_>, guard: LockGuard, handle: Rc<Handle>) -> Done<Js<'_>> {
    let id = env.state.new_id();
    let (owner, fence) = (env.text(guard.owner())?, env.unsigned(guard.fence())?);
    let key = yields::key(env, guard.key_bytes(), false)?;
    let bridge = env.state.bridge.clone();
    guard.on_lost(move || bridge.push(id));
    env.state.add(id, Slot::Held(Rc::new(Held { guard, handle })));
    env.array(&[env.number(id as f64)?, owner, fence, key])
}

/// (id of the wait, handle) → as `locked`, or undefined: not yet
pub fn locked_take<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let id = env.id_of(args[0]);
    let handle = env.state.handle(env.id_of(args[1]))?;
    let Some(Slot::Guard(mut pending, bigint)) = env.state.take(id) else {
        return Err(gone());
    };
    match pending.try_take() {
        Some(result) => hold(env, result?, handle),
        None => {
            env.state.add(id, Slot::Guard(pending, bigint));
            env.undefined()
        }
    }
}

/// (id of the guard) → packed entry or null
pub fn held_get<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let held = env.state.held(env.id_of(args[0]))?;
    pack_or_null(env, held.guard.get()?.as_ref(), held.handle.bigint)
}

/// (id of the guard, value, options) → packed entry
pub fn held_put<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let held = env.state.held(env.id_of(args[0]))?;
    held.handle.kv.ensure_running()?;
    let value = take::value(env, args[1])?;
    let options = Given::read(env, args[2], PUT)?.put();
    pack(env, &held.guard.put_with(&value, options)?, held.handle.bigint)
}

/// (id of the guard) → packed entry or null
pub fn held_delete<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let held = env.state.held(env.id_of(args[0]))?;
    pack_or_null(env, held.guard.delete()?.as_ref(), held.handle.bigint)
}

/// (id of the guard, by) → packed entry
pub fn held_incr<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let held = env.state.held(env.id_of(args[0]))?;
    held.handle.kv.ensure_running()?;
    let by = options::int(env, "by", args[1], 1)?;
    pack(env, &held.guard.incr(by)?, held.handle.bigint)
}

/// (id of the guard, function) → packed entry or null
pub fn held_update<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let held = env.state.held(env.id_of(args[0]))?;
    held.guard.check()?;
    check_function(env, args[1])?;
    let change = |entry: Option<&Entry>| change(env, args[1], entry, held.handle.bigint);
    let entry = held.guard.update(change)?;
    pack_or_null(env, entry.as_ref(), held.handle.bigint)
}

/// (id of the guard, ttl) → packed entry or null
pub fn held_touch<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let held = env.state.held(env.id_of(args[0]))?;
    held.handle.kv.ensure_running()?;
    let ttl = options::duration(env, "ttl", args[1])?;
    pack_or_null(env, held.guard.touch(ttl)?.as_ref(), held.handle.bigint)
}

/// (id of the guard) → packed entry or null
pub fn held_persist<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let held = env.state.held(env.id_of(args[0]))?;
    pack_or_null(env, held.guard.persist()?.as_ref(), held.handle.bigint)
}

/// (id of the guard)
pub fn held_check<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.state.held(env.id_of(args[0]))?.guard.check()?;
    env.undefined()
}

/// (id of the guard)
pub fn held_release<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.state.held(env.id_of(args[0]))?.guard.release()?;
    env.undefined()
}

/// (id of the guard) → boolean
pub fn held_lost<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.bool(env.state.held(env.id_of(args[0]))?.guard.is_lost())
}

/// (handle, key, options) → packed entry; [id of the computation]: compute it; or the id of the wait
pub fn get_or_put<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let options = Given::read(env, args[2], GET_OR_PUT)?.put();
    match handle.kv.get_or_put_start(&key, options)? {
        GetOrPut::Present(entry) => pack(env, &entry, handle.bigint),
        GetOrPut::Compute(computation) => {
            let id = env.state.new_id();
            env.state.add(id, Slot::Compute(computation, handle.bigint));
            env.array(&[env.number(id as f64)?])
        }
        GetOrPut::Wait(pending) => {
            let id = env.state.new_id();
            let bridge = env.state.bridge.clone();
            pending.on_ready(move || bridge.push(id));
            env.state.add(id, Slot::Value(pending, handle.bigint));
            env.number(id as f64)
        }
    }
}

/// (id of the computation, value) → packed entry. The computation is over in any case.
pub fn computed<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let Some(Slot::Compute(computation, bigint)) = env.state.take(env.id_of(args[0])) else {
        return Err(gone());
    };
    let value = take::value(env, args[1])?;
    pack(env, &computation.put(value)?, bigint)
}

/// (id of the wait) → packed entry; null: start again; undefined: not yet
pub fn value_take<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let id = env.id_of(args[0]);
    let Some(Slot::Value(pending, bigint)) = env.state.take(id) else {
        return Err(gone());
    };
    match pending.try_take() {
        Some(Some(entry)) => pack(env, &entry, bigint),
        Some(None) => env.null(),
        None => {
            env.state.add(id, Slot::Value(pending, bigint));
            env.undefined()
        }
    }
}
