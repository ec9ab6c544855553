//! Two members without touch while everybody else has: who decides about locks, and what becomes of theirs.

use super::MS;
use super::scripts::{LONG, is_noticed, play_all};
use super::world::{Step, World};
use crate::table::replication::Faults;

/// The coordinator and another one part, one way or both, while the other has a lock: it loses it and gets no other,
/// everybody else goes on.
fn around_a_cut(world: &mut World, pairs: &[(usize, usize)]) -> Step {
    world.begin(0..4)?;
    world.must_get(1, "l0")?;
    world.must_get(3, "l1")?;
    world.part(pairs)?;
    world.must_get(2, "l0")?;
    if world.gets(1, "l2", LONG)? {
        return Err("m1 was granted a lock that nobody may grant it".to_owned());
    }
    if world.sees_all(1) {
        return Err("members() of m1 does not show whom it does not reach".to_owned());
    }
    if !world.believes_in(3, "l1") {
        return Err("m3 has lost a lock although it never lost touch".to_owned());
    }
    world.reunite(pairs)?;
    world.must_get(1, "l2")
}

fn both_ways(world: &mut World) -> Step {
    around_a_cut(world, &[(0, 1), (1, 0)])
}

fn not_from_the_coordinator(world: &mut World) -> Step {
    around_a_cut(world, &[(0, 1)])
}

fn not_to_the_coordinator(world: &mut World) -> Step {
    around_a_cut(world, &[(1, 0)])
}

#[test]
fn locks_go_on_around_a_pair_without_touch() {
    play_all(4, both_ways);
    is_noticed(4, Faults { hearsay_ignored: true, ..Faults::default() }, both_ways);
}

#[test]
fn locks_go_on_around_a_pair_with_touch_one_way() {
    play_all(4, not_from_the_coordinator);
    play_all(4, not_to_the_coordinator);
}

/// A lower-named member comes who has no touch with the coordinator: that one has granted itself what the new one
/// may grant to others, and has to give it up before.
fn a_new_coordinator(world: &mut World) -> Step {
    world.begin(1..4)?;
    world.must_get(1, "l0")?;
    world.part(&[(0, 1), (1, 0)])?;
    world.start(0, "n0".to_owned())?;
    world.must_get(2, "l0")?;
    if world.believes_in(1, "l0") {
        return Err("m1 goes on to believe in its lock".to_owned());
    }
    world.reunite(&[(0, 1), (1, 0)])?;
    world.must_get(1, "l1")
}

#[test]
fn a_new_coordinator_waits_for_those_without_touch() {
    play_all(4, a_new_coordinator);
    is_noticed(4, Faults { hearsay_ignored: true, ..Faults::default() }, a_new_coordinator);
}

/// Both sides of a cut hold a lock. Once the coordinator grants again, the lower fence is over where it was believed in.
fn a_deposed_holder(world: &mut World) -> Step {
    world.begin(0..2)?;
    world.part(&[(0, 1), (1, 0)])?;
    world.must_get(1, "l0")?;
    world.must_get(0, "l0")?;
    world.reunite(&[(0, 1), (1, 0)])?;
    let end = world.now + LONG * world.plan.settings.failure_timeout;
    while !world.sees_all(0) && world.now < end {
        world.run_until(world.now + MS / 4)?;
    }
    world.must_get(0, "l1")?;
    match world.believes_in(1, "l0") {
        true => Err("m1 goes on to believe in its lock".to_owned()),
        false => Ok(()),
    }
}

#[test]
fn a_deposed_holder_is_told_before_anything_is_granted() {
    play_all(2, a_deposed_holder);
    is_noticed(2, Faults { deposed_untold: true, ..Faults::default() }, a_deposed_holder);
}

/// On the other side of a cut a member has granted itself what another holds here, under a higher fence, and has died.
/// Once word of that comes, the lock is free here, but its holder here believes in it until he knows that, too.
fn word_of_the_dead(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(0..4)?;
    let apart: Vec<(usize, usize)> =
        [(0, 1), (0, 2), (3, 1), (3, 2)].into_iter().flat_map(|(a, b)| [(a, b), (b, a)]).collect();
    world.part(&apart)?;
    world.must_get(2, "l0")?;
    world.must_get(0, "l0")?;
    world.run_until(world.now + timeout / 5)?;
    world.end(0, true, None)?;
    // Nobody tells of it any more as of one who may be there.
    world.run_until(world.now + 4 * timeout)?;
    world.ask_for(1, "l0", 2 * LONG * timeout)?;
    world.reunite(&apart)?;
    world.run_until(world.now + LONG * timeout)?;
    let believers: Vec<usize> = (1..4).filter(|at| world.believes_in(*at, "l0")).collect();
    match believers == [1] {
        true => Ok(()),
        false => Err(format!("{believers:?} believe in l0, not [1]")),
    }
}

#[test]
fn nobody_is_granted_what_a_deposed_holder_believes_in() {
    play_all(4, word_of_the_dead);
    is_noticed(4, Faults { deposed_untold: true, ..Faults::default() }, word_of_the_dead);
}

/// The coordinator, whose clock is ahead, dies just after it has granted a lock that was given back; word of that is
/// still on its way to the next one, which grants it under a greater fence all the same.
fn a_slower_clock(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    // As with the real bound and a short timeout: nobody's patience makes up for it.
    world.plan.settings.clock_bound = 10 * timeout;
    world.machines[0].skew = 4 * timeout as i64;
    world.begin(0..3)?;
    world.run_until(world.now + 5 * timeout)?;
    world.net.manners.backlog = 5 * timeout;
    world.must_get(2, "l0")?;
    world.give_back(2, "l0")?;
    world.end(0, true, None)?;
    world.must_get(1, "l0")
}

#[test]
fn the_next_coordinator_grants_greater_fences() {
    play_all(3, a_slower_clock);
    is_noticed(3, Faults { fences_by_clock: true, ..Faults::default() }, a_slower_clock);
}
