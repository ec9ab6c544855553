//! Records stamped later than any honest clock could: kept until their time has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::member::Member;
use crate::stamp::Stamp;
use crate::sync::Mutex;
use crate::table::merge::{Delta, DeltaLock, DeltaValue};

/// More than this are not kept; they are found again by comparing.
const MOST: usize = 100_000;
const MOST_BYTES: usize = 64 << 20;

#[derive(Default)]
pub(crate) struct Parked(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// By time and key, so that a repetition takes the place of the first.
    by_time: BTreeMap<(u64, Box<[u8]>), ParkedDelta>,
    bytes: usize,
}

pub(crate) struct ParkedDelta {
    key: Box<[u8]>,
    value: Option<ParkedValue>,
    lock: Option<DeltaLock>,
}

struct ParkedValue {
    content: Option<Box<[u8]>>,
    stamp: Stamp,
    exp: u64,
    writer: Arc<Member>,
}

impl ParkedDelta {
    fn bytes(&self) -> usize {
        let content = self.value.as_ref().and_then(|value| value.content.as_ref());
        2 * self.key.len() + content.map_or(0, |content| content.len())
    }

    pub fn delta(&self) -> Delta<'_> {
        let value = self.value.as_ref().map(|value| DeltaValue {
            content: value.content.as_deref(),
            stamp: value.stamp,
            exp: value.exp,
            writer: value.writer.clone(),
        });
        Delta { key: &self.key, value, lock: self.lock.clone() }
    }
}

impl Parked {
    pub fn park(&self, time: u64, delta: Delta<'_>) {
        let mut parked = self.0.lock();
        let value = delta.value.map(|value| ParkedValue {
            content: value.content.map(Box::from),
            stamp: value.stamp,
            exp: value.exp,
            writer: value.writer,
        });
        let kept = ParkedDelta { key: delta.key.into(), value, lock: delta.lock };
        let bytes = parked.bytes + kept.bytes();
        if parked.by_time.len() >= MOST || bytes > MOST_BYTES {
            return;
        }
        let before = parked.by_time.insert((time, delta.key.into()), kept);
        parked.bytes = bytes - before.map_or(0, |before| before.bytes());
    }

    pub fn len(&self) -> usize {
        self.0.lock().by_time.len()
    }

    /// Takes out what is not later than this.
    pub fn due(&self, latest: u64) -> Vec<ParkedDelta> {
        let mut parked = self.0.lock();
        let mut due = Vec::new();
        while let Some(first) = parked.by_time.first_entry().filter(|first| first.key().0 <= latest)
        {
            due.push(first.remove());
        }
        parked.bytes -= due.iter().map(ParkedDelta::bytes).sum::<usize>();
        due
    }
}
