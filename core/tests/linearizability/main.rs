//! Histories of real threads: each key must behave as if its calls came one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

mod checker;
mod key;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use checker::{Call, is_linearizable};
use key::{Content, Done, Gave, Key, Op, doubled};
use minikv::{
    Entry, Error, ErrorKind, LockOptions, Options, PutOptions, Registry, Result, Update, Version,
};

const THREADS: usize = 4;
const KEYS: usize = 2;
const ROUNDS: usize = 1500;
const STEPS: usize = 9;

/// A generator of its own: a round that failed can be made again.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// A thread's calls, in the order of their making, each with its key.
struct Recorder<'a> {
    kv: &'a Registry,
    clock: &'a AtomicU64,
    thread: usize,
    calls: Vec<(usize, Call<Done>)>,
}

fn content(entry: &Entry) -> Content {
    (entry.as_int().unwrap(), entry.version())
}

fn gave(result: Result<Option<Entry>>) -> Gave {
    match result {
        Ok(entry) => Gave::Content(entry.as_ref().map(content)),
        Err(error) => match error.kind() {
            ErrorKind::Conflict => Gave::Conflict(error.present().unwrap().map(content)),
            ErrorKind::Locked => Gave::Locked,
            ErrorKind::NotFound => Gave::NotFound,
            _ => panic!("{error}"),
        },
    }
}

impl Recorder<'_> {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn call(&mut self, key: usize, op: Op, make: impl FnOnce() -> Result<Option<Entry>>) -> Gave {
        let began = self.tick();
        let gave = gave(make());
        let returned = self.tick();
        let done = Done { thread: self.thread, op, gave: gave.clone() };
        self.calls.push((key, Call { began, returned, op: done }));
        gave
    }

    fn step(&mut self, random: &mut Random, key: usize, name: &str, unique: i64, known: Version) {
        let kv = self.kv;
        let with = |options| kv.put_with(name, unique, options).map(Some);
        match random.below(10) {
            0 | 1 => drop(self.call(key, Op::Get, || kv.get(name))),
            2 => drop(self.call(key, Op::Put(unique), || kv.put(name, unique).map(Some))),
            3 => drop(self.call(key, Op::Incr(unique), || kv.incr(name, unique).map(Some))),
            4 => drop(self.call(key, Op::Delete, || kv.delete(name))),
            5 => {
                let options = PutOptions::new().if_absent(true);
                self.call(key, Op::PutIfAbsent(unique), || with(options));
            }
            6 => {
                let options = PutOptions::new().if_version(known);
                self.call(key, Op::PutIfVersion(unique, known), || with(options));
            }
            7 => {
                let change = |entry: Option<&Entry>| -> Result<Update> {
                    Update::put(entry.map_or(1, |entry| doubled(entry.as_int().unwrap())))
                };
                self.call(key, Op::Update, || kv.update(name, change));
            }
            waits => self.guarded(key, name, unique, waits == 9),
        }
    }

    /// Reads and writes under the lock; between the two nobody else writes.
    fn guarded(&mut self, key: usize, name: &str, unique: i64, waits: bool) {
        let wait = if waits { Duration::MAX } else { Duration::ZERO };
        let mut guard = None;
        self.call(key, Op::Lock, || {
            let held = self.kv.locked(name, LockOptions::new().wait(wait))?;
            let entry = held.get()?;
            guard = Some(held);
            Ok(entry)
        });
        let Some(guard) = guard else { return };
        let Gave::Content(Some((seen, _))) = self.call(key, Op::Get, || guard.get()) else {
            panic!("a locked key is present")
        };
        let value = seen.wrapping_add(unique);
        self.call(key, Op::HeldPut(value), || guard.put(value).map(Some));
        self.call(key, Op::Unlock, || guard.release().map(|()| None));
    }

    /// The newest version that this thread has seen of a key, so that conditions sometimes hold.
    fn known(&self, key: usize) -> Option<Version> {
        let of_key = self.calls.iter().rev().filter(|(of, _)| *of == key);
        of_key
            .filter_map(|(_, call)| match call.op.gave {
                Gave::Content(content) | Gave::Conflict(content) => content,
                _ => None,
            })
            .map(|(_, version)| version)
            .next()
    }
}

fn run_thread(
    kv: &Registry,
    clock: &AtomicU64,
    round: usize,
    thread: usize,
) -> Vec<(usize, Call<Done>)> {
    let mut random = Random((round * THREADS + thread) as u64);
    random.below(1);
    let mut recorder = Recorder { kv, clock, thread, calls: Vec::new() };
    let never: Version = format!("{:016x}-{:032x}", 1, 1).parse().unwrap();
    for step in 0..STEPS {
        let key = random.below(KEYS);
        let unique = (1 + thread * STEPS + step) as i64 * 1000;
        let known = recorder.known(key).unwrap_or(never);
        recorder.step(&mut random, key, &format!("{round}:{key}"), unique, known);
    }
    recorder.calls
}

#[test]
fn calls_of_racing_threads_have_an_order() {
    let kv = Registry::start(Options::unnamed()).unwrap();
    let clock = AtomicU64::new(0);
    let mut overlapping = 0;
    for round in 0..ROUNDS {
        let together = Barrier::new(THREADS);
        let calls: Vec<(usize, Call<Done>)> = thread::scope(|scope| {
            let run = |thread| {
                let (kv, clock, together) = (&kv, &clock, &together);
                scope.spawn(move || {
                    together.wait();
                    run_thread(kv, clock, round, thread)
                })
            };
            let threads: Vec<_> = (0..THREADS).map(run).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        for key in 0..KEYS {
            let of_key = calls.iter().filter(|(of, _)| *of == key);
            let mut history: Vec<Call<Done>> = of_key.map(|(_, call)| call.clone()).collect();
            history.sort_by_key(|call| call.began);
            let in_turn = history.is_sorted_by(|a, b| a.returned < b.began);
            overlapping += usize::from(!in_turn);
            assert!(is_linearizable(Key::default(), &history), "round {round}: {history:#?}");
        }
        kv.clear(format!("{round}:")).unwrap();
    }
    println!("{overlapping} of {} histories had calls that raced", ROUNDS * KEYS);
}

/// A call to try the checker with: thread, began, returned, and so on.
type Written = (usize, u64, u64, Op, Gave);

fn accepts(calls: &[Written]) -> bool {
    let calls: Vec<Call<Done>> = calls
        .iter()
        .map(|(thread, began, returned, op, gave)| Call {
            began: *began,
            returned: *returned,
            op: Done { thread: *thread, op: op.clone(), gave: gave.clone() },
        })
        .collect();
    is_linearizable(Key::default(), &calls)
}

fn version(time: u64) -> Version {
    format!("{time:016x}-{:032x}", 1).parse().unwrap()
}

fn some(value: i64, time: u64) -> Gave {
    Gave::Content(Some((value, version(time))))
}

const NONE: Gave = Gave::Content(None);

#[test]
fn the_checker_accepts_what_has_an_order() {
    assert!(accepts(&[]));
    assert!(accepts(&[(0, 0, 1, Op::Put(1), some(1, 1)), (1, 2, 3, Op::Get, some(1, 1))]));
    // A read that races a write sees either side of it.
    for seen in [NONE, some(1, 1)] {
        assert!(accepts(&[(0, 0, 3, Op::Put(1), some(1, 1)), (1, 1, 2, Op::Get, seen)]));
    }
    // The order is not that of the beginnings.
    assert!(accepts(&[
        (0, 0, 5, Op::Incr(1), some(3, 2)),
        (1, 1, 4, Op::Incr(2), some(2, 1)),
        (2, 6, 7, Op::Get, some(3, 2)),
    ]));
    assert!(accepts(&[
        (0, 0, 1, Op::Put(1), some(1, 1)),
        (0, 2, 3, Op::Lock, some(1, 1)),
        (1, 4, 5, Op::Put(9), Gave::Locked),
        (0, 6, 7, Op::HeldPut(2), some(2, 2)),
        (1, 8, 11, Op::Delete, some(2, 2)),
        (0, 9, 10, Op::Unlock, NONE),
        (1, 12, 13, Op::PutIfAbsent(5), some(5, 3)),
        (1, 14, 15, Op::PutIfVersion(6, version(3)), some(6, 4)),
        (1, 16, 17, Op::PutIfVersion(7, version(3)), Gave::Conflict(Some((6, version(4))))),
        (1, 18, 19, Op::Update, some(12, 5)),
    ]));
}

#[test]
fn the_checker_rejects_what_has_none() {
    let put = (0, 0, 1, Op::Put(1), some(1, 1));
    let held = (0, 2, 3, Op::Lock, some(1, 1));
    let wrong: &[(&str, Vec<Written>)] = &[
        ("a value from nowhere", vec![(0, 0, 1, Op::Get, some(1, 1))]),
        ("a read that misses a finished write", vec![put.clone(), (1, 2, 3, Op::Get, NONE)]),
        (
            "a read of what was overwritten before it",
            vec![put.clone(), (0, 2, 3, Op::Put(2), some(2, 2)), (1, 4, 5, Op::Get, some(1, 1))],
        ),
        (
            "reads that go back",
            vec![
                (0, 0, 9, Op::Put(1), some(1, 1)),
                (1, 1, 2, Op::Get, some(1, 1)),
                (1, 3, 4, Op::Get, NONE),
            ],
        ),
        (
            "a lost update",
            vec![(0, 0, 3, Op::Incr(1), some(1, 1)), (1, 1, 2, Op::Incr(1), some(1, 2))],
        ),
        (
            "two who both found nothing",
            vec![
                (0, 0, 3, Op::PutIfAbsent(1), some(1, 1)),
                (1, 1, 2, Op::PutIfAbsent(2), some(2, 2)),
            ],
        ),
        (
            "two writes on one version",
            vec![
                put.clone(),
                (0, 2, 5, Op::PutIfVersion(2, version(1)), some(2, 2)),
                (1, 3, 4, Op::PutIfVersion(3, version(1)), some(3, 3)),
            ],
        ),
        (
            "a conflict with nothing",
            vec![(0, 0, 1, Op::PutIfAbsent(1), Gave::Conflict(Some((7, version(1)))))],
        ),
        (
            "one entry deleted twice",
            vec![put.clone(), (0, 2, 5, Op::Delete, some(1, 1)), (1, 3, 4, Op::Delete, some(1, 1))],
        ),
        ("a write past a lock", vec![put.clone(), held.clone(), (1, 4, 5, Op::Put(2), some(2, 2))]),
        ("a lock that nobody holds", vec![put.clone(), (1, 2, 3, Op::Put(2), Gave::Locked)]),
        ("two holders", vec![put.clone(), held.clone(), (1, 4, 5, Op::Lock, some(1, 1))]),
        (
            "a version that goes back",
            vec![(0, 0, 1, Op::Put(1), some(1, 5)), (0, 2, 3, Op::Put(2), some(2, 4))],
        ),
        ("an update of another value", vec![put, (1, 2, 3, Op::Update, some(4, 2))]),
    ];
    for (what, calls) in wrong {
        assert!(!accepts(calls), "{what}");
    }
}

#[test]
fn the_errors_that_calls_give_are_those_of_the_model() {
    let kv = Registry::start(Options::unnamed()).unwrap();
    assert_eq!(gave(kv.locked("k", LockOptions::new()).map(|_| None)), Gave::NotFound);
    let entry = kv.put("k", 1).unwrap();
    let again: Result<Entry, Error> = kv.put_with("k", 2, PutOptions::new().if_absent(true));
    assert_eq!(gave(again.map(Some)), Gave::Conflict(Some(content(&entry))));
    let _held = kv.locked("k", LockOptions::new()).unwrap();
    assert_eq!(gave(kv.delete("k")), Gave::Locked);
}
