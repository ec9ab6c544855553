//! Is there an order of the calls in which each gave what it must, and none stands before one that had
//! returned when it began? Searched after Wing and Gong, remembering what led nowhere.

use std::collections::HashSet;
use std::hash::Hash;

/// One call: when it began and returned, in one counting of all threads, and what was asked and given.
#[derive(Clone, Debug)]
pub struct Call<O> {
    pub began: u64,
    pub returned: u64,
    pub op: O,
}

/// What calls do one after the other.
pub trait Model: Clone + Eq + Hash {
    type Op;

    /// The state after `op`; `None` if in this state it cannot give what it gave.
    fn apply(&self, op: &Self::Op) -> Option<Self>;
}

pub fn is_linearizable<M: Model>(start: M, calls: &[Call<M::Op>]) -> bool {
    assert!(calls.len() <= 128, "the set of calls is a number of 128 bits");
    search(start, calls, 0, &mut HashSet::new())
}

fn search<M: Model>(
    state: M,
    calls: &[Call<M::Op>],
    done: u128,
    seen: &mut HashSet<(u128, M)>,
) -> bool {
    let open = || calls.iter().enumerate().filter(move |(at, _)| done & (1 << at) == 0);
    // Whatever began after this moment stands behind the call that returned at it.
    let Some(first_return) = open().map(|(_, call)| call.returned).min() else { return true };
    if !seen.insert((done, state.clone())) {
        return false;
    }
    open().filter(|(_, call)| call.began < first_return).any(|(at, call)| {
        let next = state.apply(&call.op);
        next.is_some_and(|next| search(next, calls, done | (1 << at), seen))
    })
}
