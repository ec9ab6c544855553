//! The records of a shard by the hashes of their keys. One thread changes it at a time, under the shard's lock;
//! any number of others look keys up meanwhile, without a lock.
//!
//! Records lie in groups of seven, a cache line each. The group's first word has a byte of the hash of each of its
//! records (0: no record) and counts the records that found it full and lie in a later group. So looking up a key
//! reads one line of the index, mostly, and one record.
//!
//! What lets readers in while somebody writes: a record never moves within the groups. It is taken out, or another takes
//! its place with one store. More groups are another array, made aside and put in place with one store.

use std::ffi::c_void;
use std::hash::BuildHasher;
use std::ptr::null_mut;
use std::sync::Arc;
// Not those of the model checker, which are no bare pointers; it may switch threads where `Published::step` says.
use std::sync::atomic::{AtomicPtr, AtomicU64};

use super::RandomState;
use super::readers::Readers;
use crate::record::Record;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Records in a group.
const GROUP: usize = 7;
/// One in each byte that is a record's.
const ONES: u64 = 0x0001_0101_0101_0101;
const COUNT_SHIFT: u32 = 56;
/// A count that has come so far no longer changes.
const MAX_COUNT: u64 = 255;

/// What was taken out is kept until no reader looks at it; that is tried whenever there is so much of it.
/// Few, so that the allocator has what is freed at hand for what is put next.
const MAX_KEPT: usize = if cfg!(feature = "__shuttle") { 1 } else { 4 };
const MAX_KEPT_BYTES: usize = 16 * 1024;
/// How often in a row, if it is much.
const MAX_TRIES: usize = if cfg!(feature = "__shuttle") { 1 } else { 200 };

#[repr(align(64))]
pub(crate) struct Group {
    /// Bytes of hashes, and in the last byte the count.
    meta: AtomicU64,
    records: [AtomicPtr<c_void>; GROUP],
}

type Groups = Box<[Group]>;

/// What readers see of an index.
pub(crate) struct Published {
    /// Null: there are no records.
    groups: AtomicPtr<Groups>,
    /// Several keys change at one moment: look them up under the lock.
    busy: AtomicBool,
    /// Addresses of what was given up, for the model checker to see that nobody looks there.
    #[cfg(feature = "__shuttle")]
    unused: std::sync::Mutex<std::collections::HashSet<usize>>,
}

/// Something that readers may still be looking at.
#[cfg_attr(not(feature = "__shuttle"), allow(dead_code, reason = "kept to be dropped"))]
pub(crate) enum Retired {
    Record(Record),
    Groups(OldGroups),
}

/// A bare pointer as long as readers may be looking there: a box would be nobody else's.
pub(crate) struct OldGroups(AtomicPtr<Groups>);

impl Drop for OldGroups {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: it came from `Box::into_raw`, and no reader looks there any more. The records in it are another's.
        drop(unsafe { Box::from_raw(*self.0.get_mut()) });
    }
}

#[cfg(feature = "__shuttle")]
impl Retired {
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

/// Where a hash begins to look, and the byte it looks for.
#[inline]
fn start(hash: u64, groups: usize) -> (usize, u64) {
    ((hash as usize) & (groups - 1), (hash >> 56).max(1))
}

/// The places of a group that have this byte, as a set of the highest bits of their bytes; others that follow a
/// right one may be among them.
#[inline]
fn matching(meta: u64, byte: u64) -> u64 {
    let differing = meta ^ (ONES * byte);
    differing.wrapping_sub(ONES) & !differing & (ONES << 7)
}

/// Which place the lowest of a set is.
#[inline]
fn lowest(set: u64) -> usize {
    (set.trailing_zeros() / 8) as usize
}

/// Shows each record that may have this hash to `visit`, until that gives something.
#[inline]
fn look<'a, T>(
    groups: &'a [Group],
    hash: u64,
    mut visit: impl FnMut(&'a Group, usize) -> Option<T>,
) -> Option<T> {
    let (mut at, byte) = start(hash, groups.len());
    for _ in 0..groups.len() {
        let group = &groups[at];
        let meta = group.meta.load(Ordering::SeqCst);
        let mut set = matching(meta, byte);
        while set != 0 {
            if let Some(found) = visit(group, lowest(set)) {
                return Some(found);
            }
            set &= set - 1;
        }
        if meta >> COUNT_SHIFT == 0 {
            return None;
        }
        at = (at + 1) & (groups.len() - 1);
    }
    None
}

#[allow(unsafe_code)]
impl Published {
    /// Several keys are about to change at one moment, or have changed. Only under the shard's lock.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }

    /// Whether the shard's lock is to be taken. Ask while [reading](Readers::enter).
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// Shows the record of a key to `take`, and perhaps others before it, for which nothing comes of it.
    ///
    /// Taking comes first: if it counts the record, the first access is the write. Comparing keys first would fetch
    /// the line from another core twice, once to read and once to write it.
    ///
    /// # Safety
    /// The caller is [reading](Readers::enter) from before the call until after it, with the readers of this table.
    #[inline]
    pub unsafe fn find<T>(&self, hash: u64, key: &[u8], take: impl Fn(&Record) -> T) -> Option<T> {
        self.step();
        let groups = self.groups.load(Ordering::SeqCst);
        self.assert_used(groups.cast());
        // SAFETY: what was published is freed only after it was replaced, and after every reader that was marked then
        // was seen without its mark; this one is marked.
        let groups = unsafe { groups.as_ref() }?;
        look(groups, hash, |group, place| {
            self.step();
            let record = group.records[place].load(Ordering::SeqCst);
            self.step();
            self.assert_used(std::ptr::from_ref(groups).cast());
            self.assert_used(record);
            // Taken out since its byte was read.
            if record.is_null() {
                return None;
            }
            // SAFETY: it came from `into_raw`; as for the groups, it is not freed while this reader is marked. The
            // count is the table's, hence not dropped here.
            let record = unsafe { Record::borrowed(record) };
            let taken = take(&record);
            self.step();
            self.assert_used(record.as_raw());
            (record.key() == key).then_some(taken)
        })
    }

    /// Here the model checker may let another thread go on.
    #[inline]
    fn step(&self) {
        #[cfg(feature = "__shuttle")]
        let _ = self.busy.load(Ordering::SeqCst);
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
        let groups = std::mem::replace(self.groups.get_mut(), null_mut());
        if groups.is_null() {
            return;
        }
        // SAFETY: it came from `Box::into_raw` and is nobody else's.
        let groups = unsafe { Box::from_raw(groups) };
        for record in pointers(&groups) {
            // SAFETY: it came from `into_raw`, and its count is the table's.
            drop(unsafe { Record::from_raw(record) });
        }
    }
}

#[allow(unsafe_code)]
impl Index {
    /// For those who read without the lock.
    pub fn published(&self) -> Arc<Published> {
        self.published.clone()
    }

    fn groups(&self) -> &[Group] {
        let groups = self.published.groups.load(Ordering::Relaxed);
        // SAFETY: only this owner replaces what is published, with `&mut self`.
        unsafe { groups.as_ref() }.map_or(&[], |groups| groups)
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
        place(self.groups(), hash, record);
        self.len += 1;
    }

    /// Puts a record where another is, which takes so many bytes.
    pub fn replace(&mut self, hash: u64, old: &Record, new: Record, bytes: usize) {
        let new = new.into_raw();
        #[cfg(feature = "__shuttle")]
        self.published.note(new, true);
        let replaced = self.position(hash, old).map(|(group, place)| {
            self.published.step();
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
        group.meta.store(meta & !(0xff << (8 * place)), Ordering::SeqCst);
        self.published.step();
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
        let made: Groups = (0..groups).map(|_| Group::new()).collect();
        for record in pointers(self.groups()) {
            // SAFETY: it came from `into_raw`, and stays for as long as it is in the table.
            let hash = hasher.hash_one(unsafe { Record::borrowed(record) }.key());
            place(&made, hash, record);
        }
        self.publish(Box::into_raw(Box::new(made)));
    }

    fn publish(&mut self, groups: *mut Groups) {
        self.published.step();
        #[cfg(feature = "__shuttle")]
        self.published.note(groups.cast(), true);
        let old = self.published.groups.swap(groups, Ordering::SeqCst);
        if !old.is_null() {
            self.kept.push(Retired::Groups(OldGroups(AtomicPtr::new(old))));
            // There may not be another write for long.
            self.kept_bytes += MAX_KEPT_BYTES;
        }
    }

    /// Takes all records out.
    pub fn clear(&mut self) {
        let records: Vec<_> = pointers(self.groups()).collect();
        self.publish(null_mut());
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
    pub fn take_unused(&mut self, readers: &Readers) -> Vec<Retired> {
        let bytes = self.kept_bytes + self.waiting_bytes;
        if self.kept.len() < MAX_KEPT && bytes < MAX_KEPT_BYTES {
            return Vec::new();
        }
        // There may be no other write for long. A reader is done at once, unless its thread does not run.
        let tries = if bytes < MAX_KEPT_BYTES { 1 } else { MAX_TRIES };
        let mut unused = self.try_take(readers);
        for _ in 1..tries {
            if self.waiting.is_empty() && self.kept.is_empty() {
                break;
            }
            std::hint::spin_loop();
            unused.append(&mut self.try_take(readers));
        }
        unused
    }

    fn try_take(&mut self, readers: &Readers) -> Vec<Retired> {
        self.readers = readers.still(self.readers);
        if self.readers != 0 {
            return Vec::new();
        }
        let mut unused = std::mem::take(&mut self.waiting);
        let kept = std::mem::replace(&mut self.kept, Vec::with_capacity(MAX_KEPT));
        (self.waiting_bytes, self.kept_bytes) = (std::mem::take(&mut self.kept_bytes), 0);
        self.readers = readers.now();
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

impl Group {
    fn new() -> Group {
        let records = std::array::from_fn(|_| AtomicPtr::new(null_mut()));
        Group { meta: AtomicU64::new(0), records }
    }
}

/// The records in groups that nobody changes meanwhile.
fn pointers(groups: &[Group]) -> impl Iterator<Item = *mut c_void> {
    let all = groups.iter().flat_map(|group| &group.records);
    all.map(|record| record.load(Ordering::Relaxed)).filter(|record| !record.is_null())
}

/// Puts a record where there is room. Readers see it once its byte is there.
fn place(groups: &[Group], hash: u64, record: *mut c_void) {
    let (mut at, byte) = start(hash, groups.len());
    loop {
        let group = &groups[at];
        let meta = group.meta.load(Ordering::Relaxed);
        let free = matching(meta, 0);
        if free != 0 {
            let place = lowest(free);
            group.records[place].store(record, Ordering::SeqCst);
            group.meta.store(meta | byte << (8 * place), Ordering::SeqCst);
            return;
        }
        let count = (meta >> COUNT_SHIFT) + 1;
        if count <= MAX_COUNT {
            group.meta.store(meta + (1 << COUNT_SHIFT), Ordering::Release);
        }
        at = (at + 1) & (groups.len() - 1);
    }
}

#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;
