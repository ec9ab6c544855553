//! What is remembered of those who are away, however often the others start anew.

use super::scripts::{is_noticed, play_all};
use super::world::{Step, World};
use crate::table::replication::Faults;

/// While a member is away something is deleted, and all others are started anew, one after the other: it does not bring
/// the entry back.
fn everyone_else_anew(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    let forgotten = 2 * world.plan.settings.forget_after;
    world.begin(0..3)?;
    world.put_at(0, "gone", 1)?;
    world.until_agreed(60 * timeout)?;
    // Long enough for everyone to know that they agreed.
    world.run_until(world.now + 2 * world.plan.settings.max_message_age)?;
    let apart = [(0, 2), (2, 0), (1, 2), (2, 1)];
    world.part(&apart)?;
    world.run_until(world.now + 4 * timeout)?;
    world.delete_at(0, "gone")?;
    for at in [0, 1] {
        world.run_until(world.now + 8 * timeout)?;
        world.end(at, true, None)?;
        world.run_until(world.now + 2 * timeout)?;
        world.start(at, format!("n{at}"))?;
    }
    world.run_until(world.now + forgotten)?;
    world.reunite(&apart)?;
    world.until_agreed(60 * timeout)?;
    match (0..3).find(|at| world.has(*at, "gone", 1)) {
        None => Ok(()),
        Some(at) => Err(format!("what was deleted is back on m{at}")),
    }
}

#[test]
fn deletions_outlive_everyone_who_saw_who_is_away() {
    play_all(3, everyone_else_anew);
    let faults = Faults { nothing_inherited: true, ..Faults::default() };
    is_noticed(3, faults, everyone_else_anew);
}
