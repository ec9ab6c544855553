//! What was once wrong, so that it stays mended.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minikv::{
    ClockKind, ErrorKind, ListOptions, LockGuard, LockOptions, Options, PutOptions, Registry,
    Update, WriteOptions,
};

fn manual() -> Registry {
    Registry::start(Options::unnamed().clock(ClockKind::Manual)).unwrap()
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_leased_lock_handed_over_from_one_without_lease_lasts_its_lease() {
    for end in ["unlock", "delete"] {
        let kv = Registry::start(Options::unnamed()).unwrap();
        kv.put("k", 1).unwrap();
        kv.lock_with("k", LockOptions::new().owner("first")).unwrap();
        let options = LockOptions::new().wait(60 * SECOND).lease(60 * SECOND).create(true);
        let pending = kv.locked_start("k", options).unwrap();
        let first = WriteOptions::new().owner("first");
        match end {
            "unlock" => drop(kv.unlock_with("k", first).unwrap()),
            _ => drop(kv.delete_with("k", first).unwrap()),
        }
        let guard = pending.block().unwrap();
        guard.check().unwrap();
        assert_eq!(kv.put("k", 2).unwrap_err().kind(), ErrorKind::Locked);
    }
}

#[test]
fn locks_taken_by_a_batch_count_against_max_bytes() {
    let options = Options::unnamed().clock(ClockKind::Manual).max_bytes(20_000);
    let kv = Registry::start(options).unwrap();
    let locked = || PutOptions::new().lock(true).owner("o".repeat(1000));
    let keys = |from: usize| (from..from + 100).map(|n| (format!("k{n}"), n as i64));
    assert_eq!(kv.put_many(keys(0), locked()).unwrap_err().kind(), ErrorKind::Limit);
    let fill = || {
        let stored = (0..).take_while(|n| kv.put(format!("f{n}"), 1).is_ok()).count();
        kv.clear("").unwrap();
        stored
    };
    let room = fill();
    for round in 0..50 {
        let owner = || WriteOptions::new().owner("o".repeat(1000));
        kv.put_many(keys(round).take(5), locked()).unwrap();
        kv.delete_many(keys(round).take(5).map(|(key, _)| key), owner()).unwrap();
    }
    assert_eq!(fill(), room, "what goes gives back what it took");
}

#[test]
fn a_lock_is_not_refused_because_the_registry_is_full() {
    let options = Options::unnamed().clock(ClockKind::Manual).max_bytes(2_000);
    let kv = Registry::start(options).unwrap();
    kv.put("k", 1).unwrap();
    while kv.put(format!("{}", kv.count("").unwrap()), 1).is_ok() {}
    kv.lock("k").unwrap().unwrap();
    kv.touch("k", SECOND).unwrap().unwrap();
    kv.persist("k").unwrap().unwrap();
    kv.unlock("k").unwrap().unwrap();
}

#[test]
fn a_guard_may_be_dropped_by_a_thread_that_ends() {
    thread_local! {
        static GUARD: RefCell<Option<LockGuard>> = const { RefCell::new(None) };
    }
    let kv = manual();
    kv.put("k", 1).unwrap();
    let own = kv.clone();
    let thread = std::thread::spawn(move || {
        GUARD.with(|kept| *kept.borrow_mut() = Some(own.locked("k", LockOptions::new()).unwrap()));
    });
    thread.join().unwrap();
    assert!(!kv.get("k").unwrap().unwrap().is_locked());
}

#[test]
fn a_waker_may_write_and_may_end_its_watch() {
    let kv = manual();
    let watch = Arc::new(Mutex::new(Some(kv.watch("").unwrap())));
    let (writer, kept, calls) = (kv.clone(), watch.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    watch.lock().unwrap().as_ref().unwrap().on_ready(move || {
        match counted.fetch_add(1, Ordering::SeqCst) {
            0..3 => drop(writer.incr("n", 1)),
            // Not while the lock below is taken: this runs within the put.
            _ => drop(kept.lock().unwrap().take()),
        }
    });
    kv.put("x", 1).unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 4);
    assert_eq!(kv.stats().unwrap().watchers, 0);
}

#[test]
fn a_created_nil_goes_with_its_guard_though_it_was_touched() {
    let kv = manual();
    let guard = kv.locked("k", LockOptions::new().create(true)).unwrap();
    guard.touch(SECOND).unwrap();
    guard.persist().unwrap();
    guard.release().unwrap();
    assert!(!kv.contains("k").unwrap());
}

#[test]
fn giving_up_a_request_leaves_what_its_holder_had_before() {
    let kv = manual();
    kv.put("k", 1).unwrap();
    let mine = || LockOptions::new().owner("me");
    kv.lock_with("k", mine()).unwrap();
    drop(kv.lock_start("k", mine()).unwrap());
    assert!(kv.get("k").unwrap().unwrap().is_locked());
}

#[test]
fn a_guard_that_is_taken_late_is_renewed_in_time() {
    let kv = manual();
    kv.put("k", 1).unwrap();
    let mut pending = kv.locked_start("k", LockOptions::new().lease(30 * SECOND)).unwrap();
    kv.advance(25 * SECOND).unwrap();
    let guard = pending.try_take().unwrap().unwrap();
    kv.advance(100 * SECOND).unwrap();
    guard.check().unwrap();
}

#[test]
fn a_guard_that_deletes_by_update_has_not_lost_its_lock() {
    let kv = manual();
    kv.put("k", 1).unwrap();
    let guard = kv.locked("k", LockOptions::new()).unwrap();
    let lost = Arc::new(AtomicUsize::new(0));
    let counted = lost.clone();
    guard.on_lost(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    guard.update(|_| Ok::<_, minikv::Error>(Update::Delete)).unwrap();
    kv.put("k", 2).unwrap();
    guard.release().unwrap();
    assert_eq!(lost.load(Ordering::SeqCst), 0);
}

#[test]
fn an_update_of_a_guard_that_loses_its_lock_meanwhile_says_so() {
    let kv = manual();
    kv.put("k", 1).unwrap();
    let guard = kv.locked("k", LockOptions::new().owner("o")).unwrap();
    let error = guard.update(|_| {
        kv.unlock_with("k", WriteOptions::new().owner("o"))?;
        Update::put(2)
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::LockLost);
}

#[test]
fn pages_name_every_key_once() {
    let kv = manual();
    let keys: HashSet<String> = (0..5000).map(|n| format!("k:{n}")).collect();
    kv.put_many(keys.iter().map(|key| (key, 1)), PutOptions::new()).unwrap();
    kv.put("other", 1).unwrap();
    for limit in [1, 7, 1000, 4999, 5000, 5001, usize::MAX] {
        let mut options = ListOptions::new().prefix("k:").limit(limit);
        let mut seen = Vec::new();
        loop {
            let page = kv.keys(options.clone()).unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items.iter().map(|key| key.as_str().unwrap().to_owned()));
            let Some(cursor) = page.cursor else { break };
            options = options.cursor(cursor);
        }
        assert_eq!(seen.len(), 5000);
        assert_eq!(seen.into_iter().collect::<HashSet<_>>(), keys);
    }
}

#[test]
fn bytes_come_back_as_a_vector_too() {
    let kv = manual();
    let entry = kv.put("k", vec![1u8, 2, 255]).unwrap();
    assert_eq!(entry.value_as::<Vec<u8>>().unwrap(), [1, 2, 255]);
}

#[test]
fn registries_that_stop_each_other_stop() {
    let (a, b) = (Registry::start(Options::unnamed()), Registry::start(Options::unnamed()));
    let (a, b) = (a.unwrap(), b.unwrap());
    let mut guards = Vec::new();
    for (own, other) in [(&a, &b), (&b, &a)] {
        own.put_with("k", 1, PutOptions::new().ttl(Duration::from_millis(20))).unwrap();
        let guard = own.locked("k", LockOptions::new()).unwrap();
        let other = other.clone();
        guard.on_lost(move || other.stop());
        guards.push(guard);
    }
    while a.ensure_running().is_ok() || b.ensure_running().is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_update_whose_function_writes_its_own_key_ends() {
    let kv = manual();
    kv.put("k", 1).unwrap();
    let result = kv.update("k", |_| {
        kv.incr("k", 1)?;
        Update::put(0)
    });
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.present().unwrap().is_some());
}
