//! Scripts that are played in a simulated cluster where nothing goes wrong but what they do: for what seeds meet hardly
//! ever. Everything is checked all the while, as always.

use super::MS;
use super::check::believes;
use super::scenario::{Plan, Scenario, Trouble};
use super::world::{Event, Step, World};
use crate::members::MemberState;
use crate::table::replication::Faults;

pub(super) type Script = fn(&mut World) -> Step;

/// From how many seeds each script is played.
const SEEDS: u64 = 30;

pub(super) fn play(seed: u64, machines: usize, faults: Faults, script: Script) -> Step {
    let mut plan = Plan::new(seed, Scenario::Calm, faults);
    (plan.machines, plan.late, plan.star) = (machines, 0, false);
    // Locks end by what is tried here only, later fences are higher, and who comes new is synced soon.
    (plan.lock_lease, plan.skew, plan.manners.backlog) = (None, 0, 0);
    let mut world = World::new(seed, plan, false);
    world.schedule(50 * MS, Event::Redial);
    world.schedule(100 * MS, Event::Probe);
    script(&mut world).map_err(|what| format!("{}\nseed {seed}: {what}", world.history.render()))
}

pub(super) fn play_all(machines: usize, script: Script) {
    for seed in 1..=SEEDS {
        if let Err(failure) = play(seed, machines, Faults::default(), script) {
            panic!("{failure}");
        }
    }
}

/// Some seed fails while the rule is broken, so that the script would notice.
pub(super) fn is_noticed(machines: usize, faults: Faults, script: Script) {
    let fails = |seed| play(seed, machines, faults, script).is_err();
    assert!((1..=SEEDS).any(fails), "nobody noticed {faults:?}");
}

/// Longer than any rule of the locks waits for anything.
pub(super) const LONG: u64 = 12;

impl World {
    pub(super) fn begin(&mut self, machines: std::ops::Range<usize>) -> Step {
        for at in machines {
            self.start(at, format!("n{at}"))?;
        }
        let timeout = self.plan.settings.failure_timeout;
        self.until_agreed(60 * timeout)?;
        let first = self.running()[0];
        for key in ["l0", "l1", "l2"] {
            self.put_at(first, key, 1)?;
        }
        self.until_agreed(60 * timeout)
    }

    pub(super) fn believes_in(&mut self, at: usize, key: &str) -> bool {
        let incarnation = self.machines[at].member.as_ref().map(|member| member.incarnation);
        let dumped = self.present(at, key.as_bytes());
        dumped.zip(incarnation).is_some_and(|(dumped, incarnation)| believes(&dumped, incarnation))
    }

    /// Asks for a lock and waits until it is granted: true; or for so many failure timeouts.
    pub(super) fn gets(&mut self, at: usize, key: &str, timeouts: u64) -> Result<bool, String> {
        let timeout = self.plan.settings.failure_timeout;
        let end = self.now + timeouts * timeout;
        self.ask_for(at, key, timeouts * timeout)?;
        while !self.believes_in(at, key) && self.now < end {
            self.run_until(self.now + MS)?;
        }
        Ok(self.believes_in(at, key))
    }

    pub(super) fn must_get(&mut self, at: usize, key: &str) -> Step {
        match self.gets(at, key, LONG)? {
            true => Ok(()),
            false => Err(format!("m{at} was not granted {key}")),
        }
    }

    /// Whether all are live to a member.
    pub(super) fn sees_all(&self, at: usize) -> bool {
        let member = self.machines[at].member.as_ref();
        let all = member.map(|member| member.cluster.members()).unwrap_or_default();
        all.len() == self.running().len() && all.iter().all(|m| m.state == MemberState::Live)
    }

    pub(super) fn has(&self, at: usize, key: &str, value: i64) -> bool {
        let member = self.machines[at].member.as_ref();
        let entry = member.and_then(|member| member.registry.get(key).ok()?);
        entry.is_some_and(|entry| entry.value_as::<i64>().is_ok_and(|found| found == value))
    }

    pub(super) fn part(&mut self, pairs: &[(usize, usize)]) -> Step {
        self.cut(Trouble::Pair, pairs.to_vec(), u64::MAX / 2)
    }

    pub(super) fn reunite(&mut self, pairs: &[(usize, usize)]) -> Step {
        self.heal(Trouble::Pair, pairs)
    }
}
