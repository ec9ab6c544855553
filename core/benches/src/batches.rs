//! Many keys at once, and one after the other.

use std::hint::black_box;
use std::time::Instant;

use minikv::{Options, Registry};

use super::{Random, key, value};

const BATCH: usize = 100;

/// Nanoseconds per key of reads of random keys, a hundred a call; `batched`: in one call for all of them.
pub fn get_many(entries: usize, batched: bool) -> Result<f64, minikv::Error> {
    const CALLS: usize = 10_000;
    let kv = Registry::start(Options::unnamed())?;
    for number in 0..entries {
        kv.put(key(number), value(number))?;
    }
    let mut random = Random(42);
    let keys: Vec<String> = (0..CALLS * BATCH).map(|_| key(random.next(entries))).collect();
    let started = Instant::now();
    for batch in keys.chunks(BATCH) {
        if batched {
            black_box(kv.get_many(batch)?);
        } else {
            let each: Result<Vec<_>, _> = batch.iter().map(|key| kv.get(key)).collect();
            black_box(each?);
        }
    }
    Ok(started.elapsed().as_nanos() as f64 / (CALLS * BATCH) as f64)
}
