//! Who else is there: heartbeats, failure detection, clocks, and who of all is the coordinator.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::link::Dial;
use super::locks::Held;
use super::messages::{Header, Heartbeat, Term};
use super::state::{Admission, Cx, State, Todo};
use super::wire::MAX_MEMBERS;
use crate::member::Member;
use crate::members::MemberState;
use crate::sync::atomic::Ordering;
use crate::watch::Event;

const OFFSETS: usize = 8;
/// How many of its own heartbeats a member remembers to know when it sent them.
const BEATS: usize = 64;

/// How many of those are remembered that have been away for too long.
const LONG_GONE: usize = 4096;

/// Another member.
pub(crate) struct Peer {
    pub member: Arc<Member>,
    pub endpoints: Vec<String>,
    pub synced: bool,
    pub admitted: bool,
    /// Its clock is too far from the others'.
    refusing: bool,
    pub left: bool,
    /// Its link was seen to close, and nothing was heard of it since.
    pub unlinked: bool,
    pub heard_at: u64,
    /// Since when it has never been silent for long.
    speaks_since: u64,
    first_heard: u64,
    /// The number of its last heartbeat.
    pub beat: u64,
    /// When this member sent the newest heartbeat that the peer is known to have heard.
    pub echoed_at: u64,
    /// The same, of heartbeats of its that named this member as the one that leads.
    pub followed_at: u64,
    /// Whom its last heartbeat named, if it has touch with that one.
    pub follows: Option<u128>,
    offsets: VecDeque<i64>,
    /// How many records it says it has sent; and as it said one heartbeat before.
    pub sent: u64,
    pub sent_before: u64,
    /// The number of the next record of its that is to come; none: nothing was heard yet.
    pub next: Option<u64>,
    pub root: Option<u64>,
    /// It is there and hears this member.
    pub live: bool,
    /// Its last heartbeat when it ceased to be.
    pub lost_at_beat: u64,
    /// It has been silent for so long that it does not believe in its locks any more.
    pub freed: bool,
    /// What it says of itself: everyone it remembers had all that had ended before this time.
    pub settled: u64,
    /// When both tables were last known to be equal: on the monotonic and the wall clock.
    pub agreed: Option<(u64, u64)>,
    /// When it was known to be so, at some distance from each other, the first before all that matters.
    agreements: VecDeque<u64>,
    pub differs_since: Option<u64>,
    /// Something of it was missed.
    pub missed: bool,
    pub next_repair: u64,
    pub back_off: u64,
    /// It follows this term, and has told its locks.
    pub answered: Option<Term>,
    /// Which, until the term is open.
    pub held: Vec<Held>,
    pub dialled_at: u64,
    shown: Option<MemberState>,
}

impl Peer {
    fn new(member: Arc<Member>, now: u64) -> Peer {
        // One that was away for very long is believed in again as soon as it is there.
        let freed = member.until() == 0;
        Peer {
            member,
            endpoints: Vec::new(),
            synced: false,
            admitted: false,
            refusing: false,
            left: false,
            unlinked: false,
            heard_at: now,
            speaks_since: now,
            first_heard: now,
            beat: 0,
            echoed_at: 0,
            followed_at: 0,
            follows: None,
            offsets: VecDeque::new(),
            sent: 0,
            sent_before: 0,
            next: None,
            root: None,
            live: false,
            lost_at_beat: 0,
            freed,
            settled: 0,
            agreed: None,
            agreements: VecDeque::new(),
            differs_since: None,
            missed: true,
            next_repair: 0,
            back_off: 0,
            answered: None,
            held: Vec::new(),
            dialled_at: now,
            shown: None,
        }
    }

    pub fn state(&self) -> MemberState {
        match self {
            Peer { left: true, .. } => MemberState::Left,
            Peer { live: false, .. } => MemberState::Down,
            Peer { synced: true, .. } => MemberState::Live,
            _ => MemberState::Joining,
        }
    }

    fn hear(&mut self, now: u64, patience: u64) {
        if self.silent(now) > patience {
            self.speaks_since = now;
        }
        (self.heard_at, self.unlinked) = (now, false);
    }

    /// For how long nothing was heard of it.
    fn silent(&self, now: u64) -> u64 {
        now.saturating_sub(self.heard_at)
    }

    /// For how long it is not known to have heard this member.
    fn deaf(&self, now: u64) -> u64 {
        now.saturating_sub(self.echoed_at.max(self.first_heard))
    }

    /// Both tables had the same of what there was then.
    pub fn agree(&mut self, mono: u64, wall: u64, age: u64) {
        if self.agreed.is_some_and(|(known, _)| known >= mono) {
            return;
        }
        self.agreed = Some((mono, wall));
        if self.agreements.back().is_none_or(|last| mono.saturating_sub(*last) >= age / 8) {
            self.agreements.push_back(mono);
        }
        let before = mono.saturating_sub(age);
        while self.agreements.get(1).is_some_and(|second| *second <= before) {
            self.agreements.pop_front();
        }
    }

    /// The last time when both tables were equal that is so long ago; what was said before it is over.
    pub fn agreed_then(&self, now: u64, age: u64) -> u64 {
        let then = self.agreements.iter().rev().find(|at| **at <= now.saturating_sub(age));
        then.copied().unwrap_or_default()
    }

    /// Records it has announced and this member has not applied.
    pub fn lag(&self) -> u64 {
        self.sent.saturating_add(1).saturating_sub(self.next.unwrap_or(1))
    }

    /// It has everything, and a clock to decide by.
    pub fn may_lead(&self) -> bool {
        self.live && self.synced && !self.refusing
    }

    /// How far its clock is ahead. Delay makes it seem behind, so the largest is the best.
    pub fn offset(&self) -> Option<i64> {
        self.offsets.iter().max().copied()
    }
}

/// All other members, and what this one tells them of itself.
#[derive(Default)]
pub(crate) struct Peers {
    pub all: BTreeMap<u128, Peer>,
    pub beat: u64,
    /// When those agreed with this one that have been away for too long to be remembered otherwise.
    agreed: BTreeMap<u128, (u64, u64)>,
    beats: VecDeque<(u64, u64)>,
    next_beat: u64,
    pub beat_now: bool,
    /// Until when this member may believe in its locks by its last contact; it may have been alone since.
    pub(super) contact_until: u64,
    /// Who leads, as the others were told last.
    named: Option<u128>,
    /// How far this member's clock is from the lower median of all, in nanoseconds.
    pub clock_offset: i64,
    /// Others know them and this member has not met them; when it dials them next.
    unmet: BTreeMap<u128, u64>,
    /// Named in records and never heard, and since when: many died before this member came.
    strangers: Vec<(Arc<Member>, u64)>,
}

impl Peers {
    pub fn live(&self) -> impl Iterator<Item = &Peer> {
        self.all.values().filter(|peer| peer.live)
    }

    pub fn get_live(&self, incarnation: u128) -> Option<&Peer> {
        self.all.get(&incarnation).filter(|peer| peer.live)
    }

    /// When this one's table was last known to equal that member's, on the monotonic and the wall clock.
    pub fn agreed_with(&self, incarnation: u128) -> Option<(u64, u64)> {
        match self.all.get(&incarnation) {
            Some(peer) => peer.agreed,
            // It is back, and its first heartbeat still on its way.
            None => self.agreed.get(&incarnation).copied(),
        }
    }

    fn remove(&mut self, member: u128) {
        let Some(peer) = self.all.remove(&member) else { return };
        // Should they meet again, it matters what both had when they last agreed.
        if let Some(when) = peer.agreed.filter(|_| !peer.left) {
            self.agreed.insert(member, when);
        }
        while self.agreed.len() > LONG_GONE {
            let oldest =
                self.agreed.iter().min_by_key(|(_, when)| **when).map(|(member, _)| *member);
            oldest.map(|member| self.agreed.remove(&member));
        }
    }

    /// Room for one more: whoever has been away for longest goes. False: all may be there.
    fn make_room(&mut self) -> bool {
        if self.all.len() < MAX_MEMBERS {
            return true;
        }
        let away = self.all.values().filter(|peer| !peer.live && peer.freed);
        let oldest = away.min_by_key(|peer| (!peer.left, peer.heard_at));
        let Some(oldest) = oldest.map(|peer| peer.member.incarnation) else { return false };
        self.remove(oldest);
        true
    }

    /// One of those that are there, each in its turn.
    fn friend(&self) -> Option<(u128, Vec<String>)> {
        let live = self.live().count().max(1);
        let peer = self.live().nth(self.beat as usize % live)?;
        Some((peer.member.incarnation, peer.endpoints.clone()))
    }

    fn sent_at(&self, number: u64) -> Option<u64> {
        let sent = self.beats.iter().find(|(known, _)| *known == number);
        sent.map(|(_, at)| *at)
    }
}

impl State {
    /// Whoever speaks is there.
    pub fn hear(&mut self, cx: &Cx<'_>, from: u128) {
        if let Some(peer) = self.peers.all.get_mut(&from) {
            peer.hear(cx.now.mono, cx.settings.patience());
        }
    }

    pub fn on_heartbeat(&mut self, cx: &Cx<'_>, header: Header, beat: Heartbeat, todo: &mut Todo) {
        let now = cx.now.mono;
        let is_new = !self.peers.all.contains_key(&header.from);
        if is_new && !self.peers.make_room() {
            return;
        }
        if is_new {
            let member = cx.names.member(header.from, &beat.name);
            let mut peer = Peer::new(member, now);
            // One that was taken for dead before it was ever heard.
            peer.freed = peer.member.until() == 0;
            // What it sent before is found by comparing.
            (peer.next, peer.sent) = (Some(beat.sent.saturating_add(1)), beat.sent);
            peer.agreed = self.peers.agreed.remove(&header.from);
            self.peers.all.insert(header.from, peer);
            self.peers.beat_now = true;
        }
        let own = cx.table.member.incarnation;
        let echoed = beat.heard.iter().find(|(member, _)| *member == own).map(|(_, n)| *n);
        let echoed_at = echoed.and_then(|number| self.peers.sent_at(number));
        let round_trip_bound = cx.settings.beat() + cx.settings.clock_bound / 5;
        let root = cx.replication.root();
        let Some(peer) = self.peers.all.get_mut(&header.from) else { return };
        if beat.number <= peer.beat || peer.left {
            return;
        }
        peer.beat = beat.number;
        peer.hear(now, cx.settings.patience());
        peer.settled = beat.settled;
        self.hear_of_others(cx, &beat);
        if let Some((member, endpoints)) = beat.friend {
            self.meet(cx, member, endpoints, todo);
        }
        let Some(peer) = self.peers.all.get_mut(&header.from) else { return };
        (peer.endpoints, peer.admitted) = (beat.endpoints, beat.admitted);
        peer.refusing = beat.refusing;
        peer.follows = beat.leader.filter(|leader| leader.direct).map(|leader| leader.member);
        if peer.synced != beat.synced {
            peer.synced = beat.synced;
            self.peers.beat_now = true;
        }
        if let Some(at) = echoed_at {
            peer.echoed_at = peer.echoed_at.max(at);
            if peer.follows == Some(own) {
                peer.followed_at = peer.followed_at.max(at);
            }
            if now - at <= round_trip_bound {
                peer.offsets.push_back((header.wall as i64).wrapping_sub(cx.now.wall as i64));
                keep_last(&mut peer.offsets, OFFSETS);
            }
        }
        if peer.next.is_some_and(|next| next <= peer.sent_before) {
            // Told of a heartbeat ago, and still not here.
            peer.next = Some(peer.sent_before.saturating_add(1));
            peer.missed = true;
        }
        (peer.sent_before, peer.sent) = (peer.sent, beat.sent.max(peer.sent));
        peer.root = Some(beat.root);
        if beat.root == root {
            peer.agree(now, cx.now.wall, cx.settings.max_message_age);
            (peer.differs_since, peer.back_off) = (None, 0);
            // Whatever it has told is in both.
            peer.next = Some(peer.next.unwrap_or(1).max(beat.sent.saturating_add(1)));
            peer.missed = false;
        } else if peer.differs_since.is_none() {
            peer.differs_since = Some(now);
        }
        self.look_at_members(cx, todo);
        if self.sync.is_synced() {
            // Who is back gets what it has missed at once.
            self.look_at_sync(cx, todo);
        }
    }

    /// Dials a member that another one knows and this one does not: the engine tries that once at most.
    fn meet(&mut self, cx: &Cx<'_>, member: u128, endpoints: Vec<String>, todo: &mut Todo) {
        let (now, pause) = (cx.now.mono, cx.settings.failure_timeout);
        if member == cx.own() || self.peers.all.contains_key(&member) {
            self.peers.unmet.remove(&member);
            return;
        }
        self.peers.unmet.retain(|_, next| now.saturating_sub(*next) <= 8 * pause);
        match self.peers.unmet.get_mut(&member) {
            // Links that are just being made need a moment.
            None => {
                self.peers.unmet.insert(member, now + cx.settings.meet_after);
            }
            Some(next) if now >= *next => {
                *next = now + pause;
                todo.dials.push(Dial { member, endpoints, anew: true });
            }
            Some(_) => {}
        }
    }

    pub fn on_bye(&mut self, cx: &Cx<'_>, from: u128, todo: &mut Todo) {
        if let Some(peer) = self.peers.all.get_mut(&from) {
            peer.left = true;
        }
        self.look_at_members(cx, todo);
    }

    pub fn on_link_down(&mut self, cx: &Cx<'_>, from: u128, todo: &mut Todo) {
        if let Some(peer) = self.peers.all.get_mut(&from) {
            peer.unlinked = true;
        }
        self.look_at_members(cx, todo);
    }

    /// Draws the conclusions from who was heard when.
    pub fn look_at_members(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let (now, settings) = (cx.now.mono, cx.settings);
        let timeout = settings.failure_timeout;
        let mut changed = false;
        for peer in self.peers.all.values_mut() {
            let silent = peer.silent(now);
            let live =
                !peer.left && !peer.unlinked && silent <= timeout && peer.deaf(now) <= 2 * timeout;
            if live != peer.live {
                peer.live = live;
                changed = true;
                if live {
                    // Whatever it was granted meanwhile, and by whom: it has to answer anew. As long as it is gone,
                    // what it held counts as held, and it is granted nothing.
                    (peer.answered, peer.held) = (None, Vec::new());
                    peer.missed = true;
                } else {
                    peer.lost_at_beat = peer.beat;
                    peer.differs_since = None;
                }
            }
            let patience = if settings.faults.free_early { 0 } else { settings.patience() };
            // It has spoken for long and not heard this member: it has lost touch, as if it were silent.
            let speaks = now.saturating_sub(peer.speaks_since) >= patience;
            let is_deaf = speaks && peer.deaf(now) >= 2 * patience;
            let freed = !live && (peer.left || is_deaf || silent >= patience);
            if freed != peer.freed {
                peer.freed = freed;
                (peer.answered, peer.held) = (None, Vec::new());
                peer.member.set_until(if freed { 0 } else { u64::MAX });
                let incarnation = peer.member.incarnation;
                // At once: whoever is granted a lock next, it must not be one that counts again.
                todo.follow_ups.extend(match freed {
                    true => cx.table.end_locks_of(&BTreeSet::from([incarnation])),
                    false => cx.table.revive_locks_of(incarnation),
                });
            }
            let state = peer.state();
            if peer.shown != Some(state) {
                peer.shown = Some(state);
                changed = true;
                todo.events.push(Event::member(&peer.member.name, state));
            }
        }
        if changed {
            self.look_at_owners(cx, todo);
            self.look_at_coordinator(cx, todo);
        }
        let leader = self.leads(cx).map(|(leader, _)| leader);
        if std::mem::replace(&mut self.peers.named, leader) != leader && !self.left {
            // Whoever leads next waits for everyone's word of it.
            self.peers.beat_now = true;
            self.beat(cx, todo);
        }
    }

    /// Who is named in a record and stays silent holds no lock, or nobody could ever take it here.
    pub fn look_at_strangers(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let now = cx.now.mono;
        let fresh = cx.names.take_fresh().into_iter().map(|member| (member, now));
        self.peers.strangers.extend(fresh);
        let Peers { all, strangers, .. } = &mut self.peers;
        let mut silent = BTreeSet::new();
        let before = strangers.len();
        strangers.retain(|(member, since)| {
            if all.contains_key(&member.incarnation) {
                return false;
            }
            let is_silent = now.saturating_sub(*since) >= cx.settings.patience();
            if is_silent {
                member.set_until(0);
                silent.insert(member.incarnation);
            }
            !is_silent
        });
        if !silent.is_empty() {
            // There may be many, and the table is large.
            todo.follow_ups.extend(cx.table.end_locks_of(&silent));
        }
        if strangers.len() < before {
            // Somebody may wait for what one of them was thought to believe in.
            self.close_gate(cx, todo);
        }
    }

    /// Whose entries belong to whom.
    fn look_at_owners(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let own = &cx.table.member;
        let there: BTreeSet<&str> =
            self.peers.live().map(|peer| &*peer.member.name).chain([&*own.name]).collect();
        let heir: Arc<str> = Arc::from(there.first().copied().unwrap_or(&own.name));
        let passes = cx.table.set_heir(heir.clone());
        let names: BTreeSet<&str> =
            self.peers.all.values().map(|peer| &*peer.member.name).collect();
        let mut told = BTreeSet::new();
        for name in names {
            let is_there = there.contains(name);
            if cx.names.set_named(name, is_there) {
                let owner = if is_there { name } else { &*heir };
                todo.events.push(Event::owner_passed(name, owner));
                told.insert(name);
            }
        }
        // Whoever joins has nothing before that could pass.
        for name in cx.names.absent().iter().filter(|_| passes && self.sync.is_synced()) {
            if !told.contains(&**name) {
                todo.events.push(Event::owner_passed(name, &heir));
            }
        }
    }

    /// Who decides about locks, if this member has touch with it.
    pub fn coordinator(&self, cx: &Cx<'_>) -> Option<u128> {
        self.leads(cx).filter(|(_, direct)| *direct).map(|(leader, _)| leader)
    }

    /// Whether this member's clock is too far from the others'.
    pub fn look_at_clock(&mut self, cx: &Cx<'_>) {
        let mut offsets: Vec<i64> = self.peers.live().filter_map(Peer::offset).collect();
        offsets.push(0);
        offsets.sort_unstable();
        let median = offsets[(offsets.len() - 1) / 2];
        self.peers.clock_offset = median.saturating_neg();
        // Who is at the bound does not change its mind with every heartbeat.
        let refusing = cx.replication.is_refusing();
        let slack = if refusing { cx.settings.clock_bound / 10 } else { 0 };
        let refuse = median.unsigned_abs() > cx.settings.clock_bound - slack;
        if refuse != refusing {
            cx.replication.refuse(refuse);
            // Somebody else decides about locks, or this member again.
            self.peers.beat_now = true;
        }
    }

    /// Tells everyone that this member is there, if it is time.
    pub fn beat(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let now = cx.now.mono;
        if now < self.peers.next_beat && !std::mem::take(&mut self.peers.beat_now) {
            return;
        }
        self.peers.beat_now = false;
        self.peers.next_beat = now + cx.settings.beat();
        self.peers.beat += 1;
        self.peers.beats.push_back((self.peers.beat, now));
        keep_last(&mut self.peers.beats, BEATS);
        let lately = |peer: &&Peer| !peer.left && peer.silent(now) <= cx.settings.patience();
        let heard = self.peers.all.values().filter(lately);
        let beat = Heartbeat {
            name: cx.table.member.name.to_string(),
            endpoints: cx.link.endpoints(),
            synced: self.sync.is_synced(),
            admitted: self.admission == Admission::Admitted,
            refusing: cx.replication.is_refusing(),
            number: self.peers.beat,
            sent: cx.sent.load(Ordering::SeqCst),
            root: cx.replication.root(),
            entries: cx.table.known_len() as u64,
            heard: heard.map(|peer| (peer.member.incarnation, peer.beat)).collect(),
            settled: self.settled(cx),
            friend: self.peers.friend(),
            leader: self.leader(cx),
        };
        todo.everyone(cx.writer().heartbeat(&beat));
    }

    /// Dials again who should be there, and forgets who has been away for too long.
    pub fn look_after_links(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let now = cx.now.mono;
        let (timeout, remember) = (cx.settings.failure_timeout, cx.settings.remember);
        let all = self.peers.all.iter();
        let over = all.filter(|(_, peer)| !peer.live && peer.silent(now) > remember);
        let over: Vec<u128> = over.map(|(member, _)| *member).collect();
        over.into_iter().for_each(|member| self.peers.remove(member));
        for peer in self.peers.all.values_mut().filter(|peer| !peer.live && !peer.left) {
            let silent = peer.silent(now);
            if now.saturating_sub(peer.dialled_at) >= (silent / 8).clamp(timeout, 4 * timeout) {
                peer.dialled_at = now;
                todo.dials.push(Dial {
                    member: peer.member.incarnation,
                    endpoints: peer.endpoints.clone(),
                    // A link that is merely slow gets time to bring what is on it.
                    anew: silent > 2 * timeout || peer.deaf(now) > 3 * timeout,
                });
            }
        }
    }

    /// A live member of the same name that was there before this one.
    pub fn namesake(&self, cx: &Cx<'_>) -> Option<&Peer> {
        let own = &cx.table.member;
        let before = |peer: &&Peer| peer.admitted || peer.member.incarnation < own.incarnation;
        self.peers.live().filter(|peer| peer.member.name == own.name).find(before)
    }
}

/// Keeps the newest.
fn keep_last<T>(all: &mut VecDeque<T>, most: usize) {
    while all.len() > most {
        all.pop_front();
    }
}
