//! The network between machines: sessions, delays, cuts. It decides what arrives where and when.

use std::sync::Arc;

use super::random::Random;
use super::{MS, US};
use crate::cluster::link::{Dial, Lane, Link};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

/// What a member hands to its engine.
pub(super) enum Sent {
    Broadcast(Lane, Vec<u8>),
    Unicast(u128, Lane, Vec<u8>),
    Connect(Dial),
}

/// The engine of one start of a machine: only a list of what is to be done.
pub(super) struct SimLink {
    endpoint: String,
    sent: Mutex<Vec<Sent>>,
    open: AtomicBool,
}

impl SimLink {
    pub fn new(endpoint: String) -> Arc<SimLink> {
        let (sent, open) = (Mutex::new(Vec::new()), AtomicBool::new(true));
        Arc::new(SimLink { endpoint, sent, open })
    }

    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock())
    }

    fn push(&self, sent: Sent) {
        if self.open.load(Ordering::SeqCst) {
            self.sent.lock().push(sent);
        }
    }

    /// The machine has died: nothing of it gets out any more.
    pub fn sever(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.sent.lock().clear();
    }
}

impl Link for SimLink {
    fn broadcast(&self, lane: Lane, bytes: Vec<u8>) {
        self.push(Sent::Broadcast(lane, bytes));
    }

    fn send(&self, to: u128, lane: Lane, bytes: Vec<u8>) {
        self.push(Sent::Unicast(to, lane, bytes));
    }

    fn connect(&self, dial: &Dial) {
        self.push(Sent::Connect(dial.clone()));
    }

    fn endpoints(&self) -> Vec<String> {
        vec![self.endpoint.clone()]
    }

    /// What was sent before still goes out.
    fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }
}

/// How the network treats messages; chances in millionths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub drop: u32,
    pub duplicate: u32,
    pub reorder: u32,
    /// A copy that comes very late.
    pub stale: u32,
    /// Up to how much later than usual a message may come now and then.
    pub spike: u64,
    /// Up to how much later records come than what is urgent: a link has much to carry.
    pub backlog: u64,
    /// Cut links hold what is sent (as TCP does) instead of losing it.
    pub holds: bool,
    /// Engines close links that were silent for long, and say so.
    pub notices: bool,
}

impl Manners {
    pub const GOOD: Manners = Manners {
        drop: 0,
        duplicate: 0,
        reorder: 0,
        stale: 0,
        spike: 20 * MS,
        backlog: 0,
        holds: true,
        notices: true,
    };
}

/// What two machines have between them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Session {
    pub up: bool,
    pub epoch: u64,
    /// Since when it stands.
    pub since: u64,
    /// Since when it does not carry everything.
    pub impaired: Option<u64>,
    /// Since when it does.
    pub healthy: Option<u64>,
    /// The last time that it did, from and until.
    pub last_healthy: Option<(u64, u64)>,
}

impl Session {
    pub fn end_health(&mut self, now: u64) {
        if let Some(since) = self.healthy.take() {
            self.last_healthy = Some((since, now));
        }
    }
}

pub(super) struct Network {
    n: usize,
    random: Random,
    pub manners: Manners,
    sessions: Vec<Session>,
    cuts: Vec<bool>,
    /// Directions in which a link stands and carries nothing.
    mute: Vec<bool>,
    /// The last arrival of each direction and lane, so that order is kept.
    last: Vec<[u64; 2]>,
    /// What a cut holds back, of each direction.
    held: Vec<Vec<(Lane, Arc<Vec<u8>>)>>,
}

/// One arrival: when.
pub(super) type Arrivals = [Option<u64>; 3];

impl Network {
    pub fn new(n: usize, manners: Manners, random: Random) -> Network {
        Network {
            n,
            random,
            manners,
            sessions: vec![Session::default(); n * n],
            cuts: vec![false; n * n],
            mute: vec![false; n * n],
            last: vec![[0; 2]; n * n],
            held: (0..n * n).map(|_| Vec::new()).collect(),
        }
    }

    fn pair(&self, a: usize, b: usize) -> usize {
        a.min(b) * self.n + a.max(b)
    }

    pub fn session(&mut self, a: usize, b: usize) -> &mut Session {
        let pair = self.pair(a, b);
        &mut self.sessions[pair]
    }

    pub fn peek(&self, a: usize, b: usize) -> Session {
        self.sessions[self.pair(a, b)]
    }

    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.cuts[from * self.n + to] = cut;
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from * self.n + to]
    }

    pub fn mute(&mut self, from: usize, to: usize, mute: bool) {
        self.mute[from * self.n + to] = mute;
    }

    pub fn any_mute(&self, a: usize, b: usize) -> bool {
        self.mute[a * self.n + b] || self.mute[b * self.n + a]
    }

    pub fn any_cut(&self, a: usize, b: usize) -> bool {
        self.is_cut(a, b) || self.is_cut(b, a)
    }

    /// What was held back in this direction.
    pub fn release(&mut self, from: usize, to: usize) -> Vec<(Lane, Arc<Vec<u8>>)> {
        std::mem::take(&mut self.held[from * self.n + to])
    }

    /// When copies of a message arrive: never, once or more than once.
    pub fn route(
        &mut self,
        now: u64,
        from: usize,
        to: usize,
        lane: Lane,
        bytes: &Arc<Vec<u8>>,
    ) -> Arrivals {
        let at = from * self.n + to;
        let mut arrivals = [None; 3];
        if !self.peek(from, to).up || self.mute[at] {
            return arrivals;
        }
        if self.cuts[at] {
            if self.manners.holds && self.held[at].len() < 5000 {
                self.held[at].push((lane, bytes.clone()));
            }
            return arrivals;
        }
        let manners = self.manners;
        if self.random.chance(manners.stale) {
            arrivals[2] = Some(now + self.random.between(500 * MS, 12_000 * MS));
        }
        if self.random.chance(manners.drop) {
            return arrivals;
        }
        let mut arrival = now + self.random.between(50 * US, 2 * MS);
        if self.random.chance(10_000) {
            arrival += self.random.below(manners.spike);
        }
        if manners.backlog > 0 && matches!(lane, Lane::Bulk) {
            arrival += self.random.below(manners.backlog);
        }
        if self.random.chance(manners.reorder) {
            arrival += self.random.below(30 * MS);
        } else {
            let lane = usize::from(matches!(lane, Lane::Bulk));
            arrival = arrival.max(self.last[at][lane] + 1);
            self.last[at][lane] = arrival;
        }
        arrivals[0] = Some(arrival);
        if self.random.chance(manners.duplicate) {
            arrivals[1] = Some(arrival + self.random.below(300 * MS));
        }
        arrivals
    }
}
