//! How a member gets what it has missed: everything when it joins, later what differs from another member.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::peers::Peer;
use super::records::Batch;
use super::state::{Cx, State, Todo};
use super::wire::GROUPS;
use crate::lock::NEVER;
use crate::record::Record;
use crate::table::SHARDS;
use crate::table::replication::{BUCKETS, bucket_of, key_hash, record_hash};

/// The most bytes of records in one message.
const PART_BYTES: usize = 256 * 1024;
/// How many shards of a snapshot are on their way at a time.
const WINDOW: usize = 2;
const LIST_ITEMS: usize = 32 * 1024;

#[derive(Default)]
pub(crate) struct Sync {
    synced: bool,
    join: Join,
    round: Option<Round>,
    pub repairs: u64,
}

/// The first sync.
#[derive(Default)]
struct Join {
    since: Option<u64>,
    source: Option<u128>,
    tried: BTreeSet<u128>,
    shards: Option<u16>,
    done: BTreeSet<u16>,
    fetching: BTreeMap<u16, Fetch>,
    entries: u64,
    total: u64,
    comparing: bool,
}

struct Fetch {
    attempt: u64,
    asked_at: u64,
    parts: BTreeSet<u32>,
    last: Option<u32>,
}

/// A comparison with one other member, which this one has begun.
struct Round {
    id: u64,
    with: u128,
    /// Also buckets that have changed just now.
    all: bool,
    progress_at: u64,
    groups: BTreeMap<u8, (Vec<u64>, Vec<u8>)>,
    lists: BTreeSet<u32>,
    own: HashMap<u64, Record>,
    moved: u64,
}

impl Sync {
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// How many entries of how many have come.
    pub fn progress(&self) -> (u64, u64) {
        (self.join.entries, self.join.total)
    }
}

impl State {
    pub fn look_at_sync(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let now = cx.now.mono;
        if let Some(round) = &self.sync.round
            && (now.saturating_sub(round.progress_at) > cx.settings.failure_timeout
                || self.peers.get_live(round.with).is_none())
        {
            let with = round.with;
            self.sync.round = None;
            if let Some(peer) = self.peers.all.get_mut(&with) {
                peer.missed = true;
                peer.next_repair = now + cx.settings.beat();
            }
        }
        match self.sync.synced {
            false => self.look_at_join(cx, todo),
            true if !cx.settings.faults.no_gap_repair => self.look_for_repairs(cx, todo),
            true => {}
        }
    }

    fn look_at_join(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let now = cx.now.mono;
        let since = *self.sync.join.since.get_or_insert(now);
        let source = self.sync.join.source;
        let is_there = |peer: &Peer| peer.live && peer.synced;
        if !source.and_then(|s| self.peers.all.get(&s)).is_some_and(is_there) {
            self.choose_source(cx);
        }
        let Some(source) = self.sync.join.source else {
            let own = &cx.table.member;
            let own = (&*own.name, own.incarnation);
            let first = self.peers.live().all(|p| (&*p.member.name, p.member.incarnation) > own);
            let alone = self.peers.live().next().is_none();
            let wait = if self.expects_others || !alone {
                cx.settings.failure_timeout
            } else {
                cx.settings.beat()
            };
            if first && now.saturating_sub(since) >= wait {
                self.become_synced(cx, todo);
            }
            return;
        };
        if self.sync.join.comparing {
            if self.sync.round.is_none() {
                self.start_round(cx, source, true, todo);
            }
            return;
        }
        self.fetch(cx, source, todo);
    }

    /// Another synced member to fetch from, the first that was not tried.
    fn choose_source(&mut self, cx: &Cx<'_>) {
        let join = &mut self.sync.join;
        let all = self.peers.all.values().filter(|peer| peer.live && peer.synced);
        let mut all: Vec<_> =
            all.map(|peer| (&*peer.member.name, peer.member.incarnation)).collect();
        all.sort_unstable();
        let untried = all.iter().find(|(_, incarnation)| !join.tried.contains(incarnation));
        if untried.is_none() {
            join.tried.clear();
        }
        let source = untried.or(all.first()).map(|(_, incarnation)| *incarnation);
        // What came from one stays; the next is asked for everything.
        let (since, tried) = (join.since, std::mem::take(&mut join.tried));
        *join = Join { since, tried, source, ..Join::default() };
        join.tried.extend(source);
        if source.is_none() && join.since.is_some_and(|since| since == 0) {
            join.since = Some(cx.now.mono);
        }
    }

    fn fetch(&mut self, cx: &Cx<'_>, source: u128, todo: &mut Todo) {
        let now = cx.now.mono;
        let timeout = cx.settings.failure_timeout;
        let join = &mut self.sync.join;
        for (shard, fetch) in &mut join.fetching {
            if now.saturating_sub(fetch.asked_at) > timeout {
                fetch.attempt += 1;
                fetch.asked_at = now;
                (fetch.parts, fetch.last) = (BTreeSet::new(), None);
                todo.to(source, cx.writer().snapshot_ask(*shard, fetch.attempt));
            }
        }
        if join.fetching.values().any(|fetch| fetch.attempt > 3) {
            // It does not answer: another one may.
            join.source = None;
            return;
        }
        // How many shards there are, the first answer says.
        let shards = join.shards.unwrap_or(1);
        let next = (0..shards).filter(|s| !join.done.contains(s) && !join.fetching.contains_key(s));
        let free = WINDOW.saturating_sub(join.fetching.len());
        let next: Vec<u16> = next.take(free).collect();
        for shard in next {
            let (parts, last) = (BTreeSet::new(), None);
            join.fetching.insert(shard, Fetch { attempt: 1, asked_at: now, parts, last });
            todo.to(source, cx.writer().snapshot_ask(shard, 1));
        }
    }

    pub fn on_snapshot_ask(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        shard: u16,
        attempt: u64,
        todo: &mut Todo,
    ) {
        if !self.sync.synced || usize::from(shard) >= SHARDS {
            return;
        }
        let entries = cx.table.known_len() as u64;
        let mut part = 0;
        let mut send = |batch: &Batch, last| {
            let place = (shard, SHARDS as u16);
            let message = cx.writer().snapshot_part(place, attempt, part, last, entries, batch);
            todo.bulk(from, message);
            part += 1;
        };
        let mut batch = Batch::default();
        for record in cx.table.known_in(usize::from(shard)) {
            batch.push(&record, cx.now);
            if batch.bytes() >= PART_BYTES {
                send(&std::mem::take(&mut batch), false);
            }
        }
        send(&batch, true);
    }

    /// A part of a snapshot, whose records are in the table already.
    #[allow(clippy::too_many_arguments)]
    pub fn on_snapshot_part(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        (shard, shards): (u16, u16),
        attempt: u64,
        (part, last): (u32, bool),
        entries: u64,
        count: usize,
        todo: &mut Todo,
    ) {
        let join = &mut self.sync.join;
        if self.sync.synced || join.source != Some(from) || shards == 0 {
            return;
        }
        join.shards = Some(shards);
        join.total = entries;
        let Some(fetch) = join.fetching.get_mut(&shard).filter(|f| f.attempt == attempt) else {
            return;
        };
        fetch.asked_at = cx.now.mono;
        if fetch.parts.insert(part) {
            join.entries += count as u64;
        }
        if last {
            fetch.last = Some(part);
        }
        if fetch.last.is_some_and(|last| fetch.parts.len() as u64 == u64::from(last) + 1) {
            join.fetching.remove(&shard);
            join.done.insert(shard);
        }
        if join.done.len() == usize::from(shards) {
            // What was sent meanwhile, and what this member had before, the comparison finds.
            join.comparing = true;
        }
        self.look_at_sync(cx, todo);
    }

    fn become_synced(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        self.sync.synced = true;
        todo.synced = true;
        self.peers.beat_now = true;
        self.look_at_coordinator(cx, todo);
    }

    fn look_for_repairs(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
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

    fn start_round(&mut self, cx: &Cx<'_>, with: u128, all: bool, todo: &mut Todo) {
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
            progress_at: cx.now.mono,
            groups: BTreeMap::new(),
            lists: BTreeSet::new(),
            own: HashMap::new(),
            moved: 0,
        });
        todo.to(with, cx.writer().repair_start(id, &group_sums(cx)));
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
        let mut groups = 0;
        for (group, (own, other)) in group_sums(cx).iter().zip(sums).enumerate() {
            if own == other {
                continue;
            }
            groups += 1;
            let buckets = group * GROUPS..(group + 1) * GROUPS;
            let sums: Vec<u64> =
                buckets.clone().map(|bucket| cx.replication.sum(bucket)).collect();
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

    pub fn on_repair_group(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        round: u64,
        group: u8,
        sums: Vec<u64>,
        recent: Vec<u8>,
    ) {
        if let Some(known) = self.round(from, round)
            && recent.len() == GROUPS / 8
        {
            known.progress_at = cx.now.mono;
            known.groups.insert(group, (sums, recent));
        }
    }

    fn round(&mut self, with: u128, id: u64) -> Option<&mut Round> {
        self.sync.round.as_mut().filter(|round| round.with == with && round.id == id)
    }

    /// All groups that differ are known: says what this member has in the buckets that differ.
    pub fn on_repair_groups(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        id: u64,
        groups: u16,
        todo: &mut Todo,
    ) {
        let Some(round) = self.round(from, id) else { return };
        if round.groups.len() != usize::from(groups) {
            // Some are lost; the round is given up when its time is over.
            return;
        }
        round.progress_at = cx.now.mono;
        let mut differing = BTreeSet::new();
        for (group, (sums, recent)) in &round.groups {
            for (n, sum) in sums.iter().enumerate() {
                let bucket = usize::from(*group) * GROUPS + n;
                let is_new = recent[n / 8] & (1 << (n % 8)) != 0 || is_recent(cx, bucket);
                if *sum != cx.replication.sum(bucket) && (round.all || !is_new) {
                    differing.insert(bucket);
                }
            }
        }
        round.groups.clear();
        if differing.is_empty() {
            self.finish_round(cx, todo);
            return;
        }
        let wanted: HashSet<usize> = differing.iter().copied().collect();
        let mut buckets: BTreeMap<usize, Vec<(u64, u64)>> =
            differing.into_iter().map(|bucket| (bucket, Vec::new())).collect();
        for record in cx.table.known_in_buckets(&wanted) {
            let key = key_hash(record.key());
            let items = buckets.entry(bucket_of(record.tag())).or_default();
            items.push((key, record_hash(&record)));
            round.own.insert(key, record);
        }
        let mut lists: Vec<Vec<(u16, Vec<(u64, u64)>)>> = vec![Vec::new()];
        let mut items = 0;
        for (bucket, mut list) in buckets {
            list.sort_unstable();
            if items > LIST_ITEMS {
                lists.push(Vec::new());
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
        from: u128,
        round: u64,
        list: u32,
        buckets: &[(u16, Vec<(u64, u64)>)],
        todo: &mut Todo,
    ) {
        let wanted: HashSet<usize> =
            buckets.iter().map(|(bucket, _)| usize::from(*bucket)).collect();
        let mut own: BTreeMap<u64, Record> = BTreeMap::new();
        for record in cx.table.known_in_buckets(&wanted) {
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
    #[allow(clippy::too_many_arguments)]
    pub fn on_repair_records(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        id: u64,
        list: Option<u32>,
        last: bool,
        wants: &[(u64, bool)],
        news: u64,
        todo: &mut Todo,
    ) {
        if news > 0 && list.is_none() {
            self.sync.repairs += 1;
        }
        let Some(list) = list else { return };
        let Some(round) = self.round(from, id) else { return };
        round.progress_at = cx.now.mono;
        round.moved += news + wants.len() as u64;
        let wanted: Vec<(Record, bool)> = wants
            .iter()
            .filter_map(|(key, lacks)| Some((round.own.get(key)?.clone(), *lacks)))
            .collect();
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
        let agreed = self.peers.all.get(&from).and_then(|peer| peer.agreed);
        let Some((mono, wall)) = agreed else { return Some(record) };
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
            peer.back_off = match round.moved {
                0 if !round.all => (2 * peer.back_off).clamp(cx.settings.beat(), NEVER / 4),
                _ => 0,
            };
            peer.back_off = peer.back_off.min(4 * cx.settings.failure_timeout);
            peer.next_repair = now + cx.settings.beat() + peer.back_off;
            peer.differs_since = peer.differs_since.map(|_| now);
        }
        if !self.sync.synced && self.sync.join.comparing {
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
