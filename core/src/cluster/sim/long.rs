//! Cuts that last longer than deletions are remembered: what was deleted stays deleted, what is new stays.

use super::SECOND;
use super::scenario::Trouble;
use super::world::{Step, World};

impl World {
    /// The first member starts with a table that the others have to fetch.
    pub(super) fn preload(&mut self) -> Step {
        for number in 0..self.plan.preload {
            let at = 0;
            let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
            let kv = member.registry.clone();
            kv.put(format!("s{number}"), number as i64).map_err(|error| error.to_string())?;
            if let Some(member) = self.member(at) {
                member.users.minted(1);
            }
            if number % 50 == 49 {
                self.flush(at)?;
            }
        }
        self.flush(0)
    }

    /// Cuts one member off for longer than the memory lasts, lets both sides write apart, and heals.
    pub(super) fn long_cut(&mut self) -> Step {
        self.rest(false)?;
        let n = self.machines.len();
        let remember = self.plan.settings.remember;
        for number in 0..12 {
            self.put_at(0, &format!("x{number}"), number)?;
        }
        self.rest(false)?;
        // Long enough for everyone to know that they agreed on these.
        self.run_until(self.now + 2 * self.plan.settings.clock_bound + 3 * SECOND)?;
        let pairs: Vec<_> = (1..n).flat_map(|other| [(0, other), (other, 0)]).collect();
        let lasts = remember * 2 + self.troubles.below(remember);
        self.cut(Trouble::Partition, pairs, lasts)?;
        let early = self.now + 2 * SECOND;
        self.run_until(early)?;
        // The lone one deletes some, the others delete others, both put new ones.
        for number in 0..4 {
            self.delete_at(0, &format!("x{number}"))?;
            self.delete_at(1, &format!("x{}", number + 4))?;
            self.put_at(0, &format!("y{number}"), 1)?;
            self.put_at(1, &format!("z{number}"), 1)?;
        }
        self.run_until(early + lasts)?;
        self.rest(false)?;
        for at in 0..n {
            let Some(member) = &self.machines[at].member else { continue };
            let kv = &member.registry;
            let has = |key: String| kv.contains(key).unwrap_or(false);
            for number in 0..8 {
                if has(format!("x{number}")) {
                    return Err(format!("Maximum: x{number} came back on m{at} after a long cut"));
                }
            }
            for kept in ["x8", "x9", "x10", "x11", "y0", "y1", "y2", "y3", "z0", "z1", "z2", "z3"] {
                if !has(kept.to_owned()) {
                    return Err(format!("Maximum: {kept} was lost on m{at} after a long cut"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn put_at(&mut self, at: usize, key: &str, value: i64) -> Step {
        self.machines[at].set_clock(self.now);
        if let Some(member) = self.member(at) {
            let put = member.registry.put(key, value);
            put.map_err(|error| format!("Bookkeeping: put {key} on m{at}: {error}"))?;
            member.users.minted(1);
        }
        self.note(Some(at), format!("put {key}"));
        self.after(at)
    }

    pub(super) fn delete_at(&mut self, at: usize, key: &str) -> Step {
        self.machines[at].set_clock(self.now);
        if let Some(member) = self.member(at) {
            let deleted = member.registry.delete(key);
            let deleted =
                deleted.map_err(|error| format!("Bookkeeping: delete {key} on m{at}: {error}"))?;
            member.users.minted(u64::from(deleted.is_some()));
        }
        self.note(Some(at), format!("delete {key}"));
        self.after(at)
    }
}
