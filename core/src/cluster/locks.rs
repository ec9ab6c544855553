//! Locks across members. One of them, the coordinator, says who has a key. It grants only in its own term, which
//! it opens by asking every other member for the locks it holds and for the promise to follow no lower term.

mod asking;
mod granting;

use std::collections::{BTreeMap, HashMap, VecDeque};

pub(crate) use self::asking::Ask;
use self::asking::{Stage, conclude};
pub(crate) use self::granting::Decided;
use self::granting::Request;
use super::messages::Term;
use super::records::Batch;
use super::repair::NO_ROUND;
use super::state::{Cx, State, Todo};
use crate::lock::{LockRegister, LockState};
use crate::record::Record;
use crate::table::mutation::Wait;

/// A lock of which its holder has told.
pub(crate) struct Held {
    pub key: Box<[u8]>,
    /// Fence and grantor.
    pub grant: (u64, u128),
}

impl Held {
    fn is_ended_by(&self, known: &LockRegister) -> bool {
        let is_same = known.grant() == self.grant;
        known.grant() > self.grant || is_same && known.state == LockState::Released
    }
}

#[derive(Default)]
pub(crate) struct Locks {
    asks: BTreeMap<u64, Ask>,
    requests: BTreeMap<(u128, u64), Request>,
    /// The highest term this member has promised to follow.
    promised: Term,
    /// This member's own term, while it is the coordinator.
    term: Option<Term>,
    open: bool,
    asked_at: u64,
    /// When the last term of this member began.
    opened_at: u64,
    /// Since when this member has been the coordinator, in its own eyes.
    leads_since: Option<u64>,
    highest_clock: u64,
    taken: Taken,
}

/// How many asks are remembered at least whose grants were taken.
const TAKEN: usize = 4096;

/// Asks whose grants were taken: an answer may come twice.
#[derive(Default)]
struct Taken {
    /// Fence and grantor.
    grants: HashMap<u64, (u64, u128)>,
    /// When each was taken.
    order: VecDeque<(u64, u64)>,
}

impl Taken {
    /// `age`: how long messages may be on their way.
    fn insert(&mut self, id: u64, grant: (u64, u128), now: u64, age: u64) {
        self.grants.insert(id, grant);
        self.order.push_back((id, now));
        let is_over = |(_, at): &(u64, u64)| now.saturating_sub(*at) > age;
        while self.order.len() > TAKEN && self.order.front().is_some_and(is_over) {
            let over = self.order.pop_front();
            over.map(|(id, _)| self.grants.remove(&id));
        }
    }

    fn has(&self, id: u64, grant: (u64, u128)) -> bool {
        self.grants.get(&id) == Some(&grant)
    }
}

impl State {
    /// Whoever has slept for long may not be who decides any more, and learns that first.
    fn look_up_from_sleep(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        if cx.now.mono >= cx.table.member.until() {
            self.look_at_coordinator(cx, todo);
        }
    }

    pub(super) fn set_term(&mut self, cx: &Cx<'_>, term: Option<Term>) {
        self.locks.term = term;
        cx.replication.set_leading(term.is_some());
    }

    /// Whether this member is the coordinator and may grant; if not, nobody waits in its table.
    pub fn look_at_coordinator(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let own = cx.own();
        // Nobody grants what it would not believe in itself.
        self.look_at_contact(cx, todo);
        let leads = self.coordinator(cx) == Some(own);
        let leads_since = leads.then(|| self.locks.leads_since.unwrap_or(cx.now.mono));
        self.locks.leads_since = leads_since;
        let is_awake = cx.now.mono < cx.table.member.until();
        let Some(leads_since) = leads_since.filter(|_| is_awake) else {
            self.set_term(cx, None);
            self.close_gate(cx, todo);
            return;
        };
        let overruled = self.locks.term.is_none_or(|term| term < self.locks.promised);
        if overruled && cx.now.mono < self.locks.opened_at + cx.settings.beat() {
            // Somebody else thinks the same of himself: who of us is right, the next heartbeats tell.
            self.close_gate(cx, todo);
            return;
        }
        if overruled {
            self.locks.opened_at = cx.now.mono;
            let clock = cx
                .now
                .wall
                .max(self.locks.promised.clock.saturating_add(1))
                .max(self.locks.highest_clock);
            let term = Term { clock, coordinator: own };
            self.locks.highest_clock = clock.saturating_add(1);
            self.locks.promised = term;
            self.set_term(cx, Some(term));
            self.locks.asked_at = 0;
        }
        let Some(term) = self.locks.term else { return };
        let awaited = |peer: &&super::peers::Peer| !peer.freed && peer.answered != Some(term);
        let awaited: Vec<u128> =
            self.peers.all.values().filter(awaited).map(|peer| peer.member.incarnation).collect();
        let is_answered = awaited.is_empty() && !self.awaits_unreached(cx, leads_since);
        if !awaited.is_empty() {
            let new = self.peers.all.values().any(|peer| peer.live && peer.answered.is_none());
            if new || cx.now.mono.saturating_sub(self.locks.asked_at) >= cx.settings.beat() {
                self.locks.asked_at = cx.now.mono;
                for member in &awaited {
                    todo.member(*member, cx.writer().term_open(term));
                }
            }
        }
        let may_open = is_answered && !self.depose(cx, term, todo);
        if !may_open && !cx.settings.faults.term_not_awaited {
            self.close_gate(cx, todo);
        }
        if (may_open || cx.settings.faults.term_not_awaited) && !self.locks.open {
            self.locks.open = true;
            for peer in self.peers.all.values().filter(|peer| !peer.freed) {
                peer.member.set_informed(self.locks.opened_at);
            }
            self.decide_all(cx, todo);
        }
    }

    /// These held locks until word came here of higher fences; nothing is granted until they know it, too.
    pub fn on_deposed(&mut self, cx: &Cx<'_>, members: &[u128], todo: &mut Todo) {
        if self.locks.term.is_some() && members.iter().any(|m| self.peers.all.contains_key(m)) {
            // What was granted and answered in this term and is still on its way counts no more.
            self.set_term(cx, None);
            self.look_at_coordinator(cx, todo);
        }
    }

    /// Who has told of a lock that is over, by a higher fence of which word has not come there, learns of that and
    /// answers anew: else he would go on to believe in it. True: there was somebody.
    fn depose(&mut self, cx: &Cx<'_>, term: Term, todo: &mut Todo) -> bool {
        let mut deposed = false;
        for (member, peer) in &mut self.peers.all {
            let mut news = Batch::default();
            for held in std::mem::take(&mut peer.held) {
                let known = cx.table.known(&held.key);
                let lock = known.as_ref().and_then(|record| record.lock());
                if let Some(lock) = lock.filter(|lock| held.is_ended_by(lock)) {
                    let of = cx.table.member.clone();
                    news.push(&Record::lock_only(&held.key, of, lock.clone()), cx.now);
                }
            }
            if news.len() > 0 && !cx.settings.faults.deposed_untold {
                peer.answered = None;
                todo.member(*member, cx.writer().repair_records(NO_ROUND, None, true, &[], &news));
                todo.member(*member, cx.writer().term_open(term));
                deposed = true;
            }
        }
        deposed
    }

    /// Everyone who waited for the term to open, in order of arrival.
    fn decide_all(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let mut requests: Vec<(u64, u128, u64)> = Vec::new();
        let own = self.locks.asks.iter().map(|(id, ask)| (ask.wait_id, cx.own(), *id));
        requests.extend(own);
        let others = self.locks.requests.iter();
        requests.extend(others.map(|((from, id), request)| (request.wait_id, *from, *id)));
        requests.sort_unstable();
        for (_, from, id) in requests {
            match from == cx.own() {
                true => self.pursue(cx, id, todo),
                false => self.decide_for(cx, from, id, todo),
            }
        }
    }

    /// Takes everyone out of the table's queues: it must not grant anything by itself now.
    pub(super) fn close_gate(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        if !std::mem::take(&mut self.locks.open) {
            return;
        }
        for ask in self.locks.asks.values_mut() {
            if let (Stage::Here, Some(outcome)) = (ask.stage, &ask.outcome) {
                let wait = Wait { id: ask.wait_id, deadline: ask.deadline, outcome };
                if cx.table.cancel(&ask.key, wait) {
                    ask.stage = Stage::Idle;
                }
            }
        }
        // Those that could not be taken out are decided.
        self.locks.asks.retain(|_, ask| ask.stage != Stage::Here);
        let queued: Vec<(u128, u64)> =
            self.locks.requests.iter().filter(|(_, r)| r.queued).map(|(at, _)| *at).collect();
        for (from, id) in queued {
            let Some(request) = self.locks.requests.get_mut(&(from, id)) else { continue };
            let outcome = request.outcome.clone();
            let wait = Wait { id: request.wait_id, deadline: request.deadline, outcome: &outcome };
            if cx.table.cancel(&request.ask.key, wait) {
                request.queued = false;
            } else if let Some(result) = outcome.take() {
                self.answer(cx, from, id, result, todo);
            }
        }
    }

    /// Somebody begins a term as coordinator.
    pub fn on_term_open(&mut self, cx: &Cx<'_>, from: u128, term: Term, todo: &mut Todo) {
        if term.coordinator != from || !self.peers.all.contains_key(&from) {
            return;
        }
        if term > self.locks.promised {
            self.locks.promised = term;
            // Whatever this member grants from now on would be of a lower term.
            self.close_gate(cx, todo);
        }
        let mut locks = Batch::default();
        if term == self.locks.promised {
            for record in cx.table.locked_by(cx.own(), LockState::Held) {
                let believed = record.held_until() > cx.now.mono;
                if let Some(lock) = record.lock().filter(|_| believed) {
                    let only =
                        Record::lock_only(record.key(), cx.table.member.clone(), lock.clone());
                    locks.push(&only, cx.now);
                }
            }
        }
        let (terms, newest) =
            ((term, self.locks.promised), cx.replication.newest_fence(cx.now.wall));
        todo.member(from, cx.writer().term_answer(terms, newest, &locks));
        self.look_at_coordinator(cx, todo);
    }

    /// A member follows this one's term, or a higher one; its locks are in the table already.
    pub fn on_term_answer(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        (term, promised): (Term, Term),
        held: Vec<Held>,
        todo: &mut Todo,
    ) {
        self.locks.highest_clock = self.locks.highest_clock.max(promised.clock.saturating_add(1));
        if promised == term {
            if let Some(peer) = self.peers.all.get_mut(&from) {
                (peer.answered, peer.held) = (Some(term), held);
            }
        } else if self.locks.term == Some(term) {
            self.hearsay.has_led(promised.coordinator, cx.now.mono);
            self.set_term(cx, None);
            self.close_gate(cx, todo);
        }
        self.look_at_coordinator(cx, todo);
    }

    /// Nobody will be granted anything any more.
    pub fn drop_asks(&mut self, todo: &mut Todo) {
        for ask in std::mem::take(&mut self.locks.asks).into_values() {
            conclude(ask.outcome, Err(crate::table::shard::stopped()), todo);
        }
        self.locks.requests.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{TAKEN, Taken};

    #[test]
    fn what_was_taken_last_is_known_whatever_its_number() {
        let mut taken = Taken::default();
        let many = 2 * TAKEN as u64;
        for id in 100..100 + many {
            taken.insert(id, (id, 1), id, 10);
        }
        taken.insert(5, (5, 1), 100 + many, 10);
        assert!(taken.has(5, (5, 1)), "an old ask was granted late");
        assert!(!taken.has(5, (6, 1)), "another grant");
        assert!(!taken.has(100, (100, 1)), "it is long over");
        assert_eq!((taken.grants.len(), taken.order.len()), (TAKEN, TAKEN));
    }

    #[test]
    fn what_may_still_come_twice_is_not_forgotten() {
        let mut taken = Taken::default();
        for id in 0..2 * TAKEN as u64 {
            taken.insert(id, (id, 1), 7, 10);
        }
        assert!(taken.has(0, (0, 1)));
    }
}
