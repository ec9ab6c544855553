//! Calls for many keys.

use minikv::{Entry, Registry};

use crate::js::{Args, Done, Env, Js, Kind};
use crate::options::{self, Given, PUT, WRITE};
use crate::packed::pack_all;
use crate::take::{self, Key};
use crate::yields;

/// The keys of an array; each is checked before what comes after it.
fn keys_of(env: Env<'_>, kv: &Registry, array: Js<'_>) -> Done<Vec<Vec<u8>>> {
    kv.ensure_running()?;
    let length = env.length_of(array)?;
    let mut keys = Vec::with_capacity(length.min(4096) as usize);
    for at in 0..length {
        keys.push(env.scope(|env| owned(take::key(env, kv, env.element(array, at)?)?))?);
    }
    Ok(keys)
}

fn owned(key: Key) -> Done<Vec<u8>> {
    Ok(match key {
        Key::Text(text) => text.as_bytes().to_vec(),
        Key::Bytes(bytes) => bytes,
    })
}

/// (handle, array of keys) → array of packed entries and nulls
pub fn get_many<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let keys = keys_of(env, &handle.kv, args[1])?;
    pack_all(env, &handle.kv.get_many(keys)?, handle.bigint)
}

/// (handle, array of keys and values in turn, options) → array of packed entries
pub fn put_many<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    handle.kv.ensure_running()?;
    let length = env.length_of(args[1])?;
    let mut keys = Vec::new();
    for at in (0..length).step_by(2) {
        keys.push(env.scope(|env| owned(take::key(env, &handle.kv, env.element(args[1], at)?)?))?);
    }
    // All keys come before the first value: a wrong one is told first.
    let mut items = Vec::new();
    for (key, at) in keys.into_iter().zip((1..length).step_by(2)) {
        let value = env.scope(|env| take::value(env, env.element(args[1], at)?))?;
        items.push((key, value));
    }
    let options = Given::read(env, args[2], PUT)?.put();
    let entries: Vec<_> = handle.kv.put_many(items, options)?.into_iter().map(Some).collect();
    pack_all(env, &entries, handle.bigint)
}

/// (handle, array of keys, options) → array of packed entries and nulls
pub fn delete_many<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let keys = keys_of(env, &handle.kv, args[1])?;
    let options = Given::read(env, args[2], WRITE)?.write();
    pack_all(env, &handle.kv.delete_many(keys, options)?, handle.bigint)
}

fn cursor(env: Env<'_>, cursor: Option<String>) -> Done<Js<'_>> {
    match cursor {
        Some(cursor) => env.text(&cursor),
        None => env.null(),
    }
}

/// (handle, prefix or options) → [keys, cursor]
pub fn keys<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    handle.kv.ensure_running()?;
    let (options, raw) = options::list(env, &handle.kv, args[1])?;
    let page = handle.kv.keys(options)?;
    env.array(&[yields::keys(env, &page.items, raw)?, cursor(env, page.cursor)?])
}

/// (handle, prefix or options) → [packed entries, cursor]
pub fn entries<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    handle.kv.ensure_running()?;
    let (options, _) = options::list(env, &handle.kv, args[1])?;
    let page = handle.kv.entries(options)?;
    let entries: Vec<Option<Entry>> = page.items.into_iter().map(Some).collect();
    env.array(&[pack_all(env, &entries, handle.bigint)?, cursor(env, page.cursor)?])
}

/// (handle, prefix) → number
pub fn count<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let prefix = take::prefix(env, &handle.kv, args[1])?;
    env.number(handle.kv.count(&prefix)? as f64)
}

/// (handle, prefix, options) → number
pub fn clear<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    let prefix = take::prefix(env, &handle.kv, args[1])?;
    let options = match env.kind(args[2])? {
        Kind::Undefined => minikv::WriteOptions::new(),
        _ => Given::read(env, args[2], WRITE)?.write(),
    };
    env.number(handle.kv.clear_with(&prefix, options)? as f64)
}

/// (handle) → string
pub fn digest<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    env.text(&handle.kv.digest()?)
}
