//! What a reader notices while the table under it grows.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::{HOT, Random, key, value};
use crate::stores::Store;

/// In microseconds, the 999th thousandth and the longest of single reads, while another thread puts new keys.
pub fn stalls(store: &dyn Store, entries: usize) -> [f64; 2] {
    for number in 0..HOT {
        store.put(&key(number), &value(number));
    }
    let is_over = AtomicBool::new(false);
    let mut times = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let keys: Vec<String> = (0..HOT).map(key).collect();
            let mut random = Random(42);
            let mut times: Vec<u64> = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let key = &keys[random.next(HOT)];
                let started = Instant::now();
                black_box(store.get(key));
                times.push(started.elapsed().as_nanos() as u64);
            }
            times
        });
        for number in HOT..entries {
            store.put(&key(number), &value(number));
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap_or_default()
    });
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let at = |at: usize| times.get(at).map_or(f64::NAN, |time| *time as f64 / 1000.0);
    [at(last - last / 1000), at(last)]
}
