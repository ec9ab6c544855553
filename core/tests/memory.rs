//! What `stats` says of memory is what the process has grown by. A process of its own: nothing else may grow.

#![allow(clippy::unwrap_used, missing_docs)]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use minikv::{Options, Registry};

const ENTRIES: usize = 300_000;

/// Bytes of this process in memory.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
    kilobytes * 1024.0
}

#[test]
fn stats_tell_the_memory_in_use() {
    let kv = Registry::start(Options::unnamed()).unwrap();
    let value = "v".repeat(40);
    let before = resident();
    for number in 0..ENTRIES {
        kv.put(format!("session:{number:012}"), &*value).unwrap();
    }
    let grown = resident() - before;
    let told = kv.stats().unwrap().bytes as f64;
    let ratio = told / grown;
    assert!((0.9..1.1).contains(&ratio), "{told} bytes told, {grown} grown: {ratio}");
    for number in 0..ENTRIES {
        kv.delete(format!("session:{number:012}")).unwrap();
    }
    let left = kv.stats().unwrap().bytes as f64;
    assert!(left < told / 100.0, "{left} of {told} left");
    #[allow(unsafe_code)]
    // SAFETY: it may be called at any time. What is free goes back to the system, which the allocator puts off.
    unsafe {
        libc::malloc_trim(0)
    };
    let kept = resident() - before;
    assert!(kept < grown / 2.0, "{kept} of {grown} bytes kept");
}
