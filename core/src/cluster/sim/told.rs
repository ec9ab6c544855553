//! What watchers and the next holder are told of one who goes.

use super::scripts::{is_noticed, play_all};
use super::world::{Step, World};
use crate::call_options::PutOptions;
use crate::registry::Registry;
use crate::table::replication::Faults;
use crate::watch::{EventKind, Watch};

/// Whose entries have passed to whom, since this was last asked.
fn passed(watch: &Watch) -> Vec<(String, String)> {
    let events = std::iter::from_fn(|| watch.try_next());
    let owners = events.filter(|event| event.kind() == EventKind::Owner);
    owners.filter_map(|event| Some((event.node()?.to_owned(), event.owner()?.to_owned()))).collect()
}

fn is_passed(watch: &Watch, expected: &[(&str, &str)]) -> Step {
    let mut found = passed(watch);
    found.sort();
    let same = found.iter().map(|(node, owner)| (&**node, &**owner)).eq(expected.iter().copied());
    if same { Ok(()) } else { Err(format!("owners: {found:?}, not {expected:?}")) }
}

/// The entries of one who dies pass to the lowest-named that lives, with him to the next, and back.
fn heirs(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(1..4)?;
    let watch = world.registry(1)?.watch("").map_err(|error| error.to_string())?;
    world.start(0, "n0".to_owned())?;
    world.until_agreed(60 * timeout)?;
    is_passed(&watch, &[])?;
    world.end(3, true, None)?;
    world.until_agreed(60 * timeout)?;
    is_passed(&watch, &[("n3", "n0")])?;
    world.end(0, true, None)?;
    world.until_agreed(60 * timeout)?;
    is_passed(&watch, &[("n0", "n1"), ("n3", "n1")])?;
    world.start(0, "n0".to_owned())?;
    world.until_agreed(60 * timeout)?;
    is_passed(&watch, &[("n0", "n0"), ("n3", "n0")])
}

#[test]
fn watchers_are_told_whose_entries_pass_to_whom() {
    play_all(4, heirs);
}

/// Who stops has put something just before under a lock that is free then: whoever has it next sees that.
fn the_last_put(world: &mut World) -> Step {
    let timeout = world.plan.settings.failure_timeout;
    world.begin(0..3)?;
    world.must_get(2, "l0")?;
    (world.net.manners.backlog, world.net.manners.reorder) = (timeout / 2, 0);
    let mine = PutOptions::new().owner("rest");
    let put = world.registry(2)?.put_with("l0", 7, mine).map_err(|error| error.to_string())?;
    world.member(2).ok_or("m2 is not there")?.users.minted(1);
    drop(put);
    world.end(2, false, None)?;
    world.must_get(1, "l0")?;
    match world.has(1, "l0", 7) {
        true => Ok(()),
        false => Err("m1 has the lock and not what was put under the one before it".to_owned()),
    }
}

#[test]
fn what_was_put_before_a_stop_is_seen_under_the_next_lock() {
    play_all(3, the_last_put);
    is_noticed(3, Faults { bye_first: true, ..Faults::default() }, the_last_put);
}

impl World {
    fn registry(&self, at: usize) -> Result<Registry, String> {
        let member = self.machines[at].member.as_ref();
        member.map(|member| member.registry.clone()).ok_or_else(|| format!("m{at} is not there"))
    }
}
