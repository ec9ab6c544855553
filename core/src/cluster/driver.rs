//! The threads of a member: one takes what arrives and keeps the time, one sends.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::bytes::Garbage;
use super::link::{Dial, Inbound, Lane, Link};
use super::settings::Settings;
use super::zenoh::{Engine, EngineConfig};
use super::{Cluster, Flushed, log};
use crate::clock::nanos;
use crate::error::Result;
use crate::options::ClusterOptions;
use crate::supervisor::{Signal, Supervisor};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::table::Table;
use crate::table::replication::Replication;

/// Of what has arrived and waits to be taken in, more is dropped and repaired later.
const MAX_INBOX_BYTES: usize = 64 << 20;
/// So many texts wait to be told; those beyond are not told this time.
const MAX_TEXTS: usize = 16;
/// How long the sender lets changes gather once it has sent some.
const GATHER: Duration = Duration::from_micros(300);
/// How long leaving may take.
const LEAVE: Duration = Duration::from_secs(1);

/// What is there before the table, and waits for it.
pub(crate) struct Prepared {
    pub replication: Arc<Replication>,
    outgoing: Arc<Outgoing>,
    settings: Settings,
}

impl Prepared {
    pub fn new(options: &ClusterOptions) -> Prepared {
        let mut settings = Settings::new(nanos(options.timeout()));
        if options.tls.is_some() {
            // The engine finds nobody then; but both sides of a new pair hear of each other at the same time.
            settings.meet_after = settings.beat() / 2;
        }
        let outgoing = Arc::new(Outgoing::default());
        let sender = outgoing.clone();
        let bell = Box::new(move || sender.signal.ring());
        let replication =
            Arc::new(Replication::new(settings.outbox_records, settings.faults, bell));
        Prepared { replication, outgoing, settings }
    }
}

/// Opens the engine and starts the threads.
pub(crate) fn start(
    prepared: Prepared,
    options: &ClusterOptions,
    table: Arc<Table>,
    supervisor: &Arc<Supervisor>,
) -> Result<Arc<Cluster>> {
    let Prepared { replication, outgoing, settings } = prepared;
    let inbox = Arc::new(Inbox::default());
    let config = EngineConfig {
        cluster: options.name.clone().unwrap_or_default(),
        incarnation: table.member.incarnation,
        listen: options.listens(),
        peers: options.peers.clone(),
        multicast: options.multicast,
        failure_timeout: options.timeout(),
        tls: options.tls.clone(),
    };
    let engine = Engine::open(config, inbox.clone())?;
    let _ = outgoing.engine.set(engine.clone());
    let expects_others = !options.peers.is_empty() || options.multicast;
    let link = outgoing.clone();
    let cluster = Arc::new(Cluster::new(table, replication, settings, link, expects_others));
    let bell = inbox.clone();
    cluster.set_bell(Box::new(move || bell.signal.ring()));
    let tick = Duration::from_nanos(settings.beat() / 4).min(Duration::from_millis(100));
    let (weak, taken) = (Arc::downgrade(&cluster), inbox.clone());
    let take = move |signal: &Signal| take_in(&weak, &taken, signal, tick);
    let started = supervisor.start("minikv-cluster", inbox.signal.clone(), take);
    let (weak, sent) = (Arc::downgrade(&cluster), outgoing.clone());
    let send = move |signal: &Signal| send_out(&weak, &sent, signal);
    let started =
        started.and_then(|()| supervisor.start("minikv-sender", outgoing.signal.clone(), send));
    if let Err(error) = started {
        engine.close();
        return Err(error);
    }
    cluster.tick();
    Ok(cluster)
}

/// What the engine's threads have seen.
enum Arrived {
    Message(Vec<u8>),
    LinkUp(u128),
    LinkDown(u128),
}

#[derive(Default)]
struct Inbox {
    queue: Mutex<Queue>,
    signal: Arc<Signal>,
    refused: AtomicU64,
    /// What was turned away and what failed. Told where there is time to write a log.
    texts: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Queue {
    arrived: VecDeque<Arrived>,
    bytes: usize,
}

impl Inbox {
    fn push(&self, arrived: Arrived) {
        self.queue.lock().arrived.push_back(arrived);
        self.signal.ring();
    }

    fn note(&self, text: &str) {
        let mut texts = self.texts.lock();
        if texts.len() < MAX_TEXTS && !texts.iter().any(|noted| noted == text) {
            texts.push(text.to_owned());
        }
    }

    fn tell(&self) {
        let texts = std::mem::take(&mut *self.texts.lock());
        texts.iter().for_each(|text| log::warn_once(text, text));
    }
}

impl Inbound for Inbox {
    fn message(&self, bytes: Vec<u8>) {
        let was_empty = {
            let mut queue = self.queue.lock();
            if queue.bytes + bytes.len() > MAX_INBOX_BYTES {
                // The gap in the numbers will show.
                return;
            }
            queue.bytes += bytes.len();
            queue.arrived.push_back(Arrived::Message(bytes));
            queue.arrived.len() == 1
        };
        if was_empty {
            self.signal.ring();
        }
    }

    fn link_up(&self, incarnation: u128) {
        self.push(Arrived::LinkUp(incarnation));
    }

    fn link_down(&self, incarnation: u128) {
        self.push(Arrived::LinkDown(incarnation));
    }

    fn refused(&self, what: &str) {
        self.note(what);
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.signal.ring();
    }

    fn failed(&self, what: &str) {
        self.note(what);
        self.signal.ring();
    }
}

fn take_in(cluster: &Weak<Cluster>, inbox: &Inbox, signal: &Signal, tick: Duration) {
    let mut ticked_at = 0;
    loop {
        let Some(cluster) = cluster.upgrade() else { return };
        let arrived = {
            let mut queue = inbox.queue.lock();
            queue.bytes = 0;
            std::mem::take(&mut queue.arrived)
        };
        for arrived in arrived {
            match arrived {
                Arrived::Message(bytes) => {
                    if let Err(Garbage(why)) = cluster.receive(&bytes) {
                        inbox.note(&format!("a message that is not in order was dropped: {why}"));
                    }
                }
                Arrived::LinkUp(incarnation) => cluster.link_up(incarnation),
                Arrived::LinkDown(incarnation) => cluster.link_down(incarnation),
            }
            // What arrives must not keep the time from being looked at.
            tick_if_due(&cluster, &mut ticked_at, tick);
        }
        for _ in 0..inbox.refused.swap(0, Ordering::Relaxed) {
            cluster.refused();
        }
        tick_if_due(&cluster, &mut ticked_at, tick);
        cluster.look_at_decided();
        drop(cluster);
        inbox.tell();
        if signal.wait(Some(tick)) {
            // The last words of one that stops at once.
            inbox.tell();
            return;
        }
    }
}

fn tick_if_due(cluster: &Cluster, ticked_at: &mut u64, tick: Duration) {
    let now = cluster.now();
    if now.saturating_sub(*ticked_at) >= nanos(tick) {
        *ticked_at = now;
        cluster.tick();
    }
}

/// What is to be sent, before the engine that sends it: handing something over never blocks.
#[derive(Default)]
struct Outgoing {
    queue: Mutex<VecDeque<(Option<u128>, Vec<u8>)>>,
    urgent: Mutex<VecDeque<(Option<u128>, Vec<u8>)>>,
    /// Whoever takes a message has handed it over before the next one is taken.
    sending: Mutex<()>,
    /// The last word is said: nothing may come behind it.
    leaving: AtomicBool,
    signal: Arc<Signal>,
    engine: OnceLock<Arc<Engine>>,
}

impl Outgoing {
    fn push(&self, to: Option<u128>, lane: Lane, bytes: Vec<u8>) {
        if self.leaving.load(Ordering::SeqCst) {
            return;
        }
        let queue = match lane {
            Lane::Control => &self.urgent,
            Lane::Bulk => &self.queue,
        };
        queue.lock().push_back((to, bytes));
        self.signal.ring();
    }

    /// As [`send_one`](Outgoing::send_one), for who does not do so any more once the last word is said.
    fn send_next(&self) -> bool {
        !self.leaving.load(Ordering::SeqCst) && self.send_one()
    }

    /// Sends one message, an urgent one if there is any. False: there is none.
    fn send_one(&self) -> bool {
        let _in_order = self.sending.lock();
        let next = |queue: &Mutex<VecDeque<(Option<u128>, Vec<u8>)>>| queue.lock().pop_front();
        let urgent = next(&self.urgent).map(|message| (Lane::Control, message));
        let message = urgent.or_else(|| next(&self.queue).map(|message| (Lane::Bulk, message)));
        match (message, self.engine.get()) {
            (Some((lane, (Some(to), bytes))), Some(engine)) => engine.send(to, lane, bytes),
            (Some((lane, (None, bytes))), Some(engine)) => engine.broadcast(lane, bytes),
            (message, _) => return message.is_some(),
        }
        true
    }
}

impl Link for Outgoing {
    fn broadcast(&self, lane: Lane, bytes: Vec<u8>) {
        self.push(None, lane, bytes);
    }

    fn send(&self, to: u128, lane: Lane, bytes: Vec<u8>) {
        self.push(Some(to), lane, bytes);
    }

    fn connect(&self, dial: &Dial) {
        if let Some(engine) = self.engine.get() {
            engine.connect(dial);
        }
    }

    fn endpoints(&self) -> Vec<String> {
        self.engine.get().map(|engine| engine.endpoints()).unwrap_or_default()
    }

    fn close(&self) {
        // What is still to be said is said first, if the others take it.
        self.leaving.store(true, Ordering::SeqCst);
        let started = crate::clock::Clock::System.mono();
        let in_time = || crate::clock::Clock::System.mono() - started < nanos(LEAVE);
        while in_time() && self.send_one() {}
        let last = self.queue.lock().pop_back();
        if let Some(engine) = self.engine.get() {
            // The good-bye, where there was no time for all that comes before it.
            if let Some((None, bytes)) = last {
                engine.broadcast(Lane::Bulk, bytes);
            }
            engine.close();
        }
    }
}

fn send_out(cluster: &Weak<Cluster>, outgoing: &Outgoing, signal: &Signal) {
    loop {
        let Some(cluster) = cluster.upgrade() else { return };
        let flushed = cluster.flush_one();
        drop(cluster);
        if flushed != Flushed::Nothing {
            // The outbox stays quiet till it is found empty, and all else is sent now: only this thread's own
            // messages and theirs have rung.
            signal.hush();
        }
        while outgoing.send_next() {}
        let ended = match flushed {
            Flushed::Some => signal.is_stopping(),
            // A change that comes now goes out with those that follow within this time, and wakes nobody;
            // what is to be sent to one member rings and does not wait.
            Flushed::All => signal.wait(Some(GATHER)),
            Flushed::Nothing => signal.wait(None),
        };
        if ended {
            return;
        }
    }
}
