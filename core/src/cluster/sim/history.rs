//! What happened, kept in a ring and made readable only when a run has failed.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

use super::MS;

/// How many lines are kept unless somebody wants to see all.
const RING: usize = 600;

pub(super) enum What {
    Text(String),
    /// A message on its way or at its end: where from, what became of it.
    Message {
        peer: usize,
        verb: &'static str,
        bytes: Arc<Vec<u8>>,
    },
}

struct Line {
    number: u64,
    time: u64,
    machine: Option<usize>,
    what: What,
}

pub(super) struct History {
    lines: VecDeque<Line>,
    number: u64,
    all: bool,
    /// Of everything that was noted: the same for the same seed.
    trace: u64,
}

impl History {
    pub fn new(all: bool) -> History {
        History { lines: VecDeque::new(), number: 0, all, trace: 0 }
    }

    pub fn note(&mut self, time: u64, machine: Option<usize>, text: String) {
        self.trace = mix(mix(self.trace, time), xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
        self.push(time, machine, What::Text(text));
    }

    pub fn message(
        &mut self,
        time: u64,
        machine: usize,
        peer: usize,
        verb: &'static str,
        bytes: &Arc<Vec<u8>>,
    ) {
        self.trace = mix(mix(self.trace, time), xxhash_rust::xxh3::xxh3_64(bytes));
        // Heartbeats would push everything else out.
        if self.all || !super::describe::is_heartbeat(bytes) {
            self.push(time, Some(machine), What::Message { peer, verb, bytes: bytes.clone() });
        }
    }

    fn push(&mut self, time: u64, machine: Option<usize>, what: What) {
        if !self.all && self.lines.len() >= RING {
            self.lines.pop_front();
        }
        self.number += 1;
        self.lines.push_back(Line { number: self.number, time, machine, what });
    }

    /// A fingerprint of the whole run.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    pub fn render(&self) -> String {
        let mut out = String::new();
        for Line { number, time, machine, what } in &self.lines {
            let (whole, micros) = (time / MS, time % MS / 1000);
            let _ = write!(out, "{number:>7} {whole:>7}.{micros:03}ms ");
            let _ = match machine {
                Some(machine) => write!(out, "m{machine} "),
                None => write!(out, "-- "),
            };
            let _ = match what {
                What::Text(text) => writeln!(out, "{text}"),
                What::Message { peer, verb, bytes } => {
                    writeln!(out, "  {verb} m{peer}: {}", super::describe::describe(bytes))
                }
            };
        }
        out
    }
}

fn mix(trace: u64, with: u64) -> u64 {
    (trace ^ with).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}
