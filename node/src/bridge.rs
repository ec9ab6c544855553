//! How other threads tell JavaScript that something it waits for is ready.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use napi_sys as sys;

/// Ids of what is ready, and the one function that wakes the event loop to fetch them.
#[derive(Default)]
pub struct Bridge(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// None before the start and after the end of the environment.
    wake: Option<Wake>,
    ready: Vec<u64>,
    /// Whether the event loop has been woken and has not looked yet.
    woken: bool,
    /// Whether somebody waits for whom the event loop shall stay alive.
    alive: bool,
}

struct Wake {
    function: sys::napi_threadsafe_function,
    env: sys::napi_env,
    thread: ThreadId,
}

impl Wake {
    /// Whether the event loop stays alive to be woken. Elsewhere than on its own thread it does nothing.
    fn keep_alive(&self, alive: bool) {
        if thread::current().id() != self.thread {
            return;
        }
        // SAFETY: on the environment's own thread, which has not given the function up.
        unsafe {
            if alive {
                sys::napi_ref_threadsafe_function(self.env, self.function);
            } else {
                sys::napi_unref_threadsafe_function(self.env, self.function);
            }
        }
    }
}

// SAFETY: Node-API makes threadsafe functions to be called from any thread; it is called only under the
// mutex, and taken out of it before the environment gives it up.
unsafe impl Send for Wake {}

impl Bridge {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Tells that `id` is ready; from any thread.
    pub fn push(&self, id: u64) {
        let mut inner = self.lock();
        let Some(wake) = &inner.wake else { return };
        if !inner.woken {
            let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
            // SAFETY: still in the mutex, so the environment has not given it up. It only queues.
            let status =
                unsafe { sys::napi_call_threadsafe_function(wake.function, ptr::null_mut(), mode) };
            if status != sys::Status::napi_ok {
                return;
            }
            // What this thread itself has caused is told before the process may exit.
            wake.keep_alive(true);
            inner.woken = true;
        }
        inner.ready.push(id);
    }

    /// What has become ready since the last call.
    pub fn take(&self) -> Vec<u64> {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.woken) {
            inner.keep_alive(inner.alive);
        }
        std::mem::take(&mut inner.ready)
    }

    /// Starts waking the event loop through `dispatch`, without keeping it alive; from now on not through an earlier one.
    pub fn open(&self, env: sys::napi_env, dispatch: sys::napi_value) -> bool {
        let mut wake = ptr::null_mut();
        let mut name = ptr::null_mut();
        // SAFETY: called by `init` with the values of its own call; the result is a local.
        let status = unsafe {
            sys::napi_create_string_utf8(env, c"minikv".as_ptr(), 6, &mut name);
            sys::napi_create_threadsafe_function(
                env,
                dispatch,
                ptr::null_mut(),
                name,
                0,
                1,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                Some(call_js),
                &mut wake,
            )
        };
        if status != sys::Status::napi_ok {
            return false;
        }
        // SAFETY: made just now in this environment.
        unsafe { sys::napi_unref_threadsafe_function(env, wake) };
        let wake = Wake { function: wake, env, thread: thread::current().id() };
        let mut inner = self.lock();
        wake.keep_alive(inner.alive || inner.woken);
        let earlier = inner.wake.replace(wake);
        drop(inner);
        if let Some(earlier) = earlier {
            let mode = sys::ThreadsafeFunctionReleaseMode::release;
            // SAFETY: nobody has it any more. What is queued in it still comes.
            unsafe { sys::napi_release_threadsafe_function(earlier.function, mode) };
        }
        true
    }

    /// From now on nobody is told anything.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.wake = None;
        inner.ready.clear();
    }

    pub fn keep_alive(&self, alive: bool) {
        let mut inner = self.lock();
        inner.alive = alive;
        if alive || !inner.woken {
            inner.keep_alive(alive);
        }
    }
}

impl Inner {
    fn keep_alive(&self, alive: bool) {
        if let Some(wake) = &self.wake {
            wake.keep_alive(alive);
        }
    }
}

/// Runs on the event loop.
unsafe extern "C" fn call_js(
    env: sys::napi_env,
    dispatch: sys::napi_value,
    _context: *mut c_void,
    _data: *mut c_void,
) {
    // While the environment ends there is nobody to call.
    if env.is_null() || dispatch.is_null() {
        return;
    }
    let mut this = ptr::null_mut();
    let mut result = ptr::null_mut();
    // SAFETY: Node-API passes the environment and the function given to `open`. An exception stays
    // pending, and Node reports it as it does for every callback.
    unsafe {
        sys::napi_get_undefined(env, &mut this);
        sys::napi_call_function(env, this, dispatch, 0, ptr::null(), &mut result);
    }
}
