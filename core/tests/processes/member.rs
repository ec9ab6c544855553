//! A member of a cluster that does what it is told; README.md says how.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minikv::{Entry, Error, ErrorKind, ListOptions, LockGuard, LockOptions, Options, Registry};
use minikv::{PutOptions, Result, Tls, WriteOptions};
use serde_json::{Value, json};

struct Guard {
    guard: LockGuard,
    told: Arc<AtomicU64>,
}

#[derive(Default)]
struct Seen {
    counts: BTreeMap<String, u64>,
    members: Vec<(String, String)>,
    owners: Vec<(String, String)>,
}

#[derive(Clone)]
struct Member {
    kv: Registry,
    guards: Arc<Mutex<HashMap<String, Arc<Guard>>>>,
    seen: Arc<Mutex<Seen>>,
}

/// The words of a command, and its options.
struct Words {
    words: Vec<String>,
    options: HashMap<String, String>,
}

impl Words {
    fn new<'a>(all: impl Iterator<Item = &'a str>) -> Words {
        let mut found = Words { words: Vec::new(), options: HashMap::new() };
        for word in all {
            match word.split_once('=') {
                Some((name, value)) => {
                    found.options.insert(name.to_owned(), value.to_owned());
                }
                None => found.words.push(word.to_owned()),
            }
        }
        found
    }

    fn at(&self, place: usize) -> &str {
        self.words.get(place).map_or("", String::as_str)
    }

    fn number(&self, place: usize) -> u64 {
        self.at(place).parse().unwrap_or_default()
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    fn millis(&self, name: &str) -> Option<Duration> {
        Some(Duration::from_millis(self.option(name)?.parse().unwrap()))
    }

    fn write(&self) -> WriteOptions {
        let mut options = WriteOptions::new();
        if let Some(owner) = self.option("owner") {
            options = options.owner(owner);
        }
        if let Some(fence) = self.option("fence") {
            options = options.fence(fence.parse().unwrap());
        }
        options
    }

    fn put(&self) -> PutOptions {
        let mut options = PutOptions::new();
        if let Some(owner) = self.option("owner") {
            options = options.owner(owner);
        }
        if let Some(fence) = self.option("fence") {
            options = options.fence(fence.parse().unwrap());
        }
        options
    }

    fn lock(&self) -> LockOptions {
        let mut options = LockOptions::new();
        if let Some(owner) = self.option("owner") {
            options = options.owner(owner);
        }
        if let Some(wait) = self.millis("wait") {
            options = options.wait(wait);
        }
        if let Some(lease) = self.millis("lease") {
            options = options.lease(lease);
        }
        options
    }
}

/// The machine's monotonic clock, which all processes share.
#[cfg(target_os = "linux")]
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_nanos() as u64
}

fn shown(entry: &Entry) -> Value {
    json!({
        "key": entry.key().to_string(),
        "value": entry.as_str(),
        "node": entry.node(),
        "time": entry.time().to_string(),
        "fence": entry.fence().map(|fence| fence.to_string()),
        "lock": entry.is_locked(),
    })
}

fn perhaps(entry: Option<Entry>) -> Value {
    entry.as_ref().map_or(Value::Null, shown)
}

impl Member {
    fn guard(&self, name: &str) -> Result<Arc<Guard>> {
        let guard = self.guards.lock().unwrap().get(name).cloned();
        guard.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such guard"))
    }

    fn run(&self, verb: &str, words: &Words) -> Result<Value> {
        let kv = &self.kv;
        let key = words.at(0);
        Ok(match verb {
            "get" => perhaps(kv.get(key)?),
            "put" => shown(&kv.put_with(key, words.at(1), words.put())?),
            "delete" => perhaps(kv.delete_with(key, words.write())?),
            "lock" => perhaps(kv.lock_with(key, words.lock())?),
            "unlock" => perhaps(kv.unlock_with(key, words.write())?),
            "guard" => {
                let guard = kv.locked(words.at(1), words.lock())?;
                let told = Arc::new(AtomicU64::new(0));
                let count = told.clone();
                guard.on_lost(move || {
                    count.fetch_add(1, Ordering::SeqCst);
                });
                let fence = guard.fence().to_string();
                let guard = Arc::new(Guard { guard, told });
                self.guards.lock().unwrap().insert(key.to_owned(), guard);
                json!({ "fence": fence })
            }
            "guard_put" => shown(&self.guard(key)?.guard.put(words.at(1))?),
            "guard_state" => {
                let guard = self.guard(key)?;
                let told = guard.told.load(Ordering::SeqCst);
                json!({ "lost": guard.guard.is_lost(), "told": told })
            }
            "guard_release" => {
                let guard = self.guard(key)?;
                self.guards.lock().unwrap().remove(key);
                guard.guard.release()?;
                Value::Null
            }
            "members" => json!(kv.members()?),
            "endpoints" => json!(kv.endpoints()?),
            "digest" => json!(kv.digest()?),
            "count" => json!(kv.count(key)?),
            "sync" => {
                kv.wait_synced(Duration::from_millis(words.number(0)))?;
                Value::Null
            }
            "waiters" => json!(kv.stats()?.waiters),
            "stats" => self.stats()?,
            "dump" => {
                let page = kv.entries(ListOptions::new().prefix(key))?;
                Value::Array(page.items.iter().map(shown).collect())
            }
            "fill" => {
                let value = "v".repeat(words.number(2) as usize);
                for n in 0..words.number(1) {
                    kv.put(format!("{key}{n}"), value.as_str())?;
                }
                Value::Null
            }
            "burst" => self.burst(words)?,
            "race" => self.race(words)?,
            "watch" => self.watch(key)?,
            "events" => {
                let seen = self.seen.lock().unwrap();
                json!({ "counts": seen.counts, "members": seen.members, "owners": seen.owners })
            }
            "stop" => {
                kv.stop();
                Value::Null
            }
            _ => return Err(Error::new(ErrorKind::InvalidArgument, "there is no such verb")),
        })
    }

    fn stats(&self) -> Result<Value> {
        let stats = self.kv.stats()?;
        Ok(json!({
            "members": stats.members,
            "repairs": stats.repairs,
            "refused": stats.refused,
            "overflows": stats.outbox_overflows,
            "replicated_out": stats.replicated_out,
            "replicated_in": stats.replicated_in,
            "restarts": stats.worker_restarts,
        }))
    }

    fn burst(&self, words: &Words) -> Result<Value> {
        let (prefix, label) = (words.at(0), words.at(3));
        let pause = Duration::from_micros(words.number(4));
        let mut took = Vec::new();
        for round in 0..words.number(2) {
            for n in 0..words.number(1) {
                let (key, value) = (format!("{prefix}{n}"), format!("{label}:{round}"));
                let began = now();
                self.kv.put(key, value)?;
                took.push(now() - began);
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                }
            }
        }
        took.sort_unstable();
        let at = |part: usize| took.get((took.len() * part / 1000).min(took.len() - 1));
        Ok(json!({ "puts": took.len(), "p50": at(500), "p99": at(990), "max": took.last() }))
    }

    fn race(&self, words: &Words) -> Result<Value> {
        let keep = words.option("keep").is_some();
        let hold = words.option("hold").map_or(0, |hold| hold.parse().unwrap());
        let mut got = Vec::new();
        for n in 0..words.number(1) {
            let key = format!("{}{n}", words.at(0));
            let entry = match self.kv.lock_with(&key, words.lock()) {
                Err(error) if error.kind() == ErrorKind::Locked => continue,
                entry => entry?,
            };
            let began = now();
            if hold > 0 {
                std::thread::sleep(Duration::from_micros(hold));
            }
            let fence = entry.and_then(|entry| entry.fence()).map(|fence| fence.to_string());
            got.push(json!([n, fence, began, now()]));
            if !keep {
                self.kv.unlock_with(&key, words.write())?;
            }
        }
        Ok(Value::Array(got))
    }

    fn watch(&self, prefix: &str) -> Result<Value> {
        let (watch, seen) = (self.kv.watch(prefix)?, self.seen.clone());
        std::thread::spawn(move || {
            while let Some(event) = watch.wait_next() {
                let mut seen = seen.lock().unwrap();
                *seen.counts.entry(event.kind().to_string()).or_default() += event.count();
                let node = event.node().unwrap_or_default().to_owned();
                if let Some(state) = event.state() {
                    seen.members.push((node.clone(), state.to_string()));
                }
                if let Some(owner) = event.owner() {
                    seen.owners.push((node, owner.to_owned()));
                }
            }
        });
        Ok(Value::Null)
    }

    fn answer(&self, id: u64, verb: &str, words: &Words) {
        let began = now();
        let result = self.run(verb, words);
        let ended = now();
        say(match result {
            Ok(result) => json!({ "id": id, "ok": result, "began": began, "ended": ended }),
            Err(error) => {
                let (kind, message) = (error.kind().as_str(), error.to_string());
                json!({ "id": id, "error": kind, "message": message, "began": began, "ended": ended })
            }
        });
    }
}

fn say(line: Value) {
    let mut out = std::io::stdout().lock();
    // Nobody listens any more: the end of the input will say so too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn start(words: &Words) -> Result<Registry> {
    let mut options = Options::unnamed().cluster(words.option("cluster").unwrap_or("processes"));
    options = options.node(words.option("node").unwrap_or("member"));
    let list = |name: &str| -> Vec<String> {
        let all = words.option(name).unwrap_or_default().split(',');
        all.filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    for endpoint in list("listen") {
        options = options.listen(endpoint);
    }
    options = options.peers(list("peers"));
    if let Some(timeout) = words.millis("failure") {
        options = options.failure_timeout(timeout);
    }
    if words.option("discovery").is_some() {
        options = options.discovery_multicast();
    }
    if let [ca, cert, key] = &list("tls")[..] {
        options = options.tls(Tls::new(ca, cert, key));
    }
    Registry::start(options)
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let started = start(&Words::new(given.iter().map(String::as_str)));
    let kv = match started {
        Ok(kv) => kv,
        Err(error) => {
            say(json!({ "error": error.kind().as_str(), "message": error.to_string() }));
            std::process::exit(1);
        }
    };
    say(json!({ "endpoints": kv.endpoints().unwrap() }));
    let member = Member { kv, guards: Arc::default(), seen: Arc::default() };
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let mut parts = line.split_whitespace().peekable();
        let Some(id) = parts.next().and_then(|id| id.parse().ok()) else { continue };
        let beside = parts.next_if_eq(&"&").is_some();
        let verb = parts.next().unwrap_or_default().to_owned();
        let words = Words::new(parts);
        match beside {
            true => {
                let member = member.clone();
                std::thread::spawn(move || member.answer(id, &verb, &words));
            }
            false => member.answer(id, &verb, &words),
        }
    }
    std::process::exit(0);
}
