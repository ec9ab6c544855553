//! Dialling: configured peers until they are linked and whenever their link broke, others when asked.
//!
//! The engine does both for endpoints in its settings, but goes on dialling a peer that has come by
//! itself, and knows no endpoints that turn up later. So its settings name none.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::zenoh::config::{Config, WhatAmI};
use ::zenoh::internal::runtime::{Runtime, ZRuntime};
use ::zenoh::session::Session;

use super::tunnels::reached_by;
use super::{Shared, in_callback, settings};
use crate::cluster::address::{from_locator, to_locator};
use crate::cluster::link::{Dial, Inbound};
use crate::endpoint::Endpoint;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Before each try to reach a member that was asked for.
const TRIES: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(400)];
/// Of one that is discovered, so many are dialled at most.
const MAX_ENDPOINTS: usize = 16;
/// So many that are discovered are sought at the same time.
const MAX_SOUGHT: usize = 32;
/// After so many dials in a row that led to nothing it is looked whether anybody is there, until that was said once.
const SUSPICIOUS: u32 = 3;

pub(super) struct Dialler {
    pub runtime: Runtime,
    pub session: Session,
    pub shared: Arc<Shared>,
}

/// Dials a configured peer whenever it is not linked, until the engine is closed.
pub(super) async fn keep_dialling(dialler: Dialler, peer: Endpoint, inbound: Arc<dyn Inbound>) {
    let mut wait = FIRST_WAIT;
    let mut failures: u32 = 0;
    let mut said = false;
    let mut step = dialler.shared.own as u64;
    loop {
        if dialler.dial(&peer).await {
            (failures, said) = (0, false);
            wait = FIRST_WAIT;
            tokio::time::sleep(LAST_WAIT).await;
            continue;
        }
        failures = failures.saturating_add(1);
        if failures >= SUSPICIOUS && !said && dialler.is_somebody_at(&peer).await {
            said = true;
            let text = format!(
                "{peer} takes connections but makes no link: it is frozen, another program or another version, or \
                 only one side has TLS, or one side's certificate does not suit the other"
            );
            in_callback(|| inbound.refused(&text));
        }
        // Two that dial each other at the same moment refuse each other: never in step.
        step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(wait.mul_f64(0.75 + (step >> 33) as f64 / (1u64 << 32) as f64)).await;
        wait = (wait * 2).min(LAST_WAIT);
    }
}

/// Dials whoever is discovered, as the engine does without TLS.
pub(super) async fn dial_discovered(dialler: Dialler) {
    let dialler = Arc::new(dialler);
    // Without a network there is nobody to discover.
    let Ok(scout) = ::zenoh::scout(WhatAmI::Peer, Config::default()).await else { return };
    while let Ok(hello) = scout.recv_async().await {
        let member = u128::from_le_bytes(hello.zid().to_le_bytes());
        let told = hello.locators().iter().take(MAX_ENDPOINTS);
        let endpoints: Vec<_> =
            told.filter_map(|locator| reached_by(&from_locator(locator.as_str()))).collect();
        let is_news = member != dialler.shared.own && !dialler.shared.is_linked(member);
        // Anybody can tell of members that are not there, and each takes its time.
        if is_news && Arc::strong_count(&dialler) <= MAX_SOUGHT {
            let seeker = dialler.clone();
            let closed = dialler.runtime.get_cancellation_token();
            let dial = Dial { member, endpoints, anew: false };
            ZRuntime::Net.spawn(async move { closed.run_until_cancelled(seeker.seek(dial)).await });
        }
    }
}

impl Dialler {
    /// Dials a member, or whoever is at its endpoints now.
    ///
    /// More than once: the engine tells that a link is broken a moment before it takes another one with
    /// the same member, here and over there, and refuses what comes in between.
    pub async fn seek(&self, dial: Dial) {
        let Dial { member, endpoints, anew } = dial;
        let endpoints: Vec<Endpoint> =
            endpoints.iter().filter_map(|text| Endpoint::parse("endpoint", text).ok()).collect();
        if anew {
            self.shared.transports.end(member, self.shared.failure_timeout).await;
        }
        for wait in TRIES {
            tokio::time::sleep(wait).await;
            let mut reached = false;
            // One after the other: a member takes one link.
            for endpoint in &endpoints {
                if self.shared.is_linked(member) {
                    return;
                }
                reached |= self.dial(endpoint).await;
            }
            if reached {
                return;
            }
        }
    }

    /// Dials whoever is there, unless it is linked already, or is this member itself. Whether it is.
    async fn dial(&self, endpoint: &Endpoint) -> bool {
        let addresses = resolve(endpoint).await;
        let own = self.shared.own_addresses.get();
        if own.is_some_and(|own| addresses.iter().any(|address| own.contains(address)))
            || self.is_linked_to(&addresses).await
        {
            return true;
        }
        let name = endpoint.to_string();
        if addresses.is_empty() || !self.shared.dialling.lock().insert(name.clone()) {
            return false;
        }
        if let Some(reached) = self.way_to(endpoint).await {
            self.dial_at_once(&to_locator(&reached)).await;
        }
        self.shared.dialling.lock().remove(&name);
        self.is_linked_to(&addresses).await
    }

    /// What the engine dials to reach it.
    async fn way_to(&self, endpoint: &Endpoint) -> Option<Endpoint> {
        match (&self.shared.tunnels, endpoint) {
            (Some(tunnels), Endpoint::Tcp { host, port }) => {
                let socket = tunnels.dial(host, *port).await?;
                Some(Endpoint::Unix(socket.to_str()?.to_owned()))
            }
            _ => Some(endpoint.clone()),
        }
    }

    /// Who is at the other end of a link, by where the engine dialled it.
    fn far_end(&self, locator: &str) -> String {
        let near = from_locator(locator);
        let tunnels = self.shared.tunnels.as_ref();
        tunnels.and_then(|tunnels| tunnels.far_end(near.strip_prefix("unix:")?)).unwrap_or(near)
    }

    async fn is_linked_to(&self, addresses: &[String]) -> bool {
        if addresses.iter().any(|address| self.shared.is_linked_at(address)) {
            return true;
        }
        // It may have announced other addresses than the one over which it was dialled.
        let mut links = self.session.info().links().await;
        links.any(|link| addresses.contains(&self.far_end(link.dst().as_str())))
    }

    /// One dial of an endpoint without knowing who is there. The engine has that only as a part of its
    /// start: its settings name the endpoint while it looks at them, which is before it first waits.
    async fn dial_at_once(&self, locator: &str) {
        let mut own = self.runtime.clone();
        let mut start: Pin<Box<dyn Future<Output = ::zenoh::Result<()>> + Send>> =
            Box::pin(async move { own.start().await });
        let set = |endpoints: &str| {
            let mut settings = self.runtime.config().lock();
            // Fails on what is no locator, which the engine would not dial either.
            let _ = settings.insert_json5("connect/endpoints", endpoints);
        };
        let first = std::future::poll_fn(|context| {
            let _alone = self.shared.settings.lock();
            set(&settings::list(&[locator]));
            let polled = start.as_mut().poll(context);
            set("[]");
            Poll::Ready(polled)
        });
        if first.await.is_pending() {
            // Whether it led to a link is seen by the link.
            let _ = start.await;
        }
    }

    /// Whether a connection can be made, and it is not somebody who is linked: a member may be
    /// reached at other addresses than it announces, and takes one link only.
    async fn is_somebody_at(&self, endpoint: &Endpoint) -> bool {
        let Endpoint::Tcp { .. } = endpoint else {
            let Endpoint::Unix(path) = endpoint else { return false };
            return tokio::net::UnixStream::connect(path).await.is_ok();
        };
        let addresses = resolve(endpoint).await;
        let hosts: Vec<IpAddr> = addresses.iter().filter_map(|address| host(address)).collect();
        let mut links = self.session.info().links().await;
        let is_there = |address: &str| host(address).is_some_and(|host| hosts.contains(&host));
        if links.any(|link| is_there(&self.far_end(link.dst().as_str()))) {
            return false;
        }
        if let Some(tunnels) = &self.shared.tunnels
            && hosts.iter().any(|host| tunnels.leads_to(*host))
        {
            return false;
        }
        for address in addresses {
            if tokio::net::TcpStream::connect(&address).await.is_ok() {
                return true;
            }
        }
        false
    }
}

/// The machine, as the same one however it was reached.
fn host(address: &str) -> Option<IpAddr> {
    address.parse::<SocketAddr>().ok().map(|address| address.ip().to_canonical())
}

/// As the engine writes addresses; empty if the name has none.
async fn resolve(endpoint: &Endpoint) -> Vec<String> {
    match endpoint {
        Endpoint::Unix(_) => vec![endpoint.to_string()],
        Endpoint::Tcp { host, port } => {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(found) => found.map(|address| address.to_string()).collect(),
                Err(_) => vec![],
            }
        }
    }
}
