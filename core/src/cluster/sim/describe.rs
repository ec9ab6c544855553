//! Messages as people read them.

use std::fmt::Write;
use std::sync::Arc;

use crate::cluster::messages::Body;
use crate::cluster::records::Records;
use crate::cluster::wire;
use crate::member::Member;
use crate::table::Dumped;

/// The last digits tell members apart.
fn short(incarnation: u128) -> String {
    format!("{:04x}", incarnation & 0xffff)
}

/// Heartbeats fill every history and rarely matter.
pub(super) fn is_heartbeat(bytes: &[u8]) -> bool {
    matches!(wire::read(bytes), Ok((_, Body::Heartbeat(_))))
}

pub(super) fn describe(bytes: &[u8]) -> String {
    match wire::read(bytes) {
        Ok((_, body)) => describe_body(body),
        Err(_) => format!("garbage: {bytes:02x?}"),
    }
}

fn describe_body(body: Body<'_>) -> String {
    match body {
        Body::Heartbeat(beat) => {
            let heard: Vec<String> = beat
                .heard
                .iter()
                .map(|(member, number)| format!("{}:{number}", short(*member)))
                .collect();
            let synced = if beat.synced { "synced" } else { "joining" };
            format!(
                "heartbeat {} of {} {synced}, sent {}, root {:016x}, heard {}",
                beat.number,
                beat.name,
                beat.sent,
                beat.root,
                heard.join(" ")
            )
        }
        Body::Data { first, records } => format!("data from {first}: {}", list(records)),
        Body::Bye => "bye".to_owned(),
        Body::SnapshotAsk { shard, attempt } => format!("asks for shard {shard}, {attempt}"),
        Body::SnapshotPart { shard, part, last, records, .. } => {
            format!("shard {shard} part {part} last {last}: {}", list(records))
        }
        Body::RepairStart { round, .. } => format!("repair {round} starts"),
        Body::RepairGroup { round, group, .. } => format!("repair {round} group {group}"),
        Body::RepairGroups { round, groups } => format!("repair {round}: {groups} groups differ"),
        Body::RepairList { round, list, buckets } => {
            format!("repair {round} list {list}: {} buckets", buckets.len())
        }
        Body::RepairRecords { round, list: of, last, wants, records } => {
            let wants = wants.len();
            format!("repair {round} of {of:?} last {last} wants {wants}: {}", list(records))
        }
        Body::TermOpen { term } => {
            format!("opens term {} of {}", term.clock, short(term.coordinator))
        }
        Body::TermAnswer { term, promised, records, .. } => format!(
            "answers term {} of {}, promised {} of {}: {}",
            term.clock,
            short(term.coordinator),
            promised.clock,
            short(promised.coordinator),
            list(records)
        ),
        Body::LockAsk { ask, .. } => {
            let key = String::from_utf8_lossy(&ask.key);
            format!(
                "asks for lock {key} ({} attempt {}) as {:?}, renews {:?}, floor {}, lease {:?}, wait {}",
                ask.id, ask.attempt, ask.owner, ask.renews, ask.floor, ask.lease, ask.wait
            )
        }
        Body::LockAnswer { id, attempt, term, answer, .. } => {
            let (clock, coordinator) = (term.clock, short(term.coordinator));
            format!(
                "answers lock {id} attempt {attempt} in term {clock} of {coordinator}: {answer:?}"
            )
        }
        Body::LockCancel { id, attempt, fence } => {
            format!("cancels lock {id} up to attempt {attempt}, fence {fence:?}")
        }
    }
}

fn list(mut records: Records<'_>) -> String {
    let members: Vec<Arc<Member>> =
        records.members.iter().map(|(of, name)| Arc::new(Member::alone(name, *of))).collect();
    let mut out = format!("{} records", records.count);
    for _ in 0..records.count.min(12) {
        let Ok(delta) = records.next(&members) else {
            out += ", garbage";
            break;
        };
        let _ = write!(out, ", {}", String::from_utf8_lossy(delta.key));
        if let Some(value) = &delta.value {
            let stamp = &value.stamp;
            let what = match (stamp.dead, value.content) {
                (true, _) => "dead",
                (false, None) => "faded",
                (false, Some(_)) => "put",
            };
            let _ =
                write!(out, " {what} e{}t{} by {}", stamp.epoch, stamp.time, short(stamp.writer));
            if let Some(minor) = stamp.minor {
                let _ = write!(out, " minor {} by {}", minor.clock, short(minor.member));
            }
        }
        if let Some(lock) = &delta.lock {
            let (fence, grantor, holder) =
                (lock.fence, short(lock.grantor), short(lock.member.incarnation));
            let state = if lock.released { "released" } else { "held" };
            let _ = write!(
                out,
                " lock {fence} of {grantor} {state} #{} by {holder} {:?}, left {}",
                lock.sequence, lock.owner, lock.left
            );
        }
    }
    out
}

/// What a member has for a key.
pub(super) fn describe_dumped(dumped: &Dumped) -> String {
    let mut out = String::from_utf8_lossy(&dumped.key).into_owned();
    if let Some(stamp) = &dumped.stamp {
        let what = match (&dumped.content, stamp.dead) {
            (Some(_), _) => "live",
            (None, true) => "dead",
            (None, false) => "faded",
        };
        let (epoch, time, writer) = (stamp.epoch, stamp.time, short(stamp.writer));
        let _ = write!(out, " {what} e{epoch}t{time} by {writer}");
        if let Some(minor) = stamp.minor {
            let _ = write!(out, " minor {} by {}", minor.clock, short(minor.member));
        }
        if dumped.exp != u64::MAX {
            let _ = write!(out, " exp {}", dumped.exp);
        }
    }
    if let Some(lock) = &dumped.lock {
        let state = match (lock.released, lock.held) {
            (true, _) => "released",
            (false, true) => "held",
            (false, false) => "over",
        };
        let (fence, grantor, member) = (lock.fence, short(lock.grantor), short(lock.member));
        let (sequence, owner) = (lock.sequence, &lock.owner);
        let _ = write!(out, " lock {fence} of {grantor} {state} #{sequence} by {member} {owner:?}");
    }
    out
}
