//! Records stamped later than any honest clock could: kept until their time has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::member::Member;
use crate::stamp::Stamp;
use crate::sync::Mutex;
use crate::table::merge::{Delta, DeltaLock, DeltaValue};

/// More than this are not kept; they are found again by comparing.
const MOST: usize = 100_000;

/// By time, key and number, so that a repetition takes the place of the first.
#[derive(Default)]
pub(crate) struct Parked(Mutex<ByTime>);

type ByTime = BTreeMap<(u64, Box<[u8]>), ParkedDelta>;

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
        if parked.len() >= MOST {
            return;
        }
        let value = delta.value.map(|value| ParkedValue {
            content: value.content.map(Box::from),
            stamp: value.stamp,
            exp: value.exp,
            writer: value.writer,
        });
        let kept = ParkedDelta { key: delta.key.into(), value, lock: delta.lock };
        parked.insert((time, delta.key.into()), kept);
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Takes out what is not later than this.
    pub fn due(&self, latest: u64) -> Vec<ParkedDelta> {
        let mut parked = self.0.lock();
        let mut due = Vec::new();
        while let Some(first) = parked.first_entry().filter(|first| first.key().0 <= latest) {
            due.push(first.remove());
        }
        due
    }
}
