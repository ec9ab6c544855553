//! Watching: bounded queues of events, in order per key, with an explicit `lagged` instead of silence.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::callback::call;
use crate::clock::Clock;
use crate::clock::nanos;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::fork::{self, Generation};
use crate::key::Key;
use crate::members::MemberState;
use crate::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, RwLock};

/// What happened to a key, to a member of the cluster, or to the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A value was put, incremented or updated; also each present entry of a watch with `initial`.
    Put,
    /// The entry was deleted; the event carries it.
    Delete,
    /// The entry expired; the event carries it.
    Expire,
    /// The expiry was moved.
    Touch,
    /// The expiry was cleared.
    Persist,
    /// Somebody was granted the lock.
    Lock,
    /// The lock was released, or its lease ran out.
    Unlock,
    /// The reader was too slow: [`count`](Event::count) events before the next one are lost.
    Lagged,
    /// The entries of a node have passed to another member, or back; one event for all of them.
    Owner,
    /// A member came, went, or is otherwise than before.
    Member,
}

impl EventKind {
    /// The stable name: `put delete expire touch persist lock unlock lagged owner member`.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::Put => "put",
            EventKind::Delete => "delete",
            EventKind::Expire => "expire",
            EventKind::Touch => "touch",
            EventKind::Persist => "persist",
            EventKind::Lock => "lock",
            EventKind::Unlock => "unlock",
            EventKind::Lagged => "lagged",
            EventKind::Owner => "owner",
            EventKind::Member => "member",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    kind: EventKind,
    about: About,
    count: u64,
}

/// Whom an event concerns.
#[derive(Clone, Debug, PartialEq)]
// Members come and go in a cluster only.
#[cfg_attr(not(feature = "cluster"), allow(dead_code))]
enum About {
    Key(Entry),
    /// Shared by all watches, which all get it.
    Member(Arc<(Box<str>, MemberState)>),
    /// Whose entries have passed, and to whom.
    Owner(Arc<(Box<str>, Box<str>)>),
    Watch,
}

impl Event {
    pub(crate) fn of(kind: EventKind, entry: Entry) -> Event {
        Event { kind, about: About::Key(entry), count: 1 }
    }

    /// The member of this name is in this state from now on.
    pub(crate) fn member(node: &str, state: MemberState) -> Event {
        let about = About::Member(Arc::new((node.into(), state)));
        Event { kind: EventKind::Member, about, count: 1 }
    }

    /// What this node has put has another owner from now on.
    pub(crate) fn owner_passed(node: &str, owner: &str) -> Event {
        let about = About::Owner(Arc::new((node.into(), owner.into())));
        Event { kind: EventKind::Owner, about, count: 1 }
    }

    fn lagged(count: u64) -> Event {
        Event { kind: EventKind::Lagged, about: About::Watch, count }
    }

    /// What happened.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// The key; `None` for `lagged`, `owner` and `member`.
    pub fn key(&self) -> Option<Key> {
        self.entry().map(Entry::key)
    }

    /// The entry after the event, for delete and expire the removed one; `None` for `lagged`, `owner` and `member`.
    pub fn entry(&self) -> Option<&Entry> {
        match &self.about {
            About::Key(entry) => Some(entry),
            _ => None,
        }
    }

    /// For `lagged` the number of events lost, otherwise 1.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// For `member` its name, for `owner` that of the node whose entries have passed; otherwise `None`.
    pub fn node(&self) -> Option<&str> {
        match &self.about {
            About::Member(member) => Some(&member.0),
            About::Owner(passed) => Some(&passed.0),
            _ => None,
        }
    }

    /// For `member` how it is from now on; otherwise `None`.
    pub fn state(&self) -> Option<MemberState> {
        match &self.about {
            About::Member(member) => Some(member.1),
            _ => None,
        }
    }

    /// For `owner` the node that has the entries from now on; otherwise `None`.
    pub fn owner(&self) -> Option<&str> {
        match &self.about {
            About::Owner(passed) => Some(&passed.1),
            _ => None,
        }
    }
}

/// Which keys are watched.
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    Prefix(Box<[u8]>),
    Key(Box<[u8]>),
}

impl Filter {
    pub fn matches(&self, key: &[u8]) -> bool {
        match self {
            Filter::Prefix(prefix) => key.starts_with(prefix),
            Filter::Key(only) => **only == *key,
        }
    }
}

/// A number that no event of a shard reaches: not subscribed there yet.
const NOT_YET: u64 = u64::MAX;

pub(crate) struct Subscriber {
    pub filter: Filter,
    capacity: usize,
    /// For each shard, the first event that belongs to this subscription.
    from: Box<[AtomicU64]>,
    queue: Mutex<Queue>,
    ready: Condvar,
    waking: AtomicU8,
}

/// Nobody runs the waker.
const IDLE: u8 = 0;
/// Somebody does.
const RUNNING: u8 = 1;
/// Somebody does and shall once more: something came meanwhile.
const AGAIN: u8 = 2;

#[derive(Default)]
struct Queue {
    /// The entries that were there at the start; they do not count against the capacity.
    initial: VecDeque<Event>,
    events: VecDeque<Event>,
    lost: u64,
    closed: bool,
    waker: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Queue {
    fn pop(&mut self) -> Option<Event> {
        if let Some(event) = self.initial.pop_front() {
            return Some(event);
        }
        if self.lost > 0 {
            return Some(Event::lagged(std::mem::take(&mut self.lost)));
        }
        self.events.pop_front()
    }
}

impl Subscriber {
    pub fn subscribe_shard(&self, shard: usize, from: u64, initial: Vec<Event>) {
        self.queue.lock().initial.extend(initial);
        self.from[shard].store(from, Ordering::SeqCst);
    }

    /// Takes the events that are for this subscriber. True: it wants to be woken.
    fn deliver(&self, shard: usize, events: &[(u64, Event)], lost: &AtomicU64) -> bool {
        let from = self.from[shard].load(Ordering::SeqCst);
        let wanted = |event: &Event| {
            event.entry().is_some_and(|entry| self.filter.matches(entry.key_bytes()))
        };
        let events = events.iter().filter(|(number, event)| *number >= from && wanted(event));
        self.take(events.map(|(_, event)| event), lost)
    }

    fn take<'a>(&self, events: impl Iterator<Item = &'a Event>, lost: &AtomicU64) -> bool {
        let mut dropped = Vec::new();
        let mut delivered = false;
        let mut queue = self.queue.lock();
        if queue.closed {
            return false;
        }
        for event in events {
            // The oldest goes: who was late learns of it first and then has the newest.
            if queue.events.len() >= self.capacity {
                dropped.extend(queue.events.pop_front());
                queue.lost += 1;
                lost.fetch_add(1, Ordering::Relaxed);
            }
            queue.events.push_back(event.clone());
            delivered = true;
        }
        drop(queue);
        delivered
    }

    fn wake(&self) {
        self.ready.notify_all();
        // One at a time: a waker that causes an event, or ends its watch, is not called within itself.
        let claim = |state| Some(if state == IDLE { RUNNING } else { AGAIN });
        if self.waking.fetch_update(Ordering::SeqCst, Ordering::SeqCst, claim) != Ok(IDLE) {
            return;
        }
        loop {
            let waker = self.queue.lock().waker.clone();
            if let Some(waker) = waker {
                call(|| waker());
            }
            let over = |state| Some(if state == AGAIN { RUNNING } else { IDLE });
            if self.waking.fetch_update(Ordering::SeqCst, Ordering::SeqCst, over) == Ok(RUNNING) {
                return;
            }
        }
    }

    fn close(&self) {
        self.queue.lock().closed = true;
        self.wake();
    }
}

/// All subscribers of a registry.
#[derive(Default)]
pub(crate) struct Hub {
    subscribers: RwLock<Arc<Vec<Arc<Subscriber>>>>,
    count: AtomicUsize,
    lost: AtomicU64,
}

impl Hub {
    /// Whether anyone wants events: asked under the lock of a shard, before an event is made.
    pub fn is_watched(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    pub fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// How many events were lost by slow readers.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// A new subscriber, not yet subscribed to any shard.
    pub fn add(
        &self,
        filter: Filter,
        capacity: usize,
        shards: usize,
        max: usize,
    ) -> Result<Arc<Subscriber>> {
        let subscriber = Arc::new(Subscriber {
            filter,
            capacity,
            from: (0..shards).map(|_| AtomicU64::new(NOT_YET)).collect(),
            queue: Mutex::new(Queue::default()),
            ready: Condvar::new(),
            waking: AtomicU8::new(IDLE),
        });
        let mut subscribers = self.subscribers.write();
        if subscribers.len() >= max {
            let message = format!(
                "the registry has {max} watchers already; close some, or raise max_watchers"
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Arc::make_mut(&mut subscribers).push(subscriber.clone());
        self.count.store(subscribers.len(), Ordering::SeqCst);
        Ok(subscriber)
    }

    fn remove(&self, subscriber: &Arc<Subscriber>) {
        let mut subscribers = self.subscribers.write();
        let before = subscribers.clone();
        Arc::make_mut(&mut subscribers).retain(|other| !Arc::ptr_eq(other, subscriber));
        self.count.store(subscribers.len(), Ordering::SeqCst);
        drop(subscribers);
        drop(before);
    }

    /// Hands a shard's events to whoever wants them and returns who is to be woken.
    pub fn deliver(&self, shard: usize, events: &[(u64, Event)]) -> Vec<Arc<Subscriber>> {
        let mut to_wake = self.subscribers.read().as_ref().clone();
        to_wake.retain(|subscriber| subscriber.deliver(shard, events, &self.lost));
        to_wake
    }

    /// Tells everyone, whatever they watch, and wakes them; never under a lock.
    pub fn announce(&self, event: &Event) {
        let mut to_wake = self.subscribers.read().as_ref().clone();
        to_wake.retain(|subscriber| subscriber.take(std::iter::once(event), &self.lost));
        wake(&to_wake);
    }

    pub fn close(&self) {
        let subscribers = std::mem::take(&mut *self.subscribers.write());
        self.count.store(0, Ordering::SeqCst);
        for subscriber in subscribers.iter() {
            subscriber.close();
        }
    }
}

/// Wakes everyone; never under a lock.
pub(crate) fn wake(subscribers: &[Arc<Subscriber>]) {
    for subscriber in subscribers {
        subscriber.wake();
    }
}

/// A subscription, from [`Registry::watch`](crate::Registry::watch). Dropping it ends it.
///
/// As an iterator it blocks until the next event and ends when the registry stops, in a forked child at once.
pub struct Watch {
    hub: Arc<Hub>,
    subscriber: Arc<Subscriber>,
    /// In a forked child nothing happens any more, and nothing may be touched.
    generation: Generation,
}

impl Watch {
    pub(crate) fn new(hub: Arc<Hub>, subscriber: Arc<Subscriber>) -> Watch {
        Watch { hub, subscriber, generation: Generation::now() }
    }

    /// The next event if there is one, without waiting.
    pub fn try_next(&self) -> Option<Event> {
        if self.generation.is_over() {
            return None;
        }
        self.subscriber.queue.lock().pop()
    }

    /// Waits for the next event. `Ok(None)`: the watch or the registry has ended; `timeout` after that long.
    ///
    /// The wait runs in real time also where the registry's clock is manual.
    pub fn next_timeout(&self, timeout: Duration) -> Result<Option<Event>> {
        if self.generation.is_over() {
            return Err(fork::error());
        }
        let deadline = Clock::System.mono().saturating_add(nanos(timeout));
        let mut queue = self.subscriber.queue.lock();
        loop {
            if let Some(event) = queue.pop() {
                return Ok(Some(event));
            }
            if queue.closed {
                return Ok(None);
            }
            let left = deadline.saturating_sub(Clock::System.mono());
            if left == 0 {
                let message = format!("no event within {timeout:?}");
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            self.subscriber.ready.wait_for(&mut queue, Duration::from_nanos(left));
        }
    }

    /// Waits for the next event; `None`: the watch or the registry has ended.
    pub fn wait_next(&self) -> Option<Event> {
        if self.generation.is_over() {
            return None;
        }
        let mut queue = self.subscriber.queue.lock();
        loop {
            if let Some(event) = queue.pop() {
                return Some(event);
            }
            if queue.closed {
                return None;
            }
            self.subscriber.ready.wait(&mut queue);
        }
    }

    /// Whether no event will ever come after those still queued.
    pub fn is_closed(&self) -> bool {
        self.generation.is_over() || self.subscriber.queue.lock().closed
    }

    /// Calls back after events have come and when the watch ends; replaces an earlier callback.
    ///
    /// It is called on whichever thread caused the event, with no lock held, and must be quick; it must not
    /// write to what it watches, or it is called again for ever. It is called at once if something is there already.
    pub fn on_ready(&self, waker: impl Fn() + Send + Sync + 'static) {
        if self.generation.is_over() {
            return waker();
        }
        let waker: Arc<dyn Fn() + Send + Sync> = Arc::new(waker);
        let mut queue = self.subscriber.queue.lock();
        let earlier = queue.waker.replace(waker.clone());
        let ready = queue.closed || queue.lost > 0 || !queue.events.is_empty();
        let ready = ready || !queue.initial.is_empty();
        drop(queue);
        drop(earlier);
        if ready {
            waker();
        }
    }

    /// Ends the watch; waiting readers return. Events already queued can still be read.
    pub fn close(&self) {
        if self.generation.is_over() {
            return;
        }
        self.hub.remove(&self.subscriber);
        self.subscriber.close();
        let waker = self.subscriber.queue.lock().waker.take();
        drop(waker);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.close();
    }
}

impl Iterator for Watch {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.wait_next()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter = &self.subscriber.filter;
        f.debug_struct("Watch").field("filter", filter).finish_non_exhaustive()
    }
}

#[cfg(feature = "async")]
impl futures_core::Stream for Watch {
    type Item = Event;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Event>> {
        use std::task::Poll;
        if self.generation.is_over() {
            return Poll::Ready(None);
        }
        let mut queue = self.subscriber.queue.lock();
        match queue.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.closed => Poll::Ready(None),
            None => {
                let waker = cx.waker().clone();
                let earlier = queue.waker.replace(Arc::new(move || waker.wake_by_ref()));
                drop(queue);
                drop(earlier);
                Poll::Pending
            }
        }
    }
}

#[cfg(all(test, not(feature = "__shuttle")))]
mod tests {
    use super::*;

    fn subscriber(hub: &Arc<Hub>, key: &[u8], capacity: usize) -> Result<Watch> {
        let subscriber = hub.add(Filter::Key(key.into()), capacity, 1, 9)?;
        Ok(Watch::new(hub.clone(), subscriber))
    }

    #[test]
    fn what_concerns_members_is_told_to_every_watch() {
        let hub = Arc::new(Hub::default());
        let (all, slow) = (subscriber(&hub, b"a", 9).unwrap(), subscriber(&hub, b"b", 1).unwrap());
        let ended = subscriber(&hub, b"c", 9).unwrap();
        ended.close();
        let woken = Arc::new(AtomicU64::new(0));
        let counter = woken.clone();
        all.on_ready(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        hub.announce(&Event::member("n2", MemberState::Down));
        hub.announce(&Event::owner_passed("n2", "n1"));
        assert_eq!(woken.load(Ordering::SeqCst), 2);

        let member = all.try_next().unwrap();
        assert_eq!((member.kind(), member.count()), (EventKind::Member, 1));
        assert_eq!((member.node(), member.state()), (Some("n2"), Some(MemberState::Down)));
        assert_eq!((member.key(), member.entry(), member.owner()), (None, None, None));
        let owner = all.try_next().unwrap();
        assert_eq!((owner.kind(), owner.count()), (EventKind::Owner, 1));
        assert_eq!((owner.node(), owner.owner()), (Some("n2"), Some("n1")));
        assert_eq!((owner.key(), owner.entry(), owner.state()), (None, None, None));
        assert_eq!(all.try_next(), None);

        let lagged = slow.try_next().unwrap();
        assert_eq!((lagged.kind(), lagged.count(), lagged.node()), (EventKind::Lagged, 1, None));
        assert_eq!(slow.try_next().map(|event| event.kind()), Some(EventKind::Owner));
        assert_eq!((hub.lost(), ended.try_next()), (1, None));
    }
}
