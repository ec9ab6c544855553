//! Locks across members. One of them, the coordinator, says who has a key; this is both its side and the
//! askers'. A coordinator grants only in its own term, which it opens by asking every other member for the
//! locks it holds and for the promise to follow no lower term.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::records::Batch;
use super::state::{Cx, State, Todo};
use super::wire::{LockAnswer, LockAsk, Term};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{Holder, LockState, NEVER};
use crate::record::Record;
use crate::stamp::Stamp;
use crate::sync::Mutex;
use crate::table::locked_by;
use crate::table::mutation::{
    Action, Applied, Asker, Granted, LockRequest, Mutation, Outcome, Wait,
};
use crate::table::replication::stamp_hash;

/// A lock that somebody here wants.
pub(crate) struct Ask {
    key: Box<[u8]>,
    request: LockRequest,
    /// When the wait is over, on the monotonic clock; [`NEVER`]: it has no end.
    deadline: u64,
    /// None: a renewal, of which nobody waits for the outcome.
    outcome: Option<Arc<Outcome>>,
    stage: Stage,
    /// When each repetition was sent: the first and the last ones.
    sent: Vec<(u64, u64)>,
    attempt: u64,
    /// Answers to repetitions up to this one are not wanted any more.
    void: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is nobody to ask now.
    Idle,
    /// This member is the coordinator; the table will decide.
    Here,
    Sent(u128),
}

/// A lock that another member wants of this one.
struct Request {
    ask: LockAsk,
    wait_id: u64,
    deadline: u64,
    outcome: Arc<Outcome>,
    /// In the table's queue; otherwise still to be looked at.
    queued: bool,
    answer: Option<LockAnswer>,
    /// When the asker last repeated it.
    heard_at: u64,
}

impl Ask {
    pub fn new(
        key: &[u8],
        request: &LockRequest,
        deadline: u64,
        outcome: Option<&Arc<Outcome>>,
    ) -> Ask {
        let (key, request, outcome) = (key.into(), request.clone(), outcome.cloned());
        let (stage, sent) = (Stage::Idle, Vec::new());
        Ask { key, request, deadline, outcome, stage, sent, attempt: 0, void: 0 }
    }
}

/// Outcomes that came while nobody was looking at the state.
#[derive(Default)]
pub(crate) struct Decided {
    asks: Mutex<Vec<(u128, u64)>>,
    bell: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Decided {
    pub fn set_bell(&self, bell: Box<dyn Fn() + Send>) {
        *self.bell.lock() = Some(bell);
    }

    fn push(&self, from: u128, id: u64) {
        self.asks.lock().push((from, id));
        if let Some(bell) = &*self.bell.lock() {
            bell();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.asks.lock().is_empty()
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
    highest_clock: u64,
    /// The last asks whose grants were taken.
    taken: BTreeSet<u64>,
}

/// How many asks are remembered whose grants were taken.
const TAKEN: usize = 4096;

/// How many times of sending an ask are remembered.
const ATTEMPTS: usize = 8;

impl State {
    /// Takes up the wish for a lock; its outcome says the rest.
    pub fn ask(&mut self, cx: &Cx<'_>, id: u64, ask: Ask, todo: &mut Todo) {
        let Ask { key, request, .. } = &ask;
        if request.renewal {
            // The next renewal takes the place of an earlier one.
            let fence = request.fence;
            self.locks.asks.retain(|_, other| {
                !(other.request.renewal && other.key == *key && other.request.fence == fence)
            });
        }
        self.locks.asks.insert(id, ask);
        self.pursue(cx, id, todo);
    }

    /// Whether an answer about this key is awaited.
    pub fn is_asking(&self, key: &[u8]) -> bool {
        self.locks.asks.values().any(|ask| *ask.key == *key && ask.stage != Stage::Here)
    }

    /// Takes a wish back. False: it is decided.
    pub fn cancel(&mut self, cx: &Cx<'_>, id: u64, todo: &mut Todo) -> bool {
        let Some(ask) = self.locks.asks.remove(&id) else { return false };
        match (ask.stage, &ask.outcome) {
            (Stage::Here, Some(outcome)) => {
                cx.table.cancel(&ask.key, Wait { id, deadline: ask.deadline, outcome })
            }
            (Stage::Sent(to), _) => {
                todo.member(to, cx.writer().lock_cancel((id, ask.attempt), None));
                true
            }
            _ => true,
        }
    }

    /// Asks whoever is to be asked now.
    fn pursue(&mut self, cx: &Cx<'_>, id: u64, todo: &mut Todo) {
        self.look_up_from_sleep(cx, todo);
        let coordinator = self.coordinator(cx);
        let Some(ask) = self.locks.asks.get_mut(&id) else { return };
        match coordinator {
            Some(own) if own == cx.own() => {
                if self.locks.open && ask.stage != Stage::Here {
                    self.decide_here(cx, id, todo);
                }
            }
            Some(other) => {
                ask.stage = Stage::Sent(other);
                ask.attempt += 1;
                ask.sent.push((ask.attempt, cx.now.mono));
                if ask.sent.len() > ATTEMPTS {
                    // The first stays: it is not later than any that is forgotten.
                    ask.sent.remove(1);
                }
                let known = cx.table.known(&ask.key);
                let lock = known.as_ref().and_then(|record| record.lock());
                let own = cx.own();
                let released = lock.filter(|lock| lock.member.incarnation == own);
                let released = released.is_some_and(|lock| lock.state == LockState::Released);
                let stamp = known.as_ref().and_then(Record::stamp);
                let mut news = Batch::default();
                let recent =
                    |stamp: Stamp| stamp.time.saturating_add(cx.settings.patience()) > cx.now.wall;
                if let Some(known) =
                    known.as_ref().filter(|_| released && stamp.is_some_and(recent))
                {
                    // What was put under it may come later still, and somebody else get the lock before.
                    news.push(known, cx.now);
                }
                let wait = match ask.deadline {
                    NEVER => NEVER,
                    deadline => deadline.saturating_sub(cx.now.mono),
                };
                let message = LockAsk {
                    id,
                    attempt: ask.attempt,
                    key: ask.key.to_vec(),
                    owner: ask.request.owner.clone(),
                    renews: ask.request.fence.filter(|_| ask.request.renewal),
                    floor: lock.map_or(0, |lock| lock.fence),
                    released,
                    value: stamp.map_or(0, stamp_hash),
                    lease: ask.request.grant.lease,
                    wait,
                };
                todo.member(other, cx.writer().lock_ask(&message, &news));
            }
            None => ask.stage = Stage::Idle,
        }
    }

    /// This member is the coordinator, in its open term: its own table decides.
    fn decide_here(&mut self, cx: &Cx<'_>, id: u64, todo: &mut Todo) {
        let Some(ask) = self.locks.asks.get_mut(&id) else { return };
        ask.stage = Stage::Here;
        let waits = ask.deadline > cx.now.mono && !ask.request.renewal;
        let outcome = ask.outcome.clone();
        let wait = outcome.as_ref().filter(|_| waits);
        let wait = wait.map(|outcome| Wait { id, deadline: ask.deadline, outcome });
        let conditions = ask.request.conditions();
        let action = Action::Lock(&ask.request, wait);
        let (result, effects) =
            cx.table.apply_quietly(&Mutation { key: &ask.key, conditions, action });
        todo.follow_ups.extend(effects);
        if matches!(&result, Ok(applied) if applied.waiting) {
            return;
        }
        self.locks.asks.remove(&id);
        conclude(outcome, result, todo);
    }

    /// The answer to an ask of this member.
    pub fn on_lock_answer(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        id: u64,
        (attempt, term): (u64, Term),
        answer: LockAnswer,
        todo: &mut Todo,
    ) {
        self.look_up_from_sleep(cx, todo);
        let lower = term < self.locks.promised;
        let is_sent = |ask: &Ask| ask.stage == Stage::Sent(from) && attempt > ask.void;
        let known = self.locks.asks.get(&id).is_some_and(is_sent);
        if lower {
            // It does not know of the later term, and would go on granting in vain.
            let (promised, none) = (self.locks.promised, Batch::default());
            todo.member(from, cx.writer().term_answer(term, promised, &none));
        }
        if !known || lower {
            // The promise to a later coordinator did not mention it: it is not to be. Unless it was taken: an
            // answer may come twice.
            if let LockAnswer::Granted { fence, again, .. } = answer
                && !self.locks.taken.contains(&id)
            {
                let fence = Some(fence).filter(|_| !again);
                todo.member(from, cx.writer().lock_cancel((id, attempt), fence));
            }
            return;
        }
        if let LockAnswer::Granted { fence, grantor, again, .. } = &answer
            && self.is_void(cx, id, (*fence, *grantor))
            && let Some(ask) = self.locks.asks.get_mut(&id)
        {
            ask.void = ask.attempt;
            ask.sent.clear();
            let fence = Some(*fence).filter(|_| !again);
            // At the next tick.
            ask.stage = Stage::Idle;
            todo.member(from, cx.writer().lock_cancel((id, ask.void), fence));
            if cx.now.mono < cx.table.member.until() {
                self.pursue(cx, id, todo);
            }
            return;
        }
        let Some(ask) = self.locks.asks.remove(&id) else { return };
        let Ask { key, mut request, outcome, sent, .. } = ask;
        match answer {
            LockAnswer::Granted { fence, grantor, sequence, again } => {
                let asked_at = sent.iter().find(|(number, _)| *number == attempt);
                let lease_end = match (request.grant.lease, asked_at) {
                    (None, _) => NEVER,
                    (Some(lease), Some((_, at))) => at.saturating_add(lease).min(NEVER - 1),
                    (Some(lease), None) => {
                        let oldest = sent.first().map_or(0, |(_, at)| *at);
                        oldest.saturating_add(lease).min(NEVER - 1)
                    }
                };
                request.granted = Some(Granted { fence, grantor, sequence, lease_end });
                let conditions = request.conditions();
                let action = Action::Lock(&request, None);
                let mutation = Mutation { key: &key, conditions, action };
                let (result, effects) = cx.table.apply_quietly(&mutation);
                todo.follow_ups.extend(effects);
                let taken = matches!(&result, Ok(Applied { entry: Some(_), .. }));
                if taken {
                    self.locks.taken.insert(id);
                    if self.locks.taken.len() > TAKEN {
                        self.locks.taken.pop_first();
                    }
                }
                if !taken && !again && !request.renewal {
                    todo.member(from, cx.writer().lock_cancel((id, attempt), Some(fence)));
                }
                conclude(outcome, result, todo);
            }
            LockAnswer::Locked { node, owner, waited } => {
                let owner = owner.map(|owner| owner.to_string());
                let error = locked_by(&key, Some(Holder { node, owner }));
                let error = if waited { error.after_waiting() } else { error };
                conclude(outcome, Err(error), todo);
            }
            LockAnswer::Lost => conclude(outcome, Ok(Applied::default()), todo),
        }
    }

    /// Whether a grant is to be asked for anew: it was granted again to who had it then, and has given it back
    /// since; or it has come so late that this member does not believe in any lock of its own now.
    fn is_void(&self, cx: &Cx<'_>, id: u64, grant: (u64, u128)) -> bool {
        let Some(ask) = self.locks.asks.get(&id).filter(|ask| !ask.request.renewal) else {
            return false;
        };
        let known = cx.table.known(&ask.key);
        let lock = known.as_ref().and_then(|record| record.lock());
        cx.now.mono >= cx.table.member.until()
            || lock.is_some_and(|lock| lock.grant() == grant && lock.state == LockState::Released)
    }

    /// Another member wants a lock of this one.
    pub fn on_lock_ask(&mut self, cx: &Cx<'_>, from: u128, ask: LockAsk, todo: &mut Todo) {
        let now = cx.now.mono;
        let known = self.locks.requests.get_mut(&(from, ask.id));
        match known {
            Some(request) => {
                request.heard_at = now;
                match (&request.answer, self.locks.term) {
                    (Some(answer), Some(term)) => {
                        todo.member(from, answer_to(cx, &request.ask, term, answer));
                    }
                    // A lease is counted from the last time it was asked for before it was granted.
                    _ if request.answer.is_some() || request.outcome.is_complete() => {}
                    _ => request.ask.attempt = request.ask.attempt.max(ask.attempt),
                }
            }
            None => {
                let deadline = match ask.wait {
                    NEVER => NEVER,
                    wait => now.saturating_add(wait).min(NEVER - 1),
                };
                let request = Request {
                    wait_id: cx.next_id(),
                    deadline,
                    outcome: Arc::new(Outcome::new()),
                    queued: false,
                    answer: None,
                    heard_at: now,
                    ask,
                };
                let id = request.ask.id;
                self.locks.requests.insert((from, id), request);
                if self.locks.open && self.coordinator(cx) == Some(cx.own()) {
                    self.decide_for(cx, from, id, todo);
                }
            }
        }
    }

    /// Lets the table decide about another member's wish.
    fn decide_for(&mut self, cx: &Cx<'_>, from: u128, id: u64, todo: &mut Todo) {
        self.look_up_from_sleep(cx, todo);
        if !self.locks.open {
            return;
        }
        let Some(member) = self.peers.get_live(from).map(|peer| peer.member.clone()) else {
            return;
        };
        let Some(request) = self.locks.requests.get_mut(&(from, id)) else { return };
        if request.queued || request.answer.is_some() {
            return;
        }
        let ask = &request.ask;
        if ask.released {
            todo.follow_ups.extend(cx.table.end_lock_quietly(&ask.key, ask.floor, from));
        }
        let wanted = LockRequest {
            owner: ask.owner.clone(),
            fence: ask.renews,
            grant: crate::table::mutation::Grant { lease: ask.lease, signal: None },
            renewal: ask.renews.is_some(),
            asker: Some(Asker { member, floor: ask.floor }),
            ..LockRequest::default()
        };
        let waits = request.deadline > cx.now.mono && !wanted.renewal;
        let Request { wait_id: id_of_wait, deadline, outcome, .. } = &*request;
        let wait = Wait { id: *id_of_wait, deadline: *deadline, outcome };
        let wait = Some(wait).filter(|_| waits);
        let conditions = wanted.conditions();
        let action = Action::Lock(&wanted, wait);
        let (result, effects) =
            cx.table.apply_quietly(&Mutation { key: &ask.key, conditions, action });
        todo.follow_ups.extend(effects);
        if matches!(&result, Ok(applied) if applied.waiting) {
            request.queued = true;
            let decided = cx.decided.clone();
            request.outcome.on_ready(Box::new(move || decided.push(from, id)));
            return;
        }
        self.answer(cx, from, id, result, todo);
    }

    /// Outcomes that the table's queues have brought meanwhile.
    pub fn look_at_decided(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let decided = std::mem::take(&mut *cx.decided.asks.lock());
        for (from, id) in decided {
            let request = self.locks.requests.get(&(from, id));
            let result = request.and_then(|request| request.outcome.take());
            if let Some(result) = result {
                self.answer(cx, from, id, result, todo);
            }
        }
    }

    fn answer(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        id: u64,
        result: Result<Applied>,
        todo: &mut Todo,
    ) {
        let term = self.locks.term.unwrap_or_default();
        let Some(request) = self.locks.requests.get_mut(&(from, id)) else { return };
        let answer = match result {
            Ok(Applied { lock: Some(lock), granted, .. }) => {
                let (fence, grantor) = lock.grant();
                LockAnswer::Granted { fence, grantor, sequence: lock.sequence, again: !granted }
            }
            Err(error) if error.kind() == ErrorKind::Locked => {
                let waited = request.queued;
                let holder = cx.table.known(&request.ask.key);
                let holder = holder.and_then(|r| r.lock().map(|lock| lock.holder()));
                let node = holder.as_ref().map_or("?", |holder| &holder.node).to_owned();
                let owner = holder.and_then(|holder| holder.owner).map(Arc::from);
                LockAnswer::Locked { node, owner, waited }
            }
            _ => LockAnswer::Lost,
        };
        request.queued = false;
        todo.member(from, answer_to(cx, &request.ask, term, &answer));
        request.answer = Some(answer);
    }

    /// The asker has no use for a lock, granted or not.
    pub fn on_lock_cancel(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        (id, attempt): (u64, u64),
        fence: Option<u64>,
        todo: &mut Todo,
    ) {
        let known = self.locks.requests.get(&(from, id));
        if known.is_some_and(|request| request.ask.attempt > attempt) {
            return;
        }
        // One that is not known (any more) is ended by the holder, who sees it in its table and does not want it.
        let Some(request) = self.locks.requests.remove(&(from, id)) else { return };
        let Request { ask, wait_id, deadline, outcome, queued, answer, .. } = request;
        let mut unwanted = fence;
        if queued {
            let wait = Wait { id: wait_id, deadline, outcome: &outcome };
            if !cx.table.cancel(&ask.key, wait)
                && let Some(Ok(Applied { lock: Some(lock), granted: true, .. })) = outcome.take()
            {
                unwanted = Some(lock.fence);
            }
        }
        if let Some(LockAnswer::Granted { fence, again: false, .. }) = answer {
            unwanted = Some(fence);
        }
        let Some(fence) = unwanted else { return };
        // Another there who asked under the same label has it, too.
        let same = |answer: &LockAnswer| matches!(answer, LockAnswer::Granted { fence: f, .. } if *f == fence);
        let others = self.locks.requests.range((from, 0)..=(from, u64::MAX));
        if others.filter_map(|(_, request)| request.answer.as_ref()).any(same) {
            return;
        }
        todo.follow_ups.extend(cx.table.end_lock_quietly(&ask.key, fence, from));
    }

    /// Whoever has slept for long may not be who decides any more, and learns that first.
    fn look_up_from_sleep(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        if cx.now.mono >= cx.table.member.until() {
            self.look_at_coordinator(cx, todo);
        }
    }

    /// Whether this member is the coordinator and may grant; if not, nobody waits in its table.
    pub fn look_at_coordinator(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let own = cx.own();
        // Nobody grants what it would not believe in itself.
        self.look_at_contact(cx, todo);
        let is_coordinator = self.coordinator(cx) == Some(own);
        if !is_coordinator || cx.now.mono >= cx.table.member.until() {
            self.locks.term = None;
            self.close_gate(cx, todo);
            return;
        }
        let overruled = self.locks.term.is_none_or(|term| term < self.locks.promised);
        if overruled && cx.now.mono < self.locks.opened_at + cx.settings.beat() {
            // Somebody else thinks the same of himself: who of us is right, the next heartbeats tell.
            self.close_gate(cx, todo);
            return;
        }
        if overruled {
            self.locks.opened_at = cx.now.mono;
            let clock =
                cx.now.wall.max(self.locks.promised.clock + 1).max(self.locks.highest_clock);
            let term = Term { clock, coordinator: own };
            self.locks.highest_clock = clock + 1;
            (self.locks.term, self.locks.promised) = (Some(term), term);
            self.locks.asked_at = 0;
        }
        let Some(term) = self.locks.term else { return };
        let awaited = |peer: &&super::peers::Peer| !peer.freed && peer.answered != Some(term);
        let awaited: Vec<u128> =
            self.peers.all.values().filter(awaited).map(|peer| peer.member.incarnation).collect();
        if !awaited.is_empty() && !cx.settings.faults.term_not_awaited {
            self.close_gate(cx, todo);
        }
        if !awaited.is_empty() {
            let new = self.peers.all.values().any(|peer| peer.live && peer.answered.is_none());
            if new || cx.now.mono.saturating_sub(self.locks.asked_at) >= cx.settings.beat() {
                self.locks.asked_at = cx.now.mono;
                for member in &awaited {
                    todo.member(*member, cx.writer().term_open(term));
                }
            }
        }
        if (awaited.is_empty() || cx.settings.faults.term_not_awaited) && !self.locks.open {
            self.locks.open = true;
            self.decide_all(cx, todo);
        }
    }

    /// Everyone who waited for the term to open, in order of arrival.
    fn decide_all(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        let mut requests: Vec<(u64, u128, u64)> = Vec::new();
        let own = self.locks.asks.keys().map(|id| (*id, cx.own(), *id));
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
        for (id, ask) in &mut self.locks.asks {
            if let (Stage::Here, Some(outcome)) = (ask.stage, &ask.outcome) {
                let wait = Wait { id: *id, deadline: ask.deadline, outcome };
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
        todo.member(from, cx.writer().term_answer(term, self.locks.promised, &locks));
        self.look_at_coordinator(cx, todo);
    }

    /// A member follows this one's term, or a higher one; its locks are in the table already.
    pub fn on_term_answer(
        &mut self,
        cx: &Cx<'_>,
        from: u128,
        term: Term,
        promised: Term,
        todo: &mut Todo,
    ) {
        self.locks.highest_clock = self.locks.highest_clock.max(promised.clock + 1);
        if promised == term {
            if let Some(peer) = self.peers.all.get_mut(&from) {
                peer.answered = Some(term);
            }
        } else if self.locks.term == Some(term) {
            self.locks.term = None;
            self.close_gate(cx, todo);
        }
        self.look_at_coordinator(cx, todo);
    }

    /// Repeats what was not answered, and gives up what waited for too long.
    pub fn look_at_asks(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        self.look_at_decided(cx, todo);
        let now = cx.now.mono;
        let is_complete = |ask: &Ask| ask.outcome.as_ref().is_some_and(|o| o.is_complete());
        self.locks.asks.retain(|_, ask| !is_complete(ask));
        let patience = cx.settings.patience();
        let ids: Vec<u64> = self.locks.asks.keys().copied().collect();
        for id in ids {
            let Some(ask) = self.locks.asks.get(&id) else { continue };
            if ask.stage != Stage::Here && now > ask.deadline.saturating_add(patience) {
                let outcome = ask.outcome.clone();
                self.cancel(cx, id, todo);
                let message = "no coordinator of the cluster has answered; see members()";
                conclude(outcome, Err(Error::new(ErrorKind::Cluster, message)), todo);
                continue;
            }
            let last = ask.sent.last().map_or(0, |(_, at)| *at);
            let to = match ask.stage {
                Stage::Here => continue,
                Stage::Sent(to) => Some(to),
                Stage::Idle => None,
            };
            if to != self.coordinator(cx) || now.saturating_sub(last) >= cx.settings.beat() {
                self.pursue(cx, id, todo);
            }
        }
        self.drop_dead_requests(cx);
    }

    /// Members that have died wait for nothing, and answers are not kept for ever.
    fn drop_dead_requests(&mut self, cx: &Cx<'_>) {
        let now = cx.now.mono;
        let patience = cx.settings.patience();
        let over: Vec<(u128, u64)> = self
            .locks
            .requests
            .iter()
            .filter(|((from, _), request)| {
                let gone = self.peers.get_live(*from).is_none();
                now.saturating_sub(request.heard_at) > patience || (gone && request.queued)
            })
            .map(|(at, _)| *at)
            .collect();
        for at in over {
            if let Some(request) = self.locks.requests.remove(&at)
                && request.queued
            {
                let Request { wait_id, deadline, outcome, ask, .. } = &request;
                let wait = Wait { id: *wait_id, deadline: *deadline, outcome };
                cx.table.cancel(&ask.key, wait);
            }
        }
    }

    /// Nobody will be granted anything any more.
    pub fn drop_asks(&mut self, todo: &mut Todo) {
        for ask in std::mem::take(&mut self.locks.asks).into_values() {
            conclude(ask.outcome, Err(crate::table::shard::stopped()), todo);
        }
        self.locks.requests.clear();
    }
}

fn answer_to(cx: &Cx<'_>, ask: &LockAsk, term: Term, answer: &LockAnswer) -> Vec<u8> {
    let mut value = Batch::default();
    if let (LockAnswer::Granted { .. }, Some(known)) = (answer, cx.table.known(&ask.key)) {
        // What was put under the lock before this one may still be on its way to the asker.
        if known.stamp().is_some_and(|stamp| stamp_hash(stamp) != ask.value) {
            value.push(&known, cx.now);
        }
    }
    cx.writer().lock_answer(ask.id, (ask.attempt, term), answer, &value)
}

fn conclude(outcome: Option<Arc<Outcome>>, result: Result<Applied>, todo: &mut Todo) {
    if let Some(outcome) = outcome {
        outcome.set(result);
        todo.outcomes.push(outcome);
    }
}
