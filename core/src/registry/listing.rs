//! Listings: weakly consistent, no key twice, in pages if wanted.

use std::fmt::Write;

use super::Registry;
use crate::call_options::ListOptions;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::key::{Key, check_prefix};
use crate::table::SHARDS;

/// A part of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The keys or entries, in no particular order.
    pub items: Vec<T>,
    /// Leads to the next page; `None`: this was the last. Valid for the registry that made it only.
    pub cursor: Option<String>,
}

impl<T> IntoIterator for Page<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

/// A place in the order of (shard, hash, key). Keys do not move in it, so none is met twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    shard: usize,
    hash: u64,
    key: Vec<u8>,
}

impl Cursor {
    fn write(&self) -> String {
        let mut text = format!("{:02x}{:016x}", self.shard, self.hash);
        for byte in &self.key {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn parse(text: &str) -> Option<Cursor> {
        if !text.bytes().all(|b| b.is_ascii_hexdigit()) || !text.len().is_multiple_of(2) {
            return None;
        }
        let shard = usize::from_str_radix(text.get(..2)?, 16).ok()?;
        let hash = u64::from_str_radix(text.get(2..18)?, 16).ok()?;
        let digits = text.get(18..)?.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let key = digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
        (shard < SHARDS).then_some(Cursor { shard, hash, key })
    }
}

impl Registry {
    /// The keys, or a page of them.
    ///
    /// Errors: `invalid_key` (a prefix over 65,535 bytes), `invalid_argument`.
    pub fn keys(&self, options: ListOptions) -> Result<Page<Key>> {
        let Page { items, cursor } = self.entries(options)?;
        Ok(Page { items: items.iter().map(Entry::key).collect(), cursor })
    }

    /// The entries, or a page of them. Errors: those of [`keys`](Registry::keys).
    ///
    /// ```
    /// # fn main() -> Result<(), minikv::Error> {
    /// use minikv::{ListOptions, Options, Registry};
    /// let kv = Registry::start(Options::unnamed())?;
    /// for n in 0..10 {
    ///     kv.put(format!("n:{n}"), n)?;
    /// }
    /// let mut options = ListOptions::new().prefix("n:").limit(4);
    /// let mut sum = 0;
    /// loop {
    ///     let page = kv.entries(options.clone())?;
    ///     sum += page.items.iter().filter_map(|entry| entry.as_int()).sum::<i64>();
    ///     let Some(cursor) = page.cursor else { break };
    ///     options = options.cursor(cursor);
    /// }
    /// assert_eq!(sum, 45);
    /// # Ok(()) }
    /// ```
    pub fn entries(&self, options: ListOptions) -> Result<Page<Entry>> {
        self.ensure_running()?;
        let ListOptions { prefix, limit, cursor } = options;
        check_prefix(&prefix)?;
        if limit == Some(0) {
            return Err(Error::argument("limit is 0; it must be at least 1"));
        }
        let after = match &cursor {
            Some(text) => Some(Cursor::parse(text).ok_or_else(|| {
                Error::argument("cursor is not one that a page of this registry gave")
            })?),
            None => None,
        };
        let table = &self.0.core.table;
        let first = after.as_ref().map_or(0, |after| after.shard);
        let mut items: Vec<Entry> = Vec::new();
        for shard in first..SHARDS {
            let Some(limit) = limit else {
                let mut entries = table.scan(shard, |key| key.starts_with(&prefix));
                entries.retain(|entry| {
                    let key = entry.key_bytes();
                    after.as_ref().is_none_or(|after| {
                        (shard, table.hash(key), key) > (after.shard, after.hash, &*after.key)
                    })
                });
                items.append(&mut entries);
                continue;
            };
            let from = after.as_ref().filter(|after| after.shard == shard);
            let from = from.map(|after| (after.hash, &*after.key));
            let room = limit - items.len();
            let mut entries = table.scan_page(shard, &prefix, from, room.saturating_add(1));
            if entries.len() <= room {
                items.append(&mut entries);
                continue;
            }
            // There is more: the next page goes on after the last item of this one.
            items.extend(entries.drain(..room));
            let cursor = items.last().map(|last| {
                let hash = table.hash(last.key_bytes());
                let key = last.key_bytes().to_vec();
                Cursor { shard: table.shard_of(hash), hash, key }.write()
            });
            return Ok(Page { items, cursor });
        }
        // What a stop has emptied meanwhile is not the end.
        self.ensure_running()?;
        Ok(Page { items, cursor: None })
    }

    /// How many keys start with `prefix`; an empty one counts all, without looking at them.
    pub fn count(&self, prefix: impl AsRef<[u8]>) -> Result<usize> {
        self.ensure_running()?;
        let prefix = prefix.as_ref();
        check_prefix(prefix)?;
        let table = &self.0.core.table;
        let count = if prefix.is_empty() {
            table.len()
        } else {
            let count = |shard| table.scan(shard, |key| key.starts_with(prefix)).len();
            (0..SHARDS).map(count).sum()
        };
        self.ensure_running()?;
        Ok(count)
    }

    /// A digest of all keys and values, as text: equal contents have equal digests, in every process and language.
    ///
    /// Owners, times, expiries and locks do not count.
    pub fn digest(&self) -> Result<String> {
        self.ensure_running()?;
        let table = &self.0.core.table;
        let mut digest = crate::digest::Digest::default();
        for shard in 0..SHARDS {
            for entry in table.scan(shard, |_| true) {
                digest.add(entry.key_bytes(), entry.encoded());
            }
        }
        self.ensure_running()?;
        Ok(digest.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        let cursor = Cursor { shard: 1, hash: 0xabc, key: vec![0, 255] };
        assert_eq!(Cursor::parse(&cursor.write()), Some(cursor));
        for text in ["", "x", "ff0000000000000000", "0", "é000000000000000000"] {
            assert_eq!(Cursor::parse(text), None);
        }
    }
}
