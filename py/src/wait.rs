//! Waiting without holding the interpreter, and never longer than a signal can bear.

use std::time::Duration;

use pyo3::prelude::*;

use crate::error::Outcome;

/// How long a signal waits for its handler at most.
pub const SLICE: Duration = Duration::from_millis(40);

/// Repeats a short wait until it gives something or a signal handler raises.
pub fn in_slices<T: Send>(
    py: Python<'_>,
    mut short_wait: impl FnMut(Duration) -> Option<T> + Send,
) -> Outcome<T> {
    loop {
        if let Some(result) = py.detach(|| short_wait(SLICE)) {
            return Ok(result);
        }
        py.check_signals()?;
    }
}
