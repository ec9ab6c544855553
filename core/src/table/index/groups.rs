//! Records by hash in groups of a cache line: how they are laid out, found, and asked for from memory.

use std::ffi::c_void;
use std::ptr::null_mut;
// Not those of the model checker, which are no bare pointers.
use std::sync::atomic::{AtomicPtr, AtomicU64};

use crate::sync::atomic::Ordering;
use crate::sync::step;

/// Records in a group.
pub(super) const GROUP: usize = 7;
/// One in each byte that is a record's.
const ONES: u64 = 0x0001_0101_0101_0101;
pub(super) const COUNT_SHIFT: u32 = 56;
/// A count that has come so far no longer changes.
pub(super) const MAX_COUNT: u64 = 255;

/// Bytes that come from memory together.
pub(super) const LINE: usize = 64;

/// Asks for what is there, without waiting for it.
#[inline]
#[allow(unsafe_code)]
pub(super) fn fetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: this is a hint, which reads nothing: any address will do.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Asks for the record that may have this hash, if its group has room for all of its own.
#[inline]
pub(super) fn fetch_record(groups: &[Group], hash: u64) {
    let (at, byte) = start(hash, groups.len());
    if let Some(group) = groups.get(at) {
        let set = matching(group.meta.load(Ordering::Relaxed), byte);
        if let Some(record) = group.records.get(lowest(set)) {
            let record = record.load(Ordering::Relaxed);
            fetch(record);
            fetch(record.wrapping_byte_add(LINE));
        }
    }
}

#[repr(align(64))]
pub(super) struct Group {
    /// Bytes of hashes, and in the last byte the count.
    pub(super) meta: AtomicU64,
    pub(super) records: [AtomicPtr<c_void>; GROUP],
}

/// A power of two of groups, or none, as one word. They begin at cache lines, so that the lowest bits of their address
/// are free: there is the binary logarithm of how many they are.
#[derive(Clone, Copy)]
pub(super) struct Groups(pub(super) *mut Group);

const LOG_BITS: usize = align_of::<Group>() - 1;

#[allow(unsafe_code)]
impl Groups {
    pub(super) const NONE: Groups = Groups(null_mut());

    pub(super) fn new(groups: Box<[Group]>) -> Groups {
        debug_assert!(groups.len().is_power_of_two());
        let log = groups.len().trailing_zeros() as usize;
        Groups(Box::into_raw(groups).cast::<Group>().map_addr(|address| address | log))
    }

    #[inline]
    pub(super) fn parts(self) -> (*mut Group, usize) {
        let log = self.0.addr() & LOG_BITS;
        (self.0.map_addr(|address| address & !LOG_BITS), 1 << log)
    }

    /// # Safety
    /// It came from [`new`](Groups::new), or is [`NONE`](Groups::NONE), and is not freed before `'a` ends.
    #[inline]
    pub(super) unsafe fn get<'a>(self) -> &'a [Group] {
        if self.0.is_null() {
            return &[];
        }
        let (first, count) = self.parts();
        // SAFETY: as many as were in the box are there, and they are changed through atomics only.
        unsafe { std::slice::from_raw_parts(first, count) }
    }

    /// # Safety
    /// As for [`get`](Groups::get), and nobody uses it after this. The records in it are another's.
    pub(super) unsafe fn free(self) {
        if !self.0.is_null() {
            let (first, count) = self.parts();
            // SAFETY: it came from `Box::into_raw`.
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(first, count)) });
        }
    }
}

impl Group {
    pub(super) fn new() -> Group {
        let records = std::array::from_fn(|_| AtomicPtr::new(null_mut()));
        Group { meta: AtomicU64::new(0), records }
    }
}

/// The records in groups that nobody changes meanwhile.
pub(super) fn pointers<'a>(
    groups: impl IntoIterator<Item = &'a Group>,
) -> impl Iterator<Item = *mut c_void> {
    let all = groups.into_iter().flat_map(|group| &group.records);
    all.map(|record| record.load(Ordering::Relaxed)).filter(|record| !record.is_null())
}

/// Puts a record where there is room, in this order of what readers see, if there are any: its byte, then the record,
/// which is there from then on. (The other way round, who has read the byte of what was there before might see it too
/// early, and then no more.)
pub(super) fn place(groups: &[Group], hash: u64, record: *mut c_void, order: Ordering) {
    let (mut at, byte) = start(hash, groups.len());
    loop {
        let group = &groups[at];
        let meta = group.meta.load(Ordering::Relaxed);
        let free = matching(meta, 0);
        if free != 0 {
            let place = lowest(free);
            group.meta.store(meta | byte << (8 * place), order);
            step();
            group.records[place].store(record, order);
            return;
        }
        let count = (meta >> COUNT_SHIFT) + 1;
        if count <= MAX_COUNT {
            group.meta.store(meta + (1 << COUNT_SHIFT), Ordering::Release);
        }
        at = (at + 1) & (groups.len() - 1);
    }
}

/// Where a hash begins to look, and the byte it looks for.
#[inline]
pub(super) fn start(hash: u64, groups: usize) -> (usize, u64) {
    ((hash as usize) & groups.wrapping_sub(1), (hash >> 56).max(1))
}

/// The places of a group that have this byte, as a set of the highest bits of their bytes; others that follow a
/// right one may be among them.
#[inline]
pub(super) fn matching(meta: u64, byte: u64) -> u64 {
    let differing = meta ^ (ONES * byte);
    differing.wrapping_sub(ONES) & !differing & (ONES << 7)
}

/// Which place the lowest of a set is.
#[inline]
pub(super) fn lowest(set: u64) -> usize {
    (set.trailing_zeros() / 8) as usize
}

/// Shows each record that may have this hash to `visit`, until that gives something.
#[inline(always)]
pub(super) fn look<'a, T>(
    groups: &'a [Group],
    hash: u64,
    mut visit: impl FnMut(&'a Group, usize) -> Option<T>,
) -> Option<T> {
    let (at, byte) = start(hash, groups.len());
    // None: there are no groups.
    match look_at(groups.get(at)?, byte, &mut visit) {
        Ok(found) => found,
        Err(Overflown) => look_further(groups, at, byte, visit),
    }
}

/// There are records that found a group full.
struct Overflown;

#[inline(always)]
fn look_at<'a, T>(
    group: &'a Group,
    byte: u64,
    visit: &mut impl FnMut(&'a Group, usize) -> Option<T>,
) -> Result<Option<T>, Overflown> {
    let meta = group.meta.load(Ordering::SeqCst);
    let mut set = matching(meta, byte);
    while set != 0 {
        if let Some(found) = visit(group, lowest(set)) {
            return Ok(Some(found));
        }
        set &= set - 1;
    }
    if meta >> COUNT_SHIFT == 0 { Ok(None) } else { Err(Overflown) }
}

/// What few lookups come to, apart from what all do.
#[inline(never)]
fn look_further<'a, T>(
    groups: &'a [Group],
    home: usize,
    byte: u64,
    mut visit: impl FnMut(&'a Group, usize) -> Option<T>,
) -> Option<T> {
    for step in 1..groups.len() {
        let group = &groups[(home + step) & (groups.len() - 1)];
        if let Ok(found) = look_at(group, byte, &mut visit) {
            return found;
        }
    }
    None
}
