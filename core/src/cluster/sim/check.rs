//! What must be true at every step, whatever goes wrong.

use std::collections::{BTreeMap, HashMap};

use super::describe::describe_dumped;
use super::machine::Running;
use super::ops::is_strict;
use super::world::{Event, Step, World};
use super::{MS, rank};
use crate::entry::Entry;
use crate::lock::LockRegister;
use crate::record::Record;
use crate::stamp::Stamp;
use crate::sync::atomic::Ordering;
use crate::table::Dumped;
use crate::watch::EventKind;

/// What a member was last seen to have for a key.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub stamp: Option<Stamp>,
    /// The newest that was ever forgotten.
    pub floor: Option<Stamp>,
    pub live: bool,
    pub exp: u64,
    pub lock: Option<(u64, u128, bool, u64)>,
    /// It is not in the table any more.
    pub forgotten: bool,
    /// Its holder's own view: it holds the lock.
    pub believes: bool,
    /// At which check it was last there.
    pub looked: u64,
}

impl Seen {
    /// Whether nothing is to be learnt from this record.
    fn is_same(&self, record: &Record, lives: bool) -> bool {
        let lock = record.lock();
        let rank = lock.map(LockRegister::rank);
        !self.forgotten
            && (self.stamp, self.live, self.exp, self.lock)
                == (record.stamp(), lives, record.exp(), rank)
    }
}

type Grant = (Vec<u8>, u64, u128);

/// What is known of all members together.
#[derive(Default)]
pub(super) struct Checker {
    /// One stamp, one content.
    contents: BTreeMap<(Vec<u8>, Stamp), (u64, u64)>,
    /// One fence, one holder.
    grants: HashMap<Grant, (u128, Option<String>)>,
    /// The newest fence that a grantor has drawn for a key.
    newest: HashMap<(Vec<u8>, u128), u64>,
    /// Since when two believe in the lock of a key that is not as strict.
    doubles: BTreeMap<Vec<u8>, u64>,
    pub dumps: u64,
}

impl World {
    /// Looks at a member after something has happened to it.
    pub(super) fn observe(&mut self, at: usize) -> Step {
        let (now, wall) = (self.now, self.machines[at].wall(self.now));
        let limit = self.plan.settings.outbox_records as u64;
        let sparse = if self.plan.preload > 0 { 40 } else { 1 };
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        member.checks += 1;
        let minted = member.cluster.minted();
        let (least, most) = (member.users.least, member.users.most);
        if !(least..=most).contains(&minted) {
            return Err(format!(
                "Quiet: m{at} minted {minted} stamps for {least} to {most} mutations"
            ));
        }
        let due = member.checks % (64 * sparse) == 0;
        if due {
            let stats = member.registry.stats().map_err(|error| error.to_string())?;
            if stats.outbox > limit {
                return Err(format!("Bookkeeping: outbox of m{at} holds {}", stats.outbox));
            }
        }
        let root = member.cluster.root();
        if (root == member.checked_root && !due) || (sparse > 1 && member.checks % 16 != 0 && !due)
        {
            return Ok(());
        }
        member.checked_root = root;
        if due {
            let recomputed = member.core.table.recomputed_root();
            if recomputed != root {
                return Err(format!(
                    "Bookkeeping: digest of m{at} is {root:016x}, but its table has {recomputed:016x}"
                ));
            }
            member.core.table.validate();
        }
        drain(member)?;
        self.checks.dumps += 1;
        let incarnation = member.incarnation;
        let (table, checks) = (member.core.table.clone(), member.checks);
        let mut known = 0;
        let dump = table.dump_if(|record, lives| {
            known += 1;
            let Some(seen) = member.seen.get_mut(record.key()) else { return true };
            seen.looked = checks;
            !seen.is_same(record, lives)
        });
        let mut believers: Vec<(Vec<u8>, u64)> = Vec::new();
        let mut followed: Vec<(Vec<u8>, (u64, u128))> = Vec::new();
        for dumped in &dump {
            let before = member.seen.get(&dumped.key).filter(|seen| !seen.forgotten);
            let before = before.and_then(|seen| seen.lock).filter(|(_, _, released, _)| !released);
            if let (Some((fence, grantor, ..)), Some(lock)) = (before, &dumped.lock)
                && lock.grantor == incarnation
                && (fence, grantor) != (lock.fence, lock.grantor)
            {
                followed.push((dumped.key.clone(), (fence, grantor)));
            }
            if compare(at, member, dumped, wall, sparse == 1)? {
                let fence = dumped.lock.as_ref().map_or(0, |lock| lock.fence);
                believers.push((dumped.key.clone(), fence));
            }
        }
        if member.seen.values().filter(|seen| !seen.forgotten).count() > known {
            for (key, seen) in &mut member.seen {
                if seen.forgotten || seen.looked == checks {
                    continue;
                }
                if seen.live && seen.exp > member.max_wall {
                    let key = String::from_utf8_lossy(key);
                    return Err(format!("Monotone: {key} vanished from m{at}: {seen:?}"));
                }
                (seen.forgotten, seen.live, seen.believes) = (true, false, false);
                if written(seen.floor) < written(seen.stamp) {
                    seen.floor = seen.stamp;
                }
            }
        }
        if self.history.is_complete() {
            for dumped in &dump {
                self.history.note(now, Some(at), format!("  has {}", describe_dumped(dumped)));
            }
        }
        self.guards_agree(at)?;
        for dumped in &dump {
            self.checks.learn(at, incarnation, dumped)?;
        }
        for (key, grant) in followed {
            self.nobody_believes_in(at, &key, grant)?;
        }
        for (key, fence) in believers {
            self.fences_grow(at, &key, fence)?;
            self.exclusive(at, &key, now)?;
        }
        Ok(())
    }

    /// Of two grants in which members believed, the later one has the greater fence, whoever granted which; unless
    /// some have been apart.
    fn fences_grow(&mut self, at: usize, key: &[u8], fence: u64) -> Step {
        let all_together = self.all_together();
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        let newest = member.believed.entry(key.to_vec()).or_default();
        if fence <= *newest {
            return Ok(());
        }
        *newest = fence;
        let others = self.machines.iter().filter_map(|machine| machine.member.as_ref());
        let greatest = others.filter_map(|member| member.believed.get(key)).max().copied();
        match greatest.filter(|greatest| *greatest > fence && all_together) {
            Some(greatest) => {
                let key = String::from_utf8_lossy(key);
                Err(format!("Fences: m{at} was granted {key} under {fence}, after {greatest}"))
            }
            None => Ok(()),
        }
    }

    /// Whether all have been in touch with each other until lately, and for long.
    fn all_together(&self) -> bool {
        let running = self.running();
        let timeout = self.plan.settings.failure_timeout;
        let together = |a: usize, b: usize| {
            let session = self.net.peek(a, b);
            let (since, until) = match (session.healthy, session.last_healthy) {
                (Some(since), _) => (since, self.now),
                (None, Some((since, until))) => (since, until),
                (None, None) => return false,
            };
            self.now < until + timeout * 3 / 2 && until >= since + 4 * timeout
        };
        let mut pairs = running.iter().flat_map(|a| running.iter().map(move |b| (*a, *b)));
        let astray = running.iter().any(|at| self.machines[*at].astray);
        !astray && pairs.all(|(a, b)| a == b || together(a, b))
    }

    /// Whoever granted a key knew of the grant before it, and that its holder has stopped to count on it: unless
    /// some have been apart for longer than holders go on to believe, and may have granted it on their own.
    fn nobody_believes_in(&mut self, at: usize, key: &[u8], grant: (u64, u128)) -> Step {
        if !self.all_together() {
            return Ok(());
        }
        for other in self.running().into_iter().filter(|other| *other != at) {
            let Some(dumped) = self.present(other, key) else { continue };
            let incarnation = self.machines[other].member.as_ref().map(|m| m.incarnation);
            let believes = incarnation.is_some_and(|incarnation| believes(&dumped, incarnation));
            let same = dumped.lock.as_ref().is_some_and(|lock| (lock.fence, lock.grantor) == grant);
            if believes && same {
                let key = String::from_utf8_lossy(key);
                return Err(format!(
                    "Exclusion: m{at} granted {key} while m{other} believes in {:?}",
                    dumped.lock
                ));
            }
        }
        Ok(())
    }

    /// The end of a member: what its users hold goes unheard.
    pub(super) fn bury(&mut self, member: Running) {
        member.link.sever();
        drop(member);
    }

    /// A guard that was told nothing still has its lock, give or take a tick.
    fn guards_agree(&mut self, at: usize) -> Step {
        let slack = self.plan.settings.failure_timeout / 5 + 10 * MS;
        let now = self.now.max(self.machines[at].unsound);
        let Some(member) = self.machines[at].member.as_mut() else { return Ok(()) };
        for guarded in &mut member.users.guards {
            let lock = member.core.table.dump_key(guarded.key.as_bytes());
            let lock = lock.and_then(|dumped| dumped.lock);
            let told = guarded.told.load(Ordering::SeqCst);
            let lost = guarded.guard.is_lost();
            if told != u32::from(lost) {
                let key = &guarded.key;
                return Err(format!(
                    "Exclusion: guard of {key} on m{at}: lost {lost}, told {told}"
                ));
            }
            let holds =
                lock.as_ref().is_some_and(|lock| lock.held && lock.fence == guarded.guard.fence());
            if lost || holds {
                guarded.doubt = None;
                continue;
            }
            let since = *guarded.doubt.get_or_insert(now);
            if now.saturating_sub(since) > slack {
                let (key, fence) = (&guarded.key, guarded.guard.fence());
                return Err(format!(
                    "Exclusion: guard of {key} on m{at} under fence {fence} was not told; the table has {lock:?}"
                ));
            }
        }
        Ok(())
    }

    /// Every now and then all believing holders are looked at as they are now: leases end without events.
    pub(super) fn probe(&mut self) -> Step {
        let every = self.plan.settings.failure_timeout / 25;
        let next = self.now + self.random.between(every / 2, every * 3 / 2);
        self.schedule(next, Event::Probe);
        let mut keys: Vec<(usize, Vec<u8>)> = Vec::new();
        for (at, machine) in self.machines.iter().enumerate() {
            let Some(member) = &machine.member else { continue };
            let believed = member.seen.iter().filter(|(_, seen)| seen.believes);
            keys.extend(believed.map(|(key, _)| (at, key.clone())));
        }
        for (at, key) in keys {
            self.exclusive(at, &key, self.now)?;
        }
        Ok(())
    }

    /// What a member has for a key now.
    pub(super) fn present(&mut self, at: usize, key: &[u8]) -> Option<Dumped> {
        self.machines[at].set_clock(self.now);
        let member = self.machines[at].member.as_mut()?;
        let dumped = member.core.table.dump_key(key);
        let incarnation = member.incarnation;
        let believes = dumped.as_ref().is_some_and(|dumped| believes(dumped, incarnation));
        if let Some(seen) = member.seen.get_mut(key) {
            seen.believes = believes;
        }
        dumped
    }

    /// Nobody else who is in touch with a believing holder believes too. Where everybody is in touch with everybody,
    /// its grantor still does not think that the lock is over.
    fn exclusive(&mut self, at: usize, key: &[u8], now: u64) -> Step {
        let Some(own) = self.present(at, key) else { return Ok(()) };
        let Some(incarnation) = self.machines[at].member.as_ref().map(|m| m.incarnation) else {
            return Ok(());
        };
        if !believes(&own, incarnation) {
            return Ok(());
        }
        // What a link carries late is settled late.
        let handover = 4 * self.plan.settings.failure_timeout + 8 * self.plan.manners.backlog;
        let component = self.sound_component(at, handover).unwrap_or_default();
        let mut double = None;
        for other in self.running().into_iter().filter(|other| *other != at) {
            if !self.in_touch(at, other, handover) {
                continue;
            }
            let Some(theirs) = self.present(other, key) else { continue };
            let Some(incarnation) = self.machines[other].member.as_ref().map(|m| m.incarnation)
            else {
                continue;
            };
            if believes(&theirs, incarnation) {
                double = Some((other, theirs));
                break;
            }
            let granted_by_other =
                own.lock.as_ref().is_some_and(|lock| lock.grantor == incarnation);
            let over = |own: &Dumped, theirs: &Dumped| match (&own.lock, &theirs.lock) {
                // A later coordinator may have renewed it since.
                (Some(own), Some(theirs)) => {
                    (own.fence, own.grantor, own.sequence)
                        == (theirs.fence, theirs.grantor, theirs.sequence)
                        && !theirs.held
                }
                _ => false,
            };
            let is_meshed = component.contains(&at) && component.contains(&other);
            if is_meshed && granted_by_other && is_strict(key) && over(&own, &theirs) {
                return Err(format!(
                    "Belief: m{at} still believes in {:?}, which its grantor m{other} takes as over: {:?}",
                    own.lock, theirs.lock
                ));
            }
        }
        let Some((other, theirs)) = double else {
            self.checks.doubles.remove(key);
            return Ok(());
        };
        let since = *self.checks.doubles.entry(key.to_vec()).or_insert(now);
        if is_strict(key) || now - since > handover {
            let key = String::from_utf8_lossy(key);
            return Err(format!(
                "Exclusion: {key} is held on m{at} {:?} and on m{other} {:?}",
                own.lock, theirs.lock
            ));
        }
        Ok(())
    }

    /// Whether a machine has a good clock, is awake, and has been so for that long.
    fn is_sound(&self, at: usize, time: u64) -> bool {
        let machine = &self.machines[at];
        let well = !machine.is_frozen() && !machine.astray && !self.burst;
        well && self.now >= machine.unsound.saturating_add(time)
    }

    /// Whether both have been in touch with each other for that long, whoever else may not be.
    fn in_touch(&self, a: usize, b: usize, time: u64) -> bool {
        let healthy = self.net.peek(a, b).healthy;
        self.is_sound(a, time)
            && self.is_sound(b, time)
            && healthy.is_some_and(|since| self.now >= since.saturating_add(time))
    }

    /// All that a machine can have anything to do with, if they have been in full touch for that long. Those that
    /// have just started are left out: others may crash and come back at any time.
    pub(super) fn sound_component(&self, at: usize, time: u64) -> Option<Vec<usize>> {
        let running = |at: usize| self.machines[at].member.is_some();
        let touch = |a: usize, b: usize| {
            running(a) && running(b) && (self.net.peek(a, b).up || !self.net.any_cut(a, b))
        };
        let mut component = vec![at];
        let mut next = 0;
        while next < component.len() {
            let here = component[next];
            for other in 0..self.machines.len() {
                if other != here && !component.contains(&other) && touch(here, other) {
                    component.push(other);
                }
            }
            next += 1;
        }
        component.retain(|at| self.now >= self.machines[*at].started_at.saturating_add(time));
        let meshed = component.iter().enumerate().all(|(index, a)| {
            self.is_sound(*a, time)
                && component[index + 1..].iter().all(|b| self.in_touch(*a, *b, time))
        });
        meshed.then_some(component)
    }
}

pub(super) fn believes(dumped: &Dumped, incarnation: u128) -> bool {
    dumped.lock.as_ref().is_some_and(|lock| lock.held && lock.member == incarnation)
}

/// Compares what a member has with what it was last seen to have. True: it believes that it holds the lock.
fn compare(
    at: usize,
    member: &mut Running,
    dumped: &Dumped,
    wall: u64,
    sees_all: bool,
) -> Result<bool, String> {
    let name = || String::from_utf8_lossy(&dumped.key);
    let live = dumped.content.is_some();
    let lock = dumped.lock.as_ref().map(rank);
    let believes = believes(dumped, member.incarnation);
    let now = Seen {
        stamp: dumped.stamp,
        floor: None,
        live,
        exp: dumped.exp,
        lock,
        forgotten: false,
        believes,
        looked: member.checks,
    };
    let Some(seen) = member.seen.get_mut(&dumped.key) else {
        member.seen.insert(dumped.key.clone(), now);
        return Ok(believes);
    };
    // Who remembers a grave longer may tell of it once more: but it must not live. With the key its fences
    // are forgotten, so that a later write may have a lower epoch.
    // Between two looks it may have been forgotten, and locked for a value that is to come.
    let newer = sees_all || dumped.stamp.is_some();
    let fell = !seen.forgotten && newer && dumped.stamp < seen.stamp;
    if fell || live && written(dumped.stamp) <= written(seen.floor) && seen.floor.is_some() {
        return Err(format!("Monotone: {} on m{at} was {seen:?}, is {dumped:?}", name()));
    }
    // Between two looks a key may have been forgotten and written anew.
    if !seen.forgotten && lock < seen.lock && (sees_all || lock.is_some()) {
        return Err(format!("Fences: the lock of {} on m{at} was {seen:?}, is {dumped:?}", name()));
    }
    let over = seen.exp <= member.max_wall.max(wall);
    if seen.live && !live && dumped.stamp == seen.stamp && !over {
        return Err(format!("Expiry: {} on m{at} went before its time: {seen:?}", name()));
    }
    *seen = Seen { floor: seen.floor, ..now };
    Ok(believes)
}

/// When and by whom, without the epoch.
fn written(stamp: Option<Stamp>) -> Option<Stamp> {
    stamp.map(|stamp| Stamp { epoch: 0, ..stamp })
}

/// Takes a member's events: everything that has expired is told once.
pub(super) fn drain(member: &mut Running) -> Step {
    while let Some(event) = member.watch.try_next() {
        member.events += 1;
        if event.kind() == EventKind::Lagged {
            return Err("Bookkeeping: events were lost from a queue with room".to_owned());
        }
        let Some(entry) = event.entry().filter(|_| event.kind() == EventKind::Expire) else {
            continue;
        };
        let of = |entry: &Entry| (entry.key_bytes().to_vec(), entry.version().to_string());
        let count = member.expired.entry(of(entry)).or_default();
        *count += 1;
        if *count > 1 {
            let key = entry.key();
            return Err(format!("Expiry: {} told twice that {key} has expired", member.name));
        }
    }
    Ok(())
}

impl Checker {
    fn learn(&mut self, at: usize, incarnation: u128, dumped: &Dumped) -> Step {
        let name = || String::from_utf8_lossy(&dumped.key).into_owned();
        if let (Some(stamp), Some(content)) = (dumped.stamp, &dumped.content) {
            let content = (xxhash_rust::xxh3::xxh3_64(content), dumped.exp);
            let known = self.contents.entry((dumped.key.clone(), stamp)).or_insert(content);
            if *known != content {
                return Err(format!(
                    "Unique: {} on m{at} has other content under one stamp: {dumped:?}, known with exp {}",
                    name(),
                    known.1
                ));
            }
        }
        let Some(lock) = &dumped.lock else { return Ok(()) };
        let holder = (lock.member, lock.owner.clone());
        let grant = (dumped.key.clone(), lock.fence, lock.grantor);
        let known = self.grants.entry(grant).or_insert_with(|| holder.clone());
        if *known != holder {
            return Err(format!(
                "Fences: fence {} of {} on m{at} has two holders: {holder:?}, {known:?}",
                lock.fence,
                name()
            ));
        }
        if lock.grantor == incarnation {
            let newest = self.newest.entry((dumped.key.clone(), incarnation)).or_default();
            if lock.fence < *newest {
                return Err(format!(
                    "Fences: m{at} granted {} under {} after {newest}",
                    name(),
                    lock.fence
                ));
            }
            *newest = lock.fence;
        }
        Ok(())
    }
}
