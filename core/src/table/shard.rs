//! A shard: a pure state machine. It is given the time, takes no locks, calls nobody.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use super::RandomState;
use super::access::{check_conditions, expiry_of};
use super::counters::WriteCounters;
use super::expiry::Deadlines;
use super::graves::Graves;
use super::index::{Index, Published, Retired};
use super::locking::{Waiter, is_held, lose};
use super::mutation::{Action, Applied, Effects, Limits, LockRequest, Mutation, Put};
use super::replication::Replication;
use crate::clock::Now;
use crate::codec::Encoded;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result, shorten};
use crate::lock::{LockRegister, LockState, NEVER};
use crate::member::Member;
use crate::reader::{Reader, Token};
use crate::record::{Content, NewValue, Record, size_of_content};
use crate::sync::RwLock;
use crate::version::Minor;
use crate::watch::{Event, EventKind};

/// What a shard is told with every call.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub now: Now,
    pub member: &'a Arc<Member>,
    pub hasher: &'a RandomState,
    pub limits: &'a Limits,
    /// Whether anyone wants events.
    pub watched: bool,
    /// What is kept for the other members of a cluster.
    pub replication: Option<&'a Replication>,
    /// The change was asked for here; otherwise it has come from another member.
    pub local: bool,
    /// Who owns the entries of nodes that are not there.
    pub heir: &'a RwLock<Option<Arc<str>>>,
    /// Told of every write, if somebody asks them.
    pub counters: Option<&'a WriteCounters>,
}

/// A key and the record it has now.
pub(super) struct Target<'a> {
    pub hash: u64,
    pub key: &'a [u8],
    pub present: Option<Record>,
    /// What is left of an absent key, for the other members of a cluster.
    pub grave: Option<Record>,
}

impl Target<'_> {
    /// The key's last lock.
    pub fn lock(&self) -> Option<&LockRegister> {
        self.known().and_then(Record::lock)
    }

    pub fn known(&self) -> Option<&Record> {
        self.present.as_ref().or(self.grave.as_ref())
    }
}

/// How the limits are asked for the room that a record takes.
#[derive(Clone, Copy)]
pub(super) enum Room {
    /// There must be enough.
    Ask,
    /// A lock or another expiry takes what it needs: it must not fail because others have filled the registry.
    Take,
    /// It was asked for before.
    Reserved,
}

/// What a put, incr or update leaves behind.
pub(super) struct NewContent<'a> {
    pub content: Content<'a>,
    pub exp: u64,
    pub lock: Option<LockRegister>,
    /// Its room was reserved before.
    pub reserved: bool,
}

#[derive(Default)]
pub(crate) struct Shard {
    pub(super) index: Index,
    /// What is left of keys that are absent; only in a cluster.
    pub(super) graves: Graves,
    /// Expiries, on the wall clock.
    pub(super) expiries: Deadlines,
    /// Lease ends, on the monotonic clock.
    pub(super) leases: Deadlines,
    /// Who waits for the lock of a key, in order of arrival. No queue is empty.
    pub(super) waiters: HashMap<Box<[u8]>, BTreeMap<u64, Waiter>>,
    /// When waiters give up, on the monotonic clock.
    pub(super) timeouts: BTreeMap<(u64, u64), Box<[u8]>>,
    /// The last time minted here: a hybrid logical clock.
    clock: u64,
    pub(super) held_locks: usize,
    pub(super) record_bytes: usize,
    pub(super) expired: u64,
    closed: bool,
}

/// What a shard counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardStats {
    pub entries: usize,
    pub with_expiry: usize,
    pub held_locks: usize,
    pub waiters: usize,
    pub bytes: usize,
    pub expired: u64,
    pub tombstones: usize,
}

impl Shard {
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&Record> {
        self.index.find(hash, |record| record.key() == key)
    }

    /// For those who read without the lock.
    pub fn published(&self) -> Arc<Published> {
        self.index.published()
    }

    /// The key with everything known of it.
    #[inline(always)]
    pub(super) fn target<'a>(&self, hash: u64, key: &'a [u8]) -> Target<'a> {
        let present = self.get(hash, key).cloned();
        let grave = if present.is_none() { self.graves.get(hash, key).cloned() } else { None };
        Target { hash, key, present, grave }
    }

    /// What nobody looks at any more, to be dropped once the lock is free.
    pub fn take_unused(&mut self) -> Vec<Retired> {
        self.index.take_unused()
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.index.iter()
    }

    /// How many entries a reader sees now.
    pub fn live_len(&self, now: Now, hasher: &RandomState) -> usize {
        let due = self.expiries.iter_due(now.wall);
        let expired = due.map(|(at, hash)| {
            let mut count = 0;
            self.with_hash(hash, hasher, |record| {
                count += usize::from(record.exp() == at);
                None::<()>
            });
            count
        });
        let expired: usize = expired.sum();
        self.index.len() - expired
    }

    /// Shows the records with this very hash, until `visit` gives something.
    pub(super) fn with_hash<'a, T>(
        &'a self,
        hash: u64,
        hasher: &RandomState,
        mut visit: impl FnMut(&'a Record) -> Option<T>,
    ) -> Option<T> {
        self.index.with_byte(hash, |record| {
            if hasher.hash_one(record.key()) == hash { visit(record) } else { None }
        })
    }

    /// The first one of these that is wanted.
    pub(super) fn find_with_hash(
        &self,
        hash: u64,
        hasher: &RandomState,
        wanted: impl Fn(&Record) -> bool,
    ) -> Option<&Record> {
        self.with_hash(hash, hasher, |record| wanted(record).then_some(record))
    }

    /// The earliest expiry on the wall clock; [`NEVER`] for none.
    pub fn next_wall(&self) -> u64 {
        self.expiries.next()
    }

    /// The earliest lease end or timeout on the monotonic clock; [`NEVER`] for none.
    pub fn next_mono(&self) -> u64 {
        let timeout = self.timeouts.first_key_value().map_or(NEVER, |((at, _), _)| *at);
        self.leases.next().min(timeout)
    }

    /// Whether any mutation needs to know the monotonic clock: a lease may be over, or one begin for who waits.
    pub fn needs_mono(&self) -> bool {
        self.leases.len() > 0 || !self.timeouts.is_empty()
    }

    pub fn stats(&self) -> ShardStats {
        let slots = self.index.bytes();
        // An ordered deadline takes about 24 bytes.
        let deadlines = (self.expiries.len() + self.leases.len() + self.graves.len()) * 24;
        ShardStats {
            entries: self.index.len(),
            with_expiry: self.expiries.len(),
            held_locks: self.held_locks,
            waiters: self.timeouts.len(),
            bytes: self.record_bytes + slots + deadlines,
            expired: self.expired,
            tombstones: self.graves.len(),
        }
    }

    /// Brings the key up to date and says whether the mutation would be let through.
    pub fn check(
        &mut self,
        hash: u64,
        mutation: &Mutation<'_>,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<()> {
        if self.closed {
            return Err(stopped());
        }
        let at = self.settled(hash, mutation.key, cx, fx);
        expiry_of(&mutation.action, at.present.as_ref(), cx)?;
        check_conditions(mutation, &at, cx)
    }

    /// How much a put would add: entries and bytes.
    pub fn growth(
        &self,
        hash: u64,
        mutation: &Mutation<'_>,
        put: &Put<'_>,
        cx: &Context<'_>,
    ) -> (i64, i64) {
        let present = self.get(hash, mutation.key);
        let known = present.and_then(Record::lock);
        let granted = put.lock.is_some() && !known.is_some_and(|lock| lock.is_held(cx.now));
        let lock = match known {
            _ if granted => Some(mutation.conditions.owner),
            known => known.map(|lock| lock.owner.as_deref()),
        };
        let size = size_of_content(mutation.key.len(), put.content.bytes.len(), lock);
        let freed = present.map_or(0, |record| record.size() as i64);
        (i64::from(present.is_none()), size as i64 - freed)
    }

    /// The one write path. An error leaves the key as it was.
    pub fn apply(
        &mut self,
        hash: u64,
        mutation: &Mutation<'_>,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<Applied> {
        if self.closed {
            return Err(stopped());
        }
        let key = mutation.key;
        let at = self.settled(hash, key, cx, fx);
        let exp = expiry_of(&mutation.action, at.present.as_ref(), cx)?;
        if let Action::Lock(request, wait) = &mutation.action {
            return self.lock(&at, request, *wait, cx, fx);
        }
        check_conditions(mutation, &at, cx)?;
        match (&mutation.action, &at.present) {
            (Action::Put(put), _) => self.put(&at, put, exp, mutation.conditions.owner, cx, fx),
            (Action::Incr { by, .. }, _) => self.incr(&at, *by, exp, cx, fx),
            (Action::Unlock, None) => {
                if let Some(grave) = at.grave.clone() {
                    self.end_lock(hash, grave, LockState::Released, cx, fx);
                }
                Ok(Applied::default())
            }
            (_, None) => Ok(Applied::default()),
            (Action::Delete, Some(record)) => {
                self.remove(hash, record, EventKind::Delete, cx, fx);
                Ok(Applied::entry(entry(record, cx).without_lock()))
            }
            (Action::Persist, Some(record)) => {
                self.move_expiry(hash, record, exp, EventKind::Persist, cx, fx)
            }
            (Action::Touch { .. }, Some(record)) => {
                self.move_expiry(hash, record, exp, EventKind::Touch, cx, fx)
            }
            (Action::Unlock | Action::Lock(..), Some(record)) => {
                let ended = self.end_lock(hash, record.clone(), LockState::Released, cx, fx);
                Ok(Applied::entry(entry(&ended, cx)))
            }
        }
    }

    #[inline(always)]
    fn put(
        &mut self,
        at: &Target<'_>,
        put: &Put<'_>,
        exp: u64,
        owner: Option<&str>,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<Applied> {
        let known = at.lock();
        let (lock, granted) = match &put.lock {
            Some(grant) => {
                let (owner, grant) = (owner.map(Arc::from), grant.clone());
                let request = LockRequest { owner, grant, ..LockRequest::default() };
                let (lock, granted) = self.grant(known, &request, cx, fx);
                (Some(lock), granted)
            }
            None => (known.cloned(), false),
        };
        let left = NewContent { content: put.content, exp, lock, reserved: put.reserved };
        let record = self.store(at, left, cx, fx)?;
        if granted {
            self.emit(EventKind::Lock, &record, cx, fx);
        }
        Ok(Applied::entry(into_entry(record, cx)))
    }

    fn incr(
        &mut self,
        at: &Target<'_>,
        by: i64,
        exp: u64,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<Applied> {
        let old = match at.present.as_ref().map(|record| Reader::new(record.encoded()).token()) {
            None => 0,
            Some(Ok(Token::Int(int))) => int,
            Some(_) => {
                let key = shorten(at.key);
                return Err(Error::value(format!("the value of {key} is not an int")));
            }
        };
        let sum = old.checked_add(by).ok_or_else(|| {
            let key = shorten(at.key);
            let message = format!("{old} + {by} at {key} does not fit into signed 64 bit");
            Error::int_out_of_range(message)
        })?;
        let lock = at.lock().cloned();
        let encoded = Encoded::new(sum)?;
        let content = Content { bytes: encoded.as_bytes(), large: None };
        let record = self.store(at, NewContent { content, exp, lock, reserved: false }, cx, fx)?;
        Ok(Applied::entry(into_entry(record, cx)))
    }

    /// Writes a new value and says so.
    #[inline(always)]
    pub(super) fn store(
        &mut self,
        at: &Target<'_>,
        left: NewContent<'_>,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<Record> {
        let NewContent { content, exp, lock, reserved } = left;
        let time = self.mint(at.known(), cx);
        let writer = cx.member.clone();
        let after = at.known().map_or(0, Record::epoch);
        let in_cluster = cx.replication.is_some();
        let record = Record::new(NewValue {
            key: at.key,
            content,
            time,
            exp,
            writer,
            lock,
            in_cluster,
            after,
        });
        let room = if reserved { Room::Reserved } else { Room::Ask };
        self.replace(at.hash, at.present.as_ref(), record.clone(), room, cx, fx)?;
        self.emit(EventKind::Put, &record, cx, fx);
        Ok(record)
    }

    fn move_expiry(
        &mut self,
        hash: u64,
        record: &Record,
        exp: u64,
        kind: EventKind,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<Applied> {
        let earlier = record.minor().map_or(0, |minor| minor.clock);
        let minor = Minor { clock: self.tick(cx, earlier), member: cx.member.incarnation };
        self.count_minted(cx);
        let changed = record.with_exp(exp, minor);
        self.replace(hash, Some(record), changed.clone(), Room::Take, cx, fx)?;
        self.emit(kind, &changed, cx, fx);
        Ok(Applied::entry(entry(&changed, cx)))
    }

    /// Takes a record out of the table; its lock ends with it.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        record: &Record,
        kind: EventKind,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        self.take_out(hash, record, cx);
        self.leave_grave(hash, record, kind, cx, fx);
        if let Some(lock) = record.lock().filter(|lock| lock.state == LockState::Held) {
            lose(&mut lock.clone(), fx);
        }
        self.emit_removed(kind, record, cx, fx);
        self.serve(hash, record.key(), cx, fx);
        self.index.shrink(cx.hasher);
    }

    /// Puts a record where `old` was, or anew.
    #[inline]
    pub(super) fn replace(
        &mut self,
        hash: u64,
        old: Option<&Record>,
        new: Record,
        room: Room,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) -> Result<()> {
        let (size, old_size) = (new.size(), old.map_or(0, Record::size));
        let grown = size as i64 - old_size as i64;
        match room {
            Room::Ask => cx.limits.reserve(i64::from(old.is_none()), grown)?,
            Room::Take => cx.limits.release(-i64::from(old.is_none()), -grown),
            Room::Reserved => {}
        }
        self.record_bytes += size;
        self.held_locks += usize::from(is_held(&new));
        self.expiries.insert(new.exp(), hash);
        self.leases.insert(new.lease_end(), hash);
        let grave = if old.is_none() { self.graves.take(hash, new.key()) } else { None };
        self.note(old.or(grave.as_ref()), &new, cx, fx);
        begin(hash, cx);
        match old {
            Some(old) => {
                self.index.replace(hash, old, new, old_size);
                self.unindex(hash, old, old_size, cx);
            }
            None => self.index.insert(hash, new, cx.hasher),
        }
        end(hash, cx);
        if let Some(grave) = grave {
            self.unindex_grave(hash, &grave, cx);
        }
        Ok(())
    }

    /// Takes a live record out of the table, without a word to anyone.
    pub(super) fn take_out(&mut self, hash: u64, record: &Record, cx: &Context<'_>) {
        let size = record.size();
        begin(hash, cx);
        self.index.remove(hash, record, size);
        end(hash, cx);
        self.unindex(hash, record, size, cx);
        cx.limits.release(1, size as i64);
    }

    /// Forgets what is counted and indexed for a record that is no longer in the table.
    #[inline]
    fn unindex(&mut self, hash: u64, record: &Record, size: usize, cx: &Context<'_>) {
        self.record_bytes -= size;
        self.held_locks -= usize::from(is_held(record));
        let (exp, lease_end) = (record.exp(), record.lease_end());
        if exp != NEVER
            && self.find_with_hash(hash, cx.hasher, |other| other.exp() == exp).is_none()
        {
            self.expiries.remove(exp, hash);
        }
        let shared = |other: &Record| other.lease_end() == lease_end;
        if lease_end != NEVER
            && self.find_with_hash(hash, cx.hasher, shared).is_none()
            && !self.graves.with_hash(hash).any(shared)
        {
            self.leases.remove(lease_end, hash);
        }
    }

    /// Empties the shard for good: waiters get `stopped`, guards lose their locks.
    pub fn close(&mut self, fx: &mut Effects) {
        self.closed = true;
        for waiter in
            std::mem::take(&mut self.waiters).into_values().flat_map(BTreeMap::into_values)
        {
            waiter.tell(Err(stopped()), fx);
        }
        self.timeouts.clear();
        for record in self.index.iter() {
            if let Some(lock) = record.lock().filter(|lock| lock.state == LockState::Held) {
                lose(&mut lock.clone(), fx);
            }
        }
        self.index.clear();
        self.expiries.clear();
        self.leases.clear();
        self.graves = Graves::default();
        (self.held_locks, self.record_bytes) = (0, 0);
    }

    /// The time of a new value of this key.
    #[inline(always)]
    pub(super) fn mint(&mut self, known: Option<&Record>, cx: &Context<'_>) -> u64 {
        self.count_minted(cx);
        self.tick(cx, known.map_or(0, Record::time))
    }

    #[inline(always)]
    fn count_minted(&self, cx: &Context<'_>) {
        if let Some(replication) = cx.replication {
            replication.count_minted();
        }
    }

    /// Mints a time: later than everything minted here and than `after`.
    #[inline(always)]
    pub(super) fn tick(&mut self, cx: &Context<'_>, after: u64) -> u64 {
        self.clock = cx.now.wall.max(self.clock + 1).max(after + 1);
        self.clock
    }

    #[inline(always)]
    pub(super) fn emit(
        &self,
        kind: EventKind,
        record: &Record,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        if cx.watched {
            fx.events.push(Event::of(kind, entry(record, cx)));
        }
    }

    /// The lock went with the entry.
    pub(super) fn emit_removed(
        &self,
        kind: EventKind,
        record: &Record,
        cx: &Context<'_>,
        fx: &mut Effects,
    ) {
        if cx.watched {
            fx.events.push(Event::of(kind, entry(record, cx).without_lock()));
        }
    }
}

/// From now on readers may see this key otherwise.
#[inline(always)]
fn begin(hash: u64, cx: &Context<'_>) {
    if let Some(counters) = cx.counters {
        counters.begin(WriteCounters::slot(hash));
    }
}

/// Now every reader does.
#[inline(always)]
fn end(hash: u64, cx: &Context<'_>) {
    if let Some(counters) = cx.counters {
        counters.end(WriteCounters::slot(hash));
    }
}

pub(crate) fn entry(record: &Record, cx: &Context<'_>) -> Entry {
    into_entry(record.clone(), cx)
}

#[inline(always)]
fn into_entry(record: Record, cx: &Context<'_>) -> Entry {
    let locked = record.held_lock(cx.now).is_some();
    let heir = heir(&record, cx.heir);
    Entry::new(record.into(), cx.now.wall, locked, heir)
}

/// Who owns the entry in place of its writer, if no live member has that one's name.
#[inline]
pub(crate) fn heir(record: &Record, heir: &RwLock<Option<Arc<str>>>) -> Option<Arc<str>> {
    if record.writer().is_named() { None } else { heir.read().clone() }
}

pub(crate) fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the registry was stopped; start a new one")
}
