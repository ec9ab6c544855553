//! Expiry at the size that it is promised for: everything goes, once, at its time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use minikv::{
    ClockKind, Event, EventKind, MANUAL_CLOCK_START_MS, Options, PutOptions, Registry, Watch,
    WatchOptions,
};

fn name(number: usize) -> String {
    format!("key-{number}")
}

fn number(event: &Event) -> usize {
    event.key().unwrap().as_str().unwrap()[4..].parse().unwrap()
}

fn in_ms(ms: u64) -> PutOptions {
    PutOptions::new().ttl(Duration::from_millis(ms))
}

fn watch_everything(kv: &Registry) -> Watch {
    kv.watch_with(WatchOptions::new().capacity(1 << 21)).unwrap()
}

/// How far an entry has come: each step once, and none before the one before it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Absent,
    Put,
    Touched,
    Expired,
}

#[test]
fn a_million_entries_go_one_by_one_at_their_time() {
    const ENTRIES: usize = 1_000_000;
    const SPREAD_MS: u64 = 10_000;
    const TOUCHED_EVERY: usize = 10;
    // Neighbouring keys end far from each other, a hundred at each millisecond.
    let ttl = |number: usize| (number as u64 * 7919) % SPREAD_MS + 1;
    let is_touched = |number: usize| number.is_multiple_of(TOUCHED_EVERY);
    // A touched entry ends at the other end of the time.
    let end = |number: usize| match is_touched(number) {
        true => SPREAD_MS + 1 - ttl(number),
        false => ttl(number),
    };

    let kv = Registry::start(Options::unnamed().clock(ClockKind::Manual)).unwrap();
    let empty = kv.stats().unwrap();
    let watch = watch_everything(&kv);
    let mut steps = vec![Step::Absent; ENTRIES];
    let mut expired = 0;
    let mut follow = |after: u64, until: u64| {
        while let Some(event) = watch.try_next() {
            let number = number(&event);
            let (before, now) = match event.kind() {
                EventKind::Put => (Step::Absent, Step::Put),
                EventKind::Touch => (Step::Put, Step::Touched),
                EventKind::Expire if is_touched(number) => (Step::Touched, Step::Expired),
                EventKind::Expire => (Step::Put, Step::Expired),
                other => panic!("{other}"),
            };
            assert_eq!(steps[number], before, "{number}: {:?}", event.kind());
            steps[number] = now;
            if now == Step::Expired {
                expired += 1;
                let end = end(number);
                assert!(after < end && end <= until, "{number} ends at {end}, not by {until}");
                let exp = event.entry().unwrap().exp().unwrap();
                assert_eq!(exp, (MANUAL_CLOCK_START_MS + end) * 1_000_000);
            }
        }
        expired
    };

    for number in 0..ENTRIES {
        kv.put_with(name(number), number as i64, in_ms(ttl(number))).unwrap();
        if is_touched(number) {
            kv.touch(name(number), Duration::from_millis(end(number))).unwrap();
        }
    }
    assert_eq!(follow(0, 0), 0);
    let full = kv.stats().unwrap();
    assert_eq!((full.entries, full.expiring), (ENTRIES as u64, full.entries));

    let pace = 250;
    let a_nanosecond = Duration::from_nanos(1);
    for now in (pace..=SPREAD_MS).step_by(pace as usize) {
        // One that ends at this very moment is there until it.
        let last = (0..ENTRIES).find(|number| end(*number) == now).unwrap();
        kv.advance(Duration::from_millis(pace) - a_nanosecond).unwrap();
        assert!(kv.contains(name(last)).unwrap());
        kv.advance(a_nanosecond).unwrap();
        assert!(kv.get(name(last)).unwrap().is_none());
        let gone = follow(now - pace, now);
        assert_eq!(gone, now as usize * (ENTRIES / SPREAD_MS as usize));
        assert_eq!(kv.count("").unwrap(), ENTRIES - gone);
    }
    assert!(steps.iter().all(|step| *step == Step::Expired));
    let left = kv.stats().unwrap();
    assert_eq!((left.entries, left.expiring, left.lagged), (0, 0, 0));
    assert_eq!(left.expired, ENTRIES as u64);
    let (peak, rest) = (full.bytes - empty.bytes, left.bytes.saturating_sub(empty.bytes));
    assert!(rest < peak / 1000, "{rest} of {peak} bytes are still there");
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn in_real_time_every_expiry_is_told_once_and_not_before_its_time() {
    const ENTRIES: usize = 200_000;
    const SPREAD_MS: u64 = 2000;
    let kv = Registry::start(Options::unnamed()).unwrap();
    let watch = watch_everything(&kv);
    let done = Arc::new(AtomicBool::new(false));

    let readers: Vec<_> = (0..2)
        .map(|reader| {
            let (kv, done) = (kv.clone(), done.clone());
            thread::spawn(move || {
                let mut at = reader;
                while !done.load(Ordering::SeqCst) {
                    at = (at + 7919) % ENTRIES;
                    let before = wall();
                    if let Some(entry) = kv.get(name(at)).unwrap() {
                        assert!(entry.exp().unwrap() > before, "read after its end");
                    }
                    if at % 1000 == reader {
                        let before = wall();
                        let page = kv.entries(Default::default()).unwrap();
                        assert!(page.items.iter().all(|entry| entry.exp().unwrap() > before));
                    }
                }
            })
        })
        .collect();

    let writer = kv.clone();
    let writer = thread::spawn(move || {
        for number in 0..ENTRIES {
            let ttl = (number as u64 * 7919) % SPREAD_MS + 1;
            writer.put_with(name(number), number as i64, in_ms(ttl)).unwrap();
        }
    });

    let mut steps = vec![Step::Absent; ENTRIES];
    let mut lateness = Vec::with_capacity(ENTRIES);
    while lateness.len() < ENTRIES {
        let event = watch.wait_next().unwrap();
        let received = wall();
        let number = number(&event);
        match event.kind() {
            EventKind::Put => {
                assert_eq!(steps[number], Step::Absent);
                steps[number] = Step::Put;
            }
            EventKind::Expire => {
                assert_eq!(steps[number], Step::Put);
                steps[number] = Step::Expired;
                let exp = event.entry().unwrap().exp().unwrap();
                assert!(exp <= received, "told before its time");
                lateness.push(received - exp);
            }
            other => panic!("{other}"),
        }
    }
    done.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(watch.try_next(), None);
    let stats = kv.stats().unwrap();
    assert_eq!((stats.entries, stats.expiring, stats.expired), (0, 0, ENTRIES as u64));

    lateness.sort_unstable();
    let percentile = |percent: usize| lateness[(ENTRIES - 1) * percent / 100] as f64 / 1e6;
    let (p50, p99, max) = (percentile(50), percentile(99), percentile(100));
    println!("lateness of an expire event: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms");
}
