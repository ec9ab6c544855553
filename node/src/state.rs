//! What one environment (the main thread, or a worker) holds: helpers, handles, things waited for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use minikv::{
    Computation, Error, ErrorKind, LockGuard, PendingGuard, PendingLock, PendingSync, PendingValue,
    Watch,
};
use napi_sys as sys;

use crate::aside::{Job, Kv};
use crate::bridge::Bridge;
use crate::js::{Done, Env, Fail, Js};
use crate::near::Note;

/// Functions and values of JavaScript that the addon needs, in the order in which `init` takes them.
#[derive(Clone, Copy)]
pub enum Helper {
    /// (code, message, packed entry, null or undefined) → the error to throw
    MakeError,
    /// (object that is neither array nor bytes) → null (plain), number (a float), array (pairs of a Map), or text (why not)
    Exotic,
    Keep,
    Delete,
}

const HELPERS: usize = 4;

/// A handle to a registry.
pub struct Handle {
    pub kv: Kv,
    /// Whether ints always come back as BigInt.
    pub bigint: bool,
}

/// What JavaScript holds by a number.
pub enum Slot {
    Lock(PendingLock, bool),
    Guard(Box<PendingGuard>, bool),
    Value(PendingValue, bool),
    Compute(Computation, bool),
    Held(Rc<Held>),
    Watch(Rc<Watching>),
    Start(Job<Started>, bool),
    Stop(Job<()>),
    Sync(PendingSync, Rc<Handle>),
}

/// A registry, and whether it was started just now.
pub type Started = Result<(Kv, bool), Error>;

pub struct Held {
    pub guard: LockGuard,
    pub handle: Rc<Handle>,
}

pub struct Watching {
    pub watch: Watch,
    /// A registry without a name lasts as long as somebody watches it.
    pub handle: Rc<Handle>,
    /// Whether somebody waits for the next event and wants to be told.
    pub armed: Arc<AtomicBool>,
}

pub struct State {
    pub bridge: Arc<Bridge>,
    helpers: [Cell<sys::napi_ref>; HELPERS],
    handles: RefCell<Vec<Option<Rc<Handle>>>>,
    free: RefCell<Vec<usize>>,
    slots: RefCell<HashMap<u64, Slot>>,
    next: Cell<u64>,
    /// Whether the handle of the running call wants ints as BigInt always, also in what its error carries.
    pub bigint: Cell<bool>,
    /// What may be kept of the value that was read last.
    pub note: Arc<Note>,
    /// Memory that is used again from call to call.
    pub scratch: Cell<Vec<u8>>,
}

impl State {
    pub fn new() -> State {
        State {
            bridge: Arc::new(Bridge::default()),
            helpers: [const { Cell::new(ptr::null_mut()) }; HELPERS],
            handles: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            slots: RefCell::new(HashMap::new()),
            next: Cell::new(1),
            bigint: Cell::new(false),
            note: Arc::default(),
            scratch: Cell::new(Vec::new()),
        }
    }

    pub fn helper(&self, helper: Helper) -> sys::napi_ref {
        self.helpers[helper as usize].get()
    }

    pub fn set_helpers(&self, env: Env<'_>, values: &[Js<'_>]) -> Done<()> {
        for (cell, value) in self.helpers.iter().zip(values) {
            let earlier = cell.replace(env.reference(*value)?);
            env.forget(earlier);
        }
        Ok(())
    }

    pub fn add_handle(&self, kv: Kv, bigint: bool) -> usize {
        let handle = Some(Rc::new(Handle { kv, bigint }));
        let mut handles = self.handles.borrow_mut();
        match self.free.borrow_mut().pop() {
            Some(id) => {
                handles[id] = handle;
                id
            }
            None => {
                handles.push(handle);
                handles.len() - 1
            }
        }
    }

    pub fn handle(&self, id: u64) -> Done<Rc<Handle>> {
        let handles = self.handles.borrow();
        let handle = usize::try_from(id).ok().and_then(|id| handles.get(id)).cloned().flatten();
        let Some(handle) = handle else {
            let message = "this handle of the registry was released; open the registry again";
            return Err(Fail::Kv(Error::new(ErrorKind::Stopped, message)));
        };
        self.bigint.set(handle.bigint);
        Ok(handle)
    }

    pub fn drop_handle(&self, id: u64) {
        let Ok(id) = usize::try_from(id) else { return };
        let handle = self.handles.borrow_mut().get_mut(id).and_then(Option::take);
        if handle.is_some() {
            self.free.borrow_mut().push(id);
        }
        // Possibly the last one, which stops the registry: with nothing borrowed.
        drop(handle);
    }

    pub fn new_id(&self) -> u64 {
        let id = self.next.get();
        self.next.set(id + 1);
        id
    }

    pub fn add(&self, id: u64, slot: Slot) {
        let earlier = self.slots.borrow_mut().insert(id, slot);
        drop(earlier);
    }

    pub fn take(&self, id: u64) -> Option<Slot> {
        let slot = self.slots.borrow_mut().remove(&id)?;
        match &slot {
            Slot::Lock(_, bigint)
            | Slot::Guard(_, bigint)
            | Slot::Value(_, bigint)
            | Slot::Compute(_, bigint) => self.bigint.set(*bigint),
            Slot::Held(_) | Slot::Watch(_) | Slot::Start(..) | Slot::Stop(_) | Slot::Sync(..) => {}
        }
        Some(slot)
    }

    pub fn held(&self, id: u64) -> Done<Rc<Held>> {
        match self.slots.borrow().get(&id) {
            Some(Slot::Held(held)) => {
                self.bigint.set(held.handle.bigint);
                Ok(held.clone())
            }
            _ => Err(unknown()),
        }
    }

    pub fn watching(&self, id: u64) -> Done<Rc<Watching>> {
        match self.slots.borrow().get(&id) {
            Some(Slot::Watch(watching)) => Ok(watching.clone()),
            _ => Err(unknown()),
        }
    }

    /// Gives everything back: places in queues, locks that are held in a scope, watches, handles.
    fn clear(&self) {
        self.bridge.close();
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        drop(slots);
        let handles = std::mem::take(&mut *self.handles.borrow_mut());
        drop(handles);
    }
}

fn unknown() -> Fail {
    Fail::Kv(Error::new(ErrorKind::Internal, "no such handle"))
}

/// Binds a state to an environment; it is freed after everything in that environment has ended.
///
/// # Safety
/// `env` is that of the module being loaded.
pub unsafe fn attach(env: sys::napi_env) -> *const State {
    let state = Box::into_raw(Box::new(State::new()));
    let data = state.cast::<c_void>();
    // SAFETY: `state` is a State of the heap, and `free` takes it back, once.
    let status = unsafe { sys::napi_set_instance_data(env, data, Some(free), ptr::null_mut()) };
    if status != sys::Status::napi_ok {
        // SAFETY: Node did not take it, so it is still only ours.
        drop(unsafe { Box::from_raw(state) });
        return ptr::null();
    }
    state
}

/// Has `clear` called when the environment ends, before Node gives up its threadsafe functions: hooks
/// run in reverse, so this comes after the function was made.
///
/// # Safety
/// `env` and `state` belong together.
pub unsafe fn clear_at_end(env: sys::napi_env, state: &State) {
    let data = ptr::from_ref(state).cast_mut().cast::<c_void>();
    // SAFETY: the state lives until `free`, which Node calls after all hooks. Adding one twice would abort the
    // process; removing one that is not there does nothing.
    unsafe {
        sys::napi_remove_env_cleanup_hook(env, Some(end), data);
        sys::napi_add_env_cleanup_hook(env, Some(end), data);
    }
}

unsafe extern "C" fn end(data: *mut c_void) {
    // SAFETY: `clear_at_end` registered a State, which is freed later.
    let state = unsafe { &*data.cast::<State>() };
    // A panic must not reach Node; what could not be given back then is lost with the thread.
    let _ = catch_unwind(AssertUnwindSafe(|| state.clear()));
}

unsafe extern "C" fn free(_env: sys::napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: `attach` made it by Box::into_raw, and Node calls this once, when nothing can call any more.
    let state = unsafe { Box::from_raw(data.cast::<State>()) };
    let _ = catch_unwind(AssertUnwindSafe(|| {
        state.clear();
        drop(state);
    }));
}
