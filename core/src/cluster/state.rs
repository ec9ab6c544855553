//! What a member knows of its cluster, as a state machine: it is told the time and what has arrived, and
//! says what is to be done. It takes no locks, waits for nothing and calls nobody but the table.

use std::sync::Arc;

use super::forgetting::Ceiling;
use super::hearsay::Hearsay;
use super::link::{Dial, Lane, Link};
use super::locks::Locks;
use super::messages::Header;
use super::names::Names;
use super::peers::Peers;
use super::settings::Settings;
use super::sync::Sync;
use super::wire::Writer;
use crate::clock::Now;
use crate::sync::atomic::AtomicU64;
use crate::table::Table;
use crate::table::mutation::{Effects, Outcome};
use crate::table::replication::Replication;
use crate::watch::Event;

/// What the state machine is told with every call.
pub(crate) struct Cx<'a> {
    pub now: Now,
    pub table: &'a Table,
    pub replication: &'a Replication,
    pub settings: &'a Settings,
    pub names: &'a Names,
    pub link: &'a dyn Link,
    /// How many records were sent to everyone.
    pub sent: &'a AtomicU64,
    /// Numbers for whatever needs one that nothing else has.
    pub ids: &'a AtomicU64,
    /// Answers of the table that come later.
    pub decided: &'a Arc<super::locks::Decided>,
}

impl Cx<'_> {
    pub fn own(&self) -> u128 {
        self.table.member.incarnation
    }

    pub fn writer(&self) -> Writer {
        Writer(Header { from: self.own(), wall: self.now.wall })
    }

    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, crate::sync::atomic::Ordering::Relaxed)
    }
}

/// What is to be done once the lock of the state is released, in this order.
#[derive(Default)]
pub(crate) struct Todo {
    pub follow_ups: Vec<(usize, Effects)>,
    pub outcomes: Vec<Arc<Outcome>>,
    pub events: Vec<Event>,
    /// To one member, or to all.
    pub messages: Vec<(Option<u128>, Lane, Vec<u8>)>,
    pub dials: Vec<Dial>,
    pub synced: bool,
    /// Whether this member was let in under its name.
    pub admitted: Option<bool>,
}

impl Todo {
    pub fn everyone(&mut self, bytes: Vec<u8>) {
        self.messages.push((None, Lane::Control, bytes));
    }

    pub fn member(&mut self, member: u128, bytes: Vec<u8>) {
        self.messages.push((Some(member), Lane::Control, bytes));
    }

    pub fn bulk(&mut self, member: u128, bytes: Vec<u8>) {
        self.messages.push((Some(member), Lane::Bulk, bytes));
    }
}

/// Whether no earlier member of the same name stands in the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Admission {
    #[default]
    New,
    /// Since when it is looked for.
    Open(u64),
    Admitted,
    /// It did not go away in time. This member goes on, flagged.
    Rejected,
}

/// The longest time that a start waits for a first word of anybody.
const FIRST_WORD: u64 = 500_000_000;

#[derive(Default)]
pub(crate) struct State {
    pub peers: Peers,
    pub hearsay: Hearsay,
    pub locks: Locks,
    pub sync: Sync,
    pub last_tick: u64,
    pub admission: Admission,
    /// The end of belief at which the own locks were last given up.
    pub lost_until: u64,
    pub left: bool,
    /// There are endpoints to dial: to be alone at first means little.
    pub expects_others: bool,
    pub forgot_at: u64,
    pub ceiling: Option<Ceiling>,
}

impl State {
    pub fn tick(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        if self.left {
            return;
        }
        self.notice_sleep(cx, todo);
        self.look_at_members(cx, todo);
        self.look_at_strangers(cx, todo);
        self.look_at_clock(cx);
        self.look_at_admission(cx, todo);
        self.look_at_sync(cx, todo);
        self.look_at_coordinator(cx, todo);
        self.look_at_asks(cx, todo);
        self.look_after_links(cx, todo);
        self.forget(cx);
        self.beat(cx, todo);
    }

    /// Whether the name is free: asked of whoever is there.
    fn look_at_admission(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let now = cx.now.mono;
        let since = match self.admission {
            Admission::New => now,
            Admission::Open(since) => since,
            Admission::Admitted => return,
            Admission::Rejected => 0,
        };
        let waited = now.saturating_sub(since);
        let met = self.peers.live().next().is_some();
        let enough = met || waited >= cx.settings.beat().min(FIRST_WORD);
        let admission = match self.namesake(cx) {
            Some(_) if waited < cx.settings.patience() => Admission::Open(since),
            Some(_) => Admission::Rejected,
            None if enough || !self.expects_others => Admission::Admitted,
            None => Admission::Open(since),
        };
        if admission == self.admission {
            return;
        }
        self.admission = admission;
        match admission {
            Admission::Admitted => {
                todo.admitted = Some(true);
                self.peers.beat_now = true;
            }
            Admission::Rejected => todo.admitted = Some(false),
            Admission::New | Admission::Open(_) => {}
        }
    }

    /// Records that a member has sent to everyone, in the table already.
    pub fn on_data(&mut self, cx: &Cx<'_>, from: u128, first: u64, count: u64) {
        self.hear(cx, from);
        let Some(peer) = self.peers.all.get_mut(&from) else { return };
        let end = first.saturating_add(count);
        if let Some(next) = peer.next {
            peer.missed |= first > next;
            peer.next = Some(next.max(end));
        }
    }

    /// Something of a member was lost, or too old to be used.
    pub fn on_missed(&mut self, from: u128) {
        if let Some(peer) = self.peers.all.get_mut(&from) {
            peer.missed = true;
        }
    }
}
