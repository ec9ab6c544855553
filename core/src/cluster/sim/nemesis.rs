//! What goes wrong: cuts, crashes, frozen processes, wandering clocks. And its mending.

use super::MS;
use super::scenario::Trouble;
use super::world::{Event, Step, World};

impl World {
    pub(super) fn trouble(&mut self) -> Step {
        let every = self.plan.trouble_every;
        let next = self.now + self.troubles.between(every / 4, every * 7 / 4);
        self.schedule(next, Event::Trouble);
        if !self.active {
            return Ok(());
        }
        let Some(trouble) = self.troubles.pick(&self.plan.troubles).copied() else { return Ok(()) };
        self.last_trouble = self.now;
        let lasts = self.troubles.below(self.plan.trouble_lasts).max(100 * MS);
        let lasts = if self.troubles.chance(500_000) { lasts / 5 } else { lasts };
        let n = self.machines.len();
        let victim = self.troubles.index(n);
        match trouble {
            Trouble::Partition => {
                let mut side: Vec<bool> = (0..n).map(|_| self.troubles.chance(500_000)).collect();
                side[victim] = true;
                side[(victim + 1) % n] = false;
                let pairs = (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
                let pairs = pairs.filter(|(a, b)| side[*a] != side[*b]).collect();
                self.cut(Trouble::Partition, pairs, lasts)
            }
            Trouble::OneWay => {
                let other = (victim + 1 + self.troubles.index(n - 1)) % n;
                self.cut(Trouble::OneWay, vec![(victim, other)], lasts)
            }
            Trouble::Pair => {
                let other = (victim + 1 + self.troubles.index(n - 1)) % n;
                self.cut(Trouble::Pair, vec![(victim, other), (other, victim)], lasts)
            }
            Trouble::Mute => {
                let other = (victim + 1 + self.troubles.index(n - 1)) % n;
                self.mute(victim, other);
                Ok(())
            }
            Trouble::Crash => self.end(victim, true, Some(lasts)),
            Trouble::Leave => self.end(victim, false, Some(lasts)),
            Trouble::Freeze => self.freeze(victim, lasts, false),
            Trouble::Suspend => self.freeze(victim, 2 * lasts, true),
            Trouble::Jump => {
                let skew = self.plan.skew.max(self.plan.settings.clock_bound / 4);
                self.set_skew(victim, skew)
            }
            Trouble::Astray => {
                let far = self.plan.settings.clock_bound;
                let ahead = self.troubles.chance(500_000);
                let by = self.troubles.between(2 * far, 5 * far) as i64;
                self.note(
                    Some(victim),
                    format!("clock goes astray, {}", if ahead { by } else { -by }),
                );
                self.machines[victim].skew = if ahead { by } else { -by };
                self.schedule(
                    self.now + lasts,
                    Event::Heal(Trouble::Astray, vec![(victim, victim)]),
                );
                self.machines[victim].astray = true;
                Ok(())
            }
            Trouble::Burst => {
                self.note(None, "burst of losses".to_owned());
                self.burst = true;
                self.net.manners.drop = 400_000;
                self.schedule(self.now + lasts, Event::Heal(Trouble::Burst, Vec::new()));
                Ok(())
            }
        }
    }

    pub(super) fn cut(&mut self, trouble: Trouble, pairs: Vec<(usize, usize)>, lasts: u64) -> Step {
        self.note(None, format!("{trouble:?}: cut {pairs:?} for {} ms", lasts / MS));
        for (from, to) in &pairs {
            self.net.cut(*from, *to, true);
        }
        for (from, to) in &pairs {
            self.review(*from, *to);
        }
        self.schedule(self.now + lasts, Event::Heal(trouble, pairs));
        Ok(())
    }

    /// Nothing heals this: a member has to notice.
    fn mute(&mut self, from: usize, to: usize) {
        if !self.net.peek(from, to).up || self.is_impaired(from, to) {
            return;
        }
        let both = self.troubles.chance(300_000);
        self.note(None, format!("mute from m{from} to m{to}, both ways: {both}"));
        self.net.mute(from, to, true);
        self.net.mute(to, from, both);
        let now = self.now;
        let session = self.net.session(from, to);
        session.impaired = Some(now);
        session.end_health(now);
    }

    pub(super) fn heal(&mut self, trouble: Trouble, pairs: &[(usize, usize)]) -> Step {
        self.last_trouble = self.now;
        match trouble {
            Trouble::Astray => {
                for (at, _) in pairs {
                    if std::mem::take(&mut self.machines[*at].astray) {
                        self.set_skew(*at, self.plan.skew)?;
                        self.machines[*at].unsound = self.now;
                    }
                }
            }
            Trouble::Burst => {
                self.note(None, "no burst any more".to_owned());
                self.net.manners.drop = self.plan.manners.drop;
                self.burst = false;
                for machine in &mut self.machines {
                    machine.unsound = self.now;
                }
            }
            _ => {
                self.note(None, format!("healed: {pairs:?}"));
                for (from, to) in pairs {
                    self.net.cut(*from, *to, false);
                }
                for (from, to) in pairs {
                    self.review(*from, *to);
                }
            }
        }
        Ok(())
    }

    /// A wall clock is set to somewhere within a bound.
    fn set_skew(&mut self, at: usize, bound: u64) -> Step {
        let skew = self.troubles.below(2 * bound + 1) as i64 - bound as i64;
        self.note(Some(at), format!("wall clock set: {} ms off", skew / MS as i64));
        self.machines[at].skew = skew;
        Ok(())
    }

    pub(super) fn freeze(&mut self, at: usize, lasts: u64, suspended: bool) -> Step {
        if self.machines[at].is_frozen() || self.machines[at].member.is_none() {
            return Ok(());
        }
        let how = if suspended { "suspended" } else { "frozen" };
        self.note(Some(at), format!("{how} for {} ms", lasts / MS));
        let until = self.now + lasts;
        let machine = &mut self.machines[at];
        (machine.frozen_until, machine.suspended) = (Some(until), suspended);
        machine.unsound = until;
        for peer in 0..self.machines.len() {
            if peer != at {
                self.review(at, peer);
            }
        }
        self.schedule(until, Event::Thaw { at });
        Ok(())
    }

    /// A member crashes or leaves, and perhaps starts again.
    pub(super) fn end(&mut self, at: usize, crash: bool, back_after: Option<u64>) -> Step {
        let others = self.machines.iter().filter(|machine| machine.member.is_some()).count();
        if others < 2
            || self.machines[at].member.is_none()
            || self.machines[at].is_frozen() && !crash
        {
            return Ok(());
        }
        self.last_trouble = self.now;
        self.note(Some(at), if crash { "crashes".to_owned() } else { "leaves".to_owned() });
        if !crash {
            self.machines[at].set_clock(self.now);
            if let Some(member) = self.member(at) {
                member.registry.stop();
            }
            self.carry(at);
        }
        let name = self.machines[at].member.as_ref().map(|member| member.name.clone());
        // Whoever shares a link with it hears of it soon, or has to find out.
        let prompt = !crash || self.troubles.chance(700_000);
        for peer in 0..self.machines.len() {
            if peer == at || !self.net.peek(at, peer).up {
                continue;
            }
            let lease = self.plan.settings.failure_timeout;
            let delay = match prompt && !self.net.any_cut(at, peer) {
                true => self.troubles.between(MS, 9 * MS),
                false => self.troubles.between(lease * 8 / 10, lease * 12 / 10),
            };
            let start = self.machines[peer].starts;
            let gone = self.machines[at].member.as_ref().map(|member| member.incarnation);
            if let Some(peer_gone) = gone.filter(|_| prompt || self.net.manners.notices) {
                let event = Event::LinkDown { at: peer, start, peer: peer_gone };
                self.schedule(self.now + delay, event);
            }
            self.disconnect(at, peer, false);
        }
        if let Some(member) = self.machines[at].member.take() {
            self.bury(member);
        }
        let machine = &mut self.machines[at];
        (machine.frozen_until, machine.suspended) = (None, false);
        machine.inbox.clear();
        if let (Some(after), Some(name)) = (back_after, name)
            && (at == 0 && self.plan.star || !self.troubles.chance(150_000))
        {
            let name = match self.troubles.chance(600_000) {
                true => name,
                false => format!("n{}-{}", self.troubles.below(10), self.machines[at].starts),
            };
            self.schedule(self.now + after, Event::Restart { at, name });
        }
        Ok(())
    }

    /// All is well from now on: cuts heal, clocks are right, everyone who is to run runs.
    pub(super) fn heal_all(&mut self) -> Step {
        self.note(None, "all is well from now on".to_owned());
        self.active = false;
        self.last_trouble = self.now;
        let n = self.machines.len();
        for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
            self.net.cut(a, b, false);
        }
        self.heal(Trouble::Burst, &[])?;
        for at in 0..n {
            self.heal(Trouble::Astray, &[(at, at)])?;
            if self.machines[at].frozen_until.is_some() {
                self.machines[at].frozen_until = Some(self.now);
                self.schedule(self.now, Event::Thaw { at });
            }
        }
        for (a, b) in (0..n).flat_map(|a| (0..a).map(move |b| (a, b))) {
            self.review(a, b);
        }
        Ok(())
    }
}
