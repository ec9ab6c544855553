//! The records of a shard by the hashes of their keys. One thread changes it at a time, under the shard's lock;
//! any number of others look keys up meanwhile, without a lock.
//!
//! Records lie in groups of seven, a cache line each. The group's first word has a byte of the hash of each of its
//! records (0: no record) and counts the records that found it full and lie in a later group. So looking up a key
//! reads one line of the index, mostly, and one record.
//!
//! What lets readers in while somebody writes: a record never moves within the groups. It is put in, taken out, or another
//! takes its place, with one store: a byte without a record means nothing. More groups are another array, made aside and
//! put in place with one store.

mod groups;

use std::ffi::c_void;
use std::hash::BuildHasher;
use std::ptr::null_mut;
use std::sync::Arc;
// Not those of the model checker, which are no bare pointers; it may switch threads where `step` says.
use std::sync::atomic::AtomicPtr;

use self::groups::{
    COUNT_SHIFT, GROUP, Group, Groups, LINE, MAX_COUNT, fetch, fetch_record, look, place, pointers,
    start,
};
use super::{RandomState, readers};
use crate::record::Record;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::step;

/// How many groups of records are on their way from memory while one is looked at.
const FETCHED_AHEAD: usize = 3;

/// What was taken out is kept until no reader looks at it; that is tried whenever there is so much of it.
/// Few, so that the allocator has what is freed at hand for what is put next.
const MAX_KEPT: usize = if cfg!(feature = "__shuttle") { 1 } else { 4 };
const MAX_KEPT_BYTES: usize = 16 * 1024;
/// How often in a row, if it is much.
const MAX_TRIES: usize = if cfg!(feature = "__shuttle") { 1 } else { 200 };

/// What readers see of an index.
pub(crate) struct Published {
    /// As [`Groups`].
    groups: AtomicPtr<Group>,
    /// Several keys change at one moment: look them up under the lock.
    busy: AtomicBool,
    /// Addresses of what was given up, for the model checker to see that nobody looks there.
    #[cfg(feature = "__shuttle")]
    unused: std::sync::Mutex<std::collections::HashSet<usize>>,
}

/// Something that readers may still be looking at.
#[cfg_attr(not(feature = "__shuttle"), allow(dead_code, reason = "groups are kept to be dropped"))]
pub(crate) enum Retired {
    Record(Record),
    Groups(OldGroups),
}

/// A bare pointer as long as readers may be looking there: a box would be nobody else's.
pub(crate) struct OldGroups(AtomicPtr<Group>);

impl Drop for OldGroups {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: it was published, and no reader looks there any more.
        unsafe { Groups(*self.0.get_mut()).free() };
    }
}

impl Retired {
    fn record(&self) -> Option<&Record> {
        match self {
            Retired::Record(record) => Some(record),
            Retired::Groups(_) => None,
        }
    }

    #[cfg(feature = "__shuttle")]
    fn address(&self) -> *const c_void {
        match self {
            Retired::Record(record) => record.as_raw(),
            Retired::Groups(groups) => groups.0.load(Ordering::Relaxed).cast(),
        }
    }
}

/// The owner's side.
#[derive(Default)]
pub(crate) struct Index {
    published: Arc<Published>,
    len: usize,
    /// Retired since `waiting` was.
    kept: Vec<Retired>,
    kept_bytes: usize,
    /// Retired before, and who may be looking at it.
    waiting: Vec<Retired>,
    waiting_bytes: usize,
    readers: u64,
}

impl Default for Published {
    fn default() -> Published {
        Published {
            groups: AtomicPtr::new(null_mut()),
            busy: AtomicBool::new(false),
            #[cfg(feature = "__shuttle")]
            unused: std::sync::Mutex::default(),
        }
    }
}

#[allow(unsafe_code)]
impl Published {
    #[inline]
    fn groups(&self, order: Ordering) -> Groups {
        Groups(self.groups.load(order))
    }

    /// Several keys are about to change at one moment, or have changed. Only under the shard's lock.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }

    /// Whether the shard's lock is to be taken. Ask while [reading](readers::enter).
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// What `take` gives for the record of a key.
    ///
    /// # Safety
    /// The caller is [reading](readers::enter) from before the call until after it.
    #[inline(always)]
    pub unsafe fn find<T>(&self, hash: u64, key: &[u8], take: impl Fn(&Record) -> T) -> Option<T> {
        step();
        let groups = self.groups(Ordering::SeqCst);
        self.assert_used(groups.0.cast());
        // SAFETY: what was published is freed only after it was replaced, and after every reader that was marked then
        // was seen without its mark; this one is marked.
        look(unsafe { groups.get() }, hash, |group, place| {
            step();
            let record = group.records[place].load(Ordering::SeqCst);
            step();
            self.assert_used(std::ptr::from_ref(group).cast());
            self.assert_used(record);
            // Taken out since its byte was read.
            if record.is_null() {
                return None;
            }
            // SAFETY: it came from `into_raw`; as for the groups, it is not freed while this reader is marked. The
            // count is the table's, hence not dropped here.
            let record = unsafe { Record::borrowed(record) };
            if record.key() != key {
                return None;
            }
            let taken = take(&record);
            step();
            self.assert_used(record.as_raw());
            Some(taken)
        })
    }

    /// Asks for the memory in which a key's record would be found, without waiting for it.
    #[inline]
    pub fn fetch_group(&self, hash: u64) {
        let (first, count) = self.groups(Ordering::Relaxed).parts();
        fetch(first.wrapping_add(start(hash, count).0));
    }

    /// Asks for the record that a key may have, likewise.
    ///
    /// # Safety
    /// As for [`find`](Published::find).
    #[inline]
    pub unsafe fn fetch_record(&self, hash: u64) {
        // SAFETY: as in `find`.
        fetch_record(unsafe { self.groups(Ordering::SeqCst).get() }, hash);
    }

    #[cfg(not(feature = "__shuttle"))]
    #[inline]
    fn assert_used(&self, _at: *const c_void) {}

    #[cfg(feature = "__shuttle")]
    fn assert_used(&self, at: *const c_void) {
        let unused = self.unused.lock().unwrap_or_else(|error| error.into_inner());
        assert!(!unused.contains(&at.addr()), "a reader looks at what was given up");
    }

    /// What has this address is in use, or no more.
    #[cfg(feature = "__shuttle")]
    fn note(&self, at: *const c_void, used: bool) {
        let mut unused = self.unused.lock().unwrap_or_else(|error| error.into_inner());
        if used {
            unused.remove(&at.addr());
        } else {
            unused.insert(at.addr());
        }
    }
}

/// The last owner and the last reader are gone.
impl Drop for Published {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        let groups = self.groups(Ordering::Relaxed);
        // SAFETY: what is published is freed by nobody else; the records came from `into_raw`, and their counts are the
        // table's.
        let records: Vec<Record> = unsafe {
            let records = pointers(groups.get()).map(|record| Record::from_raw(record)).collect();
            groups.free();
            records
        };
        readers::pay(records.iter());
    }
}

/// Nobody reads any more; what was read before may still be owed.
impl Drop for Index {
    fn drop(&mut self) {
        readers::pay(self.kept.iter().chain(&self.waiting).filter_map(Retired::record));
    }
}

#[allow(unsafe_code)]
impl Index {
    /// For those who read without the lock.
    pub fn published(&self) -> Arc<Published> {
        self.published.clone()
    }

    fn groups(&self) -> &[Group] {
        // SAFETY: only this owner replaces what is published, with `&mut self`.
        unsafe { self.published.groups(Ordering::Relaxed).get() }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        size_of_val(self.groups())
    }

    fn record<'a>(&'a self, group: &'a Group, place: usize) -> Option<&'a Record> {
        let record = &group.records[place];
        if record.load(Ordering::Relaxed).is_null() {
            return None;
        }
        const { assert!(size_of::<Record>() == size_of::<AtomicPtr<c_void>>()) };
        // SAFETY: a record is a pointer, transparently; this one came from `into_raw`. It is changed with `&mut self`
        // only, so it stays for as long as `self` is borrowed.
        Some(unsafe { &*std::ptr::from_ref(record).cast::<Record>() })
    }

    #[inline]
    pub fn find(&self, hash: u64, wanted: impl Fn(&Record) -> bool) -> Option<&Record> {
        self.with_byte(hash, |record| wanted(record).then_some(record))
    }

    /// Shows records that may have this hash, until `visit` gives something.
    #[inline]
    pub fn with_byte<'a, T>(
        &'a self,
        hash: u64,
        mut visit: impl FnMut(&'a Record) -> Option<T>,
    ) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        look(self.groups(), hash, |group, place| visit(self.record(group, place)?))
    }

    /// As [`Published::fetch_group`].
    pub fn fetch_group(&self, hash: u64) {
        self.published.fetch_group(hash);
    }

    /// As [`Published::fetch_record`].
    pub fn fetch_record(&self, hash: u64) {
        fetch_record(self.groups(), hash);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        let places = move |group| (0..GROUP).filter_map(move |place| self.record(group, place));
        self.groups().iter().flat_map(places)
    }

    /// A record whose key is not there yet.
    pub fn insert(&mut self, hash: u64, record: Record, hasher: &RandomState) {
        let room = self.groups().len() * GROUP;
        if self.len >= room - room / 8 {
            self.rebuild((2 * self.groups().len()).max(1), hasher);
        }
        let record = record.into_raw();
        #[cfg(feature = "__shuttle")]
        self.published.note(record, true);
        place(self.groups(), hash, record, Ordering::SeqCst);
        self.len += 1;
    }

    /// Puts a record where another is, which takes so many bytes.
    #[inline]
    pub fn replace(&mut self, hash: u64, old: &Record, new: Record, bytes: usize) {
        let new = new.into_raw();
        #[cfg(feature = "__shuttle")]
        self.published.note(new, true);
        let replaced = self.position(hash, old).map(|(group, place)| {
            step();
            self.groups()[group].records[place].swap(new, Ordering::SeqCst)
        });
        debug_assert!(replaced.is_some(), "the record is there");
        // SAFETY: both came from `into_raw`; `new` is nobody's if it was not put in.
        let unused = unsafe { Record::from_raw(replaced.unwrap_or(new)) };
        self.keep(unused, bytes);
    }

    /// Takes a record out, which takes so many bytes.
    pub fn remove(&mut self, hash: u64, old: &Record, bytes: usize) {
        let Some((found, place)) = self.position(hash, old) else { return };
        let groups = self.groups();
        let group = &groups[found];
        let meta = group.meta.load(Ordering::Relaxed);
        group.meta.store(meta & !(0xff << (8 * place)), Ordering::Release);
        step();
        let record = group.records[place].swap(null_mut(), Ordering::SeqCst);
        let (mut at, _) = start(hash, groups.len());
        while at != found {
            let passed = &groups[at].meta;
            let meta = passed.load(Ordering::Relaxed);
            if meta >> COUNT_SHIFT < MAX_COUNT {
                passed.store(meta - (1 << COUNT_SHIFT), Ordering::Release);
            }
            at = (at + 1) & (groups.len() - 1);
        }
        self.len -= 1;
        // SAFETY: it came from `into_raw`, and is not reachable any more.
        let record = unsafe { Record::from_raw(record) };
        self.keep(record, bytes);
    }

    fn position(&self, hash: u64, wanted: &Record) -> Option<(usize, usize)> {
        let groups = self.groups();
        let found = look(groups, hash, |group, place| {
            let is_it = self.record(group, place)?.is_same(wanted);
            is_it.then_some((std::ptr::from_ref(group), place))
        });
        let (group, place) = found?;
        let at = (group.addr() - groups.as_ptr().addr()) / size_of::<Group>();
        Some((at, place))
    }

    /// Gives memory back when it is mostly empty, in halves, so that the cost is spread.
    pub fn shrink(&mut self, hasher: &RandomState) {
        let groups = self.groups().len();
        if groups > 8 && self.len < groups * GROUP / 4 {
            self.rebuild(groups / 2, hasher);
        }
    }

    fn rebuild(&mut self, groups: usize, hasher: &RandomState) {
        let made: Box<[Group]> = (0..groups).map(|_| Group::new()).collect();
        let old = self.groups();
        for (at, group) in old.iter().enumerate() {
            // Their keys are asked for in time: they are all over the memory.
            for record in pointers(old.get(at + FETCHED_AHEAD)) {
                fetch(record.wrapping_byte_add(LINE / 2));
                fetch(record.wrapping_byte_add(LINE));
            }
            for record in pointers([group]) {
                // SAFETY: it came from `into_raw`, and stays for as long as it is in the table.
                let hash = hasher.hash_one(unsafe { Record::borrowed(record) }.key());
                place(&made, hash, record, Ordering::Relaxed);
            }
        }
        self.publish(Groups::new(made));
    }

    fn publish(&mut self, groups: Groups) {
        step();
        #[cfg(feature = "__shuttle")]
        self.published.note(groups.0.cast(), true);
        let old = self.published.groups.swap(groups.0, Ordering::SeqCst);
        if !old.is_null() {
            self.kept.push(Retired::Groups(OldGroups(AtomicPtr::new(old))));
            // There may not be another write for long.
            self.kept_bytes += MAX_KEPT_BYTES;
        }
    }

    /// Takes all records out.
    pub fn clear(&mut self) {
        let records: Vec<_> = pointers(self.groups()).collect();
        self.publish(Groups::NONE);
        self.len = 0;
        for record in records {
            // SAFETY: it came from `into_raw`, and its count is the table's, whose groups are not reachable any more.
            let record = unsafe { Record::from_raw(record) };
            let bytes = record.size();
            self.keep(record, bytes);
        }
    }

    fn keep(&mut self, record: Record, bytes: usize) {
        self.kept_bytes += bytes;
        self.kept.push(Retired::Record(record));
    }

    /// What no reader can be looking at any more, to be dropped once the lock is free.
    #[inline]
    pub fn take_unused(&mut self) -> Vec<Retired> {
        let bytes = self.kept_bytes + self.waiting_bytes;
        if self.kept.len() < MAX_KEPT && bytes < MAX_KEPT_BYTES {
            return Vec::new();
        }
        // There may be no other write for long. A reader is done at once, unless its thread does not run.
        let tries = if bytes < MAX_KEPT_BYTES { 1 } else { MAX_TRIES };
        let mut unused = self.try_take();
        for _ in 1..tries {
            if self.waiting.is_empty() && self.kept.is_empty() {
                break;
            }
            std::hint::spin_loop();
            unused.append(&mut self.try_take());
        }
        unused
    }

    fn try_take(&mut self) -> Vec<Retired> {
        self.readers = readers::still(self.readers);
        if self.readers != 0 {
            return Vec::new();
        }
        let mut unused = std::mem::take(&mut self.waiting);
        let kept = std::mem::replace(&mut self.kept, Vec::with_capacity(MAX_KEPT));
        (self.waiting_bytes, self.kept_bytes) = (std::mem::take(&mut self.kept_bytes), 0);
        self.readers = readers::now();
        if self.readers != 0 {
            self.waiting = kept;
        } else {
            self.waiting_bytes = 0;
            if unused.is_empty() {
                unused = kept;
            } else {
                unused.extend(kept);
            }
        }
        readers::pay(unused.iter().filter_map(Retired::record));
        #[cfg(feature = "__shuttle")]
        for retired in &unused {
            self.published.note(retired.address(), false);
        }
        unused
    }

    /// Every invariant; for tests.
    #[cfg(any(test, feature = "__fuzz"))]
    pub fn validate(&self, hasher: &RandomState) {
        let groups = self.groups();
        let mut counts = vec![0_u64; groups.len()];
        let mut len = 0;
        for (at, group) in groups.iter().enumerate() {
            let meta = group.meta.load(Ordering::Relaxed);
            for place in 0..GROUP {
                let byte = meta >> (8 * place) & 0xff;
                let Some(record) = self.record(group, place) else {
                    assert_eq!(byte, 0, "nothing has no byte");
                    continue;
                };
                len += 1;
                let (mut home, wanted) = start(hasher.hash_one(record.key()), groups.len());
                assert_eq!(byte, wanted);
                while home != at {
                    counts[home] += 1;
                    home = (home + 1) & (groups.len() - 1);
                }
            }
        }
        assert_eq!(len, self.len);
        for (group, count) in groups.iter().zip(counts) {
            let counted = group.meta.load(Ordering::Relaxed) >> COUNT_SHIFT;
            assert!(counted == count || counted == MAX_COUNT);
        }
    }
}

#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;
