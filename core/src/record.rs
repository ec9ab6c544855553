//! What the table holds for a key: one allocation with header, key and (unless large) value.
//!
//! What most records do without takes no room in the header. After it come, in this order: the length of the
//! key and what else there is (one byte; three for long keys), when the record expires (eight bytes, if it does),
//! the key's tag (four bytes, in a cluster), the key, the value.
//!
//! A record never changes; every mutation makes a new one, so a reader's copy is a snapshot.

use std::cell::RefCell;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use triomphe::ThinArc;
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::{Now, nanos};
use crate::lock::{LockRegister, LockState, MAX_LEASE, NEVER};
use crate::member::Member;
use crate::stamp::Stamp;
use crate::version::{Minor, Version};

/// Values up to this size lie inside the record. Larger ones lie apart, so that locking does not copy them.
pub(crate) const MAX_INLINE: usize = 1024;

#[derive(Clone)]
#[repr(transparent)]
pub(crate) struct Record(ThinArc<Header, u8>);

struct Header {
    time: u64,
    writer: Arc<Member>,
    rare: Option<Arc<Rare>>,
}

/// In the first byte after the header: the record expires.
const EXPIRES: u8 = 0x80;
/// Likewise: the tag of its key is kept, because a repair asks all records for theirs.
const TAGGED: u8 = 0x40;
/// In the rest of that byte, in place of a length: two more bytes have it.
const LONG_KEY: u8 = 0x3f;

/// Where in the bytes after the header its parts begin.
struct Layout {
    expiry: usize,
    tag: usize,
    key: usize,
    key_len: usize,
}

/// What most records do not have.
#[derive(Clone, Default)]
struct Rare {
    lock: Option<LockRegister>,
    minor: Option<Minor>,
    /// The newest fence known when the value was put, if it weighs more than the value's own time.
    fence_epoch: Option<u64>,
    large: Option<Arc<[u8]>>,
    /// A deleted value: only its stamp is left.
    dead: bool,
}

/// A value to be stored, brought into its final place as far as that is possible without a lock.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub bytes: &'a [u8],
    pub large: Option<&'a Arc<[u8]>>,
}

/// What a put makes.
pub(crate) struct NewValue<'a> {
    pub key: &'a [u8],
    pub content: Content<'a>,
    pub time: u64,
    pub exp: u64,
    pub writer: Arc<Member>,
    pub lock: Option<LockRegister>,
    /// Whether this is one of many members, who compare what they have.
    pub in_cluster: bool,
    /// The epoch of what it takes the place of: word of the lock behind that may not have come yet.
    pub after: u64,
}

/// A value as another member has stamped it; without content: what is left of one.
pub(crate) struct Stamped<'a> {
    pub key: &'a [u8],
    pub content: Option<&'a [u8]>,
    pub stamp: Stamp,
    pub exp: u64,
    pub writer: Arc<Member>,
    pub lock: Option<LockRegister>,
}

impl Record {
    #[inline]
    pub fn new(new: NewValue<'_>) -> Record {
        let settled = new.time.saturating_sub(nanos(MAX_LEASE));
        let fence = new.lock.as_ref().map_or(0, |lock| lock.fence);
        let fence_epoch = Some(fence.max(new.after)).filter(|fence| *fence > settled);
        let large = new.content.large.cloned();
        let inline = if large.is_some() { &[][..] } else { new.content.bytes };
        let rare = Rare { lock: new.lock, minor: None, fence_epoch, large, dead: false };
        let flags = if new.in_cluster { TAGGED } else { 0 };
        Record::build(flags, new.time, new.exp, new.writer, rare.boxed(), new.key, inline)
    }

    /// As a bare pointer, with its count.
    pub fn into_raw(self) -> *mut c_void {
        self.0.into_raw().cast_mut()
    }

    /// As [`into_raw`](Record::into_raw), without its count.
    pub fn as_raw(&self) -> *const c_void {
        self.0.as_ptr()
    }

    /// Whether nobody else has it.
    #[cfg(test)]
    pub fn is_alone(&self) -> bool {
        ThinArc::strong_count(&self.0) == 1
    }

    /// # Safety
    /// It came from [`into_raw`](Record::into_raw), and its count is given back once.
    #[allow(unsafe_code)]
    pub unsafe fn from_raw(raw: *const c_void) -> Record {
        // SAFETY: handed on to the caller.
        Record(unsafe { ThinArc::from_raw(raw) })
    }

    /// A record whose count is somebody else's.
    ///
    /// # Safety
    /// It came from [`into_raw`](Record::into_raw), and is not freed before the result is gone.
    #[inline]
    #[allow(unsafe_code)]
    pub unsafe fn borrowed(raw: *const c_void) -> ManuallyDrop<Record> {
        // SAFETY: handed on to the caller; never dropped.
        ManuallyDrop::new(unsafe { Record::from_raw(raw) })
    }

    pub fn stamped(new: Stamped<'_>) -> Record {
        let Stamped { key, content, stamp, exp, writer, lock } = new;
        let settled = stamp.time.saturating_sub(nanos(MAX_LEASE));
        let fence_epoch = (stamp.epoch != settled).then_some(stamp.epoch);
        let bytes = content.unwrap_or_default();
        let large = (bytes.len() > MAX_INLINE).then(|| Arc::from(bytes));
        let inline = if large.is_some() { &[][..] } else { bytes };
        let rare = Rare { lock, minor: stamp.minor, fence_epoch, large, dead: stamp.dead };
        Record::build(TAGGED, stamp.time, exp, writer, rare.boxed(), key, inline)
    }

    /// What is left of a key that has, or had, a lock but no value that anybody knows of.
    pub fn lock_only(key: &[u8], writer: Arc<Member>, lock: LockRegister) -> Record {
        let rare = Rare { lock: Some(lock), ..Rare::default() };
        Record::build(TAGGED, 0, NEVER, writer, rare.boxed(), key, &[])
    }

    /// When there was a value last, as far as this record tells; all members see the same. One written under
    /// a lock lasts until a write that knows nothing of that lock outweighs it, too.
    pub fn ended_at(&self) -> u64 {
        let Some(stamp) = self.stamp() else { return self.lock().map_or(0, |lock| lock.fence) };
        let written = stamp.time.max(stamp.minor.map_or(0, |minor| minor.clock));
        let expired = if stamp.dead || self.exp() == NEVER { 0 } else { self.exp() };
        let outweighed = match stamp.epoch > stamp.time.saturating_sub(nanos(MAX_LEASE)) {
            true => stamp.epoch.saturating_add(nanos(MAX_LEASE)),
            false => 0,
        };
        written.max(expired).max(outweighed)
    }

    /// What is left once the value has expired.
    pub fn faded(&self) -> Record {
        let header = &self.0.header.header;
        let mut rare = header.rare.as_deref().cloned().unwrap_or_default();
        rare.large = None;
        let (flags, writer) = (self.0.slice[0], header.writer.clone());
        Record::build(flags, header.time, self.exp(), writer, rare.boxed(), self.key(), &[])
    }

    /// What is left once the value was deleted under the same stamp.
    pub fn buried(&self) -> Record {
        let faded = self.faded();
        faded.derive(NEVER, |rare| rare.dead = true)
    }

    /// Of `flags` only [`TAGGED`] counts.
    fn build(
        flags: u8,
        time: u64,
        exp: u64,
        writer: Arc<Member>,
        rare: Option<Arc<Rare>>,
        key: &[u8],
        inline: &[u8],
    ) -> Record {
        thread_local! {
            static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let header = Header { time, writer, rare };
        // A thread that ends has no buffer any more, but destructors that may still write.
        let mut joined = JOINED.try_with(RefCell::take).unwrap_or_default();
        joined.clear();
        let tagged = flags & TAGGED;
        let flags = tagged | if exp == NEVER { 0 } else { EXPIRES };
        if key.len() < LONG_KEY.into() {
            joined.push(flags | key.len() as u8);
        } else {
            joined.push(flags | LONG_KEY);
            joined.extend_from_slice(&(key.len() as u16).to_le_bytes());
        }
        if exp != NEVER {
            joined.extend_from_slice(&exp.to_le_bytes());
        }
        if tagged != 0 {
            joined.extend_from_slice(&key_tag(key).to_le_bytes());
        }
        joined.extend_from_slice(key);
        joined.extend_from_slice(inline);
        let record = Record(ThinArc::from_header_and_slice(header, &joined));
        #[cfg(feature = "__shuttle")]
        alive::born(&record.0.header.header);
        let _ = JOINED.try_with(|kept| kept.replace(joined));
        record
    }

    /// The same value with another expiry or lock.
    fn derive(&self, exp: u64, change: impl FnOnce(&mut Rare)) -> Record {
        let header = &self.0.header.header;
        let mut rare = header.rare.as_deref().cloned().unwrap_or_default();
        change(&mut rare);
        let (key, inline) = self.parts();
        let (flags, writer) = (self.0.slice[0], header.writer.clone());
        Record::build(flags, header.time, exp, writer, rare.boxed(), key, inline)
    }

    pub fn with_lock(&self, lock: LockRegister) -> Record {
        self.derive(self.exp(), |rare| rare.lock = Some(lock))
    }

    pub fn with_exp(&self, exp: u64, minor: Minor) -> Record {
        self.derive(exp, |rare| rare.minor = Some(minor))
    }

    /// Where `build` has put what.
    #[inline]
    fn layout(&self) -> Layout {
        let bytes = &self.0.slice;
        let (expiry, key_len) = match bytes[0] & LONG_KEY {
            LONG_KEY => (3, usize::from(u16::from_le_bytes([bytes[1], bytes[2]]))),
            short => (1, usize::from(short)),
        };
        // Without branches: every read comes by.
        let tag = expiry + usize::from(bytes[0] & EXPIRES != 0) * 8;
        let key = tag + usize::from(bytes[0] & TAGGED != 0) * 4;
        Layout { expiry, tag, key, key_len }
    }

    /// The key, and the value unless it lies apart.
    #[inline]
    fn parts(&self) -> (&[u8], &[u8]) {
        let Layout { key, key_len, .. } = self.layout();
        self.0.slice[key..].split_at(key_len)
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        self.parts().0
    }

    /// Nothing but a value, for ever.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.0.slice[0] & EXPIRES == 0 && self.rare().is_none()
    }

    /// The value in its canonical encoding.
    #[inline]
    pub fn encoded(&self) -> &[u8] {
        match self.rare().and_then(|rare| rare.large.as_deref()) {
            Some(large) => large,
            None => self.parts().1,
        }
    }

    #[inline]
    pub fn time(&self) -> u64 {
        self.0.header.header.time
    }

    /// In nanoseconds since the epoch; [`NEVER`] for none.
    #[inline]
    pub fn exp(&self) -> u64 {
        let bytes = &self.0.slice;
        if bytes[0] & EXPIRES == 0 {
            return NEVER;
        }
        let exp = bytes[self.layout().expiry..].first_chunk();
        exp.map_or(NEVER, |exp| u64::from_le_bytes(*exp))
    }

    #[inline]
    pub fn is_expired(&self, wall: u64) -> bool {
        self.exp() <= wall
    }

    #[inline]
    pub fn writer(&self) -> &Arc<Member> {
        &self.0.header.header.writer
    }

    /// The first half of a hash of the key that is the same on every member, for ever.
    pub fn tag(&self) -> u32 {
        let bytes = &self.0.slice;
        if bytes[0] & TAGGED == 0 {
            return key_tag(self.key());
        }
        bytes[self.layout().tag..].first_chunk().map_or(0, |tag| u32::from_le_bytes(*tag))
    }

    /// Whether a value was ever put; otherwise only a lock is known.
    pub fn has_stamp(&self) -> bool {
        self.time() > 0
    }

    pub fn stamp(&self) -> Option<Stamp> {
        self.has_stamp().then(|| Stamp {
            epoch: self.epoch(),
            time: self.time(),
            writer: self.writer().incarnation,
            minor: self.minor(),
            dead: self.rare().is_some_and(|rare| rare.dead),
        })
    }

    #[inline]
    fn rare(&self) -> Option<&Rare> {
        self.0.header.header.rare.as_deref()
    }

    #[inline]
    pub fn lock(&self) -> Option<&LockRegister> {
        self.rare()?.lock.as_ref()
    }

    #[inline]
    pub fn held_lock(&self, now: Now) -> Option<&LockRegister> {
        self.lock().filter(|lock| lock.is_held(now))
    }

    /// Until when a lock that has not ended counts; [`NEVER`] for ever, or if there is none.
    #[inline]
    pub fn held_until(&self) -> u64 {
        match self.lock() {
            Some(lock) if lock.state == LockState::Held => lock.lease_end.min(lock.member.until()),
            _ => NEVER,
        }
    }

    /// The end of a lease that has not ended; [`NEVER`] for none.
    #[inline]
    pub fn lease_end(&self) -> u64 {
        match self.lock() {
            Some(lock) if lock.state == LockState::Held => lock.lease_end,
            _ => NEVER,
        }
    }

    pub fn minor(&self) -> Option<Minor> {
        self.rare()?.minor
    }

    pub fn version(&self) -> Version {
        Version { time: self.time(), writer: self.writer().incarnation, minor: self.minor() }
    }

    /// The first part of the value's stamp: a write that did not know of a lock loses to its holder's.
    #[inline]
    pub fn epoch(&self) -> u64 {
        let settled = self.time().saturating_sub(nanos(MAX_LEASE));
        self.rare().and_then(|rare| rare.fence_epoch).unwrap_or(settled)
    }

    /// Bytes of memory, without what the allocator adds.
    #[inline]
    pub fn size(&self) -> usize {
        match self.rare() {
            None => PLAIN + self.0.slice.len() - self.layout().key,
            Some(_) => self.size_with_rare(),
        }
    }

    fn size_with_rare(&self) -> usize {
        let owner = self.lock().map(|lock| lock.owner.as_deref());
        let size = size_of_content(self.key().len(), self.encoded().len(), owner);
        // A stamp that was raised is kept apart too.
        let apart = owner.is_none() && self.encoded().len() <= MAX_INLINE;
        size + if apart { ARC + size_of::<Rare>() } else { 0 }
    }

    /// For the model checker.
    #[cfg(feature = "__shuttle")]
    pub fn assert_alive(&self) {
        alive::check(&self.0.header.header);
    }

    pub fn is_same(&self, other: &Record) -> bool {
        // The key lies in the allocation and is never empty: its address is the record's own.
        std::ptr::eq(self.0.slice.as_ptr(), other.0.slice.as_ptr())
    }
}

/// Which records there are, for the model checker to see that none is used once it is freed, and that none stays.
#[cfg(feature = "__shuttle")]
pub(crate) mod alive {
    use std::cell::RefCell;
    use std::collections::HashSet;

    use super::Header;

    // All threads of a model run on one real thread.
    std::thread_local! {
        static ALIVE: RefCell<HashSet<usize>> = RefCell::default();
    }

    fn with<T>(act: impl FnOnce(&mut HashSet<usize>) -> T) -> T {
        ALIVE.with_borrow_mut(act)
    }

    pub(super) fn born(header: &Header) {
        with(|alive| alive.insert(std::ptr::from_ref(header).addr()));
    }

    pub(super) fn check(header: *const Header) {
        let is_alive = with(|alive| alive.contains(&header.addr()));
        assert!(is_alive, "a record is used after it was freed");
    }

    /// How many there are.
    pub fn count() -> usize {
        with(|alive| alive.len())
    }

    impl Drop for Header {
        fn drop(&mut self) {
            let was_alive = with(|alive| alive.remove(&std::ptr::from_ref(self).addr()));
            assert!(was_alive, "a record is freed twice");
        }
    }
}

/// The first half of a hash of the key that is the same on every member, for ever.
fn key_tag(key: &[u8]) -> u32 {
    (xxh3_64(key) >> 32) as u32
}

/// What the counters of an Arc take, or its counter and the length of what it holds.
const ARC: usize = 2 * size_of::<usize>();

/// The length of the key and the expiry, which is counted whether there is one or not: what a put takes is to
/// be known before it is known how long the key stays.
const PREFIX: usize = 1 + size_of::<u64>();

/// What every record takes beside its key and its value.
const PLAIN: usize = ARC + size_of::<Header>() + PREFIX;

/// Bytes of memory of a value as a put leaves it; `lock`: the owner's label of the key's lock, if it has one.
pub(crate) fn size_of_content(key: usize, encoded: usize, lock: Option<Option<&str>>) -> usize {
    let is_large = encoded > MAX_INLINE;
    let apart = if lock.is_some() || is_large { ARC + size_of::<Rare>() } else { 0 };
    let owner = lock.flatten().map_or(0, |owner| ARC + owner.len());
    let large = if is_large { ARC } else { 0 };
    PLAIN + key + encoded + apart + owner + large
}

impl Rare {
    #[inline]
    fn boxed(self) -> Option<Arc<Rare>> {
        let Rare { lock, minor, fence_epoch, large, dead } = &self;
        let empty =
            lock.is_none() && minor.is_none() && fence_epoch.is_none() && large.is_none() && !dead;
        (!empty).then(|| Arc::new(self))
    }
}
