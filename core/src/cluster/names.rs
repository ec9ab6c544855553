//! Everyone of whom there is a trace in the table or in the cluster, each once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::member::Member;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Default)]
struct Known {
    members: HashMap<u128, Arc<Member>>,
    /// Of each name, whether a live member has it.
    named: HashMap<Box<str>, Arc<AtomicBool>>,
    /// Those that have become known since they were last asked for.
    fresh: Vec<Arc<Member>>,
}

impl Names {
    /// With this member, which is always there.
    pub fn new(own: &Arc<Member>) -> Names {
        let mut known = Known::default();
        known.named.insert(own.name.clone(), own.named().clone());
        known.members.insert(own.incarnation, own.clone());
        Names(Mutex::new(known))
    }

    pub fn member(&self, incarnation: u128, name: &str) -> Arc<Member> {
        let mut known = self.0.lock();
        if let Some(member) = known.members.get(&incarnation) {
            return member.clone();
        }
        let named = known.named.entry(name.into()).or_default().clone();
        let member = Arc::new(Member::new(name, incarnation, named));
        known.members.insert(incarnation, member.clone());
        known.fresh.push(member.clone());
        member
    }

    /// Those that have become known since the last call.
    pub fn take_fresh(&self) -> Vec<Arc<Member>> {
        std::mem::take(&mut self.0.lock().fresh)
    }

    /// Sets whether a live member has this name; true if that is new.
    pub fn set_named(&self, name: &str, is_there: bool) -> bool {
        let known = self.0.lock();
        let named = known.named.get(name);
        named.is_some_and(|named| named.swap(is_there, Ordering::SeqCst) != is_there)
    }
}
