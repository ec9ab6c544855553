//! Callbacks of users, which run on whichever thread caused what they wait for.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls back. A panic ends the callback and nothing else: the panic hook has told of it, and the
/// thread that runs into it has done nothing wrong.
pub(crate) fn call(callback: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(callback));
}
