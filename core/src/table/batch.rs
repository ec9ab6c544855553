//! Reads of many keys at once.

use super::{SHARDS, Table};
use crate::entry::Entry;
use crate::record::Record;

/// How many keys are looked up under the same locks: enough to fetch them all from memory at a time, few
/// enough that nobody waits long to write.
const TOGETHER: usize = 256;

impl Table {
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
