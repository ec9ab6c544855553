//! demo NODE INPUT ITEMS PAUSE_MS [PEER...]: a member of the demo's cluster. The same program in four languages.
//!
//! The first member has no peers and puts the lines of the input as items. Every member claims items with
//! `lock`, counts their words and finishes them with `put`; what it does it writes to standard output,
//! what to do comes from standard input: "go", then "report MEMBERS". At the end of that it leaves.

#![allow(clippy::disallowed_methods)]

use std::io::BufRead;
use std::thread::sleep;
use std::time::{Duration, Instant};

use minikv::{
    Entry, ErrorKind, EventKind, ListOptions, LockOptions, MemberState, Options, PutOptions,
    Registry, Value, ValueType, Watch, WatchOptions, WriteOptions,
};

type Failure = Box<dyn std::error::Error>;

/// Claims of a member that was killed are free after twice this time.
const FAILURE_TIMEOUT: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let [_, node, input, items, pause, peers @ ..] = &args[..] else {
        return Err("usage: demo NODE INPUT ITEMS PAUSE_MS [PEER...]".into());
    };
    let (items, pause) = (items.parse()?, Duration::from_secs_f64(pause.parse::<f64>()? / 1000.0));
    let options = Options::new("demo").cluster("demo").node(node).peers(peers);
    let kv = Registry::start(options.failure_timeout(FAILURE_TIMEOUT))?;
    kv.wait_synced(PATIENCE)?;
    if peers.is_empty() {
        load(&kv, input, items)?;
    }
    let watch = kv.watch_with(WatchOptions::new().prefix("item:").capacity(1 << 20))?;
    let members = kv.members()?;
    let own = members.iter().find(|member| member.is_self).ok_or("not a member")?;
    println!("ready {} {}", kv.endpoints()?[0], own.incarnation);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["go"] => work(&kv, node, pause)?,
            ["report", members] => report(&kv, &watch, members.parse()?)?,
            _ => return Err(format!("what is {line:?}?").into()),
        }
    }
    kv.stop();
    Ok(())
}

/// An item is the line itself until it is finished.
fn load(kv: &Registry, path: &str, items: usize) -> Result<(), Failure> {
    let input = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    for (number, line) in input.split(|byte| *byte == b'\n').take(items).enumerate() {
        let text = match std::str::from_utf8(line) {
            Ok(text) => Value::from(text),
            Err(_) => Value::from(line),
        };
        kv.put(format!("item:{number:06}"), text)?;
    }
    Ok(())
}

fn work(kv: &Registry, node: &str, pause: Duration) -> Result<(), Failure> {
    let mut open: Vec<String> = kv
        .keys(ListOptions::new().prefix("item:"))?
        .items
        .iter()
        .map(|key| key.to_string())
        .collect();
    open.sort();
    // At first without waiting; what others have claimed then is waited for: they finish it, or die.
    let mut wait = Duration::ZERO;
    while !open.is_empty() {
        let mut left = Vec::new();
        for key in open {
            let Some(seen) = kv.get(&key)? else { return Err(format!("{key} is gone").into()) };
            if is_finished(&seen) {
                continue;
            }
            if (seen.is_locked() && wait.is_zero()) || !settle(kv, node, &key, wait, pause)? {
                left.push(key);
            }
        }
        (open, wait) = (left, FAILURE_TIMEOUT);
    }
    println!("over");
    Ok(())
}

/// Finishes an item, unless somebody else has it. False: it has to be looked at again.
fn settle(
    kv: &Registry,
    node: &str,
    key: &str,
    wait: Duration,
    pause: Duration,
) -> Result<bool, Failure> {
    let entry = match kv.lock_with(key, LockOptions::new().wait(wait)) {
        Ok(Some(entry)) => entry,
        // Cluster: whoever gives locks died just now, and another takes over.
        Err(error) if matches!(error.kind(), ErrorKind::Locked | ErrorKind::Cluster) => {
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
        Ok(None) => return Err(format!("{key} is gone").into()),
    };
    let fence = entry.fence().ok_or("a lock without a fence")?;
    let finished =
        if is_finished(&entry) { Ok(()) } else { finish(kv, node, key, &entry, fence, pause) };
    match finished.and_then(|()| kv.unlock_with(key, WriteOptions::new().fence(fence))) {
        Ok(_) => Ok(true),
        // The others took this member for dead: whoever has the item now finishes it.
        Err(error) if matches!(error.kind(), ErrorKind::Locked | ErrorKind::StaleFence) => {
            println!("lost {key} {fence}");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn finish(
    kv: &Registry,
    node: &str,
    key: &str,
    entry: &Entry,
    fence: u64,
    pause: Duration,
) -> minikv::Result<()> {
    println!("claim {key} {fence}");
    sleep(pause);
    let line = entry.as_bytes().or(entry.as_str().map(str::as_bytes));
    let fields = [
        ("by".to_owned(), Value::from(node)),
        ("fence".to_owned(), Value::Int(fence.cast_signed())),
        ("words".to_owned(), Value::Int(words(line.unwrap_or_default()))),
    ];
    kv.put_with(key, Value::Map(fields.into()), PutOptions::new().fence(fence))?;
    println!("done {key} {fence}");
    Ok(())
}

fn is_finished(entry: &Entry) -> bool {
    entry.value_type() == ValueType::Map
}

fn words(line: &[u8]) -> i64 {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).count() as i64
}

/// Waits until so many live members hold the same, then tells what that is, and what was seen on the way.
fn report(kv: &Registry, watch: &Watch, members: usize) -> Result<(), Failure> {
    let started = Instant::now();
    let live = loop {
        let mut live = kv.members()?;
        live.retain(|member| member.state == MemberState::Live);
        if live.len() == members && live.iter().all(|member| member.digest == live[0].digest) {
            break live;
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("the members do not agree: {live:?}").into());
        }
        sleep(Duration::from_millis(20));
    };
    for member in live {
        println!(
            "member {} {} {}",
            member.node,
            member.incarnation,
            member.digest.unwrap_or_default()
        );
    }
    println!("digest {}", kv.digest()?);
    for entry in kv.entries(ListOptions::new().prefix("item:"))? {
        let Value::Map(item) = entry.value() else { return Err("an item is not finished".into()) };
        let field = |name| item.get(name).and_then(Value::as_int).unwrap_or_default();
        let by = item.get("by").and_then(Value::as_str).unwrap_or_default();
        println!("item {} {by} {} {}", entry.key(), field("fence"), field("words"));
    }
    // Every finished item that arrived here since the start, a second time if there was one.
    while let Some(event) = watch.try_next() {
        match (event.kind(), event.entry()) {
            (EventKind::Lagged, _) => return Err("the watch was too slow".into()),
            (EventKind::Put, Some(entry)) if is_finished(entry) => println!("saw {}", entry.key()),
            _ => {}
        }
    }
    println!("end");
    Ok(())
}
