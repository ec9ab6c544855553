//! Two members compare their tables and exchange what differs: first sums of groups of buckets, then of
//! buckets, then what lies in the buckets that differ. The one that begins keeps track, the other only answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::messages::{Buckets, GROUPS};
use super::peers::Peer;
use super::records::Batch;
use super::state::{Cx, State, Todo};
use super::sync::PART_BYTES;
use crate::clock::Now;
use crate::record::Record;
use crate::table::replication::{BUCKETS, bucket_of, key_hash, record_hash};

/// How many items of buckets are listed in one message.
const LIST_ITEMS: usize = 32 * 1024;

/// Of records that belong to no comparison.
pub(super) const NO_ROUND: u64 = 0;

/// What a message of a comparison has brought.
#[derive(Clone, Copy)]
pub(super) struct Came {
    pub news: u64,
    /// When the first of its records was put or deleted.
    pub oldest: u64,
}

/// A comparison with one other member, which this one has begun.
pub(super) struct Round {
    id: u64,
    with: u128,
    /// Also buckets that have changed just now.
    all: bool,
    started: Now,
    /// When the first of what differs was put or deleted, on the wall clock.
    oldest: u64,
    progress_at: u64,
    groups: BTreeMap<u8, (Vec<u64>, Vec<u8>)>,
    /// How many groups differ, once that is known.
    expected: Option<u16>,
    lists: BTreeSet<u32>,
    /// Buckets that differ were left out, since they have changed just now.
    left_out: bool,
    own: HashMap<u64, Record>,
    moved: u64,
}

impl State {
    /// Gives up a comparison that does not go on.
    pub(super) fn look_at_round(&mut self, cx: &Cx<'_>) {
        let now = cx.now.mono;
        let is_stuck = |round: &Round| {
            now.saturating_sub(round.progress_at) > cx.settings.failure_timeout
                || self.peers.get_live(round.with).is_none()
        };
        let Some(with) = self.sync.round.as_ref().filter(|round| is_stuck(round)).map(|r| r.with)
        else {
            return;
        };
        self.sync.round = None;
        if let Some(peer) = self.peers.all.get_mut(&with) {
            peer.missed = true;
            peer.next_repair = now + cx.settings.beat();
        }
    }

    pub(super) fn look_for_repairs(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        if self.sync.round.is_some() {
            return;
        }
        let now = cx.now.mono;
        let due = |peer: &&Peer| peer.live && peer.synced && now >= peer.next_repair;
        let stable = 3 * cx.settings.beat();
        let own = cx.own();
        let differs = |peer: &&Peer| {
            // One of the two begins; the other only if that one does not.
            let stable = if own < peer.member.incarnation { stable } else { 4 * stable };
            peer.differs_since.is_some_and(|since| now.saturating_sub(since) >= stable)
        };
        let missed = self.peers.all.values().filter(due).find(|peer| peer.missed);
        if let Some(with) = missed.map(|peer| peer.member.incarnation) {
            self.start_round(cx, with, true, todo);
        } else if let Some(peer) = self.peers.all.values().filter(due).find(differs) {
            let with = peer.member.incarnation;
            self.start_round(cx, with, false, todo);
        }
    }

    pub(super) fn start_round(&mut self, cx: &Cx<'_>, with: u128, all: bool, todo: &mut Todo) {
        let Some(peer) = self.peers.all.get_mut(&with) else { return };
        if all {
            // What is missed from now on is for the next round.
            peer.missed = false;
        }
        let id = cx.next_id();
        self.sync.round = Some(Round {
            id,
            with,
            all,
            started: cx.now,
            oldest: u64::MAX,
            progress_at: cx.now.mono,
            groups: BTreeMap::new(),
            expected: None,
            lists: BTreeSet::new(),
            left_out: false,
            own: HashMap::new(),
            moved: 0,
        });
        todo.member(with, cx.writer().repair_start(id, &group_sums(cx)));
    }

    /// Another member compares its table with this one.
    pub fn on_repair_start(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        round: u64,
        sums: &[u64],
        todo: &mut Todo,
    ) {
        self.make_way(cx, from);
        let mut groups = 0;
        for (group, (own, other)) in group_sums(cx).iter().zip(sums).enumerate() {
            if own == other {
                continue;
            }
            groups += 1;
            let buckets = group * GROUPS..(group + 1) * GROUPS;
            let sums: Vec<u64> = buckets.clone().map(|bucket| cx.replication.sum(bucket)).collect();
            let mut recent = vec![0u8; GROUPS / 8];
            for (n, bucket) in buckets.enumerate() {
                if is_recent(cx, bucket) {
                    recent[n / 8] |= 1 << (n % 8);
                }
            }
            todo.bulk(from, cx.writer().repair_group(round, group as u8, &sums, &recent));
        }
        todo.bulk(from, cx.writer().repair_groups(round, groups));
    }

    /// Both know at the same moment that they have missed something: one comparison brings both what they
    /// lack. If that one does not, this member begins its own a heartbeat later.
    fn make_way(&mut self, cx: &Cx<'_>, from: u128) {
        let own = self.sync.round.as_ref().filter(|round| round.with == from);
        if own.is_some_and(|_| from > cx.own() || !self.sync.is_synced()) {
            return;
        }
        let all = own.is_some_and(|round| round.all);
        if own.is_some() {
            self.sync.round = None;
        }
        if let Some(peer) = self.peers.all.get_mut(&from) {
            peer.missed |= all;
            peer.next_repair = peer.next_repair.max(cx.now.mono + cx.settings.beat());
        }
    }

    pub fn on_repair_group(
        &mut self,
        cx: &Cx<'_>,
        (from, round): (u128, u64),
        group: u8,
        (sums, recent): (Vec<u64>, Vec<u8>),
        todo: &mut Todo,
    ) {
        if let Some(known) = self.round(from, round)
            && recent.len() == GROUPS / 8
        {
            known.progress_at = cx.now.mono;
            known.groups.insert(group, (sums, recent));
            self.compare_buckets(cx, from, round, todo);
        }
    }

    fn round(&mut self, with: u128, id: u64) -> Option<&mut Round> {
        self.sync.round.as_mut().filter(|round| round.with == with && round.id == id)
    }

    pub fn on_repair_groups(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        id: u64,
        groups: u16,
        todo: &mut Todo,
    ) {
        if let Some(round) = self.round(from, id).filter(|round| round.expected.is_none()) {
            round.progress_at = cx.now.mono;
            round.expected = Some(groups);
            self.compare_buckets(cx, from, id, todo);
        }
    }

    /// Once all groups that differ are known, says what this member has in the buckets that differ.
    fn compare_buckets(&mut self, cx: &Cx<'_>, from: u128, id: u64, todo: &mut Todo) {
        let Some(round) = self.round(from, id) else { return };
        // If some are lost, the round is given up when its time is over.
        if round.expected.map(usize::from) != Some(round.groups.len()) || !round.lists.is_empty() {
            return;
        }
        let mut differing = BTreeSet::new();
        for (group, (sums, recent)) in std::mem::take(&mut round.groups) {
            for (n, sum) in sums.iter().enumerate() {
                let bucket = usize::from(group) * GROUPS + n;
                if *sum == cx.replication.sum(bucket) {
                    continue;
                }
                let is_new = recent[n / 8] & (1 << (n % 8)) != 0 || is_recent(cx, bucket);
                if is_new && !round.all {
                    round.left_out = true;
                } else {
                    differing.insert(bucket);
                }
            }
        }
        if differing.is_empty() {
            self.finish_round(cx, todo);
            return;
        }
        let known = cx.table.known_in_buckets(differing.iter().copied());
        let mut buckets: BTreeMap<usize, Vec<(u64, u64)>> =
            differing.into_iter().map(|bucket| (bucket, Vec::new())).collect();
        for record in known {
            let key = key_hash(record.key());
            let items = buckets.entry(bucket_of(record.tag())).or_default();
            items.push((key, record_hash(&record)));
            round.own.insert(key, record);
        }
        let mut lists: Vec<Buckets> = vec![Buckets::new()];
        let mut items = 0;
        for (bucket, mut list) in buckets {
            list.sort_unstable();
            if items > LIST_ITEMS {
                lists.push(Buckets::new());
                items = 0;
            }
            items += list.len() + 1;
            if let Some(last) = lists.last_mut() {
                last.push((bucket as u16, list));
            }
        }
        for (number, list) in lists.iter().enumerate() {
            round.lists.insert(number as u32);
            todo.bulk(from, cx.writer().repair_list(id, number as u32, list));
        }
    }

    /// Another member says what it has in some buckets: it gets what it lacks, and is asked for the rest.
    pub fn on_repair_list(
        &mut self,
        cx: &Cx<'_>,
        (from, round): (u128, u64),
        list: u32,
        buckets: &[(u16, Vec<(u64, u64)>)],
        todo: &mut Todo,
    ) {
        let wanted = buckets.iter().map(|(bucket, _)| usize::from(*bucket));
        let mut own: BTreeMap<u64, Record> = BTreeMap::new();
        for record in cx.table.known_in_buckets(wanted) {
            own.insert(key_hash(record.key()), record);
        }
        let mut records = Vec::new();
        let mut wants = Vec::new();
        for (key, hash) in buckets.iter().flat_map(|(_, items)| items) {
            match own.remove(key) {
                Some(record) if record_hash(&record) == *hash => {}
                Some(record) => {
                    wants.push((*key, false));
                    records.push(record);
                }
                None => wants.push((*key, true)),
            }
        }
        for record in own.into_values() {
            records.extend(self.unless_forgotten(cx, from, record, todo));
        }
        let mut batch = Batch::default();
        for record in records {
            batch.push(&record, cx.now);
            if batch.bytes() >= PART_BYTES {
                let full = std::mem::take(&mut batch);
                todo.bulk(from, cx.writer().repair_records(round, Some(list), false, &[], &full));
            }
        }
        todo.bulk(from, cx.writer().repair_records(round, Some(list), true, &wants, &batch));
    }

    /// Records of a comparison, in the table already; `list`: they answer a list of this member's.
    pub fn on_repair_records(
        &mut self,
        cx: &Cx<'_>,
        (from, id): (u128, u64),
        (list, last): (Option<u32>, bool),
        wants: &[(u64, bool)],
        came: Came,
        todo: &mut Todo,
    ) {
        if came.news > 0 && list.is_none() && id != NO_ROUND {
            let counted = self.sync.repaired.replace((from, id));
            self.sync.repairs += u64::from(counted != Some((from, id)));
        }
        let Some(list) = list else { return };
        let Some(round) = self.round(from, id) else { return };
        round.progress_at = cx.now.mono;
        round.moved += came.news + wants.len() as u64;
        let wanted: Vec<(Record, bool)> = wants
            .iter()
            .filter_map(|(key, lacks)| Some((round.own.get(key)?.clone(), *lacks)))
            .collect();
        // What the other has otherwise has come with the answer.
        let lacking = wanted.iter().filter(|(_, lacks)| *lacks);
        let times = lacking.filter_map(|(record, _)| record.stamp()).map(|stamp| stamp.time);
        round.oldest = times.chain([came.oldest]).min().unwrap_or_default().min(round.oldest);
        if last {
            round.lists.remove(&list);
        }
        let is_over = round.lists.is_empty();
        let mut batch = Batch::default();
        for (record, lacks) in wanted {
            let record = match lacks {
                true => self.unless_forgotten(cx, from, record, todo),
                false => Some(record),
            };
            // It may be newer by now.
            let record = record.and_then(|record| cx.table.known(record.key()));
            if let Some(record) = record {
                batch.push(&record, cx.now);
            }
            if batch.bytes() >= PART_BYTES {
                let full = std::mem::take(&mut batch);
                todo.bulk(from, cx.writer().repair_records(id, None, false, &[], &full));
            }
        }
        if batch.len() > 0 {
            todo.bulk(from, cx.writer().repair_records(id, None, true, &[], &batch));
        }
        if is_over {
            self.finish_round(cx, todo);
        }
    }

    /// What another member lacks that had it when both last agreed, longer ago than anyone remembers, was
    /// deleted there: it is buried here. Anything else is news to it.
    fn unless_forgotten(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        record: Record,
        todo: &mut Todo,
    ) -> Option<Record> {
        let Some((mono, wall)) = self.peers.agreed_with(from) else { return Some(record) };
        // A grave that both had then and only this one has now was forgotten there: its time has come here,
        // too. Sent back it would begin to age anew, and so on for ever.
        let what = self.forgettable(cx);
        let slack = cx.settings.forget_after / 10;
        if record.ended_at() < what.ended.max(what.ended_long_ago).saturating_add(slack)
            && cx.table.forget_if_older(&record, mono)
        {
            return None;
        }
        let long_ago = cx.now.mono.saturating_sub(mono) > cx.settings.remember;
        let known_then = record.time() <= wall.saturating_sub(cx.settings.clock_bound);
        let lives = record.stamp().is_some_and(|stamp| !stamp.dead);
        if !(long_ago && known_then && lives) {
            return Some(record);
        }
        todo.follow_ups.extend(cx.table.bury_quietly(&record));
        None
    }

    fn finish_round(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let Some(round) = self.sync.round.take() else { return };
        let now = cx.now.mono;
        self.sync.repairs += u64::from(round.moved > 0);
        if let Some(peer) = self.peers.all.get_mut(&round.with) {
            if round.all && !cx.settings.faults.equal_roots_only {
                // While writes go on, both roots are hardly ever seen to be equal. But all that was older than what
                // differed was.
                let slack = cx.settings.clock_bound + cx.settings.recent();
                let started = round.started;
                let wall = started.wall.min(round.oldest).saturating_sub(slack);
                let mono = started.mono.saturating_sub(started.wall - wall);
                peer.agree(mono, wall, cx.settings.max_message_age);
            }
            peer.back_off = match round.moved {
                0 if !round.all => (2 * peer.back_off).max(cx.settings.beat()),
                _ => 0,
            };
            let longest = 4 * cx.settings.failure_timeout;
            // What is left out again and again lies where something changes all the time.
            peer.missed |=
                round.left_out && peer.back_off >= longest && !cx.settings.faults.recent_left_out;
            peer.back_off = peer.back_off.min(longest);
            peer.next_repair = now + cx.settings.beat() + peer.back_off;
            peer.differs_since = peer.differs_since.map(|_| now);
        }
        if self.sync.is_comparing() {
            self.become_synced(cx, todo);
        }
        self.peers.beat_now = true;
        self.look_at_sync(cx, todo);
    }
}

fn is_recent(cx: &Cx<'_>, bucket: usize) -> bool {
    cx.replication.has_changed_within(bucket, cx.now.mono, cx.settings.recent())
}

fn group_sums(cx: &Cx<'_>) -> Vec<u64> {
    let sum = |first| {
        let buckets = first..first + BUCKETS / GROUPS;
        buckets.fold(0u64, |sum, bucket| sum.wrapping_add(cx.replication.sum(bucket)))
    };
    (0..GROUPS).map(|group| sum(group * BUCKETS / GROUPS)).collect()
}
