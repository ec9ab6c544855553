//! Members of one cluster: what this one tells the others and makes of what they tell.
//!
//! Everything but the engine is logic that is given the time and the messages, so that a simulation can
//! drive whole clusters of it. `zenoh` is the only file that names the engine, `driver` has the threads.

#[cfg(feature = "cluster")]
mod address;
mod bytes;
mod contact;
#[cfg(feature = "cluster")]
mod driver;
mod forgetting;
#[cfg(feature = "__fuzz")]
pub(crate) mod fuzzing;
mod hearsay;
mod inbound;
pub(crate) mod link;
mod locks;
#[cfg(feature = "cluster")]
pub(crate) mod log;
mod messages;
mod names;
mod parked;
mod peers;
#[cfg(feature = "cluster")]
mod preflight;
mod records;
mod repair;
pub(crate) mod settings;
#[cfg(test)]
#[allow(clippy::large_enum_variant)]
mod sim;
mod state;
mod sync;
#[cfg(feature = "cluster")]
mod tls;
mod wire;
#[cfg(feature = "cluster")]
pub(crate) mod zenoh;

use std::sync::Arc;

#[cfg(feature = "cluster")]
pub(crate) use self::driver::{Prepared, start};
use self::link::{Lane, Link};
use self::locks::{Ask, Decided};
use self::names::Names;
use self::parked::Parked;
use self::records::Batch;
use self::settings::Settings;
use self::state::{Admission, Cx, State, Todo};
use crate::error::{Error, ErrorKind, Result};
use crate::members::{Member as Shown, MemberState};
use crate::oneshot::Oneshot;
use crate::stats::ClusterStats;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::table::Table;
use crate::table::mutation::{Applied, LockRequest, Outcome};
use crate::table::replication::{Replication, Taken};

/// The most bytes of records in one message to everyone.
const BATCH_BYTES: usize = 60 * 1024;
const BATCH_RECORDS: usize = 2048;

/// How much of what has changed was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing had changed.
    Nothing,
    Some,
    All,
}

type Synced = Oneshot<Result<()>>;

pub(crate) struct Cluster {
    table: Arc<Table>,
    replication: Arc<Replication>,
    settings: Settings,
    names: Names,
    link: Arc<dyn Link>,
    state: Mutex<State>,
    /// Held while what is in the outbox becomes a numbered message.
    sending: Mutex<()>,
    sent: AtomicU64,
    ids: AtomicU64,
    decided: Arc<Decided>,
    parked: Parked,
    applied: AtomicU64,
    refused: AtomicU64,
    waiting: Mutex<Vec<Arc<Synced>>>,
    admission: Arc<Synced>,
}

impl Cluster {
    /// `expects_others`: there are endpoints to dial, so that to be alone at first means little.
    pub fn new(
        table: Arc<Table>,
        replication: Arc<Replication>,
        settings: Settings,
        link: Arc<dyn Link>,
        expects_others: bool,
    ) -> Cluster {
        let state = State { expects_others, ..State::default() };
        Cluster {
            names: Names::new(&table.member),
            table,
            replication,
            settings,
            link,
            state: Mutex::new(state),
            sending: Mutex::new(()),
            sent: AtomicU64::new(0),
            ids: AtomicU64::new(1 << 32),
            decided: Arc::new(Decided::default()),
            parked: Parked::default(),
            applied: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
            admission: Arc::new(Synced::new()),
        }
    }

    fn cx(&self) -> Cx<'_> {
        Cx {
            now: self.table.clock.now(),
            table: &self.table,
            replication: &self.replication,
            settings: &self.settings,
            names: &self.names,
            link: &*self.link,
            sent: &self.sent,
            ids: &self.ids,
            decided: &self.decided,
        }
    }

    /// Changes the state, then does what follows from it without its lock.
    fn with_state<T>(&self, change: impl FnOnce(&mut State, &Cx<'_>, &mut Todo) -> T) -> T {
        let mut todo = Todo::default();
        let result = {
            let mut state = self.state.lock();
            let cx = self.cx();
            let result = change(&mut state, &cx, &mut todo);
            state.look_at_decided(&cx, &mut todo);
            result
        };
        self.carry_out(todo);
        result
    }

    fn carry_out(&self, todo: Todo) {
        for (place, mut effects) in todo.follow_ups {
            self.table.follow_up(place, &mut effects);
        }
        for outcome in todo.outcomes {
            outcome.notify();
        }
        for event in &todo.events {
            self.table.hub.announce(event);
        }
        for (to, lane, bytes) in todo.messages {
            match to {
                Some(member) => self.link.send(member, lane, bytes),
                None => self.link.broadcast(lane, bytes),
            }
        }
        for mut dial in todo.dials {
            dial.anew &= !self.settings.faults.links_stay;
            self.link.connect(&dial);
        }
        if let Some(admitted) = todo.admitted {
            let result = if admitted { Ok(()) } else { Err(self.namesake_error()) };
            self.admission.set(result);
            self.admission.notify();
        }
        if todo.synced || todo.admitted.is_some() {
            self.tell_if_joined();
        }
    }

    /// Tells who waits for the first sync that it is done, under a name that is nobody else's, or why it never will be.
    fn tell_if_joined(&self) {
        let (is_synced, admission) = {
            let state = self.state.lock();
            (state.sync.is_synced(), state.admission)
        };
        match admission {
            Admission::Rejected => self.tell_synced(&Err(self.namesake_error())),
            Admission::Admitted if is_synced => self.tell_synced(&Ok(())),
            _ => {}
        }
    }

    fn tell_synced(&self, result: &Result<()>) {
        for waiting in std::mem::take(&mut *self.waiting.lock()) {
            waiting.set(result.clone());
            waiting.notify();
        }
    }

    /// Periodic work: heartbeats, failure detection, repair, lock asks.
    pub fn tick(&self) {
        self.apply_parked();
        self.with_state(|state, cx, todo| state.tick(cx, todo));
    }

    /// Sends what has changed here, a part of it if it is much.
    pub fn flush_one(&self) -> Flushed {
        let _in_order = self.sending.lock();
        let Taken { records, dropped, more } = self.replication.take(BATCH_RECORDS);
        if records.is_empty() && dropped == 0 {
            return Flushed::Nothing;
        }
        let cx = self.cx();
        let mut batch = Batch::default();
        for record in &records {
            batch.push(record, cx.now);
            if batch.bytes() >= BATCH_BYTES {
                self.send_batch(&cx, &std::mem::take(&mut batch));
            }
        }
        if batch.len() > 0 {
            self.send_batch(&cx, &batch);
        }
        // Numbered all the same: that they are missing shows in the numbers.
        self.sent.fetch_add(dropped, Ordering::SeqCst);
        if more { Flushed::Some } else { Flushed::All }
    }

    fn send_batch(&self, cx: &Cx<'_>, batch: &Batch) {
        let first = self.sent.fetch_add(batch.len() as u64, Ordering::SeqCst) + 1;
        self.link.broadcast(Lane::Bulk, cx.writer().data(first, batch));
    }

    /// Sends all that has changed here.
    pub fn flush(&self) {
        while self.flush_one() != Flushed::Nothing {}
        self.look_at_decided();
    }

    pub fn link_up(&self, _incarnation: u128) {
        self.with_state(|state, cx, todo| {
            state.peers.beat_now = true;
            state.beat(cx, todo);
        });
    }

    pub fn link_down(&self, incarnation: u128) {
        self.with_state(|state, cx, todo| state.on_link_down(cx, incarnation, todo));
    }

    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whoever wants to be woken when there are outcomes to look at.
    pub fn set_bell(&self, bell: Box<dyn Fn() + Send>) {
        self.decided.set_bell(bell);
    }

    /// Asks for a lock. It is decided at once, or through `outcome`.
    pub fn ask(
        &self,
        id: u64,
        key: &[u8],
        request: &LockRequest,
        deadline: u64,
        outcome: Option<&Arc<Outcome>>,
    ) -> Result<Applied> {
        self.table.check_clock()?;
        if let Some(applied) = self.table.check_ask(key, request)? {
            return Ok(applied);
        }
        self.with_state(|state, cx, todo| {
            if state.left {
                return Err(crate::table::shard::stopped());
            }
            state.ask(cx, id, Ask::new(key, request, deadline, outcome), todo);
            Ok(Applied { waiting: true, ..Applied::default() })
        })
    }

    /// Takes back a wait for a lock. False: its outcome is decided.
    pub fn cancel(&self, id: u64) -> bool {
        self.with_state(|state, cx, todo| state.cancel(cx, id, todo))
    }

    pub fn is_synced(&self) -> bool {
        self.state.lock().sync.is_synced()
    }

    /// A wait for the first sync.
    pub fn sync_start(&self) -> Arc<Synced> {
        let waiting = Arc::new(Synced::new());
        self.waiting.lock().push(waiting.clone());
        self.tell_if_joined();
        waiting
    }

    /// How far the first sync is, for people.
    pub fn progress(&self) -> String {
        let state = self.state.lock();
        let (entries, total) = state.sync.progress();
        let live = state.peers.live().count();
        let namesake = match state.namesake(&self.cx()) {
            Some(_) => ", one of them under the same name",
            None => "",
        };
        format!("{entries} of {total} entries have come; {live} other members are there{namesake}")
    }

    /// Decided when this member is one like the others: no live one has had its name before. For one taker.
    pub fn admission(&self) -> Arc<Synced> {
        self.admission.clone()
    }

    fn namesake_error(&self) -> Error {
        let name = &self.table.member.name;
        let message = format!(
            "a live member of the cluster has the node name {name:?}; give this one another name, or stop that one"
        );
        Error::new(ErrorKind::Cluster, message)
    }

    /// Outcomes that the table has brought, if there are any.
    pub fn look_at_decided(&self) {
        if !self.decided.is_empty() {
            self.with_state(|_, _, _| ());
        }
    }

    pub fn now(&self) -> u64 {
        self.table.clock.mono()
    }

    /// Beyond its end a wait is decided within this time, whoever is there.
    pub fn patience(&self) -> u64 {
        2 * self.settings.patience()
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.link.endpoints()
    }

    pub fn members(&self) -> Vec<Shown> {
        let state = self.state.lock();
        let own = &self.table.member;
        let namesake = |name: &str, incarnation: u128| {
            let others = state.peers.live().map(|peer| &peer.member);
            let mut all = others.chain([own]);
            all.any(|other| &*other.name == name && other.incarnation != incarnation)
        };
        let hex = |root: u64| format!("{root:016x}");
        let mut members = vec![Shown {
            node: own.name.to_string(),
            incarnation: format!("{:032x}", own.incarnation),
            state: if state.sync.is_synced() { MemberState::Live } else { MemberState::Joining },
            lag: 0,
            digest: Some(hex(self.replication.root())),
            is_self: true,
            namesake: namesake(&own.name, own.incarnation),
        }];
        members.extend(state.peers.all.values().map(|peer| {
            let (name, incarnation) = (&peer.member.name, peer.member.incarnation);
            Shown {
                node: name.to_string(),
                incarnation: format!("{incarnation:032x}"),
                state: peer.state(),
                lag: peer.lag(),
                digest: peer.root.map(hex),
                is_self: false,
                namesake: peer.live && namesake(name, incarnation),
            }
        }));
        members.sort_by(|a, b| (&a.node, &a.incarnation).cmp(&(&b.node, &b.incarnation)));
        members
    }

    pub fn stats(&self) -> ClusterStats {
        let (members, repairs, progress, offset) = {
            let state = self.state.lock();
            let members = 1 + state.peers.live().count() as u64;
            (members, state.sync.repairs, state.sync.progress(), state.peers.clock_offset)
        };
        ClusterStats {
            members,
            replicated_out: self.sent.load(Ordering::Relaxed),
            replicated_in: self.applied.load(Ordering::Relaxed),
            outbox: self.replication.outbox_len() as u64,
            outbox_overflows: self.replication.overflows(),
            repairs,
            tombstones: self.table.stats().tombstones as u64,
            parked: self.parked.len() as u64,
            refused: self.refused.load(Ordering::Relaxed),
            sync_entries: progress.0,
            sync_total: progress.1,
            clock_offset_ms: offset / 1_000_000,
        }
    }

    /// Says good-bye: nobody here wants anything any more, and the others need not wait for a timeout.
    pub fn leave(&self) {
        let leaves = self.with_state(|state, cx, todo| {
            let leaves = !std::mem::replace(&mut state.left, true);
            if leaves {
                state.set_term(cx, None);
                state.close_gate(cx, todo);
                state.drop_asks(todo);
                // Whoever holds something here is told before anybody else can be granted it.
                todo.follow_ups.extend(cx.table.lose_own_locks());
            }
            leaves
        });
        self.flush();
        if leaves {
            // Behind all that was put: whoever has a lock next has seen that.
            let lane = if self.settings.faults.bye_first { Lane::Control } else { Lane::Bulk };
            self.link.broadcast(lane, self.cx().writer().bye());
        }
        self.tell_synced(&Err(crate::table::shard::stopped()));
        self.admission.set(Err(crate::table::shard::stopped()));
        self.admission.notify();
        self.link.close();
    }

    #[cfg(any(test, feature = "__fuzz"))]
    pub fn root(&self) -> u64 {
        self.replication.root()
    }

    #[cfg(any(test, feature = "__fuzz"))]
    pub fn minted(&self) -> u64 {
        self.replication.minted()
    }

    /// What has changed here is never sent, and nobody can know.
    #[cfg(test)]
    pub fn forget_outbox(&self) {
        while !self.replication.take(BATCH_RECORDS).records.is_empty() {}
    }

    #[cfg(test)]
    pub fn outbox_len(&self) -> usize {
        self.replication.outbox_len()
    }
}
