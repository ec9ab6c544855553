//! Reads that take no lock, with real threads: what they find is whole, however fast others write, and nothing that
//! stays is missed.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use minikv::{Options, PutOptions, Registry};

const ROUNDS: usize = 20;
const KEYS: usize = 500;

/// Lengths of every kind: inside the record, across lines, and apart.
fn text(key: &str, round: usize) -> String {
    let length = [5, 40, 100, 900, 1200][round % 5];
    key.bytes().cycle().take(length).map(char::from).collect()
}

fn assert_whole(key: &str, text: &str) {
    assert!(text.bytes().eq(key.bytes().cycle().take(text.len())), "{key}: {text}");
}

#[test]
fn what_is_read_is_whole_and_what_stays_is_found() {
    let kv = Registry::start(Options::unnamed()).unwrap();
    for number in 0..KEYS {
        let key = format!("stays:{number}");
        kv.put(&key, text(&key, number)).unwrap();
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (kv, over) = (&kv, &over);
        for offset in 0..3 {
            scope.spawn(move || {
                let mut number = offset * 7;
                while !over.load(Ordering::Relaxed) {
                    number += 1;
                    let key = format!("stays:{}", number % KEYS);
                    let entry = kv.get(&key).unwrap().unwrap();
                    assert_eq!(entry.key_bytes(), key.as_bytes());
                    assert_whole(&key, entry.as_str().unwrap());
                    let key = format!("comes:{}", number % KEYS);
                    if let Some(entry) = kv.get(&key).unwrap() {
                        assert_eq!(entry.key_bytes(), key.as_bytes());
                        assert_whole(&key, entry.as_str().unwrap());
                    }
                    assert!(kv.contains(format!("stays:{}", number % KEYS)).unwrap());
                }
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        for number in (writer..KEYS).step_by(2) {
                            let [stays, comes] =
                                ["stays", "comes"].map(|kind| format!("{kind}:{number}"));
                            kv.put(&stays, text(&stays, round)).unwrap();
                            kv.put(&comes, text(&comes, round)).unwrap();
                        }
                        // Shards grow and shrink.
                        let many = (0..2000).map(|n| format!("many:{writer}:{n}"));
                        let items = many.clone().map(|key| (key, 1));
                        kv.put_many(items, PutOptions::new()).unwrap();
                        for number in (writer..KEYS).step_by(2) {
                            kv.delete(format!("comes:{number}")).unwrap();
                        }
                        for key in many {
                            kv.delete(key).unwrap();
                        }
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(kv.count("").unwrap(), KEYS);
}

/// More threads than can be marked: the others read under locks.
#[test]
fn any_number_of_threads_read() {
    let kv = Registry::start(Options::unnamed()).unwrap();
    kv.put("k", "k").unwrap();
    let start = std::sync::Barrier::new(100);
    thread::scope(|scope| {
        for number in 0..100 {
            let (kv, start) = (&kv, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..50 {
                    assert_whole("k", kv.get("k").unwrap().unwrap().as_str().unwrap());
                    if number % 10 == 0 {
                        kv.put("k", text("k", round)).unwrap();
                    }
                }
                start.wait();
            });
        }
    });
}

/// A thread's last words may be a read.
#[test]
fn a_thread_that_ends_may_read() {
    struct Last(Registry);
    impl Drop for Last {
        fn drop(&mut self) {
            assert_eq!(self.0.get("k").unwrap().unwrap().as_int(), Some(1));
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    let kv = Registry::start(Options::unnamed()).unwrap();
    kv.put("k", 1).unwrap();
    for reads_before in [false, true] {
        let kv = kv.clone();
        let ended = thread::spawn(move || {
            if reads_before {
                kv.get("k").unwrap();
            }
            LAST.with(|last| last.replace(Some(Last(kv.clone()))));
            if !reads_before {
                kv.get("k").unwrap();
            }
        });
        ended.join().unwrap();
    }
}
