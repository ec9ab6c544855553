//! Watches.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minikv::{Event, MemberState};

use crate::js::{Args, Done, Env, Js};
use crate::options;
use crate::packed::pack_or_null;
use crate::state::{Slot, Watching};
use crate::yields;

/// (handle, prefix or options) → id
pub fn watch<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let handle = env.state.handle(env.id_of(args[0]))?;
    handle.kv.ensure_running()?;
    let options = options::watch(env, &handle.kv, args[1])?;
    let watch = handle.kv.watch_with(options)?;
    let id = env.state.new_id();
    let armed = Arc::new(AtomicBool::new(false));
    let (bridge, waker) = (env.state.bridge.clone(), armed.clone());
    // A busy registry wakes the event loop once for each wait, not for each event.
    watch.on_ready(move || {
        if waker.swap(false, Ordering::SeqCst) {
            bridge.push(id);
        }
    });
    let watching = Watching { watch, handle, armed };
    env.state.add(id, Slot::Watch(Rc::new(watching)));
    env.number(id as f64)
}

/// (id, whether to be told of the next one) → [type, key, packed entry, count], of what concerns a member also
/// [… node, state, owner]; null if there is none now
pub fn next<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    let watching = env.state.watching(env.id_of(args[0]))?;
    let mut event = watching.watch.try_next();
    if event.is_none() && env.bool_of(args[1])? {
        watching.armed.store(true, Ordering::SeqCst);
        // What came before it was armed has told nobody.
        event = watching.watch.try_next();
        if event.is_some() {
            watching.armed.store(false, Ordering::SeqCst);
        }
    }
    match event {
        Some(event) => shown(env, &event, watching.handle.bigint),
        None => env.null(),
    }
}

fn shown<'a>(env: Env<'a>, event: &Event, bigint: bool) -> Done<Js<'a>> {
    let entry = event.entry();
    let key = match entry {
        Some(entry) => yields::key(env, entry.key_bytes(), false)?,
        None => env.null()?,
    };
    let kind = env.text(event.kind().as_str())?;
    let packed = pack_or_null(env, entry, bigint)?;
    let count = env.number(event.count() as f64)?;
    if event.node().is_none() {
        return env.array(&[kind, key, packed, count]);
    }
    let text = |text: Option<&str>| text.map_or_else(|| env.null(), |text| env.text(text));
    let state = event.state().map(MemberState::as_str);
    let about = [text(event.node())?, text(state)?, text(event.owner())?];
    env.array(&[kind, key, packed, count, about[0], about[1], about[2]])
}

/// (id) → whether no event will ever come after those that are queued
pub fn is_closed<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.bool(env.state.watching(env.id_of(args[0]))?.watch.is_closed())
}

/// (id)
pub fn close<'a>(env: Env<'a>, args: &Args<'a>) -> Done<Js<'a>> {
    env.state.watching(env.id_of(args[0]))?.watch.close();
    env.undefined()
}
