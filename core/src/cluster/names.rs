//! Everyone of whom there is a trace in the table or in the cluster, each once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::member::Member;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub(crate) struct Names(Mutex<Known>);

struct Name {
    /// Whether a live member has it.
    is_there: Arc<AtomicBool>,
    /// Whether another member may have had it before, whose entries then have had an heir.
    had: bool,
}

#[derive(Default)]
struct Known {
    members: HashMap<u128, Arc<Member>>,
    named: HashMap<Box<str>, Name>,
    /// Those that have become known since they were last asked for.
    fresh: Vec<Arc<Member>>,
}

impl Names {
    /// With this member, which is always there.
    pub fn new(own: &Arc<Member>) -> Names {
        let mut known = Known::default();
        let name = Name { is_there: own.named().clone(), had: true };
        known.named.insert(own.name.clone(), name);
        known.members.insert(own.incarnation, own.clone());
        Names(Mutex::new(known))
    }

    pub fn member(&self, incarnation: u128, name: &str) -> Arc<Member> {
        let mut known = self.0.lock();
        if let Some(member) = known.members.get(&incarnation) {
            return member.clone();
        }
        let named = match known.named.entry(name.into()) {
            Entry::Occupied(mut known) => {
                known.get_mut().had = true;
                known.get().is_there.clone()
            }
            Entry::Vacant(free) => {
                free.insert(Name { is_there: Arc::default(), had: false }).is_there.clone()
            }
        };
        let member = Arc::new(Member::new(name, incarnation, named));
        known.members.insert(incarnation, member.clone());
        known.fresh.push(member.clone());
        member
    }

    /// Those that have become known since the last call.
    pub fn take_fresh(&self) -> Vec<Arc<Member>> {
        std::mem::take(&mut self.0.lock().fresh)
    }

    /// Sets whether a live member has this name; true if entries have passed by that.
    pub fn set_named(&self, name: &str, is_there: bool) -> bool {
        let mut known = self.0.lock();
        let Some(named) = known.named.get_mut(name) else { return false };
        let is_news = named.is_there.swap(is_there, Ordering::SeqCst) != is_there;
        is_news && std::mem::replace(&mut named.had, true)
    }

    /// The names that no live member has and that are of interest yet: somebody else than this list knows who had them,
    /// be it a record.
    pub fn absent(&self) -> BTreeSet<Box<str>> {
        let known = self.0.lock();
        let wanted = known.members.values().filter(|member| Arc::strong_count(member) > 1);
        let absent = wanted.filter(|member| !member.named().load(Ordering::SeqCst));
        absent.map(|member| member.name.clone()).collect()
    }
}
