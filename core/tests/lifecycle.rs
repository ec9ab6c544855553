//! Starting, stopping, and what is left behind: no thread, no name, nobody waiting.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use minikv::{
    ClockKind, Error, ErrorKind, ListOptions, LockOptions, Options, PutOptions, Registry, Update,
    WatchOptions,
};

/// One test at a time: some count the threads of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poison| poison.into_inner())
}

fn short_lived() -> PutOptions {
    PutOptions::new().ttl(Duration::from_millis(1))
}

/// How many threads of registries there are in this process.
#[cfg(target_os = "linux")]
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end between the listing and the reading.
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.starts_with("minikv")).count()
}

/// A thread names itself once it runs, and is listed for a moment after it was joined.
#[cfg(target_os = "linux")]
fn wait_for_workers(expected: usize) {
    for _ in 0..60_000 {
        if workers() == expected {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{} workers, not {expected}", workers());
}

fn started(name: &str) -> Registry {
    Registry::start(name).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_starts_and_stops_leave_no_thread_and_no_name() {
    let _alone = alone();
    wait_for_workers(0);
    for round in 0..1000 {
        let kv = started("cycle");
        // The first deadline starts the worker.
        kv.put_with("k", round, short_lived()).unwrap();
        if round % 10 == 0 {
            wait_for_workers(1);
        }
        match round % 3 {
            0 => kv.stop(),
            1 => drop(kv),
            _ => {
                kv.keep_running();
                drop(kv);
                Registry::open("cycle").unwrap().stop();
            }
        }
        wait_for_workers(0);
        assert_eq!(Registry::open("cycle").unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_write_that_races_the_stop_starts_no_thread_that_stays() {
    let _alone = alone();
    for _ in 0..300 {
        let kv = Registry::start(Options::unnamed()).unwrap();
        let together = Arc::new(Barrier::new(2));
        let (writer, ready) = (kv.clone(), together.clone());
        let writer = thread::spawn(move || {
            ready.wait();
            let _ = writer.put_with("k", 1, short_lived());
            writer
        });
        together.wait();
        kv.stop();
        let still_open = writer.join().unwrap();
        wait_for_workers(0);
        assert!(still_open.get("k").is_err());
    }
}

#[test]
fn many_threads_stop_at_once_and_each_finds_the_name_free() {
    let _alone = alone();
    for _ in 0..300 {
        let kv = started("stopped-by-many");
        kv.put_with("k", 1, short_lived()).unwrap();
        let together = Arc::new(Barrier::new(3));
        let stoppers: Vec<_> = (0..3)
            .map(|number| {
                let (kv, together) = (kv.clone(), together.clone());
                thread::spawn(move || {
                    together.wait();
                    kv.stop();
                    assert_eq!(kv.get("k").unwrap_err().kind(), ErrorKind::Stopped);
                    // Only one of them starts anew: nobody else can have taken the name.
                    (number == 0).then(|| started("stopped-by-many"))
                })
            })
            .collect();
        drop(kv);
        let again = stoppers.into_iter().filter_map(|stopper| stopper.join().unwrap()).next();
        again.unwrap().put("k", 2).unwrap();
        assert_eq!(Registry::open("stopped-by-many").unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn starts_that_race_drops_of_the_last_handle_win_or_are_refused() {
    let _alone = alone();
    let won = Arc::new(AtomicUsize::new(0));
    let starters: Vec<_> = (0..3)
        .map(|_| {
            let won = won.clone();
            thread::spawn(move || {
                for _ in 0..3000 {
                    match Registry::start("contended") {
                        Ok(kv) => {
                            won.fetch_add(1, Ordering::SeqCst);
                            kv.put("k", 1).unwrap();
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyStarted),
                    }
                }
            })
        })
        .collect();
    for starter in starters {
        starter.join().unwrap();
    }
    assert!(won.load(Ordering::SeqCst) > 0);
}

#[test]
fn starting_or_opening_gives_everyone_the_same_registry() {
    let _alone = alone();
    for _ in 0..100 {
        let together = Arc::new(Barrier::new(3));
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let together = together.clone();
                thread::spawn(move || {
                    together.wait();
                    let kv = Registry::start_or_open("shared").unwrap();
                    kv.incr("n", 1).unwrap();
                    // Nobody leaves before all have come.
                    together.wait();
                    kv.get("n").unwrap().unwrap().as_int()
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Some(3));
        }
    }
}

#[test]
fn a_taken_name_is_refused_and_one_with_other_options_is_named() {
    let _alone = alone();
    let kv = started("taken");
    assert_eq!(Registry::start("taken").unwrap_err().kind(), ErrorKind::AlreadyStarted);
    let same = Registry::start_or_open("taken").unwrap();
    kv.put("k", 1).unwrap();
    assert_eq!(same.get("k").unwrap().unwrap().as_int(), Some(1));
    let other = Options::new("taken").max_entries(5).node("elsewhere");
    let error = Registry::start_or_open(other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyStarted);
    assert!(error.message().contains("max_entries") && error.message().contains("node"));
}

#[test]
fn the_last_handle_stops_the_registry_and_no_other_does() {
    let _alone = alone();
    let kv = started("handles");
    let watch = kv.watch("").unwrap();
    let (clone, opened) = (kv.clone(), Registry::open("handles").unwrap());
    drop(kv);
    drop(opened);
    clone.put("k", 1).unwrap();
    assert_eq!(watch.wait_next().unwrap().key().unwrap(), "k");
    drop(clone);
    assert_eq!(watch.wait_next(), None, "a watch keeps no registry alive, and ends with it");
    assert_eq!(Registry::open("handles").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_kept_running_lives_without_handles_until_it_is_stopped() {
    let _alone = alone();
    started("kept").keep_running();
    Registry::open("kept").unwrap().put("k", 1).unwrap();
    let kv = Registry::open("kept").unwrap();
    assert_eq!(kv.get("k").unwrap().unwrap().as_int(), Some(1));
    kv.stop();
    kv.keep_running();
    assert_eq!(Registry::open("kept").unwrap_err().kind(), ErrorKind::NotFound);
    drop(started("kept"));
}

fn kind<T>(result: Result<T, Error>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.kind(),
    }
}

/// What every operation of a registry that cannot be used fails with.
fn kinds_of_all_operations(kv: &Registry) -> Vec<(&'static str, ErrorKind)> {
    let unit = |_: Option<&minikv::Entry>| Ok::<Update, Error>(Update::Keep);
    let compute = || Ok::<i64, Error>(1);
    // Wrong arguments show that this error comes before all others.
    let (no_key, lock) = ("", LockOptions::new().wait(Duration::MAX));
    vec![
        ("ensure_running", kind(kv.ensure_running())),
        ("get", kind(kv.get(no_key))),
        ("contains", kind(kv.contains(no_key))),
        ("put", kind(kv.put(no_key, 1))),
        ("put_with", kind(kv.put_with(no_key, 1, PutOptions::new().ttl(Duration::MAX)))),
        ("delete", kind(kv.delete(no_key))),
        ("lock", kind(kv.lock(no_key))),
        ("lock_with", kind(kv.lock_with("k", lock.clone()))),
        ("lock_start", kind(kv.lock_start("k", lock.clone()))),
        ("locked", kind(kv.locked("k", lock.clone()))),
        ("locked_start", kind(kv.locked_start("k", lock))),
        ("unlock", kind(kv.unlock(no_key))),
        ("persist", kind(kv.persist(no_key))),
        ("touch", kind(kv.touch(no_key, Duration::MAX))),
        ("incr", kind(kv.incr(no_key, 1))),
        ("update", kind(kv.update(no_key, unit))),
        ("get_or_put", kind(kv.get_or_put(no_key, compute, PutOptions::new()))),
        ("get_or_put_start", kind(kv.get_or_put_start(no_key, PutOptions::new()))),
        ("get_many", kind(kv.get_many([no_key]))),
        ("put_many", kind(kv.put_many([(no_key, 1)], PutOptions::new()))),
        ("delete_many", kind(kv.delete_many([no_key], Default::default()))),
        ("clear", kind(kv.clear(""))),
        ("keys", kind(kv.keys(ListOptions::new().limit(0)))),
        ("entries", kind(kv.entries(ListOptions::new().limit(0)))),
        ("count", kind(kv.count(""))),
        ("digest", kind(kv.digest())),
        ("watch", kind(kv.watch_with(WatchOptions::new().capacity(0)))),
        ("stats", kind(kv.stats())),
        ("advance", kind(kv.advance(Duration::ZERO))),
    ]
}

#[test]
fn after_a_stop_every_operation_says_so() {
    let _alone = alone();
    for clock in [ClockKind::System, ClockKind::Manual] {
        let kv = Registry::start(Options::unnamed().clock(clock)).unwrap();
        kv.put("k", 1).unwrap();
        let held = kv.locked("k", LockOptions::new()).unwrap();
        let mut pending = kv.lock_start("k", LockOptions::new().wait(Duration::MAX)).unwrap();
        let duty = kv.get_or_put_start("new", PutOptions::new()).unwrap();
        kv.stop();
        kv.stop();
        for (operation, kind) in kinds_of_all_operations(&kv) {
            assert_eq!(kind, ErrorKind::Stopped, "{operation}");
        }
        assert_eq!(kind(pending.try_take().expect("decided")), ErrorKind::Stopped);
        let minikv::GetOrPut::Compute(duty) = duty else { panic!("nobody else computes") };
        assert_eq!(kind(duty.put(1)), ErrorKind::Stopped);
        let touched = held.touch(Duration::MAX).map(drop);
        for result in [held.check(), held.put(1).map(drop), touched, held.release()] {
            assert_eq!(kind(result), ErrorKind::Stopped);
        }
    }
}

#[test]
fn a_stop_from_within_a_callback_of_the_registrys_own_thread_returns() {
    let _alone = alone();
    let kv = Registry::start(Options::unnamed()).unwrap();
    kv.put_with("k", 1, PutOptions::new().ttl(Duration::from_millis(20))).unwrap();
    let held = kv.locked("k", LockOptions::new()).unwrap();
    let watch = kv.watch("").unwrap();
    let inner = kv.clone();
    held.on_lost(move || inner.stop());
    while watch.wait_next().is_some() {}
    assert_eq!(kv.get("k").unwrap_err().kind(), ErrorKind::Stopped);
}

#[cfg(unix)]
mod forked {
    use super::*;

    /// Runs `body` in a forked child; true if it came to its end.
    #[allow(unsafe_code)]
    fn in_child(body: impl FnOnce()) -> bool {
        // SAFETY: the child calls only the code under test, whose promise to work there is what is
        // tested, then leaves by _exit. The parent waits for it.
        unsafe {
            let child = libc::fork();
            assert!(child >= 0);
            if child == 0 {
                // A hang ends here, as a failure.
                libc::alarm(30);
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_ok();
                libc::_exit(i32::from(!done));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }

    fn assert_works(kv: &Registry) {
        let watch = kv.watch("").unwrap();
        kv.put_with("brief", 1, short_lived()).unwrap();
        let kinds: Vec<_> = (0..2).map(|_| watch.wait_next().unwrap().kind().as_str()).collect();
        assert_eq!(kinds, ["put", "expire"]);
        kv.put("k", 1).unwrap();
        let held = kv.locked("k", LockOptions::new()).unwrap();
        let waiter = kv.clone();
        let waiter = thread::spawn(move || {
            waiter.locked("k", LockOptions::new().wait(Duration::MAX)).unwrap().put(2).unwrap();
        });
        held.release().unwrap();
        waiter.join().unwrap();
        assert_eq!(kv.get("k").unwrap().unwrap().as_int(), Some(2));
    }

    /// A registry in the middle of its life: a worker, waiters, watchers, and threads that use it.
    struct Busy {
        kv: Registry,
        threads: Vec<thread::JoinHandle<()>>,
    }

    impl Busy {
        fn start(name: &str) -> Busy {
            let kv = started(name);
            kv.put("held", 1).unwrap();
            kv.lock("held").unwrap();
            let mut threads = Vec::new();
            let mut spawn = |body: fn(&Registry)| {
                let kv = kv.clone();
                threads.push(thread::spawn(move || {
                    while kv.ensure_running().is_ok() {
                        body(&kv)
                    }
                }));
            };
            spawn(|kv| drop(kv.put_with("brief", 1, short_lived())));
            spawn(|kv| drop(kv.incr("n", 1)));
            spawn(|kv| {
                drop(kv.lock_with("held", LockOptions::new().owner("b").wait(Duration::MAX)))
            });
            spawn(|kv| {
                let Ok(watch) = kv.watch("") else { return };
                while watch.wait_next().is_some() {}
            });
            while kv.stats().unwrap().waiters == 0 {
                thread::yield_now();
            }
            Busy { kv, threads }
        }

        fn end(self) {
            self.kv.put("still", "here").unwrap();
            assert!(self.kv.get("still").unwrap().is_some());
            self.kv.stop();
            for thread in self.threads {
                thread.join().unwrap();
            }
        }
    }

    const FORKS: usize = 60;

    #[test]
    fn in_a_child_every_operation_says_so_and_nothing_hangs() {
        let _alone = alone();
        let busy = Busy::start("forked");
        for _ in 0..FORKS {
            let kv = busy.kv.clone();
            assert!(in_child(move || {
                for (operation, kind) in kinds_of_all_operations(&kv) {
                    assert_eq!(kind, ErrorKind::Forked, "{operation}");
                }
                kv.stop();
                assert_eq!(kv.ensure_running().unwrap_err().kind(), ErrorKind::Forked);
                assert_eq!(Registry::open("forked").unwrap_err().kind(), ErrorKind::NotFound);
                drop(kv);
            }));
        }
        busy.end();
    }

    #[test]
    fn what_a_child_inherits_can_be_used_up_and_dropped() {
        let _alone = alone();
        let busy = Busy::start("inherited");
        for _ in 0..FORKS {
            let kv = busy.kv.clone();
            kv.put("own", 1).unwrap();
            let held = kv.locked("own", LockOptions::new()).unwrap();
            let pending = kv.lock_start("own", LockOptions::new().wait(Duration::MAX)).unwrap();
            let waiting = kv.lock_start("own", LockOptions::new().wait(Duration::MAX)).unwrap();
            let watch = kv.watch("").unwrap();
            let duty = kv.get_or_put_start("absent", PutOptions::new()).unwrap();
            let minikv::GetOrPut::Compute(duty) = duty else { panic!("nobody else computes") };
            assert!(in_child(move || {
                assert_eq!(held.check().unwrap_err().kind(), ErrorKind::Forked);
                assert_eq!(held.put(1).unwrap_err().kind(), ErrorKind::Forked);
                assert_eq!(held.release().unwrap_err().kind(), ErrorKind::Forked);
                assert_eq!(kind(waiting.block()), ErrorKind::Forked);
                assert_eq!(kind(duty.put(1)), ErrorKind::Forked);
                while watch.wait_next().is_some() {}
                drop((held, pending, watch));
            }));
        }
        busy.end();
    }

    #[test]
    fn a_child_starts_its_own_under_the_same_name() {
        let _alone = alone();
        let busy = Busy::start("parent");
        for round in 0..FORKS {
            let kv = busy.kv.clone();
            assert!(in_child(move || {
                // Before, during or after the life of its own the child lets go of its parent's.
                let mut inherited = Some(kv);
                if round % 3 == 0 {
                    inherited = None;
                }
                let own = started("parent");
                assert_eq!(own.count("").unwrap(), 0);
                assert_works(&own);
                if round % 3 == 1 {
                    inherited = None;
                }
                assert_works(&Registry::open("parent").unwrap());
                own.stop();
                drop(inherited);
            }));
        }
        busy.end();
    }

    #[test]
    fn a_grandchild_starts_its_own_as_well() {
        let _alone = alone();
        let busy = Busy::start("generations");
        assert!(in_child(|| {
            let own = Busy::start("generations");
            assert!(in_child(|| {
                assert_eq!(own.kv.get("k").unwrap_err().kind(), ErrorKind::Forked);
                assert_works(&started("generations"));
            }));
            own.end();
        }));
        busy.end();
    }
}
