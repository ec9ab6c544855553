//! The stores, each used as its own documentation says, all holding what an entry of minikv holds.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// One face for all of them; a read must bring the whole record to the caller.
pub trait Store: Sync {
    fn get(&self, key: &str) -> usize;
    fn put(&self, key: &str, value: &str);
}

/// What an entry carries beside its key.
#[derive(Clone)]
pub struct Record {
    value: Box<str>,
    node: Arc<str>,
    time: u64,
    exp: Option<u64>,
    locked: bool,
}

struct Maker(Arc<str>);

impl Maker {
    fn record(&self, value: &str) -> Arc<Record> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = now.as_nanos() as u64;
        Arc::new(Record {
            value: value.into(),
            node: self.0.clone(),
            time,
            exp: None,
            locked: false,
        })
    }
}

fn seen(record: &Record) -> usize {
    record.value.len()
        + record.node.len()
        + usize::from(record.locked)
        + usize::from(record.time == 0 || record.exp.is_some())
}

struct Minikv(minikv::Registry);

impl Store for Minikv {
    fn get(&self, key: &str) -> usize {
        let entry = self.0.get(key).ok().flatten();
        entry.map_or(0, |entry| entry.as_str().map_or(0, str::len))
    }
    fn put(&self, key: &str, value: &str) {
        let _ = self.0.put(key, value);
    }
}

struct Dash(dashmap::DashMap<Box<str>, Arc<Record>>, Maker);

impl Store for Dash {
    fn get(&self, key: &str) -> usize {
        self.0.get(key).map_or(0, |record| seen(&Arc::clone(&record)))
    }
    fn put(&self, key: &str, value: &str) {
        self.0.insert(key.into(), self.1.record(value));
    }
}

struct Papaya(papaya::HashMap<Box<str>, Arc<Record>>, Maker);

impl Store for Papaya {
    fn get(&self, key: &str) -> usize {
        self.0.pin().get(key).map_or(0, |record| seen(&Arc::clone(record)))
    }
    fn put(&self, key: &str, value: &str) {
        self.0.pin().insert(key.into(), self.1.record(value));
    }
}

struct Scc(scc::HashMap<Box<str>, Arc<Record>>, Maker);

impl Store for Scc {
    fn get(&self, key: &str) -> usize {
        self.0.read_sync(key, |_, record| Arc::clone(record)).map_or(0, |record| seen(&record))
    }
    fn put(&self, key: &str, value: &str) {
        self.0.upsert_sync(key.into(), self.1.record(value));
    }
}

struct Moka(moka::sync::Cache<Box<str>, Arc<Record>>, Maker);

impl Store for Moka {
    fn get(&self, key: &str) -> usize {
        self.0.get(key).map_or(0, |record| seen(&record))
    }
    fn put(&self, key: &str, value: &str) {
        self.0.insert(key.into(), self.1.record(value));
    }
}

struct Quick(quick_cache::sync::Cache<Box<str>, Arc<Record>>, Maker);

impl Store for Quick {
    fn get(&self, key: &str) -> usize {
        self.0.get(key).map_or(0, |record| seen(&record))
    }
    fn put(&self, key: &str, value: &str) {
        self.0.insert(key.into(), self.1.record(value));
    }
}

/// More than any row stores: nothing is evicted.
const CAPACITY: usize = 20_000_000;

pub fn open(name: &str) -> Option<Box<dyn Store>> {
    let maker = Maker(Arc::from("local"));
    Some(match name {
        "minikv" => Box::new(Minikv(minikv::Registry::start(minikv::Options::unnamed()).ok()?)),
        "dashmap" => Box::new(Dash(Default::default(), maker)),
        "papaya" => Box::new(Papaya(Default::default(), maker)),
        "scc" => Box::new(Scc(Default::default(), maker)),
        "moka" => Box::new(Moka(moka::sync::Cache::new(CAPACITY as u64), maker)),
        "quick_cache" => Box::new(Quick(quick_cache::sync::Cache::new(CAPACITY), maker)),
        _ => return None,
    })
}
