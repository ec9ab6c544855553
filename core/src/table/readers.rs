//! Who is looking at records just now. A reader takes no lock: it marks itself, and what it may be looking at is freed
//! only once its mark was seen to be gone.
//!
//! Why that is enough: marks, and the pointers to records, are written and read in one order that all threads agree
//! on. A reader whose mark was not there after a pointer was replaced either is done, or marks itself later and
//! reads the new pointer.

use std::sync::atomic as plain;

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::thread_local;

/// So many threads can be marked; others read under the locks of the shards.
const THREADS: usize = 64;

/// Which numbers threads of this process have. Not an atomic of the model checker: which thread has which does not matter.
static TAKEN: plain::AtomicU64 = plain::AtomicU64::new(0);

thread_local! {
    static NUMBER: Number = Number::take();
}

/// The number of a thread, free again when it ends.
struct Number(Option<usize>);

impl Number {
    fn take() -> Number {
        let mut taken = TAKEN.load(plain::Ordering::SeqCst);
        loop {
            let free = (!taken).trailing_zeros() as usize;
            if free >= THREADS {
                return Number(None);
            }
            let with = taken | 1 << free;
            let order = plain::Ordering::SeqCst;
            match TAKEN.compare_exchange(taken, with, order, order) {
                Ok(_) => return Number(Some(free)),
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        if let Some(number) = self.0 {
            TAKEN.fetch_and(!(1 << number), plain::Ordering::SeqCst);
        }
    }
}

/// The marks of one table.
pub(crate) struct Readers(Box<[Mark; THREADS]>);

/// On cache lines of its own: only its thread writes it.
#[derive(Default)]
#[repr(align(128))]
struct Mark(AtomicU32);

/// For as long as this is there, nothing that is reachable is freed.
pub(crate) struct Reading<'a>(&'a Mark, u32);

impl Default for Readers {
    fn default() -> Readers {
        Readers(Box::new(std::array::from_fn(|_| Mark::default())))
    }
}

impl Readers {
    /// None: this thread has no mark.
    #[inline]
    pub fn enter(&self) -> Option<Reading<'_>> {
        let number = NUMBER.try_with(|number| number.0).ok()??;
        let mark = self.0.get(number)?;
        // Counted, because a signal's handler may read while its thread does.
        let before = mark.0.load(Ordering::Relaxed);
        mark.0.store(before.wrapping_add(1), Ordering::SeqCst);
        Some(Reading(mark, before))
    }

    /// All that may be reading now, as a set for [`still`](Readers::still).
    pub fn now(&self) -> u64 {
        self.still(TAKEN.load(plain::Ordering::SeqCst))
    }

    /// Those of a set whose marks are there.
    pub fn still(&self, mut set: u64) -> u64 {
        let mut found = 0;
        while set != 0 {
            let number = set.trailing_zeros() as usize;
            set &= set - 1;
            if self.0[number].0.load(Ordering::SeqCst) != 0 {
                found |= 1 << number;
            }
        }
        found
    }
}

impl Drop for Reading<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.0.store(self.1, Ordering::Release);
    }
}
