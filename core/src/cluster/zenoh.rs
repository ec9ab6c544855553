//! The engine under the cluster, and with its parts the only file that names it: links over TCP, TLS and Unix sockets,
//! discovery by gossip, and word of links that break.
//!
//! What each member declares, under a prefix that is the cluster's own (so two clusters never mix):
//! `all` and `to/<incarnation>` are subscribed to; the token `at/<incarnation>/<endpoints>` goes out after
//! these, so who sees it knows that messages arrive from then on, and where to dial its member again.

mod dial;
mod folder;
#[cfg(target_os = "linux")]
mod linger;
mod quiet;
mod refusals;
mod settings;
mod transports;
mod tunnels;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use ::zenoh::Wait;
use ::zenoh::config::{Config, Locator};
use ::zenoh::internal::runtime::{DynamicRuntime, Runtime, RuntimeBuilder, ZRuntime};
use ::zenoh::liveliness::LivelinessToken;
use ::zenoh::pubsub::Publisher;
use ::zenoh::qos::{CongestionControl, Priority, Reliability};
use ::zenoh::sample::{Locality, SampleKind};
use ::zenoh::session::Session;

use self::dial::{Dialler, dial_discovered, keep_dialling};
pub use self::refusals::{count_refusals, refusals_layer};
use self::transports::Transports;
use self::tunnels::{Listening, Tunnels};
use super::address::{from_locator, is_beyond_loopback, to_locator};
use super::link::{Dial, Inbound, Lane, Link};
use super::log;
use super::preflight;
use super::tls;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result, shorten};
use crate::fork::{self, Generation};
use crate::options::Tls;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, RwLock};

/// Changes with what members say to each other: other versions are other clusters.
const PREFIX: &str = "minikv/1";
/// The tokens of every cluster and version.
const ALL_TOKENS: &str = "minikv/*/*/at/*/*";
const OTHER_CLUSTER: &str = "a member of another cluster, with another version, or that differs in having TLS, found \
                             its way here";
/// Members remembered for dialling them again; beyond, those without a link are forgotten.
const MAX_KNOWN: usize = 4096;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct EngineConfig {
    pub cluster: String,
    pub incarnation: u128,
    pub listen: Vec<String>,
    pub peers: Vec<String>,
    pub multicast: bool,
    pub failure_timeout: Duration,
    pub tls: Option<Tls>,
}

pub(crate) struct Engine {
    /// Empty once closed. Read-locked while sending.
    live: Arc<RwLock<Option<Live>>>,
    shared: Arc<Shared>,
    closing: AtomicBool,
    generation: Generation,
    endpoints: Vec<String>,
}

struct Live {
    runtime: Runtime,
    session: Session,
    control: Publisher<'static>,
    bulk: Publisher<'static>,
    unicast: Mutex<HashMap<(u128, Lane), Arc<Publisher<'static>>>>,
    _token: LivelinessToken,
}

/// What callbacks and dials need. Holds nothing of the session, nor what hears of messages.
struct Shared {
    prefix: String,
    own: u128,
    /// If members prove to each other who they are.
    tunnels: Option<Arc<Tunnels>>,
    failure_timeout: Duration,
    transports: Arc<Transports>,
    known: Mutex<HashMap<u128, Known>>,
    /// Whose link broke since the last message was sent.
    gone: Mutex<Vec<u128>>,
    dialling: Mutex<HashSet<String>>,
    own_addresses: OnceLock<HashSet<String>>,
    /// Held while the engine's settings name an endpoint to dial.
    settings: Mutex<()>,
}

struct Known {
    endpoints: Vec<String>,
    linked: bool,
}

thread_local! {
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs what a callback does, so that `close` can tell that it must not wait for it.
fn in_callback(body: impl FnOnce()) {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            IN_CALLBACK.set(self.0);
        }
    }
    let _reset = Reset(IN_CALLBACK.replace(true));
    body();
}

/// The engine's threads are the process's: they live until it ends and do not survive a fork.
fn check_process() -> Result<Generation> {
    static FIRST: OnceLock<Generation> = OnceLock::new();
    fork::watch();
    let now = Generation::now();
    if *FIRST.get_or_init(|| now) == now {
        return Ok(now);
    }
    let text = "a member of a cluster ran in this process before it was forked, and the child cannot be \
                one; start it as a process of its own";
    Err(Error::new(ErrorKind::Forked, text))
}

impl Engine {
    /// Joins; returns without waiting for anybody. Unreachable peers are dialled again and are no error.
    pub fn open(config: EngineConfig, inbound: Arc<dyn Inbound>) -> Result<Arc<Engine>> {
        let generation = check_process()?;
        let listen = parse("listen", &config.listen)?;
        let peers = parse("peers", &config.peers)?;
        let identity = config.tls.as_ref().map(tls::read).transpose()?;
        let mut listening: Vec<Listening> = vec![];
        let mut locators: Vec<String> = vec![];
        for address in &listen {
            match address {
                Endpoint::Tcp { host, port } if identity.is_some() => {
                    listening.push(Listening::new(preflight::tcp(address, host, *port)?));
                }
                _ => {
                    preflight::listen(address)?;
                    locators.push(to_locator(address));
                }
            }
        }
        let handshake = handshake_timeout(config.failure_timeout);
        let heard: Weak<dyn Inbound> = Arc::downgrade(&inbound);
        let tunnels = identity
            .map(|it| Tunnels::new(it, &listening, config.multicast, handshake, heard.clone()))
            .transpose()?
            .map(Arc::new);
        if let Some(tunnels) = &tunnels {
            locators.extend(tunnels.inner().map(|socket| to_locator(&socket)));
        }
        let settings = settings::settings(&config, &locators, handshake)?;
        // With TLS it is another cluster than without: a Unix socket, where there is no TLS, must not lead a member
        // without it to those with it, be it that the engine finds the socket by itself. The authority is no part of
        // it, so that a member that knows a new one besides meets those that know the old one only.
        let has_tls = u64::from(config.tls.is_some());
        let cluster = xxhash_rust::xxh3::xxh3_128_with_seed(config.cluster.as_bytes(), has_tls);
        let shared = Arc::new(Shared {
            prefix: format!("{PREFIX}/{cluster:032x}"),
            own: config.incarnation,
            tunnels,
            failure_timeout: config.failure_timeout,
            transports: Arc::default(),
            known: Mutex::default(),
            gone: Mutex::default(),
            dialling: Mutex::default(),
            own_addresses: OnceLock::new(),
            settings: Mutex::default(),
        });
        let (opening, hears) = (shared.clone(), inbound.clone());
        // On a thread of its own: the caller's may belong to an async runtime, where the engine cannot wait.
        let (live, endpoints) = on_own_thread("minikv-open", move || {
            ZRuntime::Application.block_in_place(start(settings, opening, hears))
        })?
        .map_err(|error| {
            Error::new(ErrorKind::Io, format!("the cluster cannot start: {}", words(&*error)))
        })?;
        refusals::tell(heard);
        log::info(&format!(
            "a member of the cluster {} listens on {}",
            shorten(config.cluster.as_bytes()),
            endpoints.join(", ")
        ));
        if shared.tunnels.is_none() {
            warn_if_open_to_all(&endpoints);
        }
        for listening in listening {
            if let Some(tunnels) = shared.tunnels.clone() {
                live.spawn(tunnels.serve(listening));
            }
        }
        if shared.tunnels.is_some() && config.multicast {
            live.spawn(dial_discovered(live.dialler(&shared)));
        }
        for peer in peers {
            let dialler = live.dialler(&shared);
            live.spawn(keep_dialling(dialler, peer, inbound.clone()));
        }
        Ok(Arc::new(Engine {
            live: Arc::new(RwLock::new(Some(live))),
            shared,
            closing: AtomicBool::new(false),
            generation,
            endpoints,
        }))
    }

    fn is_over(&self) -> bool {
        self.generation.is_over() || self.closing.load(Ordering::SeqCst)
    }
}

impl Link for Engine {
    fn broadcast(&self, lane: Lane, bytes: Vec<u8>) {
        if self.is_over() {
            return;
        }
        if let Some(live) = self.live.read().as_ref() {
            live.forget(&self.shared);
            let publisher = match lane {
                Lane::Control => &live.control,
                Lane::Bulk => &live.bulk,
            };
            // Fails only once it is closed.
            let _ = publisher.put(bytes).wait();
        }
    }

    fn send(&self, to: u128, lane: Lane, bytes: Vec<u8>) {
        if self.is_over() {
            return;
        }
        if let Some(live) = self.live.read().as_ref() {
            live.forget(&self.shared);
            if let Some(publisher) = live.publisher_to(&self.shared, to, lane) {
                let _ = publisher.put(bytes).wait();
            }
        }
    }

    fn connect(&self, dial: &Dial) {
        if self.is_over() {
            return;
        }
        let live = self.live.read();
        let Some(live) = live.as_ref() else { return };
        let (dialler, dial) = (live.dialler(&self.shared), dial.clone());
        live.spawn(async move { dialler.seek(dial).await });
    }

    fn endpoints(&self) -> Vec<String> {
        self.endpoints.clone()
    }

    fn close(&self) {
        // In a forked child nothing of it may be touched.
        if self.generation.is_over() || self.closing.swap(true, Ordering::SeqCst) {
            return;
        }
        let (live, tunnels) = (self.live.clone(), self.shared.tunnels.clone());
        if let Some(tunnels) = &tunnels {
            tunnels.close();
        }
        let body = move || {
            // Behind a message that is being sent, which waits for a bounded time.
            let Some(live) = live.write().take() else { return };
            // Errors: it took too long. Its links end with the process or the peers' patience.
            let _ = live.session.close().timeout(CLOSE_TIMEOUT).wait_callbacks().wait();
            let _ = live.runtime.close().timeout(CLOSE_TIMEOUT).wait();
            if let Some(tunnels) = tunnels {
                tunnels.finish(CLOSE_TIMEOUT);
            }
        };
        let spawned = thread::Builder::new().name("minikv-close".to_owned()).spawn(body);
        match spawned {
            Ok(_) if IN_CALLBACK.get() => {}
            Ok(thread) => drop(thread.join()),
            // Out of threads: dropping it here could panic inside an async runtime.
            Err(_) => std::mem::forget(self.live.clone()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.generation.is_over() {
            std::mem::forget(self.live.clone());
        } else {
            self.close();
        }
    }
}

impl Live {
    /// Until it is closed.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closed = self.runtime.get_cancellation_token();
        ZRuntime::Net.spawn(async move { closed.run_until_cancelled(task).await });
    }

    fn dialler(&self, shared: &Arc<Shared>) -> Dialler {
        let (runtime, session) = (self.runtime.clone(), self.session.clone());
        Dialler { runtime, session, shared: shared.clone() }
    }

    fn publisher_to(
        &self,
        shared: &Shared,
        to: u128,
        lane: Lane,
    ) -> Option<Arc<Publisher<'static>>> {
        let mut unicast = self.unicast.lock();
        if let Some(publisher) = unicast.get(&(to, lane)) {
            return Some(publisher.clone());
        }
        let publisher = Arc::new(publisher(&self.session, shared.key_to(to), lane).ok()?);
        unicast.insert((to, lane), publisher.clone());
        Some(publisher)
    }

    /// Not where a link breaks: nothing may be undeclared in a callback.
    fn forget(&self, shared: &Shared) {
        for incarnation in std::mem::take(&mut *shared.gone.lock()) {
            for lane in [Lane::Control, Lane::Bulk] {
                // Bound, so that it is dropped after the lock.
                let _dropped = self.unicast.lock().remove(&(incarnation, lane));
            }
        }
    }
}

impl Shared {
    fn key_to(&self, incarnation: u128) -> String {
        format!("{}/to/{incarnation:032x}", self.prefix)
    }

    fn key_at(&self, incarnation: u128, endpoints: &[String]) -> String {
        format!("{}/at/{incarnation:032x}/{}", self.prefix, hex(&endpoints.join("\n")))
    }

    /// Whether a member that is linked has announced this endpoint.
    fn is_linked_at(&self, endpoint: &str) -> bool {
        let is_there =
            |member: &Known| member.linked && member.endpoints.iter().any(|at| at == endpoint);
        self.known.lock().values().any(is_there)
    }

    /// The incarnation and the endpoints, if it is of this cluster.
    fn read_token(&self, key: &str) -> Option<(u128, Vec<String>)> {
        let (incarnation, endpoints) =
            key.strip_prefix(&self.prefix)?.strip_prefix("/at/")?.split_once('/')?;
        let incarnation = u128::from_str_radix(incarnation, 16).ok()?;
        let endpoints = from_hex(endpoints)?;
        Some((incarnation, endpoints.split('\n').map(str::to_owned).collect()))
    }

    fn is_linked(&self, incarnation: u128) -> bool {
        self.known.lock().get(&incarnation).is_some_and(|member| member.linked)
    }

    /// A member's token came or went. Whether it is news.
    fn note(&self, incarnation: u128, endpoints: Vec<String>, linked: bool) -> bool {
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.retain(|_, member| member.linked);
        }
        let member = known.entry(incarnation).or_insert(Known { endpoints: vec![], linked: false });
        member.endpoints = endpoints;
        std::mem::replace(&mut member.linked, linked) != linked
    }

    /// Its link is closed. Whether it was open.
    fn note_down(&self, incarnation: u128) -> bool {
        let mut known = self.known.lock();
        let was = known.get_mut(&incarnation).map(|member| std::mem::take(&mut member.linked));
        drop(known);
        self.gone.lock().push(incarnation);
        was == Some(true)
    }
}

/// How long the beginning of a link may take.
fn handshake_timeout(failure_timeout: Duration) -> Duration {
    (2 * failure_timeout).clamp(Duration::from_secs(1), Duration::from_secs(10))
}

fn parse(field: &str, endpoints: &[String]) -> Result<Vec<Endpoint>> {
    endpoints.iter().map(|text| Endpoint::parse(field, text)).collect()
}

fn on_own_thread<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    let thread = spawned.map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot start the thread {name}: {error}"))
    })?;
    // The engine panics when it cannot start its threads.
    thread.join().map_err(|_| {
        Error::new(ErrorKind::Io, "the cluster's engine panicked; can it start its threads?")
    })
}

/// The engine's own words, without where in its sources they were said.
fn words(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let text = error.to_string();
    text.split(" at /").next().unwrap_or(&text).trim_end_matches([' ', '.']).to_owned()
}

fn warn_if_open_to_all(endpoints: &[String]) {
    let is_open =
        |text: &&String| Endpoint::parse("endpoint", text).is_ok_and(|at| is_beyond_loopback(&at));
    let open: Vec<&str> = endpoints.iter().filter(is_open).map(String::as_str).collect();
    if !open.is_empty() {
        let open = open.join(", ");
        log::warn(&format!(
            "the cluster listens on {open} without TLS: whoever reaches it can read and write all entries"
        ));
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<String> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    String::from_utf8(pairs.collect::<Option<_>>()?).ok()
}

async fn start(
    settings: Config,
    shared: Arc<Shared>,
    inbound: Arc<dyn Inbound>,
) -> ::zenoh::Result<(Live, Vec<String>)> {
    let mut runtime = RuntimeBuilder::new(settings).build().await?;
    match declare(&mut runtime, shared, inbound).await {
        Ok(live) => Ok(live),
        Err(error) => {
            let _ = runtime.close().await;
            Err(error)
        }
    }
}

async fn declare(
    runtime: &mut Runtime,
    shared: Arc<Shared>,
    inbound: Arc<dyn Inbound>,
) -> ::zenoh::Result<(Live, Vec<String>)> {
    let dynamic = DynamicRuntime::from(runtime.clone());
    dynamic.new_handler(shared.transports.clone());
    let session = ::zenoh::session::init(dynamic).await?;
    for key in [format!("{}/all", shared.prefix), shared.key_to(shared.own)] {
        let inbound = inbound.clone();
        session
            .declare_subscriber(key)
            .allowed_origin(Locality::Remote)
            .callback(move |sample| {
                in_callback(|| inbound.message(sample.payload().to_bytes().into_owned()));
            })
            .background()
            .await?;
    }
    let (seen, heard) = (shared.clone(), inbound.clone());
    session
        .info()
        .transport_events_listener()
        .callback(move |event| {
            let incarnation = u128::from_le_bytes(event.transport().zid().to_le_bytes());
            if event.kind() == SampleKind::Delete && seen.note_down(incarnation) {
                in_callback(|| heard.link_down(incarnation));
            }
        })
        .background()
        .await?;
    #[cfg(target_os = "linux")]
    session
        .info()
        .link_events_listener()
        .callback(|event| {
            if event.kind() == SampleKind::Put {
                let link = event.link();
                let [from, to] = [link.src(), link.dst()].map(|at| from_locator(at.as_str()));
                // It looks at every open file.
                ZRuntime::Net.spawn_blocking(move || linger::remove(&from, &to));
            }
        })
        .background()
        .await?;
    let seen = shared.clone();
    session
        .liveliness()
        .declare_subscriber(ALL_TOKENS)
        .history(true)
        .callback(move |sample| {
            let up = sample.kind() == SampleKind::Put;
            let key = sample.key_expr().as_str();
            let Some((incarnation, endpoints)) = seen.read_token(key) else {
                if up {
                    in_callback(|| inbound.refused(OTHER_CLUSTER));
                }
                return;
            };
            if incarnation == seen.own || !seen.note(incarnation, endpoints, up) {
                return;
            }
            in_callback(|| match up {
                true => inbound.link_up(incarnation),
                false => inbound.link_down(incarnation),
            });
        })
        .background()
        .await?;
    let control = publisher(&session, format!("{}/all", shared.prefix), Lane::Control)?;
    let bulk = publisher(&session, format!("{}/all", shared.prefix), Lane::Bulk)?;
    runtime.start().await?;
    // Dials go through these settings later; nothing else of a start may happen again.
    for (path, value) in [("listen/endpoints", "[]"), ("scouting/multicast/enabled", "false")] {
        runtime.config().lock().insert_json5(path, value).map_err(|error| error.to_string())?;
    }
    let text = |locators: Vec<Locator>| -> Vec<String> {
        locators.iter().map(|locator| from_locator(locator.as_str())).collect()
    };
    let announced = |locators, loopback| match &shared.tunnels {
        Some(tunnels) => tunnels.announce(text(locators), loopback),
        None => text(locators),
    };
    let all = announced(runtime.get_locators(), true);
    let mut endpoints = announced(runtime.get_locators_noloopback(), false);
    if endpoints.is_empty() {
        endpoints.clone_from(&all);
    }
    endpoints.sort();
    endpoints.dedup();
    let _ = shared.own_addresses.set(all.into_iter().collect());
    let token = session.liveliness().declare_token(shared.key_at(shared.own, &endpoints)).await?;
    let unicast = Mutex::default();
    let runtime = runtime.clone();
    Ok((Live { runtime, session, control, bulk, unicast, _token: token }, endpoints))
}

fn publisher(session: &Session, key: String, lane: Lane) -> ::zenoh::Result<Publisher<'static>> {
    let (priority, express) = match lane {
        Lane::Control => (Priority::InteractiveHigh, true),
        Lane::Bulk => (Priority::Data, false),
    };
    session
        .declare_publisher(key)
        .allowed_destination(Locality::Remote)
        .reliability(Reliability::Reliable)
        .congestion_control(CongestionControl::Block)
        .priority(priority)
        .express(express)
        .wait()
}

#[cfg(test)]
mod tests;
