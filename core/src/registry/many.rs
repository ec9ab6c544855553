//! Operations on many keys at once.

use std::collections::HashMap;

use super::Registry;
use crate::call_options::{PutOptions, WriteOptions};
use crate::codec::Prepared;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{check_key, check_prefix};
use crate::table::SHARDS;
use crate::table::mutation::{Action, Mutation};
use crate::value::IntoValue;

impl Registry {
    /// The entries of many keys, in the order asked; `None` for an absent one.
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Entry>>> {
        self.ensure_running()?;
        let keys: Vec<K> = keys.into_iter().collect();
        for key in &keys {
            check_key(key.as_ref())?;
        }
        let entries = self.0.core.table.get_many(&keys);
        // What a stop has emptied meanwhile is not absent.
        self.ensure_running()?;
        Ok(entries)
    }

    /// Stores many values, all or none on this member; returns the entries in the order given.
    ///
    /// Of a key given twice the last value counts. Errors: those of [`put_with`](Registry::put_with).
    pub fn put_many<K: AsRef<[u8]>, V: IntoValue>(
        &self,
        items: impl IntoIterator<Item = (K, V)>,
        options: PutOptions,
    ) -> Result<Vec<Entry>> {
        self.ensure_running()?;
        let core = &self.0.core;
        let items: Vec<(K, V)> = items.into_iter().collect();
        for (key, _) in &items {
            check_key(key.as_ref())?;
        }
        let mut prepared: Vec<(K, Prepared)> = Vec::with_capacity(items.len());
        for (key, value) in items {
            let value = core.prepare(key.as_ref(), value)?;
            prepared.push((key, value));
        }
        options.write.check()?;
        if core.cluster().is_some() && options.lock_lease(&core.options)?.is_some() {
            let message = "in a cluster locks are taken one by one: lock each key, then put";
            return Err(Error::argument(message));
        }
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut mutations: Vec<Mutation<'_>> = Vec::with_capacity(prepared.len());
        let mut at = Vec::with_capacity(prepared.len());
        for (key, value) in &prepared {
            let mut put = core.put_action(value.content(), &options)?;
            put.reserved = true;
            let conditions = options.write.conditions();
            let mutation = Mutation { key: key.as_ref(), conditions, action: Action::Put(put) };
            let place = *places.entry(key.as_ref()).or_insert(mutations.len());
            match mutations.get_mut(place) {
                Some(earlier) => *earlier = mutation,
                None => mutations.push(mutation),
            }
            at.push(place);
        }
        let applied = core.table.apply_all(&mutations)?;
        at.into_iter().map(|place| core.one_entry(applied[place].clone())).collect()
    }

    /// Removes many entries, all or none on this member; returns the removed ones in the order given.
    ///
    /// Of a key given twice the second is absent. Errors: those of [`delete_with`](Registry::delete_with).
    pub fn delete_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: WriteOptions,
    ) -> Result<Vec<Option<Entry>>> {
        self.ensure_running()?;
        let keys: Vec<K> = keys.into_iter().collect();
        for key in &keys {
            check_key(key.as_ref())?;
        }
        options.check()?;
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut mutations: Vec<Mutation<'_>> = Vec::with_capacity(keys.len());
        let mut at = Vec::with_capacity(keys.len());
        for key in &keys {
            let key = key.as_ref();
            let first = !places.contains_key(key);
            if first {
                places.insert(key, mutations.len());
                let conditions = options.conditions();
                mutations.push(Mutation { key, conditions, action: Action::Delete });
            }
            at.push(first.then(|| mutations.len() - 1));
        }
        let applied = self.0.core.table.apply_all(&mutations)?;
        let removed = |place: Option<usize>| applied[place?].entry.clone();
        Ok(at.into_iter().map(removed).collect())
    }

    /// Removes the entries whose keys start with `prefix` and that nobody else has locked; returns how many.
    pub fn clear(&self, prefix: impl AsRef<[u8]>) -> Result<usize> {
        self.clear_with(prefix, WriteOptions::new())
    }

    /// As [`clear`](Registry::clear), for the holder that the options name. Keys that do not meet the
    /// conditions stay.
    pub fn clear_with(&self, prefix: impl AsRef<[u8]>, options: WriteOptions) -> Result<usize> {
        self.ensure_running()?;
        let prefix = prefix.as_ref();
        check_prefix(prefix)?;
        options.check()?;
        let mut removed = 0;
        for shard in 0..SHARDS {
            for entry in self.0.core.table.scan(shard, |key| key.starts_with(prefix)) {
                match self.write(entry.key_bytes(), &options, Action::Delete) {
                    Ok(entry) => removed += usize::from(entry.is_some()),
                    Err(error) if error.kind() == ErrorKind::Stopped => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(removed)
    }
}
