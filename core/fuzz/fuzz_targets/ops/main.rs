//! A sequence of calls with all their options on a manual clock.
//!
//! A copy of the contents is kept from the events of a watch. After every call it must be what the
//! registry shows, and what the call returned must fit to what was there before it.
#![no_main]

mod guards;
mod input;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use minikv::{
    ClockKind, Computation, Encoded, Entry, ErrorKind, EventKind, GetOrPut, ListOptions, LockGuard,
    MANUAL_CLOCK_START_MS, Options, PendingGuard, PendingLock, PendingValue, PutOptions, Registry,
    Result, Update, Watch, WatchOptions,
};

use crate::input::{Ask, Input};

/// Kinds that every write may fail with.
const WRITE: &[ErrorKind] = &[
    ErrorKind::InvalidKey,
    ErrorKind::InvalidArgument,
    ErrorKind::StaleFence,
    ErrorKind::Locked,
    ErrorKind::Conflict,
    ErrorKind::Limit,
];

struct Run {
    kv: Registry,
    options: Options,
    watch: Watch,
    copy: BTreeMap<Vec<u8>, Entry>,
    now: u64,
    waiting: Vec<PendingLock>,
    waiting_guards: Vec<PendingGuard>,
    /// Each with whether it deleted its entry, and with it its lock.
    guards: Vec<(LockGuard, bool)>,
    computations: Vec<Computation>,
    values: Vec<PendingValue>,
    watches: Vec<Watch>,
}

fn options(input: &mut Input<'_>) -> Options {
    let mut options = Options::unnamed().clock(ClockKind::Manual);
    if input.rarely() {
        options = options.default_ttl(Duration::from_millis(30));
    }
    if input.rarely() {
        options = options.max_entries(1 + u64::from(input.byte() % 4));
    }
    if input.rarely() {
        options = options.max_bytes(1 + u64::from(input.byte()) * 8);
    }
    if input.rarely() {
        options = options.max_value_bytes(1 + u64::from(input.byte()));
    }
    if input.rarely() {
        options = options.lock_lease(Duration::from_millis(25));
    }
    if input.rarely() {
        options = options.max_watchers(2);
    }
    options
}

/// What a call that wrote found, to be held against what it returned.
struct Before {
    key: Vec<u8>,
    entry: Option<Entry>,
    digest: String,
    quiet: bool,
}

impl Run {
    fn new(input: &mut Input<'_>) -> Run {
        let options = options(input);
        let kv = Registry::start(options.clone()).expect("the options are right");
        let watch = kv.watch_with(WatchOptions::new().capacity(1 << 20)).expect("the first watch");
        Run {
            kv,
            options,
            watch,
            copy: BTreeMap::new(),
            now: MANUAL_CLOCK_START_MS * 1_000_000,
            waiting: Vec::new(),
            waiting_guards: Vec::new(),
            guards: Vec::new(),
            computations: Vec::new(),
            values: Vec::new(),
            watches: Vec::new(),
        }
    }

    fn present(&self, key: &[u8]) -> Option<&Entry> {
        self.copy.get(key).filter(|entry| entry.exp().is_none_or(|exp| exp > self.now))
    }

    fn before(&self, key: &[u8]) -> Before {
        // Nobody can be granted a lock, and store with it, behind the back of a call.
        let quiet = self.waiting.is_empty() && self.waiting_guards.is_empty();
        let digest = self.kv.digest().expect("running");
        Before { key: key.to_vec(), entry: self.present(key).cloned(), digest, quiet }
    }

    /// What holds for every write of one key.
    fn after_write<T>(&self, before: &Before, ask: &Ask, result: &Result<T>, more: &[ErrorKind]) {
        if let Err(error) = result {
            let kind = error.kind();
            assert!(WRITE.contains(&kind) || more.contains(&kind), "{error}");
            if before.quiet {
                assert_eq!(self.kv.digest().expect("running"), before.digest, "{error}");
            }
            if kind == ErrorKind::Limit {
                let limited = self.options.to_value() != Options::unnamed().to_value();
                assert!(limited, "no limit was set: {error}");
            }
        }
        if !ask.is_valid() || before.key.is_empty() || before.key.len() > minikv::MAX_KEY_BYTES {
            assert!(result.is_err());
            return;
        }
        if !before.quiet {
            return;
        }
        let holder = before.entry.as_ref().and_then(Entry::holder);
        let locked = holder.is_some_and(|holder| holder.owner != ask.owner);
        match result {
            Ok(_) => {
                assert!(!locked, "written past a lock");
                if let Some(version) = ask.version {
                    let present = before.entry.as_ref().map(Entry::version);
                    assert_eq!(present, Some(version), "written past if_version");
                }
            }
            Err(error) => assert!(locked || error.kind() != ErrorKind::Locked, "{error}"),
        }
    }

    /// An entry that a write left is what a read sees, unless it expired at once.
    fn after_store(&self, before: &Before, entry: &Entry) {
        assert_eq!(entry.key_bytes(), before.key);
        let read = self.kv.get(&before.key).expect("running");
        match entry.exp() {
            Some(exp) if exp <= self.now => assert!(read.is_none()),
            _ => assert_eq!(read.as_ref(), Some(entry)),
        }
        if let Some(earlier) = &before.entry {
            assert!(entry.version() > earlier.version(), "versions grow");
        }
    }

    fn put_options(&self, input: &mut Input<'_>, ask: &Ask) -> (PutOptions, bool) {
        let mut put = ask.put();
        let mut if_absent = false;
        let flags = input.byte();
        if flags & 1 > 0 {
            put = put.ttl(input.ttl());
        }
        if flags & 0b110 == 0b110 {
            put = put.persist(true);
        }
        if flags & 0b1100 == 0b1100 {
            put = put.keep_ttl(true);
        }
        if flags & 0b11000 == 0b11000 {
            if_absent = true;
            put = put.if_absent(true);
        }
        if flags & 0b100000 > 0 {
            put = put.lock(true);
        }
        if flags & 0b11000000 == 0b11000000 {
            put = put.lease(input.lease());
        }
        (put, if_absent)
    }

    fn put(&mut self, input: &mut Input<'_>) {
        let key = input.key();
        let ask = Ask::read(input, self.present(&key));
        let value = input.value();
        let (put, if_absent) = self.put_options(input, &ask);
        let before = self.before(&key);
        let result = self.kv.put_with(&key, &value, put);
        self.after_write(&before, &ask, &result, &[ErrorKind::InvalidValue]);
        if let Ok(entry) = &result {
            assert_eq!(entry.value(), value);
            assert!(!(before.quiet && if_absent && before.entry.is_some()));
            self.after_store(&before, entry);
        }
    }

    fn put_many(&mut self, input: &mut Input<'_>) {
        let keys: Vec<Vec<u8>> = (0..input.byte() % 5).map(|_| input.key()).collect();
        let ask = Ask::read(input, None);
        let (put, _) = self.put_options(input, &ask);
        let value = input.value();
        let before = self.before(b"many");
        let items = keys.iter().map(|key| (key, &value));
        match self.kv.put_many(items, put) {
            Ok(entries) => assert_eq!(entries.len(), keys.len()),
            Err(error) => {
                let kind = error.kind();
                assert!(WRITE.contains(&kind) || kind == ErrorKind::InvalidValue, "{error}");
                assert!(!before.quiet || self.kv.digest().expect("running") == before.digest);
            }
        }
    }

    fn delete_many(&mut self, input: &mut Input<'_>) {
        let keys: Vec<Vec<u8>> = (0..input.byte() % 5).map(|_| input.key()).collect();
        let ask = Ask::read(input, None);
        let before = self.before(b"many");
        match self.kv.delete_many(&keys, ask.write()) {
            Ok(removed) => {
                assert_eq!(removed.len(), keys.len());
                let absent = |key: &Vec<u8>| self.kv.get(key).expect("running").is_none();
                assert!(!before.quiet || keys.iter().all(absent));
            }
            Err(error) => {
                assert!(WRITE.contains(&error.kind()), "{error}");
                assert!(!before.quiet || self.kv.digest().expect("running") == before.digest);
            }
        }
    }

    fn write(&mut self, input: &mut Input<'_>) {
        let key = input.key();
        let ask = Ask::read(input, self.present(&key));
        let which = input.byte() % 5;
        let ttl = input.ttl();
        let before = self.before(&key);
        let result = match which {
            0 => self.kv.delete_with(&key, ask.write()),
            1 => self.kv.unlock_with(&key, ask.write()),
            2 => self.kv.persist_with(&key, ask.write()),
            3 => self.kv.touch_with(&key, ttl, ask.write()),
            _ => self.kv.incr_with(&key, i64::from(ttl.subsec_nanos()), ask.write()).map(Some),
        };
        self.after_write(&before, &ask, &result, &[ErrorKind::InvalidValue]);
        let Ok(entry) = result else { return };
        if which < 4 && before.quiet {
            assert_eq!(entry.is_some(), before.entry.is_some());
        }
        match (which, entry) {
            (0, Some(removed)) => {
                assert_eq!(Some(removed.encoded()), before.entry.as_ref().map(Entry::encoded))
            }
            (1, Some(entry)) => assert!(!entry.is_locked()),
            (2, Some(entry)) => assert_eq!(entry.exp(), None),
            (4, Some(entry)) => self.after_store(&before, &entry),
            _ => {}
        }
    }

    fn update(&mut self, input: &mut Input<'_>) {
        let key = input.key();
        let ask = Ask::read(input, self.present(&key));
        let (how, value) = (input.byte() % 4, input.value());
        let before = self.before(&key);
        let seen = before.entry.clone();
        let change = |entry: Option<&Entry>| -> Result<Update> {
            assert_eq!(entry, seen.as_ref(), "the function sees what is there");
            match how {
                0 => Ok(Update::Keep),
                1 => Ok(Update::Delete),
                2 => Err(minikv::Error::new(ErrorKind::Internal, "the function's own")),
                _ => Update::put(&value),
            }
        };
        let result = self.kv.update_with(&key, change, ask.write());
        let more = [ErrorKind::InvalidValue, ErrorKind::Internal];
        self.after_write(&before, &ask, &result, &more);
        if let (3, Ok(Some(entry))) = (how, &result) {
            assert_eq!(entry.value(), value);
            self.after_store(&before, entry);
        }
    }

    fn compute(&mut self, input: &mut Input<'_>) {
        match input.byte() % 4 {
            0 | 1 => {
                let key = input.key();
                let ask = Ask::read(input, None);
                let (put, _) = self.put_options(input, &ask);
                match self.kv.get_or_put_start(&key, put) {
                    Ok(GetOrPut::Present(entry)) => assert_eq!(Some(&entry), self.present(&key)),
                    Ok(GetOrPut::Compute(computation)) => self.computations.push(computation),
                    Ok(GetOrPut::Wait(pending)) => {
                        let own = pending.check_not_own().expect_err("one thread does everything");
                        assert_eq!(own.kind(), ErrorKind::InvalidArgument);
                        self.values.push(pending);
                    }
                    Err(error) => assert!(WRITE.contains(&error.kind()), "{error}"),
                }
            }
            2 if !self.computations.is_empty() => {
                let computation = self.computations.swap_remove(0);
                if let Err(error) = computation.put(input.value()) {
                    let kind = error.kind();
                    assert!(WRITE.contains(&kind) || kind == ErrorKind::InvalidValue, "{error}");
                }
            }
            _ => {
                self.computations.pop();
                self.values.retain(|value| value.try_take().is_none());
            }
        }
    }

    fn watch(&mut self, input: &mut Input<'_>) {
        if input.often() {
            for watch in &self.watches {
                while let Some(event) = watch.try_next() {
                    assert!(event.count() >= 1);
                    assert_eq!(event.key().is_none(), event.kind() == EventKind::Lagged);
                }
            }
            if input.rarely() {
                self.watches.pop();
            }
            return;
        }
        let initial = input.often();
        let mut options = WatchOptions::new().initial(initial).prefix("k");
        options = options.capacity(input.pick(&[1, 2, 1000, 0]));
        if input.rarely() {
            options = options.key(input.key());
        }
        match self.kv.watch_with(options) {
            Ok(watch) => {
                let shown = || watch.try_next().is_some();
                let matching =
                    |key: &&Vec<u8>| key.starts_with(b"k") && self.present(key).is_some();
                let present = self.copy.keys().filter(matching).count();
                let read = std::iter::repeat_with(shown).take_while(|shown| *shown).count();
                assert_eq!(read, if initial { present } else { 0 });
                self.watches.push(watch);
            }
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    ErrorKind::InvalidKey | ErrorKind::InvalidArgument | ErrorKind::Limit
                ),
                "{error}"
            ),
        }
    }

    fn advance(&mut self, input: &mut Input<'_>) {
        let by = input.pick(&[
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_millis(4),
            Duration::from_millis(5),
            Duration::from_millis(17),
            Duration::from_millis(100),
            Duration::MAX,
        ]);
        match self.kv.advance(by) {
            Ok(()) => self.now += by.as_nanos() as u64,
            Err(error) => {
                assert_eq!((by, error.kind()), (Duration::MAX, ErrorKind::InvalidArgument))
            }
        }
    }

    fn pages(&mut self, input: &mut Input<'_>) {
        let limit = usize::from(input.byte() % 4);
        let mut seen = BTreeSet::new();
        let mut options = ListOptions::new().prefix("k").limit(limit);
        loop {
            let page = match self.kv.keys(options.clone()) {
                Ok(page) => page,
                Err(error) => {
                    assert_eq!((limit, error.kind()), (0, ErrorKind::InvalidArgument));
                    return;
                }
            };
            assert!(page.items.len() <= limit);
            for key in page.items {
                assert!(seen.insert(key), "a key twice");
            }
            let Some(cursor) = page.cursor else { break };
            options = options.cursor(cursor);
        }
        assert_eq!(seen.len(), self.kv.count("k").expect("running"));
    }

    /// Brings the copy up to date and holds it against everything that can be read.
    fn compare(&mut self) {
        while let Some(event) = self.watch.try_next() {
            let Some(entry) = event.entry() else { panic!("{event:?}") };
            let key = entry.key_bytes().to_vec();
            match event.kind() {
                EventKind::Delete | EventKind::Expire => {
                    let removed = self.copy.remove(&key).expect("only what is there goes");
                    assert_eq!(removed.encoded(), entry.encoded());
                }
                _ => drop(self.copy.insert(key, entry.clone())),
            }
        }
        let now = self.now;
        let is_live = |entry: &&Entry| entry.exp().is_none_or(|exp| exp > now);
        let live: Vec<&Entry> = self.copy.values().filter(is_live).collect();
        let mut listed = self.kv.entries(ListOptions::new()).expect("running").items;
        listed.sort_by_key(Entry::key);
        assert_eq!(listed.iter().collect::<Vec<_>>(), live);
        assert_eq!(self.kv.count("").expect("running"), live.len());
        for entry in &live {
            let key = entry.key_bytes();
            assert_eq!(self.kv.get(key).expect("running").as_ref(), Some(*entry));
            assert!(self.kv.contains(key).expect("running"));
        }
        let stats = self.kv.stats().expect("running");
        assert_eq!(
            stats.entries,
            self.copy.len() as u64,
            "what has expired and was not swept counts"
        );
        assert_eq!(
            stats.locks,
            self.copy.values().filter(|entry| entry.is_locked()).count() as u64
        );
        assert_eq!(stats.watchers, 1 + self.watches.len() as u64);
        assert!(stats.waiters <= (self.waiting.len() + self.waiting_guards.len()) as u64);
        assert!(stats.healthy && stats.worker_restarts == 0);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..4 => self.put(input),
            4 | 5 => self.write(input),
            6 => self.update(input),
            7 | 8 => self.lock(input),
            9 => self.settle_waiting(input),
            10 | 11 => self.guard(input),
            12 => self.advance(input),
            13 => match input.byte() % 3 {
                0 => self.put_many(input),
                1 => self.delete_many(input),
                _ => drop(self.kv.clear_with("k1", Ask::read(input, None).write())),
            },
            14 => self.compute(input),
            _ => match input.byte() % 3 {
                0 => self.pages(input),
                _ => self.watch(input),
            },
        }
        self.compare();
    }

    /// Everyone lets go, time passes, and nothing is left that was not meant to stay.
    fn end(mut self) {
        self.waiting.clear();
        self.waiting_guards.clear();
        self.guards.clear();
        self.computations.clear();
        self.watches.clear();
        self.compare();
        let kv = self.kv.clone();
        assert_eq!(kv.stats().expect("running").waiters, 0);

        // Equal contents have equal digests, whatever led to them.
        let other = Registry::start(Options::unnamed()).expect("starts");
        for entry in kv.entries(ListOptions::new()).expect("running") {
            let encoded: Encoded = minikv::decode(entry.encoded()).expect("canonical");
            other.put(entry.key_bytes(), encoded).expect("stored before");
        }
        assert_eq!(other.digest().expect("running"), kv.digest().expect("running"));

        kv.advance(Duration::from_secs(2)).expect("a manual clock");
        self.now += 2_000_000_000;
        self.compare();
        let far = |entry: &Entry| entry.exp().is_none_or(|exp| exp > self.now);
        assert!(self.copy.values().all(far));
        kv.stop();
        assert!(self.watch.wait_next().is_none());
        assert_eq!(kv.get("k1").expect_err("stopped").kind(), ErrorKind::Stopped);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let mut run = Run::new(&mut input);
    for _ in 0..100 {
        if input.is_over() {
            break;
        }
        run.step(&mut input);
    }
    run.end();
});
