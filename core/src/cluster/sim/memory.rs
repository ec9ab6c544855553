//! What is remembered of those who are away, however often the others start anew.

use super::MS;
use super::scripts::{is_noticed, play, play_all};
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

/// While two members write without a pause, so that their tables are never seen to be equal, what was deleted before is
/// forgotten in the end.
fn never_equal(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.net.manners.backlog = 40 * MS;
    world.begin(0..2)?;
    world.put_at(0, "gone", 1)?;
    world.delete_at(0, "gone")?;
    let end = world.now + 40 * timeout;
    let mut number = 0;
    while world.now < end {
        number += 1;
        world.put_at(number % 2, &format!("w{}", number % 50), 1)?;
        world.run_until(world.now + 3 * MS)?;
    }
    match world.present(0, b"gone") {
        None => Ok(()),
        Some(grave) => Err(format!("m0 still remembers {grave:?}")),
    }
}

#[test]
fn deletions_are_forgotten_while_writes_go_on() {
    for seed in 1..=3 {
        play(seed, 2, Faults::default(), never_equal).unwrap();
    }
    let faults = Faults { equal_roots_only: true, ..Faults::default() };
    assert!(play(1, 2, faults, never_equal).is_err());
}
