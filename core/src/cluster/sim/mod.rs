//! Whole clusters in one thread, on simulated clocks and a simulated network, from one seed.
//!
//! The members run the real core: table, replication, locks. What is simulated is what carries messages
//! and what time it is. Everything follows from the seed, so a failure can be looked at again.
//!
//! `make sim SEEDS=10000` runs many; `MINIKV_SIM_SEED=n` runs one and prints its history.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apart;
mod belief;
mod check;
mod describe;
mod history;
mod long;
mod machine;
mod memory;
mod nemesis;
mod net;
mod ops;
mod quiet;
mod random;
mod rare;
mod scenario;
mod scripts;
mod tests;
mod told;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::scenario::{Plan, Scenario};
use self::world::{Event, Step, World};
use crate::table::DumpedLock;
use crate::table::replication::Faults;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// What a run that went well has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    pub operations: u64,
    pub messages: u64,
    pub steps: u64,
    pub dumps: u64,
    /// A fingerprint of everything that happened.
    pub trace: u64,
    pub virtual_seconds: u64,
}

/// What went wrong, and how it came to that.
struct Failure {
    pub seed: u64,
    pub scenario: Scenario,
    pub what: String,
    pub history: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failure { seed, scenario, what, history } = self;
        write!(f, "{history}\nseed {seed} ({scenario:?}): {what}\nreplay: make sim SEED={seed}\n")
    }
}

/// Runs one cluster from one seed.
fn run(
    seed: u64,
    scenario: Scenario,
    faults: Faults,
    all_history: bool,
) -> Result<Report, Box<Failure>> {
    let plan = Plan::new(seed, scenario, faults);
    let mut world = World::new(seed, plan, all_history);
    // A panic of the core is a finding like any other.
    let result = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    match result {
        Ok(()) => Ok(Report {
            operations: world.operations,
            messages: world.messages,
            steps: world.steps,
            dumps: world.checks.dumps,
            trace: world.history.trace(),
            virtual_seconds: world.now / SECOND,
        }),
        Err(what) => {
            let history = world.history.render();
            // What a panic has left half done is not to be touched again.
            std::mem::forget(world);
            Err(Box::new(Failure { seed, scenario, what, history }))
        }
    }
}

fn live(world: &mut World) -> Step {
    let (machines, late) = (world.plan.machines, world.plan.late);
    for at in 0..machines {
        let first = world.random.below(100 * MS);
        world.schedule(first + SECOND, Event::Operate { at });
        let when = match at < machines - late {
            true => world.random.below(200 * MS),
            false => world.random.between(200 * MS, 6 * SECOND),
        };
        world.schedule(when, Event::Restart { at, name: format!("n{at}") });
    }
    world.schedule(50 * MS, Event::Redial);
    world.schedule(100 * MS, Event::Probe);
    world.schedule(SECOND, Event::Trouble);
    world.run_until(210 * MS)?;
    world.preload()?;
    let last = world.plan.active.len() - 1;
    for (number, active) in world.plan.active.clone().into_iter().enumerate() {
        world.active = true;
        world.run_until(world.now + active)?;
        if world.plan.scenario == Scenario::LongCuts {
            world.long_cut()?;
        }
        world.rest(number == last)?;
    }
    Ok(())
}

/// How far a lock has come, in the order in which one wins over another.
fn rank(lock: &DumpedLock) -> (u64, u128, bool, u64) {
    (lock.fence, lock.grantor, lock.released, lock.sequence)
}
