//! Reads: of one key without a lock, of many under their shards' locks at once.

use super::readers::{self, Lent, Reading};
use super::shard::heir;
use super::{SHARDS, Table};
use crate::clock::Now;
use crate::entry::Entry;
use crate::lock::NEVER;
use crate::record::Record;

/// How many keys are looked up under the same locks: enough to fetch them all from memory at a time, few
/// enough that nobody waits long to write.
const TOGETHER: usize = 256;

impl Table {
    /// The entry that a reader sees. The clocks are asked only if the record depends on them.
    #[inline(always)]
    pub fn get(&self, key: &[u8]) -> Option<Entry> {
        self.get_hashed(self.hash(key), key)
    }

    #[inline(always)]
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<Entry> {
        let take = |record: &Record, reading: Option<&Reading>| match reading {
            Some(reading) => reading.lend(record),
            None => Lent::from(record.clone()),
        };
        self.view(self.read(hash, key, take)?)
    }

    /// What `take` gives for the record of a key, which it may be lent if nobody is locked out. It is short and calls
    /// nobody: whatever is looked at is not freed.
    #[inline(always)]
    fn read<T>(
        &self,
        hash: u64,
        key: &[u8],
        take: impl Fn(&Record, Option<&Reading>) -> T,
    ) -> Option<T> {
        let slot = &self.slots[Table::place(hash)];
        if let Some(reading) = readers::enter()
            && !slot.published.is_busy()
        {
            #[allow(unsafe_code)]
            // SAFETY: reading until the end of this block.
            let found =
                unsafe { slot.published.find(hash, key, |record| take(record, Some(&reading))) };
            // It may be one of several that have just begun to change together.
            if !slot.published.is_busy() {
                return found;
            }
        }
        self.read_locked(hash, key, take)
    }

    #[cold]
    #[inline(never)]
    fn read_locked<T>(
        &self,
        hash: u64,
        key: &[u8],
        take: impl Fn(&Record, Option<&Reading>) -> T,
    ) -> Option<T> {
        let shard = self.slots[Table::place(hash)].shard.read();
        shard.get(hash, key).map(|record| take(record, None))
    }

    /// Asks for the memory in which a key is looked for, without waiting for it: what is done until it is needed is gained.
    #[inline]
    pub fn fetch_group(&self, hash: u64) {
        self.slots[Table::place(hash)].published.fetch_group(hash);
    }

    /// Asks for the key's record, likewise, some time after its group.
    #[inline]
    pub fn fetch_record(&self, hash: u64) {
        if let Some(_reading) = readers::enter() {
            #[allow(unsafe_code)]
            // SAFETY: reading until the end of this block.
            unsafe {
                self.slots[Table::place(hash)].published.fetch_record(hash);
            }
        }
    }

    /// The record as an entry, unless it has expired.
    #[inline(always)]
    pub(super) fn view(&self, record: Lent) -> Option<Entry> {
        if record.is_plain() {
            let heir = heir(&record, &self.heir);
            return Some(Entry::new(record, 0, false, heir));
        }
        self.view_at_this_time(record)
    }

    fn view_at_this_time(&self, record: Lent) -> Option<Entry> {
        let wall = if record.exp() == NEVER { 0 } else { self.clock.wall() };
        if record.is_expired(wall) {
            return None;
        }
        let mono = if record.held_until() == NEVER { 0 } else { self.clock.mono() };
        let locked = record.held_lock(Now { wall, mono }).is_some();
        let heir = heir(&record, &self.heir);
        Some(Entry::new(record, wall, locked, heir))
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let exp = self.read(hash, key, |record, _| record.exp());
        exp.is_some_and(|exp| exp == NEVER || exp > self.clock.wall())
    }

    /// The entries that a reader sees, in the order asked. Nothing that makes the processor wait stands between
    /// one lookup and the next, no lock and no count: so it fetches several records from memory at a time.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Entry>> {
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TOGETHER) {
            entries.extend(self.look_up(keys).into_iter().map(|record| self.view(record?.into())));
        }
        entries
    }

    fn look_up<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Record>> {
        let hashes: Vec<u64> = keys.iter().map(|key| self.hash(key.as_ref())).collect();
        let mut wanted = [false; SHARDS];
        for hash in &hashes {
            wanted[Table::place(*hash)] = true;
        }
        // In the one order in which all lock several shards.
        let slots = self.slots.iter().zip(wanted);
        let shards: Vec<_> =
            slots.map(|(slot, wanted)| wanted.then(|| slot.shard.read())).collect();
        let find = |(key, hash): (&K, &u64)| {
            let shard = shards[Table::place(*hash)].as_ref()?;
            shard.get(*hash, key.as_ref())
        };
        let found: Vec<Option<&Record>> = keys.iter().zip(&hashes).map(find).collect();
        found.into_iter().map(Option::<&Record>::cloned).collect()
    }
}
