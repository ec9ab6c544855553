//! Who may believe in a lock after a sleep, a cut, an answer that was lost; and who comes first.

use std::time::Duration;

use super::MS;
use super::scripts::{LONG, is_noticed, play_all};
use super::world::{Step, World};
use crate::members::MemberState;
use crate::table::replication::Faults;

impl World {
    /// Runs for so long, and at no time two of these believe in the lock.
    fn at_most_one(&mut self, members: &[usize], key: &str, lasts: u64) -> Step {
        let end = self.now + lasts;
        while self.now < end {
            self.run_until(self.now + MS / 2)?;
            let mut believers = members.to_vec();
            believers.retain(|at| self.believes_in(*at, key));
            if believers.len() > 1 {
                return Err(format!("{believers:?} believe in {key} at the same time"));
            }
        }
        Ok(())
    }

    /// Whether a member has touch with another one.
    fn is_live(&self, at: usize, other: usize) -> bool {
        let member = self.machines[at].member.as_ref();
        let listed = member.map(|member| member.cluster.members()).unwrap_or_default();
        let name = format!("n{other}");
        listed.iter().any(|m| *m.node == *name && m.state == MemberState::Live)
    }

    /// Nobody waits here any more.
    fn forsake_all(&mut self, at: usize) {
        if let Some(member) = self.member(at) {
            member.users.waits.clear();
            member.users.most += 2;
        }
    }
}

/// A member sleeps while it is granted a lock, and for so long that somebody else is granted it, too.
fn a_grant_from_before_the_sleep(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(0..3)?;
    world.run_until(world.now + 2 * timeout)?;
    world.must_get(2, "l0")?;
    world.ask_for(1, "l0", 2 * LONG * timeout)?;
    world.run_until(world.now + 50 * MS)?;
    world.freeze(1, 3 * timeout, false)?;
    world.give_back(2, "l0")?;
    world.run_until(world.now + 50 * MS)?;
    world.ask_for(2, "l0", 2 * LONG * timeout)?;
    world.at_most_one(&[1, 2], "l0", 5 * timeout)
}

#[test]
fn a_grant_from_before_a_sleep_counts_no_more() {
    play_all(3, a_grant_from_before_the_sleep);
    let faults = Faults { old_grants_taken: true, ..Faults::default() };
    is_noticed(3, faults, a_grant_from_before_the_sleep);
}

/// The holder loses the coordinator, then everybody, then meets the others again.
fn alone_for_a_moment(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(0..4)?;
    world.must_get(1, "l0")?;
    world.ask_for(3, "l0", 2 * LONG * timeout)?;
    world.part(&[(0, 1), (1, 0)])?;
    // By what it knows: its last contact was a little before.
    let freed = world.now + 2 * timeout - timeout / 2;
    world.run_until(world.now + timeout / 4)?;
    let others = [(1, 2), (2, 1), (1, 3), (3, 1)];
    world.part(&others)?;
    world.run_until(world.now + timeout + timeout / 10)?;
    world.reunite(&others)?;
    while !world.is_live(1, 3) && world.now < freed {
        world.run_until(world.now + MS / 2)?;
    }
    if world.now >= freed {
        // It was away for so long that others may have its locks, as after any cut.
        return Ok(());
    }
    world.at_most_one(&[1, 3], "l0", 6 * timeout)
}

#[test]
fn who_was_alone_for_a_moment_believes_no_longer() {
    play_all(4, alone_for_a_moment);
    let faults = Faults { alone_is_contact: true, ..Faults::default() };
    is_noticed(4, faults, alone_for_a_moment);
}

/// A lock with a long lease seems over while its holder is away. A coordinator that has come meanwhile does not grant it
/// to others once he is back: he believes in it, and says so.
fn a_lease_of_one_who_was_away(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.plan.lock_lease = Some(Duration::from_secs(600));
    world.begin(1..4)?;
    world.must_get(3, "l0")?;
    let apart = [(1, 3), (3, 1), (2, 3), (3, 2), (0, 3), (3, 0)];
    world.part(&apart)?;
    world.run_until(world.now + 4 * timeout)?;
    world.start(0, "n0".to_owned())?;
    world.run_until(world.now + 4 * timeout)?;
    world.reunite(&apart)?;
    world.until_agreed(60 * timeout)?;
    if !world.believes_in(3, "l0") {
        // It has not found the new coordinator in time, and has given the lock up itself.
        return Ok(());
    }
    match world.gets(2, "l0", 4)? {
        true => Err("m2 was granted what m3 holds".to_owned()),
        false => Ok(()),
    }
}

#[test]
fn a_lease_goes_on_where_its_holder_seemed_gone() {
    play_all(4, a_lease_of_one_who_was_away);
}

/// The answer to an ask is lost, nobody wants the lock any more, and somebody else there asks for it.
fn a_grant_that_nobody_knows(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(0..2)?;
    world.run_until(world.now + 2 * timeout)?;
    world.net.manners.holds = false;
    world.ask_as(1, "l0", "first", 2 * LONG * timeout)?;
    world.run_until(world.now + 3 * MS)?;
    world.part(&[(0, 1), (1, 0)])?;
    world.forsake_all(1);
    world.run_until(world.now + timeout / 2)?;
    world.reunite(&[(0, 1), (1, 0)])?;
    world.must_get(1, "l0")
}

#[test]
fn a_grant_that_was_lost_bars_nobody() {
    play_all(2, a_grant_that_nobody_knows);
}

/// On the coordinator itself somebody asks later than on another member, and has to wait.
fn first_come(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(0..2)?;
    world.must_get(0, "l0")?;
    world.ask_for(1, "l0", LONG * timeout)?;
    world.run_until(world.now + 100 * MS)?;
    world.ask_as(0, "l0", "later", LONG * timeout)?;
    world.run_until(world.now + 100 * MS)?;
    world.give_back(0, "l0")?;
    world.run_until(world.now + 100 * MS)?;
    match world.believes_in(1, "l0") {
        true => Ok(()),
        false => Err("who came first was not served first".to_owned()),
    }
}

#[test]
fn members_are_served_in_order_of_arrival() {
    play_all(2, first_come);
}

/// Of two the other one stops in good order and is back soon: nobody could have been granted the locks of the first.
fn the_other_is_back(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(0..2)?;
    world.must_get(0, "l0")?;
    world.end(1, false, None)?;
    world.run_until(world.now + timeout * 3 / 2)?;
    world.start(1, "n1".to_owned())?;
    world.until_agreed(60 * timeout)?;
    match world.believes_in(0, "l0") {
        true => Ok(()),
        false => Err("m0 has given up its lock although it was alone".to_owned()),
    }
}

#[test]
fn locks_survive_the_restart_of_the_only_other() {
    play_all(2, the_other_is_back);
}
