//! What seeds meet once in thousands.

use std::time::Duration;

use super::scripts::{is_noticed, play_all};
use super::world::{Step, World};
use crate::table::replication::{Faults, bucket_of, key_hash};

/// The clock of who grants is as much too fast as that of who holds is too slow, and somebody waits for the end of the
/// lease: when he is granted the lock, the holder does not believe in it any more.
fn a_lease_by_two_clocks(world: &mut World) -> Step {
    let lease = Duration::from_secs(10);
    let timeout = world.plan.settings.failure_timeout;
    world.plan.lock_lease = Some(lease);
    (world.machines[0].drift, world.machines[1].drift) = (450_000, -450_000);
    world.begin(0..3)?;
    world.run_until(world.now + 5 * timeout)?;
    world.must_get(1, "l0")?;
    let timeouts = 2 * lease.as_nanos() as u64 / timeout;
    match world.gets(2, "l0", timeouts)? {
        true => Ok(()),
        false => Err("m2 was not granted what was free by then".to_owned()),
    }
}

#[test]
fn a_lease_is_over_for_its_holder_first() {
    play_all(3, a_lease_by_two_clocks);
    is_noticed(3, Faults { one_clock: true, ..Faults::default() }, a_lease_by_two_clocks);
}

/// Another key of the same bucket.
fn beside(key: &str) -> String {
    let bucket = |key: &str| bucket_of((key_hash(key.as_bytes()) >> 32) as u32);
    let mut others = (0..).map(|number| format!("beside {number}"));
    others.find(|other| bucket(other) == bucket(key)).expect("there are endless keys")
}

/// A value has not come to the others, whatever the reason, and beside it something changes all the time.
fn a_difference_beside_changes(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(0..3)?;
    let busy = beside("l0");
    world.loses_what_it_puts(1, "l0", 7)?;
    let end = world.now + 20 * timeout;
    while world.now < end {
        if (0..3).all(|at| world.has(at, "l0", 7)) {
            return Ok(());
        }
        world.put_at(2, &busy, 1)?;
        world.run_until(world.now + timeout / 10)?;
    }
    Err("not everyone has got the value".to_owned())
}

impl World {
    /// What is put is neither sent nor missed.
    fn loses_what_it_puts(&mut self, at: usize, key: &str, value: i64) -> Step {
        self.machines[at].set_clock(self.now);
        let Some(member) = self.member(at) else { return Ok(()) };
        member.registry.put(key, value).map_err(|error| error.to_string())?;
        member.users.minted(1);
        member.cluster.forget_outbox();
        self.after(at)
    }
}

#[test]
fn what_lies_beside_changes_is_compared_in_the_end() {
    play_all(3, a_difference_beside_changes);
    let faults = Faults { recent_left_out: true, ..Faults::default() };
    is_noticed(3, faults, a_difference_beside_changes);
}
