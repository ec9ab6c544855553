//! What is tried: how many machines, how the network behaves, what goes wrong how often.

use std::time::Duration;

use super::net::Manners;
use super::random::Random;
use super::{MS, SECOND};
use crate::cluster::settings::Settings;
use crate::table::replication::Faults;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// A good network that only delays.
    Calm,
    /// Messages are lost, doubled, late and out of order.
    Lossy,
    /// Partitions, whole, one-way, and of single pairs.
    Cuts,
    /// Members crash, leave and come back.
    Crashes,
    /// Members freeze, machines are suspended.
    Freezes,
    /// Wall clocks differ, and jump, within the bound and beyond it.
    Clocks,
    /// A large table, fetched by those who join later.
    Joins,
    /// Cuts that last longer than deletions are remembered.
    LongCuts,
    /// Everything together.
    Storm,
    /// Locks, and hardly anything else.
    Locks,
    /// Links that stand and carry nothing, until somebody ends them. Not among those that seeds draw from.
    Mute,
}

impl Scenario {
    pub const ALL: [Scenario; 10] = [
        Scenario::Calm,
        Scenario::Lossy,
        Scenario::Cuts,
        Scenario::Crashes,
        Scenario::Freezes,
        Scenario::Clocks,
        Scenario::Joins,
        Scenario::LongCuts,
        Scenario::Storm,
        Scenario::Locks,
    ];

    pub fn of(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x5ce0);
        Scenario::ALL[random.index(Scenario::ALL.len())]
    }
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Partition,
    OneWay,
    Pair,
    Crash,
    Leave,
    Freeze,
    Suspend,
    /// A wall clock jumps, but stays within the bound.
    Jump,
    /// A wall clock jumps beyond the bound.
    Astray,
    Burst,
    /// A link carries nothing any more, in one direction or both, and does not end by itself.
    Mute,
}

/// Everything about a run that is drawn before it starts.
pub(super) struct Plan {
    pub scenario: Scenario,
    pub machines: usize,
    /// Those that are not there from the start.
    pub late: usize,
    pub settings: Settings,
    pub lock_lease: Option<Duration>,
    pub manners: Manners,
    /// Up to how far off a wall clock is, in nanoseconds.
    pub skew: u64,
    pub troubles: Vec<Trouble>,
    /// The usual time between two of them.
    pub trouble_every: u64,
    /// How long the longest trouble lasts.
    pub trouble_lasts: u64,
    /// The usual time between two operations of a user of any machine.
    pub op_every: u64,
    /// How long users are active, before each time of rest.
    pub active: Vec<u64>,
    /// Everyone knows everyone's endpoint, or only that of the first.
    pub star: bool,
    /// Entries that are there before anyone joins.
    pub preload: usize,
}

impl Plan {
    pub fn new(seed: u64, scenario: Scenario, faults: Faults) -> Plan {
        let mut random = Random::new(seed ^ 0x91a2);
        let defaults = random.chance(60_000);
        let settings = if defaults {
            Settings { faults, ..Settings::new(2_500 * MS) }
        } else {
            Settings {
                // In proportion to each other as the real ones are.
                clock_bound: SECOND,
                remember: 60 * SECOND,
                forget_after: 6 * SECOND,
                max_message_age: 3 * SECOND,
                outbox_records: if random.chance(200_000) { 64 } else { 10_000 },
                faults,
                ..Settings::new(500 * MS)
            }
        };
        let mut plan = Plan {
            scenario,
            machines: random.between(2, 5) as usize,
            late: 0,
            lock_lease: random.chance(200_000).then(|| Duration::from_millis(1500)),
            manners: Manners::GOOD,
            skew: if random.chance(500_000) { 0 } else { settings.clock_bound * 4 / 10 },
            troubles: Vec::new(),
            trouble_every: 4 * settings.failure_timeout,
            trouble_lasts: 8 * settings.failure_timeout,
            op_every: 4 * MS,
            active: vec![random.between(2_000, 5_000) * MS, random.between(2_000, 6_000) * MS],
            star: random.chance(300_000),
            preload: 0,
            settings,
        };
        if random.chance(100_000) {
            plan.machines = random.between(6, 7) as usize;
        }
        if random.chance(300_000) {
            plan.late = random.index(plan.machines);
        }
        plan.manners.spike = random.below(plan.settings.failure_timeout / 5) + 1;
        plan.manners.notices = !random.chance(150_000);
        plan.manners.holds = random.chance(500_000);
        if random.chance(400_000) {
            plan.manners.reorder = random.below(200_000) as u32;
            plan.manners.duplicate = random.below(50_000) as u32;
        }
        if random.chance(200_000) {
            plan.manners.backlog = random.below(plan.settings.failure_timeout) + 1;
        }
        plan.adapt(&mut random);
        plan
    }

    fn adapt(&mut self, random: &mut Random) {
        use Trouble::{
            Astray, Burst, Crash, Freeze, Jump, Leave, OneWay, Pair, Partition, Suspend,
        };
        let lossy = |plan: &mut Plan, random: &mut Random| {
            plan.manners.drop = random.below(50_000) as u32;
            plan.manners.reorder = random.below(400_000) as u32;
            plan.manners.duplicate = random.below(100_000) as u32;
            plan.manners.stale = random.below(2_000) as u32;
        };
        match self.scenario {
            Scenario::Calm | Scenario::Locks => {}
            Scenario::Lossy => {
                lossy(self, random);
                self.troubles = vec![Burst];
            }
            Scenario::Cuts => self.troubles = vec![Partition, Partition, OneWay, Pair],
            Scenario::Crashes => {
                self.troubles = vec![Crash, Crash, Leave];
                if random.chance(500_000) {
                    // What the dead one granted last, others hear late.
                    self.manners.backlog = self.settings.failure_timeout * 8 / 10;
                }
            }
            Scenario::Mute => self.troubles = vec![Trouble::Mute],
            Scenario::Freezes => self.troubles = vec![Freeze, Freeze, Suspend],
            Scenario::Clocks => {
                self.skew = self.settings.clock_bound * 48 / 100;
                self.troubles = vec![Jump, Jump, Astray];
            }
            Scenario::Joins => {
                self.preload = random.between(200, 3_000) as usize;
                self.late = random.between(1, self.machines as u64 - 1) as usize;
                self.troubles = vec![Crash, Pair];
                self.active = vec![2_500 * MS, 2_000 * MS];
            }
            Scenario::LongCuts => {
                self.settings.remember = 20 * SECOND;
                self.troubles = Vec::new();
                self.op_every = 30 * MS;
                self.machines = random.between(2, 3) as usize;
                self.late = 0;
                self.active = vec![3_000 * MS, 3_000 * MS];
            }
            Scenario::Storm => {
                if random.chance(500_000) {
                    lossy(self, random);
                }
                self.troubles = vec![
                    Partition, OneWay, Pair, Crash, Crash, Leave, Freeze, Suspend, Jump, Astray,
                    Burst,
                ];
                self.trouble_every = 2 * self.settings.failure_timeout;
                self.active = vec![6_000 * MS, 6_000 * MS];
            }
        }
    }

    /// Whether a machine is configured with the endpoint of another.
    pub fn dials(&self, from: usize, to: usize) -> bool {
        !self.star || to == 0 || from == to
    }
}
