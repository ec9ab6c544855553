//! What is granted to somebody who waited is the same as what is granted at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::Duration;

use minikv::{ClockKind, ErrorKind, LockOptions, Options, PutOptions, Registry, WriteOptions};

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A registry whose key `k` is locked by `a`.
fn start() -> Registry {
    let kv = Registry::start(Options::unnamed().clock(ClockKind::Manual)).unwrap();
    kv.put("k", 0).unwrap();
    kv.lock_with("k", LockOptions::new().owner("a")).unwrap();
    kv
}

fn assert_locked_for(kv: &Registry, time: Duration) {
    let refused = || kv.put("k", 1).unwrap_err().kind();
    assert_eq!(refused(), ErrorKind::Locked);
    kv.advance(time - Duration::from_nanos(1)).unwrap();
    assert_eq!(refused(), ErrorKind::Locked);
    kv.advance(Duration::from_nanos(1)).unwrap();
    kv.put("k", 1).unwrap();
}

#[test]
fn a_lease_begins_with_the_grant_however_that_came_about() {
    let ends: [fn(&Registry); 4] = [
        |kv| drop(kv.unlock_with("k", WriteOptions::new().owner("a")).unwrap()),
        |kv| drop(kv.delete_with("k", WriteOptions::new().owner("a")).unwrap()),
        |kv| drop(kv.delete_many(["k"], WriteOptions::new().owner("a")).unwrap()),
        |kv| {
            kv.touch_with("k", ms(5), WriteOptions::new().owner("a")).unwrap();
            kv.advance(ms(5)).unwrap();
        },
    ];
    for end in ends {
        let kv = start();
        let options = LockOptions::new().owner("b").wait(Duration::MAX).lease(ms(100));
        let options = options.put(7, PutOptions::new()).unwrap();
        let mut pending = kv.lock_start("k", options).unwrap();
        assert!(pending.try_take().is_none());
        end(&kv);
        assert!(pending.try_take().unwrap().unwrap().unwrap().is_locked());
        assert_locked_for(&kv, ms(100));
    }
}

#[test]
fn a_guard_that_waited_is_renewed_from_its_grant_on() {
    let kv = start();
    let options = LockOptions::new().wait(Duration::MAX).lease(ms(30));
    let mut pending = kv.locked_start("k", options).unwrap();
    kv.advance(ms(1000)).unwrap();
    kv.unlock_with("k", WriteOptions::new().owner("a")).unwrap();
    let guard = pending.try_take().unwrap().unwrap();
    for _ in 0..10 {
        kv.advance(ms(25)).unwrap();
        guard.check().unwrap();
    }
    guard.release().unwrap();
    kv.put("k", 1).unwrap();
}
