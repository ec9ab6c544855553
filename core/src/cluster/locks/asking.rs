//! The asking side: what somebody here wants, repeated until it is answered.

use std::sync::Arc;

use crate::cluster::messages::{LockAnswer, LockAsk, Term};
use crate::cluster::records::Batch;
use crate::cluster::state::{Cx, State, Todo};
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{CLOCK_RATES, Holder, LockState, NEVER};
use crate::record::Record;
use crate::stamp::Stamp;
use crate::table::locked_by;
use crate::table::mutation::{Action, Applied, Granted, LockRequest, Mutation, Outcome, Wait};
use crate::table::replication::stamp_hash;

/// A lock that somebody here wants.
pub(crate) struct Ask {
    /// Its place among all who want the key here, other members' asks included.
    pub(super) wait_id: u64,
    pub(super) key: Box<[u8]>,
    pub(super) request: LockRequest,
    /// When the wait is over, on the monotonic clock; [`NEVER`]: it has no end.
    pub(super) deadline: u64,
    /// None: a renewal, of which nobody waits for the outcome.
    pub(super) outcome: Option<Arc<Outcome>>,
    pub(super) stage: Stage,
    /// When each repetition was sent: the first and the last ones.
    pub(super) sent: Vec<(u64, u64)>,
    pub(super) attempt: u64,
    /// Answers to repetitions up to this one are not wanted any more.
    pub(super) void: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is nobody to ask now.
    Idle,
    /// This member is the coordinator; the table will decide.
    Here,
    Sent(u128),
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
        Ask { wait_id: 0, key, request, deadline, outcome, stage, sent, attempt: 0, void: 0 }
    }
}

/// How many times of sending an ask are remembered.
const ATTEMPTS: usize = 8;

impl State {
    /// Takes up the wish for a lock; its outcome says the rest.
    pub fn ask(&mut self, cx: &Cx<'_>, id: u64, mut ask: Ask, todo: &mut Todo) {
        ask.wait_id = cx.next_id();
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

    /// Whether an answer about this key is awaited for this holder.
    pub fn is_asking(&self, key: &[u8], owner: Option<&str>) -> bool {
        let same = |ask: &Ask| *ask.key == *key && ask.request.owner.as_deref() == owner;
        self.locks.asks.values().any(|ask| same(ask) && ask.stage != Stage::Here)
    }

    /// What was asked for before this member gave up its locks is asked for anew: a grant of then is long over.
    pub fn void_asks(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        for (id, ask) in &mut self.locks.asks {
            if let Stage::Sent(to) = ask.stage {
                ask.void = ask.attempt;
                ask.sent.clear();
                // At the next tick.
                ask.stage = Stage::Idle;
                todo.member(to, cx.writer().lock_cancel((*id, ask.void), None));
            }
        }
    }

    /// Takes a wish back. False: it is decided.
    pub fn cancel(&mut self, cx: &Cx<'_>, id: u64, todo: &mut Todo) -> bool {
        let Some(ask) = self.locks.asks.remove(&id) else { return false };
        match (ask.stage, &ask.outcome) {
            (Stage::Here, Some(outcome)) => {
                let wait = Wait { id: ask.wait_id, deadline: ask.deadline, outcome };
                cx.table.cancel(&ask.key, wait)
            }
            (Stage::Sent(to), _) => {
                todo.member(to, cx.writer().lock_cancel((id, ask.attempt), None));
                true
            }
            _ => true,
        }
    }

    /// Asks whoever is to be asked now.
    pub(super) fn pursue(&mut self, cx: &Cx<'_>, id: u64, todo: &mut Todo) {
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
        let id_of_wait = ask.wait_id;
        let wait = wait.map(|outcome| Wait { id: id_of_wait, deadline: ask.deadline, outcome });
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
            let terms = (term, self.locks.promised);
            let newest = cx.replication.newest_fence(cx.now.wall);
            todo.member(from, cx.writer().term_answer(terms, newest, &Batch::default()));
        }
        if !known || lower {
            // The promise to a later coordinator did not mention it: it is not to be. Unless it was taken: an
            // answer may come twice.
            if let LockAnswer::Granted { fence, grantor, again, .. } = answer
                && !self.locks.taken.has(id, (fence, grantor))
            {
                let fence = Some(fence).filter(|_| !again);
                todo.member(from, cx.writer().lock_cancel((id, attempt), fence));
                if let Some(ask) = self.locks.asks.get_mut(&id) {
                    // Should the same answer come once more, before the cancel is there, it is not to be taken.
                    ask.void = ask.void.max(attempt);
                }
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
                // The coordinator's clock may run faster.
                let margin =
                    |lease| if cx.settings.faults.one_clock { 0 } else { lease / CLOCK_RATES };
                let lease = request.grant.lease.map(|lease| lease - margin(lease));
                let lease_end = match (lease, asked_at) {
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
                    let age = cx.settings.max_message_age;
                    self.locks.taken.insert(id, (fence, grantor), cx.now.mono, age);
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

    /// Repeats what was not answered, and gives up what waited for too long.
    pub fn look_at_asks(&mut self, cx: &Cx<'_>, todo: &mut Todo) {
        self.look_at_decided(cx, todo);
        let now = cx.now.mono;
        let is_complete = |ask: &Ask| ask.outcome.as_ref().is_some_and(|o| o.is_complete());
        self.locks.asks.retain(|_, ask| !is_complete(ask));
        let patience = cx.settings.patience();
        let ids: Vec<u64> = self.locks.asks.keys().copied().collect();
        let coordinator = if ids.is_empty() { None } else { self.coordinator(cx) };
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
            if to != coordinator || now.saturating_sub(last) >= cx.settings.beat() {
                self.pursue(cx, id, todo);
            }
        }
        self.drop_dead_requests(cx);
    }
}

pub(super) fn conclude(outcome: Option<Arc<Outcome>>, result: Result<Applied>, todo: &mut Todo) {
    if let Some(outcome) = outcome {
        outcome.set(result);
        todo.outcomes.push(outcome);
    }
}
