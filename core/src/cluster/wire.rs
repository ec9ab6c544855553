//! How messages are written and read. Each carries the version of this format and who sends it when; fields that
//! a later version adds at the end of a message or record are skipped by this one.

use std::sync::Arc;

use super::bytes::{Garbage, Input, Output, Read};
use super::messages::{
    Body, Buckets, GROUPS, Header, Heartbeat, Leader, LockAnswer, LockAsk, Term,
};
use super::records::{Batch, Records};
use crate::call_options::MAX_OWNER_BYTES;
use crate::key::MAX_KEY_BYTES;
use crate::options::MAX_NAME_BYTES;

const MAGIC: u8 = b'k';
const VERSION: u8 = 1;

/// More members than this are no cluster but an attack.
pub(super) const MAX_MEMBERS: usize = 4096;
const MAX_ENDPOINTS: usize = 64;
const MAX_ENDPOINT_BYTES: usize = 512;

macro_rules! kinds {
    ($($name:ident = $code:literal),+ $(,)?) => { $(const $name: u8 = $code;)+ };
}

kinds! {
    HEARTBEAT = 1, DATA = 2, BYE = 3, SNAPSHOT_ASK = 4, SNAPSHOT_PART = 5, REPAIR_START = 6, REPAIR_GROUP = 7,
    REPAIR_GROUPS = 8, REPAIR_LIST = 9, REPAIR_RECORDS = 10, TERM_OPEN = 11, TERM_ANSWER = 12, LOCK_ASK = 13,
    LOCK_ANSWER = 14, LOCK_CANCEL = 15,
}

/// Writes messages of one sender.
#[derive(Clone, Copy)]
pub(crate) struct Writer(pub Header);

impl Writer {
    fn start(&self, kind: u8) -> Output {
        let mut out = Output::default();
        out.u8(MAGIC);
        out.u8(VERSION);
        out.u8(kind);
        out.u128(self.0.from);
        out.u64(self.0.wall);
        out
    }

    pub fn heartbeat(&self, beat: &Heartbeat) -> Vec<u8> {
        let mut out = self.start(HEARTBEAT);
        out.block(beat.name.as_bytes());
        write_endpoints(&mut out, &beat.endpoints);
        let flags = [beat.synced, beat.admitted, beat.refusing].into_iter().enumerate();
        out.u8(flags.fold(0, |flags, (bit, on)| flags | u8::from(on) << bit));
        for number in [beat.number, beat.sent, beat.entries] {
            out.number(number);
        }
        out.u64(beat.root);
        out.number(beat.heard.len().min(MAX_MEMBERS) as u64);
        for (member, number) in beat.heard.iter().take(MAX_MEMBERS) {
            out.u128(*member);
            out.number(*number);
        }
        out.u64(beat.settled);
        out.u8(beat.friend.is_some().into());
        if let Some((member, endpoints)) = &beat.friend {
            out.u128(*member);
            write_endpoints(&mut out, endpoints);
        }
        out.u8(beat.leader.is_some().into());
        if let Some(leader) = &beat.leader {
            out.u128(leader.member);
            out.block(leader.name.as_bytes());
            out.number(leader.number);
            out.u8(leader.direct.into());
        }
        out.0
    }

    pub fn data(&self, first: u64, batch: &Batch) -> Vec<u8> {
        let mut out = self.start(DATA);
        out.number(first);
        batch.write(&mut out);
        out.0
    }

    pub fn bye(&self) -> Vec<u8> {
        self.start(BYE).0
    }

    pub fn snapshot_ask(&self, shard: u16, attempt: u64) -> Vec<u8> {
        let mut out = self.start(SNAPSHOT_ASK);
        out.number(u64::from(shard));
        out.number(attempt);
        out.0
    }

    pub fn snapshot_part(
        &self,
        (shard, shards): (u16, u16),
        attempt: u64,
        part: u32,
        last: bool,
        entries: u64,
        batch: &Batch,
    ) -> Vec<u8> {
        let mut out = self.start(SNAPSHOT_PART);
        for number in [shard.into(), shards.into(), attempt, part.into(), last.into(), entries] {
            out.number(number);
        }
        batch.write(&mut out);
        out.0
    }

    pub fn repair_start(&self, round: u64, sums: &[u64]) -> Vec<u8> {
        let mut out = self.start(REPAIR_START);
        out.number(round);
        sums.iter().for_each(|sum| out.u64(*sum));
        out.0
    }

    pub fn repair_group(&self, round: u64, group: u8, sums: &[u64], recent: &[u8]) -> Vec<u8> {
        let mut out = self.start(REPAIR_GROUP);
        out.number(round);
        out.u8(group);
        sums.iter().for_each(|sum| out.u64(*sum));
        out.block(recent);
        out.0
    }

    pub fn repair_groups(&self, round: u64, groups: u16) -> Vec<u8> {
        let mut out = self.start(REPAIR_GROUPS);
        out.number(round);
        out.number(groups.into());
        out.0
    }

    pub fn repair_list(
        &self,
        round: u64,
        list: u32,
        buckets: &[(u16, Vec<(u64, u64)>)],
    ) -> Vec<u8> {
        let mut out = self.start(REPAIR_LIST);
        out.number(round);
        out.number(list.into());
        out.number(buckets.len() as u64);
        for (bucket, items) in buckets {
            out.number((*bucket).into());
            out.number(items.len() as u64);
            for (key, record) in items {
                out.u64(*key);
                out.u64(*record);
            }
        }
        out.0
    }

    pub fn repair_records(
        &self,
        round: u64,
        list: Option<u32>,
        last: bool,
        wants: &[(u64, bool)],
        batch: &Batch,
    ) -> Vec<u8> {
        let mut out = self.start(REPAIR_RECORDS);
        out.number(round);
        out.number(list.map_or(0, |list| u64::from(list) + 1));
        out.u8(last.into());
        out.number(wants.len() as u64);
        for (key, lacks) in wants {
            out.u64(*key);
            out.u8((*lacks).into());
        }
        batch.write(&mut out);
        out.0
    }

    pub fn term_open(&self, term: Term) -> Vec<u8> {
        let mut out = self.start(TERM_OPEN);
        write_term(&mut out, term);
        out.0
    }

    pub fn term_answer(
        &self,
        (term, promised): (Term, Term),
        newest: u64,
        locks: &Batch,
    ) -> Vec<u8> {
        let mut out = self.start(TERM_ANSWER);
        write_term(&mut out, term);
        write_term(&mut out, promised);
        out.u64(newest);
        locks.write(&mut out);
        out.0
    }

    /// `news`: what the asker has put under its last lock of the key.
    pub fn lock_ask(&self, ask: &LockAsk, news: &Batch) -> Vec<u8> {
        let mut out = self.start(LOCK_ASK);
        out.number(ask.id);
        out.number(ask.attempt);
        out.block(&ask.key);
        write_owner(&mut out, ask.owner.as_deref());
        write_option(&mut out, ask.renews);
        out.u64(ask.floor);
        out.u8(ask.released.into());
        out.u64(ask.value);
        write_option(&mut out, ask.lease);
        out.number(ask.wait);
        news.write(&mut out);
        out.0
    }

    /// `value`: that of the key, if the asker gets the lock and does not have it yet.
    pub fn lock_answer(
        &self,
        id: u64,
        (attempt, term): (u64, Term),
        answer: &LockAnswer,
        value: &Batch,
    ) -> Vec<u8> {
        let mut out = self.start(LOCK_ANSWER);
        out.number(id);
        out.number(attempt);
        write_term(&mut out, term);
        match answer {
            LockAnswer::Granted { fence, grantor, sequence, again } => {
                out.u8(0);
                out.u64(*fence);
                out.u128(*grantor);
                out.number(*sequence);
                out.u8((*again).into());
            }
            LockAnswer::Locked { node, owner, waited } => {
                out.u8(1);
                out.block(node.as_bytes());
                write_owner(&mut out, owner.as_deref());
                out.u8((*waited).into());
            }
            LockAnswer::Lost => out.u8(2),
        }
        value.write(&mut out);
        out.0
    }

    pub fn lock_cancel(&self, (id, attempt): (u64, u64), fence: Option<u64>) -> Vec<u8> {
        let mut out = self.start(LOCK_CANCEL);
        out.number(id);
        out.number(attempt);
        write_option(&mut out, fence);
        out.0
    }
}

fn write_term(out: &mut Output, term: Term) {
    out.u64(term.clock);
    out.u128(term.coordinator);
}

fn read_term(input: &mut Input<'_>) -> Read<Term> {
    let clock = input.u64()?;
    if clock > i64::MAX as u64 {
        return Err(Garbage("a term is past 2262"));
    }
    Ok(Term { clock, coordinator: input.u128()? })
}

fn write_option(out: &mut Output, number: Option<u64>) {
    out.u8(number.is_some().into());
    out.number(number.unwrap_or_default());
}

fn read_option(input: &mut Input<'_>) -> Read<Option<u64>> {
    let is_there = flag(input)?;
    let number = input.number()?;
    Ok(is_there.then_some(number))
}

fn write_owner(out: &mut Output, owner: Option<&str>) {
    out.u8(owner.is_some().into());
    out.block(owner.unwrap_or_default().as_bytes());
}

fn read_owner(input: &mut Input<'_>) -> Read<Option<Arc<str>>> {
    let is_there = flag(input)?;
    let owner = input.text(MAX_OWNER_BYTES)?;
    Ok(is_there.then(|| Arc::from(owner)))
}

fn flag(input: &mut Input<'_>) -> Read<bool> {
    input.u8().map(|byte| byte != 0)
}

fn small<T: TryFrom<u64>>(input: &mut Input<'_>) -> Read<T> {
    T::try_from(input.number()?).map_err(|_| Garbage("a number is too large"))
}

fn read_key(input: &mut Input<'_>) -> Read<Vec<u8>> {
    let key = input.block()?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Garbage("a key is empty or too long"));
    }
    Ok(key.to_vec())
}

fn read_sums(input: &mut Input<'_>) -> Read<Vec<u64>> {
    (0..GROUPS).map(|_| input.u64()).collect()
}

/// Reads a message. Whatever the bytes: no panic, and nothing allocated that they do not pay for.
pub(crate) fn read(bytes: &[u8]) -> Read<(Header, Body<'_>)> {
    let mut input = Input::new(bytes);
    if input.u8()? != MAGIC {
        return Err(Garbage("it is no message of a member"));
    }
    if input.u8()? != VERSION {
        return Err(Garbage("its format has another version"));
    }
    let kind = input.u8()?;
    let header = Header { from: input.u128()?, wall: input.u64()? };
    let body = read_body(kind, &mut input)?;
    Ok((header, body))
}

fn read_body<'a>(kind: u8, input: &mut Input<'a>) -> Read<Body<'a>> {
    Ok(match kind {
        HEARTBEAT => Body::Heartbeat(read_heartbeat(input)?),
        DATA => Body::Data { first: input.number()?, records: Records::read(input)? },
        BYE => Body::Bye,
        SNAPSHOT_ASK => Body::SnapshotAsk { shard: small(input)?, attempt: input.number()? },
        SNAPSHOT_PART => Body::SnapshotPart {
            shard: small(input)?,
            shards: small(input)?,
            attempt: input.number()?,
            part: small(input)?,
            last: flag(input)?,
            entries: input.number()?,
            records: Records::read(input)?,
        },
        REPAIR_START => Body::RepairStart { round: input.number()?, sums: read_sums(input)? },
        REPAIR_GROUP => Body::RepairGroup {
            round: input.number()?,
            group: input.u8()?,
            sums: read_sums(input)?,
            recent: input.block()?.to_vec(),
        },
        REPAIR_GROUPS => Body::RepairGroups { round: input.number()?, groups: small(input)? },
        REPAIR_LIST => Body::RepairList {
            round: input.number()?,
            list: small(input)?,
            buckets: read_buckets(input)?,
        },
        REPAIR_RECORDS => {
            let round = input.number()?;
            let list = input.number()?.checked_sub(1);
            let list = list.map(u32::try_from).transpose();
            let list = list.map_err(|_| Garbage("a number is too large"))?;
            let last = flag(input)?;
            let count = input.count(9)?;
            let wants = (0..count).map(|_| Ok((input.u64()?, flag(input)?)));
            let wants = wants.collect::<Read<_>>()?;
            Body::RepairRecords { round, list, last, wants, records: Records::read(input)? }
        }
        TERM_OPEN => Body::TermOpen { term: read_term(input)? },
        TERM_ANSWER => Body::TermAnswer {
            term: read_term(input)?,
            promised: read_term(input)?,
            newest: input.u64()?.min(i64::MAX as u64),
            records: Records::read(input)?,
        },
        LOCK_ASK => Body::LockAsk { ask: read_ask(input)?, records: Records::read(input)? },
        LOCK_ANSWER => Body::LockAnswer {
            id: input.number()?,
            attempt: input.number()?,
            term: read_term(input)?,
            answer: read_answer(input)?,
            records: Records::read(input)?,
        },
        LOCK_CANCEL => Body::LockCancel {
            id: input.number()?,
            attempt: input.number()?,
            fence: read_option(input)?,
        },
        _ => return Err(Garbage("its kind is unknown")),
    })
}

fn read_heartbeat(input: &mut Input<'_>) -> Read<Heartbeat> {
    let name = input.text(MAX_NAME_BYTES)?.to_owned();
    if name.is_empty() {
        return Err(Garbage("a member has no name"));
    }
    let endpoints = read_endpoints(input)?;
    let flags = input.u8()?;
    let (number, sent, entries) = (input.number()?, input.number()?, input.number()?);
    let root = input.u64()?;
    let count = input.count(17)?;
    if count > MAX_MEMBERS {
        return Err(Garbage("it names too many members"));
    }
    let heard = (0..count).map(|_| Ok((input.u128()?, input.number()?)));
    let heard = heard.collect::<Read<_>>()?;
    let (synced, admitted, refusing) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    let settled = input.u64()?;
    let friend = match input.u8()? {
        0 => None,
        _ => Some((input.u128()?, read_endpoints(input)?)),
    };
    let leader = match input.u8()? {
        0 => None,
        _ => Some(Leader {
            member: input.u128()?,
            name: input.text(MAX_NAME_BYTES)?.into(),
            number: input.number()?,
            direct: flag(input)?,
        }),
    };
    let beat =
        Heartbeat { name, endpoints, synced, admitted, number, sent, ..Heartbeat::default() };
    Ok(Heartbeat { refusing, root, entries, heard, settled, friend, leader, ..beat })
}

fn write_endpoints(out: &mut Output, endpoints: &[String]) {
    out.number(endpoints.len().min(MAX_ENDPOINTS) as u64);
    for endpoint in endpoints.iter().take(MAX_ENDPOINTS) {
        out.block(endpoint.as_bytes());
    }
}

fn read_endpoints(input: &mut Input<'_>) -> Read<Vec<String>> {
    let count = input.count(1)?;
    if count > MAX_ENDPOINTS {
        return Err(Garbage("a member has too many endpoints"));
    }
    (0..count).map(|_| Ok(input.text(MAX_ENDPOINT_BYTES)?.to_owned())).collect()
}

/// Buckets and what lies in them: hashes of keys and of records.
fn read_buckets(input: &mut Input<'_>) -> Read<Buckets> {
    let count = input.count(2)?;
    let mut buckets = Vec::with_capacity(count);
    for _ in 0..count {
        let bucket = small(input)?;
        let items = input.count(16)?;
        let items = (0..items).map(|_| Ok((input.u64()?, input.u64()?)));
        buckets.push((bucket, items.collect::<Read<_>>()?));
    }
    Ok(buckets)
}

fn read_ask(input: &mut Input<'_>) -> Read<LockAsk> {
    Ok(LockAsk {
        id: input.number()?,
        attempt: input.number()?,
        key: read_key(input)?,
        owner: read_owner(input)?,
        renews: read_option(input)?,
        floor: input.u64()?.min(i64::MAX as u64),
        released: flag(input)?,
        value: input.u64()?,
        lease: read_option(input)?,
        wait: input.number()?,
    })
}

fn read_answer(input: &mut Input<'_>) -> Read<LockAnswer> {
    Ok(match input.u8()? {
        0 => {
            let fence = input.u64()?;
            if fence > i64::MAX as u64 {
                return Err(Garbage("a fence is past 2262"));
            }
            let (grantor, sequence, again) = (input.u128()?, input.number()?, flag(input)?);
            LockAnswer::Granted { fence, grantor, sequence, again }
        }
        1 => LockAnswer::Locked {
            node: input.text(MAX_NAME_BYTES)?.to_owned(),
            owner: read_owner(input)?,
            waited: flag(input)?,
        },
        _ => LockAnswer::Lost,
    })
}

#[cfg(test)]
mod tests;
