//! What members say to each other.

use std::sync::Arc;

use super::records::Records;

/// How the table's digests are first compared: so many groups of so many buckets.
pub(crate) const GROUPS: usize = 256;

/// By bucket, the hashes of key and record of what is in it.
pub(crate) type Buckets = Vec<(u16, Vec<(u64, u64)>)>;

/// When a coordinator began, and who it is. The greater one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Term {
    pub clock: u64,
    pub coordinator: u128,
}

/// What is common to all messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub from: u128,
    /// The sender's wall clock when it wrote this.
    pub wall: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heartbeat {
    pub name: String,
    pub endpoints: Vec<String>,
    pub synced: bool,
    /// No earlier member of the same name stands in its way.
    pub admitted: bool,
    /// Its clock is too far from the others': it decides nothing.
    pub refusing: bool,
    /// Its how-manieth heartbeat this is, from 1.
    pub number: u64,
    /// How many records it has sent to everyone, lost ones included.
    pub sent: u64,
    pub root: u64,
    pub entries: u64,
    /// The last heartbeat heard of each other member.
    pub heard: Vec<(u128, u64)>,
    /// Everyone it remembers had all that had ended before this time of the wall clock.
    pub settled: u64,
    /// Another live member, each in its turn, and where to dial it: not everyone may have met.
    pub friend: Option<(u128, Vec<String>)>,
    /// Whom the sender takes for the coordinator.
    pub leader: Option<Leader>,
}

/// The lowest-named that is synced, of all that somebody has touch with or is told of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leader {
    pub member: u128,
    pub name: Box<str>,
    /// The number of its last heartbeat.
    pub number: u64,
    /// Who says so is that member, or has touch with it.
    pub direct: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LockAsk {
    /// Known to the asker; the same in every repetition.
    pub id: u64,
    /// Counts the repetitions: the answer says to which it is one.
    pub attempt: u64,
    pub key: Vec<u8>,
    pub owner: Option<Arc<str>>,
    /// Only to prolong the lock of this fence.
    pub renews: Option<u64>,
    /// The newest fence that the asker knows of.
    pub floor: u64,
    /// That was the asker's own lock, which it has given back: word of it may come after this.
    pub released: bool,
    /// The hash of the stamp of the value that the asker has; 0: it has none.
    pub value: u64,
    pub lease: Option<u64>,
    /// How long the asker wants to wait, from now on.
    pub wait: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LockAnswer {
    Granted {
        fence: u64,
        grantor: u128,
        sequence: u64,
        /// It had the lock already.
        again: bool,
    },
    /// Somebody else has it: name and label.
    Locked { node: String, owner: Option<Arc<str>>, waited: bool },
    /// There is nothing to prolong.
    Lost,
}

/// A message; `'a`: the bytes it was read from.
pub(crate) enum Body<'a> {
    Heartbeat(Heartbeat),
    /// Records that everyone gets; `first` is the number of the first of them.
    Data {
        first: u64,
        records: Records<'a>,
    },
    /// The sender goes.
    Bye,
    /// Everything of one shard of the receiver, please.
    SnapshotAsk {
        shard: u16,
        attempt: u64,
    },
    SnapshotPart {
        shard: u16,
        shards: u16,
        attempt: u64,
        part: u32,
        last: bool,
        entries: u64,
        records: Records<'a>,
    },
    /// Compare with these sums of groups of buckets.
    RepairStart {
        round: u64,
        sums: Vec<u64>,
    },
    /// The sums of the buckets of a group that differs, and which have changed just now.
    RepairGroup {
        round: u64,
        group: u8,
        sums: Vec<u64>,
        recent: Vec<u8>,
    },
    /// All groups that differ were told: so many.
    RepairGroups {
        round: u64,
        groups: u16,
    },
    /// What the sender has in these buckets: hashes of key and record.
    RepairList {
        round: u64,
        list: u32,
        buckets: Buckets,
    },
    /// Of the buckets of a list, what the receiver lacks, and whose keys the sender wants. `list` is none
    /// for what was wanted.
    RepairRecords {
        round: u64,
        list: Option<u32>,
        last: bool,
        wants: Vec<(u64, bool)>,
        records: Records<'a>,
    },
    TermOpen {
        term: Term,
    },
    /// The sender's promise to follow no lower term than `promised`, and the locks it holds.
    TermAnswer {
        term: Term,
        promised: Term,
        /// The greatest fence that the sender knows, of any key.
        newest: u64,
        records: Records<'a>,
    },
    LockAsk {
        ask: LockAsk,
        records: Records<'a>,
    },
    LockAnswer {
        id: u64,
        attempt: u64,
        term: Term,
        answer: LockAnswer,
        records: Records<'a>,
    },
    /// The asker has no use for the lock (any more); the fence, if it was granted one.
    LockCancel {
        id: u64,
        /// What was asked for later is wanted.
        attempt: u64,
        fence: Option<u64>,
    },
}
