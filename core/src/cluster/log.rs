//! What has to be said and belongs to no call.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// `off`: nothing goes to stderr.
const VARIABLE: &str = "MINIKV_LOG";
const MAX_SAID: usize = 1000;

/// Whether the process's subscriber is one of ours, which shows nothing.
static OURS: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_ours() -> bool {
    OURS.load(Ordering::Acquire)
}

pub(crate) fn set_ours() {
    OURS.store(true, Ordering::Release);
}

pub(crate) fn warn(text: &str) {
    if tracing::dispatcher::has_been_set() && !is_ours() {
        tracing::warn!(target: "minikv", "{text}");
    } else {
        to_stderr(text);
    }
}

/// Only for a program that collects a log.
pub(crate) fn info(text: &str) {
    tracing::info!(target: "minikv", "{text}");
}

/// Warns the first time that `key` is given in this process.
pub(crate) fn warn_once(key: &str, text: &str) {
    static SAID: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let mut said = SAID.lock();
    // What comes from outside must not fill the memory.
    let first = said.len() < MAX_SAID && said.insert(key.to_owned());
    drop(said);
    if first {
        warn(text);
    }
}

fn to_stderr(text: &str) {
    use std::io::Write;
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "off") {
        return;
    }
    // A closed stderr is no reason to panic.
    let _ = writeln!(std::io::stderr(), "minikv: warning: {text}");
}
