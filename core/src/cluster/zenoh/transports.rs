//! The links that stand, as the engine holds them, to end one that is of no use.
//!
//! A link can stand and carry nothing: when one side has seen it break and dials again before the other has,
//! the other takes the new link for a second one beside the first. Then it declares nothing on it, and drops
//! what comes as something that it has had before. Only ending it on both sides helps.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use zenoh_transport::multicast::TransportMulticast;
use zenoh_transport::unicast::TransportUnicast;
use zenoh_transport::{
    DummyTransportMulticastEventHandler, DummyTransportPeerEventHandler, TransportEventHandler,
    TransportMulticastEventHandler, TransportPeer, TransportPeerEventHandler,
};

use crate::clock::Clock;
use crate::sync::Mutex;

/// By the incarnation of who is at the other end, and since when on the monotonic clock.
#[derive(Default)]
pub(super) struct Transports(Mutex<HashMap<u128, (TransportUnicast, u64)>>);

impl Transports {
    /// Ends the link with this member, if it has stood for so long.
    pub async fn end(&self, member: u128, age: Duration) {
        let stands = self.0.lock().get(&member).cloned();
        if let Some((transport, since)) = stands
            && Clock::System.mono() - since >= age.as_nanos() as u64
        {
            // Fails if it has ended meanwhile.
            let _ = transport.close().await;
        }
    }
}

impl TransportEventHandler for Transports {
    fn new_unicast(
        &self,
        peer: TransportPeer,
        transport: TransportUnicast,
    ) -> ::zenoh::Result<Arc<dyn TransportPeerEventHandler>> {
        let mut all = self.0.lock();
        // Those that have ended go when another comes.
        all.retain(|_, (transport, _)| transport.get_zid().is_ok());
        let member = u128::from_le_bytes(peer.zid.to_le_bytes());
        all.insert(member, (transport, Clock::System.mono()));
        Ok(Arc::new(DummyTransportPeerEventHandler))
    }

    fn new_multicast(
        &self,
        _: TransportMulticast,
    ) -> ::zenoh::Result<Arc<dyn TransportMulticastEventHandler>> {
        Ok(Arc::new(DummyTransportMulticastEventHandler))
    }
}
