//! The functions that `lib/*.js` calls, and the start of the module.
//!
//! Handles are numbers: that of a registry comes first, then the key, the value, the options.

mod cluster;
mod keys;
mod locks;
mod many;
mod starting;
mod watches;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi_sys as sys;

use crate::js::{Args, Done, Env, Js};
use crate::state::{self, State};

macro_rules! exports {
    ($($name:literal = $module:ident::$function:ident,)+) => {
        fn export_all(env: sys::napi_env, exports: sys::napi_value, state: &State) -> Done<()> {
            $({
                unsafe extern "C" fn callback(
                    env: sys::napi_env,
                    info: sys::napi_callback_info,
                ) -> sys::napi_value {
                    // SAFETY: Node-API calls this, registered just below.
                    unsafe { crate::js::enter(env, info, $module::$function) }
                }
                // SAFETY: the arguments are those of the module being loaded; the state is attached to it.
                unsafe { crate::js::export(env, exports, state, $name, Some(callback))? };
            })+
            Ok(())
        }
    };
}

exports! {
    "init" = starting::init,
    "optionNames" = starting::option_names,
    "start" = starting::start,
    "fromConfig" = starting::from_config,
    "startAside" = starting::start_aside,
    "startTake" = starting::start_take,
    "open" = starting::open,
    "close" = starting::close,
    "drop" = starting::drop_slot,
    "ensureRunning" = starting::ensure_running,
    "stop" = starting::stop,
    "stopTake" = starting::stop_take,
    "stats" = starting::stats,
    "options" = starting::options,
    "advance" = starting::advance,
    "takeReady" = starting::take_ready,
    "keepAlive" = starting::keep_alive,
    "ready" = cluster::ready,
    "members" = cluster::members,
    "endpoints" = cluster::endpoints,
    "sync" = cluster::sync,
    "syncTake" = cluster::sync_take,
    "get" = keys::get,
    "value" = keys::value,
    "valueNoted" = keys::value_noted,
    "counters" = keys::counters,
    "note" = keys::note,
    "contains" = keys::contains,
    "put" = keys::put,
    "delete" = keys::delete,
    "unlock" = keys::unlock,
    "persist" = keys::persist,
    "touch" = keys::touch,
    "incr" = keys::incr,
    "update" = keys::update,
    "checkKey" = keys::check_key,
    "entryFields" = keys::entry_fields,
    "entryValue" = keys::entry_value,
    "entryRawKey" = keys::entry_raw_key,
    "getMany" = many::get_many,
    "putMany" = many::put_many,
    "deleteMany" = many::delete_many,
    "keys" = many::keys,
    "entries" = many::entries,
    "count" = many::count,
    "clear" = many::clear,
    "digest" = many::digest,
    "lock" = locks::lock,
    "lockTake" = locks::lock_take,
    "locked" = locks::locked,
    "lockedTake" = locks::locked_take,
    "heldGet" = locks::held_get,
    "heldPut" = locks::held_put,
    "heldDelete" = locks::held_delete,
    "heldIncr" = locks::held_incr,
    "heldUpdate" = locks::held_update,
    "heldTouch" = locks::held_touch,
    "heldPersist" = locks::held_persist,
    "heldCheck" = locks::held_check,
    "heldRelease" = locks::held_release,
    "heldLost" = locks::held_lost,
    "getOrPut" = locks::get_or_put,
    "computed" = locks::computed,
    "valueTake" = locks::value_take,
    "watch" = watches::watch,
    "watchNext" = watches::next,
    "watchClosed" = watches::is_closed,
    "watchClose" = watches::close,
}

/// The version of Node-API that is used.
#[unsafe(no_mangle)]
pub extern "C" fn node_api_module_get_api_version_v1() -> i32 {
    8
}

/// Where Node starts: once in every environment that loads the addon.
///
/// # Safety
/// Only Node calls it, with the environment and the exports of the module being loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn napi_register_module_v1(
    env: sys::napi_env,
    exports: sys::napi_value,
) -> sys::napi_value {
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the environment is that of the module being loaded.
        let state = unsafe { state::attach(env) };
        if state.is_null() {
            return false;
        }
        // SAFETY: attached just now; it lives as long as the environment.
        export_all(env, exports, unsafe { &*state }).is_ok()
    }));
    if matches!(loaded, Ok(true)) {
        return exports;
    }
    // SAFETY: both texts end with a NUL.
    unsafe {
        sys::napi_throw_error(env, c"internal".as_ptr(), c"minikv cannot be loaded".as_ptr())
    };
    ptr::null_mut()
}

/// What most functions are: arguments in, a value out.
pub type Call = for<'a> fn(Env<'a>, &Args<'a>) -> Done<Js<'a>>;

const _: Call = starting::init;
