//! What one key does, one call after the other: its value, its version, and who holds its lock.

use minikv::Version;

use crate::checker::Model;

/// A value with the version that its write gave it.
pub type Content = (i64, Version);

/// What a call gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Gave {
    Content(Option<Content>),
    Conflict(Option<Content>),
    Locked,
    NotFound,
}

#[derive(Clone, Debug)]
pub enum Op {
    Get,
    Put(i64),
    PutIfAbsent(i64),
    PutIfVersion(i64, Version),
    Incr(i64),
    /// Doubles, or stores 1.
    Update,
    Delete,
    Lock,
    /// The lock's holder writes.
    HeldPut(i64),
    Unlock,
}

/// A call of a thread with what it gave.
#[derive(Clone, Debug)]
pub struct Done {
    pub thread: usize,
    pub op: Op,
    pub gave: Gave,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    content: Option<Content>,
    locked_by: Option<usize>,
}

impl Key {
    /// The state after a write of `value`, which must be newer than what it replaces.
    fn written(&self, value: i64, gave: &Gave) -> Option<Key> {
        let Gave::Content(Some(content)) = gave else { return None };
        let newer = self.content.is_none_or(|(_, before)| before < content.1);
        let right = content.0 == value && newer;
        right.then(|| Key { content: Some(*content), ..self.clone() })
    }

    fn unchanged_if(&self, holds: bool) -> Option<Key> {
        holds.then(|| self.clone())
    }
}

impl Model for Key {
    type Op = Done;

    fn apply(&self, Done { thread, op, gave }: &Done) -> Option<Key> {
        let by_other = self.locked_by.is_some_and(|holder| holder != *thread);
        let by_me = self.locked_by == Some(*thread);
        let writes = !matches!(op, Op::Get | Op::HeldPut(_) | Op::Unlock);
        // Outside of its guard a thread has no label: it is a stranger to its own lock as well.
        if writes && (by_other || by_me) {
            return self.unchanged_if(*gave == Gave::Locked);
        }
        match op {
            Op::Get => self.unchanged_if(*gave == Gave::Content(self.content)),
            Op::Put(value) => self.written(*value, gave),
            Op::PutIfAbsent(value) if self.content.is_none() => self.written(*value, gave),
            Op::PutIfVersion(value, version)
                if self.content.is_some_and(|(_, present)| present == *version) =>
            {
                self.written(*value, gave)
            }
            Op::PutIfAbsent(_) | Op::PutIfVersion(..) => {
                self.unchanged_if(*gave == Gave::Conflict(self.content))
            }
            Op::Incr(by) => self.written(self.content.map_or(0, |(value, _)| value) + by, gave),
            Op::Update => self.written(self.content.map_or(1, |(value, _)| doubled(value)), gave),
            Op::Delete => {
                let right = *gave == Gave::Content(self.content);
                right.then(|| Key { content: None, ..self.clone() })
            }
            Op::Lock if self.content.is_none() => self.unchanged_if(*gave == Gave::NotFound),
            Op::Lock => {
                let right = *gave == Gave::Content(self.content);
                right.then(|| Key { locked_by: Some(*thread), ..self.clone() })
            }
            Op::HeldPut(value) if by_me => self.written(*value, gave),
            Op::Unlock if by_me => Some(Key { locked_by: None, ..self.clone() }),
            Op::HeldPut(_) | Op::Unlock => None,
        }
    }
}

/// What an update makes of a value; it stays small, however often.
pub fn doubled(value: i64) -> i64 {
    value.wrapping_mul(2) % 1_000_003
}
