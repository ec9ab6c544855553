//! Puts every line of a file, works through them under locks, and counts what a watch saw.

#![allow(clippy::disallowed_methods)]

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use minikv::{
    Error, ErrorKind, Event, EventKind, LockOptions, Options, PutOptions, Registry, Value,
    WatchOptions,
};

const HOUR: Duration = Duration::from_secs(3600);
const TICKET: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: demo INPUT")?;
    let input = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let started = Instant::now();
    let kv = Registry::start(Options::new("demo"))?;
    let watch = kv.watch_with(WatchOptions::new().capacity(1 << 20))?;

    let mut tickets = 0;
    let mut bar = Bar::new("put", lines.len());
    for (number, line) in lines.iter().enumerate() {
        let text = match std::str::from_utf8(line) {
            Ok(text) => Value::from(text),
            Err(_) => Value::from(*line),
        };
        let value = Value::Map([("text".to_owned(), text)].into());
        kv.put_with(format!("line:{number:06}"), value, PutOptions::new().ttl(HOUR))?;
        if number % 4 == 0 {
            let ticket = PutOptions::new().ttl(TICKET);
            kv.put_with(format!("ticket:{number:06}"), number, ticket)?;
            tickets += 1;
        }
        bar.step(number + 1);
    }

    let mut bar = Bar::new("work", lines.len());
    for (number, line) in lines.iter().enumerate() {
        let held = kv.locked(format!("line:{number:06}"), LockOptions::new())?;
        let Some(Value::Map(mut value)) = held.get()?.map(|entry| entry.value()) else {
            return Err("a line is gone".into());
        };
        value.insert("words".to_owned(), Value::Int(words(line)));
        held.put_with(value, PutOptions::new().keep_ttl(true))?;
        held.release()?;
        bar.step(number + 1);
    }

    let (mut expired, mut locks) = (0, 0);
    let mut bar = Bar::new("expire", tickets);
    while expired < tickets {
        let event = watch.next_timeout(PATIENCE)?;
        let event = event.ok_or_else(|| Error::new(ErrorKind::Stopped, "the watch has ended"))?;
        if event.kind() == EventKind::Lagged {
            return Err("the watch was too slow".into());
        }
        count(&event, &mut expired, &mut locks);
        bar.step(expired);
    }
    // Locks may have been taken after the last expiry.
    while let Some(event) = watch.try_next() {
        count(&event, &mut expired, &mut locks);
    }
    let (entries, digest) = (kv.count("line:")?, kv.digest()?);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        r#"{{"language": "Rust", "entries": {entries}, "locks": {locks}, "expired": {expired}, "seconds": {seconds:.3}, "digest": "{digest}"}}"#
    );
    kv.stop();
    Ok(())
}

fn count(event: &Event, expired: &mut usize, locks: &mut usize) {
    match event.kind() {
        EventKind::Expire => *expired += 1,
        EventKind::Lock => *locks += 1,
        _ => {}
    }
}

fn words(line: &[u8]) -> i64 {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty()).count() as i64
}

/// A bar on standard error; one line a phase where that is no terminal.
struct Bar {
    phase: &'static str,
    total: usize,
    shown: usize,
    terminal: bool,
}

impl Bar {
    fn new(phase: &'static str, total: usize) -> Bar {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            eprintln!("Rust   {phase:<6} {total}");
        }
        Bar { phase, total, shown: usize::MAX, terminal }
    }

    fn step(&mut self, done: usize) {
        let percent = done * 100 / self.total.max(1);
        if !self.terminal || percent == self.shown {
            return;
        }
        self.shown = percent;
        let full = "#".repeat(percent / 5);
        eprint!("\rRust   {:<6} [{full:-<20}] {percent:3}%", self.phase);
        if done == self.total {
            eprintln!();
        }
        // A progress bar that cannot be shown is no reason to stop.
        let _ = std::io::stderr().flush();
    }
}
