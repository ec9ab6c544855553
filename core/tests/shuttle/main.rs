//! Concurrency of the table, its locks and watches under a model checker: many schedules of a few
//! threads, each decided at every lock and atomic. A thread that waits for ever is found as a deadlock.
//!
//! `cargo test -p minikv-registry --features __shuttle --test shuttle`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod reading;

use std::sync::Arc;
use std::time::Duration;

use minikv::{
    ClockKind, Counted, Entry, Error, ErrorKind, Event, EventKind, ListOptions, LockOptions,
    Options, PutOptions, Registry, Result, Watch, WatchOptions, WriteOptions,
};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, Runner};

const FOR_EVER: Duration = Duration::MAX;
const SCHEDULES: usize = 1500;

/// Half of the schedules at random, half with few changes of priority, which finds rarer orders.
fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    let mut config = Config::new();
    // Unoptimised code needs more than the default.
    config.stack_size = 0x40000;
    Runner::new(RandomScheduler::new(SCHEDULES), config.clone()).run(test);
    Runner::new(PctScheduler::new(3, SCHEDULES), config).run(test);
}

fn start() -> Registry {
    Registry::start(Options::unnamed().clock(ClockKind::Manual)).unwrap()
}

fn spawn<T: Send + 'static>(
    kv: &Registry,
    body: impl FnOnce(Registry) -> T + Send + 'static,
) -> JoinHandle<T> {
    let kv = kv.clone();
    thread::spawn(move || body(kv))
}

fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn waiting() -> LockOptions {
    LockOptions::new().wait(FOR_EVER)
}

fn assert_nobody_locks_or_waits(kv: &Registry) {
    let stats = kv.stats().unwrap();
    assert_eq!((stats.locks, stats.waiters), (0, 0));
}

/// Enough keys for both shards, whatever the hasher's seed: with so many, one is almost never empty.
fn keys() -> Vec<String> {
    (0..6).map(|n| format!("key-{n}")).collect()
}

#[test]
fn racing_guards_never_hold_together() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let inside = Arc::new(AtomicUsize::new(0));
        let lockers: Vec<_> = (0..3)
            .map(|_| {
                let inside = inside.clone();
                spawn(&kv, move |kv| {
                    let held = kv.locked("k", waiting()).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    let seen = held.get().unwrap().unwrap().as_int().unwrap();
                    held.put(seen + 1).unwrap();
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    held.release().unwrap();
                    held.fence()
                })
            })
            .collect();
        let mut fences = join(lockers);
        fences.sort_unstable();
        fences.dedup();
        assert_eq!(fences.len(), 3, "each grant has a fence of its own");
        assert_eq!(kv.get("k").unwrap().unwrap().as_int(), Some(3));
        assert_nobody_locks_or_waits(&kv);
    });
}

#[test]
fn of_two_who_do_not_wait_one_is_refused() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let lockers = ["a", "b"]
            .map(|owner| spawn(&kv, move |kv| kv.lock_with("k", LockOptions::new().owner(owner))));
        let results = join(lockers);
        let refused: Vec<&Error> = results.iter().filter_map(|r| r.as_ref().err()).collect();
        assert!(matches!(&refused[..], [error] if error.kind() == ErrorKind::Locked));
    });
}

#[test]
fn waiters_are_served_in_order_of_arrival() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let held = kv.locked("k", LockOptions::new()).unwrap();
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        for number in 0..2 {
            let pending = kv.locked_start("k", waiting()).unwrap();
            let served = served.clone();
            threads.push(spawn(&kv, move |_| {
                let guard = pending.block().unwrap();
                served.lock().unwrap().push((number, guard.fence()));
            }));
        }
        let last = served.clone();
        threads.push(spawn(&kv, move |kv| {
            // It arrives after the others, whether they have been served or not.
            let guard = kv.locked("k", waiting()).unwrap();
            last.lock().unwrap().push((2, guard.fence()));
        }));
        drop(held);
        join(threads);
        let served = served.lock().unwrap();
        assert_eq!(served.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(served.is_sorted_by_key(|(_, fence)| *fence));
        assert_nobody_locks_or_waits(&kv);
    });
}

#[test]
fn a_wait_given_up_while_it_is_granted_leaks_no_lock() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let held = kv.locked("k", LockOptions::new()).unwrap();
        let given_up = kv.lock_start("k", waiting().owner("a")).unwrap();
        let guard_given_up = kv.locked_start("k", waiting()).unwrap();
        let steadfast = kv.locked_start("k", waiting()).unwrap();
        let threads = vec![
            spawn(&kv, move |_| drop(held)),
            spawn(&kv, move |_| drop(given_up)),
            spawn(&kv, move |_| drop(guard_given_up)),
            spawn(&kv, move |_| drop(steadfast.block().unwrap())),
        ];
        join(threads);
        assert_nobody_locks_or_waits(&kv);
    });
}

#[test]
fn what_a_given_up_wait_created_goes_with_it() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let held = kv.locked("k", LockOptions::new()).unwrap();
        let given_up = kv.locked_start("k", waiting().create(true)).unwrap();
        let threads = vec![
            spawn(&kv, move |_| drop(held.delete().unwrap())),
            spawn(&kv, move |_| drop(given_up)),
        ];
        join(threads);
        assert_nobody_locks_or_waits(&kv);
        assert_eq!(kv.get("k").unwrap(), None);
    });
}

#[test]
fn a_lease_that_ends_with_the_wait_serves_the_waiter() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let moment = Duration::from_millis(10);
        kv.lock_with("k", LockOptions::new().owner("a").lease(moment)).unwrap();
        let pending = kv.lock_start("k", LockOptions::new().owner("b").wait(moment)).unwrap();
        let waiter = spawn(&kv, move |_| pending.block());
        let unlocker = spawn(&kv, |kv| kv.unlock_with("k", WriteOptions::new().owner("a")));
        kv.advance(moment).unwrap();
        assert!(waiter.join().unwrap().unwrap().unwrap().is_locked());
        // Too late, it may find the lock of the other.
        let unlocked = unlocker.join().unwrap();
        assert!(
            unlocked.is_ok_and(|entry| entry.is_some())
                || kv.get("k").unwrap().unwrap().is_locked()
        );
        let holder = kv.get("k").unwrap().unwrap().holder().unwrap();
        assert_eq!(holder.owner.as_deref(), Some("b"));
    });
}

#[test]
fn a_loss_is_told_once_and_a_release_never() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let held = Arc::new(kv.locked("k", LockOptions::new().owner("a")).unwrap());
        let told = Arc::new(AtomicUsize::new(0));
        let (asked, counter) = (held.clone(), told.clone());
        let asker = thread::spawn(move || {
            asked.on_lost(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            });
        });
        let releaser = held.clone();
        let releaser = thread::spawn(move || releaser.release());
        let remover = spawn(&kv, |kv| kv.delete_with("k", WriteOptions::new().owner("a")));
        join([asker]);
        let released = releaser.join().unwrap();
        remover.join().unwrap().unwrap();
        let told = told.load(Ordering::SeqCst);
        match released {
            // It may have been lost between the release's look and its act; then nobody needs to know.
            Ok(()) => assert_eq!(told, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::LockLost);
                assert!(told <= 1);
            }
        }
        assert_nobody_locks_or_waits(&kv);
    });
}

fn drain(watch: &Watch) -> Vec<Event> {
    std::iter::from_fn(|| watch.try_next()).collect()
}

fn ints(events: &[Event], key: &str) -> Vec<i64> {
    let of_key = |event: &&Event| event.key().is_some_and(|found| found == key);
    let entries = events.iter().filter(of_key).filter_map(Event::entry);
    entries.map(|entry| entry.as_int().unwrap()).collect()
}

#[test]
fn events_of_a_key_come_in_the_order_of_its_versions() {
    check(|| {
        let kv = start();
        let watch = kv.watch("").unwrap();
        let writers = [0, 1].map(|writer| {
            spawn(&kv, move |kv| {
                for n in 0..2 {
                    kv.put("k", writer * 2 + n).unwrap();
                }
            })
        });
        let reader = thread::spawn(move || {
            let events: Vec<Event> = (0..4).map(|_| watch.wait_next().unwrap()).collect();
            assert_eq!(watch.try_next(), None);
            events
        });
        join(writers);
        let events = reader.join().unwrap();
        let entries: Vec<&Entry> = events.iter().filter_map(Event::entry).collect();
        assert!(entries.is_sorted_by(|a, b| a.version() < b.version()));
        assert_eq!(entries.last().copied(), kv.get("k").unwrap().as_ref());
    });
}

#[test]
fn a_put_that_returned_has_been_delivered() {
    check(|| {
        let kv = start();
        let watch = Arc::new(kv.watch("").unwrap());
        let writers = ["a", "b"].map(|key| {
            let watch = watch.clone();
            // Another writer of the same shard may hand out this one's event.
            spawn(&kv, move |kv| {
                kv.put(key, 1).unwrap();
                assert!(watch.try_next().is_some());
            })
        });
        join(writers);
    });
}

#[test]
fn the_present_entries_and_what_follows_leave_no_gap_and_repeat_nothing() {
    const LAST: i64 = 3;
    check(|| {
        let kv = start();
        let writers = ["a", "b", "c"].map(|key| {
            spawn(&kv, move |kv| {
                for n in 1..=LAST {
                    kv.put(key, n).unwrap();
                }
            })
        });
        let watch = kv.watch_with(WatchOptions::new().initial(true)).unwrap();
        join(writers);
        let events = drain(&watch);
        for key in ["a", "b", "c"] {
            let seen = ints(&events, key);
            let first = *seen.first().expect("each key is seen");
            assert_eq!(seen, (first..=LAST).collect::<Vec<i64>>());
        }
    });
}

#[test]
fn lagged_counts_exactly_what_was_lost() {
    const EACH: i64 = 4;
    check(|| {
        let kv = start();
        let watch = kv.watch_with(WatchOptions::new().capacity(2)).unwrap();
        let writers = [0, 1].map(|_| {
            spawn(&kv, |kv| {
                for _ in 0..EACH {
                    kv.incr("k", 1).unwrap();
                }
            })
        });
        let reader = thread::spawn(move || {
            let (mut next, mut lost) = (1, 0);
            while next <= 2 * EACH {
                let event = watch.wait_next().unwrap();
                match event.entry() {
                    None => {
                        assert_eq!(event.kind(), EventKind::Lagged);
                        lost += event.count();
                        next += event.count() as i64;
                    }
                    Some(entry) => {
                        assert_eq!(
                            entry.as_int(),
                            Some(next),
                            "what is missing was counted before"
                        );
                        next += 1;
                    }
                }
            }
            (lost, watch)
        });
        join(writers);
        let (lost, _watch) = reader.join().unwrap();
        assert_eq!(kv.stats().unwrap().lagged, lost);
    });
}

#[test]
fn closing_a_watch_ends_its_reader() {
    check(|| {
        let kv = start();
        let watch = Arc::new(kv.watch("").unwrap());
        let closer = watch.clone();
        let closer = thread::spawn(move || closer.close());
        let writer = spawn(&kv, |kv| kv.put("k", 1).map(drop));
        let read = std::iter::from_fn(|| watch.wait_next()).count();
        assert!(read <= 1);
        closer.join().unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(kv.stats().unwrap().watchers, 0);
    });
}

/// Success before the stop, `stopped` after it, and nothing else.
fn ok_until_stopped<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Stopped, "{error}");
            None
        }
    }
}

#[test]
fn a_stop_releases_everyone_who_waits() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let held = kv.locked("k", LockOptions::new()).unwrap();
        let watch = kv.watch("k").unwrap();
        let unit = vec![
            spawn(&kv, |kv| {
                let granted = ok_until_stopped(kv.locked("k", waiting()));
                assert!(granted.is_none() || ok_until_stopped(kv.get("k")).is_none());
            }),
            spawn(&kv, |kv| {
                let compute = || Ok::<i64, Error>(1);
                ok_until_stopped(kv.get_or_put("new", compute, PutOptions::new()));
            }),
            spawn(&kv, |kv| {
                let compute = || Ok::<i64, Error>(2);
                ok_until_stopped(kv.get_or_put("new", compute, PutOptions::new()));
            }),
            thread::spawn(move || while watch.wait_next().is_some() {}),
            spawn(&kv, |kv| kv.stop()),
        ];
        join(unit);
        assert_eq!(held.release().unwrap_err().kind(), ErrorKind::Stopped);
    });
}

#[test]
fn what_is_put_together_is_read_together() {
    check(|| {
        let kv = start();
        let put_all = |kv: &Registry, number: i64| {
            kv.put_many(keys().into_iter().map(|key| (key, number)), PutOptions::new()).unwrap();
        };
        put_all(&kv, 0);
        let writers: Vec<_> =
            [1, 2].into_iter().map(|number| spawn(&kv, move |kv| put_all(&kv, number))).collect();
        let reader = spawn(&kv, |kv| {
            let entries = kv.get_many(keys()).unwrap();
            let numbers: Vec<_> =
                entries.into_iter().map(|entry| entry.unwrap().as_int().unwrap()).collect();
            assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
        });
        join(writers);
        join([reader]);
    });
}

/// A cache that asks the counters before it answers.
#[derive(Default)]
struct Cache(Option<Counted>);

impl Cache {
    fn get(&mut self, kv: &Registry, key: &str) -> Option<i64> {
        let fresh =
            |kept: &Counted| kept.until > 0 && kv.write_counters().read(kept.slot) == kept.count;
        let kept = self.0.take().filter(fresh);
        let kept = kept.unwrap_or_else(|| kv.get_counted(key).unwrap());
        let value = kept.entry.as_ref().and_then(Entry::as_int);
        self.0 = Some(kept);
        value
    }
}

#[test]
fn a_cache_that_asks_the_counters_never_shows_what_was_before_a_finished_write() {
    check(|| {
        let kv = start();
        kv.put("key", 0).unwrap();
        let finished = Arc::new(AtomicUsize::new(0));
        let told = finished.clone();
        let writer = spawn(&kv, move |kv| {
            for number in 1..3 {
                kv.put("key", number).unwrap();
                told.store(number as usize, Ordering::SeqCst);
            }
            kv.delete("key").unwrap();
            told.store(3, Ordering::SeqCst);
        });
        let (mut cache, mut seen) = (Cache::default(), 0);
        for _ in 0..4 {
            let least = finished.load(Ordering::SeqCst) as i64;
            let now = cache.get(&kv, "key").unwrap_or(3);
            assert!(now >= least, "{now} after {least} was written");
            assert!(now >= seen, "{now} after {seen} was seen");
            seen = now;
        }
        join([writer]);
        assert_eq!(cache.get(&kv, "key"), None);
    });
}

#[test]
fn what_others_have_seen_no_cache_shows_as_it_was_before() {
    check(|| {
        let kv = start();
        kv.put("key", 0).unwrap();
        let mut cache = Cache::default();
        assert_eq!(cache.get(&kv, "key"), Some(0));
        let writer = spawn(&kv, |kv| kv.put("key", 1).unwrap());
        for _ in 0..3 {
            let seen = kv.get("key").unwrap().unwrap().as_int();
            assert!(cache.get(&kv, "key") >= seen);
        }
        join([writer]);
    });
}

#[test]
fn a_stop_shows_no_reader_an_emptied_table() {
    check(|| {
        let kv = start();
        for key in keys() {
            kv.put(key, 0).unwrap();
        }
        let present = keys().len();
        let digest = kv.digest().unwrap();
        let stopper = spawn(&kv, |kv| kv.stop());
        if let Some(entry) = ok_until_stopped(kv.get("key-0")) {
            assert!(entry.is_some());
        }
        if let Some(found) = ok_until_stopped(kv.contains("key-1")) {
            assert!(found);
        }
        if let Some(entries) = ok_until_stopped(kv.get_many(keys())) {
            assert!(entries.iter().all(Option::is_some));
        }
        if let Some(count) = ok_until_stopped(kv.count("")) {
            assert_eq!(count, present);
        }
        if let Some(page) = ok_until_stopped(kv.keys(ListOptions::new())) {
            assert_eq!(page.items.len(), present);
        }
        if let Some(found) = ok_until_stopped(kv.digest()) {
            assert_eq!(found, digest);
        }
        stopper.join().unwrap();
    });
}

#[test]
fn a_stop_shows_no_watcher_an_emptied_table() {
    check(|| {
        let kv = start();
        for key in keys() {
            kv.put(key, 0).unwrap();
        }
        let stopper = spawn(&kv, |kv| kv.stop());
        let watch = ok_until_stopped(kv.watch_with(WatchOptions::new().initial(true)));
        if let Some(watch) = watch {
            assert_eq!(drain(&watch).len(), keys().len());
        }
        stopper.join().unwrap();
    });
}

#[test]
fn an_update_is_never_told_that_a_stopped_table_is_empty() {
    check(|| {
        let kv = start();
        kv.put("k", 1).unwrap();
        let stopper = spawn(&kv, |kv| kv.stop());
        ok_until_stopped(kv.update("k", |entry| {
            let seen = entry.expect("nobody deleted it").as_int().unwrap();
            minikv::Update::put(seen + 1)
        }));
        stopper.join().unwrap();
    });
}

#[test]
fn many_puts_are_seen_all_or_not_at_all() {
    check(|| {
        let kv = start();
        let items = |n: i64| keys().into_iter().map(move |key| (key, n));
        kv.put_many(items(0), PutOptions::new()).unwrap();
        let forward = spawn(&kv, move |kv| {
            kv.put_many(items(1), PutOptions::new()).unwrap();
        });
        // The same keys from the other end: shards are locked in one order all the same.
        let backward = spawn(&kv, move |kv| {
            let items: Vec<_> = items(2).collect();
            kv.put_many(items.into_iter().rev(), PutOptions::new()).unwrap();
        });
        let versions: Vec<_> = keys()
            .iter()
            .chain(keys().iter().rev())
            .map(|key| kv.get(key).unwrap().unwrap().version())
            .collect();
        let (there, back) = versions.split_at(keys().len());
        let back = back.iter().rev();
        assert!(there.iter().zip(back).all(|(first, second)| first <= second));
        join([forward, backward]);
        let values: Vec<_> =
            keys().iter().map(|key| kv.get(key).unwrap().unwrap().as_int()).collect();
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    });
}

#[test]
fn one_locked_key_stops_many_puts_as_a_whole() {
    check(|| {
        let kv = start();
        let items = |n: i64| keys().into_iter().map(move |key| (key, n));
        kv.put_many(items(0), PutOptions::new()).unwrap();
        let locker = spawn(&kv, |kv| {
            kv.lock_with("key-3", LockOptions::new().owner("a")).unwrap();
            let seen = kv.get("key-3").unwrap().unwrap().as_int();
            // From here on nobody may write it, so nobody may write any.
            let all = kv.get_many(keys()).unwrap();
            assert!(all.iter().all(|entry| entry.as_ref().unwrap().as_int() == seen));
        });
        match kv.put_many(items(1), PutOptions::new()) {
            Ok(entries) => assert_eq!(entries.len(), keys().len()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Locked),
        }
        locker.join().unwrap();
    });
}

#[test]
fn a_missing_value_is_computed_once() {
    check(|| {
        let kv = start();
        let computed = Arc::new(AtomicUsize::new(0));
        let callers = [0, 1, 2].map(|caller| {
            let computed = computed.clone();
            spawn(&kv, move |kv| {
                let compute = || {
                    computed.fetch_add(1, Ordering::SeqCst);
                    Ok::<i64, Error>(caller)
                };
                kv.get_or_put("k", compute, PutOptions::new()).unwrap()
            })
        });
        let entries = join(callers);
        assert_eq!(computed.load(Ordering::SeqCst), 1);
        assert!(entries.iter().all(|entry| *entry == entries[0]));
    });
}

#[test]
fn a_failed_computation_passes_the_duty_on() {
    check(|| {
        let kv = start();
        let tried = Arc::new(AtomicUsize::new(0));
        let callers = [0, 1, 2].map(|_| {
            let tried = tried.clone();
            spawn(&kv, move |kv| {
                let compute = || match tried.fetch_add(1, Ordering::SeqCst) {
                    0 => Err(Error::new(ErrorKind::Io, "the first fails")),
                    _ => Ok(7),
                };
                kv.get_or_put("k", compute, PutOptions::new())
            })
        });
        let results = join(callers);
        let failed = results.iter().filter(|result| result.is_err()).count();
        assert_eq!((failed, tried.load(Ordering::SeqCst)), (1, 2));
        assert_eq!(kv.get("k").unwrap().unwrap().as_int(), Some(7));
    });
}
