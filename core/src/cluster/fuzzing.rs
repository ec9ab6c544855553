//! A member that is told whatever the fuzzer thinks of. Only for that.

use std::sync::Arc;
use std::time::Duration;

use super::link::{Dial, Lane, Link};
use super::settings::Settings;
use crate::clock::Clock;
use crate::options::Options;
use crate::registry::core::Core;

const WALL: u64 = 1_700_000_000_000_000_000;

/// Takes everything and passes nothing on.
struct Nowhere;

impl Link for Nowhere {
    fn broadcast(&self, _: Lane, _: Vec<u8>) {}
    fn send(&self, _: u128, _: Lane, _: Vec<u8>) {}
    fn connect(&self, _: &Dial) {}
    fn endpoints(&self) -> Vec<String> {
        Vec::new()
    }
    fn close(&self) {}
}

/// Gives a member messages made of these bytes: the first says of whom and of which kind each is, the
/// second how long it is. Whatever they are, the table stays what it must be.
pub fn messages(mut bytes: &[u8]) {
    let settings = Settings::new(500_000_000);
    let clock = Arc::new(Clock::simulated(WALL, 1_000_000_000));
    let core = Core::simulated(Options::unnamed(), clock.clone(), 100, Arc::new(Nowhere), settings);
    let registry = crate::Registry::from_core(core.clone());
    let Some(cluster) = core.cluster() else { return };
    let mut mono = 1_000_000_000;
    while let [first, length, rest @ ..] = bytes {
        let length = rest.len().min(usize::from(*length) * 4);
        let (body, rest) = rest.split_at(length);
        bytes = rest;
        let (kind, from) = (first & 0x1f, u128::from(first >> 5));
        let mut message = vec![b'k', 1, kind];
        message.extend_from_slice(&from.to_le_bytes());
        message.extend_from_slice(&WALL.to_le_bytes());
        message.extend_from_slice(body);
        let _ = cluster.receive(&message);
        // And as it is, without a head that is right.
        let _ = cluster.receive(body);
        mono += 20_000_000;
        clock.set_mono(mono);
        cluster.tick();
        cluster.flush();
        core.sweep_now();
        core.table.validate();
    }
    let _ = registry.put("k", 1);
    let _ = registry.lock_start("k", crate::LockOptions::new().wait(Duration::from_secs(1)));
    let _ = registry.members();
    core.table.validate();
    assert_eq!(core.table.recomputed_root(), cluster.root(), "the digest is kept right");
}
