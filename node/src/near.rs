//! What the cache in `lib/near.js` is told of the values that it may keep.

use std::sync::atomic::{AtomicU32, Ordering};

use minikv::{Counted, ValueType};

use crate::js::Words;

/// Longer texts are not kept: they cost more memory than time.
const LONGEST_TEXT: usize = 1024;

/// What was last read: the slot, the two words of its counter, a word of nothing, then the two halves of the time in
/// ms until which the value may be kept at most, as a float.
// The float is aligned.
#[repr(align(8))]
#[derive(Default)]
pub struct Note([AtomicU32; 6]);

/// In place of a slot: the value is not to be kept.
const NOTHING: u32 = u32::MAX;

impl Note {
    pub fn nothing(&self) {
        self.0[0].store(NOTHING, Ordering::Relaxed);
    }

    /// Of values of which each reader gets a copy of its own nothing is kept.
    pub fn take(&self, read: &Counted) {
        let keep = read.entry.as_ref().is_some_and(|entry| match entry.value_type() {
            ValueType::Text => entry.as_str().is_some_and(|text| text.len() <= LONGEST_TEXT),
            ValueType::Nil | ValueType::Bool | ValueType::Int | ValueType::Float => true,
            _ => false,
        });
        if !keep || read.until == 0 {
            return self.nothing();
        }
        let until = match read.until {
            u64::MAX => f64::INFINITY,
            nanos => (nanos / 1_000_000) as f64,
        };
        let [a, b, c, d, e, f, g, h] = until.to_ne_bytes();
        let halves = [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])];
        let (low, high) = read.count;
        let words = [read.slot as u32, low, high, 0, halves[0], halves[1]];
        for (at, word) in self.0.iter().zip(words) {
            at.store(word, Ordering::Relaxed);
        }
    }
}

impl Words for Note {
    fn words(&self) -> &[AtomicU32] {
        &self.0
    }
}
