//! How late expiry events come, and what expiring costs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use minikv::{EventKind, Options, PutOptions, Registry, WatchOptions};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// The lateness in ms at the 50th, the 99th and the last of a hundred events, of entries that expire
/// spread over `spread`.
pub fn lateness(entries: usize, spread: Duration) -> Result<[f64; 3], minikv::Error> {
    let kv = Registry::start(Options::unnamed())?;
    let watch = kv.watch_with(WatchOptions::new().capacity(WatchOptions::MAX_CAPACITY))?;
    // All are in place before the first one expires.
    let first = Duration::from_nanos(6000 * entries as u64 + 500_000_000);
    let start = now();
    for number in 0..entries {
        let at = first + spread.mul_f64(number as f64 / entries as f64);
        let left = at.saturating_sub(Duration::from_nanos(now() - start));
        kv.put_with(super::key(number), super::value(number), PutOptions::new().ttl(left))?;
    }
    let mut late = Vec::with_capacity(entries);
    while late.len() < entries {
        let Some(event) = watch.next_timeout(Duration::from_secs(60))? else { break };
        if event.kind() == EventKind::Expire {
            let exp = event.entry().and_then(|entry| entry.exp()).unwrap_or_default();
            late.push(now().saturating_sub(exp) as f64 / 1e6);
        }
    }
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    Ok([at(0.5), at(0.99), at(1.0)])
}
