//! The granting side: what other members want of this one, while it is the coordinator.

use std::sync::Arc;

use crate::cluster::messages::{LockAnswer, LockAsk, Term};
use crate::cluster::records::Batch;
use crate::cluster::state::{Cx, State, Todo};
use crate::error::{ErrorKind, Result};
use crate::lock::NEVER;
use crate::sync::Mutex;
use crate::table::mutation::{Action, Applied, Asker, Grant, LockRequest, Mutation, Outcome, Wait};
use crate::table::replication::stamp_hash;

/// A lock that another member wants of this one.
pub(super) struct Request {
    pub(super) ask: LockAsk,
    pub(super) wait_id: u64,
    pub(super) deadline: u64,
    pub(super) outcome: Arc<Outcome>,
    /// In the table's queue; otherwise still to be looked at.
    pub(super) queued: bool,
    pub(super) answer: Option<LockAnswer>,
    /// In which it was given.
    pub(super) term: Term,
    /// When the asker last repeated it.
    pub(super) heard_at: u64,
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

impl State {
    /// Another member wants a lock of this one.
    pub fn on_lock_ask(&mut self, cx: &Cx<'_>, from: u128, ask: LockAsk, todo: &mut Todo) {
        let (now, id) = (cx.now.mono, ask.id);
        self.forget_if_over(cx, from, &ask);
        match self.locks.requests.get_mut(&(from, id)) {
            Some(request) => {
                request.heard_at = now;
                match (&request.answer, self.locks.term) {
                    (Some(answer), Some(term)) if term == request.term => {
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
                    term: Term::default(),
                    heard_at: now,
                    ask,
                };
                self.locks.requests.insert((from, id), request);
            }
        }
        // The first time he may not have counted as live yet.
        if self.locks.open && self.coordinator(cx) == Some(cx.own()) {
            self.decide_for(cx, from, id, todo);
        }
    }

    /// An answer of another term is not to be repeated, nor one that grants what somebody else has been granted since.
    fn forget_if_over(&mut self, cx: &Cx<'_>, from: u128, ask: &LockAsk) {
        let Some(request) = self.locks.requests.get_mut(&(from, ask.id)) else { return };
        if request.answer.is_none() || ask.attempt <= request.ask.attempt {
            // It was sent before the answer.
            return;
        }
        let known = cx.table.known(&request.ask.key);
        let lock = known.as_ref().and_then(|record| record.lock());
        let is_over = match request.answer {
            Some(LockAnswer::Granted { fence, grantor, .. }) => {
                lock.is_none_or(|lock| lock.grant() != (fence, grantor))
            }
            _ => false,
        };
        if is_over || self.locks.term != Some(request.term) {
            (request.answer, request.outcome) = (None, Arc::new(Outcome::new()));
        }
    }

    /// Lets the table decide about another member's wish.
    pub(super) fn decide_for(&mut self, cx: &Cx<'_>, from: u128, id: u64, todo: &mut Todo) {
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
            grant: Grant { lease: ask.lease, signal: None },
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

    pub(super) fn answer(
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
        (request.queued, request.term) = (false, term);
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

    /// Members that have died wait for nothing, and answers are not kept for ever.
    pub(super) fn drop_dead_requests(&mut self, cx: &Cx<'_>) {
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
