//! Reads, writes and memory beside concurrent maps that hold the same record. One result a line, as JSON.
//!
//! `compare ROW STORE ENTRIES`: measures one row for one store in this process, so that memory is its own.

mod batches;
mod expiry;
mod growing;
mod stores;

use std::hint::black_box;
use std::time::Instant;

use stores::{Store, open};

const HOT: usize = 1000;
const KEY_BYTES: usize = 20;

/// A generator of its own: the same keys for every store.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * below as u128) >> 64) as usize
    }
}

fn key(number: usize) -> String {
    format!("session:{number:012}")
}

fn value(number: usize) -> String {
    format!("{number:040}")
}

fn fill(store: &dyn Store, entries: usize) {
    for number in 0..entries {
        store.put(&key(number), &value(number));
    }
}

/// Nanoseconds per call of `call`, given the keys in random order, one after the other in memory.
fn timed(calls: usize, below: usize, seed: u64, call: &(dyn Fn(&str) + Sync)) -> f64 {
    let mut random = Random(seed);
    let mut keys = String::with_capacity(calls * KEY_BYTES);
    for _ in 0..calls {
        keys.push_str(&key(random.next(below)));
    }
    let started = Instant::now();
    for at in 0..calls {
        call(&keys[at * KEY_BYTES..(at + 1) * KEY_BYTES]);
    }
    started.elapsed().as_nanos() as f64 / calls as f64
}

fn threads(count: usize, calls: usize, below: usize, call: &(dyn Fn(&str) + Sync)) -> f64 {
    let times: Vec<f64> = std::thread::scope(|scope| {
        let spawn = |n| scope.spawn(move || timed(calls, below, 0x9e37_79b9 + n as u64, call));
        let running: Vec<_> = (0..count).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).collect()
    });
    times.iter().sum::<f64>() / count as f64
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0
}

fn measure(row: &str, store: &dyn Store, entries: usize) -> Option<f64> {
    let get = |key: &str| {
        black_box(store.get(key));
    };
    Some(match row {
        "get-random" => {
            fill(store, entries);
            timed(1_000_000, entries, 42, &get)
        }
        "get-hot" => {
            fill(store, entries);
            timed(3_000_000, HOT, 42, &get)
        }
        "get-hot-2" => {
            fill(store, entries);
            threads(2, 3_000_000, HOT, &get)
        }
        "put-new" => {
            let items: Vec<_> = (0..entries).map(|number| (key(number), value(number))).collect();
            let started = Instant::now();
            for (key, value) in &items {
                store.put(key, value);
            }
            started.elapsed().as_nanos() as f64 / entries as f64
        }
        "put-over" => {
            fill(store, entries);
            let value = value(7);
            timed(1_000_000, entries, 42, &|key: &str| store.put(key, &value))
        }
        "memory" => {
            let before = resident();
            fill(store, entries);
            (resident() - before) / entries as f64
        }
        "stall-p999" => growing::stalls(store, entries)[0],
        "stall-max" => growing::stalls(store, entries)[1],
        _ => return None,
    })
}

fn main() -> Result<(), String> {
    let usage = "usage: compare ROW STORE ENTRIES";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [row, store, entries] = &arguments[..] else { return Err(usage.into()) };
    let entries = entries.parse().map_err(|_| usage.to_owned())?;
    if row == "get-many" {
        let result =
            batches::get_many(entries, store == "minikv").map_err(|error| error.to_string())?;
        println!(r#"{{"row": "{row}", "store": "{store}", "value": {result:.1}}}"#);
        return Ok(());
    }
    if row == "expiry" {
        let spread = std::time::Duration::from_micros(10 * entries as u64);
        let expired = expiry::measure(store, entries, spread)
            .ok_or_else(|| format!("{store} was not measured"))?;
        let number =
            |share: Option<f64>| share.map_or("null".to_owned(), |share| share.to_string());
        let (sweeper, p99) =
            (number(expired.sweeper), format!("{:?}", expired.get_p99.unwrap_or_default()));
        let late = format!("{:?}", expired.late).replace("NaN", "null");
        println!(r#"{{"late": {late}, "sweeper": {sweeper}, "get_p99": {p99}}}"#);
        return Ok(());
    }
    let opened = open(store).ok_or_else(|| format!("unknown store {store}"))?;
    let result =
        measure(row, opened.as_ref(), entries).ok_or_else(|| format!("unknown row {row}"))?;
    println!(r#"{{"row": "{row}", "store": "{store}", "value": {result:.1}}}"#);
    Ok(())
}
