//! Members in one process over loopback, with the real engine.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![cfg(feature = "cluster")]

use std::time::Duration;

use minikv::{LockOptions, MemberState, Options, PutOptions, Registry, WriteOptions};

const LONG: Duration = Duration::from_secs(60);

fn member(cluster: &str, node: &str, peers: &[&Registry]) -> Registry {
    let peers = peers.iter().flat_map(|peer| peer.endpoints().unwrap());
    let options = Options::unnamed().node(node).cluster(cluster).peers(peers);
    let kv = Registry::start(options.failure_timeout(Duration::from_millis(1000))).unwrap();
    kv.wait_synced(LONG).unwrap();
    kv
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_one_puts_the_other_has() {
    let a = member("basics", "a", &[]);
    for n in 0..1000 {
        a.put(format!("early:{n}"), n).unwrap();
    }
    let b = member("basics", "b", &[&a]);
    assert_eq!(b.count("early:").unwrap(), 1000, "a synced member has what was there");
    b.put("k", "from b").unwrap();
    until("a has it", || a.get("k").unwrap().is_some());
    let entry = a.get("k").unwrap().unwrap();
    assert_eq!((entry.as_str(), entry.node()), (Some("from b"), "b"));
    a.delete("k").unwrap();
    until("b has lost it", || b.get("k").unwrap().is_none());
    until("both know both", || {
        a.members().unwrap().iter().filter(|m| m.state == MemberState::Live).count() == 2
    });
    until("equal digests", || a.digest().unwrap() == b.digest().unwrap());
    b.put_with("mine", 1, PutOptions::new()).unwrap();
    until("a has it", || a.get("mine").unwrap().is_some());
    b.stop();
    until("b's entries pass to a", || a.get("mine").unwrap().unwrap().node() == "a");
}

#[test]
fn a_lock_is_one_members_at_a_time() {
    let a = member("locks", "a", &[]);
    let b = member("locks", "b", &[&a]);
    a.put("k", 1).unwrap();
    until("b has it", || b.get("k").unwrap().is_some());
    let held = b.lock("k").unwrap().unwrap();
    assert!(held.is_locked());
    let refused = a.lock("k").unwrap_err();
    assert_eq!(refused.kind(), minikv::ErrorKind::Locked);
    until("a sees the lock", || a.get("k").unwrap().unwrap().is_locked());
    assert_eq!(a.put("k", 2).unwrap_err().kind(), minikv::ErrorKind::Locked);
    let waiting = a.lock_start("k", LockOptions::new().wait(LONG)).unwrap();
    b.unlock_with("k", WriteOptions::new()).unwrap();
    let entry = waiting.block().unwrap().unwrap();
    assert!(entry.fence() > held.fence());
}
