//! How late expiry events come, what expiring costs, and what readers notice of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use minikv::{EventKind, Options, PutOptions, Registry, WatchOptions};

use super::{HOT, key, value};

/// What the kernel counts the time of a thread in.
const TICKS_PER_SECOND: f64 = 100.0;
/// Between two reads whose time is taken.
const PAUSE: Duration = Duration::from_micros(100);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

pub struct Expired {
    /// In ms, at each hundredth of the events.
    pub late: Vec<f64>,
    /// Of one core, while entries expired; none: this store has no thread for it.
    pub sweeper: Option<f64>,
    /// The 99th hundredth of single reads in ns: before, and while entries expired.
    pub get_p99: Option<[f64; 2]>,
}

pub fn measure(store: &str, entries: usize, spread: Duration) -> Option<Expired> {
    match store {
        "minikv" => of_minikv(entries, spread).ok(),
        "moka" => Some(of_moka(entries, spread)),
        _ => None,
    }
}

/// When each entry is to expire, from the start: all are in place before the first does.
fn due(number: usize, entries: usize, spread: Duration) -> Duration {
    let first = Duration::from_nanos(6000 * entries as u64 + 1_500_000_000);
    first + spread.mul_f64(number as f64 / entries as f64)
}

fn hundredths(mut late: Vec<f64>) -> Vec<f64> {
    late.sort_by(f64::total_cmp);
    let at =
        |n: usize| late.get(late.len().saturating_sub(1) * n / 100).copied().unwrap_or(f64::NAN);
    (0..=100).map(at).collect()
}

fn of_minikv(entries: usize, spread: Duration) -> Result<Expired, minikv::Error> {
    let kv = Registry::start(Options::unnamed())?;
    let watch = kv.watch_with(WatchOptions::new().capacity(WatchOptions::MAX_CAPACITY))?;
    for number in 0..HOT {
        kv.put(format!("staying:{number}"), number as i64)?;
    }
    let start = now();
    for number in 0..entries {
        let left = due(number, entries, spread).saturating_sub(Duration::from_nanos(now() - start));
        kv.put_with(key(number), value(number), PutOptions::new().ttl(left))?;
    }
    let enough = Instant::now() + Duration::from_millis(500);
    let before = read_times(&kv, || Instant::now() > enough);
    let is_over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (kv, is_over) = (kv.clone(), is_over.clone());
        thread::spawn(move || read_times(&kv, || is_over.load(Ordering::Relaxed)))
    };
    let (ticks, began) = (sweeper_ticks(), Instant::now());
    let mut late = Vec::with_capacity(entries);
    while late.len() < entries {
        let Some(event) = watch.next_timeout(Duration::from_secs(60))? else { break };
        if event.kind() == EventKind::Expire {
            let exp = event.entry().and_then(|entry| entry.exp()).unwrap_or_default();
            late.push(now().saturating_sub(exp) as f64 / 1e6);
        }
    }
    let sweeper = (sweeper_ticks() - ticks) / TICKS_PER_SECOND / began.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    let during = reader.join().unwrap_or_default();
    let p99 = |times| hundredths(times)[99];
    Ok(Expired {
        late: hundredths(late),
        sweeper: Some(sweeper),
        get_p99: Some([p99(before), p99(during)]),
    })
}

/// Times of single reads of entries that stay, until `is_over` says so.
fn read_times(kv: &Registry, is_over: impl Fn() -> bool) -> Vec<f64> {
    let keys: Vec<String> = (0..HOT).map(|number| format!("staying:{number}")).collect();
    let mut times = Vec::new();
    for key in keys.iter().cycle() {
        if is_over() {
            break;
        }
        let started = Instant::now();
        let entry = kv.get(key);
        times.push(started.elapsed().as_nanos() as f64);
        drop(entry);
        thread::sleep(PAUSE);
    }
    times
}

/// What the thread that removes expired entries has used so far.
fn sweeper_ticks() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    let of_sweeper = stats.filter(|stat| stat.contains("(minikv-sweeper)"));
    let used = |stat: String| -> f64 {
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // utime and stime; the state is the first field here.
        [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum()
    };
    of_sweeper.map(used).sum()
}

/// It removes when it is used, or when it is told to: here every millisecond.
fn of_moka(entries: usize, spread: Duration) -> Expired {
    use moka::notification::RemovalCause;
    struct Each;
    impl moka::Expiry<usize, u64> for Each {
        fn expire_after_create(&self, _: &usize, due: &u64, _: Instant) -> Option<Duration> {
            Some(Duration::from_nanos(due.saturating_sub(now())))
        }
    }
    let late: Arc<std::sync::Mutex<Vec<f64>>> = Arc::default();
    let told = late.clone();
    let cache: moka::sync::Cache<usize, u64> = moka::sync::Cache::builder()
        .expire_after(Each)
        .eviction_listener(move |_, due, cause| {
            if cause == RemovalCause::Expired
                && let Ok(mut late) = told.lock()
            {
                late.push(now().saturating_sub(due) as f64 / 1e6);
            }
        })
        .build();
    let start = now();
    for number in 0..entries {
        cache.insert(number, start + due(number, entries, spread).as_nanos() as u64);
    }
    let count = || late.lock().map_or(0, |late| late.len());
    let began = Instant::now();
    while count() < entries
        && began.elapsed() < due(entries, entries, spread) + Duration::from_secs(60)
    {
        cache.run_pending_tasks();
        thread::sleep(Duration::from_millis(1));
    }
    let late = late.lock().map(|mut late| std::mem::take(&mut *late)).unwrap_or_default();
    Expired { late: hundredths(late), sweeper: None, get_p99: None }
}
