//! One machine of a simulated cluster: its clocks and the member that runs on it, if one does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::MS;
use super::check::Seen;
use super::net::SimLink;
use super::ops::Users;
use super::scenario::Plan;
use crate::call_options::WatchOptions;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::options::Options;
use crate::registry::Registry;
use crate::registry::core::Core;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::watch::Watch;

/// The wall clock of a machine without skew at true time 0.
pub(super) const EPOCH: u64 = 1_700_000_000_000_000_000;

/// Something that waits until a frozen machine goes on.
pub(super) enum Inbox {
    Message { peer: usize, bytes: Arc<Vec<u8>> },
    LinkUp(u128),
    LinkDown(u128),
}

pub(super) struct Machine {
    pub at: usize,
    /// Nanoseconds that the wall clock is ahead.
    pub skew: i64,
    /// How many nanoseconds both clocks gain in a second.
    pub drift: i64,
    mono_start: u64,
    /// A frozen one does nothing and its peers are not told.
    pub frozen_until: Option<u64>,
    /// A suspended one does not even have buffers.
    pub suspended: bool,
    pub inbox: VecDeque<Inbox>,
    /// Its wall clock is beyond the bound.
    pub astray: bool,
    /// When it was last frozen, astray or not there.
    pub unsound: u64,
    pub starts: u64,
    /// When it was started last.
    pub started_at: u64,
    pub member: Option<Running>,
}

/// A member that runs.
pub(super) struct Running {
    pub incarnation: u128,
    pub name: String,
    pub core: Arc<Core>,
    pub cluster: Arc<Cluster>,
    pub registry: Registry,
    pub clock: Arc<Clock>,
    pub link: Arc<SimLink>,
    /// There are outcomes to look at: a flush is due.
    pub rung: Arc<AtomicBool>,
    /// The latest its wall clock has shown.
    pub max_wall: u64,
    pub flush_at: Option<u64>,
    pub sweep_at: u64,
    pub users: Users,
    pub seen: BTreeMap<Vec<u8>, Seen>,
    /// By key, the greatest fence under which it has believed that it holds the lock.
    pub believed: BTreeMap<Vec<u8>, u64>,
    pub checked_root: u64,
    pub checks: u64,
    /// Every event, and those that a slow reader has not lost.
    pub watch: Watch,
    pub slow: Watch,
    pub events: u64,
    pub slow_events: u64,
    pub expired: BTreeMap<(Vec<u8>, String), u32>,
    /// Tables that joined must be ready once all is well.
    pub was_ready: bool,
}

impl Machine {
    pub fn new(at: usize, skew: i64, drift: i64, mono_start: u64) -> Machine {
        Machine {
            at,
            skew,
            drift,
            mono_start,
            frozen_until: None,
            suspended: false,
            inbox: VecDeque::new(),
            astray: false,
            unsound: 0,
            starts: 0,
            started_at: 0,
            member: None,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", 7000 + self.at)
    }

    fn drifted(&self, now: u64) -> u64 {
        let gained = i128::from(now) * i128::from(self.drift) / 1_000_000_000;
        now.saturating_add_signed(gained as i64)
    }

    pub fn wall(&self, now: u64) -> u64 {
        (EPOCH + self.drifted(now)).saturating_add_signed(self.skew)
    }

    pub fn mono(&self, now: u64) -> u64 {
        self.mono_start + self.drifted(now)
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen_until.is_some() || self.suspended
    }

    pub fn runs(&self) -> bool {
        self.member.is_some() && !self.is_frozen()
    }

    /// Lets the member see the present time.
    pub fn set_clock(&mut self, now: u64) {
        let (wall, mono) = (self.wall(now), self.mono(now));
        if let Some(member) = &mut self.member {
            member.clock.set_wall(wall);
            member.clock.set_mono(mono);
            member.max_wall = member.max_wall.max(wall);
        }
    }

    pub fn start(&mut self, now: u64, name: String, incarnation: u128, plan: &Plan) {
        let clock = Arc::new(Clock::simulated(self.wall(now), self.mono(now)));
        let link = SimLink::new(self.endpoint());
        let mut options = Options::unnamed()
            .node(name.clone())
            .cluster("simulation")
            .failure_timeout(Duration::from_nanos(plan.settings.failure_timeout));
        let peers =
            (0..plan.machines).filter(|peer| *peer != self.at && plan.dials(self.at, *peer));
        for peer in peers {
            options = options.peer(format!("127.0.0.1:{}", 7000 + peer));
        }
        if let Some(lease) = plan.lock_lease {
            options = options.lock_lease(lease);
        }
        let settings = plan.settings;
        let core = Core::simulated(options, clock.clone(), incarnation, link.clone(), settings);
        let registry = Registry::from_core(core.clone());
        let watched = |capacity| {
            let watch = registry.watch_with(WatchOptions::new().capacity(capacity));
            watch.expect("a fresh registry can be watched")
        };
        let (watch, slow) = (watched(WatchOptions::MAX_CAPACITY), watched(16));
        let cluster = core.cluster().expect("it is a member of a cluster").clone();
        let rung = Arc::new(AtomicBool::new(false));
        let bell = rung.clone();
        cluster.set_bell(Box::new(move || bell.store(true, Ordering::SeqCst)));
        self.starts += 1;
        self.started_at = now;
        self.inbox.clear();
        self.unsound = now;
        self.member = Some(Running {
            incarnation,
            name,
            cluster,
            registry,
            clock,
            link,
            rung,
            max_wall: self.wall(now),
            flush_at: None,
            sweep_at: u64::MAX,
            users: Users::default(),
            seen: BTreeMap::new(),
            believed: BTreeMap::new(),
            checked_root: 0,
            checks: 0,
            watch,
            slow,
            events: 0,
            slow_events: 0,
            expired: BTreeMap::new(),
            was_ready: false,
            core,
        });
    }

    /// When the next deadline of the member is due, in true time.
    pub fn next_deadline(&self, now: u64) -> Option<u64> {
        let member = self.member.as_ref()?;
        let (wall, mono) = member.core.next_deadlines();
        let left = wall.saturating_sub(self.wall(now)).min(mono.saturating_sub(self.mono(now)));
        (left < 3_600_000 * MS).then_some(now + left)
    }
}

impl Running {
    /// Whether there is anything to send or to look at.
    pub fn has_outbox(&self) -> bool {
        self.rung.load(Ordering::SeqCst) || self.cluster.outbox_len() > 0
    }
}
