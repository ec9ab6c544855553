//! Calls for one key.

use minikv::{Entry, Update};

use crate::js::{Args, Done, Env, Fail, Js, Kind};
use crate::options::{self, Given, PUT, WRITE};
use crate::packed::{self, pack, pack_or_null};
use crate::state::Helper;
use crate::{take, yields};

/// (handle, key) → packed entry or null
pub fn get<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    pack_or_null(env, handle.kv.get(&key)?.as_ref(), handle.bigint)
}

/// (handle, key, default) → the plain value, or the default
pub fn value<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    match handle.kv.get(&key)? {
        Some(entry) => yields::value_of(env, &entry, handle.bigint),
        None => Ok(args[2]),
    }
}

/// (handle, key, default) → as `value`, and what may be kept of it is in the note
pub fn value_noted<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.state.note.nothing();
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let read = handle.kv.get_counted(&key)?;
    let Some(entry) = &read.entry else { return Ok(args[2]) };
    let value = yields::value_of(env, entry, handle.bigint)?;
    env.state.note.take(&read);
    Ok(value)
}

/// (handle) → an ArrayBuffer of the counters of writes, or undefined
pub fn counters<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    env.memory(handle.kv.write_counters())
}

/// → an ArrayBuffer of the note, or undefined
pub fn note<'a>(env: Env<'a>, _args: &Args<'a>) -> Done<Js<'a>> {
    env.memory(env.state.note.clone())
}

/// (handle, key) → boolean
pub fn contains<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    env.bool(handle.kv.contains(&key)?)
}

/// (handle, key): fails as every call with this key would.
pub fn check_key<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    take::key(env, &handle.kv, args[1])?;
    env.undefined()
}

/// (handle, key, value, options) → packed entry
pub fn put<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let value = take::value(env, args[2])?;
    let options = Given::read(env, args[3], PUT)?.put();
    pack(env, &handle.kv.put_with(&key, value, options)?, handle.bigint)
}

/// (handle, key, options) → packed entry or null
pub fn delete<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let options = Given::read(env, args[2], WRITE)?.write();
    pack_or_null(env, handle.kv.delete_with(&key, options)?.as_ref(), handle.bigint)
}

/// (handle, key, options) → packed entry or null
pub fn unlock<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let options = Given::read(env, args[2], WRITE)?.write();
    pack_or_null(env, handle.kv.unlock_with(&key, options)?.as_ref(), handle.bigint)
}

/// (handle, key, options) → packed entry or null
pub fn persist<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let options = Given::read(env, args[2], WRITE)?.write();
    pack_or_null(env, handle.kv.persist_with(&key, options)?.as_ref(), handle.bigint)
}

/// (handle, key, ttl, options) → packed entry or null
pub fn touch<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let ttl = options::duration(env, "ttl", args[2])?;
    let options = Given::read(env, args[3], WRITE)?.write();
    pack_or_null(env, handle.kv.touch_with(&key, ttl, options)?.as_ref(), handle.bigint)
}

/// (handle, key, by, options) → packed entry
pub fn incr<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    let by = options::int(env, "by", args[2], 1)?;
    let options = Given::read(env, args[3], WRITE)?.write();
    pack(env, &handle.kv.incr_with(&key, by, options)?, handle.bigint)
}

/// (handle, key, function, options) → packed entry or null
pub fn update<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let key = take::key(env, &handle.kv, args[1])?;
    check_function(env, args[2])?;
    let options = Given::read(env, args[3], WRITE)?.write();
    let change = |entry: Option<&Entry>| change(env, args[2], entry, handle.bigint);
    let entry = handle.kv.update_with(&key, change, options)?;
    pack_or_null(env, entry.as_ref(), handle.bigint)
}

pub fn check_function(env: Env<'_>, value: Js<'_>) -> Done<()> {
    match env.kind(value)? {
        Kind::Function => Ok(()),
        _ => Err(take::invalid_argument("update takes a function")),
    }
}

/// Asks the function of an update what shall become of the value.
pub fn change(
    env: Env<'_>,
    function: Js<'_>,
    entry: Option<&Entry>,
    bigint: bool,
) -> Result<Update, Fail> {
    env.scope(|env| {
        let value = match entry {
            Some(entry) => yields::value_of(env, entry, bigint)?,
            None => env.undefined()?,
        };
        let result = env.call(function, &[value])?;
        if env.same(result, env.helper(Helper::Keep)?)? {
            return Ok(Update::Keep);
        }
        if env.same(result, env.helper(Helper::Delete)?)? {
            return Ok(Update::Delete);
        }
        Ok(Update::Put(take::value(env, result)?))
    })
}

/// (packed entry) → its fields but the value
pub fn entry_fields<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    packed::fields(env, args[0])
}

/// (packed entry) → a copy of its value
pub fn entry_value<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    packed::value(env, args[0])
}

/// (packed entry) → its key as bytes
pub fn entry_raw_key<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    packed::raw_key(env, args[0])
}
