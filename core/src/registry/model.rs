//! Random operations against a simple reference: plain maps, no shards, no indexes, no queues.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::Registry;
use crate::call_options::{LockOptions, PutOptions, WriteOptions};
use crate::error::{ErrorKind, Result};
use crate::options::{ClockKind, Options};
use crate::update::Update;
use crate::value::Value;
use crate::watch::Watch;
use crate::{Entry, Error};

const DEFAULT_TTL_MS: u64 = 50;
const MAX_ENTRIES: usize = 5;

#[derive(Clone, Debug)]
struct Asker {
    owner: Option<u8>,
    /// None, the right one, or one that never was.
    fence: Option<bool>,
    /// None, the present version, or an earlier one.
    version: Option<bool>,
}

#[derive(Clone, Debug)]
enum Op {
    Put { ask: Asker, value: i64, ttl: Option<u64>, flags: PutFlags },
    PutText { ask: Asker },
    Delete { ask: Asker },
    Lock { ask: Asker, lease: Option<u64>, put: Option<i64> },
    Unlock { ask: Asker },
    Persist { ask: Asker },
    Touch { ask: Asker, ttl: u64 },
    Incr { ask: Asker, by: i64 },
    Update { ask: Asker, how: u8 },
    Get,
    PutMany { ask: Asker, value: i64, keys: Vec<u8>, if_absent: bool },
    DeleteMany { ask: Asker, keys: Vec<u8> },
    Clear { owner: Option<u8> },
    Advance { ms: u64 },
}

#[derive(Clone, Debug)]
struct PutFlags {
    persist: bool,
    keep_ttl: bool,
    if_absent: bool,
    lock: bool,
}

fn asker() -> impl Strategy<Value = Asker> {
    (
        prop::option::weighted(0.6, 0u8..2),
        prop::option::weighted(0.15, any::<bool>()),
        prop::option::weighted(0.15, any::<bool>()),
    )
        .prop_map(|(owner, fence, version)| Asker { owner, fence, version })
}

fn op() -> impl Strategy<Value = (u8, Op)> {
    let flags = || {
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(a, b, c, d)| {
            PutFlags { persist: a && b, keep_ttl: b && c, if_absent: c && d, lock: d && a }
        })
    };
    let ttl = || prop::option::of(0u64..40);
    let keys = || prop::collection::vec(0u8..7, 0..4);
    let op = prop_oneof![
        4 => (asker(), 0i64..9, ttl(), flags())
            .prop_map(|(ask, value, ttl, flags)| Op::Put { ask, value, ttl, flags }),
        1 => asker().prop_map(|ask| Op::PutText { ask }),
        2 => asker().prop_map(|ask| Op::Delete { ask }),
        4 => (asker(), prop::option::of(1u64..30), prop::option::weighted(0.2, 0i64..9))
            .prop_map(|(ask, lease, put)| Op::Lock { ask, lease, put }),
        2 => asker().prop_map(|ask| Op::Unlock { ask }),
        1 => asker().prop_map(|ask| Op::Persist { ask }),
        1 => (asker(), 0u64..40).prop_map(|(ask, ttl)| Op::Touch { ask, ttl }),
        2 => (asker(), prop_oneof![Just(1), Just(i64::MAX), Just(-1)])
            .prop_map(|(ask, by)| Op::Incr { ask, by }),
        2 => (asker(), 0u8..4).prop_map(|(ask, how)| Op::Update { ask, how }),
        1 => Just(Op::Get),
        1 => (asker(), 0i64..9, keys(), any::<bool>())
            .prop_map(|(ask, value, keys, if_absent)| Op::PutMany { ask, value, keys, if_absent }),
        1 => (asker(), keys()).prop_map(|(ask, keys)| Op::DeleteMany { ask, keys }),
        1 => prop::option::of(0u8..2).prop_map(|owner| Op::Clear { owner }),
        3 => (0u64..25).prop_map(|ms| Op::Advance { ms }),
    ];
    (0u8..7, op)
}

#[derive(Clone, Debug)]
struct Held {
    owner: Option<u8>,
    /// In ms of the clock.
    ends: Option<u64>,
}

#[derive(Clone, Debug)]
struct Record {
    value: Value,
    exp: Option<u64>,
    held: Option<Held>,
    /// What the registry said the fence is; the model only knows when it must change.
    fence: Option<u64>,
    fence_released: bool,
    version: crate::Version,
}

struct Model {
    kv: Registry,
    watch: Watch,
    now: u64,
    records: BTreeMap<u8, Record>,
    events: BTreeMap<u8, Vec<&'static str>>,
    last_fences: BTreeMap<u8, u64>,
}

fn name(key: u8) -> String {
    format!("key-{key}")
}

fn owner(owner: u8) -> &'static str {
    ["a", "b"][usize::from(owner)]
}

impl Model {
    fn new() -> Model {
        let options = Options::unnamed()
            .clock(ClockKind::Manual)
            .default_ttl(Duration::from_millis(DEFAULT_TTL_MS))
            .max_entries(MAX_ENTRIES as u64);
        let kv = Registry::start(options).unwrap();
        let watch = kv.watch("").unwrap();
        let (records, events, last_fences) = Default::default();
        Model { kv, watch, now: 0, records, events, last_fences }
    }

    fn emit(&mut self, key: u8, event: &'static str) {
        self.events.entry(key).or_default().push(event);
    }

    /// Lets time pass for one key, as a write to it or an advance does.
    fn settle(&mut self, key: u8) {
        let now = self.now;
        let Some(record) = self.records.get_mut(&key) else { return };
        let lapsed = record.held.as_ref().and_then(|held| held.ends).filter(|ends| *ends <= now);
        let expired = record.exp.filter(|exp| *exp <= now);
        // Whichever was first; of two at once the expiry.
        if let Some(ends) = lapsed
            && expired.is_none_or(|exp| ends < exp)
        {
            record.held = None;
            self.emit(key, "unlock");
        }
        if expired.is_some() {
            self.records.remove(&key);
            self.emit(key, "expire");
        }
    }

    /// The first thing that stands in the way of a write.
    fn refusal(&self, key: u8, ask: &Asker, if_absent: bool) -> Option<ErrorKind> {
        let record = self.records.get(&key);
        if let Some(right) = ask.fence {
            let valid = right && record.is_some_and(|r| r.fence.is_some() && !r.fence_released);
            if !valid {
                return Some(ErrorKind::StaleFence);
            }
        }
        if let Some(held) = record.and_then(|record| record.held.as_ref())
            && held.owner != ask.owner
        {
            return Some(ErrorKind::Locked);
        }
        let other_version = ask.version.is_some_and(|right| !right || record.is_none());
        (other_version || if_absent && record.is_some()).then_some(ErrorKind::Conflict)
    }

    fn full_for(&self, key: u8) -> Option<ErrorKind> {
        let full = !self.records.contains_key(&key) && self.records.len() >= MAX_ENTRIES;
        full.then_some(ErrorKind::Limit)
    }

    fn write_options(&self, key: u8, ask: &Asker) -> WriteOptions {
        let mut options = WriteOptions::new();
        if let Some(label) = ask.owner {
            options = options.owner(owner(label));
        }
        if let Some(right) = ask.fence {
            let last = self.records.get(&key).and_then(|record| record.fence);
            options = options.fence(if right { last.unwrap_or(1) } else { 1 });
        }
        if let Some(right) = ask.version {
            let wrong = crate::Version { time: 1, writer: 1, minor: None };
            let present = self.records.get(&key).map(|record| record.version);
            options = options.if_version(present.filter(|_| right).unwrap_or(wrong));
        }
        options
    }

    /// What a granted lock does to a record.
    fn grant(&mut self, key: u8, label: Option<u8>, lease: Option<u64>) {
        let ends = lease.map(|lease| self.now + lease);
        let Some(record) = self.records.get_mut(&key) else { return };
        match &mut record.held {
            Some(held) => {
                held.ends = held.ends.zip(ends).map(|(present, new)| present.max(new));
            }
            None => {
                record.held = Some(Held { owner: label, ends });
                record.fence_released = false;
                record.fence = None;
                self.emit(key, "lock");
            }
        }
    }

    fn store(&mut self, key: u8, value: Value, exp: Option<u64>) {
        let known = self.records.remove(&key);
        let (held, fence, fence_released) = match known {
            Some(record) => (record.held, record.fence, record.fence_released),
            None => (None, None, false),
        };
        let version = crate::Version { time: 0, writer: 0, minor: None };
        let record = Record { value, exp, held, fence, fence_released, version };
        self.records.insert(key, record);
        self.emit(key, "put");
    }

    fn default_exp(&self) -> Option<u64> {
        Some(self.now + DEFAULT_TTL_MS)
    }

    fn kept_exp(&self, key: u8) -> Option<u64> {
        self.records.get(&key).map_or(self.default_exp(), |record| record.exp)
    }

    /// Takes over what only the registry can know, and checks how it must have changed.
    fn learn(&mut self, key: u8) {
        let found = self.kv.get(name(key)).unwrap();
        let (Some(record), Some(entry)) = (self.records.get_mut(&key), found) else { return };
        record.version = entry.version();
        match (record.fence, entry.fence()) {
            (None, Some(fence)) if record.held.is_some() => {
                let last = self.last_fences.insert(key, fence);
                assert!(last.is_none_or(|last| fence > last), "fences only grow");
                record.fence = Some(fence);
            }
            (known, found) => assert_eq!(known, found, "the last fence stays"),
        }
    }

    fn expect(&self, found: &Result<Option<Entry>>, expected: Result<Option<u8>, ErrorKind>) {
        match (found, expected) {
            (Err(error), Err(kind)) => assert_eq!(error.kind(), kind, "{error}"),
            (Ok(None), Ok(None)) => {}
            (Ok(Some(entry)), Ok(Some(key))) => assert_eq!(entry.key(), name(key).as_str()),
            (found, expected) => panic!("got {found:?}, expected {expected:?}"),
        }
    }

    fn apply(&mut self, key: u8, op: &Op) {
        let elsewhere = matches!(
            op,
            Op::Advance { .. }
                | Op::Get
                | Op::PutMany { .. }
                | Op::DeleteMany { .. }
                | Op::Clear { .. }
                | Op::Put { ttl: Some(_), flags: PutFlags { keep_ttl: true, .. }, .. }
        );
        if !elsewhere {
            self.settle(key);
        }
        let present = self.records.get(&key).map(|_| key);
        let kv = self.kv.clone();
        match op {
            Op::Put { ask, value, ttl, flags } => {
                let mut put = PutOptions::new()
                    .persist(flags.persist)
                    .keep_ttl(flags.keep_ttl)
                    .if_absent(flags.if_absent)
                    .lock(flags.lock);
                put.write = self.write_options(key, ask);
                let exp = match (ttl, flags) {
                    (Some(_), PutFlags { keep_ttl: true, .. }) => {
                        let ttl = Duration::from_millis(1);
                        let error = kv.put_with(name(key), *value, put.ttl(ttl)).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                        return;
                    }
                    (_, PutFlags { persist: true, .. }) => None,
                    (Some(ttl), _) => Some(self.now + ttl),
                    (None, PutFlags { keep_ttl: true, .. }) => self.kept_exp(key),
                    (None, _) => self.default_exp(),
                };
                if let Some(ttl) = ttl {
                    put = put.ttl(Duration::from_millis(*ttl));
                }
                let refused = self.refusal(key, ask, flags.if_absent).or(self.full_for(key));
                let found = kv.put_with(name(key), *value, put).map(Some);
                self.expect(&found, refused.map_or(Ok(Some(key)), Err));
                if refused.is_none() {
                    self.store(key, Value::Int(*value), exp);
                    if flags.lock {
                        self.grant(key, ask.owner, None);
                    }
                }
            }
            Op::PutText { ask } => {
                let mut put = PutOptions::new();
                put.write = self.write_options(key, ask);
                let refused = self.refusal(key, ask, false).or(self.full_for(key));
                let found = kv.put_with(name(key), "text", put).map(Some);
                self.expect(&found, refused.map_or(Ok(Some(key)), Err));
                if refused.is_none() {
                    let exp = self.default_exp();
                    self.store(key, Value::from("text"), exp);
                }
            }
            Op::Delete { ask } => {
                let refused = self.refusal(key, ask, false);
                let found = kv.delete_with(name(key), self.write_options(key, ask));
                self.expect(&found, refused.map_or(Ok(present), Err));
                if refused.is_none() && self.records.remove(&key).is_some() {
                    self.emit(key, "delete");
                }
            }
            Op::Lock { ask, lease, put } => {
                let mut lock = LockOptions::new();
                lock.write = self.write_options(key, ask);
                if let Some(lease) = lease {
                    lock = lock.lease(Duration::from_millis(*lease));
                }
                if let Some(value) = put {
                    lock = lock.put(*value, PutOptions::new()).unwrap();
                }
                let refused = self.refusal(key, ask, false);
                let refused = refused.or(self.full_for(key).filter(|_| put.is_some()));
                let found = kv.lock_with(name(key), lock);
                let expected = present.or(put.map(|_| key));
                self.expect(&found, refused.map_or(Ok(expected), Err));
                if refused.is_none() {
                    if let Some(value) = put {
                        let exp = self.default_exp();
                        self.store(key, Value::Int(*value), exp);
                    }
                    self.grant(key, ask.owner, *lease);
                }
            }
            Op::Unlock { ask } => {
                let refused = self.refusal(key, ask, false);
                let found = kv.unlock_with(name(key), self.write_options(key, ask));
                self.expect(&found, refused.map_or(Ok(present), Err));
                let record = self.records.get_mut(&key).filter(|_| refused.is_none());
                if let Some(record) = record
                    && record.held.take().is_some()
                {
                    record.fence_released = true;
                    self.emit(key, "unlock");
                }
            }
            Op::Persist { ask } => {
                let refused = self.refusal(key, ask, false);
                let found = kv.persist_with(name(key), self.write_options(key, ask));
                self.expect(&found, refused.map_or(Ok(present), Err));
                self.move_expiry(key, refused, None, "persist");
            }
            Op::Touch { ask, ttl } => {
                let refused = self.refusal(key, ask, false);
                let after = Duration::from_millis(*ttl);
                let found = kv.touch_with(name(key), after, self.write_options(key, ask));
                self.expect(&found, refused.map_or(Ok(present), Err));
                self.move_expiry(key, refused, Some(self.now + ttl), "touch");
            }
            Op::Incr { ask, by } => {
                let sum = match self.records.get(&key).map(|record| &record.value) {
                    None => Some(*by),
                    Some(Value::Int(old)) => old.checked_add(*by),
                    Some(_) => None,
                };
                let refused = self.refusal(key, ask, false);
                let refused = refused.or(sum.is_none().then_some(ErrorKind::InvalidValue));
                let refused = refused.or(self.full_for(key));
                let found = kv.incr_with(name(key), *by, self.write_options(key, ask)).map(Some);
                self.expect(&found, refused.map_or(Ok(Some(key)), Err));
                if let (None, Some(sum)) = (refused, sum) {
                    let exp = self.kept_exp(key);
                    self.store(key, Value::Int(sum), exp);
                }
            }
            Op::Update { ask, how } => self.update(key, ask, *how),
            Op::Get => {}
            Op::PutMany { ask, value, keys, if_absent } => {
                self.put_many(ask, *value, keys, *if_absent);
            }
            Op::DeleteMany { ask, keys } => self.delete_many(ask, keys),
            Op::Clear { owner: label } => {
                let now = self.now;
                let live = |(_, r): &(&u8, &Record)| r.exp.is_none_or(|exp| exp > now);
                let live: Vec<u8> = self.records.iter().filter(live).map(|(key, _)| *key).collect();
                live.iter().for_each(|key| self.settle(*key));
                let ask = Asker { owner: *label, fence: None, version: None };
                let free = |key: &u8| self.refusal(*key, &ask, false).is_none();
                let free: Vec<u8> = live.into_iter().filter(free).collect();
                let removed = kv.clear_with("key-", self.write_options(key, &ask)).unwrap();
                assert_eq!(removed, free.len());
                for key in free {
                    self.records.remove(&key);
                    self.emit(key, "delete");
                }
            }
            Op::Advance { ms } => {
                kv.advance(Duration::from_millis(*ms)).unwrap();
                self.now += ms;
                self.settle_all();
            }
        }
    }

    fn move_expiry(
        &mut self,
        key: u8,
        refused: Option<ErrorKind>,
        exp: Option<u64>,
        event: &'static str,
    ) {
        if refused.is_none()
            && let Some(record) = self.records.get_mut(&key)
        {
            record.exp = exp;
            self.emit(key, event);
        }
    }

    fn update(&mut self, key: u8, ask: &Asker, how: u8) {
        self.sweep();
        let seen = self.records.get(&key).map(|record| record.value.clone());
        let refused = self.refusal(key, ask, false);
        let mut calls = 0;
        let found = self.kv.update_with(
            name(key),
            |entry| -> Result<Update> {
                calls += 1;
                assert_eq!(entry.map(Entry::value), seen, "the function sees the present value");
                match how {
                    0 => Ok(Update::Keep),
                    1 => Ok(Update::Delete),
                    2 => Err(Error::new(ErrorKind::Internal, "the function's own")),
                    _ => Update::put(true),
                }
            },
            self.write_options(key, ask),
        );
        assert_eq!(calls, u32::from(refused.is_none()), "a refused update calls nothing");
        let present = self.records.get(&key).map(|_| key);
        let full = self.full_for(key).filter(|_| how > 2);
        let own = (how == 2).then_some(ErrorKind::Internal);
        let refused = refused.or(own).or(full);
        let expected = if how > 2 { Some(key) } else { present };
        self.expect(&found, refused.map_or(Ok(expected), Err));
        match (refused, how) {
            (None, 1) if self.records.remove(&key).is_some() => self.emit(key, "delete"),
            (None, 3) => {
                let exp = self.kept_exp(key);
                self.store(key, Value::Bool(true), exp);
            }
            _ => {}
        }
    }

    fn put_many(&mut self, ask: &Asker, value: i64, keys: &[u8], if_absent: bool) {
        self.sweep();
        let ask = Asker { fence: None, version: None, ..ask.clone() };
        let mut put = PutOptions::new().if_absent(if_absent);
        put.write = self.write_options(0, &ask);
        let items: Vec<(String, i64)> = keys.iter().map(|key| (name(*key), value)).collect();
        let mut distinct: Vec<u8> = Vec::new();
        for key in keys {
            if !distinct.contains(key) {
                distinct.push(*key);
            }
        }
        let refused = distinct.iter().find_map(|key| self.refusal(*key, &ask, if_absent));
        let new = distinct.iter().filter(|key| !self.records.contains_key(key)).count();
        let full = new > 0 && self.records.len() + new > MAX_ENTRIES;
        let refused = refused.or(full.then_some(ErrorKind::Limit));
        match (self.kv.put_many(items, put), refused) {
            (Ok(entries), None) => {
                assert_eq!(entries.len(), keys.len());
                for key in distinct {
                    let exp = self.default_exp();
                    self.store(key, Value::Int(value), exp);
                    self.learn(key);
                }
            }
            (Err(error), Some(kind)) => assert_eq!(error.kind(), kind),
            (found, expected) => panic!("got {found:?}, expected {expected:?}"),
        }
    }

    fn delete_many(&mut self, ask: &Asker, keys: &[u8]) {
        self.sweep();
        let ask = Asker { fence: None, version: None, ..ask.clone() };
        let refused = keys.iter().find_map(|key| self.refusal(*key, &ask, false));
        let names = keys.iter().map(|key| name(*key));
        match (self.kv.delete_many(names, self.write_options(0, &ask)), refused) {
            (Ok(removed), None) => {
                for (key, removed) in keys.iter().zip(removed) {
                    assert_eq!(self.records.remove(key).is_some(), removed.is_some());
                    if removed.is_some() {
                        self.emit(*key, "delete");
                    }
                }
            }
            (Err(error), Some(kind)) => assert_eq!(error.kind(), kind),
            (found, expected) => panic!("got {found:?}, expected {expected:?}"),
        }
    }

    fn live(&self) -> usize {
        self.records.values().filter(|r| r.exp.is_none_or(|exp| exp > self.now)).count()
    }

    /// For operations that sweep what has expired or not, depending on how they end.
    fn sweep(&mut self) {
        self.kv.advance(Duration::ZERO).unwrap();
        self.settle_all();
    }

    fn settle_all(&mut self) {
        for key in self.records.keys().copied().collect::<Vec<u8>>() {
            self.settle(key);
        }
    }

    /// Everything that can be seen from outside is as the model says.
    fn compare(&mut self) {
        self.kv.0.core.table.validate();
        for key in 0..7 {
            let found = self.kv.get(name(key)).unwrap();
            let live = |record: &&Record| record.exp.is_none_or(|exp| exp > self.now);
            let record = self.records.get(&key).filter(live);
            assert_eq!(found.is_some(), record.is_some(), "{found:?} {record:?}");
            let (Some(entry), Some(record)) = (found, record) else { continue };
            assert_eq!(entry.value(), record.value);
            let start = crate::MANUAL_CLOCK_START_MS;
            assert_eq!(entry.exp(), record.exp.map(|exp| (start + exp) * 1_000_000));
            let held = record.held.as_ref();
            let held = held.filter(|held| held.ends.is_none_or(|ends| ends > self.now));
            assert_eq!(entry.is_locked(), held.is_some());
            let holder = entry.holder().map(|holder| holder.owner);
            assert_eq!(holder, held.map(|held| held.owner.map(|label| owner(label).to_owned())));
        }
        assert_eq!(self.kv.count("").unwrap(), self.live());
        let mut events: BTreeMap<u8, Vec<&'static str>> = BTreeMap::new();
        while let Some(event) = self.watch.try_next() {
            let key = event.key().unwrap().as_bytes()[4] - b'0';
            events.entry(key).or_default().push(event.kind().as_str());
        }
        assert_eq!(events, std::mem::take(&mut self.events));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_registry_does_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let mut model = Model::new();
        for (key, op) in &ops {
            // A put that finds the registry full sweeps what has expired.
            if model.full_for(*key).is_some() && model.live() < model.records.len() {
                model.sweep();
            }
            model.apply(*key, op);
            model.learn(*key);
            model.compare();
        }
    }
}
