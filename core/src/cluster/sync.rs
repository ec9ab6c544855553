//! How a member gets what it has missed: everything when it joins, later what differs from another member.

use std::collections::{BTreeMap, BTreeSet};

use super::peers::Peer;
use super::records::Batch;
use super::repair::Round;
use super::state::{Cx, State, Todo};
use crate::table::SHARDS;

/// The most bytes of records in one message.
pub(super) const PART_BYTES: usize = 256 * 1024;
/// How many shards of a snapshot are on their way at a time.
const WINDOW: usize = 2;

#[derive(Default)]
pub(crate) struct Sync {
    synced: bool,
    join: Join,
    pub(super) round: Option<Round>,
    pub repairs: u64,
    /// The comparison of another member that was counted last.
    pub repaired: Option<(u128, u64)>,
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

/// A part of a snapshot that has arrived.
pub(crate) struct Part {
    pub shard: u16,
    /// Of so many shards.
    pub shards: u16,
    pub attempt: u64,
    pub part: u32,
    /// The last part of the shard.
    pub last: bool,
    /// How many entries the snapshot has in all, and this part.
    pub entries: u64,
    pub count: usize,
}

struct Fetch {
    attempt: u64,
    asked_at: u64,
    parts: BTreeSet<u32>,
    last: Option<u32>,
}

impl Sync {
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The records of the first sync are here; what came meanwhile is being compared.
    pub fn is_comparing(&self) -> bool {
        !self.synced && self.join.comparing
    }

    /// How many entries of how many have come.
    pub fn progress(&self) -> (u64, u64) {
        (self.join.entries, self.join.total)
    }
}

impl State {
    pub fn look_at_sync(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        self.look_at_round(cx);
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
                todo.member(source, cx.writer().snapshot_ask(*shard, fetch.attempt));
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
            todo.member(source, cx.writer().snapshot_ask(shard, 1));
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
    pub fn on_snapshot_part(&mut self, cx: &Cx<'_>, from: u128, part: Part, todo: &mut Todo) {
        let Part { shard, shards, attempt, part, last, entries, count } = part;
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

    pub(super) fn become_synced(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        self.sync.synced = true;
        self.inherit(cx);
        todo.synced = true;
        self.peers.beat_now = true;
        self.look_at_coordinator(cx, todo);
    }
}
