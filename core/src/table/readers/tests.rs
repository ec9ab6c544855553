//! What is lent, counted and paid.

// The threads of these tests are nobody's.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;

use super::*;
use crate::lock::NEVER;
use crate::member::Member;
use crate::record::{Content, NewValue};

fn record(key: &str) -> Record {
    Record::new(NewValue {
        key: key.as_bytes(),
        content: Content { bytes: &[0], large: None },
        time: 1,
        exp: NEVER,
        writer: Arc::new(Member::alone("n", 1)),
        lock: None,
        in_cluster: false,
        after: 0,
    })
}

fn lend(record: &Record) -> Lent {
    enter().unwrap().lend(record)
}

/// Threads of other tests may leave debts under numbers that these want to be empty.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// In a thread of its own, which owes nothing yet.
fn in_a_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(body).join().unwrap()
}

#[test]
fn what_is_lent_is_counted_only_beyond_what_a_thread_may_owe() {
    let _alone = ALONE.lock();
    in_a_thread(|| {
        let record = record("k");
        let mut lent: Vec<Lent> = (0..DEBTS).map(|_| lend(&record)).collect();
        assert!(record.is_alone());
        lent.push(lend(&record));
        assert!(!record.is_alone(), "one too many");
        // A place that is free again is used again.
        lent.remove(3);
        lent.pop();
        lent.push(lend(&record));
        assert!(record.is_alone());
        assert_eq!(lent.iter().map(|lent| lent.key()).collect::<Vec<_>>(), [b"k"; DEBTS]);
    });
}

#[test]
fn what_is_owed_is_paid_once() {
    let _alone = ALONE.lock();
    let (record, lent) = in_a_thread(|| {
        let record = record("k");
        let other = self::record("other");
        let lent = [lend(&record), lend(&other), lend(&record)];
        let copy = lent[0].clone();
        drop(copy);
        pay([&record].into_iter());
        assert!(!record.is_alone() && other.is_alone());
        pay([&record].into_iter());
        drop(other.clone());
        let [first, of_other, second] = lent;
        drop(of_other);
        // Where one was paid there is room for the next, which is not mistaken for it.
        let third = lend(&record);
        drop(first);
        (record, [second, third])
    });
    // The thread is gone; what it owed is not.
    assert!(!record.is_alone());
    drop(lent);
    assert!(record.is_alone());
}

#[test]
fn numbers_are_used_again_with_what_is_still_owed() {
    let _alone = ALONE.lock();
    for _ in 0..4 * THREADS {
        let record = record("k");
        let (lent, of) = (record.clone(), record);
        // Dropped by another thread than the one that got it, sometimes after it was paid.
        let lent = in_a_thread(move || enter().map(|reading| reading.lend(&lent)));
        if lent.as_ref().is_some_and(|lent| lent.time() == 1) {
            pay([&of].into_iter());
        }
        drop(lent);
        assert!(of.is_alone());
    }
}

#[test]
fn a_reader_is_seen_until_it_is_done() {
    let _alone = ALONE.lock();
    in_a_thread(|| {
        let reading = enter().unwrap();
        let own =
            numbers(now()).find(|number| std::ptr::eq(&raw const READERS[*number], reading.reader));
        let own = 1 << own.unwrap();
        let nested = enter().unwrap();
        // Its handler's debts would take the place of those that it is about to make.
        let record = record("k");
        let lent = nested.lend(&record);
        assert!(!record.is_alone());
        drop((lent, nested));
        assert_eq!(still(own), own);
        drop(reading);
        assert_eq!(still(own), 0);
    });
}
