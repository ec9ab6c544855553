//! True time, the machines in it and everything that happens to them, one event after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check::Checker;
use super::history::History;
use super::machine::{Inbox, Machine, Running};
use super::net::{Network, Sent};
use super::random::Random;
use super::scenario::{Plan, Trouble};
use super::{MS, US};
use crate::cluster::link::Lane;
use crate::sync::atomic::Ordering;

/// What is wrong, if anything is.
pub(super) type Step = Result<(), String>;

pub(super) enum Event {
    Tick {
        at: usize,
        start: u64,
    },
    Flush {
        at: usize,
        start: u64,
    },
    Sweep {
        at: usize,
        start: u64,
    },
    Arrive {
        from: usize,
        at: usize,
        start: u64,
        bytes: Arc<Vec<u8>>,
    },
    LinkUp {
        at: usize,
        start: u64,
        peer: u128,
    },
    LinkDown {
        at: usize,
        start: u64,
        peer: u128,
    },
    Dial {
        from: usize,
        to: usize,
    },
    /// Engines dial again what they are configured with.
    Redial,
    /// An engine closes a link that has been silent since then.
    Silence {
        a: usize,
        b: usize,
        epoch: u64,
        since: u64,
    },
    Operate {
        at: usize,
    },
    Trouble,
    Heal(Trouble, Vec<(usize, usize)>),
    Thaw {
        at: usize,
    },
    Restart {
        at: usize,
        name: String,
    },
    /// Locks are looked at together.
    Probe,
}

pub(super) struct World {
    pub now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    number: u64,
    pub plan: Plan,
    pub machines: Vec<Machine>,
    pub net: Network,
    pub history: History,
    pub checks: Checker,
    /// For users, for troubles, and for the rest.
    pub users: Random,
    pub troubles: Random,
    pub random: Random,
    /// Whether users and troubles are active.
    pub active: bool,
    /// So many messages are lost just now that the network does not count as good.
    pub burst: bool,
    pub steps: u64,
    pub operations: u64,
    pub messages: u64,
    /// Bytes on the bulk lane, which carries nothing while nothing changes.
    pub bulk_bytes: u64,
    /// The newest start of a machine or trouble of any kind, and the newest cut.
    pub last_trouble: u64,
}

impl World {
    pub fn new(seed: u64, plan: Plan, all_history: bool) -> World {
        let mut random = Random::new(seed);
        let (users, troubles, net) = (random.fork(), random.fork(), random.fork());
        let n = plan.machines;
        let machines = (0..n).map(|at| {
            let skew = random.below(2 * plan.skew + 1) as i64 - plan.skew as i64;
            let drift = random.below(100_001) as i64 - 50_000;
            Machine::new(at, skew, drift, random.between(1, 1_000_000) * MS)
        });
        let machines = machines.collect();
        World {
            now: 0,
            queue: BTreeMap::new(),
            number: 0,
            net: Network::new(n, plan.manners, net),
            machines,
            history: History::new(all_history),
            checks: Checker::default(),
            users,
            troubles,
            random,
            active: false,
            burst: false,
            steps: 0,
            operations: 0,
            messages: 0,
            bulk_bytes: 0,
            last_trouble: 0,
            plan,
        }
    }

    pub fn note(&mut self, machine: Option<usize>, text: String) {
        self.history.note(self.now, machine, text);
    }

    pub fn schedule(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.queue.insert((at.max(self.now), self.number), event);
    }

    pub fn member(&mut self, at: usize) -> Option<&mut Running> {
        self.machines[at].member.as_mut()
    }

    /// Whether a machine is still to start its member again.
    pub fn restarts_due(&self) -> bool {
        self.queue.values().any(|event| matches!(event, Event::Restart { .. }))
    }

    /// The member that runs on a machine since this start of it, unless it is frozen.
    fn is_start(&self, at: usize, start: u64) -> bool {
        self.machines[at].starts == start && self.machines[at].member.is_some()
    }

    pub fn run_until(&mut self, end: u64) -> Step {
        while let Some(first) = self.queue.first_entry()
            && first.key().0 <= end
        {
            let ((time, _), event) = first.remove_entry();
            self.now = time;
            self.steps += 1;
            self.handle(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Step {
        match event {
            Event::Tick { at, start } if self.is_start(at, start) => self.tick(at),
            Event::Flush { at, start } if self.is_start(at, start) => self.flush(at),
            Event::Sweep { at, start } if self.is_start(at, start) => self.sweep(at),
            Event::Arrive { from, at, start, bytes } if self.is_start(at, start) => {
                self.accept(at, Inbox::Message { peer: from, bytes })
            }
            Event::LinkUp { at, start, peer } if self.is_start(at, start) => {
                self.accept(at, Inbox::LinkUp(peer))
            }
            Event::LinkDown { at, start, peer } if self.is_start(at, start) => {
                self.accept(at, Inbox::LinkDown(peer))
            }
            Event::Dial { from, to } => {
                self.dial(from, to);
                Ok(())
            }
            Event::Redial => {
                self.redial();
                Ok(())
            }
            Event::Silence { a, b, epoch, since } => {
                self.end_silent(a, b, epoch, since);
                Ok(())
            }
            Event::Operate { at } => self.operate(at),
            Event::Trouble => self.trouble(),
            Event::Heal(trouble, pairs) => self.heal(trouble, &pairs),
            Event::Thaw { at } => self.thaw(at),
            Event::Restart { at, name } => self.start(at, name),
            Event::Probe => self.probe(),
            _ => Ok(()),
        }
    }

    /// Starts a member on a machine that has none.
    pub fn start(&mut self, at: usize, name: String) -> Step {
        if self.machines[at].member.is_some() {
            return Ok(());
        }
        let incarnation = self.random.wide();
        self.note(Some(at), format!("starts as {name:?}, {incarnation:032x}"));
        self.machines[at].start(self.now, name, incarnation, &self.plan);
        self.last_trouble = self.now;
        let start = self.machines[at].starts;
        let first = self.now + self.random.below(10 * MS);
        self.schedule(first, Event::Tick { at, start });
        for peer in 0..self.machines.len() {
            if peer != at && (self.plan.dials(at, peer) || self.plan.dials(peer, at)) {
                let when = self.now + self.random.between(MS, 30 * MS);
                self.schedule(when, Event::Dial { from: at, to: peer });
            }
        }
        self.after(at)
    }

    fn tick(&mut self, at: usize) -> Step {
        let every = self.plan.settings.failure_timeout / 10;
        let start = self.machines[at].starts;
        let next = self.now + self.random.between(every / 2, every);
        self.schedule(next, Event::Tick { at, start });
        if self.machines[at].is_frozen() {
            return Ok(());
        }
        self.machines[at].set_clock(self.now);
        if let Some(member) = self.member(at) {
            member.cluster.tick();
        }
        self.after(at)
    }

    pub fn flush(&mut self, at: usize) -> Step {
        if self.machines[at].is_frozen() {
            // Goes on when it is thawed.
            return Ok(());
        }
        self.machines[at].set_clock(self.now);
        if let Some(member) = self.member(at) {
            member.flush_at = None;
            member.rung.store(false, Ordering::SeqCst);
            member.cluster.flush();
        }
        self.after(at)
    }

    fn sweep(&mut self, at: usize) -> Step {
        if self.machines[at].is_frozen() {
            return Ok(());
        }
        self.machines[at].set_clock(self.now);
        if let Some(member) = self.member(at) {
            member.sweep_at = u64::MAX;
            member.core.sweep_now();
        }
        self.after(at)
    }

    fn accept(&mut self, at: usize, what: Inbox) -> Step {
        if self.machines[at].is_frozen() {
            self.machines[at].inbox.push_back(what);
            return Ok(());
        }
        self.receive(at, what)?;
        self.after(at)
    }

    fn receive(&mut self, at: usize, what: Inbox) -> Step {
        self.machines[at].set_clock(self.now);
        let now = self.now;
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        match what {
            Inbox::Message { peer, bytes, .. } => {
                self.history.message(now, at, peer, "from", &bytes);
                let _ = member.cluster.receive(&bytes);
            }
            Inbox::LinkUp(peer) => {
                self.history.note(now, Some(at), format!("link up to {peer:032x}"));
                member.cluster.link_up(peer);
            }
            Inbox::LinkDown(peer) => {
                self.history.note(now, Some(at), format!("link down to {peer:032x}"));
                member.cluster.link_down(peer);
            }
        }
        Ok(())
    }

    /// What follows from anything that a member did or learnt.
    pub fn after(&mut self, at: usize) -> Step {
        self.poll_users(at)?;
        self.carry(at);
        let (now, start) = (self.now, self.machines[at].starts);
        let deadline = self.machines[at].next_deadline(now);
        let jitter = self.random.below(2 * MS);
        let lag = self.random.below(1_500 * US);
        let Some(member) = self.member(at) else { return Ok(()) };
        let flush = member.flush_at.is_none() && member.has_outbox();
        let flush_at = now + lag;
        if flush {
            member.flush_at = Some(flush_at);
        }
        let sweep = deadline.map(|at| at + jitter).filter(|at| *at < member.sweep_at);
        if let Some(sweep_at) = sweep {
            member.sweep_at = sweep_at;
        }
        if flush {
            self.schedule(flush_at, Event::Flush { at, start });
        }
        if let Some(sweep_at) = sweep {
            self.schedule(sweep_at, Event::Sweep { at, start });
        }
        self.observe(at)
    }

    /// Takes what a member has handed to its engine to where it goes.
    pub fn carry(&mut self, at: usize) {
        let Some(member) = self.member(at) else { return };
        for sent in member.link.take() {
            match sent {
                Sent::Broadcast(lane, bytes) => {
                    let bytes = Arc::new(bytes);
                    for to in 0..self.machines.len() {
                        if to != at && self.machines[to].member.is_some() {
                            self.transmit(at, to, lane, &bytes);
                        }
                    }
                }
                Sent::Unicast(peer, lane, bytes) => {
                    if let Some(to) = self.machine_of(peer)
                        && to != at
                    {
                        self.transmit(at, to, lane, &Arc::new(bytes));
                    }
                }
                Sent::Connect(dial) => {
                    if dial.anew {
                        self.end_old(at, dial.member);
                    }
                    for endpoint in dial.endpoints {
                        let is_there = |machine: &Machine| machine.endpoint() == endpoint;
                        if let Some(to) = self.machines.iter().position(is_there) {
                            let when = self.now + self.random.between(MS, 20 * MS);
                            self.schedule(when, Event::Dial { from: at, to });
                        }
                    }
                }
            }
        }
    }

    /// On which machine this member runs.
    fn machine_of(&self, incarnation: u128) -> Option<usize> {
        let runs_it = |machine: &Machine| {
            machine.member.as_ref().is_some_and(|member| member.incarnation == incarnation)
        };
        self.machines.iter().position(runs_it)
    }

    fn transmit(&mut self, from: usize, to: usize, lane: Lane, bytes: &Arc<Vec<u8>>) {
        self.messages += 1;
        if matches!(lane, Lane::Bulk) {
            self.bulk_bytes += bytes.len() as u64;
        }
        if self.machines[to].suspended {
            self.history.message(self.now, from, to, "lost to the suspended", bytes);
            return;
        }
        let start = self.machines[to].starts;
        let arrivals = self.net.route(self.now, from, to, lane, bytes);
        if arrivals[0].is_none() {
            self.history.message(self.now, from, to, "lost to", bytes);
        }
        for arrival in arrivals.into_iter().flatten() {
            let bytes = bytes.clone();
            self.schedule(arrival, Event::Arrive { from, at: to, start, bytes });
        }
    }

    pub fn is_impaired(&self, a: usize, b: usize) -> bool {
        let stuck = |at: usize| self.machines[at].is_frozen() || self.machines[at].member.is_none();
        self.net.any_cut(a, b) || self.net.any_mute(a, b) || stuck(a) || stuck(b)
    }

    fn dial(&mut self, a: usize, b: usize) {
        if a == b || self.net.peek(a, b).up || self.is_impaired(a, b) {
            return;
        }
        let now = self.now;
        let session = self.net.session(a, b);
        (session.up, session.impaired, session.healthy) = (true, None, Some(now));
        (session.epoch, session.since) = (session.epoch + 1, now);
        self.note(None, format!("link between m{a} and m{b}"));
        for (at, peer) in [(a, b), (b, a)] {
            let when = self.now + self.random.between(100 * US, 5 * MS);
            self.notice(at, peer, when, true);
        }
        // Engines tell each other whom they know, once.
        for third in 0..self.machines.len() {
            for (hub, other) in [(a, b), (b, a)] {
                if third != a
                    && third != b
                    && self.net.peek(hub, third).up
                    && !self.net.peek(other, third).up
                    && self.random.chance(900_000)
                {
                    let when = self.now + self.random.between(5 * MS, 50 * MS);
                    self.schedule(when, Event::Dial { from: other, to: third });
                }
            }
        }
    }

    fn notice(&mut self, at: usize, peer: usize, when: u64, up: bool) {
        let start = self.machines[at].starts;
        let Some(peer) = self.machines[peer].member.as_ref().map(|member| member.incarnation)
        else {
            return;
        };
        let event = match up {
            true => Event::LinkUp { at, start, peer },
            false => Event::LinkDown { at, start, peer },
        };
        self.schedule(when, event);
    }

    fn redial(&mut self) {
        for from in 0..self.machines.len() {
            for to in 0..self.machines.len() {
                let wanted = self.plan.dials(from, to) && self.machines[from].runs();
                if from != to && wanted && self.random.chance(500_000) {
                    self.dial(from, to);
                }
            }
        }
        let next = self.now + self.random.between(200 * MS, 400 * MS);
        self.schedule(next, Event::Redial);
    }

    /// Notes that a link no longer carries everything, or does again.
    pub fn review(&mut self, a: usize, b: usize) {
        let (impaired, now) = (self.is_impaired(a, b), self.now);
        let session = self.net.session(a, b);
        if !session.up {
            return;
        }
        match (impaired, session.impaired) {
            (true, None) => {
                session.impaired = Some(now);
                session.end_health(now);
                let (epoch, since) = (session.epoch, now);
                if self.net.manners.notices {
                    let lease = self.plan.settings.failure_timeout * 8 / 10;
                    let when = now + self.random.between(lease, lease * 3 / 2);
                    self.schedule(when, Event::Silence { a, b, epoch, since });
                }
            }
            (false, Some(_)) => {
                (session.impaired, session.healthy) = (None, Some(now));
                for (from, to) in [(a, b), (b, a)] {
                    for (lane, bytes) in self.net.release(from, to) {
                        self.transmit(from, to, lane, &bytes);
                    }
                }
            }
            _ => {}
        }
    }

    /// A member wants another link than the one that stands.
    fn end_old(&mut self, at: usize, member: u128) {
        let timeout = self.plan.settings.failure_timeout;
        if let Some(to) = self.machine_of(member)
            && self.now - self.net.peek(at, to).since >= timeout
        {
            self.disconnect(at, to, true);
        }
    }

    fn end_silent(&mut self, a: usize, b: usize, epoch: u64, since: u64) {
        let session = self.net.peek(a, b);
        if session.up && session.epoch == epoch && session.impaired == Some(since) {
            self.disconnect(a, b, true);
        }
    }

    /// Ends a link; each end hears of it, or not.
    pub fn disconnect(&mut self, a: usize, b: usize, noticed: bool) {
        let now = self.now;
        let session = self.net.session(a, b);
        if !session.up {
            return;
        }
        (session.up, session.impaired) = (false, None);
        session.end_health(now);
        self.net.mute(a, b, false);
        self.net.mute(b, a, false);
        self.net.release(a, b);
        self.net.release(b, a);
        self.note(None, format!("no link between m{a} and m{b} any more"));
        if noticed {
            for (at, peer) in [(a, b), (b, a)] {
                let when = self.now + self.random.between(100 * US, 5 * MS);
                self.notice(at, peer, when, false);
            }
        }
    }

    fn thaw(&mut self, at: usize) -> Step {
        let Some(until) = self.machines[at].frozen_until.filter(|until| *until <= self.now) else {
            return Ok(());
        };
        debug_assert!(until <= self.now);
        let machine = &mut self.machines[at];
        (machine.frozen_until, machine.suspended, machine.unsound) = (None, false, self.now);
        self.note(Some(at), "goes on".to_owned());
        self.last_trouble = self.now;
        for peer in 0..self.machines.len() {
            if peer != at {
                self.review(at, peer);
            }
        }
        if self.machines[at].member.is_none() {
            return Ok(());
        }
        // Its threads wake in any order: a tick may see the present before it sees the past's messages.
        let (tick_first, start) = (self.random.chance(500_000), self.machines[at].starts);
        if tick_first {
            self.machines[at].set_clock(self.now);
            if let Some(member) = self.member(at) {
                member.cluster.tick();
            }
            self.after(at)?;
        }
        while self.is_start(at, start)
            && let Some(what) = self.machines[at].inbox.pop_front()
        {
            self.receive(at, what)?;
            self.after(at)?;
        }
        if let Some(member) = self.member(at) {
            (member.sweep_at, member.flush_at) = (u64::MAX, None);
        }
        self.flush(at)
    }
}
