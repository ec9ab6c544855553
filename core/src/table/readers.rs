//! Who is looking at records just now, and who has some without having counted them. A reader takes no lock and writes
//! nothing that other readers write: it marks itself, and what it takes with it it owes.
//!
//! Marks: what a reader may be looking at is freed only once its mark was seen to be gone. Why that is enough: marks,
//! and the pointers to records, are written and read in one order that all threads agree on. A reader whose mark was
//! not there after a pointer was replaced either is done, or marks itself later and reads the new pointer.
//!
//! Debts: a record that a reader takes with it is not counted, because all readers of that record would wait for each
//! other there. Its thread notes that it owes the count, while it is marked. Before a writer gives up the table's own
//! count of a record, and once no reader can find it any more, it looks who owes one, counts for them and takes the debt
//! away. Whoever is done with a record takes its own debt away; if there is none any more, it was counted, and counts down.

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::null_mut;
// Not those of the model checker: these are for the whole process, and which thread has which is of no matter. It may
// switch threads where `step` says.
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::record::Record;
use crate::sync::{step, thread_local};

/// So many threads can be marked; others read under the locks of the shards.
const THREADS: usize = 64;
/// So many records can a thread owe; further ones are counted. With the mark they fill a cache line.
const DEBTS: usize = 7;

/// A thread that reads: on cache lines of its own, which mostly nobody else writes.
#[repr(align(128))]
pub(crate) struct Reader {
    mark: AtomicU32,
    debts: [Debt; DEBTS],
}

/// A record whose count is owed; null: none. Set by its thread only, taken away by anybody.
struct Debt(AtomicPtr<c_void>);

static READERS: [Reader; THREADS] = [const {
    Reader { mark: AtomicU32::new(0), debts: [const { Debt(AtomicPtr::new(null_mut())) }; DEBTS] }
}; THREADS];

/// Which numbers threads have.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Under which numbers there may be marks and debts: also those of threads that are gone, while something is owed.
static IN_USE: AtomicU64 = AtomicU64::new(0);

#[cfg(not(feature = "__shuttle"))]
thread_local! {
    /// What [`NUMBER`] says, at hand. None: not asked yet, or the thread is ending.
    static OWN: std::cell::Cell<Option<&'static Reader>> = const { std::cell::Cell::new(None) };
}

thread_local! {
    static NUMBER: Number = Number::take();
}

/// The number of a thread, free again when it ends.
struct Number(Option<usize>);

impl Number {
    fn take() -> Number {
        let mut taken = TAKEN.load(Ordering::SeqCst);
        loop {
            let free = (!taken).trailing_zeros() as usize;
            if free >= THREADS {
                return Number(None);
            }
            let with = taken | 1 << free;
            match TAKEN.compare_exchange(taken, with, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {
                    IN_USE.fetch_or(1 << free, Ordering::SeqCst);
                    return Number(Some(free));
                }
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        #[cfg(not(feature = "__shuttle"))]
        OWN.set(None);
        let Some(number) = self.0 else { return };
        // Nobody else makes new ones.
        if READERS[number].debts.iter().all(Debt::is_none) {
            IN_USE.fetch_and(!(1 << number), Ordering::SeqCst);
        }
        TAKEN.fetch_and(!(1 << number), Ordering::SeqCst);
    }
}

/// The thread's own; none if too many have one, or if it is ending.
#[inline]
fn own() -> Option<&'static Reader> {
    #[cfg(not(feature = "__shuttle"))]
    if let Some(own) = OWN.get() {
        return Some(own);
    }
    find_own()
}

#[cold]
fn find_own() -> Option<&'static Reader> {
    let number = NUMBER.try_with(|number| number.0).ok()??;
    let own = READERS.get(number)?;
    #[cfg(not(feature = "__shuttle"))]
    OWN.set(Some(own));
    Some(own)
}

/// For as long as this is there, nothing that can be found is freed.
pub(crate) struct Reading {
    reader: &'static Reader,
    /// A signal's handler may read while its thread does.
    before: u32,
}

/// None: this thread cannot be marked.
#[inline]
pub(crate) fn enter() -> Option<Reading> {
    let reader = own()?;
    let before = reader.mark.load(Ordering::Relaxed);
    reader.mark.store(before.wrapping_add(1), Ordering::SeqCst);
    Some(Reading { reader, before })
}

impl Drop for Reading {
    #[inline]
    fn drop(&mut self) {
        self.reader.mark.store(self.before, Ordering::Release);
    }
}

impl Reading {
    /// A record that was found since this is there.
    #[inline]
    pub fn lend(&self, record: &Record) -> Lent {
        let first = &self.reader.debts[0];
        if self.before == 0 && first.is_none() {
            return first.owe(record);
        }
        self.lend_further(record)
    }

    /// To whom has some already.
    #[inline(never)]
    fn lend_further(&self, record: &Record) -> Lent {
        let free = self.reader.debts.iter().find(|debt| debt.is_none());
        match free {
            Some(debt) if self.before == 0 => debt.owe(record),
            _ => Lent::from(record.clone()),
        }
    }
}

impl Debt {
    #[inline]
    fn is_none(&self) -> bool {
        self.0.load(Ordering::Acquire).is_null()
    }

    /// Only its own thread, while it is marked, if nothing is owed here.
    #[inline]
    fn owe(&'static self, record: &Record) -> Lent {
        // Release: whoever sees it sees, too, that its place was empty.
        self.0.store(record.as_raw().cast_mut(), Ordering::Release);
        #[allow(unsafe_code)]
        // SAFETY: it comes from a record, and what is owed for it is taken away only by who has counted it, or when
        // this is dropped.
        let record = unsafe { Record::borrowed(record.as_raw()) };
        Lent { record, debt: Some(self) }
    }

    /// Whether it was owed, and no longer is. What was done with the record happens before.
    #[inline]
    fn take(&self, record: &Record) -> bool {
        step();
        let raw = record.as_raw().cast_mut();
        self.0.compare_exchange(raw, null_mut(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// A record in the hands of a reader: counted, or owed.
pub(crate) struct Lent {
    record: ManuallyDrop<Record>,
    /// Where it may be owed, unless it was counted since.
    debt: Option<&'static Debt>,
}

impl From<Record> for Lent {
    #[inline]
    fn from(record: Record) -> Lent {
        Lent { record: ManuallyDrop::new(record), debt: None }
    }
}

impl Clone for Lent {
    fn clone(&self) -> Lent {
        Lent::from(Record::clone(self))
    }
}

impl Deref for Lent {
    type Target = Record;
    #[inline]
    fn deref(&self) -> &Record {
        #[cfg(feature = "__shuttle")]
        self.record.assert_alive();
        &self.record
    }
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        #[cfg(feature = "__shuttle")]
        self.record.assert_alive();
        if self.debt.is_some_and(|debt| debt.take(&self.record)) {
            return;
        }
        #[allow(unsafe_code)]
        // SAFETY: it was counted for this one, at first or in place of its debt, and is not used any more.
        unsafe {
            ManuallyDrop::drop(&mut self.record);
        }
    }
}

/// The numbers in a set.
fn numbers(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let number = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (number < THREADS).then_some(number)
    })
}

/// All that may be reading now, as a set for [`still`].
pub(crate) fn now() -> u64 {
    step();
    still(TAKEN.load(Ordering::SeqCst))
}

/// Those of a set whose marks are there.
pub(crate) fn still(set: u64) -> u64 {
    let marked = |number: &usize| {
        step();
        READERS[*number].mark.load(Ordering::SeqCst) != 0
    };
    numbers(set).filter(marked).fold(0, |found, number| found | 1 << number)
}

/// Counts what is owed of records whose own count the table is about to give up, and that no reader can find any more.
pub(crate) fn pay<'a>(records: impl Iterator<Item = &'a Record>) {
    let debts = || numbers(IN_USE.load(Ordering::SeqCst)).flat_map(|number| &READERS[number].debts);
    let owed = |debt: &Debt| debt.0.load(Ordering::SeqCst).cast_const();
    let mut some: Vec<*const c_void> = debts().map(owed).filter(|raw| !raw.is_null()).collect();
    if some.is_empty() {
        return;
    }
    some.sort_unstable();
    for record in records.filter(|record| some.binary_search(&record.as_raw()).is_ok()) {
        for debt in debts().filter(|debt| owed(debt) == record.as_raw()) {
            let counted = record.clone();
            if debt.take(record) {
                std::mem::forget(counted);
            }
        }
    }
}

/// In a forked child, whose other threads are gone, with what they were about to read. What they owe stays: others may
/// have been given it.
#[cfg(all(unix, not(feature = "__shuttle")))]
pub(crate) fn forget_other_threads() {
    let own = OWN.get();
    let mut taken = 0;
    for (number, reader) in READERS.iter().enumerate() {
        if own.is_some_and(|own| std::ptr::eq(own, reader)) {
            taken = 1 << number;
        } else {
            reader.mark.store(0, Ordering::SeqCst);
        }
    }
    TAKEN.store(taken, Ordering::SeqCst);
}

#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;
