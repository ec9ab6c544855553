//! What is written is read as it was; what is damaged does no harm.

use super::*;
use crate::clock::Now;
use crate::lock::{LockRegister, LockState, NEVER};
use crate::member::Member;
use crate::record::{Record, Stamped};
use crate::stamp::Stamp;
use crate::version::Minor;
use proptest::prelude::*;

const NOW: Now = Now { wall: 5_000, mono: 1_000 };

fn writer() -> Writer {
    Writer(Header { from: 7, wall: NOW.wall })
}

fn leader() -> Leader {
    Leader { member: 5, name: "m".into(), number: 7, direct: true }
}

fn member(incarnation: u128) -> Arc<Member> {
    Arc::new(Member::alone(&format!("m{incarnation}"), incarnation))
}

/// A record of each shape, by bits.
fn record(bits: u16, text: &str) -> Record {
    let on = |bit: u16| bits & (1 << bit) != 0;
    let lock = on(0).then(|| LockRegister {
        fence: 40,
        grantor: 3,
        state: if on(1) { LockState::Released } else { LockState::Held },
        sequence: u64::from(bits),
        member: member(9),
        owner: on(2).then(|| Arc::from(text)),
        lease_end: if on(3) { 1_500 } else { NEVER },
        signals: Vec::new(),
        deposed: Vec::new(),
    });
    if let (Some(lock), true) = (&lock, on(7)) {
        return Record::lock_only(b"lock", member(1), lock.clone());
    }
    let dead = on(4);
    let minor = on(5).then_some(Minor { clock: 60, member: 8 });
    let stamp = Stamp { epoch: 50, time: 55, writer: 2, minor, dead };
    let exp = if on(6) && !dead { 9_000 } else { NEVER };
    let encoded = crate::Encoded::new(text).unwrap();
    let content = (!dead).then(|| encoded.as_bytes());
    let key = b"key";
    Record::stamped(Stamped { key, content, stamp, exp, writer: member(2), lock })
}

fn facts(record: &Record) -> impl PartialEq + std::fmt::Debug {
    let lock = record.lock().map(|lock| (lock.rank(), lock.owner.clone(), lock.lease_end));
    (record.key().to_vec(), record.stamp(), record.exp(), record.encoded().to_vec(), lock)
}

proptest! {
    #[test]
    fn records_arrive_as_they_were_sent(all in prop::collection::vec((0u16..256, ".{0,9}"), 0..9)) {
        let sent: Vec<Record> = all.iter().map(|(bits, text)| record(*bits, text)).collect();
        let mut batch = Batch::default();
        sent.iter().for_each(|record| batch.push(record, NOW));
        let bytes = writer().data(3, &batch);
        let (header, body) = read(&bytes).unwrap();
        prop_assert_eq!((header.from, header.wall), (7, NOW.wall));
        let Body::Data { first: 3, mut records } = body else { panic!("not what was sent") };
        let members: Vec<Arc<Member>> =
            records.members.iter().map(|(id, name)| Arc::new(Member::alone(name, *id))).collect();
        prop_assert_eq!(records.count, sent.len());
        for sent in &sent {
            let delta = records.next(&members).unwrap();
            let lock = delta.lock.map(|lock| {
                let end = if lock.left == NEVER { NEVER } else { NOW.mono + lock.left };
                let rank = (lock.fence, lock.grantor, lock.released, lock.sequence);
                (rank, lock.owner, end)
            });
            let value = delta.value;
            let got = (
                delta.key.to_vec(),
                value.as_ref().map(|value| value.stamp),
                value.as_ref().map_or(NEVER, |value| value.exp),
                value.and_then(|value| value.content).unwrap_or_default().to_vec(),
                lock,
            );
            prop_assert_eq!(format!("{got:?}"), format!("{:?}", facts(sent)));
        }
    }

    /// Cut, changed or made up: no panic, and what is read stays within the message.
    #[test]
    fn damaged_messages_do_no_harm(
        bits in 0u16..256, cut in 0usize..400, at in 0usize..400, byte in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut batch = Batch::default();
        batch.push(&record(bits, "text"), NOW);
        let friend = Some((7, vec!["a:1".to_owned()]));
        let heard = vec![(1, 2); 3];
        let leader = Some(leader());
        let beat = Heartbeat { name: "n".into(), heard, friend, leader, ..Heartbeat::default() };
        let term = Term { clock: 1, coordinator: 2 };
        let ask = LockAsk { id: 1, attempt: 2, key: b"k".to_vec(), owner: None, renews: None, floor: 3, released: false, value: 6, lease: Some(4), wait: 5 };
        let answer = LockAnswer::Locked { node: "n".into(), owner: Some("o".into()), waited: true };
        let w = writer();
        let messages = [
            w.heartbeat(&beat),
            w.data(1, &batch),
            w.snapshot_part((1, 64), 1, 0, true, 9, &batch),
            w.repair_start(1, &[1; GROUPS]),
            w.repair_group(1, 2, &[1; GROUPS], &[0; 32]),
            w.repair_list(1, 0, &[(5, vec![(1, 2)])]),
            w.repair_records(1, Some(0), true, &[(1, true)], &batch),
            w.term_answer((term, term), 7, &batch),
            w.lock_ask(&ask, &batch),
            w.lock_answer(1, (2, term), &answer, &batch),
            noise,
        ];
        for mut message in messages {
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
            message.truncate(cut);
            let Ok((_, body)) = read(&message) else { continue };
            let records = match body {
                Body::Data { records, .. }
                | Body::SnapshotPart { records, .. }
                | Body::RepairRecords { records, .. }
                | Body::LockAsk { records, .. }
                | Body::LockAnswer { records, .. }
                | Body::TermAnswer { records, .. } => records,
                _ => continue,
            };
            let (mut records, members) = (records, vec![member(1)]);
            while records.next(&members).is_ok() {}
        }
    }
}

#[test]
fn what_a_later_version_adds_is_skipped() {
    let leader = Some(leader());
    let beat = Heartbeat { name: "n".into(), number: 3, leader, ..Heartbeat::default() };
    let mut bytes = writer().heartbeat(&beat);
    bytes.extend_from_slice(b"and more");
    let Ok((_, Body::Heartbeat(read))) = read(&bytes) else { panic!("not what was sent") };
    assert_eq!(read, beat);
    bytes[1] = VERSION + 1;
    assert!(super::read(&bytes).is_err(), "another version is refused");
}
