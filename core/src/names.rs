//! The named registries of this process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, Weak};

use crate::fork;
use crate::registry::Handle;

type Names = HashMap<String, Weak<Handle>>;

/// A forked child starts a list of its own: a thread that is gone may hold its parent's.
#[derive(Default)]
struct List {
    names: Mutex<Names>,
    child: OnceLock<Box<List>>,
}

static FIRST: OnceLock<List> = OnceLock::new();

/// The names of this process.
///
/// A standard mutex: unlike others it keeps nothing outside itself, so a fork cannot break it.
pub(crate) fn lock() -> MutexGuard<'static, Names> {
    let mut list = FIRST.get_or_init(List::default);
    for _ in 0..fork::generation() {
        list = list.child.get_or_init(Box::default);
    }
    list.names.lock().unwrap_or_else(|poison| poison.into_inner())
}
