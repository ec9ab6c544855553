//! Records in messages: everything that a member knows of some keys.

use std::sync::Arc;

use super::bytes::{Garbage, Input, Output, Read};
use crate::call_options::MAX_OWNER_BYTES;
use crate::clock::Now;
use crate::codec::{MAX_VALUE_BYTES, is_canonical};
use crate::key::MAX_KEY_BYTES;
use crate::lock::{LockRegister, LockState, NEVER};
use crate::member::Member;
use crate::options::MAX_NAME_BYTES;
use crate::record::Record;
use crate::stamp::Stamp;
use crate::table::merge::{Delta, DeltaLock, DeltaValue};
use crate::version::Minor;

const HAS_VALUE: u8 = 1;
const HAS_CONTENT: u8 = 2;
const HAS_LOCK: u8 = 4;
const HAS_MINOR: u8 = 8;
const DEAD: u8 = 16;
const HAS_EXP: u8 = 32;

const RELEASED: u8 = 1;
const HAS_OWNER: u8 = 2;
const HAS_LEASE: u8 = 4;

/// Records on their way into a message.
#[derive(Default)]
pub(crate) struct Batch {
    /// Who wrote them and who holds their locks; records name them by number.
    members: Vec<Arc<Member>>,
    body: Output,
    count: usize,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn bytes(&self) -> usize {
        self.body.0.len()
    }

    fn member(&mut self, member: &Arc<Member>) -> u64 {
        let known = self.members.iter().position(|known| known == member);
        let number = known.unwrap_or_else(|| {
            self.members.push(member.clone());
            self.members.len() - 1
        });
        number as u64
    }

    pub fn push(&mut self, record: &Record, now: Now) {
        self.count += 1;
        let start = self.body.0.len();
        let stamp = record.stamp();
        let content = stamp.filter(|stamp| !stamp.dead).map(|_| record.encoded());
        // Canonical values have at least one byte; none is left of an expired one.
        let content = content.filter(|content| !content.is_empty());
        let mut flags = 0;
        let mut flag = |bit: u8, on: bool| flags |= if on { bit } else { 0 };
        flag(HAS_VALUE, stamp.is_some());
        flag(HAS_CONTENT, content.is_some());
        flag(HAS_LOCK, record.lock().is_some());
        flag(HAS_MINOR, stamp.is_some_and(|stamp| stamp.minor.is_some()));
        flag(DEAD, stamp.is_some_and(|stamp| stamp.dead));
        flag(HAS_EXP, record.exp() != NEVER);
        self.body.u8(flags);
        self.body.block(record.key());
        if let Some(stamp) = stamp {
            let writer = self.member(record.writer());
            self.body.u64(stamp.epoch);
            self.body.u64(stamp.time);
            self.body.number(writer);
            if let Some(minor) = stamp.minor {
                self.body.u64(minor.clock);
                self.body.u128(minor.member);
            }
            if record.exp() != NEVER {
                self.body.u64(record.exp());
            }
            if let Some(content) = content {
                self.body.block(content);
            }
        }
        if let Some(lock) = record.lock() {
            self.push_lock(lock, now);
        }
        let length = self.body.0.len() - start;
        self.body.insert_length(start, length);
    }

    fn push_lock(&mut self, lock: &LockRegister, now: Now) {
        let holder = self.member(&lock.member);
        // A lock that only seems over to this member, since its holder seems gone, is as good as held to others.
        let left = match lock.lease_end {
            NEVER => None,
            end => Some(end.saturating_sub(now.mono)),
        };
        let mut flags = 0;
        let mut flag = |bit: u8, on: bool| flags |= if on { bit } else { 0 };
        flag(RELEASED, lock.state == LockState::Released);
        flag(HAS_OWNER, lock.owner.is_some());
        flag(HAS_LEASE, left.is_some());
        self.body.u8(flags);
        self.body.u64(lock.fence);
        self.body.u128(lock.grantor);
        self.body.number(lock.sequence);
        self.body.number(holder);
        if let Some(owner) = &lock.owner {
            self.body.block(owner.as_bytes());
        }
        if let Some(left) = left {
            self.body.number(left);
        }
    }

    pub fn write(&self, out: &mut Output) {
        out.number(self.members.len() as u64);
        for member in &self.members {
            out.u128(member.incarnation);
            out.block(member.name.as_bytes());
        }
        out.number(self.count as u64);
        out.0.extend_from_slice(&self.body.0);
    }
}

impl Output {
    /// Puts the length of what was just written before it.
    fn insert_length(&mut self, start: usize, length: usize) {
        let mut prefix = Output::default();
        prefix.number(length as u64);
        let end = self.0.len();
        self.0.extend_from_slice(&prefix.0);
        self.0[start..].rotate_right(prefix.0.len());
        debug_assert_eq!(self.0.len(), end + prefix.0.len());
    }
}

/// Records in a message that has arrived; not looked at yet, but for the members they name.
#[derive(Clone)]
pub(crate) struct Records<'a> {
    pub members: Vec<(u128, &'a str)>,
    pub count: usize,
    input: Input<'a>,
}

impl<'a> Records<'a> {
    pub fn read(input: &mut Input<'a>) -> Read<Records<'a>> {
        let named = input.count(17)?;
        let mut members = Vec::with_capacity(named);
        for _ in 0..named {
            members.push((input.u128()?, input.text(MAX_NAME_BYTES)?));
        }
        let count = input.count(2)?;
        Ok(Records { members, count, input: input.clone() })
    }

    /// The next record; `members` are those of this message, in their order.
    pub fn next(&mut self, members: &[Arc<Member>]) -> Read<Delta<'a>> {
        // Whatever a later version adds follows at the end of the block.
        let mut input = Input::new(self.input.block()?);
        let flags = input.u8()?;
        let key = input.block()?;
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(Garbage("a key is empty or too long"));
        }
        let value =
            if flags & HAS_VALUE != 0 { Some(value(&mut input, flags, members)?) } else { None };
        let lock = if flags & HAS_LOCK != 0 { Some(lock(&mut input, members)?) } else { None };
        Ok(Delta { key, value, lock })
    }
}

fn member(input: &mut Input<'_>, members: &[Arc<Member>]) -> Read<Arc<Member>> {
    let number = usize::try_from(input.number()?).unwrap_or(usize::MAX);
    members.get(number).cloned().ok_or(Garbage("it names nobody"))
}

/// Times and fences leave room for those that follow.
fn time(input: &mut Input<'_>) -> Read<u64> {
    let time = input.u64()?;
    if time > i64::MAX as u64 { Err(Garbage("a time is past 2262")) } else { Ok(time) }
}

fn value<'a>(input: &mut Input<'a>, flags: u8, members: &[Arc<Member>]) -> Read<DeltaValue<'a>> {
    let (epoch, time_put) = (time(input)?, time(input)?);
    if time_put == 0 {
        return Err(Garbage("a value was put at no time"));
    }
    let writer = member(input, members)?;
    let minor = if flags & HAS_MINOR != 0 {
        Some(Minor { clock: time(input)?, member: input.u128()? })
    } else {
        None
    };
    let exp = if flags & HAS_EXP != 0 { time(input)? } else { NEVER };
    let content = if flags & HAS_CONTENT != 0 { Some(input.block()?) } else { None };
    let dead = flags & DEAD != 0;
    if content
        .is_some_and(|content| dead || content.len() > MAX_VALUE_BYTES || !is_canonical(content))
    {
        return Err(Garbage("a value is damaged"));
    }
    if content.is_none() && !dead && exp == NEVER {
        return Err(Garbage("a value has no content"));
    }
    let stamp = Stamp { epoch, time: time_put, writer: writer.incarnation, minor, dead };
    Ok(DeltaValue { content, stamp, exp, writer })
}

fn lock(input: &mut Input<'_>, members: &[Arc<Member>]) -> Read<DeltaLock> {
    let flags = input.u8()?;
    let (fence, grantor, sequence) = (time(input)?, input.u128()?, input.number()?);
    let member = member(input, members)?;
    let owner = match flags & HAS_OWNER != 0 {
        true => Some(Arc::from(input.text(MAX_OWNER_BYTES)?)),
        false => None,
    };
    let left = if flags & HAS_LEASE != 0 { input.number()?.min(NEVER - 1) } else { NEVER };
    let released = flags & RELEASED != 0;
    Ok(DeltaLock { fence, grantor, released, sequence, member, owner, left })
}
